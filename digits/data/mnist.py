"""MNIST, or a dataset in its file formats, as two arrays in memory."""

import gzip
import io
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.data.download import FILES, read_mnist_files
from digits.data.folders import require_folder

CLASSES = tuple("0123456789")

# Exceptions of np.load on damaged files and on files of another format
_DAMAGED_NPZ = (OSError, EOFError, ValueError, TypeError, SyntaxError, NotImplementedError, RuntimeError)
_DAMAGED_NPZ += (zlib.error, zipfile.BadZipFile, tokenize.TokenError)


def load_mnist(mode: str, data_dir: str | Path = "") -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST, or your own dataset in MNIST's file formats, into memory.

    The arrays hold the items of `paddle.vision.datasets.MNIST(mode=mode)`. That class parses the training images in
    2.8 s, takes about 350 MB and requires a multiple of 100 images; with `parse_idx` it is 0.1 s and 47 MB
    (Paddle 3.3.1, one core of a 2-core AMD machine).

    Args:
        mode: `"train"` (60,000 images) or `"test"` (10,000).
        data_dir: a folder with `train-` and `t10k-` idx files (or .gz), or with `mnist.npz` (arrays
            `x_train y_train x_test y_test`); empty: MNIST, from the cache or downloaded.

    Returns:
        images uint8 [N, 28, 28], ink bright, and labels int64 [N] in 0..9.

    Raises:
        InputError: `data_dir` has no such files, or their arrays have another shape, type or range.
        RunError: MNIST cannot be downloaded from any source.
    """
    if data_dir:
        return _load_folder(mode, Path(data_dir))
    images, labels = map(parse_idx, read_mnist_files(mode), FILES[mode])
    return images, labels.astype(np.int64)


def holds_mnist(folder: Path) -> bool:
    """Return whether a folder has files that `load_mnist` reads; otherwise it has class folders."""
    return (folder / "mnist.npz").is_file() or any(folder.glob("t10k-*ubyte*"))


def parse_idx(content: bytes, name: str | Path) -> np.ndarray:
    """Parse an idx file: two zero bytes, type 8 (unsigned byte), dimensions, their sizes (uint32, big-endian), data.

    Args:
        content: the file's content.
        name: the file's name, used in the error message.

    Returns:
        A read-only uint8 array.

    Raises:
        InputError: the content has another format or is cut short.
    """
    dimensions = content[3] if len(content) >= 4 else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if content[:3] != b"\0\0\x08" or dimensions == 0 or len(content) != header + int(np.prod(shape, dtype=object)):
        raise InputError(f"{name}: not an idx file of unsigned bytes, or cut short")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _load_folder(mode, folder):
    require_folder(folder)
    modes = FILES if mode == "train" else (mode,)  # without test images, a run would fail at its very end
    if (folder / "mnist.npz").is_file():
        source = folder / "mnist.npz"
        images, labels = _read_npz(source, mode, modes)
    else:
        paths = {needed: [_find_idx(folder, name) for name in FILES[needed]] for needed in modes}[mode]
        source = paths[0]
        images, labels = (parse_idx(_read_bytes(path), path) for path in paths)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or images.dtype != np.uint8 or len(images) == 0:
        raise InputError(f"{source}: images are {images.dtype} {list(images.shape)}, expected uint8 [N, 28, 28]")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"{source}: labels are {labels.dtype} {list(labels.shape)}, expected one integer per image")
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise InputError(
            f"{source}: labels range from {labels.min()} to {labels.max()}, expected 0 to {len(CLASSES) - 1}"
        )
    print(f"data: {mode}: {len(images)} images from {source}", file=sys.stderr)
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
        raise InputError(f"{path}: cannot be read as .npz ({error})") from None
