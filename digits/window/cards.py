"""What opens over the canvas: the help, and what a lesson has changed."""

import textwrap

from digits.window.surface import ACCENT, BAD, GOOD, GRAY, LINE, PANEL, TEXT, TRACK, Surface

KEYS = (
    ("left, right button", "draw, erase"),
    ("e", "erase with the left button"),
    ("wheel  +  -", "thicker, thinner"),
    ("u  Ctrl+Z", "undo; also a saved digit"),
    ("c", "clear"),
    ("0 ... 9", "save as this digit, and clear"),
    ("a", "save as ..., with buttons"),
    ("s", "save without a label"),
    ("t", "teach it the saved digits"),
    ("v", "the layers of the network"),
    ("f  h", "full screen, this help"),
    ("q  Esc", "leave"),
)
TRUSTED = (
    '"trusted" does not mean certain: of trusted answers on images like MNIST\'s, up to 2 in 1,000 may be wrong, '
    "and nobody can promise that for your handwriting."
)

_EDGE = 20  # of the canvas around a card, in units


def draw_help(surface: Surface, side: float) -> None:
    """Draw the keys over a canvas of this side, in units."""
    _draw_card(surface, side)
    for row, (key, meaning) in enumerate(KEYS):
        y = 52 + 25 * row
        surface.text(key, (40, y), 14, ACCENT, 600)
        surface.text(meaning, (188, y), 14, TEXT)
    surface.line((40, 344), (side - 40, 344), LINE)
    for row, line in enumerate(textwrap.wrap(TRUSTED, 58)):
        surface.text(line, (40, 366 + 19 * row), 13, GRAY)


def draw_lesson(surface: Surface, side: float, lesson) -> None:
    """Draw what a `Lesson` has changed over a canvas of this side: the errors on each saved digit, before and after."""
    _draw_card(surface, side)
    before, after, total = sum(lesson.before), sum(lesson.after), sum(lesson.counts)
    surface.text("What it has learned", (40, 58), 20, TEXT, 700)
    surface.text(
        f"{before} of {total} wrong before, {after} after", (40, 84), 16, GOOD if after < before else TEXT, 600
    )
    surface.text("on your saved drawings, which it has learned from", (40, 104), 13, GRAY)
    for x, title in ((92, "before"), (248, "after")):
        surface.text(title, (x, 134), 12, GRAY)
    most = max(1, *lesson.counts)
    for label, count in enumerate(lesson.counts):
        y = 156 + 22 * label
        surface.text(str(label), (44, y + 5), 15, TEXT if count else GRAY, 600 if count else 400)
        for x, wrong in ((92, lesson.before[label]), (248, lesson.after[label])):
            if count:
                right = count - wrong
                surface.bar(x, y, 100 * count / most, 10, 1, BAD if wrong else GOOD)
                if wrong and right:
                    surface.bar(x, y, 100 * count / most, 10, right / count, GOOD, track=BAD)
                surface.text(f"{right}/{count}", (x + 108, y + 5), 12, BAD if wrong else GRAY)
            else:
                surface.bar(x, y, 12, 10, 0, GOOD, track=TRACK)
    surface.text(surface.fit(f"in use now: {lesson.folder}", side - 80, 13), (40, 394), 13, TEXT)
    surface.text("click to close", (40, 414), 12, GRAY)


def _draw_card(surface, side):
    surface.fade(0, 0, side, side, PANEL, 0.25)
    surface.box(_EDGE, _EDGE, side - 2 * _EDGE, side - 2 * _EDGE, PANEL, LINE, radius=10)
