"""Segmentation: find every digit in an image, in reading order, each normalized to MNIST format."""

from dataclasses import dataclass

import numpy as np

from digits.imaging.components import find_components, keep_components
from digits.imaging.ink import BlankImage, find_ink
from digits.imaging.mnist_format import ink_to_mnist

_PAGE_SIDE = 1200  # longer side that larger images are shrunk to, pixels: a digit of a fortieth of it keeps 30 pixels
_MAX_COMPONENTS = 500  # largest components considered; a page of digits has fewer, a texture more

# Components of one digit; lengths are shares of the taller component's height
_GAP_ABOVE = 0.35  # largest gap between a bar and the stroke below it, or between a stroke and a foot below it
_GAP_BESIDE = 0.15  # largest gap between two strokes side by side, as in a 4
_STROKE = 0.75  # height below which a component may be a stroke of its neighbor
_OVERLAP = 0.4  # smallest horizontal overlap of components above each other, as a share of the narrower one's width
_SMALL = 0.4  # smallest height of a digit, as a share of the usual height; less is a dash, a comma or dust
_SAME_LINE = 0.5  # largest vertical distance between neighbors on a line, as a share of the taller one's height


@dataclass(frozen=True, eq=False)
class Segment:
    """A digit, or anything else written, in an image.

    Attributes:
        box: x, y, width and height in the image, pixels.
        line: index of its line of writing.
        image: its ink alone in MNIST format, float32 [28, 28].
    """

    box: tuple[int, int, int, int]
    line: int
    image: np.ndarray


def find_digits(image: np.ndarray) -> list[Segment]:
    """Find the digits in an image.

    Components of ink are merged into one segment if one lies above the other, as the bar of a 5, or is a stroke close
    beside it, as in a 4. Digits that touch stay one segment.

    Args:
        image: as `mnist_format.to_mnist` takes it.

    Returns:
        Segments in reading order: lines, which may be tilted, from top to bottom, each from left to right. The list is
        empty if the image is blank.
    """
    try:
        ink = find_ink(image, _PAGE_SIDE)
    except BlankImage:
        return []
    components = find_components(ink)
    kept = np.flatnonzero(components.kept)
    sizes = components.boxes[kept, 2] * components.boxes[kept, 3]
    kept = kept[np.argsort(-sizes, kind="stable")[:_MAX_COMPONENTS]]
    groups = _drop_small(_merge([_Group(components.boxes[[n]], [n]) for n in kept]))
    scale = max(image.shape[:2]) / max(ink.shape)
    return [
        Segment(_scale_box(group, scale, image.shape), line, _cut_out(group, ink, components))
        for line, members in enumerate(_split_into_lines(groups))
        for group in members
    ]


class _Group:
    """Components of one segment; `x`, `y`, `right` and `bottom` are the sides of their common box."""

    def __init__(self, boxes, indices):
        self.indices, self.boxes = indices, boxes
        self.x, self.y = boxes[:, :2].min(0).tolist()
        self.right, self.bottom = (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
        self.width, self.height = self.right - self.x, self.bottom - self.y
        self.middle = self.y + self.height / 2

    def merged(self, other):
        return _Group(np.concatenate([self.boxes, other.boxes]), self.indices + other.indices)


def _merge(groups):
    """Merge the closest pair of groups that belong to one digit until no such pair is left."""
    while len(groups) > 1:
        distances = _distances(groups)
        i, j = sorted(np.unravel_index(distances.argmin(), distances.shape))
        if distances[i, j] == np.inf:
            break
        groups[i] = groups[i].merged(groups.pop(j))
    return groups


def _distances(groups):
    """Distance of each pair of groups, as a share of the taller one's height; inf unless they belong to one digit.

    Returns:
        float [n, n].
    """
    x, y, right, bottom = np.array([(group.x, group.y, group.right, group.bottom) for group in groups], float).T
    width, height = right - x, bottom - y
    taller = np.maximum.outer(height, height)
    gap_x = (np.maximum.outer(x, x) - np.minimum.outer(right, right)) / taller
    gap_y = (np.maximum.outer(y, y) - np.minimum.outer(bottom, bottom)) / taller
    has_stroke = np.minimum.outer(height, height) < _STROKE * taller
    is_above = -gap_x * taller >= _OVERLAP * np.minimum.outer(width, width)
    is_one = is_above & (gap_y <= np.where(has_stroke, _GAP_ABOVE, _GAP_BESIDE))
    is_one |= has_stroke & (gap_x <= _GAP_BESIDE) & (gap_y <= _GAP_BESIDE)
    np.fill_diagonal(is_one, False)
    return np.where(is_one, np.maximum(0, np.maximum(gap_x, gap_y)), np.inf)


def _drop_small(groups):
    """Drop dashes and dust; the usual height is the median over groups, each weighted by its height."""
    heights = np.sort([group.height for group in groups])
    usual = heights[np.searchsorted(heights.cumsum(), heights.sum() / 2)]
    return [group for group in groups if group.height >= _SMALL * usual]


def _split_into_lines(groups):
    """Split groups into lines of writing; a group continues the line whose last group is vertically closest.

    Returns:
        Lists of groups. Lines may be tilted, since only neighbors are compared.
    """
    lines = []
    for group in sorted(groups, key=lambda group: group.x):
        distances = [abs(line[-1].middle - group.middle) / max(group.height, line[-1].height) for line in lines]
        if distances and min(distances) < _SAME_LINE:
            lines[int(np.argmin(distances))].append(group)
        else:
            lines.append([group])
    return sorted(lines, key=lambda line: np.mean([group.middle for group in line]))


def _cut_out(group, ink, components):
    """Normalize the ink of one group to MNIST format, float32 [28, 28]."""
    y, x = max(0, group.y - 1), max(0, group.x - 1)  # one more pixel, for the soft edges of the strokes
    part = np.s_[y : group.bottom + 1, x : group.right + 1]
    kept = np.zeros(len(components.boxes), bool)
    kept[group.indices] = True
    return ink_to_mnist(keep_components(ink[part], components.labels[part], kept))


def _scale_box(group, scale, shape):
    x, y = round(group.x * scale), round(group.y * scale)
    return x, y, min(round(group.right * scale), shape[1]) - x, min(round(group.bottom * scale), shape[0]) - y
