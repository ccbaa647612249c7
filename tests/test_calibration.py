"""Calibration recovers known temperatures, and accepts and names what it promises."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from digits.cli import InputError
from digits.evaluation.calibration import (
    Calibration,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    measure,
    reliability,
)
from digits.evaluation.metrics import softmax
from digits.evaluation.trust_report import MEANINGS, explain, format_calibration
from digits.networks.checkpoint import Checkpoint
from digits.networks.description import check_description


def sample(count, temperature, rng, spread=3):
    """Logits, and labels drawn from their softmax at `temperature`."""
    logits = rng.normal(0, spread, (count, 10))
    draw = softmax(logits).cumsum(1) > rng.random((count, 1))
    return temperature * logits, draw.argmax(1)


def load(found):
    """The calibration of a checkpoint whose JSON file holds `found`."""
    return Calibration.load(Checkpoint(Path("best.pdparams"), {}, {"calibration": found}))


# Temperature and calibration error


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_known_temperature_is_recovered(temperature):
    logits, labels = sample(20_000, temperature, np.random.default_rng(1))
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.04)


def test_few_images_hardly_move_the_temperature():
    fits = [
        [fit_temperature(*sample(count, 2.5, np.random.default_rng(seed))) for seed in range(20)] for count in (10, 300)
    ]
    assert 1 < np.mean(fits[0]) < 1.3 < np.mean(fits[1]) < 2.5
    assert np.std(fits[0]) < 0.1


def test_the_fitted_temperature_removes_the_calibration_error():
    logits, labels = sample(20_000, 3.0, np.random.default_rng(2))
    correct = logits.argmax(1) == labels
    before = expected_calibration_error(softmax(logits).max(1), correct)
    after = expected_calibration_error(softmax(logits / fit_temperature(logits, labels)).max(1), correct)
    assert before > 0.1
    assert after < 0.015


def test_expected_calibration_error_of_a_worked_example():
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.5, 0.5])
    correct = np.array([True, True, True, False, True, False])
    assert expected_calibration_error(confidences, correct) == pytest.approx((4 * 0.20 + 2 * 0.0) / 6)
    assert [row["images"] for row in reliability(confidences, correct)] == [2, 4]


def test_a_confidence_of_1_falls_into_the_last_bin():
    assert reliability(np.array([1.0, 0.0]), np.array([True, False]))[-1] == {
        "images": 1,
        "confidence": 1.0,
        "accuracy": 1.0,
    }


# The whole calibration


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(7)
    return [(8 * logits, labels) for logits, labels in (sample(6000, 1, rng, spread=8) for _ in range(3))]


@pytest.fixture(scope="module")
def found(parts):
    return calibrate(parts[0], parts[1])


def test_each_number_has_a_meaning_and_can_be_loaded(found):
    assert found.keys() == MEANINGS.keys()
    assert load(found).temperature == found["temperature"] == pytest.approx(8, rel=0.15)
    assert explain(found)["delta"] == {"value": 0.05, "meaning": MEANINGS["delta"]}


def test_a_checkpoint_without_a_calibration_has_none():
    assert load({}) is None
    assert Calibration.load(Checkpoint(Path("best.pdparams"), {}, {})) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"temperature": None},
        {"temperature": "hot"},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": 1e9},
        {"temperature": 10**400},
        {"temperature": True},
        {"temperature": float("nan")},
        {"digit_level": float("inf")},
        {"trusted_threshold": [1]},
        {"trusted_threshold": -5},
        {"guaranteed_threshold": float("nan")},
        {"guaranteed_threshold": -5},
        {"guaranteed_threshold": 1.01},
    ],
)
def test_a_broken_calibration_is_refused(found, broken):
    meta = {"model": {"name": "lenet"}, "classes": ["7"]}
    name = next(iter(broken))
    check_description(Path("best.json"), meta | {"calibration": found})
    for calibration in ({**found, **broken}, {other: value for other, value in found.items() if other != name}):
        with pytest.raises(InputError, match=rf"best\.json: its calibration is not complete: {name} is ") as error:
            check_description(Path("best.json"), meta | {"calibration": calibration})
        assert len(str(error.value)) < 250
    for calibration in ([], "x", [1]):
        with pytest.raises(InputError, match="its calibration is not complete"):
            check_description(Path("best.json"), meta | {"calibration": calibration})


def test_ninety_nine_percent_of_new_digits_pass_as_digits(parts, found):
    trust = load(found)
    assert trust.in_classes(parts[0][0]).mean() >= 0.99
    assert trust.in_classes(parts[2][0]).mean() == pytest.approx(0.99, abs=0.004)


def test_the_accepted_predictions_keep_the_guarantee_on_fresh_images(parts):
    trust = load(calibrate(parts[0], parts[1], max_error=0.05))
    on_fresh = measure(trust, *parts[2])
    assert on_fresh["coverage"] > 0.2
    assert on_fresh["accepted_error"] <= 0.05


def test_a_network_that_is_often_wrong_is_trusted_where_its_confidence_is_high(parts):
    correct = parts[0][0].argmax(1) == parts[0][1]
    assert correct.mean() < 0.9
    trust = load(calibrate(parts[0], parts[1], max_error=0.01))
    on_fresh = measure(trust, *parts[2])
    assert 0.25 < on_fresh["coverage"] < 0.75
    assert on_fresh["accepted_error"] <= 0.01


def test_without_a_guarantee_no_prediction_is_accepted(parts):
    few = [(logits[:300], labels[:300]) for logits, labels in parts]
    found = calibrate(*few[:2])
    assert found["guaranteed_threshold"] is None
    assert (found["coverage"], found["accepted_error"]) == (0, None)
    assert not load(found).accepts(parts[2][0]).any()
    assert "no prediction is trusted" in format_calibration(found)


def test_only_the_thresholds_depend_on_the_labels_of_the_calibration_images(parts, found):
    logits, labels = parts[1]
    other = calibrate(parts[0], (logits, np.roll(labels, 1)))
    for name in ("temperature", "digit_level"):
        assert found[name] == other[name]


# Candidates


def test_the_candidates_of_doubtful_predictions_include_the_right_class_as_often_as_promised(parts):
    trust = load(calibrate(parts[0], parts[1], max_error=0.05, candidates_level=0.9))
    logits, labels = parts[2]
    sets, doubtful = trust.is_candidate(logits), trust.in_classes(logits) & ~trust.accepts(logits)
    covered = sets[doubtful, labels[doubtful]]
    low, high = binom.interval(0.999, len(covered), 0.9)
    assert low <= covered.sum() <= high
    assert 1 < sets[doubtful].sum(1).mean() < 6
    assert (sets[np.arange(len(labels)), logits.argmax(1)] == trust.in_classes(logits)).all()


def test_an_accepted_prediction_has_one_candidate_and_an_image_of_no_class_has_none(parts, found):
    trust, logits = load(found), parts[2][0]
    sets = trust.is_candidate(logits)
    assert (sets[trust.accepts(logits)].sum(1) == 1).all()
    assert not sets[~trust.in_classes(logits)].any()


def test_a_calibration_made_before_candidates_were_names_the_label_alone(parts, found):
    old = {name: value for name, value in found.items() if name != "candidate_threshold"}
    check_description(Path("best.json"), {"model": {"name": "lenet"}, "classes": ["7"], "calibration": old})
    trust, logits = load(old), parts[2][0]
    assert (trust.is_candidate(logits).sum(1) == trust.in_classes(logits)).all()


def test_with_a_reject_class_an_image_of_no_class_has_equal_probabilities(parts):
    found = calibrate(parts[0], parts[1], reject_class=True)
    trust, plain = load(found), load(found | {"reject_class": False})
    logits = np.array([[9, 0, 0, -1.0], [0.5, -1, -2, -3], [-30, -40, -41, -50]], np.float32)
    probs = trust.probs(logits)
    np.testing.assert_allclose(probs.sum(1), 1)
    assert (probs.argmax(1) == logits.argmax(1)).all()
    assert probs[0].max() > 0.99 * plain.probs(logits)[0].max()
    np.testing.assert_allclose(probs[2], 0.25)
    known = np.exp(logits[1]).sum() / (1 + np.exp(logits[1]).sum())
    np.testing.assert_allclose(probs[1], known * plain.probs(logits)[1] + (1 - known) / 4)


def test_the_score_of_a_digit_is_the_log_sum_exp_of_its_logits(found):
    logits = np.array([[0.0, 0.0], [1000.0, 0.0]], np.float32)
    np.testing.assert_allclose(load(found).digit_scores(logits), [np.log(2), 1000])
