"""The dataset of a run: load the images that the config names, and split them into train, val, calibration and test."""

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.config import DIGIT_SHAPE, Config
from digits.data.augment import FOR_STROKES
from digits.data.class_names import HOW_TO_NAME, UNNAMED, parse_names
from digits.data.folders import list_class_folders, list_image_folder
from digits.data.image_files import ImageFiles, read_image_files
from digits.data.mnist import CLASSES, holds_mnist, list_names, load_mnist
from digits.data.pictures import list_pictures

_MAX_IMBALANCE = 3  # largest ratio of class sizes that is not reported

Part = tuple[np.ndarray | ImageFiles, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """All images of a run except the test set.

    A part is a pair: images, uint8 [N, 28, 28] digits or [N, S, S, 3] photos, and labels int64 [N]. `train` fits the
    network, `val` chooses the epoch and the temperature, `calibration` the threshold of trusted predictions. `extra`
    are the user's own drawings, mixed into each batch; `unlabeled` are images for pseudo-labels.
    """

    classes: list[str]
    train: Part
    val: Part
    calibration: Part | None = None
    extra: Part | None = None
    unlabeled: np.ndarray | ImageFiles | None = None

    @property
    def class_counts(self) -> np.ndarray:
        """Training images per class, int [C]."""
        return np.bincount(self.train[1], minlength=len(self.classes))


def load_dataset(config: Config, limit: int | None = None) -> Dataset:
    """Load and split the images that the config names, and print how many there are.

    Args:
        config: the run's settings.
        limit: maximum number of images in each part.

    Raises:
        InputError: the images cannot be loaded, or the network or another setting does not fit them.
    """
    classes = list_class_names(config)
    _check_settings(config, classes)
    reader = _Reader(config, limit)
    if has_class_folders(config.data_dir):
        files = _split_folder(config)
        parts = {name: reader.read(*files[name]) for name in ("train", "val", "calibration") if name in files}
        missing = np.flatnonzero(np.bincount(parts["train"][1], minlength=len(classes)) == 0)
        if len(missing) and not limit:
            raise InputError(f"{config.data_dir}: no training image of class {classes[missing[0]]} can be decoded")
        if reader.is_for_digits:  # all of them are in memory
            parts = {name: (images.cache, labels) for name, (images, labels) in parts.items()}
    else:
        if classes == list(UNNAMED):
            print(f"{config.data_dir}: {HOW_TO_NAME}", file=sys.stderr)
        images, labels = load_mnist("train", config.data_dir, len(classes))
        chosen = split(labels, config.val_fraction, config.calibration_fraction, config.seed)
        names = ("train", "val", "calibration")
        parts = {
            name: (images[part[:limit]], labels[part[:limit]])
            for name, part in zip(names, chosen, strict=True)
            if len(part)
        }
    counts = (f"{len(labels):,} {name}" for name, (_, labels) in parts.items())
    print(f"images: {', '.join(counts)}", flush=True)
    if has_class_folders(config.data_dir):
        print(_describe_classes(classes, parts["train"][1], config), flush=True)
    extra, unlabeled = None, None
    if config.extra:
        drawings = list_class_folders(Path(config.extra), classes)
        drawings, labels = read_image_files(*drawings, config.input_shape, sys.maxsize)
        print(f"{config.extra}: {len(labels):,} drawings", flush=True)
        extra = drawings.cache, labels
    if config.unlabeled:
        unlabeled = _load_unlabeled(config.unlabeled, reader)
        print(f"{config.unlabeled}: {len(unlabeled):,} unlabeled images", flush=True)
    return Dataset(classes, **parts, extra=extra, unlabeled=unlabeled)


def load_test(config: Config, limit: int | None = None) -> Part | None:
    """Load the test set, at most `limit` images; None if the data has none."""
    if not has_class_folders(config.data_dir):
        images, labels = load_mnist("test", config.data_dir, len(list_class_names(config)))
        return images[:limit], labels[:limit]
    files = _split_folder(config)
    return _Reader(config, limit).read(*files["test"], keep_graphics=True) if "test" in files else None


def split(
    labels: np.ndarray, val_fraction: float, calibration_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split indices into train, val and calibration, at random and stratified by class.

    Args:
        labels: int [N].
        val_fraction, calibration_fraction: shares of N. The train part depends on their sum alone.
        seed: seed of the split.

    Returns:
        The sorted indices of the three parts; calibration is empty if its fraction is 0.

    Raises:
        InputError: another part would be empty.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    held_fraction = val_fraction + calibration_fraction
    is_held = _spread(len(labels), held_fraction)
    held = by_class[is_held]
    is_val = _spread(len(held), val_fraction / held_fraction)
    parts = [np.sort(part) for part in (by_class[~is_held], held[is_val], held[~is_val])]
    empty = [name for name, part in zip(("train", "val", "calibration"), parts, strict=True) if not len(part)]
    if set(empty) - (set() if calibration_fraction else {"calibration"}):
        raise InputError(
            f"val_fraction {val_fraction} and calibration_fraction {calibration_fraction} of {len(labels)} images "
            f"leave none for {' and '.join(empty)}"
        )
    return tuple(parts)


def shuffled_batches(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the indices 0..count-1 in random order, `batch_size` at a time; the last batch may be smaller."""
    order = rng.permutation(count)
    for start in range(0, count, batch_size):
        yield order[start : start + batch_size]


def list_class_names(config: Config) -> list[str]:
    """List the class names of the config's data, in the order of the labels.

    Raises:
        InputError: the data cannot be found, or the setting `classes` cannot be used.
    """
    if config.data_dir and not has_class_folders(config.data_dir):
        return list_names(Path(config.data_dir), config.classes)
    classes = _list_once(config.data_dir).classes if config.data_dir else list(CLASSES)
    if config.classes and parse_names(config.classes) != classes:
        owner = "class folders have" if config.data_dir else "MNIST has"
        raise InputError(f"classes: for idx files or .npz, and {owner} names: {' '.join(classes[:12])}; omit it")
    return classes


def example_file(config: Config) -> str | None:
    """Choose an image to try the network with: the first test or val image of class folders; None for other data."""
    if not has_class_folders(config.data_dir):
        return None
    parts = _split_folder(config)
    return str((parts.get("test") or parts["val"])[0][0])


def list_parts(config: Config) -> dict[str, list[str]]:
    """List the files of each part of class folders, sorted."""
    return {part: sorted(map(str, paths)) for part, (paths, _) in _split_folder(config).items()}


def has_class_folders(data_dir: str) -> bool:
    """Return whether the data is in class folders, and not MNIST or in MNIST's file formats."""
    return bool(data_dir) and not holds_mnist(Path(data_dir))


class _Reader:
    """Reads image files for the config's network: digits all into memory, photos within the config's budget."""

    def __init__(self, config, limit):
        self.input_shape = config.input_shape
        self.is_for_digits = self.input_shape == DIGIT_SHAPE
        self.bytes_left = config.cache_mb * 10**6
        self.limit = limit

    def read(self, paths, labels, keep_graphics=False):
        if self.limit and len(paths) > self.limit:
            chosen = np.linspace(0, len(paths) - 1, self.limit).astype(int)
            paths, labels = [paths[index] for index in chosen], labels[chosen]
        budget = sys.maxsize if self.is_for_digits else self.bytes_left
        images, labels = read_image_files(paths, labels, self.input_shape, budget, keep_graphics)
        self.bytes_left -= images.cache.nbytes
        return images, labels


@functools.cache
def _list_once(folder):
    """List a data folder; files that arrive later do not change the run."""
    return list_image_folder(Path(folder))


def _split_folder(config):
    """Return files and labels by part: the part's folder, or a random share of train."""
    folder = _list_once(config.data_dir)
    parts = dict(folder.parts)

    def divide(*names):
        """Take the fraction of each named part out of train."""
        paths, labels = parts["train"]
        fractions = [getattr(config, f"{name}_fraction") for name in names]
        try:
            chosen = split(labels, *fractions, *[0.0] * (2 - len(names)), config.seed)
        except InputError:
            stated = " and ".join(f"{name}_fraction {value}" for name, value in zip(names, fractions, strict=True))
            raise InputError(f"{stated} of {len(labels)} images leave a part empty; change them") from None
        for part, indices in zip(("train", *names), chosen, strict=False):
            if len(indices):
                parts[part] = [paths[index] for index in indices], labels[indices]

    if config.test_fraction and len(parts) == 1:
        divide("test")
    if "val" not in parts:
        divide("val", "calibration")
    elif config.calibration_fraction:
        divide("calibration")
    return parts


def _load_unlabeled(folder, reader):
    if not has_class_folders(folder):
        images, _ = load_mnist("train", folder, num_classes=None)
        return images[: reader.limit]
    if not Path(folder).is_dir():
        raise InputError(f"unlabeled: {folder}: no such folder")
    (paths,) = list_pictures(Path(folder))
    if not paths:
        raise InputError(f"unlabeled: {folder}: no pictures in this folder")
    return reader.read(paths, np.zeros(len(paths), np.int64))[0]


def _check_settings(config, classes):
    is_for_photos = config.input_shape != DIGIT_SHAPE
    if is_for_photos:
        if not has_class_folders(config.data_dir):
            raise InputError(f"model '{config.model}' is for photos; name a folder with class folders by --data-dir")
        wrong = [name for name in FOR_STROKES if getattr(config, name)]
        if wrong:
            raise InputError(f"{', '.join(wrong)}: for digits, and '{config.model}' is for photos; set to 0")
    if is_for_photos or classes != list(CLASSES):
        names = ("forms", "non_digits", "extra") if is_for_photos else ("extra",)  # `TrainingBatches` omits the others
        wrong = [name for name in names if getattr(config, name)]
        if wrong:
            flags = " ".join(f"--{name.replace('_', '-')} {'' if name == 'extra' else '0'}" for name in wrong)
            raise InputError(
                f"{', '.join(wrong)}: for networks of the digits 0 to 9 only, and the classes here are "
                f"{' '.join(classes[:12])}; leave out, or {flags}"
            )


def _describe_classes(classes, labels, config):
    """Describe how many images each class has, and how unbalanced the classes are."""
    counts = np.bincount(labels, minlength=len(classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    if len(classes) <= 12:
        named = (f"{name} {count:,}" for name, count in zip(classes, counts, strict=True))
        lines = [f"train, by class: {', '.join(named)}"]
    else:
        ends = " to ".join(f"{counts[end]:,} ({classes[end]})" for end in (least, most))
        lines = [f"train: {len(classes)} classes of {ends}"]
    if counts[most] > _MAX_IMBALANCE * counts[least]:
        hint = "" if config.class_weights == "balanced" else "; --class-weights balanced compensates for that"
        lines.append(
            f"{classes[most]} has {counts[most] / max(1, counts[least]):.1f} times as many as {classes[least]}{hint}"
        )
    return "\n".join(lines)


def _spread(count, fraction):
    """Return bool [count] with that fraction true, evenly spread: every tenth for a fraction of 0.1."""
    share = np.floor(np.arange(count + 1) * fraction)
    return share[1:] > share[:-1]
