"""Every kind of image of one digit is normalized to the same MNIST format."""

import cv2
import numpy as np
import pytest
from conftest import ROOT, difference

from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import BOX, count_segments, has_second_figure, is_blot, is_slash, to_mnist
from digits.imaging.reading import read_image

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".png", ".jpg"))


def center(image):
    total = image.sum()
    return (image.sum(0) @ np.arange(28)) / total, (image.sum(1) @ np.arange(28)) / total


# The format


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_normalized_to_mnist_format(path):
    image = to_mnist(read_image(path))
    assert (image.shape, image.dtype) == ((28, 28), np.float32)
    assert image.min() == 0
    assert image.max() == 1
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 <= BOX
    assert max(np.ptp(rows), np.ptp(columns)) + 1 >= BOX - 1
    np.testing.assert_allclose(center(image), 14, atol=0.51)


def test_an_mnist_image_hardly_changes(mnist_train):
    changes = [difference(to_mnist(image), image / 255) for image in mnist_train[0][:200]]
    assert np.median(changes) < 0.1
    assert np.quantile(changes, 0.95) < 0.6  # shifted by one pixel where MNIST's own centering rounded the other way


def test_the_aspect_ratio_is_kept():
    tall = np.zeros((300, 300), np.uint8)
    tall[50:250, 140:160] = 255
    image = to_mnist(tall)
    assert np.flatnonzero(image.any(1)).size == 20
    assert np.flatnonzero(image.any(0)).size == 2


# The same digit in different images


def variants(ink):
    gray = 255 - ink
    yield "white paper", gray
    yield "black board", ink
    yield "gray on gray", (120 + ink.astype(float) * 0.4).astype(np.uint8)
    yield "color", cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    yield "opaque", cv2.cvtColor(gray, cv2.COLOR_GRAY2BGRA)
    yield "dark ink on transparent", np.dstack([np.zeros((*ink.shape, 3), np.uint8), ink])
    yield "light ink on transparent", np.dstack([np.full((*ink.shape, 3), 255, np.uint8), ink])
    yield (
        "small in a corner of a large sheet",
        cv2.copyMakeBorder(gray, 30, 700, 600, 20, cv2.BORDER_CONSTANT, value=255),
    )
    yield "cut tight", gray[28:180, 20:136]
    yield "enlarged", cv2.resize(gray, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    yield "shrunk", cv2.resize(gray, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    shade = np.linspace(0.45, 1, ink.shape[1])[None] * np.linspace(1, 0.8, ink.shape[0])[:, None]
    yield "shaded paper", (gray * shade).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 9, ink.shape)
    yield "noisy paper", np.clip(gray * 0.9 + noise, 0, 255).astype(np.uint8)
    dusty = gray.copy()
    dusty[15:18, 140:143] = dusty[185:187, 8:11] = 30
    yield "dust", dusty


@pytest.mark.parametrize("index", range(len(list(variants(np.zeros((200, 160), np.uint8))))))
def test_white_paper_and_black_board_and_every_other_variant_give_the_same_digit(digit, index):
    expected = to_mnist(digit)
    name, image = list(variants(digit))[index]
    assert difference(to_mnist(image), expected) < 0.3, name


def test_the_second_stroke_of_a_digit_is_kept():
    five = np.full((200, 200), 255, np.uint8)
    body = np.array([[70, 70], [66, 105], [110, 100], [130, 135], [95, 165], [60, 155]], np.int32)
    cv2.polylines(five, [body.reshape(-1, 1, 2)], False, 0, 8)
    without_bar = to_mnist(five)
    cv2.line(five, (78, 52), (128, 46), 0, 5)  # the bar, thin and detached
    image = to_mnist(five)
    assert image[:8].sum() > 2
    assert difference(image, without_bar) > 0.3


# Images without a digit


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (1, 28), (28, 28), (500, 300)])
def test_a_blank_image_has_no_digit(level, size):
    with pytest.raises(BlankImage, match="blank"):
        to_mnist(np.full(size, level, np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_shading_alone_are_blank(seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320] / 300
    paper = 220 - 90 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1)) ** 2 + rng.normal(0, 4, (240, 320))
    with pytest.raises(BlankImage):
        to_mnist(np.clip(paper, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (1, 50), (3, 3), (5, 400), (1, 1000), (2, 1700), (100_000, 1)]
)
def test_tiny_and_very_narrow_images_are_read_or_blank_but_never_an_error(size):
    rng = np.random.default_rng(0)
    for _ in range(50):
        try:
            image = to_mnist(rng.integers(0, 256, size, np.uint8))
        except BlankImage:
            continue
        assert image.shape == (28, 28)
        assert np.isfinite(image).all()


# Number of segments


def normalized(*glyphs, size=(80, 60)):
    """Draw polylines on black, each glyph a list of points, and normalize the image to MNIST format."""
    image = np.zeros(size, np.uint8)
    for points in glyphs:
        cv2.polylines(image, [np.array(points, np.int32)], False, 255, 5)
    return to_mnist(image)


@pytest.mark.parametrize(
    ("glyphs", "count"),
    [
        ([[(30, 10), (30, 70)]], 1),
        ([[(15, 15), (15, 65)], [(45, 15), (45, 65)]], 2),
        ([[(10, 15), (10, 65)], [(30, 15), (30, 65)], [(50, 15), (50, 65)]], 3),
        ([[(15, 15), (45, 15), (15, 30)], [(15, 50), (45, 50), (15, 68)]], 2),  # one above the other
        ([[(15, 25), (15, 65), (40, 65)], [(18, 12), (45, 12)]], 1),  # a 5 with a detached bar
        ([[(15, 12), (15, 40), (34, 40)], [(42, 12), (42, 70)]], 1),  # a 4 in two strokes
    ],
)
def test_digits_are_counted_and_strokes_of_one_digit_are_not(glyphs, count):
    assert count_segments(normalized(*glyphs)) == count


def test_a_blank_image_counts_zero_segments():
    assert count_segments(np.zeros((28, 28), np.float32)) == 0


def test_only_images_in_mnist_format_are_returned_unchanged_to_the_pixel(mnist_train):
    images = mnist_train[0][:300]
    unchanged = [(np.rint(255 * to_mnist(image)) == image).all() for image in images]
    assert sum(unchanged) > 295
    for changed in (255 - images[0], np.roll(images[0], 4, 1), images[0] // 2):
        assert difference(to_mnist(changed), images[0] / 255) < 0.1, "normalized again"


# What is not one digit


def test_a_dot_of_any_outline_is_a_blot_and_thick_digits_are_not(digit):
    for axes in ((40, 40), (40, 30)):
        dot = np.zeros((120, 120), np.uint8)
        cv2.ellipse(dot, (60, 60), axes, 20, 0, 360, 255, -1)
        assert is_blot(to_mnist(dot))
    for pen in (1, 20, 40):
        assert not is_blot(to_mnist(cv2.dilate(digit, np.ones((pen, pen), np.uint8))))


def test_ink_beside_a_digit_is_a_second_figure_and_a_detached_bar_is_not():
    five = normalized([(30, 25), (30, 50), (55, 60), (30, 75)], [(34, 12), (60, 12)])
    minus = normalized([(30, 25), (30, 50), (55, 60), (30, 75)], [(2, 45), (18, 45)])
    assert not has_second_figure(five)
    assert has_second_figure(minus)


def test_hardly_any_mnist_digit_is_a_blot_or_has_a_second_figure(mnist_train):
    images = mnist_train[0][:5000] / np.float32(255)
    assert sum(map(is_blot, images)) == 0
    assert np.mean([has_second_figure(image) for image in images]) < 0.003


def stroke(dx, dy, pen=12):
    canvas = np.zeros((300, 300), np.uint8)
    start, end = (150 - dx, 150 + dy), (150 + dx, 150 - dy)
    return to_mnist(cv2.line(canvas, start, end, 255, pen, cv2.LINE_AA))


def test_a_slash_a_backslash_and_a_dash_are_slashes_and_an_upright_stroke_is_not():
    for dx, dy in ((60, 100), (100, 100), (-40, 100), (100, 0), (100, 20), (-100, 60)):
        assert is_slash(stroke(dx, dy)), (dx, dy)
    for dx, dy in ((0, 100), (30, 100), (-10, 100)):
        assert not is_slash(stroke(dx, dy)), (dx, dy)


def test_no_digit_but_a_slanted_1_is_a_slash(mnist_train):
    images, labels = mnist_train[0][:5000] / np.float32(255), mnist_train[1][:5000]
    slashes = np.array([is_slash(image) for image in images])
    assert slashes[labels != 1].mean() < 0.002
    assert 0.2 < slashes[labels == 1].mean() < 0.4
    assert not is_slash(np.zeros((28, 28), np.float32))


# Circles and boxes around a digit


def framed(ink, frame):
    canvas = cv2.copyMakeBorder(ink, 120, 120, 120, 120, cv2.BORDER_CONSTANT)
    height, width = canvas.shape
    if frame == "circle":
        cv2.ellipse(canvas, (width // 2, height // 2), (150, 170), 10, 0, 360, 255, 8, cv2.LINE_AA)
    elif frame == "open circle":
        cv2.ellipse(canvas, (width // 2, height // 2), (150, 170), 10, 5, 358, 255, 8, cv2.LINE_AA)
    else:
        corners = np.array([[30, 30], [width - 34, 40], [width - 30, height - 30], [36, height - 40], [30, 42]])
        cv2.polylines(canvas, [corners], False, 255, 8, cv2.LINE_AA)
    return canvas


@pytest.mark.parametrize("frame", ["circle", "open circle", "box"])
def test_a_circle_or_box_drawn_around_a_digit_is_removed(digit, frame):
    assert difference(to_mnist(framed(digit, frame)), to_mnist(digit)) < 0.5


def test_a_stroke_or_dots_inside_a_zero_or_a_face_are_kept():
    zero = cv2.ellipse(np.zeros((300, 300), np.uint8), (150, 150), (70, 110), 0, 0, 360, 255, 12, cv2.LINE_AA)
    slashed = cv2.line(zero.copy(), (130, 190), (170, 110), 255, 12, cv2.LINE_AA)
    assert (to_mnist(slashed) > 0.5).sum() > (to_mnist(zero) > 0.5).sum() + 5
    face = cv2.circle(np.zeros((300, 300), np.uint8), (150, 150), 110, 255, 10, cv2.LINE_AA)
    for eye in ((110, 120), (190, 120)):
        cv2.circle(face, eye, 10, 255, -1, cv2.LINE_AA)
    cv2.ellipse(face, (150, 170), (45, 25), 0, 10, 170, 255, 8, cv2.LINE_AA)
    assert (to_mnist(face)[14, :8] > 0.5).any()
