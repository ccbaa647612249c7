"""Draw a digit with the mouse; the network's answer stands beside it while you draw.

python draw.py                                         the window; h shows the keys
python draw.py --checkpoint checkpoints/shipped/lenet  with other weights
"""

import contextlib
import itertools
import os
import signal
import sys
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from digits.cli import ArgumentParser, InputError, run
from digits.evaluation.reading import NOT_A_DIGIT, Reading
from digits.files import output_folder, replacing
from digits.runtime import DEVICES
from digits.window.canvas import Canvas
from digits.window.display import check_windows, gui
from digits.window.panel import CANVAS, View, compose, least_sure, number, percent
from digits.window.recognizer import Recognizer

ROOT = Path(__file__).resolve().parent
LABELED, UNLABELED = Path("inputs/mine"), Path("outputs/drawings")  # where drawings are saved, below ROOT
TITLE = "Draw a digit"
PEN, PENS, PEN_STEP = 28, (12, 36), 4  # pixels: at first, least and most; the eraser is twice as wide
PAUSE = 1.5  # seconds without the pen after which a drawing is finished

_LEFT, _RIGHT = cv2.EVENT_FLAG_LBUTTON, cv2.EVENT_FLAG_RBUTTON
_PRESSES = {  # of two quick presses, HighGUI on Windows and GTK reports the second as a double click only
    cv2.EVENT_LBUTTONDOWN: _LEFT,
    cv2.EVENT_LBUTTONDBLCLK: _LEFT,
    cv2.EVENT_RBUTTONDOWN: _RIGHT,
    cv2.EVENT_RBUTTONDBLCLK: _RIGHT,
}
_RELEASES = {cv2.EVENT_LBUTTONUP: _LEFT, cv2.EVENT_RBUTTONUP: _RIGHT}


def painted(digits: list[Reading]) -> str:
    """What was painted, in words: `'7' (99.8% sure)`, `'42' (61.2% sure: low confidence)`, `no digit (...)`.

    Of several digits, the least sure one counts.
    """
    place = least_sure(digits)
    digit = digits[place]
    if digit.is_answer:
        doubt = f": {digit.reason}" if digit.reason else ""
        return f"'{number(digits)}' ({percent(digit.confidence)} sure{doubt})"
    nearest = f"the nearest is {digit.label}, {percent(digit.confidence)}"
    if len(digits) == 1:
        return f"{'no digit' if digit.reason == NOT_A_DIGIT else digit.reason} ({nearest})"
    return f"no number (figure {place + 1} of {len(digits)} is {digit.reason}; {nearest})"


def save_numbered(folder: Path, image: np.ndarray) -> Path:
    """Write an image as `folder`/0001.png, or under the number after the last that is there.

    Raises:
        InputError: the folder cannot be made or written.
        OSError: the disk is full, for example.
    """
    output_folder(folder)
    last = max((int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()), default=0)
    for following in itertools.count(last + 1):
        path = folder / f"{following:04d}.png"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)  # the name is ours from here on, whoever else saves there
            break
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", image)[1])
    except OSError:
        path.unlink()
        raise
    return path


class Window:
    """The mouse and the keys around a canvas, and what is said about it."""

    def __init__(self, checkpoint: Path | None, device: str):
        self.canvas = Canvas(CANVAS)
        self.view = View(self.canvas.image, PEN)
        self._events: deque = deque()  # of the mouse, not yet heeded
        self._touched = self._inked = time.monotonic()  # when the mouse or a key, and when the pen, last did something
        self._button = 0  # that draws the stroke
        self._is_unsent = False  # the recognizer has not got what is on the canvas
        self._is_shown = True  # what has changed is on the screen
        self._is_finished = True  # nothing has been painted since the drawing was last finished
        self._to_announce: deque = deque()  # images
        self._announced = None  # the last of them, while it can be what is on the canvas
        self._is_announcing = False  # it is one of them that the recognizer has got
        self._is_left = self._is_interrupted = False
        self._is_qt = "QT" in gui()
        self._wheel = 0  # turned, and not yet heeded: 120 a notch
        self._is_zoomed = False  # the wheel has magnified the window
        try:
            if self._is_qt:
                # On a busy machine Qt now and then loses its first events, and a window whose first events are lost is
                # never painted. It happens less often to a second window.
                cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
                cv2.waitKey(20)
                cv2.destroyWindow(TITLE)
            self._open()  # the model loads behind it
        except cv2.error as error:
            raise InputError(f"OpenCV cannot open a window: {error.err}") from None
        self.recognizer = Recognizer(checkpoint, device)

    def _open(self):
        cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
        cv2.imshow(TITLE, compose(self.view))
        cv2.setMouseCallback(TITLE, lambda *event: self._events.append(event))
        cv2.waitKey(1)

    def _open_anew(self):
        """Undo the zoom: a wheel turned up magnifies what Qt's window shows, and OpenCV has no call against it."""
        self._is_zoomed = False
        x, y = cv2.getWindowImageRect(TITLE)[:2]
        cv2.destroyWindow(TITLE)
        self._open()
        cv2.moveWindow(TITLE, x, y)
        cv2.waitKey(1)
        now_x, now_y = cv2.getWindowImageRect(TITLE)[:2]  # with a frame it is the frame that was moved there
        if (now_x, now_y) != (x, y):
            cv2.moveWindow(TITLE, 2 * x - now_x, 2 * y - now_y)

    def run(self) -> None:
        """Until it is left; then what has been finished is still announced.

        Raises:
            InputError, RunError: as of `Recognizer.poll`.
            KeyboardInterrupt: Ctrl-C.
        """
        heeded = signal.signal(signal.SIGINT, self._interrupt)  # an exception would be lost in OpenCV's callbacks
        try:
            while not self._is_left:
                key = self._wait()
                self._is_left = not _is_open()  # its close button was pressed
                while self._events:
                    self._heed(*self._events.popleft()[:4])
                if key != -1:
                    self._press(key)
                if not self.canvas.is_drawing and time.monotonic() - self._inked > PAUSE:
                    self._finish()
                self._converse()
                if self._is_zoomed and not self._is_left:
                    self._open_anew()
                if not self._is_shown and not self._is_left:
                    cv2.imshow(TITLE, compose(self.view))
                    self._is_shown = True
            self._finish()
            cv2.destroyAllWindows()
            while self._to_announce or self._is_announcing:
                self._converse(0.1)
        finally:
            cv2.destroyAllWindows()
            self.recognizer.close()
            signal.signal(signal.SIGINT, heeded)

    def _interrupt(self, *_):
        self._is_interrupted = True

    def _wait(self):
        """The key that was pressed, or -1. OpenCV looks for events each millisecond: not while nothing happens."""
        if time.monotonic() - self._touched < 1 or self._is_unsent or self.canvas.is_drawing:
            return cv2.waitKeyEx(5)
        time.sleep(0.02)
        return cv2.waitKeyEx(1)

    def _heed(self, event, x, y, flags):
        """One event of the mouse. While a button is held they also come from outside the window."""
        self._touched = time.monotonic()
        if event in _PRESSES and self.view.help:
            self.view.help = False
            self._is_shown = False
        elif event in _PRESSES and x < CANVAS and y < CANVAS and not self.canvas.is_drawing:
            self._button = _PRESSES[event]
            erase = self._button == _RIGHT or self.view.erasing
            self.canvas.begin(x, y, 2 * self.view.pen if erase else self.view.pen, erase)
            self.view.status = ""
            self._is_finished = False
            self._note_change()
        elif event == cv2.EVENT_MOUSEMOVE and self.canvas.is_drawing:
            if flags & self._button:
                self.canvas.extend(x, y)
            else:  # it was lifted where we were not told
                self.canvas.end()
            self._note_change()
        elif _RELEASES.get(event) == self._button and self.canvas.is_drawing:
            self.canvas.extend(x, y)
            self.canvas.end()
            self._note_change()
        elif event == cv2.EVENT_MOUSEWHEEL:
            self._wheel += flags >> 16
            notches = int(self._wheel / 120)  # a touchpad turns it by less at a time
            self._wheel -= 120 * notches
            self._change_pen(notches * PEN_STEP)
            self._is_zoomed |= self._is_qt and flags > 0

    def _press(self, key):
        self._touched = time.monotonic()
        if key & 0xFF00:  # an arrow, for example; its last bits are those of a letter
            return
        letter = chr(key & 0xFF).lower()
        self._is_shown = False
        if letter in "q\x1b":
            self._is_left = True
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
            self._note_change()
        elif letter == "c":
            self.view.status = ""
            self._clear()
        elif letter == "s":
            self._save(UNLABELED)
        elif letter in "0123456789" and self._save(LABELED / letter, f" as {letter}"):
            self._clear()

    def _change_pen(self, step):
        self.view.pen = min(max(self.view.pen + step, PENS[0]), PENS[1])
        self._is_shown = False

    def _note_change(self):
        """What is on the canvas has changed, or may have."""
        self._inked = time.monotonic()
        self._is_unsent = self.canvas.image.any()
        self._is_shown = False
        if not self._is_unsent:
            self.view.digits = []

    def _clear(self):
        self._finish()
        self.canvas.clear()
        self._announced = None
        self._note_change()

    def _save(self, folder, label=""):
        """Whether it was saved; the status line says where to, or why not."""
        self._finish()
        if not self.canvas.image.any():
            self.view.status = "nothing to save: the canvas is blank"
            return False
        try:
            path = save_numbered(ROOT / folder, self.canvas.image)
        except (InputError, OSError) as error:
            self.view.status = f"not saved: {error}"
            print(f"warning: {self.view.status}", file=sys.stderr)
            return False
        self.view.status = f"saved{label}: {path.relative_to(ROOT).as_posix()}"
        return True

    def _finish(self):
        """Have the drawing announced, if there is one and it has not been."""
        self.canvas.end()
        image = self.canvas.image
        if not self._is_finished and image.any() and not np.array_equal(image, self._announced):
            self._announced = image.copy()
            self._to_announce.append(self._announced)
        self._is_finished = True

    def _converse(self, seconds=0.0):
        """Take the recognizer's answer, if it is there, and give it an image: what is there now, or to be announced."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        digits = self.recognizer.poll(seconds)
        if digits is not None and self._is_announcing:
            self._is_announcing = False
            if digits:
                _say(f"[INFO] User painted {painted(digits)}")
        elif digits is not None and self.canvas.image.any():
            self.view.digits = digits
            self._is_shown = False
        if self.view.classes is None and self.recognizer.classes is not None:
            self.view.classes = self.recognizer.classes
            self._is_shown = False
        if self.recognizer.is_idle and self._is_unsent:
            self.recognizer.send(self.canvas.image)
            self._is_unsent = False
        elif self.recognizer.is_idle and self._to_announce:
            self.recognizer.send(self._to_announce.popleft())
            self._is_announcing = True


def _is_open():
    try:
        return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:  # Qt's answer if there is no window any more
        return False


def _say(line):
    """Print it at once; if whoever read the output has left, the window goes on without."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="draw.py", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="trained weights [the shipped ones]")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]"
    )
    args = parser.parse_args(argv)
    if args.checkpoint and not args.checkpoint.exists():
        raise InputError(f"checkpoint {args.checkpoint}: no such file or folder; python train.py makes one")
    check_windows()
    Window(args.checkpoint, args.device).run()


if __name__ == "__main__":
    run(main)
