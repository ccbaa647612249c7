"""A picture to draw the window on: colors, text and shapes, at any size of the window."""

import copy
from functools import lru_cache

import cv2
import numpy as np

_SUBPIXEL_BITS = 4  # fractional bits of a coordinate


def bgr(text: str) -> tuple[int, int, int]:
    """Convert a color from RRGGBB, as on web pages, to OpenCV's order."""
    return tuple(bytes.fromhex(text)[::-1])


PAPER, PANEL, LINE, TRACK = bgr("ffffff"), bgr("f7f8fa"), bgr("e1e4ea"), bgr("e8eaf0")
TEXT, GRAY, PALE = bgr("1f2433"), bgr("6b7285"), bgr("b4bac8")
ACCENT, TINT, GOOD, DOUBT, BAD = bgr("4b57d6"), bgr("eceefb"), bgr("138a5b"), bgr("b7680a"), bgr("c23b3b")
INK = np.linspace(PAPER, TEXT, 256).round().astype(np.uint8)[:, None]  # color map [256, 1, 3], from blank to ink

_FONT = cv2.FontFace("sans")


class Surface:
    """A picture whose shapes have their place and size in units; a unit is `scale` pixels.

    Args:
        width, height: of the picture, in pixels.
        scale: pixels per unit.

    Attributes:
        pixels: uint8 [height, width, 3] BGR.
        width, height: of the picture, in units.
    """

    def __init__(self, width: int, height: int, scale: float = 1):
        self.pixels = np.full((height, width, 3), PANEL, np.uint8)
        self.scale = scale
        self.width, self.height = width / scale, height / scale

    def part(self, width: float, height: float) -> "Surface":
        """Return the upper left part, of this width and height in units; what is drawn on it is cut off there."""
        part = copy.copy(self)
        part.pixels = self.pixels[self._pixels(0, height), self._pixels(0, width)]
        part.width, part.height = width, height
        return part

    def text(self, text, point, size, color, weight=400, align="left") -> None:
        """Write text with the left end, center or right end of its baseline at `point`."""
        shift = {"left": 0, "center": 0.5, "right": 1}[align]
        x = point[0] - shift * self.text_width(text, size, weight)
        place = round(x * self.scale), round(point[1] * self.scale)
        cv2.putText(self.pixels, text, place, color, _FONT, self._font_size(size), weight)

    def text_width(self, text, size, weight=400) -> float:
        """Return the width of a text in units."""
        return _text_width(text, self._font_size(size), weight) / self.scale

    def fit(self, text, width, size, weight=400) -> str:
        """Shorten a text to a width in units, with three dots at its end."""
        while text and self.text_width(text, size, weight) > width:
            text = text.removesuffix("...")[:-1] + "..."
        return text

    def box(self, x, y, width, height, color, border=None, radius=0) -> None:
        """Fill a rectangle, perhaps with round corners and a border."""
        if radius == 0:
            rows, columns = self._pixels(y, y + height), self._pixels(x, x + width)
            self.pixels[rows, columns] = color
            return
        outline = [_outline(x, y, width, height, radius, self.scale)]
        cv2.fillPoly(self.pixels, outline, color, cv2.LINE_AA, _SUBPIXEL_BITS)
        if border:
            cv2.polylines(self.pixels, outline, True, border, self._thickness(1), cv2.LINE_AA, _SUBPIXEL_BITS)

    def line(self, start, end, color) -> None:
        """Draw a thin line."""
        start, end = ((round(x * self.scale), round(y * self.scale)) for x, y in (start, end))
        cv2.line(self.pixels, start, end, color, self._thickness(1))

    def circle(self, center, radius, color, width=None) -> None:
        """Draw a disk, or with a line width a ring."""
        thickness = cv2.FILLED if width is None else self._thickness(width)
        place = [round(value * self.scale * (1 << _SUBPIXEL_BITS)) for value in center]
        radius = round(radius * self.scale * (1 << _SUBPIXEL_BITS))
        cv2.circle(self.pixels, place, radius, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def bar(self, x, y, width, thickness, share, color, track=TRACK) -> None:
        """Draw a bar with round ends around the height y, filled from the left up to `share` of its width."""
        top = y - thickness / 2
        self.box(x, top, width, thickness, track, radius=thickness / 2)
        filled = self._pixels(x, x + share * width)
        if filled.stop > filled.start:
            rows = slice(int(top * self.scale) - 1, int((top + thickness) * self.scale) + 2)  # with their soft edges
            columns = slice(filled.stop, round((x + width) * self.scale) + 2)
            rest = self.pixels[rows, columns].copy()
            self.box(x, top, width, thickness, color, radius=thickness / 2)
            if share < 1:
                self.pixels[rows, columns] = rest

    def picture(self, image, x, y, width, height, interpolation=cv2.INTER_NEAREST) -> None:
        """Paste an image [h, w, 3], resized; what lies outside the surface is cut off."""
        left, top = round(x * self.scale), round(y * self.scale)
        size = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        place = self.pixels[top : top + size[1], left : left + size[0]]
        if image.shape[1::-1] != size:
            image = cv2.resize(image, size, interpolation=interpolation)
        place[:] = image[: place.shape[0], : place.shape[1]]

    def fade(self, x, y, width, height, color, share) -> None:
        """Cover a rectangle with a translucent color; `share` is what remains visible below it."""
        place = self.pixels[self._pixels(y, y + height), self._pixels(x, x + width)]
        place[:] = cv2.addWeighted(place, share, np.full_like(place, color), 1 - share, 0)

    def _font_size(self, size):
        return max(1, round(size * self.scale))

    def _thickness(self, width):
        return max(1, round(width * self.scale))

    def _pixels(self, start, end):
        return slice(round(start * self.scale), round(end * self.scale))


@lru_cache(maxsize=1000)
def _text_width(text, size, weight):
    return cv2.getTextSize((1, 1), text, (0, 0), _FONT, size, weight)[2]


@lru_cache(maxsize=1000)  # most shapes stay where they are
def _outline(x, y, width, height, radius, scale):
    """Return the outline of a rectangle with round corners, int32 [N, 2], in fractions of a pixel."""
    angles = np.radians(np.linspace(0, 90, 9))
    arc = radius * np.stack([np.cos(angles), np.sin(angles)], 1)  # from the right side to the lower one
    quarters = [arc, arc[:, ::-1] * (-1, 1), -arc, arc[:, ::-1] * (1, -1)]
    lower, upper = y + height - radius, y + radius
    left, right = x + radius, x + width - radius
    centers = [(right, lower), (left, lower), (left, upper), (right, upper)]
    points = np.concatenate([center + quarter for center, quarter in zip(centers, quarters, strict=True)])
    return np.round(points * scale * (1 << _SUBPIXEL_BITS)).astype(np.int32)
