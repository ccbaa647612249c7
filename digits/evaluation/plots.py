"""The plots: training curves, trust, confusion matrix, sheets of images, one prediction, a page. `save` writes them."""

import sys
import warnings
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from digits.evaluation.metrics import choose_answers
from digits.files import replacing
from digits.imaging.mnist_format import read_image

_SHOWN = 40  # images on a sheet of answers
_BARS = 12  # classes with a bar, the most probable ones
_BLUE, _ORANGE, _GRAY = "#1f77b4", "#ff7f0e", "#888888"


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure; the suffix of the path says in which format."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a class name in letters the font lacks is drawn as boxes
        figure.savefig(temporary, dpi=120)


def save_and_say(figure: Figure, name: str) -> None:
    """Write the figure into outputs/ and print its path to stderr."""
    path = Path("outputs") / name
    save(figure, path)
    print(f"drawn into {path}", file=sys.stderr)


def file_names(paths: list[str]) -> list[str]:
    """Name a plot for each picture after its file; numbered where several files share a name."""
    stems = [Path(path).stem for path in paths]
    return [stem if stems.count(stem) == 1 else f"{stem}_{number}" for number, stem in enumerate(stems, 1)]


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture as matplotlib takes it: gray [H, W], RGB [H, W, 3] or RGBA [H, W, 4]."""
    picture = read_image(path)
    return picture[:, :, [2, 1, 0, *range(3, picture.shape[2])]] if picture.ndim == 3 else picture


def curves(history: list[dict], kept_epoch: int, title: str, overfit_epoch: int | None = None) -> Figure:
    """Loss and accuracy of train and val over the epochs, the chosen epoch marked, and where over-fitting began.

    Args:
        history: a dict an epoch with `epoch train_loss train_accuracy val_loss val_accuracy`.
        kept_epoch: the epoch whose weights were kept.
        title: name of the run.
        overfit_epoch: the epoch after which the val loss rose, if it did.
    """
    figure = _figure(9, 3.8)
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for axes, name, scale in ((left, "loss", 1), (right, "accuracy", 100)):
        for part, color in (("train", _BLUE), ("val", _ORANGE)):
            label = "train, while it learns" if part == "train" else "val"
            axes.plot(
                epochs,
                [scale * row[f"{part}_{name}"] for row in history],
                color=color,
                label=label,
                marker="." if len(epochs) < 12 else "",
            )
        axes.axvline(kept_epoch, color=_GRAY, linestyle=":", label=f"kept: epoch {kept_epoch}")
        if overfit_epoch and overfit_epoch < epochs[-1]:
            axes.axvspan(
                overfit_epoch,
                epochs[-1] + 0.5,
                color=_ORANGE,
                alpha=0.12,
                linewidth=0,
                label=f"over-fitting: val loss above that of epoch {overfit_epoch}",
            )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    left.set_ylabel("cross-entropy, nats")
    right.set_ylabel("accuracy, %")
    # The first epochs would flatten the rest: show what the later ones span.
    later = [100 * row[f"{part}_accuracy"] for row in history[len(history) // 10 :] for part in ("train", "val")]
    right.set_ylim(min(later) - 0.2, min(100.05, max(later) + 0.2))
    right.legend(loc="lower right", framealpha=0.9, edgecolor="white")
    figure.suptitle(title)
    return figure


def trust(confidences: np.ndarray, right: np.ndarray, bins: list[dict], threshold: float | None, title: str) -> Figure:
    """Reliability diagram, and accuracy of the accepted answers against the share that is accepted.

    Args:
        confidences: float [N] in [0, 1]; 0 for what is never accepted, whatever the threshold.
        right: bool [N].
        bins: dicts with `images confidence accuracy`, see `calibration.reliability`.
        threshold: the confidence from which on answers are trusted; None if there is none.
        title: what was measured.
    """
    figure = _figure(9, 4.2)
    left, right_axes = figure.subplots(1, 2)
    left.plot([0, 100], [0, 100], color=_GRAY, linestyle=":", label="as sure as right")
    total = sum(bin["images"] for bin in bins)
    left.scatter(
        [100 * bin["confidence"] for bin in bins],
        [100 * bin["accuracy"] for bin in bins],
        s=[30 + 300 * bin["images"] / total for bin in bins],
        color=_BLUE,
        alpha=0.8,
        clip_on=False,
        zorder=3,
    )
    for bin in bins:
        left.annotate(
            f"{bin['images']:,}",
            (100 * bin["confidence"], 100 * bin["accuracy"]),
            xytext=(-8, 6),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=_GRAY,
        )
    left.set_xlim(0, 102)
    left.set_ylim(0, 112)
    left.set_xlabel("confidence, %")
    left.set_ylabel("accuracy, % (number: images in the bin)")
    left.legend(loc="lower right")

    order = np.argsort(-confidences, kind="stable")
    count = np.arange(1, len(order) + 1)
    coverage, accuracy = 100 * count / len(order), 100 * np.cumsum(right[order]) / count
    shown = coverage >= 80
    right_axes.plot(coverage[shown], accuracy[shown], color=_BLUE)
    if threshold is not None and (confidences >= threshold).any():
        at = (confidences >= threshold).sum() - 1
        right_axes.axvline(coverage[at], color=_ORANGE, linestyle=":")
        right_axes.plot(
            coverage[at],
            accuracy[at],
            marker="o",
            color=_ORANGE,
            linestyle="",
            label=f"trusted, {100 * threshold:.1f} % sure or more:\n"
            f"{coverage[at]:.2f} % of the answers, {accuracy[at]:.2f} % right",
        )
        right_axes.legend(loc="lower left")
    right_axes.set_xlabel("share accepted, the surest first, %")
    right_axes.set_ylabel("accuracy of those, %")
    for axes in (left, right_axes):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def confusion(matrix: np.ndarray, classes: list[str], title: str) -> Figure:
    """A confusion matrix int [C, C] (row = true class) with its counts; the color shows the mistakes only."""
    size = max(4.5, 0.5 * len(classes) + 1.2)
    figure = _figure(size, size)
    axes = figure.subplots()
    mistakes = matrix - np.diag(np.diag(matrix))
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1, mistakes.max() * 1.3))
    for row, column in np.argwhere(matrix > 0):
        color = "black" if row != column else _GRAY
        axes.text(column, row, matrix[row, column], ha="center", va="center", color=color, fontsize=9)
    slanted = {"rotation": 45, "ha": "right"} if max(map(len, classes)) > 5 else {}
    axes.set_xticks(range(len(classes)), classes, **slanted)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    return figure


def answers(images, labels: np.ndarray, probs: np.ndarray, classes: list[str], title: str) -> dict[str, Figure]:
    """Two sheets, `right` and `mistakes`, the surest first: each image with its class, what it is read as, how surely.

    Args:
        images: [N, H, W] or RGB [N, H, W, 3], an array or what can be indexed like one.
        labels: int [N].
        probs: float [N, C].
        classes: the class names.
        title: what was measured.
    """
    figures = {}
    for name, right in (("right", True), ("mistakes", False)):
        chosen = choose_answers(labels, probs, right, _SHOWN)
        captions = []
        for label, row in zip(labels[chosen], probs[chosen], strict=True):
            said = classes[label] if right else f"{classes[label]} read as {classes[int(row.argmax())]}"
            captions.append(f"{said}\n{row.max():.1%}")
        count = int(((probs.argmax(1) == labels) == right).sum())
        figures[name] = sheet(images[chosen], captions, f"{title}: {len(chosen)} of {count} {name}, the surest first")
    return figures


def sheet(images: np.ndarray, captions: list[str], title: str, columns: int = 8) -> Figure:
    """A grid of images [N, H, W] or RGB [N, H, W, 3], each with its caption above."""
    rows = max(1, -(-len(images) // columns))
    side = 1.15 if len(images) == 0 or images.ndim == 3 else 1.5
    figure = _figure(side * columns, (side + 0.3) * rows + 0.5)
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, caption in zip(grid, images, captions, strict=False):
        axes.imshow(image, cmap="gray")
        axes.set_title(caption, fontsize=8)
    return figure


def prediction(
    picture: np.ndarray | None, seen: np.ndarray, probs: np.ndarray, classes: list[str], title: str
) -> Figure:
    """One prediction: the picture (gray [H, W] or RGB [H, W, 3]), what the network sees, a bar a class.

    Without a picture, if the network sees it as it is.
    """
    shown = [(seen, 1, "what the network sees")]
    if picture is not None:
        shown.insert(0, (picture, 255, "your picture"))
    figure = _figure(3.4 + 2.8 * len(shown), 3.4)
    *places, right = figure.subplots(1, len(shown) + 1, width_ratios=[1] * len(shown) + [1.3])
    for axes, (image, white, name) in zip(places, shown, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=white)
        axes.set_title(name, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    if len(classes) > _BARS:
        chosen = np.argsort(-probs, kind="stable")[:_BARS]
        classes, probs = [classes[i] for i in chosen], probs[chosen]
    best = int(probs.argmax())
    bars = right.barh(
        range(len(probs)), 100 * probs, color=[_ORANGE if i == best else _BLUE for i in range(len(probs))]
    )
    right.bar_label(bars, [f"{100 * p:.1f}" if p >= 0.0005 else "" for p in probs], padding=3, fontsize=8)
    right.set_yticks(range(len(classes)), classes)
    right.invert_yaxis()
    right.set_xlim(0, 115)
    right.set_xticks([0, 50, 100])
    right.set_xlabel("probability, %")
    right.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return figure


def page(picture: np.ndarray, boxes: list[tuple[int, int, int, int]], marks: list[str]) -> Figure:
    """A picture (gray [H, W] or RGB [H, W, 3]) with a box around each digit found and what it is read as above it.

    Args:
        picture: as `prediction` takes it.
        boxes: x, y, width, height in pixels.
        marks: a digit; a digit with a question mark for a doubtful one; `-` for what is none.
    """
    height, width = picture.shape[:2]
    scale = 8 / max(height, width)  # inches a pixel
    figure = _figure(max(2.5, scale * width), max(1.5, scale * height))
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    for (x, y, w, h), mark in zip(boxes, marks, strict=True):
        color = _GRAY if mark == "-" else _ORANGE if mark.endswith("?") else _BLUE
        pad = 0.006 * max(height, width)
        frame = (x - pad, y - pad), w + 2 * pad, h + 2 * pad
        axes.add_patch(Rectangle(*frame, fill=False, edgecolor=color, linewidth=1.6, joinstyle="round"))
        axes.annotate(
            mark,
            frame[0],
            xytext=(0, 2),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=11,
            color="white",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": "none"},
        )
    return figure


def _figure(width, height):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
