"""Image files: every format is read upright; files that are damaged, too large or not images are refused."""

import contextlib
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT, difference
from PIL import Image, PngImagePlugin

from digits.cli import InputError
from digits.imaging.mnist_format import to_mnist
from digits.imaging.reading import read_image

# How EXIF orientations 1 to 8 turn the stored pixels upright
UPRIGHT = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.flipud(np.rot90(pixels)),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.fliplr(np.rot90(pixels)),
    8: np.rot90,
}


def save(path, image):
    assert cv2.imwrite(str(path), image)
    return path


def exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


# Formats


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg", ".pgm", ".avif", ".jp2"])
def test_each_format_is_read(tmp_path, digit, suffix):
    image = read_image(save(tmp_path / f"digit{suffix}", 255 - digit))
    assert difference(to_mnist(image), to_mnist(digit)) < 0.15


@pytest.mark.parametrize("suffix", [".gif", ".ppm", ".pbm"])
def test_formats_that_have_no_plain_gray_are_read(tmp_path, digit, suffix):
    picture = Image.fromarray(255 - digit).convert("1" if suffix == ".pbm" else "RGB")
    picture.save(tmp_path / f"digit{suffix}")
    assert difference(to_mnist(read_image(tmp_path / f"digit{suffix}")), to_mnist(digit)) < 0.2


def test_files_whose_names_are_not_ascii_are_read(tmp_path, digit):
    path = tmp_path / "zähl 七.png"
    path.write_bytes(cv2.imencode(".png", digit)[1].tobytes())
    np.testing.assert_array_equal(read_image(path), digit)


def test_an_image_larger_than_a_strip_is_read_whole(tmp_path):
    photo = noise(700, 900, 3)
    np.testing.assert_array_equal(read_image(save(tmp_path / "photo.png", photo)), photo)
    np.testing.assert_array_equal(read_image(save(tmp_path / "gray.png", photo[:, :, 0])), photo[:, :, 0])


@pytest.mark.parametrize("suffix", [".tga", ".pcx", ".ico"])
def test_formats_outside_the_list_are_refused_whatever_their_suffix(tmp_path, digit, suffix):
    Image.fromarray(digit).save(tmp_path / f"digit{suffix}")
    path = (tmp_path / f"digit{suffix}").rename(tmp_path / "digit.png")
    with pytest.raises(InputError, match="not a picture in a supported format: PNG, JPEG"):
        read_image(path)


def test_an_image_with_long_metadata_is_read(tmp_path, digit):
    info = PngImagePlugin.PngInfo()
    info.add_text("edits", "x" * 3_000_000, zip=True)
    Image.fromarray(digit).save(tmp_path / "edited.png", pnginfo=info)
    np.testing.assert_array_equal(read_image(tmp_path / "edited.png"), digit)


# Orientation


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_orientation_is_applied(tmp_path, digit, suffix, orientation):
    stored = np.repeat(255 - digit[:, :, None], 3, axis=2)
    path = tmp_path / f"turned{suffix}"
    Image.fromarray(stored).save(path, exif=exif_orientation(orientation))
    image, upright = read_image(path), UPRIGHT[orientation](stored)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 1


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 1), (8, 3)])
def test_a_digit_turned_by_its_camera_is_the_same(tmp_path, digit, orientation, turns):
    path = tmp_path / "turned.jpg"
    Image.fromarray(np.rot90(255 - digit, turns)).save(path, exif=exif_orientation(orientation))
    assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15


@pytest.mark.parametrize("angle", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_boxes_of_an_avif_file_rotate_and_then_mirror(tmp_path, digit, angle, axis):
    """`irot` counts quarter turns to the left; `imir` 0 swaps top and bottom, 1 left and right (ISO/IEC 23008-12)."""
    stored = np.repeat(255 - digit[:, :, None], 3, axis=2)
    orientation = 8 if axis is None else 5  # the file then has `irot` alone, or both boxes
    path = tmp_path / "turned.avif"
    Image.fromarray(stored).save(path, exif=exif_orientation(orientation))
    data = bytearray(path.read_bytes())
    data[data.index(b"irot") + 4] = angle
    if axis is not None:
        data[data.index(b"imir") + 4] = axis
    path.write_bytes(data)
    upright = np.rot90(stored, angle)
    upright = upright if axis is None else np.flip(upright, axis)
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 1


def test_a_transparent_picture_is_turned_by_exif_too(tmp_path, digit):
    transparent = np.dstack([np.zeros((*digit.shape, 3), np.uint8), digit])
    for suffix in (".png", ".webp"):
        path = tmp_path / f"turned{suffix}"
        Image.fromarray(np.rot90(transparent)).save(path, exif=exif_orientation(6), lossless=True)
        assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_with_damaged_exif_data_is_read_as_it_is_stored(tmp_path, digit, suffix, capfd):
    path = tmp_path / f"damaged{suffix}"
    exif = exif_orientation(6).tobytes().replace(b"\x01\x12\x00\x03", b"\x01\x12\xff\xff")
    for damaged in (b"Exif\0\0 not a TIFF header", exif, exif[:-4]):
        Image.fromarray(255 - digit).save(path, exif=damaged)
        assert read_image(path).shape[:2] == digit.shape
    assert capfd.readouterr().err == ""


# Several frames


def save_frames(path, *frames):
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=others)
    return path


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_of_an_animation_that_starts_blank_the_finished_drawing_is_read(tmp_path, digit, suffix, capsys):
    paper, ink = np.full_like(digit, 255), 255 - digit
    begun = np.where(np.arange(len(digit))[:, None] < 80, ink, paper)
    path = save_frames(tmp_path / f"drawing{suffix}", paper, begun, ink)
    assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15
    assert capsys.readouterr().err == f"{path}: frame 3 of 3 is used; the first is blank\n"


def test_of_pages_the_first_that_is_not_blank_is_read(tmp_path, digit, capsys):
    paper, ink = 230 + noise(*digit.shape) // 20, 255 - digit
    path = save_frames(tmp_path / "pages.tif", paper, ink, np.rot90(ink))
    np.testing.assert_array_equal(read_image(path), ink)
    assert capsys.readouterr().err == f"{path}: frame 2 of 3 is used; the first is blank\n"


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif", ".avif"])
def test_the_first_frame_is_read_if_it_is_not_blank_or_all_are(tmp_path, digit, suffix, capsys):
    ink, paper = 255 - digit, np.full_like(digit, 250)
    path = save_frames(tmp_path / f"both{suffix}", ink, digit)
    assert difference(to_mnist(read_image(path)), to_mnist(digit)) < 0.15
    path = save_frames(tmp_path / f"blank{suffix}", paper, paper - 3)
    assert np.abs(read_image(path).astype(int) - 250).max() <= 1
    assert capsys.readouterr().err == ""


def test_the_preview_in_a_phones_jpeg_file_is_not_a_frame(tmp_path, digit, capsys):
    path = tmp_path / "white.jpg"
    blank, preview = Image.new("RGB", (160, 200), "white"), Image.fromarray(255 - digit).convert("RGB")
    blank.save(path, format="MPO", save_all=True, append_images=[preview])
    assert (read_image(path) == 255).all()
    assert capsys.readouterr().err == ""


def test_the_first_frame_is_read_though_later_ones_are_damaged(tmp_path, digit, capsys):
    path = save_frames(tmp_path / "pages.tif", np.full_like(digit, 255), 255 - digit)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(struct.pack("<I", 0)) - 40])  # within the directory of the second page
    assert (read_image(path) == 255).all()
    assert capsys.readouterr().err == ""


# Refusals


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tif", ".avif", ".jp2", ".pgm"])
def test_a_file_cut_short_is_refused(tmp_path, suffix):
    path = save(tmp_path / f"noise{suffix}", noise(300, 300, 3) if suffix == ".gif" else noise(300, 300))
    data = path.read_bytes()
    for length in (len(data) - 4000, len(data) // 2, 40):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"cut short.*copy it again"):
            read_image(path)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_the_message_about_a_png_or_jpeg_file_cut_short_gives_no_other_reason(tmp_path, kind):
    path = save(tmp_path / f"noise.{kind}", noise(300, 300))
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == f"{path}: the picture is cut short; copy it again"


def test_data_that_a_phone_appends_to_a_photo_is_ignored(tmp_path, digit):
    path = save(tmp_path / "photo.jpg", 255 - digit)
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + bytes(range(250)) * 4000)  # a film, much larger than the photo
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


@pytest.mark.parametrize("kind", ["gif", "bmp", "tif", "webp", "avif", "jp2", "png", "jpg"])
def test_messages_of_the_decoders_stay_off_stderr(tmp_path, capfd, kind):
    path = save(tmp_path / f"noise.{kind}", noise(300, 300, 3))
    data = path.read_bytes()
    middle = len(data) // 2
    for damaged in (
        data[:2000],
        data[:200] + bytes(200) + data[400:],
        data[:middle] + bytes(999) + data[middle + 999 :],
    ):
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_image(path)
    assert capfd.readouterr().err == ""


def test_libtiffs_messages_stay_off_stderr_and_later_ones_do_not(tmp_path, capfd):
    path = tmp_path / "noise.tif"
    Image.fromarray(noise(300, 300)).save(path, compression="tiff_adobe_deflate")
    data = bytearray(path.read_bytes())
    data[50_000:50_100] = b"\xff" * 100
    path.write_bytes(data)
    with pytest.raises(InputError, match="not a picture that can be decoded: its TIFF data"):
        read_image(path)
    os.write(2, b"a later message")
    assert capfd.readouterr().err == "a later message"


def test_pillows_warnings_and_log_stay_off_stderr(tmp_path, digit, recwarn, caplog):
    path = save_frames(tmp_path / "animation.png", digit, 255 - digit)
    path.write_bytes(without_frames(path.read_bytes()))
    assert read_image(path).shape == digit.shape
    Image.fromarray(digit).convert("RGB").save(tmp_path / "samples.tif")
    data = (tmp_path / "samples.tif").read_bytes()
    samples = struct.pack("<HHI", 277, 3, 1)  # the tag of the samples per pixel, its type, its count
    assert data.count(samples + b"\x03") == 1
    (tmp_path / "samples.tif").write_bytes(data.replace(samples + b"\x03", samples + b"\xff"))
    with pytest.raises(InputError):
        read_image(tmp_path / "samples.tif")
    assert not recwarn.list
    assert not caplog.records


def without_frames(data):
    """Let the `acTL` chunk of an animated PNG file say that it has no frames."""
    start = data.index(b"acTL")
    return data[: start - 4] + chunk(b"acTL", bytes(8)) + data[start + 16 :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.png", None, "no such file"),
        ("empty.png", b"", "the file is empty"),
        ("text.png", b"hello, I am not a picture", "not a picture"),
        ("half.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50 + b"IEND", "not a picture"),
        ("half.avif", b"\0\0\0\x20ftypavif" + b"\0" * 50, "not a picture"),
        ("half.tif", b"II*\0\x08\0\0\0" + b"\xff" * 50, "not a picture"),
        ("half.pgm", b"P5\n28 x\n255\n" + b"\0" * 784, "not a picture"),
    ],
)
def test_a_file_that_is_not_a_picture_gives_one_clear_line(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_is_not_a_picture(tmp_path):
    with pytest.raises(InputError, match="is a directory"):
        read_image(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".avif", ".bmp", ".jp2", ".pgm"])
def test_any_damage_is_an_input_error(tmp_path, suffix):
    path = save(tmp_path / f"noise{suffix}", noise(60, 60, 3)[:, :, : 1 if suffix == ".pgm" else 3])
    data, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            assert read_image(path).dtype == np.uint8


@pytest.mark.parametrize("error", [TypeError, IndexError, KeyError, EOFError, struct.error, OSError, RuntimeError])
def test_whatever_pillow_raises_on_damaged_data_is_an_input_error(tmp_path, digit, monkeypatch, error):
    def fail(*_, **__):
        raise error("damaged")

    path = save(tmp_path / "a.png", digit)
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(InputError, match="not a picture that can be decoded: its PNG data"):
        read_image(path)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(path, side):
    """Write a PNG file of side x side black pixels; a megabyte holds a billion."""
    packer = zlib.compressobj(9, wbits=-15)
    million = packer.compress(bytes(1_000_000)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = b"\x78\xda" + million * (1 + side * (side + 1) // 1_000_000)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def test_a_bomb_of_a_size_that_is_accepted_can_be_decoded(tmp_path):
    """So the files of the next test are refused for their size alone."""
    bomb(tmp_path / "small.png", 2000)
    assert read_image(tmp_path / "small.png").shape == (2000, 2000)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    bomb(tmp_path / "bomb.png", 30_000)
    bomb(tmp_path / "warn.png", 11_000)  # Pillow itself only warns of this one
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
    claim = b"\x89PNG\r\n\x1a\n" + header + b"\xff\xff\xff\x00iCCP" + bytes(20)
    (tmp_path / "claim.png").write_bytes(claim)  # a chunk that says it is 4 GB long
    screen = b"GIF89a" + struct.pack("<HHBBB", 28, 28, 0x80, 0, 0) + bytes(6)  # with a palette of two blacks
    control = b"!\xf9\x04\x08\0\0\0\0"  # restore the background after this frame
    frames = [b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x4c\x01\0" for side in (1, 60_000)]
    (tmp_path / "frame.gif").write_bytes(screen + b"".join(control + frame for frame in frames) + b";")
    measure = (
        "import resource, sys; from digits.imaging.reading import read_image; from digits.cli import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_image(path)\n"
        "    except InputError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    paths = [tmp_path / name for name in ("bomb.png", "warn.png", "claim.png", "frame.gif")]
    done = subprocess.run([sys.executable, "-c", measure, *paths], cwd=ROOT, capture_output=True, text=True)
    first, second, third, kilobytes = done.stdout.splitlines()
    assert "bomb.png: 30000x30000 pixels are more than the 100 million that are read" in first
    assert "warn.png: 11000x11000 pixels are more than the 100 million that are read" in second
    assert "claim.png: the picture is cut short" in third
    assert int(kilobytes) < 50_000
    assert done.stderr == ""
