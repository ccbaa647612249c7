"""Files made to run code, to fill the memory or never to end: each is refused with one line, or read quickly."""

import gzip
import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from digits.files import seal
from digits.imaging.decoding import decode
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist
from tests.fuzz.cases import MAX_BYTES, MAX_SECONDS, examine, measured
from tests.fuzz.seeds import LENET, to_idx

CHUNK = 1 << 26  # bytes of zeros that are compressed once
SIDE = 65_500  # of the largest pictures, pixels


class Command:
    """Pickles as a command that creates the file `witness`."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.fixture
def folder(tmp_path):
    """An empty folder to read through."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def refusal(kind, name, data, folder):
    """The error that refuses the file; it must be quick and use little memory."""
    result = examine(kind, name, data, folder)
    assert not result.failure, result
    assert result.seconds <= MAX_SECONDS
    assert result.memory <= MAX_BYTES
    return result.refusal


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(("kind", "name", "wrap"), [("pdparams", "w.pdparams", bytes), ("pdopt", "last.pdopt", seal)])
def test_a_pickled_command_is_not_run(tmp_path, folder, kind, name, wrap, protocol):
    data = pickle.dumps({"fc1.weight": Command(tmp_path / "witness")}, protocol)
    assert "refused" in refusal(kind, name, wrap(data), folder)
    assert not (tmp_path / "witness").exists()


def test_a_command_in_an_npz_file_is_not_run(tmp_path, folder):
    file = io.BytesIO()
    np.savez(file, x_train=np.array([Command(tmp_path / "witness")]), y_train=[0], x_test=[0], y_test=[0])
    assert "mnist.npz" in refusal("npz", "mnist.npz", file.getvalue(), folder)
    assert not (tmp_path / "witness").exists()


def nested(levels, of_lists=b"](h%ch%ce"):
    """A list of two references to a list of two references to ...: 2 ** levels items."""
    data = b"\x80\x02]q\x00"
    for level in range(levels):
        data += of_lists % (bytes([level]), bytes([level])) + b"q" + bytes([level + 1])
    return data + b"."


PICKLES = {
    "huge memo index": b"\x80\x02}r\xff\xff\xff\x7f.",
    "huge memo index in text": b"}p4294967295\n.",
    "list in itself": b"\x80\x02]q\x00h\x00a.",
    "dict in itself": b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.",
    "list of lists, doubled 60 times": nested(60),
    "tuples of tuples, doubled 60 times": nested(60, b"h%ch%c\x86"),
    "100,000 nested lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "text of 2 GB": b"\x80\x02X\xff\xff\xff\x7fabc.",
    "bytes of 2 ** 63": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7fabc.",
    "frame of 2 ** 63": b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.",
    "number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "bytearray of 2 ** 40": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
    "out of band": b"\x80\x05\x97.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent id": b"Pos.system\n.",
}


@pytest.mark.parametrize("data", PICKLES.values(), ids=PICKLES.keys())
def test_a_pickle_made_to_fill_the_memory_or_never_to_end_is_refused(folder, data):
    assert refusal("pdparams", "w.pdparams", data, folder)
    assert refusal("pdopt", "last.pdopt", seal(data), folder)


def test_arrays_that_claim_more_than_they_hold_are_refused(folder):
    plain = pickle.dumps({"fc1.weight": np.zeros(7, np.float32)}, 2)
    for old, new in ((b"K\x07\x85", b"J\xff\xff\xff\x7f\x85"), (b"f4", b"V9"), (b"f4", b"O8")):
        assert old in plain
        assert refusal("pdparams", "w.pdparams", plain.replace(old, new), folder)


YAMLS = {
    "python tag": "seed: !!python/object/apply:os.system ['touch {witness}']",
    "python name": "seed: !!python/name:os.system",
    "python module": "!!python/object/new:type\nargs: [a, !!python/tuple [], {{}}]",
    "aliases": "a: &a [x, x]\n" + "\n".join(f"{b}: &{b} [*{a}, *{a}]" for a, b in pairwise("abcdefghij")),
    "alias of itself": "epochs: &a [*a]",
    "merged keys": "a: &a {{b: c}}\n<<: [*a, *a]",
    "deep list": "epochs: " + "[" * 50_000,
    "many deep lists": "epochs: " + ("[" * 100 + "a, ") * 100,
    "deep dict": "{{a: " * 50_000,
    "long number": "epochs: " + "9" * 100_000,
    "sexagesimal number": "epochs: 9" + ":59" * 10_000,
    "impossible date": "seed: 2024-99-99",
    "impossible timestamp": "seed: !!timestamp 'x'",
    "list": "- epochs",
    "a key that is a list": "? [a, b]\n: 1",
    "not text": "seed: \x00\x07",
}


@pytest.mark.parametrize("text", YAMLS.values(), ids=YAMLS.keys())
def test_a_hostile_yaml_file_is_refused_and_runs_nothing(tmp_path, folder, text):
    data = text.replace("{witness}", str(tmp_path / "witness")).replace("{{", "{").replace("}}", "}").encode()
    assert refusal("YAML", "config.yaml", data, folder)
    assert not (tmp_path / "witness").exists()


def with_field(*path_and_value):
    *path, name, value = path_and_value
    meta = json.loads((LENET / "best.json").read_text())
    part = meta
    for key in path:
        part = part[key]
    part[name] = value
    return json.dumps(meta).encode()


JSONS = {
    "deep list": b"[" * 100_000,
    "deep field": b'{"sha256": "x", "model": ' + b'{"a":' * 100_000,
    "long number": b'{"sha256": ' + b"9" * 100_000 + b"}",
    "large photos": with_field("model", {"name": "photo_cnn", "image_size": 20_000}),
    "many classes": with_field("classes", ["a"] * 1_000_000),
    "model as a list": with_field("model", ["lenet"]),
    "not a number": with_field("calibration", "temperature", float("nan")),
    "negative temperature": with_field("calibration", "temperature", -1.0),
    "previous of itself": with_field("previous", {"previous": {"sha256": 1}, "sha256": []}).replace(
        b"sha256", b"sha", 1
    ),
}


@pytest.mark.parametrize("data", JSONS.values(), ids=JSONS.keys())
def test_a_hostile_description_is_refused(folder, data):
    assert refusal("JSON", "best.json", data, folder)


def test_a_gzip_file_that_expands_to_gigabytes_is_refused(folder):
    member = gzip.compress(bytes(CHUNK), 1)
    assert refusal("gz", "train-images-idx3-ubyte.gz", member * (2**33 // CHUNK), folder)
    honest = gzip.compress(to_idx(np.zeros((100, 28, 28), np.uint8)))
    assert refusal("gz", "train-images-idx3-ubyte.gz", honest + member * (2**33 // CHUNK), folder)


def test_idx_files_with_impossible_headers_are_refused(folder):
    headers = (
        struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 28, 28),
        struct.pack(">HBB", 0, 8, 70) + struct.pack(">I", 1) * 70 + b"x",
        struct.pack(">HBB", 0, 8, 255) + struct.pack(">I", 2**32 - 1) * 255,
        struct.pack(">HBB3I", 0, 8, 3, 0, 2**32 - 1, 2**32 - 1),
        struct.pack(">HBB3I", 0, 13, 3, 1, 28, 28),
    )
    for header in headers:
        assert refusal("idx", "train-images-idx3-ubyte", header, folder)


def deflated_zip(name, chunks):
    """A zip archive of one member: an array of 10 ** 9 images, then zeros that are as cheap to write as to claim."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (chunks * CHUNK // 784, 28, 28)}
    )
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = packer.compress(header.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = start + zeros * chunks + packer.flush()
    size = len(header.getvalue()) + chunks * CHUNK
    fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, 0, len(body), size)
    local = b"PK\x03\x04" + fields + struct.pack("<HH", len(name), 0) + name + body
    central = b"PK\x01\x02\x14\x00" + fields + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    return local + central + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)


def test_an_npz_file_that_expands_to_gigabytes_is_refused(folder):
    data = deflated_zip(b"x_train.npy", 48)  # 3 GB
    assert zipfile.ZipFile(io.BytesIO(data)).getinfo("x_train.npy").file_size > 3e9
    others = io.BytesIO()
    np.savez(others, y_train=[0], x_test=[0], y_test=[0])
    assert refusal("npz", "mnist.npz", data, folder)
    archive = io.BytesIO(data)
    with zipfile.ZipFile(archive, "a") as file:
        for name in ("y_train", "x_test", "y_test"):
            file.writestr(f"{name}.npy", zipfile.ZipFile(others).read(f"{name}.npy"))
    assert refusal("npz", "mnist.npz", archive.getvalue(), folder)


def saved(kind, **options):
    file = io.BytesIO()
    Image.new(options.pop("mode", "L"), options.pop("size", (9, 9)), options.pop("color", 255)).save(
        file, kind, **options
    )
    return file.getvalue()


def png(*chunks):
    """A PNG file of these chunks, with valid checksums."""
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def png_of(width, height, *chunks):
    """A PNG file with the header of a large gray picture."""
    return png((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *chunks, (b"IEND", b""))


def tiff_of(*entries, pages_end=0):
    """A TIFF file of one page; `pages_end` is the offset of the next page."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", pages_end) + bytes(64)


_TIFF = ((258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 130), (277, 3, 1, 1))

PICTURES = {
    "PNG of 65500x65500": png_of(SIDE, SIDE, (b"IDAT", zlib.compress(bytes(100)))),
    "PNG of 2 ** 31 columns": png_of(2**31 - 1, 1, (b"IDAT", zlib.compress(bytes(100)))),
    "GIF of 65535x65535": b"GIF89a\xff\xff\xff\xff\x80\0\0"
    + bytes(6)
    + b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x44\x01\0;",
    "BMP of 65500x65500": saved("BMP")[:18] + struct.pack("<II", SIDE, SIDE) + saved("BMP")[26:],
    "PNM of 65500x65500": b"P5 65500 65500 255\n",
    "PNM of 10 ** 30 rows": b"P5 1 " + b"1" + b"0" * 30 + b" 255\n",
    "TIFF of 65500x65500": tiff_of((256, 4, 1, SIDE), (257, 4, 1, SIDE), *_TIFF, (278, 4, 1, SIDE), (279, 4, 1, 9)),
    "TIFF with 10 ** 9 strips": tiff_of((256, 4, 1, 9), (257, 4, 1, 9), *_TIFF, (279, 4, 10**9, 9)),
    "JPEG of 65500x65500": saved("JPEG").replace(b"\0\x09\0\x09", struct.pack(">HH", SIDE, SIDE), 1),
    "PNG with a color profile of 1 GB": png_of(
        9, 9, (b"iCCP", b"x\0\0" + zlib.compress(bytes(10**9 // 64), 1) * 8), (b"IDAT", b"")
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_claims_to_be_huge_is_refused(folder, name):
    kind = name.split()[0]
    assert len(PICTURES[name]) < 1_000_000
    assert refusal(kind, "x." + kind.lower(), PICTURES[name], folder)


def test_large_blank_frames_are_told_from_others_quickly(folder):
    blank = Image.new("RGB", (6000, 6000), "white")
    data = saved("GIF", mode="RGB", size=blank.size, color="white", save_all=True, append_images=[blank, blank])
    with measured() as taken, pytest.raises(BlankImage):
        to_mnist(decode(data, "x.gif"))
    assert taken.seconds <= MAX_SECONDS


def test_pictures_with_endless_frames_and_texts_are_read_or_refused_quickly(folder):
    pixels = zlib.compress(bytes([0, *[255] * 9]) * 9)
    many = [Image.new("L", (9, 9), 255 - index % 2) for index in range(600)]
    text = [(b"zTXt", b"a%d\0\0" % index + zlib.compress(bytes(10**6))) for index in range(100)]
    frames = (b"acTL", struct.pack(">II", 2**31 - 1, 0))
    for kind, data in (
        ("PNG", png_of(9, 9, *text, (b"IDAT", pixels))),
        ("PNG", png_of(9, 9, frames, (b"IDAT", pixels))),
        ("GIF", saved("GIF", save_all=True, append_images=many)),
        ("TIFF", saved("TIFF", save_all=True, append_images=many)),
        ("TIFF", tiff_of((256, 4, 1, 9), (257, 4, 1, 9), *_TIFF, (279, 4, 1, 81), pages_end=8) + bytes(100)),
    ):
        refusal(kind, f"x.{kind.lower()}", data, folder)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux")
def test_transparency_is_removed_in_less_memory_than_the_picture_takes():
    picture = np.full((4000, 4000, 4), (200, 200, 200, 100), np.uint8)
    picture[1000:3000, 1900:2100] = (0, 0, 0, 255)
    with measured() as memory:
        to_mnist(picture)
    assert memory.peak < 1.2 * picture.nbytes
