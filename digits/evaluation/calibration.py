"""Confidence calibration: temperature scaling, and which predictions to accept.

Val chooses the temperature, the digit level and the thresholds to test. The calibration images, which the run uses
neither for training nor for any other choice, decide which of these thresholds guarantees the error rate, and from
which probability on a class is a candidate of a doubtful prediction.
"""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from digits.evaluation.metrics import cross_entropy, log_sum_exp, softmax
from digits.evaluation.thresholds import guaranteed_threshold, interval_threshold, thresholds_to_test
from digits.networks.checkpoint import Checkpoint

BINS = 15  # bins of equal width, as in Guo et al. 2017
PASS_RATE = 0.99  # share of the val images at or above the digit level

# Standard deviation of the prior on the log temperature. On held-out training images, 0.1 gives a lower loss than 0.15,
# 0.2, 0.3 and no prior, for each of three networks whose temperatures, fitted to 2,400 images alone, vary by 0.15.
_TEMPERATURE_SPREAD = 0.1


@dataclass(frozen=True)
class Calibration:
    """The numbers that turn logits into predictions to accept or reject; `trust_report.MEANINGS` explains each."""

    temperature: float
    digit_level: float
    trusted_threshold: float
    guaranteed_threshold: float | None
    candidate_threshold: float | None = None
    reject_class: bool = False

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "Calibration | None":
        """Load the calibration from a checkpoint's description; None if there is none."""
        found = checkpoint.meta.get("calibration")
        return cls(**{name: found[name] for name in FIELDS if name in found}) if found else None

    def probs(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> calibrated probabilities float64 [N, C].

        If the network learned to reject, an image that shows none of the classes has the same probability of each.
        """
        probs = softmax(logits.astype(np.float64) / self.temperature)
        if not self.reject_class:
            return probs
        known = 1 / (1 + np.exp(-self.digit_scores(logits)))[:, None]  # softmax with the reject class, whose logit is 0
        return known * probs + (1 - known) / probs.shape[1]

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> probability of the predicted class, float64 [N]."""
        return self.probs(logits).max(1)

    def in_classes(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N]: whether the image passes as one of the classes."""
        return self.digit_scores(logits) >= self.digit_level

    def digit_scores(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> score float64 [N], larger for images of the classes: minus the energy (Liu et al. 2020)."""
        return log_sum_exp(logits.astype(np.float64))

    def accepts(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N]: whether the image passes as one of the classes, with enough confidence."""
        if self.guaranteed_threshold is None:
            return np.zeros(len(logits), bool)
        return self.in_classes(logits) & (self.confidences(logits) >= self.guaranteed_threshold)

    def doubts(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N]: whether the image passes as one of the classes, but with too little confidence."""
        return self.in_classes(logits) & ~self.accepts(logits)

    def is_candidate(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N, C]: the sets that name the right class with the promised probability.

        The set of an accepted prediction is its class. That of a doubtful one has all classes with at least the
        probability `candidate_threshold`. An image outside the classes has none.
        """
        probs = self.probs(logits)
        sets = (probs >= probs.max(1, keepdims=True)) & self.in_classes(logits)[:, None]
        if self.candidate_threshold is not None:
            sets |= (probs >= self.candidate_threshold) & self.doubts(logits)[:, None]
        return sets


FIELDS = tuple(field.name for field in fields(Calibration))


def calibrate(
    val: tuple[np.ndarray, np.ndarray],
    held_out: tuple[np.ndarray, np.ndarray],
    trusted_level: float = 0.95,
    max_error: float = 0.002,
    delta: float = 0.05,
    candidates_level: float = 0.95,
    reject_class: bool = False,
) -> dict:
    """Fit a `Calibration`, and measure it.

    Args:
        val: logits float [N, C] and labels int [N] of the val images.
        held_out: the same for the calibration images.
        trusted_level: probability that the interval above `trusted_threshold` contains the confidence of a correctly
            classified image.
        max_error: maximum error rate among the accepted predictions.
        delta: probability that this bound fails.
        candidates_level: probability that the candidates of a doubtful prediction include the right class.
        reject_class: whether the network was trained with images outside the classes, see `optim.make_loss`.

    Returns:
        A dict with the keys of `trust_report.MEANINGS`, which explains each.
    """
    val_logits, val_labels = val
    logits, labels = held_out
    temperature = fit_temperature(val_logits, val_labels)
    calibration = Calibration(temperature, -np.inf, 0.0, None, reject_class=reject_class)
    scores = calibration.digit_scores(val_logits)
    calibration = replace(calibration, digit_level=float(np.quantile(scores, 1 - PASS_RATE, method="lower")))

    to_test = thresholds_to_test(calibration.confidences(val_logits), val_logits.argmax(1) == val_labels, max_error)
    correct = logits.argmax(1) == labels
    confidences, in_classes = calibration.confidences(logits), calibration.in_classes(logits)
    calibration = replace(
        calibration,
        trusted_threshold=interval_threshold(confidences[correct], trusted_level),
        guaranteed_threshold=guaranteed_threshold(
            confidences[in_classes], correct[in_classes], to_test, max_error, delta
        ),
    )
    doubtful = calibration.doubts(logits)
    of_right_class = calibration.probs(logits)[doubtful, labels[doubtful]]
    calibration = replace(calibration, candidate_threshold=interval_threshold(of_right_class, candidates_level))
    return {
        **asdict(calibration),
        "trusted_level": trusted_level,
        "max_error": max_error,
        "delta": delta,
        "candidates_level": candidates_level,
        "images": len(labels),
        "ece_raw": expected_calibration_error(softmax(logits.astype(np.float64)).max(1), correct),
        **measure(calibration, logits, labels),
    }


def measure(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> dict:
    """Measure a calibration on labeled images: `ece`, `coverage`, and `accepted_error` (None if none is accepted)."""
    correct = logits.argmax(1) == labels
    accepted = calibration.accepts(logits)
    return {
        "ece": expected_calibration_error(calibration.confidences(logits), correct),
        "coverage": float(accepted.mean()),
        "accepted_error": float((~correct[accepted]).mean()) if accepted.any() else None,
    }


def measure_candidates(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> dict:
    """Measure the candidates of doubtful predictions: how many there are, `coverage`, and the mean `size` of a set."""
    doubtful = calibration.doubts(logits)
    sets = calibration.is_candidate(logits)[doubtful]
    covered = sets[np.arange(len(sets)), labels[doubtful]]
    found = {"coverage": float(covered.mean()), "size": float(sets.sum(1).mean())} if len(sets) else {}
    return {"doubtful": len(sets)} | found


def trust_curves(
    calibration: Calibration, logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[dict], float | None]:
    """Compute the arguments of `plots.trust`: confidences (0 outside the classes), correct, bins, threshold."""
    correct = logits.argmax(1) == labels
    confidences = calibration.confidences(logits)
    bins = reliability(confidences, correct)
    return confidences * calibration.in_classes(logits), correct, bins, calibration.guaranteed_threshold


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that minimizes the negative log-likelihood (Guo et al. 2017, section 4.2), with a prior.

    A good network makes few errors, so a handful of images would decide. A normal prior on the log temperature, with
    mean 0 and standard deviation `_TEMPERATURE_SPREAD`, keeps the temperature near 1 unless many images disagree.

    Args:
        logits: float [N, C].
        labels: int [N].

    Returns:
        The temperature, from 0.01 to 100.
    """
    logits = logits.astype(np.float64)

    def negative_log_posterior(log_temperature):
        likelihood = len(labels) * cross_entropy(logits / np.exp(log_temperature), labels)
        return likelihood + (log_temperature / _TEMPERATURE_SPREAD) ** 2 / 2

    low, high = np.log(0.01), np.log(100.0)
    ratio = (np.sqrt(5) - 1) / 2  # golden-section search: there is a single minimum
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if negative_log_posterior(left) < negative_log_posterior(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def reliability(confidences: np.ndarray, correct: np.ndarray) -> list[dict]:
    """Compute `images`, mean `confidence` and `accuracy` of `BINS` equal bins of confidence; empty bins are omitted."""
    indices = np.minimum((confidences * BINS).astype(int), BINS - 1)
    masks = (indices == index for index in range(BINS))
    return [
        {
            "images": int(mask.sum()),
            "confidence": float(confidences[mask].mean()),
            "accuracy": float(correct[mask].mean()),
        }
        for mask in masks
        if mask.any()
    ]


def expected_calibration_error(confidences: np.ndarray, correct: np.ndarray) -> float:
    """Compute the mean gap between confidence and accuracy over the bins, weighted by images (Guo et al. 2017, sec. 2).

    Args:
        confidences: float [N] in [0, 1], probability of the predicted class.
        correct: bool [N].
    """
    bins = reliability(confidences, correct)
    return sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / max(1, len(correct))
