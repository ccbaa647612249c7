"""The canvas without a window: strokes in, an image out, undo."""

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


def test_a_stroke_passes_through_its_first_and_last_point_and_curves_between_them():
    angles = np.linspace(0, np.pi, 6)
    points = np.round(220 + 150 * np.stack([np.cos(angles), np.sin(angles)], 1)).astype(int).tolist()
    canvas = Canvas(SIDE)
    stroke(canvas, *points, width=12)
    assert count_components(canvas.image) == 1
    for x, y in (points[0], points[-1]):
        assert canvas.image[y, x] == 255
    radii = np.hypot(*(np.argwhere(canvas.image > 127) - 220).T)
    assert radii.min() > 125, "the sides of a polygon would be closer"
    assert radii.max() < 160


def test_a_sharp_corner_stays_sharp():
    canvas = Canvas(SIDE)
    stroke(canvas, (100, 100), (300, 100), (200, 350), width=20)
    assert canvas.image[100, 300] == 255


def test_slow_and_fast_strokes_give_the_same_line():
    fast, slow = Canvas(SIDE), Canvas(SIDE)
    stroke(fast, (50, 60), (350, 360))
    stroke(slow, *((i, i + 10) for i in range(50, 351)))
    assert np.mean((fast.image > 127) != (slow.image > 127)) < 0.005


def test_erasing_keeps_the_ink_around_it():
    canvas = Canvas(SIDE)
    stroke(canvas, (50, 100), (400, 100))
    stroke(canvas, (225, 50), (225, 150), width=40, erase=True)
    assert count_components(canvas.image) == 2
    assert not canvas.image[:, 210:240].any()
    assert canvas.image[100, 100] == 255


def test_a_stroke_outside_the_canvas_draws_nothing_and_returns_where_the_mouse_does():
    canvas = Canvas(SIDE)
    stroke(canvas, (400, 100), (600, 100), (600, 300), (400, 300))
    assert canvas.image.shape == (SIDE, SIDE)
    assert count_components(canvas.image) == 2, "exit and entry are not joined along the edge"
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


def test_undo_reverts_strokes_erasing_and_clearing_step_by_step():
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


def test_a_stroke_that_changes_nothing_is_not_an_undo_step():
    canvas = Canvas(SIDE)
    stroke(canvas, (50, 50))
    stroke(canvas, (300, 300), erase=True)
    canvas.undo()
    assert not canvas.image.any()
    canvas.clear()
    assert not canvas.undo()


def test_undo_during_a_stroke_removes_that_stroke():
    canvas = Canvas(SIDE)
    canvas.begin(100, 100, 20)
    canvas.extend(200, 200)
    assert canvas.undo()
    assert not canvas.image.any()
    assert not canvas.is_drawing


def test_undo_returns_the_note_of_a_clearing_and_of_no_other_step():
    canvas = Canvas(50)
    canvas.begin(20, 20, 8)
    canvas.clear("saved")
    canvas.begin(30, 30, 8)
    canvas.end()
    assert canvas.undo() and canvas.undone is None
    assert canvas.undo() and canvas.undone == "saved"
    assert canvas.undo() and canvas.undone is None
    assert not canvas.undo() and canvas.undone is None
