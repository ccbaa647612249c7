"""The content of draw.py's window as one image: the canvas, and the panel with the network's answer."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from digits.evaluation.reading import Reading

CANVAS = 448  # pixels, 16 for each of the network's 28
WIDTH, HEIGHT = CANVAS + 384, CANVAS + 48
_LEFT, _MIDDLE, _RIGHT = CANVAS + 28, CANVAS + 192, WIDTH - 28  # x of the panel's margins, and of the answer
_INPUT = 140  # side of the enlarged 28x28 input, in pixels
_BARS = 224, 442  # top and bottom of the bars


def _bgr(text):
    return tuple(bytes.fromhex(text)[::-1])


_PAPER, _PANEL, _LINE, _TRACK = _bgr("ffffff"), _bgr("f7f8fa"), _bgr("e1e4ea"), _bgr("e8eaf0")
_TEXT, _GRAY, _PALE = _bgr("1f2433"), _bgr("6b7285"), _bgr("b4bac8")
_ACCENT, _GOOD, _DOUBT, _BAD = _bgr("4b57d6"), _bgr("138a5b"), _bgr("b7680a"), _bgr("c23b3b")
_INK = np.linspace(_PAPER, _TEXT, 256).round().astype(np.uint8)[:, None]  # color map [256, 1, 3], from blank to ink
_DASH = "\u2013"

KEYS = (
    ("left button", "draw"),
    ("right button", "erase"),
    ("e", "erase with the left button"),
    ("wheel  +  -", "thicker, thinner"),
    ("u", "undo; also a saved digit"),
    ("c", "clear"),
    ("0 ... 9", "save as this digit, and clear"),
    ("s", "save without a label"),
    ("h", "this help"),
    ("q  Esc", "leave"),
)
HINT = "left draws   \u00b7   right erases   \u00b7   0-9 saves as that digit   \u00b7   c clears   \u00b7   h help"


@dataclass
class View:
    """Everything that the window shows.

    Attributes:
        image: the canvas, uint8 [CANVAS, CANVAS], ink bright.
        pen: width in pixels.
        erasing: whether the left button erases.
        help: whether the help is open.
        status: replaces the hint at the bottom unless it is empty.
        classes: the names of the classes; None while the network loads.
        readings: the digits on the canvas, in reading order.
    """

    image: np.ndarray
    pen: int
    erasing: bool = False
    help: bool = False
    status: str = ""
    classes: Sequence[str] | None = None
    readings: list[Reading] = field(default_factory=list)


def least_certain(readings: list[Reading]) -> int:
    """Return the index of the least certain digit, which determines the confidence of the whole number.

    A figure that is not a digit is less certain than any digit.
    """
    return min(range(len(readings)), key=lambda index: (readings[index].is_answer, readings[index].confidence))


def number(readings: list[Reading]) -> str:
    """Join the labels, with a space between lines."""
    lines = itertools.groupby(readings, key=lambda reading: reading.line)
    return " ".join("".join(reading.label for reading in line) for _, line in lines)


def percent(prob: float) -> str:
    """Format a probability as `98.7%`; `>99.9%` where it would round to 100, since nothing is certain."""
    return ">99.9%" if prob >= 0.9995 else f"{prob:.1%}"


def compose(view: View) -> np.ndarray:
    """Draw the window's content, uint8 [HEIGHT, WIDTH, 3] BGR."""
    frame = np.full((HEIGHT, WIDTH, 3), _PANEL, np.uint8)
    _draw_canvas(frame, view)
    _draw_answer(frame, view)
    _draw_bars(frame, view)
    _draw_footer(frame, view)
    if view.help:
        _draw_help(frame)
    return frame


def _draw_canvas(frame, view):
    frame[:CANVAS, :CANVAS] = cv2.applyColorMap(view.image, _INK)
    if not view.image.any() and not view.help:
        _text(frame, "draw a digit here", (CANVAS / 2, CANVAS / 2), 19, _PALE, align="center")
    if len(view.readings) > 1:
        weakest = least_certain(view.readings)
        for index, reading in enumerate(view.readings):
            x, y, width, height = reading.box
            top_left = max(x - 8, 1), max(y - 8, 1)
            bottom_right = min(x + width + 8, CANVAS - 3), min(y + height + 8, CANVAS - 3)
            cv2.rectangle(frame, top_left, bottom_right, _ACCENT if index == weakest else _PALE, 1)
    cv2.line(frame, (CANVAS, 0), (CANVAS, CANVAS), _LINE)


def _draw_answer(frame, view):
    """Draw the network's 28x28 input and its answer."""
    _text(frame, "the network sees", (_LEFT, 30), 13, _GRAY)
    _text(frame, "the answer", (_MIDDLE, 30), 13, _GRAY)
    image = np.zeros((28, 28), np.uint8)
    if view.readings:
        image = np.uint8(255 * view.readings[least_certain(view.readings)].image)
    image = cv2.resize(image, (_INPUT, _INPUT), interpolation=cv2.INTER_NEAREST)
    frame[42 : 42 + _INPUT, _LEFT : _LEFT + _INPUT] = cv2.applyColorMap(image, _INK[::-1])
    answer, lines, color = _answer(view)
    size = 92
    while _text_width(answer, size, 700) > _RIGHT - _MIDDLE and size > 12:
        size -= 2
    _text(frame, answer, (_MIDDLE, 92 + size * 0.37), size, _PALE if answer == _DASH else color, 700)
    for y, line in zip((156, 180), lines, strict=False):
        _text(frame, line, (_MIDDLE, y), 15, color if y == 180 else _TEXT, 600 if y == 180 else 400)


def _answer(view):
    """Return the answer, the lines below it (up to two), and their color."""
    if view.classes is None:
        return "loading...", (), _GRAY
    if not view.readings:
        return _DASH, (), _GRAY
    reading = view.readings[least_certain(view.readings)]
    sure = f"{percent(reading.confidence)} sure"
    if not reading.is_answer:
        return reading.reason, (f"the nearest is {reading.label},", percent(reading.confidence)), _BAD
    if reading.reason:
        return f"{number(view.readings)}?", (sure, reading.doubt), _DOUBT
    if reading.trusted is None:
        return number(view.readings), (sure, "not calibrated"), _ACCENT
    return number(view.readings), (sure, "trusted"), _GOOD


def _draw_bars(frame, view):
    """Draw the probability of each class, for the least certain digit."""
    index = least_certain(view.readings) if view.readings else None
    title = "probabilities"
    if len(view.readings) > 1:
        title += f" of digit {index + 1} of {len(view.readings)}, the least sure"
    _text(frame, title, (_LEFT, 212), 13, _GRAY)
    classes = view.classes or [str(label) for label in range(10)]
    height = (_BARS[1] - _BARS[0]) / len(classes)
    for row, name in enumerate(classes):
        y = round(_BARS[0] + height * (row + 0.5))
        prob = view.readings[index].probs[row] if view.readings else 0.0
        is_label = bool(view.readings) and name == view.readings[index].label
        _text(frame, name, (_LEFT, y + 5), 15, _TEXT if is_label else _GRAY, 700 if is_label else 400)
        _draw_bar(frame, y, min(10, round(height / 2)), prob, _answer(view)[2] if is_label else _PALE)
        if view.readings:
            _text(frame, percent(prob), (_RIGHT, y + 5), 14, _TEXT if is_label else _GRAY, align="right")


def _draw_bar(frame, y, thickness, prob, color):
    start, end = _LEFT + 30, _RIGHT - 68
    cv2.line(frame, (start, y), (end, y), _TRACK, thickness, cv2.LINE_AA)
    full = frame[y - 6 : y + 7].copy()
    cv2.line(full, (start, 6), (end, 6), color, thickness, cv2.LINE_AA)
    left, right = start - thickness // 2, end + thickness // 2 + 1  # with the round caps
    filled = slice(left, left + round(prob * (right - left)))
    frame[y - 6 : y + 7, filled] = full[:, filled]


def _draw_footer(frame, view):
    """Draw the hint or the status, and the pen or the eraser in its size."""
    cv2.line(frame, (0, CANVAS), (WIDTH, CANVAS), _LINE)
    y = (CANVAS + HEIGHT) // 2
    line = view.status or HINT
    while _text_width(line, 14, 400) > _RIGHT - 54 - 80:
        line = line.removesuffix("...")[:-1] + "..."
    _text(frame, line, (16, y + 5), 14, _TEXT if view.status else _GRAY)
    _text(frame, "eraser" if view.erasing else "pen", (_RIGHT - 54, y + 5), 14, _GRAY, align="right")
    center = _RIGHT - 22, y
    cv2.circle(frame, center, view.pen // 2, _PAPER if view.erasing else _TEXT, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(frame, center, view.pen // 2, _PALE if view.erasing else _TEXT, 1, cv2.LINE_AA)


def _draw_help(frame):
    card = frame[24 : CANVAS - 24, 24 : CANVAS - 24]
    card[:] = cv2.addWeighted(card, 0.06, np.full_like(card, _PANEL), 0.94, 0)
    cv2.rectangle(frame, (24, 24), (CANVAS - 25, CANVAS - 25), _LINE, 1)
    for row, (key, meaning) in enumerate(KEYS):
        y = 66 + 36 * row
        _text(frame, key, (52, y), 16, _ACCENT, 600)
        _text(frame, meaning, (176, y), 16, _TEXT)


_FONT = cv2.FontFace("sans")


def _text(frame, text, point, size, color, weight=400, align="left"):
    """Write text with the left end, center or right end of its baseline at `point`."""
    shift = {"left": 0, "center": 0.5, "right": 1}[align]
    x = round(point[0] - shift * _text_width(text, size, weight))
    cv2.putText(frame, text, (x, round(point[1])), color, _FONT, size, weight)


def _text_width(text, size, weight):
    return cv2.getTextSize((WIDTH, HEIGHT), text, (0, 0), _FONT, size, weight)[2]
