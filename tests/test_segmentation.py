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


def test_dust_and_dashes_are_ignored():
    canvas = draw(("wide two", 50, 100, 120), ("one", 250, 100, 120))
    cv2.circle(canvas, (370, 30), 3, 255, -1)
    cv2.line(canvas, (220, 160), (245, 160), 255, 6)
    assert len(find_digits(canvas)) == 2
