"""The row of buttons below the canvas: for fingers, and for those who do not know the keys."""

from typing import NamedTuple

from digits.window.surface import ACCENT, GRAY, LINE, PALE, PAPER, TEXT, TINT, Surface

HEIGHT = 64  # of the row, in units
ENOUGH = 5  # drawings of each digit that are enough to teach the network

_MARGIN, _GAP = 14, 8
_LABELS = (
    ("u", "Undo"),
    ("c", "Clear"),
    ("e", "Eraser"),
    ("a", "Save as..."),
    ("v", "Layers"),
    ("t", "Teach"),
    ("f", "Full screen"),
    ("h", "Help"),
)


class Button(NamedTuple):
    """A button: the key that does the same, two lines of text, the place in units, and whether it is switched on."""

    key: str
    label: str
    detail: str
    x: float
    y: float
    width: float
    height: float
    is_on: bool


def progress(label: int, counts: list[int]) -> str:
    """Say how many drawings of a digit are saved: `3 of 5`, `7`."""
    return f"{counts[label]} of {ENOUGH}" if counts[label] < ENOUGH else f"{counts[label]} saved"


def buttons(view, top: float, width: float) -> list[Button]:
    """Return the buttons of a `View` in a row `width` units wide, which begins at `top`."""
    if view.choosing:
        texts = [(str(label), str(label), progress(label, view.counts)) for label in range(10)] + [("a", "Back", "a")]
        on = set()
    else:
        texts = [(key, "Stop" if key == "t" and view.teaching else label, key) for key, label in _LABELS]
        states = {"e": view.erasing, "v": view.layers, "t": view.teaching is not None, "h": view.help}
        on = {key for key, state in states.items() if state}
    each = (width - 2 * _MARGIN - (len(texts) - 1) * _GAP) / len(texts)
    return [
        Button(*text, _MARGIN + index * (each + _GAP), top + 8, each, HEIGHT - 16, text[0] in on)
        for index, text in enumerate(texts)
    ]


def button_at(row: list[Button], point: tuple[float, float] | None) -> Button | None:
    """Return the button at a point, if there is one."""
    if point is None:
        return None
    x, y = point
    return next((it for it in row if 0 <= x - it.x < it.width and 0 <= y - it.y < it.height), None)


def draw_buttons(surface: Surface, row: list[Button], hovered: Button | None, pressed: str) -> None:
    """Draw the buttons; the one below the pointer is tinted, and dark while the key `pressed` is its own."""
    for button in row:
        is_hovered = button == hovered
        is_pressed = is_hovered and pressed == button.key
        fill = ACCENT if is_pressed else TINT if button.is_on or is_hovered else PAPER
        border = ACCENT if is_pressed or button.is_on or is_hovered else LINE
        color = PAPER if is_pressed else ACCENT if button.is_on else TEXT
        surface.box(button.x, button.y, button.width, button.height, fill, border, radius=8)
        middle = button.x + button.width / 2
        size, weight = (18, 700) if button.key.isdigit() else (14, 600)
        surface.text(button.label, (middle, button.y + 22), size, color, weight, "center")
        surface.text(button.detail, (middle, button.y + 39), 11, PALE if is_pressed else GRAY, 400, "center")
