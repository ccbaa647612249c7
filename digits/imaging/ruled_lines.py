"""Find the printed lines of ruled or squared paper without taking strokes for them."""

import cv2
import numpy as np

from digits.imaging.components import STRONG_INK

FAINT = 0.1  # ink of the palest printed line, as a share of full ink

# Shares of the image's longer side
_THICKNESS = 1 / 60  # largest thickness of a printed line
_STEP = 1 / 50  # length of the steps that a tilted line consists of
_GAP = 1 / 12  # largest gap that a crossing stroke leaves in a line

_LENGTH = 0.6  # smallest length of a printed line, as a share of the image's width (height for vertical lines)
_MIN_LINES = 3  # lines that make the paper ruled
_BETWEEN = 0.15  # largest thickness of a line that joins digits, as a share of their height
_MIN_SIDE = 64  # shorter side of the smallest image searched, pixels; in smaller ones strokes are as thin as lines


def find_lines(ink: np.ndarray) -> np.ndarray | None:
    """Find horizontal and vertical printed lines; strokes that cross them are left out.

    A line is thin and nearly straight. It must also run from border to border, farther than all other ink, or be one of
    several lines; otherwise a tall 1 would be a line. Vertical lines count only together with horizontal ones: 111 is a
    number.

    Args:
        ink: float32 [h, w] in [0, 1], ink bright.

    Returns:
        bool [h, w], true on a line where no stroke crosses it; None if there are no lines.
    """
    if min(ink.shape) < _MIN_SIDE:
        return None
    horizontal, is_ruled = _find_horizontal(ink)
    vertical, _ = _find_horizontal(ink.T, is_ruled)
    found = [lines for lines in (horizontal, None if vertical is None else vertical.T) if lines is not None]
    return np.logical_or.reduce(found) if found else None


def find_joining_line(ink: np.ndarray, component: np.ndarray, x: int, y: int, usual: float) -> np.ndarray | None:
    """Find the printed line that joins digits to one component: between them, it alone has ink.

    Args:
        ink: float32 [h, w] in [0, 1]; for a vertical line, everything is transposed.
        component: bool, the crop of a component much wider than a digit.
        x, y: the corner of the crop.
        usual: the usual height of a digit, pixels.

    Returns:
        bool [h, w], true on the line, wherever it goes on, where no stroke crosses it; None if there is no such line.
    """
    counts = component.sum(0)
    thickest = max(3, _BETWEEN * usual)
    between = np.flatnonzero((counts > 0) & (counts <= thickest))
    if len(between) < usual / 2:
        return None
    middles = (component * np.arange(len(component))[:, None]).sum(0)[between] / counts[between]
    near = np.abs(middles - np.median(middles)) <= usual
    for _ in range(3):
        if near.sum() < usual / 2:
            return None
        slope, start = np.polyfit(between[near], middles[near], 1)
        near = np.abs(middles - slope * between - start) <= thickest / 2
    thick = np.median(counts[between[near]])
    center = y + start + slope * (np.arange(ink.shape[1]) - x)
    line = np.abs(np.arange(len(ink))[:, None] - center) <= 1 + 0.75 * thick
    mask = (ink > FAINT).astype(np.uint8)
    return line & (cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((round(2 * thick) + 2, 1), np.uint8)) == 0)


def _find_horizontal(ink, is_ruled=None):
    """Find horizontal lines.

    Args:
        ink: as `find_lines` takes it.
        is_ruled: whether the paper is ruled, None if unknown.

    Returns:
        bool [h, w], or None if there are no lines; and whether the paper is ruled.
    """
    side, width = max(ink.shape), ink.shape[1]
    mask = (ink > FAINT).astype(np.uint8)
    if mask.any(0).sum() < _LENGTH * width:
        return None, False
    thickest, step = round(_THICKNESS * side) + 2, round(_STEP * side)
    thin = mask & ~cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thickest, 1), np.uint8))
    runs = cv2.dilate(thin, np.ones((3, 1), np.uint8))  # makes the steps of a tilted line overlap
    runs = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, max(1, step // 2)), np.uint8))
    runs = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((1, step), np.uint8))
    if runs.any(0).sum() < _LENGTH * width / 2:
        return None, False
    joined = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((3, round(_GAP * side)), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    stats[0] = 0
    flat = stats[:, 3] < 0.25 * stats[:, 2]
    long = flat & (stats[:, 2] >= _LENGTH * width)
    through = (long & (stats[:, 0] <= 2) & (stats[:, 0] + stats[:, 2] >= width - 2)).sum()
    several = is_ruled is not False and (long.sum() >= _MIN_LINES or through >= (1 if is_ruled else 2))
    if several:  # ruled paper has shorter lines too, and a thick stroke leaves short parts of a line at the border
        at_border = (stats[:, 0] <= 2) | (stats[:, 0] + stats[:, 2] >= width - 2)
        long = flat & (stats[:, 2] >= np.where(at_border, _LENGTH / 6, _LENGTH / 2) * width)
    lines, thickness = np.zeros(ink.shape, bool), 1
    rows = np.arange(len(ink), dtype=np.float32)[:, None]
    for label in np.flatnonzero(long):
        x, y, w, h = stats[label, :4]
        line_y, line_x = np.nonzero((labels[y : y + h, x : x + w] == label) & (thin[y : y + h, x : x + w] > 0))
        if len(line_y) < w / 4:
            continue
        degree = 1 + (w > 0.9 * width)
        center = np.polyval(np.polyfit(x + line_x, y + line_y, degree), np.arange(width, dtype=np.float32))
        thick = len(line_y) / len(np.unique(line_x))
        thickness = max(thickness, thick)
        strength = np.median(ink[y + line_y, x + line_x])  # a stroke along the line is much stronger
        lines |= (np.abs(rows - center.astype(np.float32)) <= 1 + 0.75 * thick) & (ink < 1.8 * strength)
    crossing = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((round(2 * thickness) + 2, 1), np.uint8))
    lines &= crossing == 0
    if not several:
        remaining = np.flatnonzero(((ink >= STRONG_INK) & ~lines).any(0))
        if not (through and len(remaining) and 0.03 * width < remaining[0] and remaining[-1] < 0.97 * width):
            return None, False
    return lines, several
