"""The drawing window: the board on the screen, the network's answers, and what the user does."""

import math
import signal
import time
from collections import deque
from pathlib import Path

from digits.signals import Terminated
from digits.window.board import Board
from digits.window.panel import Painter, least_certain, scale_of
from digits.window.screen import Screen

TITLE = "Draw a digit"
READING_INTERVAL = 0.2  # least seconds between two readings during a stroke; each holds up the mouse for about 20 ms

_SETTLED = 0.3  # seconds without a change after which the window is painted once more
_POINTER_SECONDS = 3  # time after which the ring at a resting pointer disappears


class Window(Board):
    """A window with a canvas to draw on, a panel that shows how the network reads it, and buttons.

    Used in a `with` block, which opens and closes it. Inside the block Ctrl-C and SIGTERM raise an exception only from
    `wait_for_key`, since an exception in one of OpenCV's mouse callbacks would be lost.

    Args:
        root: the folder below which drawings are saved.

    Raises:
        InputError: OpenCV cannot open a window (on entering the block).
    """

    def __init__(self, root: Path):
        super().__init__(root)
        self._mouse_events: deque[tuple[int, int, int, int]] = deque()  # event, x, y, flags
        self._screen = Screen(TITLE, self.size, self._mouse_events)
        self._last_input = self._last_reading = self._last_wait = time.monotonic()
        self._repaint_at = math.inf  # time at which the window is painted once more
        self._painter = Painter()
        self._progress = ""  # of a lesson, in words
        self._interrupt: type[KeyboardInterrupt] | None = None  # to raise

    def __enter__(self):
        self._screen.open(self._painter.paint(self.view))
        self.is_open = True
        self._repaint_at = time.monotonic() + _SETTLED
        self._previous_handlers = {
            number: signal.signal(number, self._handle_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        self._screen.close()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def pause(self) -> float:
        """Seconds since the canvas last changed; 0 during a stroke.

        They end when OpenCV last began to collect events: if the window stalls, later strokes may be waiting there.
        """
        return 0.0 if self.canvas.is_drawing else max(0.0, self._last_wait - self.last_stroke)

    def wait_for_key(self) -> int:
        """Wait a few milliseconds for events; return the pressed key, or -1.

        Raises:
            KeyboardInterrupt: Ctrl-C; `Terminated`: SIGTERM.
        """
        is_busy = time.monotonic() - self._last_input < 1 or self.canvas.is_drawing
        if not is_busy:  # waiting in OpenCV polls every millisecond; sleeping is cheaper while nothing happens
            time.sleep(0.02)
        self._last_wait = time.monotonic()
        key = self._screen.wait(5 if is_busy else 1)
        if self._interrupt:
            raise self._interrupt
        self.is_open = self._screen.is_open()  # unless the close button was pressed
        return key

    def handle_mouse_events(self) -> None:
        """Handle all mouse events since the last call: they draw, erase, press buttons, or change the pen."""
        while self._mouse_events:
            self._last_input = time.monotonic()
            event, x, y, flags = self._mouse_events.popleft()
            scale = scale_of(self.size)
            self.handle_mouse(event, x / scale, y / scale, flags)

    def handle_key(self, key: int) -> None:
        """Carry out the command of a key, see `cards.KEYS`; -1 means that none was pressed."""
        if key == -1:
            return
        self._last_input = time.monotonic()
        if key & 0xFF00:  # a special key such as an arrow; its low byte equals that of a letter
            return
        self.carry_out(chr(key & 0xFF).lower())

    def read_drawing(self, classifier) -> None:
        """Read the drawing if it has changed; during a stroke, at most once per READING_INTERVAL."""
        view = self.view
        if view.classes is None:
            view.classes = classifier.classes
            self.is_outdated = True
        is_due = not self.canvas.is_drawing or time.monotonic() - self._last_reading > READING_INTERVAL
        if self.is_unread and is_due:
            view.readings = classifier.read_figures(self.canvas.image)
            view.activations = []
            if view.layers and view.readings:
                view.activations = classifier.activations(view.readings[least_certain(view.readings)].image)
            self._last_reading = time.monotonic()
            self.is_unread = False
            self.is_outdated = True

    def report(self, status: str, lesson=None) -> None:
        """Show a line, and the result of a lesson: the drawing is then read again, by the taught network."""
        self.view.status, self.view.teaching = status, None
        if lesson:
            self.view.lesson, self.view.help = lesson, False
            self.is_unread = bool(self.canvas.image.any())
        self.is_outdated = True

    def show_progress(self, teaching) -> None:
        """Show how far a lesson is, if the line that says so has changed."""
        line = teaching.describe()
        self.is_outdated |= line != self._progress
        self.view.teaching, self._progress = teaching, line

    def show(self) -> None:
        """Repaint the window if anything has changed, and once more soon after the last change.

        On a busy machine the screen once kept an old picture. If Qt lost its repaint, a second one mends that.
        """
        if not self.is_open:
            return
        now = time.monotonic()
        if self.view.pointer and now - self._last_input > _POINTER_SECONDS:
            self.move_pointer(None)
        if self.wants_full_screen != self._screen.is_full:
            self._screen.toggle_full()
        size = self._screen.current_size()
        if size != self.size:
            self.view.pointer = None  # the mouse has to move first: its place is known in the old size only
        reopen = self.is_magnified or not self._screen.is_painted()
        self.is_outdated |= size != self.size or reopen
        if self.is_outdated or now > self._repaint_at:
            self._repaint_at = now + _SETTLED if self.is_outdated else math.inf
            self.view.ring = self.ring
            self._screen.show(self._painter.paint(self.view, size), reopen)
            self.size, self.is_magnified = size, False
            self.is_outdated = False

    def _handle_signal(self, number, _):
        self._interrupt = Terminated if number == signal.SIGTERM else KeyboardInterrupt
