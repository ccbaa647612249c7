"""The lines of ruled or squared paper, told from strokes."""

import cv2
import numpy as np

from digits.imaging.components import SURE

FAINT = 0.1  # share of full ink; a printed line may be as pale as this

# Shares of the picture's longer side
_THIN = 1 / 60  # a printed line is at most this thick
_RUN = 1 / 50  # tilted, it is a stair of such steps
_GAP = 1 / 12  # strokes that cross it make gaps up to this

_LONG = 0.6  # of the shorter side; a printed line goes on as far as this
_SEVERAL = 3  # lines make the paper a ruled one
_SMALLEST = 64  # pixels of the shorter side; in smaller pictures, strokes are as thin as lines


def find_lines(ink: np.ndarray) -> np.ndarray | None:
    """Find printed lines across and upright; strokes that cross them stay whole.

    A line is thin and nearly straight. It goes from border to border, past all the rest, or is one of several: without
    this, a tall 1 would be one. Upright ones count only beside some across: 111 is a number.

    Args:
        ink: float32 [h, w] in [0, 1], ink bright.

    Returns:
        bool [h, w], where there is a line and no stroke over it; None if there are none.
    """
    if min(ink.shape) < _SMALLEST:
        return None
    across, ruled = _find_across(ink)
    upright, _ = _find_across(ink.T, ruled)
    found = [lines for lines in (across, None if upright is None else upright.T) if lines is not None]
    return np.logical_or.reduce(found) if found else None


def _find_across(ink, ruled=None):
    """Lines across, bool [h, w] or None, and whether they are several: lines of ruled paper.

    `ruled` says whether the paper is known to be.
    """
    side, width = max(ink.shape), ink.shape[1]
    mask = (ink > FAINT).astype(np.uint8)
    if mask.any(0).sum() < _LONG * width:
        return None, False
    thickest, step = round(_THIN * side) + 2, round(_RUN * side)
    thin = mask & ~cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thickest, 1), np.uint8))
    runs = cv2.dilate(thin, np.ones((3, 1), np.uint8))  # so that a tilted line's steps overlap
    runs = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, max(1, step // 2)), np.uint8))
    runs = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((1, step), np.uint8))
    if runs.any(0).sum() < _LONG * width / 2:
        return None, False
    joined = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((3, round(_GAP * side)), np.uint8))
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    stats[0] = 0
    flat = stats[:, 3] < 0.25 * stats[:, 2]
    long = flat & (stats[:, 2] >= _LONG * width)
    through = (long & (stats[:, 0] <= 2) & (stats[:, 0] + stats[:, 2] >= width - 2)).sum()
    several = ruled is not False and (long.sum() >= _SEVERAL or through >= (1 if ruled else 2))
    if several:  # the paper is ruled: shorter ones are lines too, and what a thick stroke leaves of them at the border
        at_border = (stats[:, 0] <= 2) | (stats[:, 0] + stats[:, 2] >= width - 2)
        long = flat & (stats[:, 2] >= np.where(at_border, _LONG / 6, _LONG / 2) * width)
    lines, thickness = np.zeros(ink.shape, bool), 1
    rows = np.arange(len(ink), dtype=np.float32)[:, None]
    for number in np.flatnonzero(long):
        x, y, w, h = stats[number, :4]
        at, along = np.nonzero((numbers[y : y + h, x : x + w] == number) & (thin[y : y + h, x : x + w] > 0))
        if len(at) < w / 4:
            continue
        line = np.polyval(np.polyfit(x + along, y + at, 1 + (w > 0.9 * width)), np.arange(width, dtype=np.float32))
        thick = len(at) / len(np.unique(along))
        thickness = max(thickness, thick)
        paleness = np.median(ink[y + at, x + along])  # what is much darker on the line is a stroke along it
        lines |= (np.abs(rows - line.astype(np.float32)) <= 1 + 0.75 * thick) & (ink < 1.8 * paleness)
    stroke = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((round(2 * thickness) + 2, 1), np.uint8))
    lines &= stroke == 0
    if not several:
        rest = np.flatnonzero(((ink >= SURE) & ~lines).any(0))
        if not (through and len(rest) and 0.03 * width < rest[0] and rest[-1] < 0.97 * width):
            return None, False
    return lines, several
