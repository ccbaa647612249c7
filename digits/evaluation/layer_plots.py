"""A picture of what a network computes from one image: its feature maps, and why it prefers one class to another."""

import math

import numpy as np
from matplotlib.figure import Figure

from digits.evaluation.plots import new_figure
from digits.evaluation.prediction_plots import save_output, unique_names
from digits.evaluation.reading import Reading
from digits.networks.layers import Activation
from digits.text import shorten

_COLUMNS = 16  # maps in a row
_MAX_MAPS = 32  # maps shown of a layer
_GAP = 0.12  # between two maps, relative to the side of a map


def layers(
    image: np.ndarray, activations: list[Activation], occlusion: np.ndarray, rivals: tuple[str, str], title: str
) -> Figure:
    """Draw the network's input, the occlusion map of the two likeliest classes, and the maps of each layer.

    Args:
        image: the network's input, [28, 28] or RGB [S, S, 3], float in [0, 1] or uint8.
        activations: as `digits.networks.layers.activations` returns them, the logits last.
        occlusion: float [G, G], positive where the image speaks for the first of the two classes.
        rivals: names of the likeliest and the second likeliest class.
        title: the prediction in words.
    """
    rows = [(_caption(activation), *_picture(activation.shades())) for activation in activations[:-1]]
    heights = [0.45 + inches for *_, inches in rows]
    figure = new_figure(12, max(6.5, 0.6 + sum(heights)), title)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 3])
    above, below = left.subplots(2, 1)
    _draw_input(above, image)
    above.set_title("network input", fontsize=10)
    _draw_occlusion(below, image, occlusion, rivals)
    for axes, (caption, picture, _) in zip(right.subplots(len(rows), 1, height_ratios=heights), rows, strict=True):
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="equal" if len(picture) > 1 else "auto")
        axes.set_anchor("W")
        axes.set_title(caption, fontsize=10, loc="left")
        axes.axis("off")
    return figure


def draw_all(classifier, readings: list[Reading]) -> None:
    """Draw the layers of a `Classifier` for each picture into outputs/."""
    names = unique_names([reading.path for reading in readings])
    for reading, name in zip(readings, names, strict=True):
        if reading.image is not None:
            first, second = np.argsort(-reading.probs, kind="stable")[:2]
            rivals = classifier.classes[first], classifier.classes[second]
            occlusion = classifier.occlusion(reading.image, first, second)
            maps = classifier.activations(reading.image)
            save_output(layers(reading.image, maps, occlusion, rivals, reading.describe()), f"{name}_layers.png")


def _draw_input(axes, image):
    axes.imshow(image, cmap="gray", vmin=0, vmax=255 if image.dtype == np.uint8 else 1)
    axes.set_xticks([])
    axes.set_yticks([])


def _draw_occlusion(axes, image, occlusion, rivals):
    first, second = shorten(list(rivals), 12)
    side = len(image)
    gray = image / (255 if image.dtype == np.uint8 else 1)
    axes.imshow(1 - 0.45 * gray, cmap="gray", vmin=0, vmax=1)
    most = max(float(np.abs(occlusion).max()), 1e-6)
    shown = axes.imshow(
        occlusion,
        cmap="RdBu_r",
        vmin=-most,
        vmax=most,
        alpha=np.clip(1.5 * np.abs(occlusion) / most, 0, 0.85),
        extent=(-0.5, side - 0.5, side - 0.5, -0.5),
        interpolation="bilinear",
    )
    axes.set_title(f"why {first} and not {second}", fontsize=10)
    axes.set_xlabel(f"red speaks for {first}, blue for {second}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    bar = axes.figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("lead lost if covered (logits)", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _caption(activation):
    shape = activation.values.shape
    if len(shape) == 1:
        return f"{activation.name}: {shape[0]} units"
    count = f"{shape[0]} maps" if shape[0] <= _MAX_MAPS else f"{_MAX_MAPS} of {shape[0]} maps"
    return f"{activation.name}: {count} of {shape[1]} x {shape[2]}"


def _picture(values):
    """Tile the maps of a layer; returns the picture, from 0 to 1 and white between the maps, and its height, inches."""
    if values.ndim == 1:
        return values[None], 0.25
    maps = values[:_MAX_MAPS]
    height, width = maps.shape[1:]
    gap = max(1, math.ceil(_GAP * height))
    columns = min(_COLUMNS, len(maps))
    rows = math.ceil(len(maps) / columns)
    picture = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap))
    for index, map_ in enumerate(maps):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        picture[y : y + height, x : x + width] = map_
    return picture, min(1.1, 8.5 / columns) * rows
