"""Picture files: every format is read, what is no picture or too large is refused."""

import contextlib
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT, difference
from PIL import Image

from digits.cli import InputError
from digits.imaging.image_header import image_size
from digits.imaging.mnist_format import read_image, to_mnist


def save(path, image):
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg", ".pgm", ".avif", ".jp2"])
def test_each_format_is_read(tmp_path, digit, suffix):
    image = read_image(save(tmp_path / f"digit{suffix}", 255 - digit))
    assert difference(to_mnist(image), to_mnist(digit)) < 0.15


def test_sixteen_bits_a_pixel_read_as_eight(tmp_path, digit):
    deep = save(tmp_path / "deep.png", (255 - digit).astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(deep), 255 - digit)


def test_a_palette_with_transparency(tmp_path, digit):
    picture = Image.fromarray((digit > 127).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 200, 30, 30])
    picture.save(tmp_path / "palette.png", transparency=0)
    assert difference(to_mnist(read_image(tmp_path / "palette.png")), to_mnist(digit)) < 0.2


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 1), (8, 3)])
def test_the_exif_orientation_is_heeded(tmp_path, digit, suffix, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(np.rot90(255 - digit, turns)).save(path, exif=exif)
    assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15


def test_file_names_beyond_ascii(tmp_path, digit):
    path = tmp_path / "zähl 七.png"
    path.write_bytes(cv2.imencode(".png", digit)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), digit)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_file_cut_short_is_refused(tmp_path, kind):
    path = save(tmp_path / f"noise.{kind}", np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError, match="cut short"):
        read_image(path)


def test_what_a_phone_appends_to_a_photo_does_no_harm(tmp_path, digit):
    path = save(tmp_path / "photo.jpg", 255 - digit)
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + bytes(range(250)) * 4000)  # a film, as large as the photo's end is small
    np.testing.assert_array_equal(read_image(path), whole)


def test_a_photo_cut_short_is_refused_though_its_preview_is_whole(tmp_path, digit):
    exif = Image.Exif()
    exif[0x010E] = "with a preview"
    picture = Image.fromarray(255 - digit)
    picture.save(tmp_path / "photo.jpg", exif=exif.tobytes() + b"\xff\xd9")
    data = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "photo.jpg").write_bytes(data[:-500])
    assert b"\xff\xd9" in data[:-500]
    with pytest.raises(InputError, match="cut short"):
        read_image(tmp_path / "photo.jpg")


@pytest.mark.parametrize("kind", ["gif", "bmp", "tif", "webp"])
def test_opencvs_own_messages_stay_off_stderr(tmp_path, capfd, kind):
    path = save(tmp_path / f"noise.{kind}", np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with contextlib.suppress(InputError):
        read_image(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.png", None, "no such file"),
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"hello, I am no picture", "not a picture"),
        ("half.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50 + b"IEND", "not a picture"),
    ],
)
def test_what_is_no_picture_is_one_clear_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        read_image(tmp_path)


def test_a_transparent_picture_is_turned_by_exif_too(tmp_path, digit):
    exif = Image.Exif()
    exif[0x0112] = 6
    transparent = np.dstack([np.zeros((*digit.shape, 3), np.uint8), digit])
    for suffix in (".png", ".webp"):
        path = tmp_path / f"turned{suffix}"
        Image.fromarray(np.rot90(transparent)).save(path, exif=exif, lossless=True)
        assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif", ".ppm"])
def test_the_header_says_the_size(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.full((70, 130, 3), 200, np.uint8)).save(path)
    assert image_size(path.read_bytes()) == (130, 70)
    assert image_size(path.read_bytes()[:5]) is None


def bomb(path, side):
    """A PNG of side x side black pixels; a megabyte holds a billion."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    bomb(tmp_path / "bomb.png", 30_000)
    measure = (
        "import resource, sys; from digits.imaging.mnist_format import read_image; from digits.cli import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_image(sys.argv[1])\n"
        "except InputError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measure, str(tmp_path / "bomb.png")], cwd=ROOT, capture_output=True, text=True
    )
    message, kilobytes = done.stdout.splitlines()
    assert "bomb.png: 30000x30000 pixels are more than the 100 million that are read" in message
    assert int(kilobytes) < 50_000
