"""Calibration recovers known temperatures, bounds agree with tables, and the guarantee holds as often as stated."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import beta, binom

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
from digits.evaluation.thresholds import binomial_upper_bound, guaranteed_threshold, interval_threshold
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


# The exact binomial bound


@pytest.mark.parametrize(
    ("errors", "count", "expected"),
    [
        # One-sided upper 95 % limits, from tables of exact binomial limits (Natrella 1963, table A-23, and others)
        (0, 10, 0.2589),
        (1, 10, 0.3942),
        (2, 10, 0.5069),
        (5, 10, 0.7776),
        (0, 20, 0.1391),
        (1, 20, 0.2161),
        (0, 100, 0.0295),
        (1, 100, 0.0466),
        (2, 100, 0.0616),
    ],
)
def test_the_bound_agrees_with_the_tables(errors, count, expected):
    assert binomial_upper_bound(errors, count, 0.05) == pytest.approx(expected, abs=5e-5)


def test_the_bound_agrees_with_the_beta_distribution():
    rng = np.random.default_rng(0)
    for _ in range(200):
        count = int(rng.integers(1, 8000))
        errors = int(rng.integers(0, min(count, 300)))
        delta = rng.uniform(0.001, 0.3)
        expected = beta.ppf(1 - delta, errors + 1, count - errors)
        assert binomial_upper_bound(errors, count, delta) == pytest.approx(expected, abs=1e-9)


def test_the_bound_is_1_without_images_or_without_a_correct_prediction():
    assert binomial_upper_bound(0, 0, 0.05) == 1
    assert binomial_upper_bound(7, 7, 0.05) == 1


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


# The interval threshold


def test_the_interval_contains_the_next_correct_prediction_as_often_as_stated():
    rng = np.random.default_rng(3)
    inside = [rng.random() >= interval_threshold(rng.random(39), 0.95) for _ in range(20_000)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.005)  # k = floor(40 * 0.05) = 2 of 39: exactly 0.95


def test_the_interval_starts_at_the_quantile_of_many_confidences_and_at_0_for_few():
    assert interval_threshold(np.random.default_rng(4).random(100_000), 0.9) == pytest.approx(0.1, abs=0.005)
    assert interval_threshold(np.array([0.9, 0.99]), 0.95) == 0


# The guaranteed threshold


def sample_predictions(count, rng):
    """Confidences, and which predictions are correct; with confidence c they are wrong with probability (1 - c) / 2."""
    confidences = rng.random(count)
    return confidences, rng.random(count) >= (1 - confidences) / 2


def true_error(threshold):
    return (1 - threshold) / 4


THRESHOLDS = np.linspace(0, 0.9, 91)  # the strictest accepts enough images to pass


def test_the_guaranteed_threshold_approaches_the_true_one_from_above():
    confidences, correct = sample_predictions(200_000, np.random.default_rng(5))
    found = guaranteed_threshold(confidences, correct, THRESHOLDS, 0.05, 0.05)
    assert 0.8 <= found <= 0.83  # (1 - 0.8) / 4 = 0.05


def test_the_guarantee_holds_with_its_stated_probability():
    """At most the share delta of 1,000 calibrations on 1,500 images may break the guarantee (and some do)."""
    rng = np.random.default_rng(6)
    delta, broken = 0.1, 0
    for _ in range(1000):
        found = guaranteed_threshold(*sample_predictions(1500, rng), THRESHOLDS, 0.1, delta)
        broken += found is not None and true_error(found) > 0.1
    assert 0.005 < broken / 1000 <= delta + 3 * np.sqrt(delta * (1 - delta) / 1000)


def test_too_few_images_guarantee_nothing():
    assert guaranteed_threshold(np.ones(1000), np.ones(1000, bool), np.array([0.5]), 0.002, 0.05) is None
    assert guaranteed_threshold(np.ones(1500), np.ones(1500, bool), np.array([0.5]), 0.002, 0.05) == 0.5


def test_testing_stops_at_the_first_threshold_that_fails():
    confidences = np.repeat([0.9, 0.8, 0.7], [2000, 100, 100_000])
    correct = confidences != 0.8
    assert guaranteed_threshold(confidences, correct, np.array([0.7, 0.8, 0.9]), 0.01, 0.05) == 0.9


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
