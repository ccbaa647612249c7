"""Confidence thresholds: the lower end of a prediction interval, and one that guarantees an error rate."""

import numpy as np

# Shares of val that the candidates accept, starting from one of the first. Testing ends at the first candidate that
# fails, so the strictest must accept enough images for one or two wrong labels among them not to fail it.
_FIRST_COVERAGES = (0.75, 0.6, 0.45, 0.3, 0.15)
_LAST_COVERAGES = np.append(np.arange(0.95, 1.0, 0.0025), 1.0)


def interval_threshold(confidences: np.ndarray, level: float) -> float:
    """Compute a lower bound that the confidence of one more image reaches with probability at least `level`.

    It is the finite-sample quantile: the k-th smallest of n, k = floor((n + 1) (1 - level)) (split conformal
    prediction, Vovk et al. 2005); 0 for k = 0.

    Args:
        confidences: float [n].
        level: above 0, below 1.
    """
    k = int(np.floor((len(confidences) + 1) * (1 - level) + 1e-9))
    return float(np.sort(confidences)[k - 1]) if k else 0.0


def thresholds_to_test(confidences: np.ndarray, correct: np.ndarray, max_error: float) -> np.ndarray:
    """Choose quantiles of val's confidences for `guaranteed_threshold` to test.

    The strictest accepts 75% of val, or less, down to 15%, until at most half of `max_error` of these are wrong.

    Args:
        confidences: float [n], of the val images.
        correct: bool [n].
        max_error: maximum error rate among the accepted predictions.
    """
    most_confident = correct[np.argsort(-confidences, kind="stable")]
    for first in _FIRST_COVERAGES:
        if (~most_confident[: max(1, int(first * len(most_confident)))]).mean() <= max_error / 2:
            break
    coverages = np.concatenate([np.arange(first, 0.95 - 1e-9, 0.05), _LAST_COVERAGES])
    return np.quantile(confidences, 1 - coverages, method="lower")


def guaranteed_threshold(
    confidences: np.ndarray, correct: np.ndarray, candidates: np.ndarray, max_error: float, delta: float
) -> float | None:
    """Find the lowest threshold that bounds the error rate among the accepted predictions by `max_error`.

    The candidates are tested in turn, from the strictest down, each by the exact binomial bound, until one fails. Since
    the order is fixed beforehand, the probability that any candidate passes by mistake is at most `delta`, however many
    are tested (fixed-sequence testing: Angelopoulos et al. 2021, "Learn then Test", section 3).

    Args:
        confidences: float [n].
        correct: bool [n].
        candidates: the thresholds to test; they must not have been chosen on these images.
        max_error: maximum error rate among the accepted predictions.
        delta: probability that this bound fails.

    Returns:
        The threshold, or None if the strictest candidate fails.
    """
    passed = None
    for threshold in sorted(set(candidates.tolist()), reverse=True):
        accepted = confidences >= threshold
        if binomial_upper_bound(int((~correct[accepted]).sum()), int(accepted.sum()), delta) > max_error:
            break
        passed = threshold
    return passed


def binomial_upper_bound(errors: int, count: int, delta: float) -> float:
    """Compute the upper end of the one-sided exact confidence interval of an error rate (Clopper and Pearson 1934).

    It is the rate at which `errors` or fewer of `count` have probability `delta`; 1 if all are errors.
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
