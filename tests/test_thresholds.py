"""The exact binomial bound agrees with tables, and the thresholds keep their promises as often as stated."""

import numpy as np
import pytest
from scipy.stats import beta

from digits.evaluation.thresholds import binomial_upper_bound, guaranteed_threshold, interval_threshold

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
