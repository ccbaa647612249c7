"""A folder of pictures, a folder a class: which classes there are, and which files are to train, to choose, to test."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.cli import InputError

_NAMES = {  # of the folders of the parts, in lower case
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class ImageFolder:
    """The class names, sorted, and of each part that there is (`train val test`) the files and their labels int [N]."""

    classes: list[str]
    parts: dict[str, tuple[list[Path], np.ndarray]]


def list_image_folder(folder: Path) -> ImageFolder:
    """List `folder/train/<class>/*`, and `val` and `test` likewise where they are; or `folder/<class>/*`, all as train.

    Hidden files are passed over; any other counts as a picture until it is read.

    Raises:
        InputError: no such folder, fewer than two classes, a class without files, or one in val or test alone.
    """
    if not folder.is_dir():
        raise InputError(
            f"data folder {folder}: {'is a file, name its folder' if folder.exists() else 'no such folder'}"
        )
    found = {
        part: next((path for path in _subfolders(folder) if path.name.lower() in names), None)
        for part, names in _NAMES.items()
    }
    if found["test"] and not _subfolders(found["test"]):
        print(f"left out: {found['test']}: has no class folders, so it is no test set", file=sys.stderr)
        found["test"] = None
    if not found["train"]:
        if found["val"] or found["test"]:
            raise InputError(
                f"data folder {folder}: has {(found['val'] or found['test']).name}/, and no train/ beside it"
            )
        found = {"train": folder}
    classes = [path.name for path in _subfolders(found["train"])]
    if len(classes) < 2:
        raise InputError(
            f"data folder {found['train']}: has {len(classes)} class folders, two at least are wanted, with pictures "
            "in them; or the files of a set of MNIST's form (mnist.npz, or the four idx files)"
        )
    parts = {part: list_classes(path, classes) for part, path in found.items() if path}
    counts = np.bincount(parts["train"][1], minlength=len(classes))
    if not counts.all():
        raise InputError(f"data folder {found['train']}: there is nothing in {classes[int(counts.argmin())]}/")
    return ImageFolder(classes, parts)


def list_classes(folder: Path, classes: list[str]) -> tuple[list[Path], np.ndarray]:
    """List the files in the class folders of one folder, sorted, and their labels int64 [N].

    Raises:
        InputError: a folder in it that is no class, or no file in any.
    """
    paths, labels = [], []
    for subfolder in _subfolders(folder):
        if subfolder.name not in classes:
            raise InputError(
                f"{subfolder}: '{subfolder.name}' is not a class; {folder} needs its pictures in folders called "
                f"{' '.join(classes)}"
            )
        files = list_files(subfolder)
        paths += files
        labels += [classes.index(subfolder.name)] * len(files)
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            print(f"left out: {path}: lies in no class folder", file=sys.stderr)
    if not paths:
        raise InputError(f"{folder}: there is nothing in its class folders, which are called {' '.join(classes)}")
    return paths, np.array(labels, np.int64)


def list_files(folder: Path) -> list[Path]:
    """All files below a folder, sorted; what is hidden is passed over."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not any(name.startswith(".") for name in path.relative_to(folder).parts)]


def _subfolders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
