"""Real handwriting that is no part of the project, where it is at hand (../shared/data)."""

import gzip
import json

import cv2
import numpy as np
import pytest
from conftest import ROOT, script
from sklearn.metrics import roc_auc_score

from digits.data.mnist import CLASSES, find_images, load_pictures
from digits.evaluation.classifier import SHIPPED, Classifier
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist
from digits.networks.checkpoint import load_checkpoint

DATA = ROOT.parent / "shared" / "data"
SIDE = 400  # pixels of the square that pen strokes are drawn on

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs handwriting that is not shipped")


def draw(strokes, rng):
    """Pen strokes, points [K, 2] each, as the drawing window would have them: uint8 [400, 400], any size and place."""
    points = np.concatenate([np.array(stroke, float) for stroke in strokes])
    low, high = points.min(0), points.max(0)
    share = rng.uniform(0.3, 0.8)
    scale = SIDE * share / max((high - low).max(), 1)
    place = SIDE / 2 + rng.uniform(-0.4, 0.4, 2) * SIDE * (1 - share) - scale * (low + high) / 2
    image, pen = np.zeros((SIDE, SIDE), np.uint8), int(rng.integers(10, 29))
    for stroke in strokes:
        path = np.rint(scale * np.array(stroke, float) + place).astype(np.int32)
        cv2.polylines(image, [path], False, 255, pen, cv2.LINE_AA)
    return image


@pytest.fixture(scope="module")
def pen_strokes():
    """Digits of 30 writers: a dict each, with `label`, `writer` and `strokes`."""
    with gzip.open(DATA / "pen_strokes.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def answers(classifier, pen_strokes):
    """Of each source, the labels and an answer for each digit."""
    rng = np.random.default_rng(0)
    chosen = [pen_strokes[i] for i in rng.permutation(len(pen_strokes))[:2000]]
    sets = {
        "pen strokes": ([digit["label"] for digit in chosen], [to_mnist(draw(d["strokes"], rng)) for d in chosen]),
    }
    for name in ("digit_images", "drawn28"):
        _, images, labels = load_pictures(DATA / name, list(CLASSES))
        assert len(images) == len(find_images([DATA / name])), "all can be read"
        sets[name] = [CLASSES[label] for label in labels], images
    return {name: (np.array(labels), classifier.predict(np.stack(images))) for name, (labels, images) in sets.items()}


@pytest.mark.parametrize(("name", "least"), [("pen strokes", 0.98), ("digit_images", 0.98), ("drawn28", 0.999)])
def test_digits_of_other_hands_are_read_and_trusted(answers, name, least):
    labels, given = answers[name]
    right = np.array([answer.label for answer in given]) == labels
    trusted = np.array([answer.trusted for answer in given])
    assert right.mean() >= least
    assert trusted.mean() >= 0.9


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("pen strokes", marks=pytest.mark.xfail(strict=True, reason="99.37 %: 12 of 1,914 are wrong")),
        "digit_images",
        "drawn28",
    ],
)
def test_trusted_answers_on_other_hands_are_right(answers, name):
    labels, given = answers[name]
    right = [answer.label == label for answer, label in zip(given, labels, strict=True) if answer.trusted]
    assert np.mean(right) >= 0.995


def test_most_letters_are_refused_and_less_sure_than_digits(classifier, answers):
    """EMNIST's letters A to S; O, I, L and S are digits in another hand."""
    letters = []
    for image in np.load(DATA / "letters.npz")["images"]:
        try:
            letters += classifier.predict(to_mnist(image)[None])
        except BlankImage:
            continue
    assert 1 - np.mean([answer.trusted for answer in letters]) >= 0.6
    digits = [answer.confidence for _, given in answers.values() for answer in given]
    confidences = digits + [answer.confidence for answer in letters]
    assert roc_auc_score([True] * len(digits) + [False] * len(letters), confidences) >= 0.93


@pytest.fixture(scope="module")
def taught(pen_strokes, tmp_path_factory):
    """For each of the first ten writers, five drawings a digit learnt: errors on the others before and after, and what
    MNIST's accuracy loses."""
    tmp_path = tmp_path_factory.mktemp("taught")
    rng = np.random.default_rng(1)
    before, after, losses = [], [], []
    accuracy = load_checkpoint(SHIPPED).meta["metrics"]["test"]["accuracy"]
    for writer in sorted({digit["writer"] for digit in pen_strokes}, key=int)[:10]:
        digits = [digit for digit in pen_strokes if digit["writer"] == writer]
        counts = dict.fromkeys(CLASSES, 0)
        for i in rng.permutation(len(digits)):
            label = digits[i]["label"]
            part = "mine" if counts[label] < 5 else "others"
            counts[label] += 1
            folder = tmp_path / str(writer) / part / label
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{counts[label]:03d}.png"), draw(digits[i]["strokes"], rng))
        mine, others, run = (tmp_path / str(writer) / name for name in ("mine", "others", "run"))
        done = script(
            *("train.py", "configs/extended.yaml", "--fine-tune", SHIPPED, "--extra", mine, "--out", run, "--seed", 0)
        )
        assert done.returncode == 0, done.stderr
        losses.append(accuracy - load_checkpoint(run).meta["metrics"]["test"]["accuracy"])
        _, images, labels = load_pictures(others, list(CLASSES))
        for errors, checkpoint in ((before, SHIPPED), (after, run)):
            errors.append(int((Classifier(checkpoint).logits(images).argmax(1) != labels).sum()))
        print(f"writer {writer}: errors {before[-1]} -> {after[-1]}, MNIST {-100 * losses[-1]:+.2f} points")
    print(f"all: errors {sum(before)} -> {sum(after)}, MNIST {-100 * np.mean(losses):+.3f} points")
    return before, after, losses


@pytest.mark.slow
def test_five_drawings_a_digit_halve_the_errors_on_a_writers_others(taught):
    before, after, _ = taught
    assert sum(after) <= sum(before) / 2


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="0.09 on the test set; training images held out gain 0.04"
)
def test_a_hand_that_is_learnt_costs_mnist_at_most_a_twentieth_of_a_point(taught):
    assert np.mean(taught[2]) <= 0.0005
