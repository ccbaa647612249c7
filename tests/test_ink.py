"""Ink is found on real paper: among shadows, printed lines, frames and other objects."""

import cv2
import numpy as np
import pytest
from conftest import difference

from digits.imaging.mnist_format import to_mnist


def on_paper(ink, color=(60, 45, 40), paper=(222, 228, 230), size=(300, 300)):
    """Draw ink on noisy paper, uint8 BGR [300, 300, 3]."""
    cover = np.zeros(size, np.float32)
    top, left = (size[0] - ink.shape[0]) // 2, (size[1] - ink.shape[1]) // 2
    cover[top : top + ink.shape[0], left : left + ink.shape[1]] = ink / 255
    picture = np.float32(paper) * (1 - cover[:, :, None]) + np.float32(color) * cover[:, :, None]
    noise = np.random.default_rng(0).normal(0, 3, (*size, 1))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def shadow(picture):
    """Cast a hard-edged shadow on half of the image, diagonally through the digit."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.where((x + 0.4 * y > 0.7 * picture.shape[1])[:, :, None], picture * 0.5, picture).astype(np.uint8)


def table(picture):
    """Place the sheet, slightly rotated, on dark wood."""
    height, width = picture.shape[:2]
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    target = np.float32([[50, 40], [360, 60], [345, 370], [30, 350]])
    view = cv2.getPerspectiveTransform(corners, target)
    return cv2.warpPerspective(picture, view, (400, 400), borderValue=(50, 70, 90))


def ruled(picture, horizontal=range(20, 300, 52), vertical=(), color=(190, 150, 130)):
    """Print lines on the paper, under the ink."""
    lined = picture.copy()
    for y in horizontal:
        cv2.line(lined, (0, y), (picture.shape[1], y + 6), color, 2, cv2.LINE_AA)
    for x in vertical:
        cv2.line(lined, (x, 0), (x - 6, picture.shape[0]), color, 2, cv2.LINE_AA)
    return np.minimum(lined, picture)


def frame(picture):
    """Add a frame, as in a cell cut out of a form: its left and lower sides, and part of the next one."""
    framed = picture.copy()
    cv2.line(framed, (3, 0), (0, 299), (30, 30, 30), 7)
    cv2.line(framed, (0, 297), (299, 290), (30, 30, 30), 6)
    cv2.line(framed, (285, 0), (285, 22), (30, 30, 30), 6)
    return framed


def glare(picture):
    """Reflect a lamp, as a whiteboard does."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]]
    spot = 70 * np.exp(-((x - 240) ** 2 + (y - 60) ** 2) / (2 * 35**2))
    return np.clip(picture * 0.75 + spot[:, :, None], 0, 255).astype(np.uint8)


def chalk(digit):
    """Draw with grainy chalk on a board with sponge marks."""
    rng = np.random.default_rng(1)
    grain = np.clip(1.2 - 0.8 * cv2.GaussianBlur(rng.random(digit.shape), None, 1), 0, 1)
    board = on_paper((digit * grain).astype(np.uint8), (215, 220, 225), (48, 62, 50)).astype(np.float32)
    marks = cv2.resize(rng.random((12, 12)).astype(np.float32), (300, 300), interpolation=cv2.INTER_CUBIC)
    return np.clip(board + 25 * marks[:, :, None], 0, 255).astype(np.uint8)


SCENES = {
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


@pytest.mark.parametrize("name", SCENES)
def test_the_digit_is_the_same_on_any_paper_in_any_light(digit, name):
    assert difference(to_mnist(SCENES[name](digit)), to_mnist(digit)) < 0.4


@pytest.mark.parametrize(
    "color",
    [(40, 40, 220), (60, 160, 40), (200, 80, 40), (60, 240, 250), (90, 170, 255), (200, 120, 220)],
    ids=["red", "green", "blue", "yellow", "orange", "pink"],
)
def test_ink_of_any_color_is_found(digit, color):
    assert difference(to_mnist(on_paper(digit, color)), to_mnist(digit)) < 0.25


@pytest.mark.parametrize("side", [16, 28, 4000])
def test_images_from_16_to_4000_pixels_give_the_same_digit(digit, side):
    square = cv2.copyMakeBorder(255 - digit, 0, 0, 20, 20, cv2.BORDER_CONSTANT, value=255)
    picture = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if side < 200 else cv2.INTER_CUBIC)
    assert difference(to_mnist(picture), to_mnist(digit)) < (0.6 if side == 16 else 0.4)


@pytest.mark.parametrize("width", [1, 2, 40, 100, 130])
def test_strokes_from_one_pixel_to_a_third_of_the_image_keep_their_ink(width):
    picture = np.full((400, 400), 255, np.uint8)
    cv2.polylines(picture, [np.array([[110, 90], [290, 90], [190, 320]], np.int32)], False, 0, width)
    ink = (255 - picture)[slice(*extent(picture.min(1) < 255)), slice(*extent(picture.min(0) < 255))]
    size = [max(1, round(20 / max(ink.shape) * length)) for length in ink.shape[::-1]]
    expected = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    assert to_mnist(picture).sum() == pytest.approx((expected / expected.max()).sum(), rel=0.05)


def extent(is_ink):
    indices = np.flatnonzero(is_ink)
    return indices[0], indices[-1] + 1


def test_gaps_between_strokes_are_not_mistaken_for_light_ink_next_to_a_shadow():
    ink = np.zeros((240, 200), np.uint8)
    cv2.putText(ink, "8", (10, 220), cv2.FONT_HERSHEY_SIMPLEX, 9, 255, 36, cv2.LINE_AA)
    assert difference(to_mnist(shadow(on_paper(ink))), to_mnist(ink)) < 0.3


def test_on_squared_paper_a_thick_marker_is_the_ink_and_the_squares_are_not():
    ink = np.zeros((240, 200), np.uint8)
    cv2.polylines(ink, [np.array([[40, 40], [160, 40], [80, 200]], np.int32)], False, 255, 36, cv2.LINE_AA)
    squared = ruled(on_paper(ink), range(12, 300, 60), range(22, 330, 60), (110, 90, 80))
    assert difference(to_mnist(shadow(squared)), to_mnist(ink)) < 0.5  # parts of the lines along the bar remain


def test_a_thick_digit_without_a_margin_is_not_mistaken_for_a_shadow():
    """It covers the border, as a shadow does."""
    ink = np.zeros((300, 220), np.uint8)
    cv2.polylines(ink, [np.array([[30, 30], [190, 30], [90, 270]], np.int32)], False, 255, 62)
    x, y, width, height = cv2.boundingRect(ink)
    cropped = 255 - ink[y : y + height, x : x + width]
    assert difference(to_mnist(cropped), to_mnist(ink)) < 0.1


@pytest.mark.parametrize("digits", ["1", "4", "7", "111"])
def test_tall_and_flat_strokes_are_not_mistaken_for_printed_lines(digits):
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
def test_detached_strokes_are_kept_in_a_photo_too(stroke):
    body, detached = {
        "bar of a 5": ([(60, 60), (56, 100), (110, 95), (110, 150), (50, 165)], [(68, 36), (125, 30)]),
        "stroke of a 4": ([(50, 30), (35, 110), (95, 108)], [(112, 40), (110, 175)]),
        "bar of a 7": ([(120, 50), (70, 170)], [(40, 30), (125, 32)]),
    }[stroke]
    ink = np.zeros((200, 160), np.uint8)
    cv2.polylines(ink, [np.array(body, np.int32)], False, 255, 9, cv2.LINE_AA)
    without_stroke = to_mnist(shadow(on_paper(ink)))
    cv2.polylines(ink, [np.array(detached, np.int32)], False, 255, 5, cv2.LINE_AA)
    image = to_mnist(shadow(on_paper(ink)))
    assert difference(image, to_mnist(ink)) < 0.4
    assert difference(image, without_stroke) > 0.3


# Digits that fill the image


def glyphs():
    """Digits in OpenCV's font with a thick pen, bright on black, 300x300."""
    for digit in "023456789":
        canvas = np.zeros((300, 300), np.uint8)
        cv2.putText(canvas, digit, (60, 240), cv2.FONT_HERSHEY_SIMPLEX, 8, 255, 28, cv2.LINE_AA)
        yield digit, canvas


@pytest.mark.parametrize("margin", [0, 0.02])
@pytest.mark.parametrize("ground", ["light", "dark", "transparent", "noisy paper"])
def test_a_digit_cut_to_its_box_is_the_same_as_with_a_margin(ground, margin):
    for digit, canvas in glyphs():
        x, y, width, height = cv2.boundingRect((canvas > 100).astype(np.uint8))
        pad = round(margin * max(width, height))
        cut = canvas[y - pad : y + height + pad, x - pad : x + width + pad]
        image = {
            "light": lambda cut: 255 - cut,
            "dark": lambda cut: cut,
            "transparent": lambda cut: np.dstack([np.zeros((*cut.shape, 3), np.uint8), cut]),
            "noisy paper": lambda cut: on_paper(cut, size=cut.shape),
        }[ground](cut)
        assert difference(to_mnist(image), to_mnist(canvas)) < 0.35, digit


def test_an_upright_1_cut_to_its_box_is_ink_and_not_blank():
    canvas = np.zeros((300, 300), np.uint8)
    cv2.line(canvas, (150, 40), (148, 260), 255, 30, cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(canvas)
    cut = canvas[y : y + height, x : x + width]
    assert difference(to_mnist(255 - cut), to_mnist(canvas)) < 0.3
