"""The settings of a training run: a YAML file read into a frozen `Config`; every field is also a flag of train.py."""

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import yaml

from digits.cli import InputError, suggest


def _setting(default, help, low=None, high=None, choices=None):
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


DIGIT_SHAPE = (1, 28, 28)  # channels, height, width of the input of a network for digits


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run. Field, YAML key and flag share one name; `--help` prints the meanings below."""

    model: str = _setting("lenet", "network", choices=("lenet", "extended", "mlp", "photo_cnn", "transfer"))
    activation: str = _setting("relu", "activation of lenet; sigmoid is the tutorial's", choices=("relu", "sigmoid"))
    image_size: int = _setting(96, "photo_cnn, transfer: pixels of a side of the photos", low=17, high=1024)
    dropout: bool = _setting(True, "photo_cnn: with dropout")
    backbone: str = _setting("inception_v3", "transfer: the network of paddle.vision.models whose features are used")
    pretrained: bool = _setting(False, "transfer: start from Paddle's weights for the backbone, downloaded once")
    weights: str = _setting(
        "", "transfer: start from this .pdparams file or run; empty, and not pretrained: from chance"
    )
    unfreeze: str = _setting(
        "", "transfer: layers of the backbone to learn beside the head, by name; empty: its last block; all: every one"
    )
    head_epochs: int = _setting(50, "transfer: epochs of the head alone, on features; 0: none", low=0, high=100_000)
    head_learning_rate: float = _setting(0.001, "transfer: learning rate of these, RMSProp's", low=1e-9, high=100.0)

    fine_tune: str = _setting(
        "",
        "weights to start from instead of chance: a checkpoint of the same network, whose seed and parts of the data "
        "are kept; as a flag, it also sets a short schedule, which only flags change",
    )

    data_dir: str = _setting(
        "",
        "folder with class folders, or with train/ and val/ of such and perhaps test/, or with idx files or mnist.npz; "
        "empty: MNIST, from the cache or downloaded",
    )
    cache_mb: int = _setting(
        512, "memory for decoded pictures, megabytes; what is beyond is decoded anew", low=0, high=10**6
    )
    val_fraction: float = _setting(
        0.04,
        "share of the training images to choose epoch and temperature by, where there is no val/",
        low=0.001,
        high=0.5,
    )
    calibration_fraction: float = _setting(
        0.12, "share of the training images that decides what is trusted; 0: no calibration", low=0.0, high=0.5
    )
    test_fraction: float = _setting(
        0.0, "share of the images to report on, where there are but class folders; 0: no test set", low=0.0, high=0.5
    )
    class_weights: str = _setting(
        "none", "weights of the images in the loss; balanced: each class counts as much", choices=("none", "balanced")
    )
    batch_size: int = _setting(128, "images a step", low=1, high=65536)
    unlabeled: str = _setting("", "folder with pictures without labels, to learn from by pseudo-labels; empty: none")
    unlabeled_share: float = _setting(0.25, "share of these in what a step sees", low=0.01, high=0.9)
    unlabeled_confidence: float = _setting(0.9, "least confidence of a pseudo-label to be used", low=0.0, high=1.0)
    unlabeled_epochs: int = _setting(5, "epochs before the first pseudo-labels, and between two", low=1, high=100_000)

    epochs: int = _setting(40, "passes over the training images", low=1, high=100_000)
    optimizer: str = _setting("adamw", "update rule", choices=("momentum", "adam", "adamw", "rmsprop"))
    loss: str = _setting(
        "cross_entropy",
        "what is minimized; mse: mean squared error of the probabilities",
        choices=("cross_entropy", "mse"),
    )
    learning_rate: float = _setting(0.004, "learning rate, the highest the schedule reaches", low=1e-9, high=100.0)
    momentum: float = _setting(0.9, "momentum; of adam and adamw beta1, of rmsprop rho", low=0.0, high=0.9999)
    beta2: float = _setting(0.999, "beta2 of adam and adamw", low=0.0, high=0.99999)
    weight_decay: float = _setting(0.0, "weight decay; decoupled for adamw, else an L2 penalty", low=0.0, high=10.0)
    schedule: str = _setting("constant", "learning rate over time", choices=("constant", "cosine", "one-cycle"))
    label_smoothing: float = _setting(0.0, "share of the target spread over all classes", low=0.0, high=0.9)
    ema_decay: float = _setting(
        0.0, "exponential moving average of the weights, decay a step; 0: off", low=0.0, high=0.99999
    )
    keep: str = _setting("best", "weights to keep: of the epoch best on val, or of the last", choices=("best", "last"))
    stop_below: float = _setting(0.0, "stop once the val loss is below this; 0: never", low=0.0, high=100.0)
    min_epochs: int = _setting(1, "but not before this many epochs", low=1, high=100_000)
    patience: int = _setting(0, "stop after this many epochs without a better val loss; 0: never", low=0, high=100_000)

    max_error: float = _setting(0.002, "trust: largest share of the accepted answers to be wrong", low=1e-6, high=0.5)
    delta: float = _setting(0.05, "trust: probability that this does not hold", low=1e-6, high=0.5)
    trusted_level: float = _setting(
        0.95, "trust: share of the right answers in the interval of trusted_threshold", low=0.5, high=0.9999
    )

    non_digits: int = _setting(0, "pictures of no digit shown beside each batch", low=0, high=65536)
    forms: int = _setting(0, "digits of forms MNIST lacks, drawn, shown beside each batch", low=0, high=65536)
    extra: str = _setting("", "folder with drawings of your own to learn, in folders 0 to 9; empty: none")
    extra_per_batch: int = _setting(24, "of these, shown beside each batch", low=1, high=65536)
    rotation: float = _setting(0.0, "augmentation: largest rotation, degrees", low=0.0, high=180.0)
    scale: float = _setting(0.0, "augmentation: largest relative change of size", low=0.0, high=0.9)
    aspect: float = _setting(0.0, "augmentation: largest relative change of width by height", low=0.0, high=0.9)
    shear: float = _setting(0.0, "augmentation: largest slant, x moved per y", low=0.0, high=2.0)
    shift: float = _setting(0.0, "augmentation: largest move along each axis, pixels", low=0.0, high=512.0)
    elastic: float = _setting(0.0, "augmentation: largest move of a knot of a smooth field, pixels", low=0.0, high=8.0)
    flip: float = _setting(0.0, "augmentation: probability of a mirror image", low=0.0, high=1.0)
    fill: int = _setting(0, "augmentation: gray level that moves in from outside", low=0, high=255)
    stroke: float = _setting(0.0, "augmentation: largest change of the strokes' width, pixels", low=0.0, high=2.0)
    edges: float = _setting(0.0, "augmentation: largest change of the edges, softer or harder", low=0.0, high=1.0)
    cut: float = _setting(0.0, "augmentation: most that is cut off at one side, pixels", low=0.0, high=10.0)

    seed: int = _setting(0, "seed of the split, the weights, the order and the augmentation", low=0, high=2**31 - 1)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return (3, self.image_size, self.image_size) if self.model in ("photo_cnn", "transfer") else DIGIT_SHAPE

    def to_yaml(self) -> str:
        """The whole config as YAML that `load_config` reads back to an equal one."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def load_config(path: str | Path, overrides: dict[str, str] | None = None) -> Config:
    """Read a YAML file over the defaults, and the flags over both; arguments and errors as `read_settings`."""
    return Config(**read_settings(path, overrides))


def read_settings(path: str | Path | None, overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """Read the settings that a YAML file and the flags state, checked; a flag counts over the file.

    Args:
        path: the YAML file, or None for the flags alone.
        overrides: field name to the text given on the command line.

    Raises:
        InputError: no such file, not YAML, a duplicate or unknown key, a value of the wrong type or out of range.
    """
    stated = _read_yaml(Path(path)) if path else {}
    settings = {name: check_setting(f"{path}: {name}", name, value) for name, value in stated.items()}
    for name, text in (overrides or {}).items():
        settings[name] = check_setting("--" + name.replace("_", "-"), name, text)
    return settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give the parser a flag for each field of `Config`; those not used stay out of the parsed namespace."""
    group = parser.add_argument_group(
        "settings (over the YAML file; a value in brackets is what counts where neither says)"
    )
    for name, field in FIELDS.items():
        kind = "true|false" if field.type is bool else "|".join(field.metadata["choices"] or ()) or field.type.__name__
        help = f"{field.metadata['help']} [{field.default}]".replace(" []", "")
        group.add_argument("--" + name.replace("_", "-"), dest=name, default=argparse.SUPPRESS, metavar=kind, help=help)


# In YAML, settings of the data can also stand together: data: {folder: PATH, unlabeled: PATH, share: 0.25}
_DATA = {
    "folder": "data_dir",
    "unlabeled": "unlabeled",
    "share": "unlabeled_share",
    "confidence": "unlabeled_confidence",
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{name}'", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _read_yaml(path):
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        folder = path.parent if any(path.parent.glob("*.yaml")) else Path(__file__).resolve().parents[1] / "configs"
        known = sorted(str(other) for other in folder.glob("*.yaml"))
        hint = suggest(str(path), known) or f"; {folder} has {', '.join(Path(other).name for other in known)}"
        raise InputError(f"config {path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"config {path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8 text'}"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError is a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: a config has 'key: value' lines, this is a {type(values).__name__}")
    if "data" in values:
        if not isinstance(values["data"], dict):
            raise InputError(f"{path}: data: stands for several settings, as in data: {{folder: PATH}}")
        for key, value in values.pop("data").items():
            if key not in _DATA:
                raise InputError(f"{path}: data: unknown key '{key}'{suggest(str(key), _DATA) or _known(_DATA)}")
            if _DATA[key] in values:
                raise InputError(f"{path}: {_DATA[key]} is there twice, once as '{key}' of data")
            values[_DATA[key]] = value
    for key in values:
        if key not in FIELDS:
            raise InputError(f"{path}: unknown key '{key}'{suggest(str(key), FIELDS) or _known(FIELDS)}")
    return values


def _known(names):
    return f"; known are {', '.join(names)}"


def check_setting(where: str, name: str, value: Any) -> Any:
    """Return `value` in the type of the field called `name`, or raise an InputError that starts with `where`."""
    kind, limits = FIELDS[name].type, FIELDS[name].metadata
    if kind is str:
        if not isinstance(value, str):
            raise InputError(f"{where}: '{value}' is not text; write it in quotes if it is meant as such")
    elif kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"{where}: '{value}' is neither true nor false")
        value = str(value).lower() == "true"
    else:
        number = _number(value)
        if number is None or number != kind(number):
            wanted = "a whole number" if kind is int else "a number"
            raise InputError(f"{where}: '{value}' is not {wanted} (for example {FIELDS[name].default})")
        value = kind(number)
    choices, low, high = limits["choices"], limits["low"], limits["high"]
    if choices and value not in choices:
        raise InputError(
            f"{where}: '{value}' is not known{suggest(value, choices) or '; choose one of ' + ', '.join(choices)}"
        )
    if low is not None and not low <= value <= high:
        raise InputError(f"{where}: {value} is out of range; the nearest it can be is {low if value < low else high}")
    return value


def _number(value):
    """The finite number that a YAML value or a word stands for, else None; 1e-3 is text to PyYAML."""
    if isinstance(value, bool | list | dict):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
