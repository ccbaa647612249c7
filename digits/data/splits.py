"""What the network is trained on: the parts of a set of images, and what it sees beside each batch of that."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.config import DIGIT_SHAPE, Config
from digits.data.augment import FOR_STROKES
from digits.data.folders import list_files, list_image_folder
from digits.data.image_files import ImageFiles, read_image_files
from digits.data.mnist import CLASSES, holds_mnist, load_mnist, load_pictures, split

_UNEVEN = 3  # times as many images in the largest class as in the smallest that are worth a word

Part = tuple[np.ndarray | ImageFiles, np.ndarray]


@dataclass(frozen=True)
class Dataset:
    """The images that a run is made with, but for the test images.

    Each part is a pair: images, uint8 [N, 28, 28] digits or [N, S, S, 3] photos, and labels int64 [N]. `extra` are
    drawings of the user's own, if there are any, `unlabeled` images without labels.
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
    """Load the images that the config names, split them, and say how many there are.

    Args:
        config: the run's settings.
        limit: keep no more images than this of each part.

    Raises:
        InputError: there is no such set of images, or the network or another setting is not made for them.
    """
    classes = list_class_names(config)
    _check_settings(config, classes)
    read = _Reader(config, limit)
    if has_class_folders(config.data_dir):
        files = _split_folder(config)
        parts = {name: read(*files[name]) for name in ("train", "val", "calibration") if name in files}
        empty = np.flatnonzero(np.bincount(parts["train"][1], minlength=len(classes)) == 0)
        if len(empty) and not limit:
            raise InputError(f"{config.data_dir}: no picture of {classes[empty[0]]} for training can be read")
        if read.digits:  # a few megabytes, all of which are in memory
            parts = {name: (pictures.cache, labels) for name, (pictures, labels) in parts.items()}
    else:
        images, labels = load_mnist("train", config.data_dir)
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
        print(_class_counts(classes, parts["train"][1], config), flush=True)
    extra, unlabeled = None, None
    if config.extra:
        _, drawings, truths = load_pictures(Path(config.extra), classes)
        print(f"{config.extra}: {len(truths):,} drawings", flush=True)
        extra = np.rint(255 * drawings).astype(np.uint8), truths
    if config.unlabeled:
        unlabeled = _load_unlabeled(config.unlabeled, read, limit)
        print(f"{config.unlabeled}: {len(unlabeled):,} images without labels", flush=True)
    return Dataset(classes, **parts, extra=extra, unlabeled=unlabeled)


def load_test(config: Config, limit: int | None = None) -> Part | None:
    """The test images and their labels; None if the data has none. Not more of them than `limit`."""
    if not has_class_folders(config.data_dir):
        images, labels = load_mnist("test", config.data_dir)
        return images[:limit], labels[:limit]
    files = _split_folder(config)
    return _Reader(config, limit)(*files["test"], keep_all=True) if "test" in files else None


def list_class_names(config: Config) -> list[str]:
    """The class names of the config's data, in the order of the labels."""
    return _list_once(config.data_dir).classes if has_class_folders(config.data_dir) else list(CLASSES)


def example_file(config: Config) -> str | None:
    """A picture to try the network with: of class folders, the first that is not trained on; None of other data."""
    if not has_class_folders(config.data_dir):
        return None
    parts = _split_folder(config)
    return str((parts.get("test") or parts["val"])[0][0])


def list_parts(config: Config) -> dict[str, list[str]]:
    """The files of each part of class folders, sorted."""
    return {part: sorted(map(str, paths)) for part, (paths, _) in _split_folder(config).items()}


def has_class_folders(data_dir: str) -> bool:
    """Whether it is a folder of class folders; else it is MNIST, or has files of that form."""
    return bool(data_dir) and not holds_mnist(Path(data_dir))


class _Reader:
    """Reads files as the config's network takes them: photos within the config's memory in all, digits all into it."""

    def __init__(self, config, limit):
        self.shape = config.input_shape
        self.digits = self.shape == DIGIT_SHAPE
        self.left = config.cache_mb * 10**6
        self.limit = limit

    def __call__(self, paths, labels, keep_all=False):
        if self.limit and len(paths) > self.limit:
            chosen = np.linspace(0, len(paths) - 1, self.limit).astype(int)
            paths, labels = [paths[index] for index in chosen], labels[chosen]
        budget = sys.maxsize if self.digits else self.left
        pictures, labels = read_image_files(paths, labels, self.shape, budget, keep_all)
        self.left -= pictures.cache.nbytes
        return pictures, labels


@functools.cache
def _list_once(folder):
    """What is in the folder when it is first asked for: a run keeps to that."""
    return list_image_folder(Path(folder))


def _split_folder(config):
    """Files and labels by part: by the folders that there are, and what they leave open by chance."""
    folder = _list_once(config.data_dir)
    parts = dict(folder.parts)

    def divide(*names):
        """Take the named parts out of train, each its fraction."""
        paths, labels = parts["train"]
        fractions = [getattr(config, f"{name}_fraction") for name in names]
        try:
            chosen = split(labels, *fractions, *[0.0] * (2 - len(names)), config.seed)
        except InputError:
            stated = " and ".join(f"{name}_fraction {value}" for name, value in zip(names, fractions, strict=True))
            raise InputError(f"{stated} of {len(labels)} images leave a part without any; change them") from None
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


def _load_unlabeled(folder, read, limit):
    if not has_class_folders(folder):
        images, _ = load_mnist("train", folder)
        return images[:limit]
    if not Path(folder).is_dir():
        raise InputError(f"unlabeled: {folder}: no such folder")
    paths = list_files(Path(folder))
    if not paths:
        raise InputError(f"unlabeled: {folder}: there is nothing in this folder")
    return read(paths, np.zeros(len(paths), np.int64))[0]


def _check_settings(config, classes):
    for_photos = config.input_shape != DIGIT_SHAPE
    if for_photos:
        if not has_class_folders(config.data_dir):
            raise InputError(f"model '{config.model}' is for photos; name a folder with class folders by --data-dir")
        wrong = [name for name in FOR_STROKES if getattr(config, name)]
        if wrong:
            raise InputError(f"{', '.join(wrong)}: for digits, and '{config.model}' is for photos; set to 0")
    if for_photos or classes != list(CLASSES):
        wrong = [name for name in ("forms", "non_digits", "extra") if getattr(config, name)]
        if wrong:
            flags = " ".join(f"--{name.replace('_', '-')} {'' if name == 'extra' else '0'}" for name in wrong)
            raise InputError(
                f"{', '.join(wrong)}: for networks of the digits 0 to 9 only, and the classes here are "
                f"{' '.join(classes[:12])}; leave out, or {flags}"
            )


def _class_counts(classes, labels, config):
    """How many images each class has, in words, and that they are uneven where they are."""
    counts = np.bincount(labels, minlength=len(classes))
    least, most = int(counts.argmin()), int(counts.argmax())
    if len(classes) <= 12:
        named = (f"{name} {count:,}" for name, count in zip(classes, counts, strict=True))
        lines = [f"train, by class: {', '.join(named)}"]
    else:
        ends = " to ".join(f"{counts[end]:,} ({classes[end]})" for end in (least, most))
        lines = [f"train: {len(classes)} classes of {ends}"]
    if counts[most] > _UNEVEN * counts[least]:
        hint = "" if config.class_weights == "balanced" else "; --class-weights balanced evens that out"
        lines.append(
            f"{classes[most]} has {counts[most] / max(1, counts[least]):.1f} times as many as {classes[least]}{hint}"
        )
    return "\n".join(lines)
