"""The connected pieces of ink: which belong to what was written, which are dust or bits of a frame."""

from dataclasses import dataclass

import cv2
import numpy as np

# Shares of full ink
INK = 0.2  # pixels from this on that touch are one piece
SURE = 0.4  # and somewhere in a piece it has to come to this

_SPECK = 0.02  # pieces with less ink than this share of the largest piece are dust
_STRIP = 1 / 10  # of the picture's longer side: bits of a frame lie within this of the border


@dataclass(frozen=True, eq=False)
class Pieces:
    """The connected pieces of ink; piece n is row n - 1 of `boxes` and `kept`.

    `numbers` int32 [h, w]: the piece that each pixel belongs to, 0 for none; `boxes` int [pieces, 4]: x, y, width,
    height; `kept` bool [pieces]: false for dust and for what reaches in from the border, as bits of a frame.
    """

    numbers: np.ndarray
    boxes: np.ndarray
    kept: np.ndarray


def find_pieces(ink: np.ndarray) -> Pieces:
    """Ink float32 [h, w], some of it 1 -> its connected pieces."""
    mask = ink > INK
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    inside, boxes = numbers[mask], stats[1:, :4]
    amounts = np.bincount(inside, ink[mask], count)[1:]
    amounts *= np.bincount(inside[ink[mask] >= SURE], minlength=count)[1:] > 0
    edge = _is_edge(numbers, boxes, inside)
    kept = (amounts >= _SPECK * amounts[~edge].max()) & ~edge
    return Pieces(numbers, boxes, kept)


def keep_pieces(ink: np.ndarray, numbers: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The ink of the pieces chosen, bool [pieces], with the soft edge of their strokes."""
    mask = np.append(False, kept)[numbers].astype(np.uint8)
    return ink * cv2.dilate(mask, np.ones((3, 3), np.uint8))


def _is_edge(numbers, boxes, inside):
    """bool [pieces]: bits of a frame, or of what lies around the sheet.

    All of such a bit is in a strip along the border. It touches that flat, or is far from the largest of the rest and
    touches the border or is small.
    """
    height, width = numbers.shape
    strip = round(_STRIP * max(height, width))
    count = len(boxes) + 1
    sizes = np.bincount(inside, minlength=count)[1:]
    core = numbers[strip : height - strip, strip : width - strip]
    outside = sizes - np.bincount(core.ravel(), minlength=count)[1:] >= 0.95 * sizes
    border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    contact = np.bincount(border, minlength=count)[1:]
    at_border = outside & ((contact > 0) | (sizes < 0.1 * sizes.max(initial=0)))
    if not at_border.any() or at_border.all():
        return np.zeros(len(boxes), bool)
    x, y, w, h = boxes.T
    main = np.flatnonzero(~at_border)[sizes[~at_border].argmax()]
    gap_x = np.maximum(x, x[main]) - np.minimum(x + w, x[main] + w[main])
    gap_y = np.maximum(y, y[main]) - np.minimum(y + h, y[main] + h[main])
    far = np.maximum(gap_x, gap_y) > 0.15 * max(w[main], h[main])
    return at_border & (far | (contact >= 0.5 * np.maximum(w, h)))
