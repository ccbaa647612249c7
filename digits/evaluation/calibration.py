"""Trust: what a confidence is worth, from which one on an answer is used, and what is no digit at all.

Val chooses the temperature, the digit level and the thresholds to try. The calibration part, which the run has neither
trained on nor chosen anything by, decides which of those thresholds keeps its promise.
"""

import math
from dataclasses import asdict, dataclass, fields

import numpy as np

from digits.cli import InputError
from digits.evaluation.metrics import cross_entropy, softmax
from digits.networks.checkpoint import Checkpoint

BINS = 15  # of equal width, as in Guo et al. 2017
DIGITS_PASS = 0.99  # share of the val digits that are taken for digits
MEANINGS = {
    "temperature": "the logits are divided by this before the softmax; the most probable one by the loss on val",
    "digit_level": f"a picture whose largest logit is below this is no digit; {DIGITS_PASS:.0%} of val are above it",
    "trusted_threshold": "lower end of the interval that holds the confidences of rightly labeled images (level: "
    "trusted_level); it says how sure right answers are, not how often sure answers are right",
    "guaranteed_threshold": "answers at least this sure are trusted: with probability at least 1 - delta over the draw "
    "of the calibration images, at most max_error of the accepted answers on images of their kind are wrong; null: no "
    "threshold could be shown to keep that, and no answer is trusted",
    "trusted_level": "share of the rightly labeled images in the interval of trusted_threshold",
    "max_error": "largest share of the accepted answers that may be wrong",
    "delta": "largest probability that the guarantee does not hold",
    "images": "images in the calibration part",
    "ece_raw": "expected calibration error on the calibration images without the temperature",
    "ece": "the same with it",
    "coverage": "share of the calibration images that are accepted",
    "accepted_error": "share of those that are wrong; null if there are none",
}


# On training images held out, 0.1 gives a lower loss than 0.15, 0.2, 0.3 and none, for each of three networks whose
# temperatures by 2,400 images alone vary by 0.15.
_TEMPERATURE_SPREAD = 0.1

# Shares of val that the thresholds to try accept, from one of the first on. Testing ends at the first that fails: the
# strictest has to accept enough images for one or two wrong labels among them not to fail it.
_FIRST_COVERAGES = (0.75, 0.6, 0.45, 0.3, 0.15)
_LAST_COVERAGES = np.append(np.arange(0.95, 1.0, 0.0025), 1.0)


@dataclass(frozen=True)
class Calibration:
    """The numbers that make logits an answer; what each means is in `MEANINGS`."""

    temperature: float
    digit_level: float
    trusted_threshold: float
    guaranteed_threshold: float | None

    @classmethod
    def load(cls, checkpoint: Checkpoint) -> "Calibration | None":
        """Read the calibration in a checkpoint's JSON file; None if it has none.

        Raises:
            InputError: it is incomplete, or a number in it is not one.
        """
        if not checkpoint.meta.get("calibration"):
            return None
        try:
            return cls.read(checkpoint.meta["calibration"])
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"checkpoint {checkpoint.path}: its calibration is not complete; restore its JSON file, or train again"
            ) from None

    @classmethod
    def read(cls, found: dict) -> "Calibration":
        """From what `calibrate` returned.

        Raises:
            KeyError, TypeError, ValueError: it is not that.
        """
        values = {field.name: found[field.name] for field in fields(cls)}
        numbers = [value for name, value in values.items() if (name, value) != ("guaranteed_threshold", None)]
        if not all(math.isfinite(number) for number in numbers) or values["temperature"] <= 0:
            raise ValueError(f"not a calibration: {values}")
        return cls(**values)

    def probs(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> probabilities float64 [N, C]."""
        return softmax(logits.astype(np.float64) / self.temperature)

    def confidences(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> the winning class's probability, float64 [N]."""
        return self.probs(logits).max(1)

    def in_classes(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N]."""
        return logits.max(1) >= self.digit_level

    def accepts(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, C] -> bool [N]: a digit, and sure enough."""
        if self.guaranteed_threshold is None:  # no confidence is high enough
            return np.zeros(len(logits), bool)
        return self.in_classes(logits) & (self.confidences(logits) >= self.guaranteed_threshold)


def calibrate(
    val: tuple[np.ndarray, np.ndarray],
    held: tuple[np.ndarray, np.ndarray],
    trusted_level: float = 0.95,
    max_error: float = 0.002,
    delta: float = 0.05,
) -> dict:
    """Find the numbers of a `Calibration`, and say how good they are.

    Args:
        val: logits float [N, C] and labels int [N] of the val part.
        held: the same of the calibration part.
        trusted_level: share of the rightly labeled images in the interval of `trusted_threshold`.
        max_error: largest share of the accepted answers that may be wrong.
        delta: largest probability that the guarantee does not hold.

    Returns:
        A dict with the keys of `MEANINGS`, which says what each is.
    """
    temperature = fit_temperature(*val)
    # The largest logit tells non-digits better than the confidence (Hendrycks et al. 2022, "Scaling out-of-distribution
    # detection"): its level is what the share DIGITS_PASS of val reaches.
    digit_level = float(np.quantile(val[0].max(1), 1 - DIGITS_PASS, method="lower"))
    found = Calibration(temperature, digit_level, 0.0, None)

    logits, labels = held
    right = logits.argmax(1) == labels
    confidences, in_classes = found.confidences(logits), found.in_classes(logits)
    thresholds = _thresholds_to_try(found.confidences(val[0]), val[0].argmax(1) == val[1], max_error)
    found = Calibration(
        temperature,
        digit_level,
        interval_threshold(confidences[right], trusted_level),
        guaranteed_threshold(confidences[in_classes], right[in_classes], thresholds, max_error, delta),
    )
    return {
        **asdict(found),
        "trusted_level": trusted_level,
        "max_error": max_error,
        "delta": delta,
        "images": len(labels),
        "ece_raw": expected_calibration_error(softmax(logits.astype(np.float64)).max(1), right),
        **measure(found, logits, labels),
    }


def measure(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> dict:
    """How far the confidences can be trusted on labeled images: `ece`, `coverage` and `accepted_error`."""
    right = logits.argmax(1) == labels
    accepts = calibration.accepts(logits)
    return {
        "ece": expected_calibration_error(calibration.confidences(logits), right),
        "coverage": float(accepts.mean()),
        "accepted_error": float((~right[accepts]).mean()) if accepts.any() else None,
    }


def trust_curves(calibration: Calibration, logits: np.ndarray, labels: np.ndarray) -> tuple:
    """What `plots.trust` draws: confidences (0 for what is no digit), which are right, the bins, the threshold."""
    right = logits.argmax(1) == labels
    confidences = calibration.confidences(logits)
    bins = reliability(confidences, right)
    return confidences * calibration.in_classes(logits), right, bins, calibration.guaranteed_threshold


def explain(found: dict) -> dict:
    """What `calibrate` returned, each number with its meaning."""
    return {name: {"value": found[name], "meaning": meaning} for name, meaning in MEANINGS.items()}


def format_calibration(found: dict) -> str:
    """What `calibrate` returned, in words, a line each."""
    threshold, images = found["guaranteed_threshold"], f"{found['images']:,} calibration images"
    promise = (
        f"at most {100 * found['max_error']:g}% are wrong, with probability at least {100 - 100 * found['delta']:g}%"
    )
    if threshold is None:
        trusted = f"nothing is trusted: the {images} show of no threshold that of the answers above it {promise}"
    else:
        trusted = f"answers at least {threshold:.2%} sure are trusted: by the {images}, {promise}"
    return "\n".join(
        [
            f"{trusted}; {_accepted(found)}",
            f"a largest logit below {found['digit_level']:.2f} is none of the classes; "
            f"temperature {found['temperature']:.3f}",
            f"expected calibration error {found['ece_raw']:.2%} before the temperature, {found['ece']:.2%} with it",
            f"{100 * found['trusted_level']:g}% of right answers are at least {found['trusted_threshold']:.2%} sure",
        ]
    )


def format_trust(measured: dict) -> str:
    """One line of what `measure` found."""
    return f"{_accepted(measured)}; expected calibration error {measured['ece']:.2%}"


def _accepted(measured):
    if not measured["coverage"]:
        return "trusted none"
    return f"trusted {measured['coverage']:.2%}, {measured['accepted_error']:.2%} of them wrong"


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The most probable temperature: lowest negative log-likelihood (Guo et al. 2017, section 4.2), but near 1.

    A good network errs on few images, and a handful of them would decide. So the logarithm is taken to be normal before
    any image is seen, about 0 with a standard deviation of `_TEMPERATURE_SPREAD`; many images overrule that.

    Args:
        logits: float [N, C].
        labels: int [N].

    Returns:
        A number from 0.01 to 100.
    """
    logits = logits.astype(np.float64)

    def loss(log_temperature):
        likelihood = len(labels) * cross_entropy(logits / np.exp(log_temperature), labels)
        return likelihood + (log_temperature / _TEMPERATURE_SPREAD) ** 2 / 2

    low, high = np.log(0.01), np.log(100.0)
    ratio = (np.sqrt(5) - 1) / 2  # golden-section search: the loss has one minimum over the temperature
    while high - low > 1e-6:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _thresholds_to_try(confidences, right, max_error):
    """Quantiles of val's confidences, from the most that it accepts with no more than half of `max_error` wrong."""
    surest = right[np.argsort(-confidences, kind="stable")]
    for first in _FIRST_COVERAGES:
        if (~surest[: max(1, int(first * len(surest)))]).mean() <= max_error / 2:
            break
    coverages = np.concatenate([np.arange(first, 0.95 - 1e-9, 0.05), _LAST_COVERAGES])
    return np.quantile(confidences, 1 - coverages, method="lower")


def reliability(confidences: np.ndarray, right: np.ndarray) -> list[dict]:
    """A dict `images confidence accuracy` for each of `BINS` equal bins of the confidence that is not empty."""
    places = np.minimum((confidences * BINS).astype(int), BINS - 1)
    chosen = (places == place for place in range(BINS))
    return [
        {"images": int(bin.sum()), "confidence": float(confidences[bin].mean()), "accuracy": float(right[bin].mean())}
        for bin in chosen
        if bin.any()
    ]


def expected_calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over the bins, weighted by their images (Guo et al. 2017, section 2).

    Args:
        confidences: float [N] in [0, 1], of the winning class.
        right: bool [N].
    """
    bins = reliability(confidences, right)
    return sum(bin["images"] * abs(bin["confidence"] - bin["accuracy"]) for bin in bins) / max(1, len(right))


def interval_threshold(confidences: np.ndarray, level: float) -> float:
    """A bound that the confidence of one more image is not below with probability at least `level`.

    The finite-sample quantile: the k-th smallest of n, k = floor((n + 1) (1 - level)) (Vovk et al. 2005); 0 if k is 0.

    Args:
        confidences: float [n], of rightly labeled images.
        level: above 0, below 1.
    """
    k = int(np.floor((len(confidences) + 1) * (1 - level) + 1e-9))
    return float(np.sort(confidences)[k - 1]) if k else 0.0


def guaranteed_threshold(
    confidences: np.ndarray, right: np.ndarray, thresholds: np.ndarray, max_error: float, delta: float
) -> float | None:
    """The lowest threshold shown to accept answers of which at most `max_error` are wrong, save with probability delta.

    The thresholds are tested one by one, from the strictest down, each by the exact binomial bound, until one fails.
    As the order is fixed beforehand, the probability that any of those that passed is wrong is at most delta however
    many are tried (fixed-sequence testing: Angelopoulos et al. 2021, "Learn then Test", section 3).

    Args:
        confidences: float [n].
        right: bool [n].
        thresholds: those to try; they must not have been chosen on these images.
        max_error: largest share of the accepted answers that may be wrong.
        delta: probability of a mistake.

    Returns:
        A threshold, or None if not even the strictest passes.
    """
    passed = None
    for threshold in sorted(set(thresholds.tolist()), reverse=True):
        accepts = confidences >= threshold
        if binomial_upper_bound(int((~right[accepts]).sum()), int(accepts.sum()), delta) > max_error:
            break
        passed = threshold
    return passed


def binomial_upper_bound(errors: int, count: int, delta: float) -> float:
    """The upper end of the one-sided exact confidence interval of a rate (Clopper and Pearson 1934).

    The rate at which `errors` or fewer of `count` have probability `delta`; 1 if all are errors.
    """
    if errors >= count:
        return 1.0
    k = np.arange(errors + 1)
    log_factorials = np.concatenate([[0], np.cumsum(np.log(np.arange(1, count + 1)))])
    log_choices = log_factorials[count] - log_factorials[k] - log_factorials[count - k]
    low, high = errors / count, 1.0
    while high - low > 1e-12:
        rate = (low + high) / 2
        tail = np.exp(log_choices + k * np.log(rate) + (count - k) * np.log1p(-rate)).sum()
        low, high = (rate, high) if tail > delta else (low, rate)
    return high
