"""Pixels of any depth, palette or transparency become 8 bits a channel, with the ink where it was."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from conftest import difference
from PIL import Image

from digits.imaging.mnist_format import to_mnist
from digits.imaging.reading import read_image


@pytest.fixture
def paper(digit):
    """The digit as dark ink on white paper, uint8 [200, 160]."""
    return 255 - digit


def save(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def png(path, rows, width, depth, color_type, key=b""):
    """Write a PNG file from packed rows, with a `tRNS` chunk if `key` is given."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"tRNS", key) if key else b""]
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def pack(values, depth):
    """Pack gray values [H, W] into rows of PNG pixels of `depth` bits."""
    if depth == 16:
        return [row.astype(">u2").tobytes() for row in values]
    bits = (values[:, :, None] >> np.arange(depth)[::-1]) & 1
    return [row.tobytes() for row in np.packbits(bits.astype(np.uint8).reshape(len(values), -1), axis=1)]


# Deep pixels


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm", ".jp2"])
def test_sixteen_bits_per_pixel_are_read_as_eight(tmp_path, paper, suffix):
    deep = save(tmp_path / f"deep{suffix}", paper.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(deep), paper)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_per_color_are_read_as_eight(tmp_path, paper, suffix):
    color = np.dstack([paper, paper // 2, paper // 3])
    deep = save(tmp_path / f"deep{suffix}", color.astype(np.uint16) * 256 + 200)
    np.testing.assert_array_equal(read_image(deep), color)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_gray_of_fewer_bits_stored_in_sixteen_is_not_black(tmp_path, paper, suffix, bits):
    deep = save(tmp_path / f"deep{suffix}", paper.astype(np.uint16) << (bits - 8))
    np.testing.assert_array_equal(read_image(deep), paper)


@pytest.mark.parametrize(("bits", "step"), [(10, 64), (12, 16)])
def test_color_of_fewer_bits_stored_in_sixteen_is_not_black(tmp_path, paper, bits, step):
    color = np.dstack([paper, paper, paper])
    image = read_image(save(tmp_path / "deep.png", color.astype(np.uint16) << (bits - 8)))
    np.testing.assert_array_equal(image, color // step * step)
    assert difference(to_mnist(image), to_mnist(paper)) < 0.2


def test_a_dark_image_of_sixteen_bits_for_all_three_colors_stays_dark(tmp_path):
    """BMP files can have 5 or 6 bits per color, 16 in all."""
    pixels = np.full((8, 8), 0x0841, "<u2").tobytes()
    header = struct.pack("<IiiHHIIiiIIIII", 40, 8, 8, 1, 16, 3, len(pixels), 0, 0, 0, 0, 0xF800, 0x7E0, 0x1F)
    start = struct.pack("<2sIHHI", b"BM", 66 + len(pixels), 0, 0, 66)
    (tmp_path / "dark.bmp").write_bytes(start + header + pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "dark.bmp"), np.full((8, 8, 3), 8))


def test_big_endian_files_of_sixteen_bits_are_read(tmp_path, paper):
    picture = Image.frombytes("I;16B", paper.shape[::-1], (paper.astype(np.uint16) * 16).astype(">u2").tobytes())
    picture.save(tmp_path / "deep.tif")
    assert (tmp_path / "deep.tif").read_bytes().startswith(b"MM")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif"), paper)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1), (0, 65535), (-3e6, 7e6)])
def test_floats_of_any_range_are_scaled_to_eight_bits(tmp_path, paper, low, high):
    path = save(tmp_path / "float.tif", (low + (high - low) * (paper / 255)).astype(np.float32))
    assert np.abs(read_image(path).astype(int) - paper).max() <= 1


def test_faint_ink_among_floats_up_to_255_stays_faint(tmp_path, paper):
    faint = (200 + paper / 10).astype(np.float32)
    np.testing.assert_allclose(read_image(save(tmp_path / "float.tif", faint)), faint, atol=0.6)


def test_floats_that_are_not_numbers_become_black(tmp_path, paper):
    broken = (paper / 255).astype(np.float32)
    broken[:5], broken[5:9], broken[9:12] = np.nan, np.inf, -np.inf
    image = read_image(save(tmp_path / "float.tif", broken))
    assert not image[:12].any()
    np.testing.assert_array_equal(image[12:], paper[12:])


@pytest.mark.parametrize("scale", [1, 4, 257, 70_000, 8_000_000])
def test_integers_of_32_bits_are_scaled_to_eight(tmp_path, paper, scale):
    path = save(tmp_path / "deep.tif", paper.astype(np.int32) * scale)
    assert np.abs(read_image(path).astype(int) - paper).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 7, 40_000])
def test_a_uniform_deep_image_is_uniform(tmp_path, dtype, value):
    image = read_image(save(tmp_path / "deep.tif", np.full((20, 30), value, dtype)))
    assert image.shape == (20, 30)
    assert np.ptp(image) == 0


@pytest.mark.parametrize("maximum", [100, 255, 4095, 65535])
def test_a_pgm_files_maximum_is_white(tmp_path, paper, maximum):
    values = np.rint(paper * (maximum / 255)).astype(">u2" if maximum > 255 else np.uint8)
    header = f"P5\n{paper.shape[1]} {paper.shape[0]}\n{maximum}\n".encode()
    (tmp_path / "a.pgm").write_bytes(header + values.tobytes())
    assert np.abs(read_image(tmp_path / "a.pgm").astype(int) - paper).max() <= 2


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_of_few_bits_is_scaled_to_eight(tmp_path, paper, depth):
    path = png(tmp_path / "few.png", pack(paper >> (8 - depth), depth), paper.shape[1], depth, 0)
    np.testing.assert_array_equal(read_image(path), (paper >> (8 - depth)) * (255 // (2**depth - 1)))


# Color


def test_cmyk_becomes_bgr(tmp_path, paper):
    picture = Image.fromarray(np.dstack([paper, paper, np.full_like(paper, 255)])).convert("CMYK")
    for suffix in (".jpg", ".tif"):
        picture.save(tmp_path / f"print{suffix}")
        image = read_image(tmp_path / f"print{suffix}")
        assert np.abs(image.astype(int) - np.dstack([np.full_like(paper, 255), paper, paper])).mean() < 2, (
            "yellow paper"
        )
        assert difference(to_mnist(image), to_mnist(paper)) < 0.15


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".pbm", ".gif"])
def test_one_bit_per_pixel_becomes_black_and_white(tmp_path, paper, suffix):
    Image.fromarray(paper).convert("1", dither=Image.Dither.NONE).save(tmp_path / f"bit{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"bit{suffix}"), np.where(paper > 127, 255, 0))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif"])
def test_palettes_become_color(tmp_path, digit, suffix):
    picture = Image.fromarray((digit > 127).astype(np.uint8), mode="P")
    picture.putpalette([250, 240, 20, 30, 60, 90])
    picture.save(tmp_path / f"palette{suffix}")
    image = read_image(tmp_path / f"palette{suffix}")
    np.testing.assert_array_equal(image, np.where((digit > 127)[:, :, None], [90, 60, 30], [20, 240, 250]))


# Transparency


def test_a_digit_in_a_palette_with_transparency_is_read(tmp_path, digit):
    picture = Image.fromarray((digit > 127).astype(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 200, 30, 30])
    for name, transparency in (("palette.png", 0), ("alphas.png", bytes([0, 200])), ("palette.gif", 0)):
        picture.save(tmp_path / name, transparency=transparency)
        assert difference(to_mnist(read_image(tmp_path / name)), to_mnist(digit)) < 0.2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_with_alpha_keeps_both(tmp_path, digit, suffix):
    picture = Image.merge("LA", [Image.new("L", digit.shape[::-1], 10), Image.fromarray(digit)])
    picture.save(tmp_path / f"alpha{suffix}")
    image = read_image(tmp_path / f"alpha{suffix}")
    np.testing.assert_array_equal(image, np.dstack([np.full((*digit.shape, 3), 10, np.uint8), digit]))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_color_of_a_gray_png_file_becomes_alpha(tmp_path, digit, depth):
    """Dark ink on black that is transparent: only the alpha channel shows the digit."""
    is_ink = digit > 127
    path = png(tmp_path / "key.png", pack(is_ink.astype(int), depth), digit.shape[1], depth, 0, struct.pack(">H", 0))
    image = read_image(path)
    np.testing.assert_array_equal(image[:, :, 3], np.where(is_ink, 255, 0))
    ground = png(tmp_path / "ground.png", pack(1 - is_ink, depth), digit.shape[1], depth, 0, struct.pack(">H", 1))
    np.testing.assert_array_equal(read_image(ground)[:, :, 3], np.where(is_ink, 255, 0))


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_color_of_a_color_png_file_becomes_alpha(tmp_path, digit, depth):
    is_ink, key = digit > 127, np.array([12, 200, 7])
    pixels = np.where(is_ink[:, :, None], key + 1, key)
    if depth == 16:
        pixels, key = 256 * pixels + 99, 256 * key + 99
    rows = [row.tobytes() for row in pixels.astype(">u2" if depth == 16 else np.uint8)]
    path = png(tmp_path / "key.png", rows, digit.shape[1], depth, 2, struct.pack(">HHH", *key.tolist()))
    np.testing.assert_array_equal(read_image(path)[:, :, 3], np.where(is_ink, 255, 0))


def test_an_alpha_channel_that_is_zero_everywhere_is_ignored(tmp_path, paper):
    clear = np.dstack([paper, paper, paper, np.zeros_like(paper)])
    for suffix in (".png", ".tif", ".webp"):
        Image.fromarray(clear).save(tmp_path / f"clear{suffix}", lossless=True, exact=True)
        np.testing.assert_array_equal(read_image(tmp_path / f"clear{suffix}"), clear[:, :, :3])


@pytest.mark.parametrize("alpha_mask", [0, 0xFF000000])
def test_an_alpha_channel_of_a_bmp_file_that_is_zero_everywhere_is_ignored(tmp_path, paper, alpha_mask):
    height, width = paper.shape
    pixels = np.dstack([paper, paper, paper, np.zeros_like(paper)])[::-1].tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, alpha_mask)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks + bytes(52)
    start = struct.pack("<2sIHHI", b"BM", 122 + len(pixels), 0, 0, 122)
    (tmp_path / "a.bmp").write_bytes(start + header + pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), np.dstack([paper, paper, paper]))
