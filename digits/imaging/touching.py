"""Cut a segment in two where two digits may touch."""

import numpy as np

from digits.imaging.mnist_format import ink_to_mnist
from digits.imaging.segmentation import Segment

_WIDE = 0.75  # smallest width of two digits, as a share of their height
_PLACES = np.linspace(0.28, 0.72, 12)  # where to cut, as shares of the width
_REACHES = (0.05, 0.14)  # how far a cut may stray from its place, as shares of the width
_SLOPES = (-0.35, 0, 0.35)  # of straight cuts, columns per row
_LEAST = 0.12  # smallest share of the ink on either side
_LENGTH = 0.03  # cost of a pixel of a cut, as a share of that of a pixel of ink


def cut_in_two(segment: Segment) -> list[tuple[Segment, Segment]]:
    """Cut a wide segment from top to bottom, along straight lines and along paths that cross little ink.

    Returns:
        The left and the right part of each cut; an empty list for a segment too narrow for two digits.
    """
    ink = segment.ink
    height, width = ink.shape
    if width < _WIDE * height or width < 8:
        return []
    places = np.rint(_PLACES * width).astype(int)
    rows = np.arange(height) - height / 2
    paths = [_cheapest_path(ink, place, max(2, round(reach * width))) for reach in _REACHES for place in places]
    paths += [np.rint(place - slope * rows).astype(int) for slope in _SLOPES for place in places]
    cuts = {}
    for path in paths:
        is_left = np.arange(width) < path[:, None]
        share = (ink * is_left).sum() / ink.sum()
        if _LEAST <= share <= 1 - _LEAST:
            cuts[tuple(path)] = is_left
    return [(_part(segment, is_left), _part(segment, ~is_left)) for is_left in cuts.values()]


def _cheapest_path(ink, place, reach):
    """Find the path from top to bottom over the least ink, at most `reach` from column `place` (dynamic programming).

    Returns:
        int [h], the first column to the right of the path in each row.
    """
    first = max(1, place - reach)
    cost = ink[:, first : min(ink.shape[1] - 1, place + reach + 1)] + np.float32(_LENGTH)
    total = cost.copy()
    steps = np.zeros(cost.shape, int)
    for row in range(1, len(cost)):
        above = np.pad(total[row - 1], 1, constant_values=np.inf)
        from_three = np.stack([above[:-2] + _LENGTH / 2, above[1:-1], above[2:] + _LENGTH / 2])
        steps[row] = from_three.argmin(0) - 1
        total[row] += from_three.min(0)
    path = np.empty(len(cost), int)
    column = int(total[-1].argmin())
    for row in range(len(cost) - 1, -1, -1):
        path[row] = column
        column += steps[row, column]
    return first + path


def _part(segment, mask):
    ink = segment.ink * mask
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    left, top, width, height = segment.box
    across, down = width / ink.shape[1], height / ink.shape[0]
    box = (
        left + round(across * columns[0]),
        top + round(down * rows[0]),
        max(1, round(across * (columns[-1] + 1 - columns[0]))),
        max(1, round(down * (rows[-1] + 1 - rows[0]))),
    )
    return Segment(box, segment.line, ink_to_mnist(ink), ink)
