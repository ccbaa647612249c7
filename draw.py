"""Draw a digit with the mouse; the network's answer stands beside it while you draw.

python draw.py                                         the window; h shows the keys
python draw.py --checkpoint checkpoints/shipped/lenet  with other weights
"""

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import re
import signal
import sys
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np

from atomic import output_folder, replacing
from calibration import NOT_A_DIGIT
from errors import ArgumentParser, InputError, RunError, run
from panel import CANVAS, Digit, View, compose, least_sure, number
from runtime import DEVICES, tune_cpu

ROOT = Path(__file__).resolve().parent
LABELLED, UNLABELLED = Path("inputs/mine"), Path("outputs/drawings")  # where drawings are saved, below ROOT
TITLE = "Draw a digit"
PEN, PENS, PEN_STEP = 28, (12, 36), 4  # pixels: at first, least and most; the eraser is twice as wide
PAUSE = 1.5  # seconds without the pen after which a drawing is finished

_UNDO = 100  # steps
_CORNER = 0.5  # cosine of the turn, 60 degrees, from which on a stroke has a corner instead of a bend
_SUBPIXEL = 4  # bits of a coordinate behind the point
_LEFT, _RIGHT = cv2.EVENT_FLAG_LBUTTON, cv2.EVENT_FLAG_RBUTTON
_PRESSES = {  # of two quick presses, HighGUI on Windows and GTK reports the second as a double click only
    cv2.EVENT_LBUTTONDOWN: _LEFT,
    cv2.EVENT_LBUTTONDBLCLK: _LEFT,
    cv2.EVENT_RBUTTONDOWN: _RIGHT,
    cv2.EVENT_RBUTTONDBLCLK: _RIGHT,
}
_RELEASES = {cv2.EVENT_LBUTTONUP: _LEFT, cv2.EVENT_RBUTTONUP: _RIGHT}


class Canvas:
    """Strokes in, image out.

    `image` is uint8 [side, side], 255 where there is ink. A stroke bends smoothly through the middles between the
    points it was given, so that a fast one, with few points, is as round as a slow one.
    """

    def __init__(self, side: int = CANVAS):
        self.image = np.zeros((side, side), np.uint8)
        self._before: list[np.ndarray] = []  # images to go back to
        self._points: list[tuple[int, int]] = []  # the last three of the stroke that is being drawn
        self._width, self._value = PEN, 255

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


class Recogniser:
    """Answers images in a process of its own, one at a time.

    In a thread, importing Paddle would hold the window for half a second, and the mouse with it.

    Attributes:
        classes: the class names; None while the model loads.
        is_idle: whether it can take an image.
    """

    def __init__(self, checkpoint: Path | None, device: str):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, checkpoint, device), daemon=True)
        heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is the window's to heed
        self._process.start()
        signal.signal(signal.SIGINT, heeded)
        theirs.close()
        self.classes: list[str] | None = None
        self.is_idle = False

    def send(self, image: np.ndarray) -> None:
        """Give it an image, uint8 [H, W] with bright ink."""
        self.is_idle = False
        with _ending_said():
            self._pipe.send(image)

    def close(self) -> None:
        """End its process. Paddle would report a milder signal as a crash."""
        self._process.kill()
        self._process.join()

    def poll(self, seconds: float = 0) -> list[Digit] | None:
        """The digits of the image sent, or None if they are not there yet.

        Raises:
            InputError, RunError: the model cannot be loaded, or its process ended.
        """
        with _ending_said():
            if self.is_idle or not self._pipe.poll(seconds):
                return None
            message = self._pipe.recv()
        if isinstance(message, Exception):
            raise message
        self.is_idle = True
        if self.classes is None:
            self.classes = message
            return None
        return message


@contextlib.contextmanager
def _ending_said():
    try:
        yield
    except (EOFError, OSError):
        raise RunError("the process that reads the digits has ended; start again") from None


def _answer(pipe, checkpoint, device):
    """What that process does: say the class names, then answer each image, until the window closes."""
    try:
        tune_cpu()
        from classifier import Classifier  # imports paddle

        classifier = Classifier(checkpoint, device)
        classifier.predict(np.zeros((1, 28, 28), np.float32))  # the first takes longer
        pipe.send(classifier.classes)
        while True:
            pipe.send([_digit(figure, answer) for figure, answer in classifier.predict_figures(pipe.recv())])
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the window has closed
        return
    except (InputError, RunError, OSError) as error:
        with contextlib.suppress(OSError):
            pipe.send(error)


def _digit(figure, answer):
    return Digit(figure.box, figure.line, figure.seen, answer.label, answer.confidence, answer.probs, answer.reason)


def painted(digits: list[Digit]) -> str:
    """What was painted, in words: `'7' (99.8% sure)`, `'42' (61.2% sure: low confidence)`, `no digit (...)`.

    Of several digits, the least sure one counts.
    """
    place = least_sure(digits)
    digit = digits[place]
    if digit.is_read:
        doubt = f": {digit.reason}" if digit.reason else ""
        return f"'{number(digits)}' ({digit.confidence:.1%} sure{doubt})"
    nearest = f"the nearest is {digit.label}, {digit.confidence:.1%}"
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
        self.canvas = Canvas()
        self.view = View(self.canvas.image, PEN)
        self._events: deque = deque()  # of the mouse, not yet heeded
        self._touched = time.monotonic()  # when the mouse or a key last did something
        self._button = 0  # that draws the stroke
        self._is_new = False  # the panel does not answer yet what is on the canvas
        self._is_shown = True  # what has changed is on the screen
        self._is_finished = True  # nothing has been painted since the drawing was last finished
        self._to_announce: deque = deque()  # images
        self._announced = None  # the last of them, while it can be what is on the canvas
        self._is_announcing = False  # it is one of them that the recogniser has got
        self._is_left = self._is_interrupted = False
        self._is_qt = "QT" in _gui()
        self._is_zoomed = False
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
        self.recogniser = Recogniser(checkpoint, device)

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
            InputError, RunError: as of `Recogniser.poll`.
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
                if not self.canvas.is_drawing and time.monotonic() - self._touched > PAUSE:
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
            self.recogniser.close()
            signal.signal(signal.SIGINT, heeded)

    def _interrupt(self, *_):
        self._is_interrupted = True

    def _wait(self):
        """The key that was pressed, or -1. OpenCV looks for events each millisecond: not while nothing happens."""
        if time.monotonic() - self._touched < 1 or self._is_new or self.canvas.is_drawing:
            return cv2.waitKey(5)
        time.sleep(0.02)
        return cv2.waitKey(1)

    def _heed(self, event, x, y, flags):
        """One event of the mouse. While a button is held they also come from outside the window."""
        self._touched = time.monotonic()
        if event in _PRESSES and x < CANVAS and y < CANVAS and not self.canvas.is_drawing:
            self._button = _PRESSES[event]
            erase = self._button == _RIGHT or self.view.erasing
            self.canvas.begin(x, y, 2 * self.view.pen if erase else self.view.pen, erase)
            self.view.status = ""
            self._is_finished = False
            self._repaint()
        elif event == cv2.EVENT_MOUSEMOVE and self.canvas.is_drawing:
            if flags & self._button:
                self.canvas.extend(x, y)
            else:  # it was lifted where we were not told
                self.canvas.end()
            self._repaint()
        elif event in (cv2.EVENT_LBUTTONUP, cv2.EVENT_RBUTTONUP) and self.canvas.is_drawing:
            if _RELEASES[event] == self._button:
                self.canvas.extend(x, y)
                self.canvas.end()
                self._repaint()
        elif event == cv2.EVENT_MOUSEWHEEL:
            self._change_pen(PEN_STEP if flags > 0 else -PEN_STEP)
            self._is_zoomed = self._is_qt and flags > 0

    def _press(self, key):
        self._touched = time.monotonic()
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
            self._repaint()
        elif letter == "c":
            self.view.status = ""
            self._clear()
        elif letter == "s":
            self._save(UNLABELLED)
        elif letter in "0123456789" and self._save(LABELLED / letter, f" as {letter}"):
            self._clear()

    def _change_pen(self, step):
        self.view.pen = min(max(self.view.pen + step, PENS[0]), PENS[1])
        self._is_shown = False

    def _repaint(self):
        self._is_new = self.canvas.image.any()
        self._is_shown = False
        if not self._is_new:
            self.view.digits = []

    def _clear(self):
        self._finish()
        self.canvas.clear()
        self._announced = None
        self._repaint()

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
        """Take the recogniser's answer, if it is there, and give it an image: what is there now, or to be announced."""
        if self._is_interrupted:
            raise KeyboardInterrupt
        digits = self.recogniser.poll(seconds)
        if digits is not None and self._is_announcing:
            self._is_announcing = False
            if digits:
                _say(f"[INFO] User painted {painted(digits)}")
        elif digits is not None and self.canvas.image.any():
            self.view.digits = digits
            self._is_shown = False
        if self.view.classes is None and self.recogniser.classes is not None:
            self.view.classes = self.recogniser.classes
            self._is_shown = False
        if self.recogniser.is_idle and self._is_new:
            self.recogniser.send(self.canvas.image)
            self._is_new = False
        elif self.recogniser.is_idle and self._to_announce:
            self.recogniser.send(self._to_announce.popleft())
            self._is_announcing = True


def _gui():
    """What draws OpenCV's windows: QT5, GTK3, WIN32UI, COCOA, NONE, ..."""
    found = re.search(r"GUI: +(\S+)", cv2.getBuildInformation())
    return found[1] if found else "NONE"


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


def check_windows() -> None:
    """See that OpenCV can open a window, for it ends the process if it cannot.

    Raises:
        InputError: it has none, or there is no display.
    """
    if _gui() == "NONE":
        raise InputError(
            "this OpenCV has no windows: pip uninstall opencv-python-headless, "
            "then pip install --force-reinstall opencv-python"
        )
    if sys.platform != "linux":
        return
    if not os.environ.get("DISPLAY"):
        wayland = " (of Wayland OpenCV can use only XWayland)" if os.environ.get("WAYLAND_DISPLAY") else ""
        raise InputError(
            f"no display: DISPLAY is not set{wayland}; run it on a desktop, or try xvfb-run python draw.py"
        )
    os.environ["QT_QPA_PLATFORM"] = "xcb"  # the only one opencv-python has
    plugin = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms" / "libqxcb.so"
    if not plugin.exists():  # not a build with Qt
        return
    try:
        ctypes.CDLL(str(plugin))
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError as error:
        raise InputError(
            f"OpenCV's windows need a library ({error}); on Debian and Ubuntu: apt-get install libsm6"
        ) from None
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))  # left open: a server may start anew when all have gone
    if xcb.xcb_connection_has_error(connection):
        raise InputError(f"no display: nothing answers at DISPLAY={os.environ['DISPLAY']}, or it lets nobody in")


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
