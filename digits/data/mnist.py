"""Images and labels: MNIST or a set of its form, the split into train and val, the order of the batches, pictures."""

import gzip
import io
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.data.download import FILES, parse_idx, read_mnist
from digits.imaging.reading import read_digit

CLASSES = tuple("0123456789")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".jp2", ".pgm", ".ppm")

# What reading a damaged or foreign .npz raises
_DAMAGED_NPZ = (OSError, EOFError, ValueError, TypeError, SyntaxError, NotImplementedError, RuntimeError)
_DAMAGED_NPZ += (zlib.error, zipfile.BadZipFile, tokenize.TokenError)


def load_mnist(mode: str, data_dir: str | Path = "") -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST, or a set of the same form, whole into memory.

    Without `data_dir` it is MNIST itself, from the cache or fetched (see `mnist_files.read_mnist`).

    Args:
        mode: `"train"` (60,000 images) or `"test"` (10,000).
        data_dir: a folder of your own, with `train-` and `t10k-` idx files (also .gz) or `mnist.npz`
            (`x_train y_train x_test y_test`); checked by shape, type and range of the labels.

    Returns:
        images uint8 [N, 28, 28], ink bright, and labels int64 [N] in 0..9.

    Raises:
        InputError: `data_dir` holds no such set.
        RunError: MNIST could not be had from anywhere.
    """
    if data_dir:
        return _load_folder(mode, Path(data_dir))
    images, labels = read_mnist(mode)
    return images, labels.astype(np.int64)


def holds_mnist(folder: Path) -> bool:
    """Whether a folder has files that `load_mnist` reads (and not pictures)."""
    return (folder / "mnist.npz").is_file() or any(folder.glob("t10k-*ubyte*"))


def split(
    labels: np.ndarray, val_fraction: float, calibration_fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split by chance, each class in the same proportion.

    Returns:
        Sorted indices of the train, the val and the calibration part, together all of `labels`. The train part depends
        on the sum of the two fractions alone; the calibration part is empty if its fraction is 0.

    Raises:
        InputError: another part would be empty.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    held_fraction = val_fraction + calibration_fraction
    is_held = _every(len(labels), held_fraction)
    held = by_class[is_held]
    is_val = _every(len(held), val_fraction / held_fraction)
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


def find_images(paths: list[Path]) -> list[Path]:
    """The paths that are no folders, as they are, and all pictures below those that are, in each folder sorted.

    Raises:
        InputError: a folder without pictures.
    """
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        pictures = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if not pictures:
            raise InputError(f"{path}: no pictures in this folder ({' '.join(IMAGE_SUFFIXES)})")
        found += pictures
    return found


def load_pictures(folder: Path, classes: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Load pictures of digits that lie in a folder a class, as folder/7/mine.png.

    Args:
        folder: where the class folders are.
        classes: the class names, in the order of the labels.

    Returns:
        The path of each, images float32 [N, 28, 28] in MNIST's form, labels int64 [N]. What cannot be read is left out,
        and said so.

    Raises:
        InputError: no such folder, a folder in it that is no class, or nothing to read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    names, images, labels = [], [], []
    for path in find_images([folder]):
        truth = path.relative_to(folder).parts[0]
        if truth not in classes:
            raise InputError(
                f"{path}: '{truth}' is not a class; {folder} needs its pictures in folders called {' '.join(classes)}"
            )
        try:
            images.append(read_digit(path))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        names.append(str(path))
        labels.append(classes.index(truth))
    if not images:
        raise InputError(f"{folder}: none of its pictures can be read")
    return names, np.stack(images), np.array(labels)


def to_input(images: np.ndarray) -> np.ndarray:
    """What a network takes, float32 in [0, 1], of images as they are kept.

    Args:
        images: uint8, or float32 in [0, 1]: [N, 28, 28], [N, S, S, 3], or features float32 [N, D].

    Returns:
        float32 [N, 1, 28, 28], [N, 3, S, S], or the features as they are.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images


def _every(count, fraction):
    """bool [count]: evenly spread, `fraction` of them true; every tenth, for a fraction of 0.1."""
    share = np.floor(np.arange(count + 1) * fraction)
    return share[1:] > share[:-1]


def _load_folder(mode, folder):
    """A user's own set: idx files or mnist.npz, checked by form, whatever its size."""
    if not folder.is_dir():
        raise InputError(
            f"data folder {folder}: {'is a file, name its folder' if folder.exists() else 'no such folder'}"
        )
    modes = FILES if mode == "train" else (mode,)  # without test images a run would fail at its very end
    if (folder / "mnist.npz").is_file():
        source = folder / "mnist.npz"
        images, labels = _read_npz(source, mode, modes)
    else:
        paths = {needed: [_find_idx(folder, name) for name in FILES[needed]] for needed in modes}[mode]
        source = paths[0]
        images, labels = (parse_idx(_read_bytes(path), path) for path in paths)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8 or len(images) == 0:
        raise InputError(f"{source}: images are {images.dtype} {list(images.shape)}, wanted uint8 [N, 28, 28]")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{source}: labels are {labels.dtype} {list(labels.shape)}, wanted an integer for each image")
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise InputError(f"{source}: labels go from {labels.min()} to {labels.max()}, wanted 0 to {len(CLASSES) - 1}")
    _say(f"{mode}: {len(images)} images from {source}")
    return images, labels.astype(np.int64)


def _find_idx(folder, name):
    for candidate in (name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    raise InputError(f"data folder {folder}: has neither {name}[.gz] nor mnist.npz")


def _read_bytes(path):
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as gzip ({error})") from None


def _read_npz(path, mode, modes):
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            missing = [name for needed in modes for name in (f"x_{needed}", f"y_{needed}") if name not in arrays]
            if missing:
                raise InputError(f"{path}: has no {' and no '.join(missing)}")
            return arrays[f"x_{mode}"], arrays[f"y_{mode}"]
    except _DAMAGED_NPZ as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from None


def _say(text):
    print(f"data: {text}", file=sys.stderr)
