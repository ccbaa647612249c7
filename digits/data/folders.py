"""List image files: one folder per class, with or without train, val and test above; or all images below a folder."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.cli import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2", ".pgm", ".ppm")

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


def find_images(paths: list[Path]) -> list[Path]:
    """Replace each folder among the paths by the image files below it, sorted; keep paths that are not folders.

    Raises:
        InputError: a folder has no image files.
    """
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        images = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not images:
            raise InputError(f"{path}: no pictures in this folder ({' '.join(IMAGE_SUFFIXES)})")
        found += images
    return found


def list_image_folder(folder: Path) -> ImageFolder:
    """List `folder/train/<class>/*`, with `val` and `test` if they exist, or `folder/<class>/*` as train alone.

    Hidden files are skipped; every other file in a class folder counts as an image until it is read.

    Raises:
        InputError: no such folder, fewer than two classes, a class without files, or a class that train lacks.
    """
    require_folder(folder)
    found = {
        part: next((path for path in _subfolders(folder) if path.name.lower() in names), None)
        for part, names in _PART_NAMES.items()
    }
    if found["test"] and not _subfolders(found["test"]):
        print(f"left out: {found['test']}: has no class folders, so it is not a test set", file=sys.stderr)
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
    parts = {part: list_class_folders(path, classes) for part, path in found.items() if path}
    counts = np.bincount(parts["train"][1], minlength=len(classes))
    if not counts.all():
        raise InputError(f"data folder {found['train']}: {classes[int(counts.argmin())]}/ is empty")
    return ImageFolder(classes, parts)


def list_class_folders(folder: Path, classes: list[str]) -> tuple[list[Path], np.ndarray]:
    """List the files in a folder's class folders, sorted, and their labels int64 [N]; hidden files are skipped.

    Files outside the class folders are named on stderr.

    Raises:
        InputError: no such folder, a subfolder that is not called after a class, or no files.
    """
    require_folder(folder)
    paths, labels = [], []
    for subfolder in _subfolders(folder):
        if subfolder.name not in classes:
            raise InputError(
                f"{subfolder}: '{subfolder.name}' is not a class; put the pictures into folders called "
                f"{' '.join(classes)}"
            )
        files = list_files(subfolder)
        paths += files
        labels += [classes.index(subfolder.name)] * len(files)
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            print(f"left out: {path}: is not in a class folder", file=sys.stderr)
    if not paths:
        raise InputError(f"{folder}: no pictures in class folders; put them into folders called {' '.join(classes)}")
    return paths, np.array(labels, np.int64)


def list_files(folder: Path) -> list[Path]:
    """List all files below a folder, sorted; hidden files and folders are skipped."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not any(name.startswith(".") for name in path.relative_to(folder).parts)]


def require_folder(folder: Path) -> None:
    """Raise an InputError unless the folder exists."""
    if not folder.is_dir():
        raise InputError(
            f"data folder {folder}: {'is a file; name its folder' if folder.exists() else 'no such folder'}"
        )


def _subfolders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
