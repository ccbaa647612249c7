"""Figures on a page: strays are dropped, signs beside digits are kept."""

import numpy as np

from digits.evaluation.figures import read_figures
from digits.evaluation.reading import NOT_A_DIGIT, Reading


def page(*rectangles):
    image = np.zeros((600, 600), np.uint8)
    for x, y, width, height in rectangles:
        image[y : y + height, x : x + width] = 255
    return image


def upright_is_7(images):
    """Reads every narrow stroke as a trusted 7, and rejects everything else."""
    wide = [np.ptp(np.flatnonzero(image.any(0))) > 6 for image in images]
    return [
        Reading("7", 0.3, trusted=False, reason=NOT_A_DIGIT) if is_wide else Reading("7", 0.99, trusted=True)
        for is_wide in wide
    ]


def test_what_is_not_a_digit_and_far_from_all_digits_is_dropped():
    digits = [(100, 100, 12, 60), (160, 100, 12, 60)]
    square_beside, square_far = (220, 110, 50, 50), (480, 480, 60, 60)
    assert len(read_figures(upright_is_7, page(*digits), split=True)) == 2
    assert len(read_figures(upright_is_7, page(*digits, square_beside), split=True)) == 3
    assert len(read_figures(upright_is_7, page(*digits, square_far), split=True)) == 2


def test_a_page_without_digits_keeps_its_figures():
    figures = read_figures(upright_is_7, page((100, 100, 60, 60), (400, 400, 60, 60)), split=True)
    assert [figure.reason for figure in figures] == [NOT_A_DIGIT] * 2
    assert read_figures(upright_is_7, page(), split=True) == []
