"""Every digit in an image is found, in reading order, with all its strokes."""

import cv2
import numpy as np
import pytest

from digits.imaging.mnist_format import to_mnist
from digits.imaging.segmentation import find_digits

# Digits as strokes, x and y from 0 to 100
STROKES = {
    "one": [[(50, 0), (50, 100)]],
    "four in two strokes": [[(10, 0), (0, 60), (62, 60)], [(72, 10), (72, 100)]],
    "five with a detached bar": [[(10, 18), (10, 50), (60, 50), (60, 90), (0, 100)], [(15, 0), (70, 0)]],
    "seven with a detached bar": [[(0, 0), (70, 0)], [(66, 16), (30, 100)]],
    "one with a detached foot": [[(20, 20), (40, 0), (40, 85)], [(10, 100), (70, 100)]],
    "wide two": [[(0, 20), (60, 0), (110, 30), (0, 100), (130, 100)]],
    "broken two": [[(0, 20), (40, 0), (80, 30), (50, 62)], [(42, 70), (0, 100), (90, 100)]],
}


def draw(*placed, size=(400, 400), pen=8):
    """Draw white ink on black; each glyph is `(name, x, y, height)` in pixels."""
    canvas = np.zeros(size, np.uint8)
    for name, x, y, height in placed:
        for stroke in STROKES[name]:
            points = (np.array(stroke) * height / 100 + (x, y)).astype(np.int32)
            cv2.polylines(canvas, [points], False, 255, pen, cv2.LINE_AA)
    return canvas


@pytest.mark.parametrize("name", STROKES)
def test_the_strokes_of_a_digit_form_one_segment_equal_to_the_whole_image(name):
    canvas = draw((name, 120, 100, 200))
    (segment,) = find_digits(canvas)
    np.testing.assert_allclose(segment.image, to_mnist(canvas), atol=1e-5)


def test_each_segment_contains_its_digit_alone_and_has_its_box():
    left, right = draw(("wide two", 20, 100, 120)), draw(("four in two strokes", 260, 120, 120))
    first, second = find_digits(left | right)
    for segment, alone in ((first, left), (second, right)):
        np.testing.assert_allclose(segment.image, to_mnist(alone), atol=1e-5)
        x, y, width, height = cv2.boundingRect(alone)
        np.testing.assert_allclose(segment.box, (x, y, width, height), atol=2)


def test_tilted_lines_are_in_reading_order():
    placed = [("one", 40 + 90 * column, 70 + 110 * row - 14 * column, 60) for row in range(3) for column in range(4)]
    canvas = draw(*reversed(placed))
    segments = find_digits(canvas)
    assert [segment.line for segment in segments] == [0] * 4 + [1] * 4 + [2] * 4
    for segment, (_, x, y, _) in zip(segments, placed, strict=True):
        assert abs(segment.box[0] - x - 26) < 5
        assert abs(segment.box[1] - y) < 8


def test_a_blank_image_has_no_segments():
    assert find_digits(np.zeros((100, 100), np.uint8)) == []


def test_dust_is_ignored():
    canvas = draw(("wide two", 50, 100, 120), ("one", 250, 100, 120))
    cv2.circle(canvas, (370, 30), 3, 255, -1)
    assert len(find_digits(canvas)) == 2


def sign(kind):
    """Draw a sign between a 2 and a 1."""
    canvas = draw(("wide two", 30, 100, 120), ("one", 290, 100, 120))
    x = 262
    if kind == "point":
        cv2.circle(canvas, (x, 216), 8, 255, -1)
    elif kind == "comma":
        cv2.line(canvas, (x + 6, 212), (x - 6, 244), 255, 8)
    elif kind == "dash":
        cv2.line(canvas, (x - 20, 160), (x + 20, 160), 255, 8)
    elif kind == "equals sign":
        cv2.line(canvas, (x - 20, 145), (x + 20, 145), 255, 8)
        cv2.line(canvas, (x - 20, 175), (x + 20, 175), 255, 8)
    elif kind == "colon":
        cv2.circle(canvas, (x, 135), 8, 255, -1)
        cv2.circle(canvas, (x, 190), 8, 255, -1)
    elif kind == "slash":
        cv2.line(canvas, (x - 32, 232), (x + 32, 88), 255, 8)
    return canvas


@pytest.mark.parametrize("kind", ["point", "comma", "dash", "equals sign", "colon", "slash"])
def test_a_sign_between_digits_keeps_its_place(kind):
    segments = find_digits(sign(kind))
    assert [segment.is_sign for segment in segments] == [False, True, False]
    assert [segment.line for segment in segments] == [0, 0, 0]


def test_a_leaning_1_as_tall_as_its_neighbors_is_not_a_slash():
    canvas = draw(("wide two", 30, 100, 120), ("wide two", 230, 100, 120), size=(300, 500))
    cv2.line(canvas, (195, 218), (225, 102), 255, 8)
    assert not any(segment.is_sign for segment in find_digits(canvas))


def test_an_exponent_is_a_small_digit_of_its_own():
    canvas = draw(("four in two strokes", 60, 100, 200), ("four in two strokes", 230, 90, 70))
    assert [(segment.is_small, segment.is_sign) for segment in find_digits(canvas)] == [(False, False), (True, False)]


def test_a_small_digit_on_a_line_of_its_own_is_found():
    segments = find_digits(draw(("four in two strokes", 60, 20, 60), ("four in two strokes", 60, 180, 200)))
    assert [(segment.line, segment.is_sign) for segment in segments] == [(0, False), (1, False)]


@pytest.mark.parametrize("paper", ["dark", "light"])
def test_a_number_cut_to_its_bounding_box_keeps_its_outer_digits(paper):
    canvas = draw(("one", 40, 100, 120), ("wide two", 160, 100, 120), ("one", 310, 100, 120))
    x, y, width, height = cv2.boundingRect(canvas)
    cut = canvas[y : y + height, x : x + width]
    assert len(find_digits(cut if paper == "dark" else 255 - cut)) == 3


@pytest.mark.parametrize("slope", [0, 0.05])
def test_digits_that_a_printed_line_joins_are_found_one_by_one(slope):
    names = ("four in two strokes", "wide two", "one", "wide two")
    placed = [(name, 40 + 150 * index, 60, 90) for index, name in enumerate(names)]
    canvas = draw(*placed, size=(300, 700))
    apart = find_digits(canvas)
    cv2.line(canvas, (40, 110), (600, round(110 + 560 * slope)), 160, 2, cv2.LINE_AA)
    joined = find_digits(canvas)
    assert len(apart) == len(joined) == 4
    for found, expected in zip(joined, apart, strict=True):
        np.testing.assert_allclose(found.box, expected.box, atol=6)


def test_a_long_digit_is_no_printed_line():
    canvas = draw(
        ("four in two strokes", 40, 100, 60), ("wide two", 160, 60, 200), ("one", 500, 100, 60), size=(400, 700)
    )
    assert len(find_digits(canvas)) == 3


@pytest.mark.parametrize("thickness", [1, 2, 3, 6])
@pytest.mark.parametrize("end", [(550, 200), (550, 230), (50, 20)])
def test_a_line_alone_is_one_segment(thickness, end):
    """There are no digits for it to join, and without it there is no ink."""
    canvas = cv2.line(np.zeros((400, 600), np.uint8), (50, 200), end, 255, thickness, cv2.LINE_AA)
    assert len(find_digits(canvas)) == 1
