"""Real handwriting that is no part of the project, where it is at hand (../shared/data)."""

import numpy as np
import pytest
from conftest import ROOT
from sklearn.metrics import roc_auc_score

from classifier import Classifier
from data import CLASSES, find_images
from preprocess import BlankImage, to_mnist

DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs handwriting that is not shipped")


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def digits(classifier):
    """Rows for drawn and scanned digits from many sources, each with its `truth`."""
    paths = find_images([DATA / "drawn28", DATA / "digit_images"])
    rows = classifier.predict_files(paths)
    return [row | {"truth": path.parent.name} for path, row in zip(paths, rows, strict=True)]


def test_digits_from_elsewhere_are_read_and_trusted(digits):
    assert {row["truth"] for row in digits} == set(CLASSES)
    right = np.array([row["label"] == row["truth"] for row in digits])
    trusted = np.array([bool(row["trusted"]) for row in digits])
    assert right.mean() >= 0.995
    assert trusted.mean() >= 0.9
    assert right[trusted].mean() >= 0.995


def test_most_letters_are_refused_and_less_sure_than_digits(classifier, digits):
    """EMNIST's letters A to S; O, I, L and S are digits in another hand."""
    images = np.load(DATA / "letters.npz")["images"]
    answers = []
    for image in images:
        try:
            answers += classifier.predict(to_mnist(image)[None])
        except BlankImage:
            continue
    assert 1 - np.mean([answer.trusted for answer in answers]) >= 0.6
    confidences = [row["confidence"] for row in digits] + [answer.confidence for answer in answers]
    is_digit = [True] * len(digits) + [False] * len(answers)
    assert roc_auc_score(is_digit, confidences) >= 0.93
