"""The shipped network refuses at least 99% of pictures that are not digits, of kinds that it was not trained on."""

import cv2
import numpy as np
import pytest

import predict
from digits.data.splits import split
from digits.evaluation.classifier import Classifier
from digits.networks.checkpoint import SHIPPED, load_checkpoint


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def digits(mnist_train):
    """Calibration digits, on which the network was not trained, except those that are digits upside down too."""
    meta = load_checkpoint(SHIPPED).meta
    images, labels = mnist_train
    held = split(labels, meta["config"]["val_fraction"], meta["config"]["calibration_fraction"], meta["seed"])[2]
    return images[held][~np.isin(labels[held], (0, 1, 6, 8, 9))]


def uniform_noise(rng, digits):
    return rng.integers(0, 256, (28, 28))


def normal_noise(rng, digits):
    return rng.normal(127, rng.uniform(10, 80), rng.integers(20, 200, 2))


def blank(rng, digits):
    return np.full(rng.integers(5, 100, 2), rng.integers(256))


def spot(rng, digits):
    y, x = np.mgrid[:60, :60]
    u, v, spread = *rng.uniform(15, 45, 2), rng.uniform(4, 14)
    return 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spread**2))


def blobs(rng, digits):
    """Draw the "blobs" of Hendrycks et al. 2019: blurred noise, thresholded."""
    noise = cv2.GaussianBlur(rng.random((28, 28)), None, 1.5)
    return 255.0 * (noise > 0.5)


def mixture(rng, digits):
    """Average two digits, one of them upside down."""
    upright, turned = digits[rng.choice(len(digits), 2, replace=False)]
    return (upright.astype(float) + turned[::-1, ::-1]) / 2


@pytest.mark.parametrize(
    "draw", [uniform_noise, normal_noise, blank, spot, blobs, mixture], ids=lambda draw: draw.__name__
)
def test_at_least_99_percent_of_non_digits_are_refused(tmp_path, classifier, digits, draw):
    rng = np.random.default_rng(11)
    paths = [tmp_path / f"{number:03d}.png" for number in range(500)]
    for path in paths:
        cv2.imwrite(str(path), np.clip(draw(rng, digits), 0, 255).astype(np.uint8))
    readings = predict.predict(classifier, [classifier.load(path) for path in paths])
    assert [reading.error for reading in readings] == [None] * 500
    assert sum(reading.trusted for reading in readings) <= 5
