"""Segmentation: find every digit in an image, in reading order, each normalized to MNIST format."""

from dataclasses import dataclass

import numpy as np

from digits.imaging.components import INK, cut_out, find_components
from digits.imaging.ink import BlankImage, find_ink
from digits.imaging.mnist_format import ink_to_mnist
from digits.imaging.ruled_lines import find_joining_line

_PAGE_SIDE = 1200  # longer side that larger images are shrunk to, pixels: a digit of a fortieth of it keeps 30 pixels
_MAX_COMPONENTS = 500  # largest components considered; a page of digits has fewer, a texture more

# Components of one digit; lengths are shares of the taller component's height
_GAP_ABOVE = 0.35  # largest gap between a bar and the stroke below it, or between a stroke and a foot below it
_GAP_BESIDE = 0.15  # largest gap between two strokes side by side, as in a 4
_GAP_BROKEN = 0.05  # the same if one is less than half as tall: part of a broken stroke, or an exponent farther off
_JOINED = 2.2  # width or height beyond which a printed line may have joined digits, as a share of the usual height
_DIGITS = 0.2  # smallest share of the ink of such a component that is left without the line; a dash is all line
_STROKE = 0.75  # height below which a component may be a stroke of its neighbor
_OVERLAP = 0.33  # smallest horizontal overlap of components above each other, as a share of the narrower one's width
_SMALL = 0.4  # smallest height of a digit, as a share of the usual height; less is a sign, a comma or dust
_ALONE = 0.25  # the same if it is upright and no digit is on its line or near
_DUST = 0.1  # longest side of dust, as a share of the usual height
_OVERSHOOT = 0.03  # smallest rise of a slash above and below its neighbor, as a share of that one's height
_SLASH_LEAN = 0.4  # smallest lean of a slash, x per y
_SLASH_STRAIGHT = 0.9  # smallest correlation of x and y in a slash
_FAR = 1.0  # largest distance of a sign from the nearest digit, as a share of the usual height
_SAME_LINE = 0.5  # largest vertical distance between neighbors on a line, as a share of the taller one's height


@dataclass(frozen=True, eq=False)
class Segment:
    """A digit, or anything else written, in an image.

    Attributes:
        box: x, y, width and height in the image, pixels.
        line: index of its line of writing.
        image: its ink alone in MNIST format, float32 [28, 28].
        ink: the same, cropped, float32 [h, w] in [0, 1].
        is_small: whether it is much smaller than the others, as an exponent is.
        is_sign: whether its size, place or slope is that of a point, a comma, a dash or a slash.
    """

    box: tuple[int, int, int, int]
    line: int
    image: np.ndarray
    ink: np.ndarray
    is_small: bool = False
    is_sign: bool = False


def find_digits(image: np.ndarray) -> list[Segment]:
    """Find the digits in an image.

    Components of ink are merged into one segment if one lies above the other, as the bar of a 5, or is a stroke close
    beside it, as in a 4. Digits that touch stay one segment; see `touching.cut_in_two`.

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
    components = _find_components(ink)
    kept = np.flatnonzero(components.kept)
    sizes = components.boxes[kept, 2] * components.boxes[kept, 3]
    kept = kept[np.argsort(-sizes, kind="stable")[:_MAX_COMPONENTS]]
    groups = _merge([_Group(components.boxes[[n]], [n]) for n in kept])
    large, small = _split_by_size(groups)
    scale = max(image.shape[:2]) / max(ink.shape)
    segments = []
    for line, members in enumerate(_split_into_lines(large, small)):
        for group in members:
            box = _scale_box(group, scale, image.shape)
            part = cut_out(ink, components, group.indices)
            segments.append(Segment(box, line, ink_to_mnist(part), part, group in small, _is_sign(group, large, ink)))
    return segments


def _find_components(ink):
    """Find components, once more if printed lines have joined some; erases these lines from `ink`."""
    components = find_components(ink)
    usual = _usual(components.boxes[components.kept, 3])
    lines = np.zeros(ink.shape, bool)
    for n in np.flatnonzero(components.kept & (components.boxes[:, 2:].max(1) > _JOINED * usual)):
        x, y, width, height = components.boxes[n]
        part = np.s_[y : y + height, x : x + width]
        component = components.labels[part] == n + 1
        if width > height:
            line = find_joining_line(ink, component, x, y, usual)
        else:
            line = find_joining_line(ink.T, component.T, y, x, usual)
            line = None if line is None else line.T
        if line is not None and (component & ~line[part]).sum() >= _DIGITS * component.sum():
            lines |= line
    if not lines.any() or not (ink[~lines] > INK).any():
        return components
    ink[lines] = 0
    return find_components(ink)


def _usual(heights):
    """The usual height: the median, each height weighted by itself."""
    heights = np.sort(heights)
    return heights[np.searchsorted(heights.cumsum(), heights.sum() / 2)]


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
    beside = np.where(np.minimum.outer(height, height) < 0.5 * taller, _GAP_BROKEN, _GAP_BESIDE)
    is_one |= has_stroke & (gap_x <= beside) & (gap_y <= _GAP_BESIDE)
    np.fill_diagonal(is_one, False)
    return np.where(is_one, np.maximum(0, np.maximum(gap_x, gap_y)), np.inf)


def _split_by_size(groups):
    """Split groups into digits and small signs beside them; drop dust, and small ink that is not beside a digit."""
    usual = _usual([group.height for group in groups])
    large = [group for group in groups if group.height >= _SMALL * usual]
    digits, small = list(large), []
    for group in groups:
        if group.height >= _SMALL * usual or max(group.width, group.height) < _DUST * usual:
            continue
        gap = min(_gap(group, digit) for digit in large)
        if 0 <= gap <= _FAR * usual:
            small.append(group)
        elif gap == np.inf and group.width < group.height >= _ALONE * usual and _is_apart(group, large):
            digits.append(group)
    return digits, _merge_signs(small)


def _is_apart(group, others):
    """Whether a group is farther from all others than its own height."""
    return all(
        max(group.x - other.right, other.x - group.right, group.y - other.bottom, other.y - group.bottom) > group.height
        for other in others
    )


def _is_sign(group, large, ink):
    others = [other for other in large if other is not group]
    if not others:
        return False
    nearest = min(others, key=lambda other: abs(other.x - group.x) + abs(other.middle - group.middle))
    if group not in large:
        is_low = group.middle > nearest.y + 0.6 * nearest.height and group.y < nearest.bottom + nearest.height
        return is_low or group.height < 0.25 * nearest.height or not 0.35 < group.width / group.height < 1.1
    overshoots = min(nearest.y - group.y, group.bottom - nearest.bottom) >= _OVERSHOOT * nearest.height
    return overshoots and _is_slash(ink[group.y : group.bottom, group.x : group.right] > 0.5)


def _is_slash(mask):
    """Whether a group is one straight stroke that leans far to the right."""
    y, x = np.nonzero(mask)
    if len(y) < 3 or np.ptp(x) < 2:
        return False
    lean = -np.polyfit(y, x, 1)[0]
    return lean >= _SLASH_LEAN and -np.corrcoef(x, y)[0, 1] >= _SLASH_STRAIGHT


def _merge_signs(groups):
    """Merge small groups that lie above each other: the dots of a colon, the bars of an equals sign."""
    merged = []
    for group in sorted(groups, key=lambda group: group.x):
        if merged and min(group.right, merged[-1].right) - group.x >= _OVERLAP * min(group.width, merged[-1].width):
            merged[-1] = merged[-1].merged(group)
        else:
            merged.append(group)
    return merged


def _gap(group, other):
    """Distance of two groups; infinite unless the middle of the first is between top and bottom of the second."""
    if not other.y - 0.15 * other.height <= group.middle <= other.bottom + 0.15 * other.height:
        return np.inf
    return max(group.x, other.x) - min(group.right, other.right)


def _split_into_lines(large, small):
    """Split groups into lines of writing; a digit continues the line whose last digit is vertically closest.

    Returns:
        Lists of groups. Lines may be tilted, since only neighbors are compared. A small sign joins the line of the
        nearest digit.
    """
    lines = []
    for group in sorted(large, key=lambda group: group.x):
        distances = [abs(line[-1].middle - group.middle) / max(group.height, line[-1].height) for line in lines]
        if distances and min(distances) < _SAME_LINE:
            lines[int(np.argmin(distances))].append(group)
        else:
            lines.append([group])
    lines.sort(key=lambda line: np.mean([group.middle for group in line]))
    with_signs = [list(line) for line in lines]
    for sign in small:
        nearest = min(range(len(lines)), key=lambda number: min(_gap(sign, digit) for digit in lines[number]))
        with_signs[nearest].append(sign)
    return [sorted(line, key=lambda group: group.x) for line in with_signs]


def _scale_box(group, scale, shape):
    x, y = round(group.x * scale), round(group.y * scale)
    return x, y, min(round(group.right * scale), shape[1]) - x, min(round(group.bottom * scale), shape[0]) - y
