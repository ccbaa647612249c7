"""Digits that touch: cut where little ink is crossed, read as two where both parts are digits, and marked doubtful."""

import cv2
import numpy as np
import pytest
from pages import draw_pages

from digits.evaluation.classifier import Classifier
from digits.evaluation.reading import TOUCHING
from digits.imaging.segmentation import find_digits
from digits.imaging.touching import cut_in_two


def draw(*pieces):
    canvas = np.zeros((300, 400), np.uint8)
    for points in pieces:
        cv2.polylines(canvas, [np.array(points)], False, 255, 16, cv2.LINE_AA)
    return canvas


SEVEN_AND_ONE = [(80, 80), (200, 80), (130, 240)], [(200, 80), (200, 240)]


def test_a_cut_separates_two_strokes_where_they_touch():
    (segment,) = find_digits(draw(*SEVEN_AND_ONE))
    cuts = cut_in_two(segment)
    assert cuts
    for left, right in cuts:
        np.testing.assert_allclose(left.ink + right.ink, segment.ink)
        assert left.box[0] <= right.box[0]
        assert left.line == right.line == segment.line
        for part in (left, right):
            x, y, width, height = part.box
            assert 72 <= x < x + width <= 210
            assert 70 <= y < y + height <= 250
    assert any(right.box[2] < 40 for _, right in cuts)  # the 1 alone


def test_a_narrow_digit_is_not_cut():
    (segment,) = find_digits(draw([(200, 80), (195, 240)]))
    assert cut_in_two(segment) == []


@pytest.fixture(scope="module")
def pages(mnist_train):
    """40 pages with two touching pairs each."""
    return [page for _, page in draw_pages(10, mnist_train, seed=11, pairs=2)]


def test_at_least_80_percent_of_touching_pairs_are_read_and_none_is_trusted(pages):
    classifier = Classifier()
    right = total = 0
    for page in pages:
        figures = classifier.read_figures(page.image, split=True)
        assert not any(figure.trusted for figure in figures if figure.reason == TOUCHING)
        for first, second in touching_pairs(page):
            found = [at(figures, page.boxes[index]) for index in (first, second)]
            right += found == [str(page.labels[first]), str(page.labels[second])]
            total += 1
    assert total >= 60
    assert right >= 0.8 * total, f"{right} of {total}"


def touching_pairs(page):
    """The indices of neighbors that find_digits takes for one figure."""
    pairs = []
    for index in range(len(page.boxes) - 1):
        left, right = page.boxes[index], page.boxes[index + 1]
        centers = [(x + w / 2, y + h / 2) for x, y, w, h in (left, right)]
        for x, y, w, h in (segment.box for segment in find_digits(page.image)):
            if all(x <= center_x <= x + w and y <= center_y <= y + h for center_x, center_y in centers):
                pairs.append((index, index + 1))
    return pairs


def at(figures, box):
    """The label of the answer whose center is nearest to that of a box."""
    x, y, w, h = box
    answers = [figure for figure in figures if figure.is_answer]

    def distance(figure):
        left, top, width, height = figure.box
        return abs(left + width / 2 - x - w / 2) + abs(top + height / 2 - y - h / 2)

    nearest = min(answers, key=distance, default=None)
    return nearest.label if nearest and distance(nearest) < 0.5 * max(w, h) else None
