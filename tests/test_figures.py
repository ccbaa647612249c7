"""Several digits in one picture are found one by one, in reading order, whole."""

import cv2
import numpy as np
import pytest

from digits.imaging.mnist_format import to_mnist
from digits.imaging.segmentation import find_digits

# Digits as strokes, x and y in 0..100
STROKES = {
    "one": [[(50, 0), (50, 100)]],
    "four in two": [[(10, 0), (0, 60), (62, 60)], [(72, 10), (72, 100)]],
    "five with its bar apart": [[(10, 18), (10, 50), (60, 50), (60, 90), (0, 100)], [(15, 0), (70, 0)]],
    "seven with its bar apart": [[(0, 0), (70, 0)], [(66, 16), (30, 100)]],
    "one with its foot apart": [[(20, 20), (40, 0), (40, 85)], [(10, 100), (70, 100)]],
    "wide two": [[(0, 20), (60, 0), (110, 30), (0, 100), (130, 100)]],
    "broken two": [[(0, 20), (40, 0), (80, 30), (50, 62)], [(42, 70), (0, 100), (90, 100)]],
}


def draw(*placed, size=(400, 400), pen=8):
    """White ink on black; each glyph `(name, x, y, height)`, pixels."""
    canvas = np.zeros(size, np.uint8)
    for name, x, y, height in placed:
        for stroke in STROKES[name]:
            points = (np.array(stroke) * height / 100 + (x, y)).astype(np.int32)
            cv2.polylines(canvas, [points], False, 255, pen, cv2.LINE_AA)
    return canvas


@pytest.mark.parametrize("name", STROKES)
def test_a_digit_in_pieces_is_one_figure_and_the_same_as_alone(name):
    canvas = draw((name, 120, 100, 200))
    (figure,) = find_digits(canvas)
    np.testing.assert_allclose(figure.image, to_mnist(canvas), atol=1e-5)


def test_figures_are_cut_out_alone_with_their_boxes():
    left, right = draw(("wide two", 20, 100, 120)), draw(("four in two", 260, 120, 120))
    first, second = find_digits(left | right)
    for figure, alone in ((first, left), (second, right)):
        np.testing.assert_allclose(figure.image, to_mnist(alone), atol=1e-5)
        x, y, width, height = cv2.boundingRect(alone)
        np.testing.assert_allclose(figure.box, (x, y, width, height), atol=2)


def test_the_order_is_that_of_reading_in_tilted_lines():
    placed = [("one", 40 + 90 * column, 70 + 110 * row - 14 * column, 60) for row in range(3) for column in range(4)]
    canvas = draw(*reversed(placed))
    figures = find_digits(canvas)
    assert [figure.line for figure in figures] == [0] * 4 + [1] * 4 + [2] * 4
    for figure, (_, x, y, _) in zip(figures, placed, strict=True):
        assert abs(figure.box[0] - x - 26) < 5
        assert abs(figure.box[1] - y) < 8


def test_a_blank_picture_has_no_figures():
    assert find_digits(np.zeros((100, 100), np.uint8)) == []


def test_dust_and_dashes_are_no_figures():
    canvas = draw(("wide two", 50, 100, 120), ("one", 250, 100, 120))
    cv2.circle(canvas, (370, 30), 3, 255, -1)
    cv2.line(canvas, (220, 160), (245, 160), 255, 6)
    assert len(find_digits(canvas)) == 2
