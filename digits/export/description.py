"""The description that goes with an export: everything besides the network that another program needs."""

from dataclasses import asdict

from digits.config import DIGIT_SHAPE
from digits.evaluation.calibration import Calibration
from digits.imaging import ink, mnist_format
from digits.networks.checkpoint import Checkpoint


def describe(checkpoint: Checkpoint, input_shape: tuple[int, int, int]) -> dict:
    """Describe a trained network for JSON: its classes, its input, its calibration, and how pictures become input.

    Keys without a value are absent: `calibration` if the network was never calibrated, `preprocessing` (constants of
    `digits.imaging`) and the options of other networks where they do not apply.

    Args:
        checkpoint: the trained network.
        input_shape: channels, height and width of its input.
    """
    meta = checkpoint.meta
    options = dict(meta["model"])
    description = {
        "format": 1,
        "network": options.pop("name"),
        **options,
        "classes": meta["classes"],
        "input_shape": list(input_shape),
    }
    if "test" in meta.get("metrics", {}):
        description["accuracy"] = meta["metrics"]["test"]["accuracy"]  # on the test set
    if calibration := Calibration.load(checkpoint):
        numbers = asdict(calibration) | {"reject_class": int(calibration.reject_class)}
        description["calibration"] = {name: value for name, value in numbers.items() if value is not None}
    if input_shape == DIGIT_SHAPE:
        description["preprocessing"] = {
            "side": mnist_format.SIDE,
            "box": mnist_format.BOX,
            "center": mnist_format.CENTER,
            "working_side": ink.WORKING_SIDE,
            "min_contrast": ink.MIN_CONTRAST,
        }
    return description
