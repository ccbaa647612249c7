"""Augmentation: each amount has the stated effect, and the caller's generator decides everything."""

import cv2
import numpy as np
import pytest

from digits.data.augment import augment


def dot(x, y):
    """One black image with a bright 3x3 dot at column x, row y."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def center(image):
    """The center of mass (x, y)."""
    total = image.sum()
    return (image.sum(0) @ np.arange(28)) / total, (image.sum(1) @ np.arange(28)) / total


def augmented(image, count=400, **amounts):
    return augment(np.repeat(image, count, axis=0), np.random.default_rng(0), **amounts)


def test_without_amounts_images_are_unchanged():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    np.testing.assert_array_equal(augment(images, np.random.default_rng(1)), images)


def test_a_tiny_amount_changes_almost_nothing():
    image = dot(9, 17)
    np.testing.assert_allclose(augmented(image, 1, rotation=1e-6)[0], image[0], atol=1)


def test_shift_moves_each_axis_independently_by_up_to_its_amount():
    moved = np.array([center(image) for image in augmented(dot(14, 14), shift=3)]) - 14
    assert np.abs(moved).max() <= 3.05
    assert np.abs(moved).max(0).min() > 2.8
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.2


def test_rotation_keeps_the_distance_to_the_center_and_spans_its_angles():
    x, y = np.array([center(image) for image in augmented(dot(22, 13), rotation=30)]).T - 13.5
    angle = np.degrees(np.arctan2(y, x))
    start = np.degrees(np.arctan2(-0.5, 8.5))
    np.testing.assert_allclose(np.hypot(x, y), np.hypot(8.5, 0.5), atol=0.15)
    assert (angle - start).max() == pytest.approx(30, abs=1)
    assert (angle - start).min() == pytest.approx(-30, abs=1)


def test_scale_multiplies_the_distance_to_the_center():
    x = np.array([center(image)[0] for image in augmented(dot(20, 14), scale=0.2)]) - 13.5
    assert x.max() / 6.5 == pytest.approx(1.2, abs=0.03)
    assert x.min() / 6.5 == pytest.approx(0.8, abs=0.03)


def test_shear_moves_x_in_proportion_to_y_and_leaves_y():
    x, y = np.array([center(image) for image in augmented(dot(14, 20), shear=0.3)]).T - 13.5
    np.testing.assert_allclose(y, 6.5, atol=0.1)
    assert x.max() - x.min() == pytest.approx(2 * 0.3 * 6.5, abs=0.2)


def test_aspect_widens_and_flattens_by_the_same_factor():
    """A dot on the x axis moves out as a dot on the y axis moves in."""
    x = np.array([center(image)[0] for image in augmented(dot(20, 14), aspect=0.3)]) - 13.5
    y = np.array([center(image)[1] for image in augmented(dot(14, 20), aspect=0.3)]) - 13.5
    np.testing.assert_allclose(x * y, 6.5**2, rtol=0.03)
    assert (x / y).max() == pytest.approx(1.3, abs=0.03)
    assert (x / y).min() == pytest.approx(0.7, abs=0.03)


def test_elastic_moves_distant_points_independently_and_by_up_to_its_amount():
    left = np.array([center(image) for image in augmented(dot(6, 14), elastic=3)]) - (6, 14)
    right = np.array([center(image) for image in augmented(dot(22, 14), elastic=3)]) - (22, 14)
    for moved in (left, right):
        assert 1 < np.abs(moved).max() <= 3.2
        assert np.abs(moved.mean(0)).max() < 0.25
    assert abs(np.corrcoef(left[:, 0], right[:, 0])[0, 1]) < 0.2


def test_elastic_is_smooth():
    """A straight line stays in one piece."""
    line = np.zeros((1, 28, 28), np.uint8)
    line[0, 3:25, 13:15] = 255
    for image in augmented(line, 100, elastic=4):
        assert (image.max(1)[6:21] > 100).all()


def test_stroke_changes_the_width_by_up_to_its_amount():
    line = np.zeros((1, 28, 28), np.uint8)
    line[0, :, 10:14] = 255
    widths = augmented(line, stroke=1.5).astype(float)[:, 14].sum(1) / 255
    assert widths.min() == pytest.approx(2.5, abs=0.05)
    assert widths.max() == pytest.approx(5.5, abs=0.05)
    assert widths.mean() == pytest.approx(4, abs=0.1)


def test_strokes_do_not_reach_into_the_next_image():
    pair = np.zeros((2, 28, 28), np.uint8)
    pair[0, -1], pair[1, 14] = 255, 255
    for seed in range(20):
        assert augment(pair, np.random.default_rng(seed), stroke=2)[1, :10].max() == 0


def test_pixels_from_outside_are_black():
    white = np.full((1, 28, 28), 255, np.uint8)
    assert augmented(white, 50, shift=5).min() == 0


def test_the_generator_decides_the_batch_and_each_image_is_changed_differently():
    images = np.repeat(dot(14, 8), 5, axis=0)
    first, second = (augment(images, np.random.default_rng(7), rotation=15, shift=2) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 5


def test_batches_may_be_taller_than_opencvs_limit():
    images = np.repeat(dot(14, 14), 2500, axis=0)
    changed = augment(images, np.random.default_rng(0), shift=1)
    assert changed.shape == images.shape
    assert (changed.reshape(2500, -1).max(1) > 100).all()


def test_edges_become_softer_and_harder_and_the_stroke_stays_in_place():
    line = np.zeros((1, 28, 28), np.uint8)
    line[0, :, 10:14] = 255
    line[0, :, [9, 14]] = 100
    changed = augmented(line, edges=1)[:, 14].astype(int)
    grays = ((changed > 10) & (changed < 245)).sum(1)
    assert grays.min() == 2  # hardened edges stay at gray level 100
    assert grays.max() >= 4
    assert (changed[:, 8] > 10).any()
    assert (changed[:, 11:13] > 200).all()
    assert (changed[:, :7] == 0).all()
    assert (np.abs((changed * np.arange(28)).sum(1) / changed.sum(1) - 11.5) < 0.01).all()


def test_the_hardest_edges_are_almost_black_and_white():
    ramp = np.linspace(0, 255, 28).astype(np.uint8) * np.ones((1, 28, 1), np.uint8)
    inner = augmented(ramp, edges=1)[:, 14, 4:-4].astype(int)
    steps = np.abs(np.diff(inner)).max(1)
    assert steps.max() > 60  # the ramp itself has steps of 9 or 10
    assert np.median(steps) < 30


def test_cut_clears_up_to_its_amount_at_one_side_of_at_most_half_the_images():
    square = np.zeros((1, 28, 28), np.uint8)
    square[0, 8:20, 8:20] = 255
    cut = augmented(square, count=2000, cut=3)
    heights, widths = (cut.max(2) > 0).sum(1), (cut.max(1) > 0).sum(1)
    assert {*heights.tolist(), *widths.tolist()} == {9, 10, 11, 12}
    assert ((heights == 12) | (widths == 12)).all()  # one side only
    assert 0.5 < ((heights == 12) & (widths == 12)).mean() < 0.65
    for side in (cut[:, 8].max(1), cut[:, 19].max(1), cut[:, :, 8].max(1), cut[:, :, 19].max(1)):
        assert 0.07 < (side == 0).mean() < 0.15


def box(image):
    return cv2.boundingRect((image > 100).astype(np.uint8))[2:]


def test_square_stretches_the_ink_to_a_square():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 4:24, 9:19] = 255  # 10 wide, 20 high
    widths, heights = np.array([box(image) for image in augmented(bar, 20, square=1)]).T
    np.testing.assert_allclose(widths, 20, atol=1)
    np.testing.assert_allclose(heights, 20, atol=1)
    chosen = [box(image) == (10, 20) for image in augmented(bar, 400, square=0.3)]
    assert np.mean(chosen) == pytest.approx(0.7, abs=0.07)


def test_a_one_is_widened_but_does_not_become_a_block():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 4:24, 13:15] = 255
    assert {box(image)[0] for image in augmented(bar, 20, square=1)} <= {4, 5, 6}


def test_hollow_keeps_the_outline_alone():
    bar = np.zeros((1, 28, 28), np.uint8)
    bar[0, 8:20, 8:20] = 255
    for image in augmented(bar, 20, hollow=1):
        assert image[11:17, 11:17].max() == 0
        assert image[14, 7] == 255  # just outside the edge
    kept = [np.array_equal(image, bar[0]) for image in augmented(bar, 400, hollow=0.3)]
    assert np.mean(kept) == pytest.approx(0.7, abs=0.07)


def test_a_gap_cuts_most_strokes_through():
    ring = cv2.circle(np.zeros((28, 28), np.uint8), (14, 14), 8, 255, 2)
    pieces = [cv2.connectedComponents((image > 100).astype(np.uint8))[0] - 1 for image in augmented(ring[None], gap=1)]
    assert np.mean(np.equal(pieces, 2)) > 0.8
