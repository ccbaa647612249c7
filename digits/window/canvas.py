"""A canvas: strokes in, image out, undo. It knows of no window."""

import cv2
import numpy as np

_UNDO = 100  # steps
_CORNER = 0.5  # cosine of the turn, 60 degrees, from which on a stroke has a corner instead of a bend
_SUBPIXEL = 4  # bits of a coordinate behind the point


class Canvas:
    """Strokes in, image out.

    `image` is uint8 [side, side], 255 where there is ink. A stroke bends smoothly through the middles between the
    points it was given, so that a fast one, with few points, is as round as a slow one.
    """

    def __init__(self, side: int):
        self.image = np.zeros((side, side), np.uint8)
        self._before: list[np.ndarray] = []  # images to go back to
        self._points: list[tuple[int, int]] = []  # the last three of the stroke that is being drawn
        self._width, self._value = 1, 255

    @property
    def is_drawing(self) -> bool:
        """Whether a stroke has begun and not ended."""
        return bool(self._points)

    def begin(self, x: int, y: int, width: int, erase: bool = False) -> None:
        """Put the pen or the eraser, `width` pixels wide, onto the canvas: a dot."""
        self.end()
        self._remember()
        self._points, self._width, self._value = [(x, y)], width, 0 if erase else 255
        self._draw([(x, y), (x, y)])

    def extend(self, x: int, y: int) -> None:
        """Move it, also to outside; nothing if it is not on the canvas."""
        if self._points and (x, y) != self._points[-1]:
            self._points = [*self._points[-2:], (x, y)]
            self._draw(_bend(self._points))

    def end(self) -> None:
        """Lift it. A stroke that changed nothing is no step of undo."""
        if not self._points:
            return
        if len(self._points) > 1:
            self._draw([_middle(*self._points[-2:]), self._points[-1]])
        self._points = []
        if np.array_equal(self._before[-1], self.image):
            self._before.pop()

    def clear(self) -> None:
        """Remove all ink; `undo` brings it back."""
        self.end()
        if self.image.any():
            self._remember()
            self.image[:] = 0

    def undo(self) -> bool:
        """Take the last stroke or clearing back; False if there is none."""
        self.end()
        if not self._before:
            return False
        self.image[:] = self._before.pop()
        return True

    def _remember(self):
        self._before = [*self._before[1 - _UNDO :], self.image.copy()]

    def _draw(self, points):
        points = np.round(np.array(points, np.float64) * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.polylines(self.image, [points], False, self._value, self._width, cv2.LINE_AA, _SUBPIXEL)


def _bend(points):
    """Points of the curve that two more or three points of a stroke add, up to the middle of the last two."""
    if len(points) == 2:
        return [points[0], _middle(*points)]
    start, bend, end = _middle(*points[:2]), np.array(points[1]), _middle(*points[1:])
    before, after = bend - start, end - bend
    if before @ after < _CORNER * np.linalg.norm(before) * np.linalg.norm(after):
        return [start, bend, end]
    t = np.linspace(0, 1, 2 + int(np.linalg.norm(end - start) / 8))[:, None]
    return (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end  # a quadratic Bezier curve


def _middle(one, other):
    return (np.array(one) + np.array(other)) / 2
