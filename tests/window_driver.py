"""Drives draw.py's window on a virtual screen, with mouse and keyboard events."""

import re
import subprocess
import sys
import time

import numpy as np
from conftest import count_components

from benchmarks import desktop as desk
from digits.window.panel import CANVAS, View, row_of_buttons, scale_of
from digits.window.window import TITLE

WHOLE, LEFT, RIGHT = (74, 74, 300, 300), (20, 110, 190, 230), (235, 110, 190, 230)
ASIDE = 640, 470  # the pointer rests in the footer: it would be in a picture of the canvas
STATUS = 0, CANVAS + 1, CANVAS + 180, 46  # the line below the canvas


class Running:
    """A running draw.py on a screen."""

    def __init__(self, screen, project, *arguments, stdout=None):
        self.screen, self.project = screen, project
        self.out, self.err = project / "stdout", project / "stderr"
        with self.out.open("w") as out, self.err.open("w") as err:
            command = [sys.executable, project / "draw.py", *map(str, arguments)]
            self.process, _ = screen.start(command, stdout=stdout or out, stderr=err, cwd=project.parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # does nothing once it has ended
        self.process.wait()

    def until(self, condition, seconds=90):
        """Wait for a condition, and fail if it does not come true."""
        assert self.comes_true(condition, seconds), f"timed out; stderr: {self.err.read_text()}, stdout: {self.lines}"

    def comes_true(self, condition, seconds):
        """Wait for a condition; return whether it came true in time."""
        end = time.monotonic() + seconds
        while not (is_true := condition()) and time.monotonic() < end:
            time.sleep(0.02)
        return is_true

    def until_it_draws(self):
        """Draw dots until one arrives, and undo them: a window that has just opened may lose events."""
        for _ in range(10):
            self.dot()
            if self.comes_true(self.ink, seconds=2):
                break
        while self.ink():
            self.key("u")
        return self

    @property
    def lines(self):
        return self.out.read_text().splitlines()

    @property
    def painted(self):
        """The announced drawings, such as `["7"]`."""
        return [re.fullmatch(r"\[INFO\] User painted '([\d ]+)' \(>?\d+\.\d% sure.*\)", line)[1] for line in self.lines]

    def canvas(self):
        """Return where there is ink on the screen, bool [CANVAS, CANVAS]."""
        return self.screen.picture()[:CANVAS, :CANVAS].max(2) < 100

    def ink(self):
        return int(self.canvas().sum())

    def pieces(self):
        return count_components(self.canvas() * np.uint8(255))

    def settled(self, look=None):
        """Return the canvas, or what `look` returns, once it no longer changes: all so far is on the screen."""
        look, before = look or self.canvas, None
        while not np.array_equal(before, now := look()):
            before = now
            time.sleep(0.4)
        return now

    def draw(self, label, box=WHOLE):
        """Draw a digit and return the canvas with all of it: while Paddle is imported, strokes arrive late."""
        self.screen.draw(desk.STROKES[label], box)
        self.screen.do("mousemove", *ASIDE)
        ends = np.array([point for stroke in desk.STROKES[label] for point in (stroke[0], stroke[-1])])
        columns, rows = (ends * box[2:] + box[:2]).round().astype(int).T
        self.until(lambda: self.canvas()[rows, columns].all())
        return self.settled()

    def place(self, key, view=None):
        """Return the place of a button on the screen, x and y in pixels: its center."""
        size = self.size()
        button = next(it for it in row_of_buttons(view or View(None, 0), size) if it.key == key)
        scale = scale_of(size)
        return round((button.x + button.width / 2) * scale), round((button.y + button.height / 2) * scale)

    def click(self, key, view=None):
        """Press a button with the mouse, as a finger would: down, a moment, up."""
        press = ("mousedown", 1, "sleep", 0.05, "mouseup", 1, "sleep", 0.05)
        self.screen.do("mousemove", *self.place(key, view), "sleep", 0.05, *press, "mousemove", *ASIDE)

    def size(self):
        """Return the window's width and height as the X server knows them."""
        words = ["xdotool", "search", "--name", f"^{TITLE}$", "getwindowgeometry", "--shell"]
        done = subprocess.run(words, env=self.screen.environment, capture_output=True, text=True, check=True)
        values = dict(line.split("=") for line in done.stdout.splitlines())
        return int(values["WIDTH"]), int(values["HEIGHT"])

    def resize(self, width, height):
        words = ("search", "--name", f"^{TITLE}$", "windowsize", width, height)
        self.screen.do(*words)

    def part(self, x, y, width, height):
        """Return a part of the screen."""
        return self.screen.picture()[y : y + height, x : x + width].copy()

    def until_changed(self, box, before):
        self.until(lambda: not np.array_equal(self.part(*box), before))

    @property
    def taught(self):
        """The lines about finished lessons."""
        return [line for line in self.lines if "drawings wrong before" in line]

    def two_dots(self):
        self.dot(100, 100)
        self.dot(300, 100)
        self.until(lambda: self.pieces() == 2)

    def dot(self, x=100, y=100, button=1):
        self.screen.do("mousemove", x, y, "click", button, "mousemove", *ASIDE)

    def key(self, key):
        """Press a key. Qt keeps one key, the last: wait for the effect of a key before pressing the next one."""
        self.screen.do("mousemove", *ASIDE, "key", key, "sleep", 0.05)

    def clear(self):
        """Clear the canvas; press the key again if a window that was just replaced has lost it."""
        for _ in range(10):
            self.key("c")
            if self.comes_true(lambda: self.ink() == 0, seconds=9):
                break
        assert self.ink() == 0

    def key_with_status(self, key):
        """Press a key that changes the line below the canvas, and wait until it does."""
        before = self.part(*STATUS)
        self.key(key)
        self.until_changed(STATUS, before)

    def ended(self, status=0):
        """Wait for the exit status and return stderr."""
        assert self.process.wait(90) == status, self.err.read_text()
        return self.err.read_text()
