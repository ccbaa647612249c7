"""Several digits in one picture: where each is, in reading order, and each in MNIST's form."""

from dataclasses import dataclass

import numpy as np

from digits.imaging.components import find_pieces, keep_pieces
from digits.imaging.ink import BlankImage, find_ink
from digits.imaging.mnist_format import ink_to_mnist

_PAGE_SIDE = 1200  # larger pictures are shrunk to this: a digit a fortieth of the page has 30 pixels then
_MOST_PIECES = 500  # a page of digits has fewer; of a texture, the largest are looked at

# Pieces of one digit, all lengths as shares of the taller one's height
_ABOVE = 0.35  # gap below a bar, or above a foot
_BESIDE = 0.15  # gap beside a stroke of a 4
_STROKE = 0.75  # what is less tall than this share of its neighbor may be a stroke of it
_OVERLAP = 0.4  # share of the narrower one's width that lies over the other
_SMALL = 0.4  # of the height most figures have: what is less tall is a dash, a comma, dust
_SAME_LINE = 0.5  # of a height: how far apart neighbors in a line may be, up and down


@dataclass(frozen=True, eq=False)
class Figure:
    """A digit, or what else was written: `box` (x, y, width, height) in pixels of the picture, the number of its
    `line` from 0, and `seen`, its ink alone in MNIST's form, float32 [28, 28]."""

    box: tuple[int, int, int, int]
    line: int
    seen: np.ndarray


def find_digits(image: np.ndarray) -> list[Figure]:
    """Find what is written in a picture, digit by digit.

    Pieces of ink are joined to figures where one lies above the other, as the bar of a 5, or is a stroke close beside,
    as in a 4. Digits that touch stay one figure.

    Args:
        image: as `preprocess.to_mnist` takes it.

    Returns:
        The figures in reading order: lines from top to bottom, which may be tilted, each from left to right. An
        empty list if the picture is blank.
    """
    try:
        ink = find_ink(image, _PAGE_SIDE)
    except BlankImage:
        return []
    pieces = find_pieces(ink)
    kept = np.flatnonzero(pieces.kept)
    sizes = pieces.boxes[kept, 2] * pieces.boxes[kept, 3]
    kept = kept[np.argsort(-sizes, kind="stable")[:_MOST_PIECES]]
    groups = _drop_small(_join([_Group(pieces.boxes[[n]], [n]) for n in kept]))
    scale = max(image.shape[:2]) / max(ink.shape)
    return [
        Figure(_scaled(group, scale, image.shape), line, _cut_out(group, ink, pieces))
        for line, members in enumerate(_lines(groups))
        for group in members
    ]


class _Group:
    """Pieces that are one figure; `x y right bottom` of their common box."""

    def __init__(self, boxes, numbers):
        self.numbers, self.boxes = numbers, boxes
        self.x, self.y = boxes[:, :2].min(0).tolist()
        self.right, self.bottom = (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
        self.width, self.height = self.right - self.x, self.bottom - self.y
        self.middle = self.y + self.height / 2

    def joined(self, other):
        return _Group(np.concatenate([self.boxes, other.boxes]), self.numbers + other.numbers)


def _join(groups):
    """Join the two closest that are one figure, until there are none."""
    while len(groups) > 1:
        distances = _distances(groups)
        i, j = sorted(np.unravel_index(distances.argmin(), distances.shape))
        if distances[i, j] == np.inf:
            break
        groups[i] = groups[i].joined(groups.pop(j))
    return groups


def _distances(groups):
    """float [n, n]: how far apart parts of a figure are, as a share of the taller one's height; inf for two figures."""
    x, y, right, bottom = np.array([(group.x, group.y, group.right, group.bottom) for group in groups], float).T
    width, height = right - x, bottom - y
    tall = np.maximum.outer(height, height)
    gap_x = (np.maximum.outer(x, x) - np.minimum.outer(right, right)) / tall
    gap_y = (np.maximum.outer(y, y) - np.minimum.outer(bottom, bottom)) / tall
    a_stroke = np.minimum.outer(height, height) < _STROKE * tall
    above = -gap_x * tall >= _OVERLAP * np.minimum.outer(width, width)
    one = above & (gap_y <= np.where(a_stroke, _ABOVE, _BESIDE))
    one |= a_stroke & (gap_x <= _BESIDE) & (gap_y <= _BESIDE)
    np.fill_diagonal(one, False)
    return np.where(one, np.maximum(0, np.maximum(gap_x, gap_y)), np.inf)


def _drop_small(groups):
    """Without dashes and dust; the usual height is that of the figure in the middle of all the height."""
    heights = np.sort([group.height for group in groups])
    usual = heights[np.searchsorted(heights.cumsum(), heights.sum() / 2)]
    return [group for group in groups if group.height >= _SMALL * usual]


def _lines(groups):
    """Groups -> lists of groups, line by line; a line goes on from its last figure, so it may be tilted."""
    lines = []
    for group in sorted(groups, key=lambda group: group.x):
        away = [abs(line[-1].middle - group.middle) / max(group.height, line[-1].height) for line in lines]
        if away and min(away) < _SAME_LINE:
            lines[int(np.argmin(away))].append(group)
        else:
            lines.append([group])
    return sorted(lines, key=lambda line: np.mean([group.middle for group in line]))


def _cut_out(group, ink, pieces):
    y, x = max(0, group.y - 1), max(0, group.x - 1)  # with room for the soft edge of the strokes
    part = np.s_[y : group.bottom + 1, x : group.right + 1]
    kept = np.zeros(len(pieces.boxes), bool)
    kept[group.numbers] = True
    return ink_to_mnist(keep_pieces(ink[part], pieces.numbers[part], kept))


def _scaled(group, scale, shape):
    x, y = round(group.x * scale), round(group.y * scale)
    return x, y, min(round(group.right * scale), shape[1]) - x, min(round(group.bottom * scale), shape[0]) - y
