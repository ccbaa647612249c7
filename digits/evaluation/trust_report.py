"""The calibration in words: what each number means, and what it says about a network."""

from digits.evaluation.calibration import PASS_RATE
from digits.text import percent

MEANINGS = {
    "temperature": "divides the logits before the softmax; minimizes the negative log-likelihood on val, with a prior "
    "that keeps it near 1",
    "digit_level": "an image is not a digit (photos: none of the classes) if the log-sum-exp of its logits is below "
    f"this; {PASS_RATE:.0%} of the val images reach it",
    "trusted_threshold": "lower end of the interval that contains the confidence of a correctly classified image with "
    "probability trusted_level; it says how confident correct predictions are, not how often confident predictions are "
    "correct",
    "guaranteed_threshold": "predictions with at least this confidence are trusted: with probability at least "
    "1 - delta over the draw of the calibration images, at most max_error of the accepted predictions on images of the "
    "same kind are wrong; null: no threshold guarantees this, and no prediction is trusted",
    "candidate_threshold": "the candidates of a doubtful prediction are the classes with at least this probability; "
    "they include the right class with probability candidates_level",
    "reject_class": "whether the network learned from non-digits, as a class whose logit is 0; the less like a digit, "
    "the closer the probabilities are to one another",
    "trusted_level": "probability that the interval of trusted_threshold contains the confidence of a correctly "
    "classified image",
    "max_error": "maximum error rate among the accepted predictions",
    "delta": "maximum probability that the guarantee fails",
    "candidates_level": "probability that the candidates of a doubtful prediction include the right class",
    "images": "number of calibration images",
    "ece_raw": "expected calibration error on the calibration images, without the temperature",
    "ece": "expected calibration error on the calibration images, with the temperature",
    "coverage": "share of the calibration images that are accepted",
    "accepted_error": "share of the accepted calibration images that are wrong; null if none is accepted",
}


def explain(found: dict) -> dict:
    """Add its meaning to each number that `calibrate` returned."""
    return {name: {"value": found[name], "meaning": meaning} for name, meaning in MEANINGS.items()}


def format_calibration(found: dict) -> str:
    """Say in five lines what `calibrate` returned."""
    threshold, images = found["guaranteed_threshold"], f"{found['images']:,} calibration images"
    promise = (
        f"at most {100 * found['max_error']:g}% of the accepted predictions are wrong, "
        f"with probability at least {100 - 100 * found['delta']:g}%"
    )
    if threshold is None:
        trusted = f"no prediction is trusted: on {images}, no threshold guarantees that {promise}"
    else:
        trusted = f"predictions with at least {percent(threshold)} confidence are trusted: by {images}, {promise}"
    return "\n".join(
        [
            f"{trusted}; {_accepted(found)}",
            f"an image whose logits have a log-sum-exp below {found['digit_level']:.2f} is none of the classes; "
            f"temperature {found['temperature']:.3f}",
            f"expected calibration error {found['ece_raw']:.2%} without the temperature, {found['ece']:.2%} with it",
            f"{100 * found['trusted_level']:g}% of the correct predictions have at least "
            f"{percent(found['trusted_threshold'])} confidence",
            f"the candidates of a doubtful prediction are the classes with at least "
            f"{percent(found['candidate_threshold'])}: they include the right one with probability "
            f"{100 * found['candidates_level']:g}%",
        ]
    )


def format_trust(measured: dict) -> str:
    """Say in one line what `measure` returned."""
    return f"{_accepted(measured)}; expected calibration error {measured['ece']:.2%}"


def format_candidates(measured: dict) -> str:
    """Say in one line what `measure_candidates` returned."""
    if not measured["doubtful"]:
        return "low confidence 0"
    coverage, size = percent(measured["coverage"]), f"{measured['size']:.2f} candidates on average"
    return f"low confidence {measured['doubtful']:,}: candidates include the right class in {coverage}, {size}"


def _accepted(measured):
    if not measured["coverage"]:
        return "trusted none"
    return f"trusted {percent(measured['coverage'])}, {percent(measured['accepted_error'])} of them wrong"
