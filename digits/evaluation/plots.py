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

from digits.evaluation.metrics import choose_examples, wilson_interval
from digits.files import replacing
from digits.text import confidence, percent, shorten

BLUE, ORANGE, GRAY = "#4b57d6", "#d97a0b", "#6b7285"  # as in the drawing window and on the HTML page
TEXT, LINE = "#1f2433", "#d3d7e0"

_LOSSES = {"cross_entropy": "cross-entropy (nats)", "mse": "mean squared error of the probabilities"}
_MAX_EXAMPLES = 40  # images on a sheet of predictions
_FEW_IMAGES = 20  # a bin with fewer is gray
_TITLE_LETTERS, _CAPTION_LETTERS = 10, 15  # letters per inch


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Make an empty figure, width and height in inches, with a title."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(_wrap(title, _TITLE_LETTERS * width), color=TEXT, fontsize=12)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure, in the colors that all plots share and in the format of the path's suffix."""
    for axes in figure.axes:
        axes.tick_params(which="both", color=LINE, labelcolor=GRAY)
        for label in (axes.xaxis.label, axes.yaxis.label, axes.title):
            label.set_color(TEXT)
        for side, spine in axes.spines.items():
            spine.set_color(LINE)
            spine.set_visible(spine.get_visible() and (side in ("left", "bottom") or bool(axes.images)))
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
    """Plot loss and error on train and val by epoch; mark the kept epoch, and the epochs that overfit.

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
    series = [(part, [row[f"{part}_loss"] for row in history]) for part in ("train", "val")]
    errors = [(part, [100 * (1 - row[f"{part}_accuracy"]) for row in history]) for part in ("train", "val")]
    for axes, rows in ((left, series), (right, errors)):
        smallest = min((value for _, values in rows for value in values if value > 0), default=1e-6)
        for (_, values), label, color in zip(rows, ("training", "validation"), (BLUE, ORANGE), strict=True):
            axes.plot(epochs, np.maximum(values, smallest), color=color, label=label, marker=marker)
        axes.axvline(kept_epoch, color=GRAY, linestyle=":", label=f"kept: epoch {kept_epoch}")
        if overfit_epoch and overfit_epoch < epochs[-1]:
            label = f"overfitting: validation loss above that of epoch {overfit_epoch}"
            axes.axvspan(overfit_epoch, epochs[-1] + 0.5, color=ORANGE, alpha=0.12, linewidth=0, label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.grid(alpha=0.3)
    left.set_ylabel(_LOSSES[loss])
    right.set_ylabel("error (%)")
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
    """Plot a confusion matrix int [C, C] (row = true class) with its counts; the color of a mistake is its share."""
    size = max(4.5, 0.55 * len(classes) + 1.8)
    figure = new_figure(size, size - 0.6, title)
    axes = figure.subplots()
    classes = shorten(classes)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    picture = axes.imshow(shares, cmap="Oranges", vmin=0, vmax=max(0.1, 1.3 * shares.max()))
    bar = figure.colorbar(picture, ax=axes, shrink=0.7, pad=0.02)
    bar.set_label("share of the true class that is mistaken (%)")
    bar.outline.set_visible(False)
    for row, column in np.argwhere(matrix > 0):
        color = TEXT if row != column else GRAY
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
        legend = "label, and confidence" if correct else "label, prediction, and its confidence"
        heading = f"{title}: {count}, by decreasing confidence\nabove each image: {legend}"
        figures[name] = sheet(images[chosen], captions, heading)
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
    names = {BLUE: "accuracy, with its 95% interval", LINE: f"bins of fewer than {_FEW_IMAGES} images"}
    for row in bins:
        images, x, y = row["images"], 100 * row["confidence"], 100 * row["accuracy"]
        low, high = (100 * end for end in wilson_interval(round(row["accuracy"] * images), images))
        color = BLUE if images >= _FEW_IMAGES else LINE
        errors = [[max(0, y - low)], [max(0, high - y)]]
        axes.errorbar(x, y, errors, fmt="o", color=color, capsize=2, label=names.pop(color, None), clip_on=False)
        axes.text(x, 103, f"{images:,}", rotation=90, ha="center", va="bottom", fontsize=7, color=GRAY)
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 122)
    axes.set_yticks(range(0, 101, 20))
    axes.set_xlabel("confidence (%)")
    axes.set_ylabel("accuracy (%); numbers: images per bin")
    axes.legend(loc="lower right", framealpha=0.9, edgecolor="none")


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
        axes.legend(loc="lower left", frameon=False)
    shown = coverage >= lowest
    axes.plot(coverage[shown], accuracy[shown], color=BLUE)
    axes.set_xlabel("coverage: share of the predictions accepted (%)")
    axes.set_ylabel("accuracy of the accepted predictions (%)")


def _wrap(text, letters):
    return "\n".join(textwrap.fill(line, int(letters)) for line in text.split("\n"))
