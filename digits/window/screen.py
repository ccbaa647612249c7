"""The window itself, as OpenCV makes it: opening, events, size, full screen."""

import sys
import time
from collections import deque

import cv2
import numpy as np

from digits.cli import InputError
from digits.window.display import toolkit
from digits.window.x11 import Connection

CTRL_Z = 26  # the code of Ctrl+Z on a terminal, and in OpenCV's windows where they pass it on
_FLAGS = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL
_PAINTED = 0.4  # seconds after which a window is painted, also on a busy machine, or never will be
_TRIES = 5  # windows that are replaced one after the other; the screen may be black for another reason
_PATIENCE = 0.5  # seconds for the window manager to make the window as large as the screen


class Screen:
    """An OpenCV window that can be resized.

    The frames it shows have its own size, so that a pixel of a frame is a pixel of the screen.

    Args:
        title: of the window.
        size: width and height in pixels when it opens.
        events: receives mouse events: the event, x, y in pixels of the last frame, flags.
    """

    def __init__(self, title: str, size: tuple[int, int], events: deque):
        self._size = size
        self.is_full = False
        self._title, self._events = title, events
        self._size_before = size  # before it became as large as the screen
        self._full_since: float | None = None  # until the window manager has answered
        self._frame: np.ndarray | None = None
        self._check_at: float | None = None  # time to look whether the window is painted
        self._tries = _TRIES
        self._is_qt = "QT" in toolkit()
        self._connection: Connection | None = None

    def open(self, frame: np.ndarray) -> None:
        """Open the window with its first frame.

        Raises:
            InputError: OpenCV cannot open a window.
        """
        try:
            if self._is_qt:
                # On a busy machine Qt sometimes loses its first events, and a window that loses its first events is
                # never painted. A second window loses them less often.
                cv2.namedWindow(self._title, _FLAGS)
                cv2.waitKey(20)
                cv2.destroyWindow(self._title)
            if self._is_qt and sys.platform == "linux":
                self._connection = Connection()
            self._open(frame)
        except cv2.error as error:
            raise InputError(f"OpenCV cannot open a window: {error.err}") from None

    def close(self) -> None:
        cv2.destroyAllWindows()

    def wait(self, milliseconds: int) -> int:
        """Let OpenCV collect events for some milliseconds, in Qt at least; return the pressed key, or -1."""
        key = cv2.waitKeyEx(milliseconds)
        if key == -1 and self._connection and self._connection.count_presses():
            return CTRL_Z
        return key

    def is_open(self) -> bool:
        """Whether the user has not closed the window."""
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # raised by Qt once the window is closed
            return False

    def current_size(self) -> tuple[int, int]:
        """Return the width and height of the window: the user or the window manager may have resized it."""
        if self._full_since and time.monotonic() - self._full_since > _PATIENCE:
            self._fill_screen()
        width, height = cv2.getWindowImageRect(self._title)[2:]
        if min(width, height) >= 1:
            self._size = width, height
        return self._size

    def is_painted(self) -> bool:
        """Look once, soon after the window was opened, whether it shows anything.

        On a busy machine Qt sometimes loses the first events of a window, and then never paints it: `show` replaces it.
        """
        if self._check_at is None or time.monotonic() < self._check_at:
            return True
        self._check_at = None
        if not self._connection or self._tries == 0:
            return True
        self._connection.attach(self._title)  # the title may have been set late
        height, width = self._frame.shape[:2]
        places = [(5, 5), (width - 5, 5), (5, height - 5)]
        pixels = [self._connection.pixel(x, y) for x, y in places]
        is_blank = all(pixel is not None and max(pixel) == 0 for pixel in pixels)
        self._tries = self._tries - 1 if is_blank else _TRIES
        return not is_blank

    def show(self, frame: np.ndarray, reopen: bool = False) -> None:
        """Show a frame of the window's size.

        Args:
            frame: uint8 [height, width, 3] BGR.
            reopen: replace the window by a new one at the same place. Qt enlarges its picture when the wheel is turned
                up, and OpenCV cannot undo that.
        """
        self._frame = frame
        if reopen and self._is_qt:
            self._reopen(frame)
        cv2.imshow(self._title, frame)

    def toggle_full(self) -> None:
        """Switch between the whole screen and the size before."""
        self.is_full = not self.is_full
        mode = cv2.WINDOW_FULLSCREEN if self.is_full else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)
        if self.is_full:
            self._size_before, self._full_since = self._size, time.monotonic()
        else:
            self._full_since = None
            cv2.resizeWindow(self._title, *self._size_before)

    def _fill_screen(self):
        """Do what the window manager does when a window asks for the whole screen, if there is none."""
        self._full_since = None
        rectangle = cv2.getWindowImageRect(self._title)
        if rectangle[2:] == self._size_before and self._connection and (size := self._connection.screen_size()):
            cv2.moveWindow(self._title, 0, 0)
            cv2.resizeWindow(self._title, *size)

    def _open(self, frame):
        self._frame = frame
        cv2.namedWindow(self._title, _FLAGS)
        cv2.resizeWindow(self._title, *self._size)
        cv2.imshow(self._title, frame)
        cv2.setMouseCallback(self._title, lambda *event: self._events.append(event[:4]))
        cv2.waitKey(1)
        if self._connection:
            self._connection.attach(self._title)
        self._check_at = time.monotonic() + _PAINTED

    def _reopen(self, frame):
        x, y = cv2.getWindowImageRect(self._title)[:2]
        cv2.destroyWindow(self._title)
        self._open(frame)
        if self.is_full:
            cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
            return
        cv2.moveWindow(self._title, x, y)
        cv2.waitKey(1)
        new_x, new_y = cv2.getWindowImageRect(self._title)[:2]  # moveWindow places the frame, if there is one
        if (new_x, new_y) != (x, y):
            cv2.moveWindow(self._title, 2 * x - new_x, 2 * y - new_y)
