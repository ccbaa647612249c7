"""A virtual display to test a window on: Xvfb shows it, xdotool drives its mouse and keyboard."""

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

SIZE = 1000, 700
PROGRAMS = {name: shutil.which(name) for name in ("Xvfb", "xdotool")}  # None: not installed; both are apt packages


def _arc(x, y, width, height, start, end):
    """Return points of an ellipse around x, y; angles in degrees, clockwise from the top."""
    angles = np.radians(np.linspace(start, end, 25))
    return [*zip(x + width / 2 * np.sin(angles), y - height / 2 * np.cos(angles), strict=True)]


# Strokes of digits in a unit square
STROKES = {
    "0": [_arc(0.5, 0.5, 0.56, 0.84, 0, 360)],
    "1": [[(0.5, 0.1), (0.5, 0.9)]],
    "2": [[*_arc(0.5, 0.32, 0.5, 0.46, -80, 110), (0.24, 0.9), (0.8, 0.9)]],
    "3": [[*_arc(0.47, 0.28, 0.46, 0.38, -70, 180), *_arc(0.47, 0.69, 0.54, 0.44, 0, 245)]],
    "4": [[(0.62, 0.08), (0.2, 0.62), (0.85, 0.62)], [(0.65, 0.35), (0.65, 0.92)]],
    "5": [[(0.75, 0.1), (0.3, 0.1)], [(0.3, 0.1), (0.27, 0.45), *_arc(0.48, 0.65, 0.56, 0.5, -25, 240)]],
    "7": [[(0.2, 0.1), (0.8, 0.1), (0.45, 0.92)]],
}


class Desktop:
    """An X server without a window manager: windows open at the top left, keys go to the window under the pointer."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory()
        reading, writing = os.pipe()
        size = f"{SIZE[0]}x{SIZE[1]}x24"
        self._server = subprocess.Popen(
            [
                "Xvfb",
                "-displayfd",
                str(writing),
                "-screen",
                "0",
                size,
                "-fbdir",
                self._folder.name,
                "-nolisten",
                "tcp",
                "-noreset",
            ],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        with open(reading) as number:
            self.display = f":{number.readline().strip()}"
        self.environment = {**os.environ, "DISPLAY": self.display}
        self.lost = 0  # windows that were never painted

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()
        self._folder.cleanup()

    def start(self, command: list, **options) -> tuple[subprocess.Popen, float]:
        """Start a program and wait until its window is painted or it ends; returns the process and the seconds.

        Qt sometimes loses the event that paints its window, see window.py. Then the program is restarted, and `lost`
        counts that.
        """
        for _ in range(5):
            started = time.perf_counter()
            process = subprocess.Popen(command, env=self.environment, **options)
            while (seconds := time.perf_counter() - started) < 20:
                if process.poll() is not None or self._is_painted():
                    return process, seconds
                time.sleep(0.005)
            process.kill()
            process.wait()
            self.lost += 1
        raise RuntimeError(f"no window of {command} was painted")

    def _is_painted(self):
        """Whether draw.py's canvas and panel are on the screen."""
        picture = self.picture()
        return picture[5, 5].min() == 255 and 240 < picture[5, 800].min() < 255

    def do(self, *words) -> None:
        """Run xdotool: `do("mousemove", 10, 20, "click", 1)`."""
        subprocess.run(["xdotool", *map(str, words)], env=self.environment, check=True)

    def draw(self, strokes: Iterable, box: tuple[float, float, float, float], button: int = 1) -> None:
        """Draw strokes in a unit square, as in `STROKES`, into `box`: x, y, width, height in pixels."""
        words = []
        for stroke in strokes:
            points = _dense(np.array(stroke) * box[2:] + box[:2])
            (x, y), *rest = points.round().astype(int).tolist()
            words += ["mousemove", x, y, "mousedown", button]
            for x, y in rest:
                words += ["sleep", 0.004, "mousemove", x, y]
            words += ["sleep", 0.01, "mouseup", button, "sleep", 0.01]
        self.do(*words)

    def picture(self) -> np.ndarray:
        """What is on the screen, uint8 [H, W, 3] BGR."""
        data = Path(self._folder.name, "Xvfb_screen0").read_bytes()
        head = np.frombuffer(data[:100], ">u4")  # an X window dump: XWDFile.h
        header, width, height, row, colors = (int(head[place]) for place in (0, 4, 5, 12, 19))
        pixels = np.frombuffer(data, np.uint8, row * height, header + 12 * colors)
        return pixels.reshape(height, row // 4, 4)[:, :width, :3]

    def press_close_button(self, title: str) -> None:
        """Send the window what a window manager sends when its close button is pressed."""
        search = ["xdotool", "search", "--name", f"^{title}$"]
        found = subprocess.run(search, env=self.environment, capture_output=True, text=True, check=True)
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        display = ctypes.c_void_p(x11.XOpenDisplay(self.display.encode()))
        protocols, delete = (x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
        window = int(found.stdout.split()[0])
        event = _ClientMessage(33, 0, 1, display, window, protocols, 32, (ctypes.c_long * 5)(delete))
        x11.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
        x11.XCloseDisplay(display)


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib.h, as long as its XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 12),
    )


@contextlib.contextmanager
def desktop():
    """A `Desktop` for the length of a block."""
    opened = Desktop()
    try:
        yield opened
    finally:
        opened.close()


def _dense(points, step=9.0):
    """Points [n, 2] with others between them, at most `step` pixels apart."""
    parts = [points[:1]]
    for start, end in itertools.pairwise(points):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / step)))
        parts.append(start + (end - start) * np.arange(1, count + 1)[:, None] / count)
    return np.concatenate(parts)
