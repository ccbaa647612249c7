"""Plots of predictions: one picture with the probability of each class, or a page with a box around each digit."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from digits.evaluation.plots import BLUE, GRAY, ORANGE, new_figure, save
from digits.evaluation.reading import Reading
from digits.imaging.reading import read_image
from digits.text import confidence, file_name, shorten

_MAX_BARS = 12  # classes with a bar, the most probable first


def prediction(
    picture: np.ndarray | None, image: np.ndarray, probs: np.ndarray, classes: list[str], title: str
) -> Figure:
    """Draw a picture, the network's input made from it, and one bar per class.

    Args:
        picture: gray [H, W], RGB [H, W, 3] or RGBA [H, W, 4], uint8; None if it is the network's input itself.
        image: the network's input, [28, 28] or RGB [S, S, 3], float in [0, 1] or uint8.
        probs: float [num_classes].
        classes: the class names.
        title: the prediction in words.
    """
    panels = [(image, "network input")]
    if picture is not None:
        panels.insert(0, (picture, "your picture"))
    figure = new_figure(3.4 + 2.8 * len(panels), 3.4, title)
    *left, right = figure.subplots(1, len(panels) + 1, width_ratios=[1] * len(panels) + [1.3])
    for axes, (shown, name) in zip(left, panels, strict=True):
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255 if shown.dtype == np.uint8 else 1)
        axes.set_title(name, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    _draw_bars(right, probs, classes)
    return figure


def page(picture: np.ndarray, boxes: list[tuple[int, int, int, int]], marks: list[str]) -> Figure:
    """Draw a picture with a box around each digit, and its label above it.

    Args:
        picture: gray [H, W], RGB [H, W, 3] or RGBA [H, W, 4], uint8.
        boxes: x, y, width, height in pixels.
        marks: a digit; a doubtful digit with a question mark; or `-` for a figure that is not a digit.
    """
    height, width = picture.shape[:2]
    scale = 8 / max(height, width)  # inches per pixel
    figure = new_figure(max(2.5, scale * width), max(1.5, scale * height))
    axes = figure.subplots()
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    pad = 0.006 * max(height, width)
    for (x, y, w, h), mark in zip(boxes, marks, strict=True):
        color = GRAY if mark == "-" else ORANGE if mark.endswith("?") else BLUE
        corner = (x - pad, y - pad)
        box = Rectangle(corner, w + 2 * pad, h + 2 * pad, fill=False, edgecolor=color, linewidth=1.6, joinstyle="round")
        axes.add_patch(box)
        axes.annotate(
            mark,
            corner,
            xytext=(0, 2),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=11,
            color="white",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": "none"},
        )
    return figure


def draw_all(paths: list[Path], readings: list[Reading], classes: list[str]) -> None:
    """Draw the prediction for each picture into outputs/."""
    names = unique_names([reading.path for reading in readings])
    for path, reading, name in zip(paths, readings, names, strict=True):
        if reading.image is not None:
            figure = prediction(read_rgb(path), reading.image, reading.probs, classes, reading.describe())
            save_output(figure, f"{name}_prediction.png")


def read_rgb(path: str | Path) -> np.ndarray:
    """Read a picture in matplotlib's channel order: gray [H, W], RGB [H, W, 3] or RGBA [H, W, 4], uint8."""
    picture = read_image(path)
    return picture[:, :, [2, 1, 0, *range(3, picture.shape[2])]] if picture.ndim == 3 else picture


def unique_names(paths: list[str]) -> list[str]:
    """Name each picture's plot after its file, shortened, with a number where several would share a name."""
    stems = [file_name(Path(path).stem) for path in paths]
    counts, names = Counter(stems), []
    for number, stem in enumerate(stems, 1):
        name = stem if counts[stem] == 1 else f"{stem}_{number}"
        while name != stem and name in counts:  # another file has that name
            name += "_"
        names.append(name)
    return names


def save_output(figure: Figure, name: str) -> None:
    """Write the figure into outputs/, and print its path to stderr."""
    path = Path("outputs") / name
    save(figure, path)
    print(f"drawn into {path}", file=sys.stderr)


def _draw_bars(axes, probs, classes):
    if len(classes) > _MAX_BARS:
        chosen = np.argsort(-probs, kind="stable")[:_MAX_BARS]
        classes, probs = [classes[index] for index in chosen], probs[chosen]
    colors = [ORANGE if index == probs.argmax() else BLUE for index in range(len(probs))]
    bars = axes.barh(range(len(probs)), 100 * probs, color=colors)
    axes.bar_label(bars, [confidence(prob, 1) if prob >= 0.0005 else "" for prob in probs], padding=3, fontsize=8)
    axes.set_yticks(range(len(classes)), shorten(classes))
    axes.invert_yaxis()
    axes.set_xlim(0, 125)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("probability (%)")
    axes.spines[["top", "right"]].set_visible(False)
