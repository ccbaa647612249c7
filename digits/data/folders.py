"""Datasets in class folders, with or without train, val and test above."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.data.pictures import (
    BROKEN,
    HIDDEN,
    LOOP,
    is_skipped,
    leads_back,
    list_pictures,
    may_hold_pictures,
    name_left_out,
)

_PART_NAMES = {  # lower-case folder names of each part
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class ImageFolder:
    """The files of a dataset in class folders.

    `classes` are the class names, sorted; `parts` holds for `train` and, if they exist, `val` and `test` the paths and
    their labels int64 [N].
    """

    classes: list[str]
    parts: dict[str, tuple[list[Path], np.ndarray]]


def list_image_folder(folder: Path) -> ImageFolder:
    """List `folder/train/<class>/*`, with `val` and `test` if they exist, or `folder/<class>/*` as train alone.

    Raises:
        InputError: no such folder, fewer than two classes, a class without pictures, or a class that train lacks.
    """
    require_folder(folder)
    found = {
        part: next((path for path in _subfolders(folder) if path.name.lower() in names), None)
        for part, names in _PART_NAMES.items()
    }
    if found["train"]:
        others = [path for path in _subfolders(folder) if path not in found.values()]
        name_left_out({"is not train/, val/ or test/": others})
    if found["test"] and not _subfolders(found["test"]):
        name_left_out({"has no class folders, so it is not a test set": [found["test"]]})
        found["test"] = None
    if not found["train"]:
        if found["val"] or found["test"]:
            raise InputError(f"data folder {folder}: has {(found['val'] or found['test']).name}/ but no train/")
        found = {"train": folder}
    classes = [path.name for path in _subfolders(found["train"])]
    if len(classes) < 2:
        raise InputError(
            f"data folder {found['train']}: has {len(classes)} class folders, expected at least two with pictures in "
            "them; or MNIST's files (mnist.npz, or the four idx files)"
        )
    parts = _list_parts({part: path for part, path in found.items() if path}, classes, folder)
    counts = np.bincount(parts["train"][1], minlength=len(classes))
    if not counts.all():
        raise InputError(f"data folder {found['train']}: {classes[int(counts.argmin())]}/ is empty or has no pictures")
    return ImageFolder(classes, parts)


def list_class_folders(folder: Path, classes: list[str]) -> tuple[list[Path], np.ndarray]:
    """List the pictures in a folder's class folders, sorted, and their labels int64 [N].

    Raises:
        InputError: no such folder, a subfolder that is not called after a class, or no pictures.
    """
    require_folder(folder)
    return _list_parts({"": folder}, classes, folder)[""]


def require_folder(folder: Path) -> None:
    """Raise an InputError unless the folder exists."""
    if not folder.is_dir():
        raise InputError(
            f"data folder {folder}: {'is a file; name its folder' if folder.exists() else 'no such folder'}"
        )


def _list_parts(parts, classes, root):
    """List the pictures and labels of each part, as `list_class_folders` does; each file counts once."""
    subfolders = []
    for folder in parts.values():
        for subfolder in _subfolders(folder):
            if subfolder.name not in classes:
                raise InputError(
                    f"{subfolder}: '{subfolder.name}' is not a class; put the pictures into folders called "
                    f"{' '.join(classes)}"
                )
            subfolders.append(subfolder)
        name_left_out(_left_beside(folder))
    found = dict(zip(subfolders, list_pictures(*subfolders, parents=[root, *parts.values()]), strict=True))
    listed = {}
    for part, folder in parts.items():
        paths, labels = [], []
        for subfolder in (path for path in subfolders if path.parent == folder):
            paths += found[subfolder]
            labels += [classes.index(subfolder.name)] * len(found[subfolder])
        if not paths:
            named = " ".join(classes)
            raise InputError(f"{folder}: no pictures in class folders; put them into folders called {named}")
        listed[part] = paths, np.array(labels, np.int64)
    return listed


def _left_beside(folder):
    """List by reason what is beside class folders."""
    left_out = {"is not in a class folder": [], HIDDEN: [], LOOP: [], BROKEN: []}
    for path in sorted(folder.iterdir()):
        if is_skipped(path.name):
            if may_hold_pictures(path):
                left_out[HIDDEN].append(path)
        elif path.is_file():
            left_out["is not in a class folder"].append(path)
        elif not path.is_dir():
            left_out[BROKEN].append(path)
        elif leads_back(path):
            left_out[LOOP].append(path)
    return left_out


def _subfolders(folder):
    """List the subfolders of a folder, sorted, without links to the folder itself or to one above it."""
    paths = (path for path in folder.iterdir() if path.is_dir() and not is_skipped(path.name))
    return sorted(path for path in paths if not leads_back(path))
