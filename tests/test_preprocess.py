"""Preprocessing: every kind of picture of one digit comes out in the same form, and what is no picture is refused."""

import contextlib
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from errors import InputError
from image_header import image_size
from preprocess import BOX, BlankImage, count_figures, read_image, to_mnist

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".png", ".jpg"))


@pytest.fixture
def digit():
    """A hand-drawn-like 7 as ink, uint8 [200, 160], bright on black."""
    ink = np.zeros((200, 160), np.uint8)
    points = np.array([[30, 40], [80, 36], [125, 38], [100, 90], [75, 170]], np.int32)
    cv2.polylines(ink, [points.reshape(-1, 1, 2)], False, 255, 14, cv2.LINE_AA)
    return ink


def difference(first, second):
    """Mean absolute difference over the brighter of the two: 0 for the same, 2 for nothing in common."""
    return np.abs(first - second).sum() / max(first.sum(), second.sum())


def centre(image):
    total = image.sum()
    return (image.sum(0) @ np.arange(28)) / total, (image.sum(1) @ np.arange(28)) / total


# The form


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_form_is_mnists(path):
    image = to_mnist(read_image(path))
    assert (image.shape, image.dtype) == ((28, 28), np.float32)
    assert image.min() == 0
    assert image.max() == 1
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 <= BOX
    assert max(np.ptp(rows), np.ptp(columns)) + 1 >= BOX - 1
    np.testing.assert_allclose(centre(image), 14, atol=0.51)


def test_an_mnist_image_comes_out_nearly_as_it_went_in(mnist_train):
    changes = [difference(to_mnist(image), image / 255) for image in mnist_train[0][:200]]
    assert np.median(changes) < 0.1
    assert np.quantile(changes, 0.95) < 0.6  # a shift of one pixel, where MNIST's own centring rounded the other way


def test_the_aspect_is_kept():
    tall = np.zeros((300, 300), np.uint8)
    tall[50:250, 140:160] = 255
    image = to_mnist(tall)
    assert np.flatnonzero(image.any(1)).size == 20
    assert np.flatnonzero(image.any(0)).size == 2


# The same answer whatever the picture is like


def variants(ink):
    grey = 255 - ink
    yield "white paper", grey
    yield "black board", ink
    yield "grey on grey", (120 + ink.astype(float) * 0.4).astype(np.uint8)
    yield "colour", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    yield "opaque", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA)
    yield "dark ink on transparent", np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink])
    yield "light ink on transparent", np.dstack([np.full((*ink.shape, 3), 255, np.uint8), ink])
    yield (
        "small in a corner of a large sheet",
        cv2.copyMakeBorder(grey, 30, 700, 600, 20, cv2.BORDER_CONSTANT, value=255),
    )
    yield "cut tight", grey[28:180, 20:136]
    yield "enlarged", cv2.resize(grey, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    yield "shrunk", cv2.resize(grey, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    shade = np.linspace(0.45, 1, ink.shape[1])[None] * np.linspace(1, 0.8, ink.shape[0])[:, None]
    yield "shaded paper", (grey * shade).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 9, ink.shape)
    yield "noisy paper", np.clip(grey * 0.9 + noise, 0, 255).astype(np.uint8)
    dusty = grey.copy()
    dusty[15:18, 140:143] = dusty[185:187, 8:11] = 30
    yield "dust", dusty


@pytest.mark.parametrize("index", range(len(list(variants(np.zeros((200, 160), np.uint8))))))
def test_white_paper_and_black_board_and_the_rest_give_the_same_digit(digit, index):
    expected = to_mnist(digit)
    name, picture = list(variants(digit))[index]
    assert difference(to_mnist(picture), expected) < 0.3, name


def test_the_second_stroke_of_a_digit_is_kept():
    five = np.full((200, 200), 255, np.uint8)
    body = np.array([[70, 70], [66, 105], [110, 100], [130, 135], [95, 165], [60, 155]], np.int32)
    cv2.polylines(five, [body.reshape(-1, 1, 2)], False, 0, 8)
    without = to_mnist(five)
    cv2.line(five, (78, 52), (128, 46), 0, 5)  # the bar, thin and apart
    image = to_mnist(five)
    assert image[:8].sum() > 2
    assert difference(image, without) > 0.3


# Files


def save(path, image, **extra):
    assert cv2.imwrite(str(path), image)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".jpg", ".pgm"])
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


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 28), (28, 28), (500, 300)])
def test_a_blank_picture_has_no_digit(level, size):
    with pytest.raises(BlankImage, match="blank"):
        to_mnist(np.full(size, level, np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_shade_alone_are_blank(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320] / 300
    paper = 220 - 90 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) ** 2 + rng.normal(0, 4, (240, 320))
    with pytest.raises(BlankImage):
        to_mnist(np.clip(paper, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (1, 50), (3, 3), (5, 400), (1, 1000), (2, 1700), (100_000, 1)]
)
def test_tiny_and_odd_pictures_are_read_or_blank_never_an_error(size):
    rng = np.random.default_rng(0)
    for _ in range(50):
        try:
            image = to_mnist(rng.integers(0, 256, size, np.uint8))
        except BlankImage:
            continue
        assert image.shape == (28, 28)
        assert np.isfinite(image).all()


# How many figures


def seen(*glyphs, size=(80, 60)):
    """MNIST's form of lines drawn on black: each glyph a list of points."""
    picture = np.zeros(size, np.uint8)
    for points in glyphs:
        cv2.polylines(picture, [np.array(points, np.int32)], False, 255, 5)
    return to_mnist(picture)


@pytest.mark.parametrize(
    ("glyphs", "count"),
    [
        ([[(30, 10), (30, 70)]], 1),
        ([[(15, 15), (15, 65)], [(45, 15), (45, 65)]], 2),
        ([[(10, 15), (10, 65)], [(30, 15), (30, 65)], [(50, 15), (50, 65)]], 3),
        ([[(15, 15), (45, 15), (15, 30)], [(15, 50), (45, 50), (15, 68)]], 2),  # one above the other
        ([[(15, 25), (15, 65), (40, 65)], [(18, 12), (45, 12)]], 1),  # a 5 with its bar apart
        ([[(15, 12), (15, 40), (34, 40)], [(42, 12), (42, 70)]], 1),  # a 4 in two strokes
    ],
)
def test_figures_are_counted_side_by_side_and_strokes_are_not(glyphs, count):
    assert count_figures(seen(*glyphs)) == count


def test_nothing_is_no_figure():
    assert count_figures(np.zeros((28, 28), np.float32)) == 0


# The real world: what is behind the ink, beside it and across it


def on_paper(ink, colour=(60, 45, 40), paper=(222, 228, 230), size=(300, 300)):
    cover = np.zeros(size, np.float32)
    top, left = (size[0] - ink.shape[0]) // 2, (size[1] - ink.shape[1]) // 2
    cover[top : top + ink.shape[0], left : left + ink.shape[1]] = ink / 255
    picture = np.float32(paper) * (1 - cover[:, :, None]) + np.float32(colour) * cover[:, :, None]
    noise = np.random.default_rng(0).normal(0, 3, (*size, 1))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def shadow(picture):
    """A hand's: half of the picture, with a hard edge askew through the digit."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.where((x + 0.4 * y > 0.7 * picture.shape[1])[:, :, None], picture * 0.5, picture).astype(np.uint8)


def table(picture):
    """Dark wood around a sheet that lies askew."""
    height, width = picture.shape[:2]
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    place = np.float32([[50, 40], [360, 60], [345, 370], [30, 350]])
    view = cv2.getPerspectiveTransform(corners, place)
    return cv2.warpPerspective(picture, view, (400, 400), borderValue=(50, 70, 90))


def ruled(picture, across=range(20, 300, 52), upright=(), colour=(190, 150, 130)):
    lined = picture.copy()
    for y in across:
        cv2.line(lined, (0, y), (picture.shape[1], y + 6), colour, 2, cv2.LINE_AA)
    for x in upright:
        cv2.line(lined, (x, 0), (x - 6, picture.shape[0]), colour, 2, cv2.LINE_AA)
    return np.minimum(lined, picture)


def frame(picture):
    """A form's cell, cut out askew: its left and lower sides, a stump of the next."""
    framed = picture.copy()
    cv2.line(framed, (3, 0), (0, 299), (30, 30, 30), 7)
    cv2.line(framed, (0, 297), (299, 290), (30, 30, 30), 6)
    cv2.line(framed, (285, 0), (285, 22), (30, 30, 30), 6)
    return framed


def glare(picture):
    """A lamp on a whiteboard."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    spot = 70 * np.exp(-((x - 240) ** 2 + (y - 60) ** 2) / (2 * 35**2))
    return np.clip(picture * 0.75 + spot[:, :, None], 0, 255).astype(np.uint8)


def chalk(digit):
    """Light and crumbling, on a board with traces of the sponge."""
    rng = np.random.default_rng(1)
    crumbs = np.clip(1.2 - 0.8 * cv2.GaussianBlur(rng.random(digit.shape), None, 1), 0, 1)
    board = on_paper((digit * crumbs).astype(np.uint8), (215, 220, 225), (48, 62, 50)).astype(np.float32)
    traces = cv2.resize(rng.random((12, 12)).astype(np.float32), (300, 300), interpolation=cv2.INTER_CUBIC)
    return np.clip(board + 25 * traces[:, :, None], 0, 255).astype(np.uint8)


WORLD = {
    "shadow": lambda digit: shadow(on_paper(digit)),
    "table": lambda digit: table(on_paper(digit)),
    "edge of a table": lambda digit: cv2.copyMakeBorder(
        on_paper(digit), 0, 12, 25, 0, cv2.BORDER_CONSTANT, value=(50, 70, 90)
    ),
    "table and shadow": lambda digit: table(shadow(on_paper(digit))),
    "ruled": lambda digit: ruled(on_paper(digit)),
    "squared": lambda digit: ruled(on_paper(digit), range(12, 300, 40), range(22, 330, 40)),
    "ruled in shadow": lambda digit: shadow(ruled(on_paper(digit))),
    "frame": lambda digit: frame(on_paper(digit)),
    "glare": lambda digit: glare(on_paper(digit, (150, 60, 40))),
    "chalk": chalk,
    "jpeg": lambda digit: cv2.imdecode(cv2.imencode(".jpg", on_paper(digit), [cv2.IMWRITE_JPEG_QUALITY, 15])[1], 1),
}


@pytest.mark.parametrize("name", WORLD)
def test_the_digit_is_the_same_on_any_sheet_in_any_light(digit, name):
    assert difference(to_mnist(WORLD[name](digit)), to_mnist(digit)) < 0.4


@pytest.mark.parametrize(
    "colour",
    [(40, 40, 220), (60, 160, 40), (200, 80, 40), (60, 240, 250), (90, 170, 255), (200, 120, 220)],
    ids=["red", "green", "blue", "yellow", "orange", "pink"],
)
def test_ink_of_any_colour_is_seen(digit, colour):
    assert difference(to_mnist(on_paper(digit, colour)), to_mnist(digit)) < 0.25


@pytest.mark.parametrize("side", [16, 28, 4000])
def test_pictures_from_16_to_4000_pixels(digit, side):
    square = cv2.copyMakeBorder(255 - digit, 0, 0, 20, 20, cv2.BORDER_CONSTANT, value=255)
    picture = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if side < 200 else cv2.INTER_CUBIC)
    assert difference(to_mnist(picture), to_mnist(digit)) < (0.6 if side == 16 else 0.4)


@pytest.mark.parametrize("width", [1, 2, 40, 100, 130])
def test_strokes_from_one_pixel_to_a_third_of_the_picture(width):
    picture = np.full((400, 400), 255, np.uint8)
    cv2.polylines(picture, [np.array([[110, 90], [290, 90], [190, 320]], np.int32)], False, 0, width)
    ink = (255 - picture)[slice(*edges(picture.min(1) < 255)), slice(*edges(picture.min(0) < 255))]
    size = [max(1, round(20 / max(ink.shape) * length)) for length in ink.shape[::-1]]
    expected = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    assert to_mnist(picture).sum() == pytest.approx((expected / expected.max()).sum(), rel=0.05)


def edges(used):
    found = np.flatnonzero(used)
    return found[0], found[-1] + 1


def test_the_gaps_between_strokes_are_no_light_ink_beside_a_shadow():
    ink = np.zeros((240, 200), np.uint8)
    cv2.putText(ink, "8", (10, 220), cv2.FONT_HERSHEY_SIMPLEX, 9, 255, 36, cv2.LINE_AA)
    assert difference(to_mnist(shadow(on_paper(ink))), to_mnist(ink)) < 0.3


def test_a_thick_marker_on_squared_paper_is_the_ink_and_not_the_squares():
    ink = np.zeros((240, 200), np.uint8)
    cv2.polylines(ink, [np.array([[40, 40], [160, 40], [80, 200]], np.int32)], False, 255, 36, cv2.LINE_AA)
    squared = ruled(on_paper(ink), range(12, 300, 60), range(22, 330, 60), (110, 90, 80))
    assert difference(to_mnist(shadow(squared)), to_mnist(ink)) < 0.5  # bits of lines along the bar stay


def test_a_thick_digit_cut_tight_is_no_shadow():
    """It fills the border, as a shadow does."""
    ink = np.zeros((300, 220), np.uint8)
    cv2.polylines(ink, [np.array([[30, 30], [190, 30], [90, 270]], np.int32)], False, 255, 62)
    x, y, width, height = cv2.boundingRect(ink)
    tight = 255 - ink[y : y + height, x : x + width]
    assert difference(to_mnist(tight), to_mnist(ink)) < 0.1


@pytest.mark.parametrize("digits", ["1", "4", "7", "111"])
def test_tall_and_flat_strokes_are_no_printed_lines(digits):
    strokes = {
        "1": [[(150, 10), (150, 290)]],
        "4": [[(60, 5), (40, 170), (280, 170)], [(200, 3), (200, 297)]],
        "7": [[(5, 30), (295, 30), (150, 290)]],
        "111": [[(60, 10), (60, 290)], [(150, 10), (150, 290)], [(240, 10), (240, 290)]],
    }[digits]
    picture = np.zeros((300, 300), np.uint8)
    for stroke in strokes:
        cv2.polylines(picture, [np.array(stroke, np.int32)], False, 255, 4)
    box = cv2.resize(picture, None, fx=20 / 290, fy=20 / 290, interpolation=cv2.INTER_AREA)
    assert to_mnist(picture).sum() > 0.8 * (box / box.max()).sum()


@pytest.mark.parametrize("stroke", ["bar of a 5", "stroke of a 4", "bar of a 7"])
def test_pieces_of_a_digit_stay_in_a_photo_too(stroke):
    body, piece = {
        "bar of a 5": ([(60, 60), (56, 100), (110, 95), (110, 150), (50, 165)], [(68, 36), (125, 30)]),
        "stroke of a 4": ([(50, 30), (35, 110), (95, 108)], [(112, 40), (110, 175)]),
        "bar of a 7": ([(120, 50), (70, 170)], [(40, 30), (125, 32)]),
    }[stroke]
    ink = np.zeros((200, 160), np.uint8)
    cv2.polylines(ink, [np.array(body, np.int32)], False, 255, 9, cv2.LINE_AA)
    without = to_mnist(shadow(on_paper(ink)))
    cv2.polylines(ink, [np.array(piece, np.int32)], False, 255, 5, cv2.LINE_AA)
    image = to_mnist(shadow(on_paper(ink)))
    assert difference(image, to_mnist(ink)) < 0.4
    assert difference(image, without) > 0.3


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
        "import resource, sys; from preprocess import read_image; from errors import InputError\n"
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
