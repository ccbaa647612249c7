"""Synthetic digits in handwritten forms that MNIST lacks, drawn from stroke templates."""

from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from digits.data.augment import augment
from digits.imaging.mnist_format import SIDE, ink_to_mnist

_CANVAS = 112  # side of the square canvas to draw on, pixels
_SMALL = 56  # side that it is shrunk to before the distortion, which costs time for every pixel
_JITTER = 2.5  # standard deviation of a point's position, hundredths of the canvas

# The forms of each digit, each as two extremes to interpolate between. Strokes are separated by "/"; their points are
# "x,y" in hundredths of the canvas, y downwards. A "!" marks a corner; the path is smooth at all other points.
_FORMS = {
    0: [
        ("50,8 24,24 20,70 50,92 78,72 78,28 50,8", "42,16 12,36 20,74 54,84 92,64 84,26 34,20"),  # closed
        ("40,12 20,35 22,75 50,92 78,70 75,28 52,10", "66,6 22,20 14,62 45,92 86,70 84,30 42,26"),  # ends overlap
        ("30,16 18,40 24,80 55,90 80,65 74,30 50,14", "20,30 16,56 34,86 66,88 86,58 76,28 58,16"),  # open
        (
            "50,8 24,24 22,72 50,92 78,72 78,28 50,8 / 70,22 30,78",
            "50,8 20,26 18,74 50,92 82,72 80,28 50,8 / 92,6 8,94",
        ),
    ],
    1: [
        ("36,34 60,10! 57,92", "4,64 70,8! 46,92"),  # with a flag
        ("40,22 54,10! 52,92", "22,40 62,8! 62,92"),
        ("44,42 58,10! 57,92", "26,76 66,8! 54,92"),
        ("32,52 42,40 62,10! 58,92", "12,58 30,50 70,8! 42,92"),  # with a curved flag
        ("36,34 56,10! 56,90 / 36,90 78,90", "12,46 54,8! 52,92 / 16,92 92,90"),  # with flag and foot
        ("36,30 58,10! 54,90! 32,90! 78,88", "16,40 62,8! 48,88! 22,92! 84,86"),
        ("52,8! 50,92 / 36,92 66,92", "54,8! 50,92 / 18,92 84,92"),  # with a foot
    ],
    2: [
        ("24,28 46,8 74,26 52,62 22,90! 80,90", "20,34 44,6 80,28 50,66 16,92! 88,86"),
        ("22,24 50,8 72,30 40,72 24,88 34,80 56,88 82,86", "24,30 56,8 74,34 36,76 18,92 32,70 58,92 90,82"),  # looped
    ],
    3: [
        ("24,14 50,8 72,26 46,46! 76,64 56,92 22,84", "20,20 54,6 72,24 36,44! 80,70 50,94 14,80"),
        ("24,12! 72,12! 46,44! 76,64 56,92 22,86", "18,10! 80,12! 36,42! 84,64 52,94 14,82"),  # with a flat top
    ],
    4: [
        ("52,8 24,60! 82,58 / 64,34 60,92", "44,6 12,54! 90,50 / 70,22 64,94"),  # open
        ("26,10 24,54! 78,52 / 72,10 70,92", "34,8 14,58! 84,50 / 64,8 58,94"),
        ("52,6 36,64! 68,60 / 60,46 55,90", "60,4 30,62! 76,58 / 60,42 46,94"),  # narrow, with a short second stroke
        ("54,6 34,68! 72,62 / 66,40 54,92", "48,4 38,76! 66,70 / 64,52 60,92"),
        ("28,8 22,56 32,70 76,66 / 78,36 72,92", "40,8 14,62 26,80 74,70 / 84,40 70,88"),  # an L and a second stroke
        ("60,92 62,10! 18,62! 84,60", "52,94 66,8! 14,66! 90,62"),  # closed, in one stroke
    ],
    5: [
        ("36,14 32,46 60,42 76,64 58,90 24,84 / 36,12 76,12", "40,18 26,50 56,40 82,66 50,94 12,84 / 42,10 90,6"),
        ("76,12! 36,12! 32,46 60,42 74,66 56,90 24,84", "86,8! 30,12! 26,50 62,40 82,68 48,94 14,82"),
    ],
    6: [
        ("64,8 36,34 28,70 50,92 72,72 54,52 32,66", "74,10 40,26 18,66 46,94 80,76 58,54 24,66"),
        ("56,6 32,60 44,92 68,80 62,58 36,66", "70,6 26,52 38,94 82,84 66,54 28,74"),
        ("68,16 58,6 40,26 30,68 50,92 70,74 54,54 34,68", "60,24 74,8 44,14 22,66 46,94 78,78 58,56 26,74"),  # curled
    ],
    7: [
        ("20,14! 76,12! 46,92", "12,8! 88,14! 30,94"),
        ("20,14! 76,12! 48,92 / 34,52 72,50", "14,20! 80,8! 38,92 / 20,50 82,46"),  # crossed
        ("22,28! 24,14! 76,14! 48,92 / 34,54 74,50", "16,34! 18,10! 82,12! 44,92 / 26,56 82,52"),  # hooked and crossed
        (
            "24,26 42,12 64,14 70,30 58,62 52,92 / 36,56 80,54",
            "14,30 34,8 70,8 80,26 66,60 46,94 / 30,62 94,58",
        ),  # round
        ("26,30 44,10 66,16 70,34 54,92 / 38,62 76,62", "14,32 36,6 74,12 76,36 44,94 / 24,70 94,64"),
        ("22,30 22,12 50,18 76,12! 50,92", "14,34 16,8 46,22 84,8! 44,92"),  # hooked
    ],
    8: [
        (
            "70,16 44,8 30,26 54,48 72,70 48,92 28,72 48,50 72,24",
            "80,10 36,12 26,28 56,50 76,74 44,92 20,76 46,52 88,22",
        ),
        (
            "50,8 32,24 50,46 68,26 50,8 / 50,46 26,70 50,92 74,70 50,46",
            "54,6 26,24 52,44 78,26 50,8 / 50,48 18,68 46,94 82,70 54,46",
        ),
        (
            "74,12 54,38 36,64 40,88 58,90 64,70 50,44 32,26 36,12",
            "88,16 58,40 34,66 36,88 56,94 66,72 50,46 22,26 16,18",
        ),  # open
    ],
    9: [
        (
            "68,18 46,8 30,28 46,48 68,24! 68,66 52,90 28,84",
            "76,16 44,8 22,28 44,50 74,20! 78,76 46,96 10,82",
        ),  # with a hook
        (
            "66,14 48,8 36,24 50,38 66,18! 70,60 56,90 20,90",
            "62,14 46,10 40,22 52,32 62,16! 74,66 58,94 8,88",
        ),  # with a small head
        ("70,20 44,8 28,28 48,46 70,22! 70,88! 26,90", "76,20 40,8 20,30 50,48 74,18! 74,84! 10,94"),  # with a corner
        (
            "64,22 46,8 32,26 50,40 68,16 56,34 70,66 50,90 22,80",
            "58,24 40,10 30,26 46,38 62,20 44,40 72,70 48,94 14,84",
        ),  # S-shaped
        ("68,20 46,8 28,28 46,48 68,26! 60,92", "74,16 44,8 24,34 50,48 72,24! 44,94"),
    ],
}


def make_synthetic_digits(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits, every class with the same probability: 1 with flag or foot, crossed 0 and 7, open 4, hooked 9, etc.

    Args:
        count: number of images.
        rng: source of all randomness: form, position between its extremes, jitter, distortion, pen width.

    Returns:
        images uint8 [count, 28, 28] in MNIST format, and labels int64 [count].
    """
    labels = rng.integers(len(_FORMS), size=count)
    images = np.empty((count, SIDE, SIDE), np.uint8)
    for image, drawing in zip(images, draw_forms(labels, rng), strict=True):
        image[:] = np.rint(255 * ink_to_mnist(drawing.astype(np.float32) / 255))
    return images, labels


def draw_forms(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a digit for each label, uint8 [N, 56, 56], ink bright."""
    drawings = np.empty((len(labels), _SMALL, _SMALL), np.uint8)
    for drawing, label in zip(drawings, labels.tolist(), strict=True):
        cv2.resize(_draw_form(label, rng), (_SMALL, _SMALL), drawing, interpolation=cv2.INTER_AREA)
    return augment(drawings, rng, rotation=12, aspect=0.35, shear=0.25, elastic=2.5)


def _draw_form(label, rng):
    """Draw one digit on the canvas, uint8 [112, 112], ink bright."""
    forms = _FORMS[label]
    extremes = map(_parse, forms[rng.integers(len(forms))])
    share = rng.uniform(-0.1, 1.1)
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    pen = int(rng.integers(3, 13))
    for (first, is_corner), (second, _) in zip(*extremes, strict=True):
        points = first + share * (second - first) + rng.normal(0, _JITTER, first.shape)
        path = _spline(points, is_corner) * 0.76 + 18  # hundredths of the canvas -> pixels, with a margin for the pen
        cv2.polylines(canvas, [np.rint(16 * path).astype(np.int32)], False, 255, pen, cv2.LINE_AA, shift=4)
    return canvas


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
