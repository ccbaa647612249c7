"""What the window of draw.py shows, as one picture: the canvas, and beside it what the network makes of it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from digits.evaluation.reading import Reading

CANVAS = 448  # pixels, 16 for each of the network's 28
WIDTH, HEIGHT = CANVAS + 384, CANVAS + 48
_LEFT, _MIDDLE, _RIGHT = CANVAS + 28, CANVAS + 192, WIDTH - 28  # the panel's margins, and where the answer begins
_SEEN = 140  # side of the 28x28 picture, enlarged
_ROWS = 224, 442  # the bars are between these


def _bgr(text):
    return tuple(bytes.fromhex(text)[::-1])


_PAPER, _PANEL, _LINE, _TRACK = _bgr("ffffff"), _bgr("f7f8fa"), _bgr("e1e4ea"), _bgr("e8eaf0")
_TEXT, _GRAY, _PALE = _bgr("1f2433"), _bgr("6b7285"), _bgr("b4bac8")
_ACCENT, _GOOD, _DOUBT, _BAD = _bgr("4b57d6"), _bgr("138a5b"), _bgr("b7680a"), _bgr("c23b3b")
_INK = np.linspace(_PAPER, _TEXT, 256).round().astype(np.uint8)[:, None]  # [256, 1, 3], from no ink to full ink

KEYS = (
    ("left button", "draw"),
    ("right button", "erase"),
    ("e", "erase with the left button"),
    ("wheel  +  -", "thicker, thinner"),
    ("u", "undo"),
    ("c", "clear"),
    ("0 ... 9", "save as this digit, and clear"),
    ("s", "save without a label"),
    ("h", "this help"),
    ("q  Esc", "leave"),
)
HINT = "left draws   \u00b7   right erases   \u00b7   0-9 saves as that digit   \u00b7   c clears   \u00b7   h help"


@dataclass
class View:
    """All that the window's picture depends on."""

    image: np.ndarray  # uint8 [CANVAS, CANVAS], ink bright
    pen: int  # pixels
    erasing: bool = False
    help: bool = False
    status: str = ""  # in place of the hint
    classes: Sequence[str] | None = None  # None while the model loads
    digits: list[Reading] = field(default_factory=list)


def least_sure(digits: list[Reading]) -> int:
    """The place of the digit that the whole number's trust hangs on: one that is none, else the least probable."""
    return min(range(len(digits)), key=lambda place: (digits[place].is_answer, digits[place].confidence))


def number(digits: list[Reading]) -> str:
    """The labels side by side, a space between lines."""
    lines = itertools.groupby(digits, key=lambda digit: digit.line)
    return " ".join("".join(digit.label for digit in line) for _, line in lines)


def percent(prob: float) -> str:
    """`98.7%`; what would round to 100 is `>99.9%`, for nothing is certain."""
    return ">99.9%" if prob >= 0.9995 else f"{prob:.1%}"


def compose(view: View) -> np.ndarray:
    """Draw the window's content, uint8 [HEIGHT, WIDTH, 3] BGR."""
    frame = np.full((HEIGHT, WIDTH, 3), _PANEL, np.uint8)
    _draw_canvas(frame, view)
    _draw_answer(frame, view)
    _draw_bars(frame, view)
    _draw_foot(frame, view)
    if view.help:
        _draw_help(frame)
    return frame


def _draw_canvas(frame, view):
    frame[:CANVAS, :CANVAS] = cv2.applyColorMap(view.image, _INK)
    if not view.image.any() and not view.help:
        _text(frame, "draw a digit here", (CANVAS / 2, CANVAS / 2), 19, _PALE, align="center")
    if len(view.digits) > 1:
        weakest = least_sure(view.digits)
        for place, digit in enumerate(view.digits):
            x, y, width, height = digit.box
            corner, opposite = (max(x - 8, 1), max(y - 8, 1)), (x + width + 8, y + height + 8)
            opposite = min(opposite[0], CANVAS - 3), min(opposite[1], CANVAS - 3)
            cv2.rectangle(frame, corner, opposite, _ACCENT if place == weakest else _PALE, 1)
    cv2.line(frame, (CANVAS, 0), (CANVAS, CANVAS), _LINE)


def _draw_answer(frame, view):
    """The 28x28 that the network sees, and what it says."""
    _text(frame, "the network sees", (_LEFT, 30), 13, _GRAY)
    _text(frame, "the answer", (_MIDDLE, 30), 13, _GRAY)
    digit = view.digits[least_sure(view.digits)] if view.digits else None
    seen = np.zeros((28, 28), np.uint8) if digit is None else np.uint8(255 * digit.image)
    seen = cv2.resize(seen, (_SEEN, _SEEN), interpolation=cv2.INTER_NEAREST)
    frame[42 : 42 + _SEEN, _LEFT : _LEFT + _SEEN] = cv2.applyColorMap(seen, _INK[::-1])
    answer, words, color = _answer(view)
    size = 92
    while _width(answer, size, 700) > _RIGHT - _MIDDLE and size > 12:
        size -= 2
    _text(frame, answer, (_MIDDLE, 92 + size * 0.37), size, color if answer != "\u2013" else _PALE, 700)
    for y, line in zip((156, 180), words, strict=False):
        _text(frame, line, (_MIDDLE, y), 15, color if y == 180 else _TEXT, 600 if y == 180 else 400)


def _answer(view):
    """The answer, up to two lines beneath it, and the color of all that."""
    if view.classes is None:
        return "loading...", (), _GRAY
    if not view.digits:
        return "\u2013", (), _GRAY
    digit = view.digits[least_sure(view.digits)]
    sure = f"{percent(digit.confidence)} sure"
    if not digit.is_answer:
        return digit.reason, (f"the nearest is {digit.label},", percent(digit.confidence)), _BAD
    if digit.reason:
        return f"{number(view.digits)}?", (sure, digit.reason), _DOUBT
    if digit.trusted is None:
        return number(view.digits), (sure, "not calibrated"), _ACCENT
    return number(view.digits), (sure, "trusted"), _GOOD


def _draw_bars(frame, view):
    weakest = least_sure(view.digits) if view.digits else None
    title = "probabilities"
    if len(view.digits) > 1:
        title += f" of digit {weakest + 1} of {len(view.digits)}, the least sure"
    _text(frame, title, (_LEFT, 212), 13, _GRAY)
    classes = view.classes or [str(label) for label in range(10)]
    step = (_ROWS[1] - _ROWS[0]) / len(classes)
    for place, name in enumerate(classes):
        y = round(_ROWS[0] + step * (place + 0.5))
        prob = view.digits[weakest].probs[place] if view.digits else 0.0
        best = bool(view.digits) and name == view.digits[weakest].label
        color = _answer(view)[2] if best else _PALE
        _text(frame, name, (_LEFT, y + 5), 15, _TEXT if best else _GRAY, 700 if best else 400)
        start, end = _LEFT + 30, _RIGHT - 68
        thickness = min(10, round(step / 2))
        cv2.line(frame, (start, y), (end, y), _TRACK, thickness, cv2.LINE_AA)
        full = frame[y - 6 : y + 7].copy()
        cv2.line(full, (start, 6), (end, 6), color, thickness, cv2.LINE_AA)
        left, right = start - thickness // 2, end + thickness // 2 + 1  # with the round ends
        filled = slice(left, left + round(prob * (right - left)))
        frame[y - 6 : y + 7, filled] = full[:, filled]
        if view.digits:
            _text(frame, percent(prob), (_RIGHT, y + 5), 14, _TEXT if best else _GRAY, align="right")


def _draw_foot(frame, view):
    cv2.line(frame, (0, CANVAS), (WIDTH, CANVAS), _LINE)
    y = (CANVAS + HEIGHT) // 2
    line = view.status or HINT
    while _width(line, 14, 400) > _RIGHT - 54 - 80:
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


def _text(frame, text, place, size, color, weight=400, align="left"):
    """Write at `place`, the baseline's left end, or its middle or right end."""
    shift = {"left": 0, "center": 0.5, "right": 1}[align]
    x = round(place[0] - shift * _width(text, size, weight))
    cv2.putText(frame, text, (x, round(place[1])), color, _FONT, size, weight)


def _width(text, size, weight):
    return cv2.getTextSize((WIDTH, HEIGHT), text, (0, 0), _FONT, size, weight)[2]
