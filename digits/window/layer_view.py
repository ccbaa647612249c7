"""The feature maps of the digit on the canvas, in the panel: a row for each layer of the network."""

import math

import cv2
import numpy as np

from digits.window.surface import GRAY, INK, TEXT, Surface

_LABELS = 70  # width of the column with the layers' names, in units
_GAP, _MAP_GAP = 7, 3  # between two rows, between two maps
_STRIP = 9  # height of a layer without maps
_SMALLEST = 20  # side of a map; where there is no room for more such maps, some are left out
_COUNTS = (32, 16, 8, 4)  # maps shown of a layer that has more


def draw_layers(surface: Surface, activations: list, box: tuple[float, float, float, float]) -> None:
    """Draw the activations of one image into a box: x, y, width, height in units.

    Args:
        surface: the picture to draw on.
        activations: a list of `digits.networks.layers.Activation`; the last are the logits, which the probabilities
            show already.
        box: where.
    """
    x, y, width, height = box
    layers = activations[:-1]
    maps = sum(layer.values.ndim == 3 for layer in layers)
    height_of_maps = (height - _GAP * (len(layers) - 1) - _STRIP * (len(layers) - maps)) / max(1, maps)
    for layer in layers:
        is_map = layer.values.ndim == 3
        high = height_of_maps if is_map else _STRIP
        values = np.uint8(255 * layer.shades())
        if is_map:
            shown, note = _draw_maps(surface, values, x + _LABELS, y, width - _LABELS, high)
            count = len(values) if shown == len(values) else f"{shown} of {len(values)}"
            surface.text(layer.name, (x, y + 12), 13, TEXT, 600)
            surface.text(f"{count}, {note}", (x, y + 26), 10, GRAY)
        else:
            strip = cv2.applyColorMap(values[None], INK[::-1])
            surface.picture(strip, x + _LABELS, y, width - _LABELS, _STRIP, cv2.INTER_AREA)
            surface.text(layer.name, (x, y + 9), 13, TEXT, 600)
            surface.text(str(len(values)), (x + _LABELS - 8, y + 9), 10, GRAY, align="right")
        y += high + _GAP


def _draw_maps(surface, values, x, y, width, height):
    """Draw as many maps as there is room for; returns their number, and the size of a map in words."""
    count, columns, side = _arrange(len(values), width, height)
    for index, map_ in enumerate(values[:count]):
        left, top = x + index % columns * (side + _MAP_GAP), y + index // columns * (side + _MAP_GAP)
        surface.picture(cv2.applyColorMap(map_, INK[::-1]), left, top, side, side, cv2.INTER_AREA)
    return count, "x".join(map(str, values.shape[1:]))


def _arrange(available, width, height):
    """Return how many maps to show, in how many columns, and the side of each."""
    for count in (available, *(count for count in _COUNTS if count < available)):
        choices = []
        for rows in range(1, 5):
            columns = math.ceil(count / rows)
            side = min((width - _MAP_GAP * (columns - 1)) / columns, (height - _MAP_GAP * (rows - 1)) / rows)
            choices.append((side, columns))
        side, columns = max(choices)
        if side >= _SMALLEST or count <= _COUNTS[-1]:
            break
    return count, columns, side
