"""The OpenCV window: mouse and keys in, canvas and panel out."""

import math
import signal
import sys
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from digits.cli import InputError
from digits.signals import Terminated
from digits.window.canvas import Canvas
from digits.window.display import toolkit
from digits.window.drawings import remove_saved, save_numbered
from digits.window.panel import CANVAS, View, compose

TITLE = "Draw a digit"
LABELED, UNLABELED = Path("inputs/mine"), Path("outputs/drawings")  # folders for drawings, below the root
PEN, MIN_PEN, MAX_PEN, PEN_STEP = 28, 12, 36, 4  # width in pixels; the eraser is twice as wide
_SETTLED = 0.3  # seconds without a change after which the window is painted once more
READING_INTERVAL = 0.2  # least seconds between two readings during a stroke; each holds up the mouse for about 20 ms

_LEFT, _RIGHT = cv2.EVENT_FLAG_LBUTTON, cv2.EVENT_FLAG_RBUTTON
_PRESSES = {  # on Windows and GTK, the second of two quick presses arrives only as a double click
    cv2.EVENT_LBUTTONDOWN: _LEFT,
    cv2.EVENT_LBUTTONDBLCLK: _LEFT,
    cv2.EVENT_RBUTTONDOWN: _RIGHT,
    cv2.EVENT_RBUTTONDBLCLK: _RIGHT,
}
_RELEASES = {cv2.EVENT_LBUTTONUP: _LEFT, cv2.EVENT_RBUTTONUP: _RIGHT}
_WHEEL_NOTCH = 120  # rotation per notch of a wheel; touchpads send smaller steps


class Window:
    """A window with a canvas to draw on and a panel that shows how the network reads it.

    Used in a `with` block, which opens and closes it. Inside the block Ctrl-C and SIGTERM raise an exception only from
    `wait_for_key`, since an exception in one of OpenCV's mouse callbacks would be lost.

    Args:
        root: the folder below which drawings are saved.

    Attributes:
        is_open: False once the user has left, or has closed the window.
        canvas: the current drawing.
        view: everything that the window shows.
        finished: finished drawings that have not been announced, uint8 [CANVAS, CANVAS], ink bright.

    Raises:
        InputError: OpenCV cannot open a window (on entering the block).
    """

    def __init__(self, root: Path):
        self.is_open = False
        self.canvas = Canvas(CANVAS)
        self.view = View(self.canvas.image, PEN)
        self.finished: deque[np.ndarray] = deque()
        self._root = root
        self._mouse_events: deque[tuple[int, int, int, int]] = deque()  # event, x, y, flags
        self._last_input = self._last_stroke = self._last_reading = self._last_wait = time.monotonic()
        self._button = 0  # draws the current stroke
        self._wheel = 0  # rotation that is not enough to change the pen yet
        self._is_qt = "QT" in toolkit()
        self._is_magnified = False  # Qt has zoomed in, because the wheel was turned up
        self._is_outdated = False  # the window does not show the latest `view`
        self._repaint_at = math.inf  # time at which the window is painted once more
        self._is_unread = False  # the canvas has changed since the last reading
        self._is_unfinished = False  # a stroke has begun since the last finished drawing
        self._last_finished: np.ndarray | None = None  # None once the canvas was cleared
        self._interrupt: type[KeyboardInterrupt] | None = None  # to raise

    def __enter__(self):
        try:
            if self._is_qt:
                # On a busy machine Qt sometimes loses its first events, and a window that loses its first events is
                # never painted. A second window loses them less often.
                cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
                cv2.waitKey(20)
                cv2.destroyWindow(TITLE)
            self._open()
        except cv2.error as error:
            raise InputError(f"OpenCV cannot open a window: {error.err}") from None
        self.is_open = True
        self._previous_handlers = {
            number: signal.signal(number, self._handle_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        cv2.destroyAllWindows()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def pause(self) -> float:
        """Seconds since the canvas last changed; 0 during a stroke.

        They end when OpenCV last began to collect events: if the window stalls, later strokes may be waiting there.
        """
        return 0.0 if self.canvas.is_drawing else max(0.0, self._last_wait - self._last_stroke)

    def wait_for_key(self) -> int:
        """Wait a few milliseconds for events; return the pressed key, or -1.

        Raises:
            KeyboardInterrupt: Ctrl-C; `Terminated`: SIGTERM.
        """
        is_busy = time.monotonic() - self._last_input < 1 or self.canvas.is_drawing
        if not is_busy:  # waitKeyEx polls every millisecond; sleeping is cheaper while nothing happens
            time.sleep(0.02)
        self._last_wait = time.monotonic()
        key = cv2.waitKeyEx(5 if is_busy else 1)
        if self._interrupt:
            raise self._interrupt
        self.is_open = _is_visible()  # unless the close button was pressed
        return key

    def handle_mouse_events(self) -> None:
        """Handle all mouse events since the last call: they draw, erase, or change the pen."""
        while self._mouse_events:
            self._last_input = time.monotonic()
            self._handle_mouse(*self._mouse_events.popleft())

    def handle_key(self, key: int) -> None:
        """Carry out the command of a key, see `panel.KEYS`; -1 means that none was pressed."""
        if key == -1:
            return
        self._last_input = time.monotonic()
        if key & 0xFF00:  # a special key such as an arrow; its low byte equals that of a letter
            return
        letter = chr(key & 0xFF).lower()
        self._is_outdated = True
        if letter in "q\x1b":
            self.is_open = False
        elif letter == "h":
            self.view.help = not self.view.help
        elif letter == "e":
            self.view.erasing = not self.view.erasing
        elif letter in "+=":
            self._change_pen(PEN_STEP)
        elif letter in "-_":
            self._change_pen(-PEN_STEP)
        elif letter == "u":
            self.view.status = "" if self.canvas.undo() else "nothing to undo"
            if self.canvas.undone:  # the file that the drawing was saved in, before it was cleared
                self.view.status = remove_saved(self.canvas.undone, self.canvas.image, self._root)
            self._note_change()
        elif letter == "c":
            self.view.status = ""
            self._clear()
        elif letter == "s":
            self._save(UNLABELED)
        elif letter in "0123456789" and (path := self._save(LABELED / letter, f" as {letter}")):
            self._clear(path)

    def finish_drawing(self) -> None:
        """Append the drawing to `finished`, unless it is blank or has not changed since the last time."""
        self.canvas.end()
        image = self.canvas.image
        if self._is_unfinished and image.any() and not np.array_equal(image, self._last_finished):
            self._last_finished = image.copy()
            self.finished.append(self._last_finished)
        self._is_unfinished = False

    def read_drawing(self, classifier) -> None:
        """Read the drawing if it has changed; during a stroke, at most once per READING_INTERVAL."""
        if self.view.classes is None:
            self.view.classes = classifier.classes
            self._is_outdated = True
        is_due = not self.canvas.is_drawing or time.monotonic() - self._last_reading > READING_INTERVAL
        if self._is_unread and is_due:
            self.view.readings = classifier.read_figures(self.canvas.image)
            self._last_reading = time.monotonic()
            self._is_unread = False
            self._is_outdated = True

    def show(self) -> None:
        """Repaint the window if anything has changed, and once more soon after the last change.

        On a busy machine the screen once kept an old picture. If Qt lost its repaint, a second one mends that.
        """
        if not self.is_open:
            return
        if self._is_magnified:
            self._reopen()
        if self._is_outdated or time.monotonic() > self._repaint_at:
            self._repaint_at = time.monotonic() + _SETTLED if self._is_outdated else math.inf
            cv2.imshow(TITLE, compose(self.view))
            self._is_outdated = False

    def _open(self):
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        cv2.imshow(TITLE, compose(self.view))
        cv2.setMouseCallback(TITLE, lambda *event: self._mouse_events.append(event[:4]))
        cv2.waitKey(1)

    def _reopen(self):
        """Undo Qt's zoom, which OpenCV cannot reset: replace the window by a new one at the same position."""
        self._is_magnified = False
        x, y = cv2.getWindowImageRect(TITLE)[:2]
        cv2.destroyWindow(TITLE)
        self._open()
        cv2.moveWindow(TITLE, x, y)
        cv2.waitKey(1)
        new_x, new_y = cv2.getWindowImageRect(TITLE)[:2]  # moveWindow places the frame, if there is one
        if (new_x, new_y) != (x, y):
            cv2.moveWindow(TITLE, 2 * x - new_x, 2 * y - new_y)

    def _handle_signal(self, number, _):
        self._interrupt = Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def _handle_mouse(self, event, x, y, flags):
        """Handle one event; while a button is held down, events come from outside the window too."""
        if event in _PRESSES and self.view.help:
            self.view.help = False
            self._is_outdated = True
        elif event in _PRESSES and x < CANVAS and y < CANVAS and not self.canvas.is_drawing:
            self._button = _PRESSES[event]
            erase = self._button == _RIGHT or self.view.erasing
            self.canvas.begin(x, y, 2 * self.view.pen if erase else self.view.pen, erase)
            self.view.status = ""
            self._is_unfinished = True
            self._note_change()
        elif event == cv2.EVENT_MOUSEMOVE and self.canvas.is_drawing:
            if flags & self._button:
                self.canvas.extend(x, y)
            else:  # released where the window got no event
                self.canvas.end()
            self._note_change()
        elif _RELEASES.get(event) == self._button and self.canvas.is_drawing:
            self.canvas.extend(x, y)
            self.canvas.end()
            self._note_change()
        elif event == cv2.EVENT_MOUSEWHEEL:
            self._wheel += flags >> 16
            notches = int(self._wheel / _WHEEL_NOTCH)
            self._wheel -= _WHEEL_NOTCH * notches
            self._change_pen(notches * PEN_STEP)
            self._is_magnified |= self._is_qt and flags > 0

    def _change_pen(self, step):
        self.view.pen = min(max(self.view.pen + step, MIN_PEN), MAX_PEN)
        self._is_outdated = True

    def _note_change(self):
        self._last_stroke = time.monotonic()
        self._is_outdated = True
        self._is_unread = self.canvas.image.any()
        if not self._is_unread:
            self.view.readings = []

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


def _is_visible():
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # raised by Qt once the window is closed
        return False
