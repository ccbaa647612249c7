"""Metrics agree with scikit-learn, and tables are aligned."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

from digits.evaluation.metrics import (
    auroc,
    confusion_matrix,
    cross_entropy,
    format_report,
    mean_squared_error,
    oscr,
    score,
    softmax,
    summarize,
    wilson_interval,
)


@pytest.mark.parametrize("seed", range(20))
def test_metrics_agree_with_scikit_learn_even_for_empty_classes(seed):
    rng = np.random.default_rng(seed)
    classes = rng.integers(2, 12)
    labels = rng.integers(0, rng.integers(1, classes + 1), rng.integers(1, 300))  # some classes never occur
    preds = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, classes, len(labels)))
    names = np.arange(classes)

    confusion = confusion_matrix(labels, preds, classes)
    np.testing.assert_array_equal(confusion, sklearn.confusion_matrix(labels, preds, labels=names))
    ours = summarize(confusion)
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        labels, preds, labels=names, zero_division=0
    )
    for key, expected in (("precision", precision), ("recall", recall), ("f1", f1), ("images", support)):
        np.testing.assert_allclose([row[key] for row in ours["per_class"]], expected, rtol=1e-12)
    assert ours["accuracy"] == pytest.approx(sklearn.accuracy_score(labels, preds))
    for key in ("precision", "recall"):
        expected = getattr(sklearn, f"{key}_score")(labels, preds, average="macro", zero_division=0)
        assert ours[key] == pytest.approx(expected)
    assert ours["macro_f1"] == pytest.approx(sklearn.f1_score(labels, preds, average="macro", zero_division=0))
    assert ours["macro_f1"] <= ours["f1"] + 1e-12
    assert ours["images"] == len(labels)


def test_mean_squared_error_of_a_worked_example():
    logits, labels = np.log([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]), np.array([0, 1])
    expected = (0.3**2 + 0.2**2 + 0.1**2 + 0.5**2 + 0.75**2 + 0.25**2) / 6
    assert mean_squared_error(logits, labels) == pytest.approx(expected)
    assert score(logits, labels, "mse")["loss"] == pytest.approx(expected)
    assert score(logits, labels)["loss"] == pytest.approx(cross_entropy(logits, labels))


def test_summary_of_a_worked_example():
    ours = summarize(np.array([[8, 2], [1, 9]]))
    assert ours["accuracy"] == pytest.approx(17 / 20)
    assert ours["precision"] == pytest.approx((8 / 9 + 9 / 11) / 2)
    assert ours["per_class"][1]["recall"] == pytest.approx(9 / 10)


def test_classes_that_do_not_occur_are_left_out_of_the_means():
    assert summarize(np.diag([0, 3, 0, 4]))["precision"] == 1
    lines = format_report(summarize(np.diag([0, 3, 0, 4])), list("abcd")).splitlines()
    assert lines[1].split() == ["a", "0", "-", "-", "-"]
    assert len({len(line) for line in lines[:-1]}) == 1


def test_accuracy_without_images_is_zero():
    assert summarize(np.zeros((3, 3), int))["accuracy"] == 0


def test_cross_entropy_and_softmax_agree_with_scikit_learn():
    logits = np.random.default_rng(0).normal(0, 3, (50, 10)).astype(np.float32)
    labels = np.arange(50) % 10
    probs = softmax(logits)
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    assert cross_entropy(logits, labels) == pytest.approx(
        sklearn.log_loss(labels, softmax(logits.astype(np.float64)), labels=np.arange(10)), rel=1e-4
    )
    assert np.isfinite(softmax(np.array([[1e4, -1e4]]))).all()


def test_the_report_is_aligned_and_counts_the_mistakes():
    lines = format_report(summarize(np.array([[990, 10], [0, 1000]])), ["cat", "dog"]).splitlines()
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1] == "accuracy 99.50%: 10 of 2,000 images wrong"


def test_auroc_agrees_with_scikit_learn_and_oscr_counts_only_correct_images():
    rng = np.random.default_rng(0)
    known, unknown = rng.normal(1, 1, 300).round(1), rng.normal(0, 1, 200).round(1)  # with ties
    expected = sklearn.roc_auc_score([True] * 300 + [False] * 200, np.concatenate([known, unknown]))
    assert auroc(known, unknown) == pytest.approx(expected)
    correct = rng.random(300) < 0.9
    pairs = (known[:, None] > unknown) + 0.5 * (known[:, None] == unknown)
    assert oscr(correct, known, unknown) == pytest.approx((pairs * correct[:, None]).mean())
    assert oscr(np.ones(300, bool), known, unknown) == auroc(known, unknown)


def test_the_wilson_interval_of_worked_examples():
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
