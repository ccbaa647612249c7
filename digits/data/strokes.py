"""Draw handwriting from stroke templates.

A template lists strokes, separated by "/"; their points are "x,y" in hundredths of the canvas, y downwards. A "!" marks
a corner; the path is smooth at all other points.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

SIDE = 56  # side of a drawing, pixels

_CANVAS = 112  # side of the square canvas to draw on, pixels; it is then shrunk, since distortion costs by the pixel
_JITTER = 2.5  # standard deviation of a point's position, hundredths of the canvas


def draw_template(extremes: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Draw a form between two extremes, templates with the same strokes, with a random pen and jitter.

    Returns:
        uint8 [56, 56], ink bright.
    """
    share = rng.uniform(-0.1, 1.1)
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    pen = int(rng.integers(3, 13))
    for (first, is_corner), (second, _) in zip(*map(_parse, extremes), strict=True):
        points = first + share * (second - first) + rng.normal(0, _JITTER, first.shape)
        path = _spline(points, is_corner) * 0.76 + 18  # hundredths of the canvas -> pixels, with a margin for the pen
        cv2.polylines(canvas, [np.rint(16 * path).astype(np.int32)], False, 255, pen, cv2.LINE_AA, shift=4)
    return cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


@cache
def _parse(text):
    """Parse a template into strokes: points float [K, 2], and whether each is a corner, bool [K]."""
    strokes = [stroke.split() for stroke in text.split("/")]
    return [
        (np.array([point.rstrip("!").split(",") for point in stroke], float), [point.endswith("!") for point in stroke])
        for stroke in strokes
    ]


def _spline(points, is_corner):
    """Interpolate a path through points [K, 2], smooth except at corners (Catmull and Rom 1974)."""
    corners = [0, *(i for i in range(1, len(points) - 1) if is_corner[i]), len(points) - 1]
    steps = np.linspace(0, 1, 8, endpoint=False)[:, None]
    path = []
    for first, last in pairwise(corners):
        part = points[[first, *range(first, last + 1), last]]
        for a, b, c, d in zip(part[:-3], part[1:-2], part[2:-1], part[3:], strict=True):
            path.append(
                0.5
                * (
                    2 * b
                    + (c - a) * steps
                    + (2 * a - 5 * b + 4 * c - d) * steps**2
                    + (3 * b - a - 3 * c + d) * steps**3
                )
            )
    return np.concatenate([*path, points[-1:]])
