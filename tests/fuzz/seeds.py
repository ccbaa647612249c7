"""The files that are mutated: valid files of every format that the program reads, made by this code."""

import gzip
import io
import json
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from digits.files import project_path, seal
from digits.networks.checkpoint import load_checkpoint, read_state
from tests.fuzz.runs import CONFIG, save_one_epoch

LENET = project_path("checkpoints/shipped/lenet")
FILE_LIST = {"train": ["a/1.png", "b/2.png"], "val": ["a/3.png"], "test": []}
IMAGES = 20  # in the small MNIST files
_SIDE = 96  # of the pictures, pixels


@dataclass(frozen=True)
class Seed:
    """A file to mutate.

    Attributes:
        name: the file's name.
        data: the bytes that are mutated.
        finish: makes a file of the mutated bytes: adds a checksum or compresses them, so that they are read at all.
    """

    name: str
    data: bytes
    finish: Callable[[bytes], bytes] = bytes


@cache
def seeds_of(kind: str) -> list[Seed]:
    """Make the valid files of one of the `FORMATS`."""
    return list(FORMATS[kind]())


def _saved(kind: str, *variants: tuple[Image.Image, dict]) -> Iterable[Seed]:
    for number, (image, options) in enumerate(variants):
        file = io.BytesIO()
        image.save(file, kind, **options)
        yield Seed(f"{number}.{kind.lower()}", file.getvalue())


def _png():
    image, gray = _picture("RGB"), _picture("L")
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = _saved(
        "PNG",
        (gray, {}),
        (image, {"exif": exif}),
        (_picture("RGBA"), {}),
        (image.quantize(8), {"transparency": 0}),
        (gray.convert("1"), {}),
        (Image.fromarray(np.asarray(gray, np.uint16) * 256), {}),
        (gray, {"save_all": True, "append_images": [image, image]}),
    )
    for seed in seeds:
        yield seed
        yield replace(seed, finish=_with_png_checksums)


def _jpeg():
    exif = Image.Exif()
    exif[0x0112] = 5
    image = _picture("RGB")
    return _saved(
        "JPEG",
        (image, {"exif": exif}),
        (_picture("L"), {}),
        (image, {"progressive": True, "quality": 40}),
        (image.convert("CMYK"), {}),
    )


def _bmp():
    image = _picture("RGB")
    return _saved("BMP", (image, {}), (image.quantize(16), {}), (_picture("1"), {}), (_picture("RGBA"), {}))


def _gif():
    image = _picture("RGB")
    blank = Image.new("RGB", image.size, "white")
    frames = {"save_all": True, "append_images": [image, image.rotate(90)], "loop": 0}
    return _saved("GIF", (image.quantize(8), {}), (image.quantize(8), {"transparency": 0}), (blank, frames))


def _webp():
    image = _picture("RGB")
    blank = Image.new("RGB", image.size, "white")
    return _saved(
        "WEBP",
        (image, {}),
        (_picture("RGBA"), {"lossless": True}),
        (blank, {"save_all": True, "append_images": [image]}),
    )


def _tiff():
    image, gray = _picture("RGB"), _picture("L")
    return _saved(
        "TIFF",
        (gray, {}),
        (image, {"compression": "tiff_lzw"}),
        (image, {"compression": "tiff_adobe_deflate"}),
        (image, {"compression": "jpeg"}),
        (gray.convert("1"), {"compression": "group4"}),
        (Image.fromarray(np.asarray(gray, np.uint16) * 16), {}),
        (Image.fromarray(np.asarray(gray, np.float32) / 255), {}),
        (Image.new("L", gray.size, 255), {"save_all": True, "append_images": [gray]}),
    )


def _avif():
    image = _picture("RGB")
    blank = Image.new("RGB", image.size, "white")
    fast = {"speed": 10, "max_threads": 1}
    return _saved(
        "AVIF",
        (image, fast),
        (_picture("RGBA"), fast),
        (blank, fast | {"save_all": True, "append_images": [image]}),
    )


def _jpeg_2000():
    return _saved("JPEG2000", (_picture("L"), {}), (_picture("RGB"), {"irreversible": True}))


def _pnm():
    return _saved("PPM", (_picture("RGB"), {}), (_picture("L"), {}), (_picture("1"), {}))


def _json():
    yield Seed("best.json", (LENET / "best.json").read_bytes())
    meta = load_checkpoint(LENET).meta
    few = {key: meta[key] for key in ("model", "classes", "calibration", "config", "sha256")}
    yield Seed("best.json", json.dumps(few, indent=0).encode())
    yield Seed("files.json", json.dumps(FILE_LIST).encode())


def _yaml():
    for path in sorted(project_path("configs").glob("*.yaml")):
        yield Seed(path.name, path.read_bytes())
    yield Seed("config.yaml", CONFIG.to_yaml().encode())


def _idx():
    images, labels = _mnist()
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        yield Seed(name, to_idx(array))


def _gz():
    for seed in _idx():
        yield Seed(f"{seed.name}.gz", _gzip(seed.data))
        yield Seed(f"{seed.name}.gz", seed.data, _gzip)


def _npz():
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), 2 * _mnist(), strict=True))
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        yield Seed("mnist.npz", file.getvalue())
    members = {f"{name}.npy": _to_npy(array) for name, array in arrays.items()}
    for name in ("x_train.npy", "y_train.npy"):
        yield Seed("mnist.npz", members[name], lambda data, name=name: _zip(members | {name: data}))


def _pdparams():
    yield Seed("lenet.pdparams", (LENET / "best.pdparams").read_bytes())
    weights = load_checkpoint(LENET).weights
    for protocol in (2, 3, 4):
        yield Seed(f"{protocol}.pdparams", pickle.dumps(weights, protocol))
    few = {name: array for name, array in weights.items() if array.size < 200}
    yield Seed("few.pdparams", pickle.dumps(few, 2))


def _pdopt():
    data = pickle.dumps(_state(), 4)
    yield Seed("last.pdopt", seal(data))
    yield Seed("last.pdopt", data, seal)
    small = {key: value for key, value in _state().items() if key not in ("weights", "optimizer", "average")}
    yield Seed("last.pdopt", pickle.dumps(small, 2), seal)


FORMATS = {
    "PNG": _png,
    "JPEG": _jpeg,
    "BMP": _bmp,
    "GIF": _gif,
    "WebP": _webp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "JPEG 2000": _jpeg_2000,
    "PNM": _pnm,
    "JSON": _json,
    "YAML": _yaml,
    "idx": _idx,
    "gz": _gz,
    "npz": _npz,
    "pdparams": _pdparams,
    "pdopt": _pdopt,
}


def to_idx(array: np.ndarray) -> bytes:
    """Encode uint8 as an idx file."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def _picture(mode):
    """Draw a 7 on paper."""
    pixels = np.full((_SIDE, _SIDE, 3), 240, np.uint8)
    points = np.array([[25, 20], [70, 20], [40, 80]], np.int32)
    cv2.polylines(pixels, [points], False, (30, 20, 90), 7, cv2.LINE_AA)
    image = Image.fromarray(pixels).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(255 - pixels[:, :, 0]))
    return image


def _mnist():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (IMAGES, 28, 28), np.uint8), np.arange(IMAGES, dtype=np.uint8) % 10


@cache
def _state():
    """What a run saves to resume from, after one epoch."""
    with tempfile.TemporaryDirectory() as folder:
        save_one_epoch(Path(folder))
        return read_state(Path(folder) / "last.pdopt")


def _to_npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _gzip(data):
    return gzip.compress(data, mtime=0)  # not the time of day


def _zip(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # without the time of day
    return file.getvalue()


def _with_png_checksums(data):
    """Recompute the CRC of each chunk."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + length]
        parts.append(data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big"))
        at += 12 + length
    return b"".join(parts) + data[at:]
