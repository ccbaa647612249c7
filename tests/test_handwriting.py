"""Real handwriting that is not part of the project, where it is available (../shared/data)."""

import gzip
import json

import cv2
import numpy as np
import pytest
from conftest import ROOT, call

import train
from benchmarks import handwriting
from benchmarks.handwriting import draw_sign, draw_strokes, read
from digits.config import DIGIT_SHAPE
from digits.data.image_files import load_labeled
from digits.data.mnist import CLASSES, load_mnist
from digits.data.pictures import find_images
from digits.data.splits import split
from digits.evaluation.classifier import Classifier
from digits.evaluation.metrics import auroc
from digits.imaging.mnist_format import to_mnist
from digits.networks.checkpoint import SHIPPED, load_checkpoint

DATA = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the handwriting is not shipped")


@pytest.fixture(scope="module")
def pen_strokes():
    """Digits by 30 writers, one dict per digit with `label`, `writer` and `strokes`."""
    with gzip.open(DATA / "pen_strokes.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def classifier():
    return Classifier()


@pytest.fixture(scope="module")
def readings(classifier, pen_strokes):
    """The labels of each source, and the reading of each digit."""
    rng = np.random.default_rng(0)
    chosen = [pen_strokes[index] for index in rng.permutation(len(pen_strokes))[:2000]]
    images = [to_mnist(draw_strokes(digit["strokes"], rng)) for digit in chosen]
    sets = {"pen strokes": ([digit["label"] for digit in chosen], images)}
    for name in ("digit_images", "drawn28"):
        _, images, labels = load_labeled(DATA / name, list(CLASSES), DIGIT_SHAPE)
        assert len(images) == len(find_images([DATA / name])), "some cannot be read"
        sets[name] = [CLASSES[label] for label in labels], images
    return {name: (np.array(labels), classifier.predict(np.stack(images))) for name, (labels, images) in sets.items()}


@pytest.mark.parametrize(("name", "least"), [("pen strokes", 0.98), ("digit_images", 0.98), ("drawn28", 0.999)])
def test_digits_by_other_writers_are_read_and_trusted(readings, name, least):
    labels, read = readings[name]
    correct = np.array([reading.label for reading in read]) == labels
    trusted = np.array([reading.trusted for reading in read])
    assert correct.mean() >= least
    assert trusted.mean() >= 0.9


@pytest.mark.parametrize(
    "name",
    ["pen strokes", "digit_images", "drawn28"],
)
def test_trusted_readings_of_other_writers_are_correct(readings, name):
    labels, read = readings[name]
    correct = [reading.label == label for reading, label in zip(read, labels, strict=True) if reading.trusted]
    assert np.mean(correct) >= 0.995


KINDS = {  # least share read correctly, of 300 digits
    "stretched": 0.95,
    "cut": 0.98,
    "cut_to_box": 0.98,
    "margin_of_2_percent": 0.98,
    "light_on_black": 0.98,
    "resized_to_28": 0.96,
    "hollow": 0.9,
    "faint": 0.97,
    "thick": 0.97,
    "detached": 0.95,
    "circled": 0.97,
    "boxed": 0.97,
}


@pytest.mark.parametrize("kind", KINDS)
def test_digits_of_every_kind_are_read(classifier, pen_strokes, kind):
    rng = np.random.default_rng(3)
    chosen = [pen_strokes[index] for index in rng.permutation(len(pen_strokes))[:300]]
    readings, _ = read(classifier, [getattr(handwriting, kind)(digit["strokes"], rng) for digit in chosen])
    correct = [reading.label == digit["label"] for reading, digit in zip(readings, chosen, strict=True)]
    assert np.mean(correct) >= KINDS[kind]


def test_every_kind_is_tested():
    assert {kind.__name__ for kind in handwriting.KINDS} == {"plain", *KINDS}


def test_most_letters_are_refused_and_their_confidence_is_lower(classifier, readings):
    """EMNIST's letters A to S; O, I, L and S look like digits in some handwriting."""
    val = load_mnist("train")
    chosen = split(val[1], 0.02, 0.1, seed=0)[1]  # the shipped network's val
    digits = classifier.calibration.digit_scores(classifier.logits(val[0][chosen] / np.float32(255)))
    letters, scores = read(classifier, list(np.load(DATA / "letters.npz")["images"]))
    assert np.mean([not reading.trusted for reading in letters]) >= 0.82
    of_others = np.array([reading.confidence for _, others in readings.values() for reading in others])
    assert auroc(of_others, np.array([reading.confidence or 0 for reading in letters])) >= 0.93
    assert (scores < np.quantile(digits, 0.01)).mean() >= 0.8
    assert auroc(digits, scores) >= 0.955


def test_no_dot_slash_or_sign_is_trusted(classifier):
    rng = np.random.default_rng(4)
    readings, _ = read(classifier, [draw_sign(rng) for _ in range(1000)])
    assert sum(reading.trusted for reading in readings) == 0


@pytest.fixture(scope="module")
def fine_tuned(pen_strokes, tmp_path_factory):
    """Fine-tune on five drawings per digit, for each of the first ten writers.

    Returns the errors on the other drawings before and after, and the accuracy lost on MNIST.
    """
    tmp_path = tmp_path_factory.mktemp("fine_tuned")
    rng = np.random.default_rng(1)
    before, after, losses = [], [], []
    accuracy = load_checkpoint(SHIPPED).meta["metrics"]["test"]["accuracy"]
    for writer in sorted({digit["writer"] for digit in pen_strokes}, key=int)[:10]:
        digits = [digit for digit in pen_strokes if digit["writer"] == writer]
        counts = dict.fromkeys(CLASSES, 0)
        for index in rng.permutation(len(digits)):
            label = digits[index]["label"]
            part = "mine" if counts[label] < 5 else "others"
            counts[label] += 1
            folder = tmp_path / str(writer) / part / label
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{counts[label]:03d}.png"), draw_strokes(digits[index]["strokes"], rng))
        mine, others, run = (tmp_path / str(writer) / name for name in ("mine", "others", "run"))
        arguments = ("configs/extended.yaml", "--fine-tune", SHIPPED, "--extra", mine, "--out", run, "--seed", 0)
        done = call(train.main, *arguments)
        assert done.returncode == 0, done.stderr
        losses.append(accuracy - load_checkpoint(run).meta["metrics"]["test"]["accuracy"])
        _, images, labels = load_labeled(others, list(CLASSES), DIGIT_SHAPE)
        for errors, checkpoint in ((before, SHIPPED), (after, run)):
            errors.append(int((Classifier(checkpoint).logits(images).argmax(1) != labels).sum()))
        print(f"writer {writer}: errors {before[-1]} -> {after[-1]}, MNIST {-100 * losses[-1]:+.2f} points")
    print(f"all: errors {sum(before)} -> {sum(after)}, MNIST {-100 * np.mean(losses):+.3f} points")
    return before, after, losses


@pytest.mark.slow
def test_five_drawings_per_digit_halve_the_errors_on_a_writers_other_drawings(fine_tuned):
    before, after, _ = fine_tuned
    assert sum(after) <= sum(before) / 2


@pytest.mark.slow
@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="0.09 on the test set; held-out training images gain 0.04"
)
def test_fine_tuning_on_a_writer_costs_at_most_a_twentieth_of_a_point_on_mnist(fine_tuned):
    assert np.mean(fine_tuned[2]) <= 0.0005
