"""The drawing board: what mouse and keys do to the drawing and to what the window shows; it works without a window."""

import sys
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from digits.cli import InputError
from digits.window.buttons import button_at, progress
from digits.window.canvas import Canvas
from digits.window.drawings import list_saved, remove_saved, save_numbered
from digits.window.panel import CANVAS, HEIGHT, WIDTH, View, row_of_buttons

LABELED, UNLABELED = Path("inputs/mine"), Path("outputs/drawings")  # folders for drawings, below the root
PEN, MIN_PEN, MAX_PEN, PEN_STEP = 28, 12, 36, 4  # width in units; the eraser is twice as wide

_LEFT, _RIGHT = cv2.EVENT_FLAG_LBUTTON, cv2.EVENT_FLAG_RBUTTON
_PRESSES = {  # on Windows and GTK, the second of two quick presses arrives only as a double click
    cv2.EVENT_LBUTTONDOWN: _LEFT,
    cv2.EVENT_LBUTTONDBLCLK: _LEFT,
    cv2.EVENT_RBUTTONDOWN: _RIGHT,
    cv2.EVENT_RBUTTONDBLCLK: _RIGHT,
}
_RELEASES = {cv2.EVENT_LBUTTONUP: _LEFT, cv2.EVENT_RBUTTONUP: _RIGHT}
_WHEEL_NOTCH = 120  # rotation per notch of a wheel; touchpads send smaller steps


class Board:
    """A canvas with its tools and the files it is saved in.

    Args:
        root: the folder below which drawings are saved.

    Attributes:
        is_open: False once the user has left.
        size: width and height of the window in pixels.
        canvas: the current drawing.
        view: everything that the window shows.
        finished: finished drawings that have not been announced, uint8 [CANVAS, CANVAS], ink bright.
        wants_lesson: whether the user has asked to teach the network, or to stop teaching it.
        wants_full_screen: whether the user wants the window to fill the screen.
        is_outdated: whether the window does not show the latest `view`.
        is_unread: whether the canvas has changed since the last reading.
        is_magnified: whether the wheel was turned up, which enlarges the picture in some windows.
        last_stroke: time of the last change of the canvas.
    """

    def __init__(self, root: Path):
        self.is_open = False
        self.size = WIDTH, HEIGHT
        self.canvas = Canvas(CANVAS)
        self.view = View(self.canvas.image, PEN)
        self.finished: deque[np.ndarray] = deque()
        self.wants_lesson = self.wants_full_screen = False
        self.is_outdated = self.is_unread = self.is_magnified = False
        self.last_stroke = time.monotonic()
        self._root = root
        self._button = 0  # draws the current stroke
        self._wheel = 0  # rotation that is not enough to change the pen yet
        self._is_unfinished = False  # a stroke has begun since the last finished drawing
        self._last_finished: np.ndarray | None = None  # None once the canvas was cleared
        self._count_saved()

    def finish_drawing(self) -> None:
        """Append the drawing to `finished`, unless it is blank or has not changed since the last time."""
        self.canvas.end()
        image = self.canvas.image
        if self._is_unfinished and image.any() and not np.array_equal(image, self._last_finished):
            self._last_finished = image.copy()
            self.finished.append(self._last_finished)
        self._is_unfinished = False

    @property
    def ring(self) -> float:
        """Radius of a ring around the pen or the eraser; 0 during a stroke of the pen, which shows its own width."""
        erases = self.view.erasing or (self.canvas.is_drawing and self._button == _RIGHT)
        if self.canvas.is_drawing and not erases:
            return 0
        return (self.view.pen if erases else self.view.pen / 2) + 1.5

    def carry_out(self, letter: str) -> None:
        """Carry out the command of a key, see `cards.KEYS`, or of the button for it."""
        view = self.view
        self.is_outdated = True
        if letter in "q\x1b":
            self.is_open = False
        elif letter == "h":
            view.help, view.lesson = not view.help, None
        elif letter == "e":
            view.erasing = not view.erasing
        elif letter == "a":
            view.choosing = not view.choosing
        elif letter == "f":
            self.wants_full_screen = not self.wants_full_screen
        elif letter == "t":
            self.wants_lesson = True
        elif letter == "v":
            view.layers, view.activations = not view.layers, []
            self.is_unread = bool(self.canvas.image.any())
        elif letter in "+=":
            self._change_pen(PEN_STEP)
        elif letter in "-_":
            self._change_pen(-PEN_STEP)
        elif letter in "uz\x1a":  # Ctrl+Z arrives as z or as its control code
            self._undo()
        elif letter == "c":
            view.status = ""
            self._clear()
        elif letter == "s":
            self._save(UNLABELED)
        elif letter in "0123456789":
            view.choosing = False
            if path := self._save(LABELED / letter, f" as {letter}"):
                self._clear(path)
                self._count_saved()
                view.status += f"   \u00b7   {letter}: {progress(int(letter), view.counts)}"

    def handle_mouse(self, event: int, x: float, y: float, flags: int) -> None:
        """Handle one event, at x, y in units; while a button is held down, events come from outside the window too."""
        view = self.view
        self.move_pointer((x, y))
        hit = button_at(row_of_buttons(view, self.size), (x, y))
        if event in _PRESSES and hit and not self.canvas.is_drawing:
            view.pressed = hit.key if _PRESSES[event] == _LEFT else ""
            self.is_outdated = True
        elif event in _PRESSES and (view.help or view.lesson):
            view.help, view.lesson = False, None
            self.is_outdated = True
        elif event in _PRESSES and min(x, y) >= 0 and max(x, y) < CANVAS and not self.canvas.is_drawing:
            self._button = _PRESSES[event]
            erase = self._button == _RIGHT or view.erasing
            self.canvas.begin(round(x), round(y), 2 * view.pen if erase else view.pen, erase)
            view.status, view.choosing = "", False
            self._is_unfinished = True
            self._note_change()
        elif event == cv2.EVENT_MOUSEMOVE and self.canvas.is_drawing:
            if flags & self._button:
                self.canvas.extend(round(x), round(y))
            else:  # released where the window got no event
                self.canvas.end()
            self._note_change()
        elif _RELEASES.get(event) == self._button and self.canvas.is_drawing:
            self.canvas.extend(round(x), round(y))
            self.canvas.end()
            self._note_change()
        elif event == cv2.EVENT_LBUTTONUP and view.pressed:
            pressed, view.pressed = view.pressed, ""
            self.is_outdated = True
            if hit and hit.key == pressed:
                self.carry_out(pressed)
        elif event == cv2.EVENT_MOUSEWHEEL:
            self._wheel += flags >> 16
            notches = int(self._wheel / _WHEEL_NOTCH)
            self._wheel -= _WHEEL_NOTCH * notches
            self._change_pen(notches * PEN_STEP)
            self.is_magnified |= flags > 0

    def move_pointer(self, point: tuple[float, float] | None) -> None:
        """Note where the pointer is; the ring and the buttons follow it."""
        row = row_of_buttons(self.view, self.size)
        before, self.view.pointer = self.view.pointer, point
        for place in (before, point):
            self.is_outdated |= place is not None and max(place) < CANVAS
        self.is_outdated |= button_at(row, before) != button_at(row, point)

    def _change_pen(self, step):
        self.view.pen = min(max(self.view.pen + step, MIN_PEN), MAX_PEN)
        self.is_outdated = True

    def _note_change(self):
        self.last_stroke = time.monotonic()
        self.is_outdated = True
        self.is_unread = self.canvas.image.any()
        if not self.is_unread:
            self.view.readings, self.view.activations = [], []

    def _undo(self):
        self.view.status = "" if self.canvas.undo() else "nothing to undo"
        if self.canvas.undone:  # the file that the drawing was saved in, before it was cleared
            self.view.status = remove_saved(self.canvas.undone, self.canvas.image, self._root)
            self._count_saved()
        self._note_change()

    def _clear(self, saved=None):
        self.finish_drawing()
        self.canvas.clear(saved)
        self._last_finished = None
        self._note_change()

    def _save(self, folder, label=""):
        """Save the drawing and return its path, or None if that failed; the status line says which."""
        self.finish_drawing()
        if not self.canvas.image.any():
            self.view.status = "nothing to save: the canvas is blank"
            return None
        try:
            path = save_numbered(self._root / folder, self.canvas.image)
        except (InputError, OSError) as error:
            self.view.status = f"not saved: {error}"
            print(f"warning: {self.view.status}", file=sys.stderr)
            return None
        self.view.status = f"saved{label}: {path.relative_to(self._root).as_posix()}"
        return path

    def _count_saved(self):
        self.view.counts = [len(list_saved(self._root / LABELED, label)) for label in range(10)]
