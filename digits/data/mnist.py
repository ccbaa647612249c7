"""MNIST, or a dataset in its file formats, as two arrays in memory."""

import gzip
import math
import os
import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.data.class_names import DIGITS, UNNAMED, parse_names, read_names
from digits.data.download import FILES, is_published, read_mnist_files, to_idx
from digits.data.folders import require_folder
from digits.files import read_at_most

CLASSES = DIGITS

_MAX_BYTES = 600_000_000  # of an array in a file; EMNIST's largest has 547 million
_GZIP = b"\x1f\x8b"  # first bytes of a gzip file
_MAX_DIMENSIONS = 3

# Exceptions of damaged .npz files and of files of another format
_DAMAGED_NPZ = (OSError, EOFError, ValueError, TypeError, SyntaxError, NotImplementedError, RuntimeError, KeyError)
_DAMAGED_NPZ += (zlib.error, zipfile.BadZipFile, tokenize.TokenError, struct.error, OverflowError)


def load_mnist(
    mode: str, data_dir: str | Path = "", num_classes: int | None = len(CLASSES)
) -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST, or your own dataset in MNIST's file formats, into memory.

    The arrays hold the items of `paddle.vision.datasets.MNIST(mode=mode)`. That class parses the training images in
    2.8 s, takes about 350 MB and requires a multiple of 100 images; with `parse_idx` it is 0.1 s and 47 MB
    (Paddle 3.3.1, one core of a 2-core AMD machine).

    Args:
        mode: `"train"` (60,000 images) or `"test"` (10,000).
        data_dir: a folder with `train-` and `t10k-` idx files (or .gz), or with `mnist.npz` (arrays
            `x_train y_train x_test y_test`), see `find_data`; empty: MNIST, from the cache or downloaded.
        num_classes: labels must be below this; None: the labels do not matter.

    Returns:
        images uint8 [N, 28, 28], ink bright, and labels int64 [N] from 0.

    Raises:
        InputError: `data_dir` has no such files, or their arrays have another shape, type or range.
        RunError: MNIST cannot be downloaded from any source.
    """
    if data_dir:
        return _load_folder(mode, Path(data_dir), num_classes)
    images, labels = map(parse_idx, read_mnist_files(mode), FILES[mode])
    return images, labels.astype(np.int64)


def holds_mnist(folder: Path) -> bool:
    """Return whether a folder has files that `load_mnist` reads; otherwise it has class folders."""
    return find_data(folder) is not None


def find_data(folder: Path) -> Path | None:
    """Find the dataset in MNIST's file formats that `folder` holds.

    Returns:
        The path of `mnist.npz`, or the folder of the idx files: `folder`, or `raw` or `*/raw` below it, where
        torchvision puts them. None if there are none. `folder` may also be an .npz file.

    Raises:
        InputError: there are several datasets below the folder.
    """
    if folder.is_file():
        return folder if folder.suffix.lower() == ".npz" else None
    if not folder.is_dir():
        return None
    if (folder / "mnist.npz").is_file():
        return folder / "mnist.npz"
    if _has_idx(folder):
        return folder
    below = sorted(folder / entry.name / "raw" for entry in os.scandir(folder) if entry.is_dir())
    found = [path for path in (folder / "raw", *below) if path.is_dir() and _has_idx(path)]
    if len(found) > 1:
        raise InputError(f"data folder {folder}: holds several datasets; name one: {' '.join(map(str, found[:12]))}")
    return found[0] if found else None


def list_names(data_dir: Path, setting: str = "") -> list[str]:
    """List the class names of a dataset in MNIST's file formats, in the order of the labels.

    They are those of the setting `classes`, else of `classes.txt` beside the data. Otherwise MNIST, recognized by the
    checksum of its labels, has the digits, and other data has `class 0` to `class 9`.

    Raises:
        InputError: the files cannot be read, or their names cannot be used.
    """
    if setting:
        return parse_names(setting)
    source = find_data(data_dir)
    folders = {data_dir if data_dir.is_dir() else data_dir.parent, source if source.is_dir() else source.parent}
    for folder in sorted(folders):
        if names := read_names(folder):
            return names
    for mode, (_, name) in FILES.items():
        try:
            labels = _read_npz(source, [f"y_{mode}"])[0] if source.is_file() else _read_idx(_find_idx(source, name))
        except InputError:  # the file of this mode is missing
            continue
        if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) and is_published(name, to_idx(labels)):
            return list(DIGITS)
    return list(UNNAMED)


def parse_idx(content: bytes, name: str | Path) -> np.ndarray:
    """Parse an idx file: two zero bytes, type 8 (unsigned byte), dimensions, their sizes (uint32, big-endian), data.

    Args:
        content: the file's content.
        name: the file's name, used in the error message.

    Returns:
        A uint8 array.

    Raises:
        InputError: the content has another format or is cut short.
    """
    start, shape = _parse_header(content, name)
    if len(content) != start + math.prod(shape):
        raise InputError(f"{name}: cut short or damaged: its header says {'x'.join(map(str, shape))} bytes of data")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _parse_header(content, name):
    """Return where an idx file's data starts, and its shape."""
    dimensions = content[3] if len(content) >= 4 else 0
    start = 4 + 4 * dimensions
    if content[:3] != b"\0\0\x08" or not 1 <= dimensions <= _MAX_DIMENSIONS or len(content) < start:
        raise InputError(f"{name}: not an idx file of unsigned bytes, or cut short")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if math.prod(max(1, size) for size in shape) > _MAX_BYTES:  # NumPy multiplies them so, too
        raise InputError(
            f"{name}: its header says {'x'.join(map(str, shape))} bytes, expected at most {_MAX_BYTES:,} in all"
        )
    return start, shape


def _load_folder(mode, folder, num_classes):
    source = find_data(folder)
    if not source:
        require_folder(folder)
        source = folder  # `_find_idx` says which files are missing
    modes = FILES if mode == "train" else (mode,)  # without test images, a run would fail at its very end
    if source.is_file():
        images, labels = _read_npz(source, [f"{axis}_{mode}" for axis in "xy"], modes)
    else:
        paths = {needed: [_find_idx(source, name) for name in FILES[needed]] for needed in modes}[mode]
        source = paths[0]
        images, labels = map(_read_idx, paths)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8 or len(images) == 0:
        raise InputError(f"{source}: images are {images.dtype} {list(images.shape)}, expected uint8 [N, 28, 28]")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{source}: labels are {labels.dtype} {list(labels.shape)}, expected one integer per image")
    if num_classes and (labels.min() < 0 or labels.max() >= num_classes):
        raise InputError(
            f"{source}: labels range from {labels.min()} to {labels.max()}, expected 0 to {num_classes - 1}; "
            "name all classes by --classes or in classes.txt beside the data"
        )
    print(f"data: {mode}: {len(images)} images from {source}", file=sys.stderr)
    return images, labels.astype(np.int64)


def _has_idx(folder):
    """Return whether any of MNIST's four files is in a folder."""
    return any(_search_idx(folder, name) for names in FILES.values() for name in names)


def _find_idx(folder, name):
    path = _search_idx(folder, name)
    if not path:
        raise InputError(f"data folder {folder}: has neither {name}[.gz] nor mnist.npz")
    return path


def _search_idx(folder, name):
    """Find an idx file under one of its usual names, perhaps in a folder of that name, as Kaggle's archive has it."""
    dotted = name.replace("-idx", ".idx")
    names = (name, f"{name}.gz", dotted, f"{dotted}.gz")
    paths = (parent / candidate for parent in (folder, folder / name, folder / dotted) for candidate in names)
    return next((path for path in paths if path.is_file()), None)


def _read_idx(path):
    """Read an idx file, compressed or not whatever its name, and no more of it than its header says."""
    try:
        with path.open("rb") as file:
            is_compressed = file.read(2) == _GZIP
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if is_compressed else file
            content = read_at_most(stream, 4 + 4 * _MAX_DIMENSIONS)
            start, shape = _parse_header(content, path)
            content += read_at_most(stream, max(0, start + math.prod(shape) - len(content) + 1))
            return parse_idx(content, path)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read{' as gzip' if path.suffix == '.gz' else ''} ({error})") from None


def _read_npz(path, names, modes=()):
    """Read named arrays; those of the modes must be there, too."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = {name.removesuffix(".npy") for name in archive.namelist()}
            needed = [f"{axis}_{mode}" for mode in modes for axis in "xy"]
            missing = [name for name in needed or names if name not in stored]
            if missing:
                raise InputError(f"{path}: has no {' and no '.join(missing)}")
            return [_read_npy(archive, f"{name}.npy") for name in names]
    except _DAMAGED_NPZ as error:
        raise InputError(f"{path}: cannot be read as .npz ({error!s:.200})") from None


def _read_npy(archive, name):
    """Read an array from an .npz file, and no more of it than its header says."""
    info = archive.getinfo(name)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # LZMA may ask for gigabytes
        raise ValueError(f"{name} is compressed by another method than deflate")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is of version {version}")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or min(shape, default=0) < 0 or len(shape) > _MAX_DIMENSIONS + 1 or size > _MAX_BYTES:
            raise ValueError(f"{name} is {dtype} {list(shape)[:8]}, expected at most {_MAX_BYTES:,} bytes of numbers")
        content = read_at_most(file, size + 1)
    if len(content) != size:
        raise ValueError(f"{name} has another size than its header says")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
