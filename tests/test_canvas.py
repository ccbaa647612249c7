"""The canvas: strokes in, image out, without a window."""

import numpy as np
import pytest
from conftest import count_components

from digits.window.canvas import Canvas

SIDE = 448


def stroke(canvas, *points, width=20, erase=False):
    canvas.begin(*points[0], width, erase)
    for point in points[1:]:
        canvas.extend(*point)
    canvas.end()


def test_a_click_makes_a_round_smooth_dot():
    canvas = Canvas(SIDE)
    stroke(canvas, (100, 200), width=20)
    assert canvas.image.astype(float).sum() / 255 == pytest.approx(np.pi * 10**2, rel=0.2)
    rows, columns = np.nonzero(canvas.image)
    assert (rows.mean(), columns.mean()) == pytest.approx((200, 100), abs=0.5)
    assert np.isin(canvas.image, (0, 255)).mean() < 1, "no gray at the edge"


@pytest.mark.parametrize("width", [12, 28, 36])
def test_a_fast_stroke_is_one_piece_as_wide_as_the_pen(width):
    canvas = Canvas(SIDE)
    stroke(canvas, (30, 220), (420, 220), width=width)
    assert count_components(canvas.image) == 1
    thickness = (canvas.image[:, 40:410] > 127).sum(0)
    assert abs(thickness - width).max() <= 2


def test_a_stroke_goes_through_its_first_and_last_point_and_bends_between():
    angles = np.linspace(0, np.pi, 6)
    points = np.round(220 + 150 * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(int).tolist()
    canvas = Canvas(SIDE)
    stroke(canvas, *points, width=12)
    assert count_components(canvas.image) == 1
    for x, y in (points[0], points[-1]):
        assert canvas.image[y, x] == 255
    away = np.hypot(*(np.argwhere(canvas.image > 127) - 220).T)
    assert away.min() > 125, "a polygon's sides come nearer"
    assert away.max() < 160


def test_a_sharp_corner_stays_one():
    canvas = Canvas(SIDE)
    stroke(canvas, (100, 100), (300, 100), (200, 350), width=20)
    assert canvas.image[100, 300] == 255


def test_slow_and_fast_strokes_are_the_same_line():
    fast, slow = Canvas(SIDE), Canvas(SIDE)
    stroke(fast, (50, 60), (350, 360))
    stroke(slow, *((i, i + 10) for i in range(50, 351)))
    assert np.mean((fast.image > 127) != (slow.image > 127)) < 0.005


def test_erasing_leaves_what_is_beside_it():
    canvas = Canvas(SIDE)
    stroke(canvas, (50, 100), (400, 100))
    stroke(canvas, (225, 50), (225, 150), width=40, erase=True)
    assert count_components(canvas.image) == 2
    assert not canvas.image[:, 210:240].any()
    assert canvas.image[100, 100] == 255


def test_outside_the_canvas_nothing_is_drawn_and_the_stroke_comes_back_where_the_mouse_does():
    canvas = Canvas(SIDE)
    stroke(canvas, (400, 100), (600, 100), (600, 300), (400, 300))
    assert canvas.image.shape == (SIDE, SIDE)
    assert count_components(canvas.image) == 2, "in and out are not joined along the edge"
    assert canvas.image[100, SIDE - 1] == canvas.image[300, SIDE - 1] == 255
    assert not canvas.image[150:250].any()
    stroke(canvas, (10, 10), (-3000, -5000), (20000, 10))


def test_moving_without_a_stroke_draws_nothing():
    canvas = Canvas(SIDE)
    canvas.extend(100, 100)
    canvas.end()
    stroke(canvas, (100, 100))
    before = canvas.image.copy()
    canvas.extend(300, 300)
    np.testing.assert_array_equal(canvas.image, before)


def test_undo_goes_back_stroke_by_stroke_and_over_erasing_and_clearing():
    canvas, images = Canvas(SIDE), []
    steps = [
        lambda: stroke(canvas, (50, 100), (400, 100)),
        lambda: stroke(canvas, (50, 300)),
        lambda: stroke(canvas, (200, 50), (200, 150), erase=True),
        canvas.clear,
        lambda: stroke(canvas, (80, 80), (300, 300)),
    ]
    for step in steps:
        images.append(canvas.image.copy())
        step()
    for image in reversed(images):
        assert canvas.undo()
        np.testing.assert_array_equal(canvas.image, image)
    assert not canvas.undo()


def test_what_changes_nothing_is_no_step_of_undo():
    canvas = Canvas(SIDE)
    stroke(canvas, (50, 50))
    stroke(canvas, (300, 300), erase=True)
    canvas.undo()
    assert not canvas.image.any()
    canvas.clear()
    assert not canvas.undo()


def test_undo_in_the_middle_of_a_stroke_takes_that_stroke_back():
    canvas = Canvas(SIDE)
    canvas.begin(100, 100, 20)
    canvas.extend(200, 200)
    assert canvas.undo()
    assert not canvas.image.any()
    assert not canvas.is_drawing
