"""The content of draw.py's window as one image: the canvas, the panel with the network's answer, and the buttons."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from digits.evaluation.reading import NOT_A_DIGIT, Reading
from digits.window.buttons import HEIGHT as _BUTTONS
from digits.window.buttons import Button, button_at, buttons, draw_buttons
from digits.window.cards import draw_help, draw_lesson
from digits.window.layer_view import draw_layers
from digits.window.surface import ACCENT, BAD, DOUBT, GOOD, GRAY, INK, LINE, PALE, PAPER, TEXT, Surface

CANVAS = 448  # units, 16 for each of the network's 28 pixels
FOOTER = 48  # height of the line with the status
WIDTH, HEIGHT = CANVAS + 384, CANVAS + FOOTER + _BUTTONS  # of the window when it opens, in pixels
_LEFT, _MIDDLE, _MARGIN = CANVAS + 28, CANVAS + 192, 28  # x of the panel's content and of the answer; right margin
_INPUT = 140  # side of the enlarged 28x28 input
_BARS = 236, 442  # top and bottom of the bars
_DASH = "\u2013"

HINT = "left draws   \u00b7   right erases   \u00b7   0-9 saves as that digit   \u00b7   h help"


@dataclass
class View:
    """Everything that the window shows.

    Attributes:
        image: the canvas, uint8 [CANVAS, CANVAS], ink bright.
        pen: width in units.
        erasing: whether the left button erases.
        help: whether the help is open.
        status: replaces the hint at the bottom unless it is empty.
        classes: the names of the classes; None while the network loads.
        readings: the digits on the canvas, in reading order.
        pointer: x, y in units; None while it does not matter.
        ring: radius of the ring at the pointer in units; 0 for none.
        pressed: key of the button that is held down, or an empty string.
        choosing: whether the buttons are the ten digits to save as.
        counts: how many drawings of each digit are saved.
        layers: whether the panel shows the layers instead of the probabilities.
        activations: of the least certain digit, while the layers are shown.
        teaching: the `Teaching` under way.
        lesson: the result of the last one, until it is closed.
    """

    image: np.ndarray
    pen: int
    erasing: bool = False
    help: bool = False
    status: str = ""
    classes: Sequence[str] | None = None
    readings: list[Reading] = field(default_factory=list)
    pointer: tuple[float, float] | None = None
    ring: float = 0
    pressed: str = ""
    choosing: bool = False
    counts: list[int] = field(default_factory=lambda: [0] * 10)
    layers: bool = False
    activations: list = field(default_factory=list)
    teaching: Any = None
    lesson: Any = None


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


def scale_of(size: tuple[int, int]) -> float:
    """Return the pixels per unit in a window of this width and height: all of the content fits into it."""
    return max(0.1, min(size[0] / WIDTH, size[1] / HEIGHT))


def row_of_buttons(view: View, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Button]:
    """Return the buttons as they are in a window of this width and height in pixels; their places are in units."""
    return buttons(view, CANVAS + FOOTER, size[0] / scale_of(size))


def compose(view: View, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Draw the content of a window of this width and height in pixels, uint8 [height, width, 3] BGR."""
    return Painter().paint(view, size)


class Painter:
    """Draws one frame after the other; during a stroke only the canvas changes, and the rest stays as it was.

    The faster a frame is, the more points of a stroke arrive: Qt drops those that it cannot deliver in time.
    """

    def __init__(self):
        self._surface: Surface | None = None
        self._state: tuple | None = None  # everything that the surroundings of the canvas depend on

    def paint(self, view: View, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
        """Draw the content of a window of this width and height in pixels, uint8 [height, width, 3] BGR.

        The next call may change the frame.
        """
        row = row_of_buttons(view, size)
        hovered = button_at(row, view.pointer)
        line = view.teaching.describe() if view.teaching else ""
        state = (size, row, hovered, view.pressed, line, view.status, view.pen, view.erasing, view.layers)
        state += (view.classes, view.readings, len(view.activations))
        if state != self._state:
            self._state = state
            self._surface = Surface(*size, scale_of(size))
            _draw_answer(self._surface, view)
            (_draw_layers if view.layers else _draw_bars)(self._surface, view)
            _draw_footer(self._surface, view)
            draw_buttons(self._surface, row, hovered, view.pressed)
        canvas = self._surface.part(CANVAS, CANVAS)
        _draw_canvas(canvas, view)
        if view.help:
            draw_help(canvas, CANVAS)
        elif view.lesson:
            draw_lesson(canvas, CANVAS, view.lesson)
        return self._surface.pixels


def _draw_canvas(surface, view):
    surface.picture(cv2.applyColorMap(view.image, INK), 0, 0, CANVAS, CANVAS, cv2.INTER_LINEAR)
    if not view.image.any() and not view.help:
        surface.text("draw a digit here", (CANVAS / 2, CANVAS / 2), 19, PALE, align="center")
    if len(view.readings) > 1:
        weakest = least_certain(view.readings)
        for index, reading in enumerate(view.readings):
            x, y, width, height = reading.box
            left, top = max(x - 8, 1), max(y - 8, 1)
            right, bottom = min(x + width + 8, CANVAS - 3), min(y + height + 8, CANVAS - 3)
            color = ACCENT if index == weakest else PALE
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            for start, end in itertools.pairwise(corners):
                surface.line(start, end, color)
    if view.pointer and view.ring and max(view.pointer) < CANVAS:
        surface.circle(view.pointer, view.ring, GRAY, 1)


def _draw_answer(surface, view):
    """Draw the network's 28x28 input and its answer."""
    surface.line((CANVAS, 0), (CANVAS, CANVAS), LINE)
    right = surface.width - _MARGIN
    surface.text("the network sees", (_LEFT, 30), 13, GRAY)
    surface.text("the answer", (_MIDDLE, 30), 13, GRAY)
    image = np.zeros((28, 28), np.uint8)
    if view.readings:
        image = np.uint8(255 * view.readings[least_certain(view.readings)].image)
    surface.picture(cv2.applyColorMap(image, INK[::-1]), _LEFT, 42, _INPUT, _INPUT)
    surface.text("MNIST is white on black, so your paper turns black", (_LEFT, 200), 11, GRAY)
    answer, lines, color = _answer(view)
    size = 92
    longest = max(answer, key=lambda line: surface.text_width(line, 40, 700))
    while surface.text_width(longest, size, 700) > right - _MIDDLE and size > 12:
        size -= 2
    size = min(size, 28) if len(answer) > 1 else size
    for index, line in enumerate(answer):
        y = 92 + size * 0.37 + (index - (len(answer) - 1) / 2) * 1.2 * size
        surface.text(line, (_MIDDLE, y), size, PALE if line == _DASH else color, 700)
    for y, line in zip((156, 180), lines, strict=False):
        surface.text(line, (_MIDDLE, y), 15, color if y == 180 else TEXT, 600 if y == 180 else 400)


def _answer(view):
    """Return the lines of the answer, the lines below it (up to two), and their color."""
    if view.classes is None:
        return ["loading..."], (), GRAY
    if not view.readings:
        return [_DASH], (), GRAY
    reading = view.readings[least_certain(view.readings)]
    sure = f"{percent(reading.confidence)} sure"
    if reading.reason == NOT_A_DIGIT:
        return ["nothing like", "a digit"], (), GRAY
    if not reading.is_answer:
        return [reading.reason], ("draw one, or leave", "room between them"), BAD
    if reading.reason:
        return [f"{number(view.readings)}?"], (sure, reading.doubt), DOUBT
    if reading.trusted is None:
        return [number(view.readings)], (sure, "not calibrated"), ACCENT
    return [number(view.readings)], (sure, "trusted"), GOOD


def _draw_bars(surface, view):
    """Draw the probability of each class, for the least certain digit; gray if it is not a digit."""
    index = least_certain(view.readings) if view.readings else None
    title = "probabilities"
    if len(view.readings) > 1:
        title += f" of digit {index + 1} of {len(view.readings)}, the least sure"
    surface.text(title, (_LEFT, 226), 13, GRAY)
    right = surface.width - _MARGIN
    classes = view.classes or [str(label) for label in range(10)]
    height = (_BARS[1] - _BARS[0]) / len(classes)
    for row, name in enumerate(classes):
        y = _BARS[0] + height * (row + 0.5)
        reading = view.readings[index] if view.readings else None
        prob = reading.probs[row] if reading else 0.0
        is_label = reading is not None and reading.is_answer and name == reading.label
        surface.text(name, (_LEFT, y + 5), 15, TEXT if is_label else GRAY, 700 if is_label else 400)
        color = _answer(view)[2] if is_label else PALE
        surface.bar(_LEFT + 24, y, right - _LEFT - 86, min(10, height / 2), prob, color)
        if reading:
            surface.text(percent(prob), (right, y + 5), 14, TEXT if is_label else GRAY, align="right")


def _draw_layers(surface, view):
    """Draw what each layer makes of the least certain digit."""
    if view.activations:
        draw_layers(surface, view.activations, (_LEFT, 217, surface.width - _MARGIN - _LEFT, CANVAS - 8 - 217))
    else:
        surface.text("draw a digit to see what each layer makes of it", (_LEFT, 240), 13, GRAY)


def _draw_footer(surface, view):
    """Draw the hint, the status or the progress of a lesson, and the pen or the eraser in its size."""
    right, y = surface.width - _MARGIN, CANVAS + FOOTER / 2
    surface.line((0, CANVAS), (surface.width, CANVAS), LINE)
    surface.line((0, CANVAS + FOOTER), (surface.width, CANVAS + FOOTER), LINE)
    width = right - 54 - 80
    if view.teaching and not view.status:
        surface.text(view.teaching.describe(), (16, y), 14, TEXT)
        surface.bar(16, y + 12, width, 5, view.teaching.share, ACCENT)
    else:
        line = surface.fit(view.status or HINT, width, 14)
        surface.text(line, (16, y + 5), 14, TEXT if view.status else GRAY)
    surface.text("eraser" if view.erasing else "pen", (right - 54, y + 5), 14, GRAY, align="right")
    surface.circle((right - 22, y), view.pen / 2, PAPER if view.erasing else TEXT)
    surface.circle((right - 22, y), view.pen / 2, PALE if view.erasing else TEXT, 1)
