"""Synthetic digits: in MNIST format, of all classes, and decided by the generator alone."""

import numpy as np

from digits.data.synthetic_digits import draw_forms, make_synthetic_digits
from digits.evaluation.classifier import Classifier


def test_the_generator_decides_everything():
    first, second, other = (make_synthetic_digits(40, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_images_are_in_mnists_form_of_all_classes_and_all_different():
    images, labels = make_synthetic_digits(500, np.random.default_rng(0))
    assert images.shape == (500, 28, 28)
    assert images.dtype == np.uint8
    assert np.bincount(labels).min() > 30
    assert len({image.tobytes() for image in images}) == 500
    mass = images.astype(float) / images.sum((1, 2), keepdims=True)
    centers = np.stack([mass.sum(2) @ np.arange(28), mass.sum(1) @ np.arange(28)], 1)
    assert np.abs(centers - 14).max() < 1.5  # a tall or wide digit has less room around it


def test_digits_are_not_cut_off_at_the_edge_of_the_canvas():
    rng = np.random.default_rng(0)
    for label in range(10):
        drawings = draw_forms(np.full(60, label), rng)
        edge = np.concatenate([drawings[:, [0, -1]].max(2), drawings[:, :, [0, -1]].max(1)], 1)
        assert (edge.max(1) > 128).mean() < 0.05


def test_the_shipped_network_classifies_them():
    images, labels = make_synthetic_digits(1000, np.random.default_rng(99))
    classifier = Classifier()
    assert (classifier.logits(images.astype(np.float32) / 255).argmax(1) == labels).mean() > 0.98
