"""The canvas: strokes in, an image out, with undo; it works without a window."""

from typing import Any

import cv2
import numpy as np

_UNDO_STEPS = 100
_CORNER = 0.5  # cosine of 60 degrees, the turn from which a stroke has a corner instead of a curve
_SUBPIXEL_BITS = 4  # fractional bits of a coordinate


class Canvas:
    """Turns strokes into an image.

    A stroke is a smooth curve through the midpoints between the given points, so that a fast stroke, with few points,
    is as round as a slow one.

    Attributes:
        image: uint8 [side, side], 255 where there is ink.
        undone: the note that `clear` was given, if that was the last step that `undo` took back, else None.
    """

    def __init__(self, side: int):
        self.image = np.zeros((side, side), np.uint8)
        self.undone: Any = None
        self._history: list[tuple[np.ndarray, Any]] = []  # earlier images, the latest last, with their notes
        self._points: list[tuple[int, int]] = []  # the last three points of the current stroke
        self._width, self._value = 1, 255

    @property
    def is_drawing(self) -> bool:
        """Whether a stroke has begun and not ended."""
        return bool(self._points)

    def begin(self, x: int, y: int, width: int, erase: bool = False) -> None:
        """Begin a stroke with a dot of the pen or the eraser, `width` pixels wide."""
        self.end()
        self._remember()
        self._points, self._width, self._value = [(x, y)], width, 0 if erase else 255
        self._draw([(x, y), (x, y)])

    def extend(self, x: int, y: int) -> None:
        """Continue the stroke to a point, which may lie outside the canvas; without a stroke, do nothing."""
        if self._points and (x, y) != self._points[-1]:
            self._points = [*self._points[-2:], (x, y)]
            self._draw(_curve(self._points))

    def end(self) -> None:
        """End the stroke. A stroke that changed nothing cannot be undone."""
        if not self._points:
            return
        if len(self._points) > 1:
            self._draw([_midpoint(*self._points[-2:]), self._points[-1]])
        self._points = []
        if np.array_equal(self._history[-1][0], self.image):
            self._history.pop()

    def clear(self, note: Any = None) -> None:
        """Remove all ink; `undo` brings it back, and the note as `undone`."""
        self.end()
        if self.image.any():
            self._remember(note)
            self.image[:] = 0

    def undo(self) -> bool:
        """Undo the last stroke or clearing; return False if there is none."""
        self.end()
        self.undone = None
        if not self._history:
            return False
        self.image[:], self.undone = self._history.pop()
        return True

    def _remember(self, note=None):
        self._history = [*self._history[1 - _UNDO_STEPS :], (self.image.copy(), note)]

    def _draw(self, points):
        points = np.round(np.array(points, np.float64) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        cv2.polylines(self.image, [points], False, self._value, self._width, cv2.LINE_AA, _SUBPIXEL_BITS)


def _curve(points):
    """Return the points of the curve from the first midpoint of two or three points of a stroke to the last one."""
    if len(points) == 2:
        return [points[0], _midpoint(*points)]
    start, control, end = _midpoint(*points[:2]), np.array(points[1]), _midpoint(*points[1:])
    before, after = control - start, end - control
    if before @ after < _CORNER * np.linalg.norm(before) * np.linalg.norm(after):
        return [start, control, end]
    t = np.linspace(0, 1, 2 + int(np.linalg.norm(end - start) / 8))[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end  # a quadratic Bezier curve


def _midpoint(first, second):
    return (np.array(first) + np.array(second)) / 2
