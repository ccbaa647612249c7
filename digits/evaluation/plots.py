"""Plots of runs and of labeled images: training curves, trust, confusion matrix, sheets of images."""

import textwrap
import warnings
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator

from digits.evaluation.metrics import choose_examples
from digits.files import replacing
from digits.text import confidence, percent, shorten

BLUE, ORANGE, GRAY = "#1f77b4", "#ff7f0e", "#888888"

_LOSSES = {"cross_entropy": "cross-entropy (nats)", "mse": "mean squared error of the probabilities"}
_MAX_EXAMPLES = 40  # images on a sheet of predictions
_TITLE_LETTERS, _CAPTION_LETTERS = 10, 15  # letters per inch


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make an empty figure, width and height in inches, with a title."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(_wrap(title, _TITLE_LETTERS * width))
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure in the format of the path's suffix."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names of files and classes may hold a $
    literally = rc_context({"text.parse_math": False})  # for tick labels, which are made now
    with replacing(path) as temporary, warnings.catch_warnings(), literally:
        warnings.filterwarnings("ignore", message="Glyph")  # letters that the font lacks become boxes
        figure.savefig(temporary, dpi=120)


def curves(
    history: list[dict],
    kept_epoch: int,
    title: str,
    overfit_epoch: int | None = None,
    loss: str = "cross_entropy",
) -> Figure:
    """Plot loss and accuracy on train and val by epoch; mark the kept epoch, and the epochs that overfit.

    Args:
        history: one dict per epoch with `epoch train_loss train_accuracy val_loss val_accuracy`.
        kept_epoch: the epoch whose weights were kept.
        title: name of the run.
        overfit_epoch: the epoch after which the val loss rose, if it did.
        loss: the loss function, a key of `_LOSSES`.
    """
    figure = new_figure(9, 4, title)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    marker = "." if len(epochs) < 12 else ""
    for axes, name, scale in ((left, "loss", 1), (right, "accuracy", 100)):
        for part, label, color in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            values = [scale * row[f"{part}_{name}"] for row in history]
            axes.plot(epochs, values, color=color, label=label, marker=marker)
        axes.axvline(kept_epoch, color=GRAY, linestyle=":", label=f"kept: epoch {kept_epoch}")
        if overfit_epoch and overfit_epoch < epochs[-1]:
            label = f"overfitting: validation loss above that of epoch {overfit_epoch}"
            axes.axvspan(overfit_epoch, epochs[-1] + 0.5, color=ORANGE, alpha=0.12, linewidth=0, label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.grid(alpha=0.3)
    losses = [row[f"{part}_loss"] for row in history for part in ("train", "val")]
    if max(losses) > 10 * min(losses):
        left.set_yscale("log")
        left.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        left.yaxis.set_major_formatter("{x:g}")
        left.yaxis.set_minor_formatter("{x:g}")
    left.set_ylabel(_LOSSES[loss])
    right.set_ylabel("accuracy (%)")
    # The first epochs would flatten the later curve, so they do not count for the range of the axis.
    later = [100 * row[f"{part}_accuracy"] for row in history[len(history) // 10 :] for part in ("train", "val")]
    right.set_ylim(min(later) - 0.2, min(100.05, max(later) + 0.2))
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def trust(
    confidences: np.ndarray, correct: np.ndarray, bins: list[dict], threshold: float | None, title: str
) -> Figure:
    """Plot a reliability diagram, and accuracy against coverage.

    Args:
        confidences: float [N] in [0, 1]; 0 for images that are rejected whatever the threshold.
        correct: bool [N].
        bins: dicts with `images confidence accuracy`, see `calibration.reliability`.
        threshold: minimum confidence of the trusted predictions; None if no prediction is trusted.
        title: what was measured.
    """
    figure = new_figure(9, 4.2, title)
    left, right = figure.subplots(1, 2)
    _draw_reliability(left, bins)
    _draw_coverage(right, confidences, correct, threshold)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def confusion(matrix: np.ndarray, classes: list[str], title: str) -> Figure:
    """Plot a confusion matrix int [C, C] (row = true class) with its counts; only mistakes are colored."""
    size = max(4.5, 0.5 * len(classes) + 1.2)
    figure = new_figure(size, size, title)
    axes = figure.subplots()
    classes = shorten(classes)
    mistakes = matrix - np.diag(np.diag(matrix))
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max() * 1.3))
    for row, column in np.argwhere(matrix > 0):
        color = "black" if row != column else GRAY
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize=9)
    slanted = {"rotation": 45, "ha": "right"} if max(map(len, classes)) > 5 else {}
    axes.set_xticks(range(len(classes)), classes, **slanted)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return figure


def prediction_sheets(
    images, labels: np.ndarray, probs: np.ndarray, classes: list[str], title: str
) -> dict[str, Figure]:
    """Draw a sheet of correct predictions, `right`, and one of `mistakes`, in order of decreasing confidence.

    Args:
        images: [N, H, W] or RGB [N, H, W, 3]; an array, or `ImageFiles`.
        labels: int [N].
        probs: float [N, C].
        classes: the class names.
        title: what was measured.
    """
    figures, names = {}, shorten(classes)
    is_correct = probs.argmax(1) == labels
    for name, plural, correct in (("right", "correct predictions", True), ("mistakes", "mistakes", False)):
        chosen = choose_examples(labels, probs, correct, _MAX_EXAMPLES)
        captions = []
        for label, row in zip(labels[chosen], probs[chosen], strict=True):
            read_as = "" if correct else f" read as {names[int(row.argmax())]}"
            captions.append(f"{names[label]}{read_as}\n{confidence(row.max(), 1)}")
        count = f"{len(chosen)} of {(is_correct == correct).sum():,} {plural}"
        figures[name] = sheet(images[chosen], captions, f"{title}: {count}, by decreasing confidence")
    return figures


def sheet(images: np.ndarray, captions: list[str], title: str, columns: int = 8) -> Figure:
    """Draw a grid of images [N, H, W] or RGB [N, H, W, 3], each with its caption above."""
    side, gap = 1.15 if len(images) == 0 or images.ndim == 3 else 1.5, 0.1  # inches
    captions = [_wrap(caption, _CAPTION_LETTERS * side) for caption in captions]
    line_height = 0.16
    row_height = side + line_height * max((1 + caption.count("\n") for caption in captions), default=1)
    width, height = columns * side, row_height * max(1, -(-len(images) // columns))
    figure = new_figure(width, height + 0.5, title)
    axes = figure.subplots()  # a single one, in inches: one per image would take seconds
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(number, columns)
        left, bottom = column * side + gap / 2, height - (row + 1) * row_height + gap
        axes.imshow(image, cmap="gray", extent=(left, left + side - gap, bottom, bottom + side - gap))
        axes.text(left + (side - gap) / 2, bottom + side - gap / 2, caption, ha="center", va="bottom", fontsize=8)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.axis("off")
    return figure


def _draw_reliability(axes, bins):
    axes.plot([0, 100], [0, 100], color=GRAY, linestyle=":", label="perfect calibration")
    points = [(100 * row["confidence"], 100 * row["accuracy"]) for row in bins]
    total = sum(row["images"] for row in bins)
    sizes = [30 + 300 * row["images"] / total for row in bins]
    axes.scatter(*zip(*points, strict=True), s=sizes, color=BLUE, alpha=0.8, clip_on=False, zorder=3)
    for row, point in zip(bins, points, strict=True):
        place = {"xytext": (-8, 6), "textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{row['images']:,}", point, **place, fontsize=8, color=GRAY)
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 112)
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("accuracy (%); numbers: images per bin")
    axes.legend(loc="lower right")


def _draw_coverage(axes, confidences, correct, threshold):
    order = np.argsort(-confidences, kind="stable")
    count = np.arange(1, len(order) + 1)
    coverage, accuracy = 100 * count / len(order), 100 * np.cumsum(correct[order]) / count
    lowest = 80
    if threshold is not None and (confidences >= threshold).any():
        last = (confidences >= threshold).sum() - 1
        lowest = min(lowest, coverage[last])
        label = (
            f"confidence of at least {percent(threshold, 1)}:\n"
            f"{percent(coverage[last] / 100)} accepted, {percent(accuracy[last] / 100)} correct"
        )
        axes.axvline(coverage[last], color=ORANGE, linestyle=":")
        axes.plot(coverage[last], accuracy[last], marker="o", color=ORANGE, linestyle="", label=label, zorder=3)
        axes.legend(loc="lower left")
    shown = coverage >= lowest
    axes.plot(coverage[shown], accuracy[shown], color=BLUE)
    axes.set_xlabel("coverage: share of the predictions accepted (%)")
    axes.set_ylabel("accuracy of the accepted predictions (%)")


def _wrap(text, letters):
    return "\n".join(textwrap.fill(line, int(letters)) for line in text.split("\n"))
