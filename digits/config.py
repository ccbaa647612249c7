"""The settings of a training run: YAML keys, fields of a frozen `Config`, and flags of train.py."""

import argparse
import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import yaml

from digits.cli import InputError, suggest
from digits.safe_yaml import BoundedLoader
from digits.text import clip

DIGIT_SHAPE = (1, 28, 28)  # channels, height, width of the input of a network for digits

_MAX_BYTES = 100_000  # of a YAML file


def _setting(default, help, low=None, high=None, choices=None):
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of one training run. Field, YAML key and flag share one name; `--help` prints the meanings below."""

    # The network
    model: str = _setting("lenet", "network", choices=("lenet", "extended", "mlp", "tiny", "photo_cnn", "transfer"))
    activation: str = _setting("relu", "lenet: activation; sigmoid is the tutorial's", choices=("relu", "sigmoid"))
    image_size: int = _setting(96, "photo_cnn, transfer: side of the photos, pixels", low=17, high=1024)
    dropout: bool = _setting(True, "photo_cnn: use dropout")

    # Its initial weights
    fine_tune: str = _setting(
        "",
        "fine-tune this checkpoint (same network); its seed and data split are reused; the flag also selects a short "
        "schedule",
    )
    backbone: str = _setting("inception_v3", "transfer: network of paddle.vision.models that computes the features")
    pretrained: bool = _setting(False, "transfer: start from Paddle's weights of the backbone, downloaded once")
    weights: str = _setting(
        "",
        "transfer: initialize the backbone from this .pdparams file or run; empty and not pretrained: random",
    )
    unfreeze: str = _setting(
        "", "transfer: backbone layers to train besides the head, by name; empty: the last block; all: every layer"
    )
    head_epochs: int = _setting(
        50, "transfer: epochs to train the head alone, on features; 0: skip this", low=0, high=100_000
    )
    head_learning_rate: float = _setting(
        0.001, "transfer: learning rate of the head alone (RMSProp)", low=1e-9, high=100.0
    )

    # The data
    data_dir: str = _setting(
        "",
        "folder with class folders, with train/ and val/ (and test/) of class folders, or with idx files or mnist.npz; "
        "empty: MNIST",
    )
    classes: str = _setting(
        "",
        "names of the classes of idx files or mnist.npz, with commas between them; digits: 0 to 9; empty: those in "
        "classes.txt beside the data",
    )
    cache_mb: int = _setting(
        512, "memory for decoded images, megabytes; images beyond that are decoded every epoch", low=0, high=10**6
    )
    val_fraction: float = _setting(
        0.04,
        "share of the training images that choose the epoch and the temperature, if there is no val/",
        low=0.001,
        high=0.5,
    )
    calibration_fraction: float = _setting(
        0.12,
        "share of the training images that set the threshold of trusted predictions; 0: no calibration",
        low=0.0,
        high=0.5,
    )
    test_fraction: float = _setting(
        0.0, "share of the images to test on, if there are only class folders; 0: no test set", low=0.0, high=0.5
    )
    extra: str = _setting("", "folder with drawings of your own to learn, in folders 0 to 9; empty: none")
    extra_per_batch: int = _setting(24, "drawings of your own added to each batch", low=1, high=65536)
    forms: int = _setting(0, "synthetic digits, in forms that MNIST lacks, added to each batch", low=0, high=65536)
    non_digits: int = _setting(0, "images that are not digits, added to each batch", low=0, high=65536)
    unlabeled: str = _setting("", "folder with unlabeled images, to learn from by pseudo-labels; empty: none")
    unlabeled_share: float = _setting(0.25, "share of unlabeled images in a batch", low=0.01, high=0.9)
    unlabeled_confidence: float = _setting(0.9, "least confidence of a pseudo-label", low=0.0, high=1.0)
    unlabeled_epochs: int = _setting(
        5, "epochs before the first pseudo-labels, and between renewals", low=1, high=100_000
    )

    # Optimization
    epochs: int = _setting(40, "passes over the training images", low=1, high=100_000)
    batch_size: int = _setting(128, "training images per step", low=1, high=65536)
    loss: str = _setting(
        "cross_entropy", "loss function; mse: mean squared error of the probabilities", choices=("cross_entropy", "mse")
    )
    class_weights: str = _setting(
        "none", "weights in the loss; balanced: every class has the same weight", choices=("none", "balanced")
    )
    label_smoothing: float = _setting(0.0, "share of the target spread over all classes", low=0.0, high=0.9)
    optimizer: str = _setting("adamw", "optimizer", choices=("momentum", "adam", "adamw", "rmsprop"))
    learning_rate: float = _setting(0.004, "peak learning rate", low=1e-9, high=100.0)
    schedule: str = _setting("constant", "learning-rate schedule", choices=("constant", "cosine", "one-cycle"))
    momentum: float = _setting(0.9, "momentum; beta1 of adam and adamw, rho of rmsprop", low=0.0, high=0.9999)
    beta2: float = _setting(0.999, "beta2 of adam and adamw", low=0.0, high=0.99999)
    weight_decay: float = _setting(0.0, "weight decay; decoupled for adamw, else an L2 penalty", low=0.0, high=10.0)
    ema_decay: float = _setting(
        0.0, "decay per step of the exponential moving average of the weights; 0: off", low=0.0, high=0.99999
    )
    keep: str = _setting("best", "weights to keep: of the best epoch on val, or of the last", choices=("best", "last"))
    stop_below: float = _setting(0.0, "stop once the val loss is below this; 0: never", low=0.0, high=100.0)
    min_epochs: int = _setting(1, "epochs to train before stop_below applies", low=1, high=100_000)
    patience: int = _setting(0, "stop after this many epochs without a lower val loss; 0: never", low=0, high=100_000)

    # Trust
    max_error: float = _setting(0.002, "trust: maximum error rate among trusted predictions", low=1e-6, high=0.5)
    delta: float = _setting(0.05, "trust: probability that this bound fails", low=1e-6, high=0.5)
    trusted_level: float = _setting(
        0.95, "trust: share of right predictions in the interval of trusted_threshold", low=0.5, high=0.9999
    )
    candidates_level: float = _setting(0.95, "trust: how often candidates include the truth", low=0.5, high=0.9999)

    # Augmentation, by random amounts
    rotation: float = _setting(0.0, "augmentation: largest rotation, degrees", low=0.0, high=180.0)
    scale: float = _setting(0.0, "augmentation: largest relative change of size", low=0.0, high=0.9)
    aspect: float = _setting(0.0, "augmentation: largest relative change of width to height", low=0.0, high=0.9)
    shear: float = _setting(0.0, "augmentation: largest horizontal slant, x per y", low=0.0, high=2.0)
    shift: float = _setting(0.0, "augmentation: largest shift along each axis, pixels", low=0.0, high=512.0)
    elastic: float = _setting(0.0, "augmentation: largest shift of a knot of a smooth field, pixels", low=0.0, high=8.0)
    flip: float = _setting(0.0, "augmentation: probability of a mirror image", low=0.0, high=1.0)
    fill: int = _setting(0, "augmentation: gray level of pixels that move in from outside", low=0, high=255)
    square: float = _setting(0.0, "augmentation: probability of stretching the ink to a square", low=0.0, high=1.0)
    hollow: float = _setting(0.0, "augmentation: probability of outlines instead of strokes", low=0.0, high=1.0)
    stroke: float = _setting(0.0, "augmentation: largest change of stroke width, pixels", low=0.0, high=2.0)
    edges: float = _setting(0.0, "augmentation: largest change of edge sharpness, softer or harder", low=0.0, high=1.0)
    cut: float = _setting(0.0, "augmentation: largest crop of one side of the digit, pixels", low=0.0, high=10.0)
    gap: float = _setting(0.0, "augmentation: probability of a gap in the strokes", low=0.0, high=1.0)

    # Reproducibility
    seed: int = _setting(0, "seed of the split, the weights, the order and the augmentation", low=0, high=2**31 - 1)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return (3, self.image_size, self.image_size) if self.model in ("photo_cnn", "transfer") else DIGIT_SHAPE

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        return {name: getattr(self, name) for name, field in FIELDS.items() if getattr(self, name) != field.default}

    def to_yaml(self) -> str:
        """Return all settings as YAML; `load_config` reads it back to an equal config."""
        return yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)


FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def load_config(path: str | Path, overrides: dict[str, str] | None = None) -> Config:
    """Load a config: flags override the YAML file, which overrides the defaults; see `read_settings`."""
    return Config(**read_settings(path, overrides))


def read_settings(path: str | Path | None, overrides: dict[str, str] | None = None) -> dict[str, Any]:
    """Read and check the settings in a YAML file and the flags; flags override the file.

    Args:
        path: the YAML file, or None for the flags alone.
        overrides: field name to the text given on the command line.

    Raises:
        InputError: the file does not exist or is not YAML, a key is unknown or a duplicate, or a value is invalid.
    """
    stated = _read_yaml(Path(path)) if path else {}
    settings = {name: check_setting(f"{path}: {name}", name, value) for name, value in stated.items()}
    for name, text in (overrides or {}).items():
        settings[name] = check_setting("--" + name.replace("_", "-"), name, text)
    return settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `Config`; flags that are not given stay out of the parsed namespace."""
    group = parser.add_argument_group("settings (override the YAML file; defaults in brackets)")
    for name, field in FIELDS.items():
        kind = "true|false" if field.type is bool else "|".join(field.metadata["choices"] or ()) or field.type.__name__
        help = f"{field.metadata['help']} [{field.default}]".replace(" []", "")
        group.add_argument("--" + name.replace("_", "-"), dest=name, default=argparse.SUPPRESS, metavar=kind, help=help)


class _Loader(BoundedLoader):
    """A loader that refuses duplicate keys."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{clip(name)}'", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _read_yaml(path):
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"config {path}: has more than {_MAX_BYTES:,} bytes, so it is not a config")
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        folder = path.parent if any(path.parent.glob("*.yaml")) else Path(__file__).resolve().parents[1] / "configs"
        known = sorted(str(other) for other in folder.glob("*.yaml"))
        hint = suggest(str(path), known) or f"; {folder} has {', '.join(Path(other).name for other in known)}"
        raise InputError(f"config {path}: no such file{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"config {path}: cannot be read: {problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML raises more than YAMLError, for an impossible date, say
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected lines of 'key: value', not a {type(values).__name__}")
    for key in values:
        if key not in FIELDS:
            hint = suggest(str(key), FIELDS) or f"; expected one of {', '.join(FIELDS)}"
            raise InputError(f"{path}: unknown key '{clip(key)}'{hint}")
    return values


def check_setting(where: str, name: str, value: Any) -> Any:
    """Return `value` as the type of the field `name`.

    Raises:
        InputError: the value has the wrong type or is out of range; the message starts with `where`.
    """
    kind, limits = FIELDS[name].type, FIELDS[name].metadata
    if name == "classes" and isinstance(value, list) and not any("," in str(item) for item in value):
        value = ", ".join(map(str, value))
    if kind is str:
        if not isinstance(value, str):
            raise InputError(f"{where}: '{clip(value)}' is not text; put it in quotes")
        if "\0" in value:
            raise InputError(f"{where}: {clip(value)!a} has a null character, which no name has")
        value = os.path.expanduser(value)  # a path may start with ~
    elif kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"{where}: '{clip(value)}' must be true or false")
        value = str(value).lower() == "true"
    else:
        number = _number(value)
        if number is None or number != kind(number):
            wanted = "a whole number" if kind is int else "a number"
            raise InputError(f"{where}: '{clip(value)}' is not {wanted} (for example {FIELDS[name].default})")
        value = kind(number)
    choices, low, high = limits["choices"], limits["low"], limits["high"]
    if choices and value not in choices:
        hint = suggest(value, choices) or f"; choose one of {', '.join(choices)}"
        raise InputError(f"{where}: '{clip(value)}' is not known{hint}")
    if low is not None and not low <= value <= high:
        raise InputError(f"{where}: {clip(value)} is out of range; it must be between {low} and {high}")
    return value


def _number(value):
    """Convert a YAML value or a word to a finite number, else None; PyYAML reads 1e-3 as text."""
    if isinstance(value, bool | list | dict):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
