"""Plots have the size, the marks and the captions they promise, and are written completely."""

import cv2
import numpy as np
import pytest
from matplotlib.text import Text

from digits.evaluation import plots, prediction_plots

HISTORY = [
    {"epoch": n, "train_loss": 1 / n, "train_accuracy": 1 - 0.3 / n, "val_loss": 1.2 / n, "val_accuracy": 1 - 0.2 / n}
    for n in range(1, 31)
]


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_curves_mark_the_kept_epoch(tmp_path, epochs):
    figure = plots.curves(HISTORY[:epochs], kept_epoch=epochs, title="some run")
    marks = [
        line
        for axes in figure.axes
        for line in axes.lines
        if set(line.get_xdata()) == {epochs} and len(line.get_xdata()) == 2
    ]
    assert len(marks) == 2
    assert f"kept: epoch {epochs}" in texts(figure)
    plots.save(figure, tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).shape[1] == 1080


def test_curves_show_the_error_on_a_log_axis_in_plain_numbers(tmp_path):
    perfect = [row | {"train_accuracy": 1.0} for row in HISTORY[-1:]]
    figure = plots.curves([*HISTORY[:-1], *perfect], kept_epoch=30, title="some run")
    plots.save(figure, tmp_path / "curves.png")
    left, right = figure.axes
    assert right.get_yscale() == left.get_yscale() == "log"
    np.testing.assert_allclose(right.lines[1].get_ydata(), [20 / n for n in range(1, 31)])
    labels = [text.get_text() for text in right.get_yticklabels(which="both")]
    assert "10" in labels
    assert not any("e" in label or "^" in label for label in labels)


def test_curves_mark_the_epochs_that_overfit():
    figure = plots.curves(HISTORY, kept_epoch=30, title="some run", overfit_epoch=12)
    assert "overfitting: validation loss above that of epoch 12" in texts(figure)
    assert not any("overfitting" in text for text in texts(plots.curves(HISTORY, kept_epoch=30, title="some run")))


def test_curves_name_the_loss_that_was_trained():
    assert "cross-entropy (nats)" in texts(plots.curves(HISTORY, kept_epoch=30, title="some run"))
    shown = texts(plots.curves(HISTORY, kept_epoch=30, title="some run", loss="mse"))
    assert "mean squared error of the probabilities" in shown
    assert not any("cross-entropy" in text for text in shown)


@pytest.mark.parametrize("name", [r"run$\foo$", "100%$a", "$", "$$", "$5_note", r"\frac{", "a_b^c", "x" * 255])
def test_names_are_drawn_literally(tmp_path, name):
    """Matplotlib would take text between dollar signs for a formula, and fail or change it."""
    classes, images = [name, "dog"], np.zeros((2, 28, 28))
    labels, probs = np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])
    figures = {
        "curves": plots.curves(HISTORY, 30, name),
        "confusion": plots.confusion(np.eye(2, dtype=int), classes, name),
        "prediction": prediction_plots.prediction(None, images[0], probs[0], classes, name),
        **plots.prediction_sheets(images, labels, probs, classes, name),
    }
    for key, figure in figures.items():
        plots.save(figure, tmp_path / f"{key}.png")
        shown = [text for text in figure.findobj(Text) if text.get_text()]
        assert not any(text.get_parse_math() for text in shown)
        assert any(name[:20] in text.get_text() for text in shown)


@pytest.mark.parametrize("threshold", [None, 0.8])
def test_the_trust_plot_marks_the_accepted_predictions(tmp_path, threshold):
    rng = np.random.default_rng(0)
    confidences = rng.random(1000)
    correct = rng.random(1000) < confidences
    bins = [{"images": 10, "confidence": 0.2, "accuracy": 0.3}, {"images": 1000, "confidence": 0.9, "accuracy": 0.9}]
    figure = plots.trust(confidences, correct, bins, threshold, "title")
    marked = [text for text in texts(figure) if "confidence of at least 80.0%" in text]
    assert bool(marked) == (threshold is not None)
    if marked:
        share = 100 * (confidences >= 0.8).mean()
        assert f"{share:.2f}% accepted, {100 * correct[confidences >= 0.8].mean():.2f}% correct" in marked[0]
    plots.save(figure, tmp_path / "trust.png")
    assert cv2.imread(str(tmp_path / "trust.png")) is not None


def test_bins_of_few_images_are_gray_and_no_two_numbers_of_the_trust_plot_overlap():
    counts = [3, 19, 20, 100, 2345]
    bins = [{"images": n, "confidence": 0.5 + 0.067 * i, "accuracy": 0.5} for i, n in enumerate(counts)]
    figure = plots.trust(np.linspace(0.5, 1, 50), np.arange(50) > 5, bins, 0.8, "title")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    colors = [container.lines[0].get_color() for container in axes.containers]
    assert colors == [plots.LINE] * 2 + [plots.BLUE] * 3
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(two) for index, one in enumerate(boxes) for two in boxes[:index])


def test_the_confusion_matrix_has_each_count_in_its_cell():
    matrix = np.array([[5, 1, 0], [0, 7, 2], [0, 0, 9]])
    figure = plots.confusion(matrix, ["cat", "dog", "fox"], "title")
    written = {(t.get_position(), t.get_text()) for t in figure.axes[0].texts}
    assert written == {
        ((column, row), str(matrix[row, column])) for row in range(3) for column in range(3) if matrix[row, column]
    }


@pytest.mark.parametrize("count", [0, 1, 8, 9, 40])
def test_a_sheet_holds_any_number_of_images(tmp_path, count):
    images = np.random.default_rng(0).random((count, 28, 28))
    figure = plots.sheet(images, [f"caption {number}" for number in range(count)], "title")
    assert sum(len(axes.images) for axes in figure.axes) == count
    assert sum(text.startswith("caption") for text in texts(figure)) == count
    plots.save(figure, tmp_path / "mistakes.png")
    assert cv2.imread(str(tmp_path / "mistakes.png")) is not None


def test_a_long_title_is_wrapped():
    figure = plots.confusion(np.eye(2, dtype=int), ["cat", "dog"], "folder/" * 20)
    assert max(map(len, figure.get_suptitle().splitlines())) <= 45
    assert figure.get_suptitle().replace("\n", "") == "folder/" * 20


def test_the_prediction_has_one_bar_per_class_and_marks_the_best():
    probs = np.array([0.1, 0.7, 0.2])
    figure = prediction_plots.prediction(
        np.zeros((50, 40, 3), np.uint8), np.zeros((28, 28)), probs, ["a", "b", "c"], "title"
    )
    bars = figure.axes[2].patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], 100 * probs)
    assert len({bar.get_facecolor() for bar in bars}) == 2
    assert bars[1].get_facecolor() != bars[0].get_facecolor() == bars[2].get_facecolor()
