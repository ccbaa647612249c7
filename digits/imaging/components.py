"""Connected components of ink: which belong to the writing, and which are dust or parts of a frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Shares of full ink
INK = 0.2  # threshold of the pixels that form a component
STRONG_INK = 0.4  # threshold that at least one pixel of a component must reach

_INSIDE = 0.25  # smallest height of a figure in a circle or box, as a share of that one's height
_ROUND = (0.7, 1.45)  # width of a circle or box, as a share of its height; a 0 is narrower
_CLOSED = 0.06  # widest gap in a circle or box, as a share of its longer side
_OPEN = 0.5  # smallest area inside a circle or box, as a share of its bounding box
_SPECK = 0.02  # smallest ink of a component, as a share of the largest component's; less is dust
_STRIP = 1 / 10  # width of the strip along the border that holds parts of a frame, as a share of the longer side


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components of ink; component n is row n - 1 of `boxes` and `kept`.

    Attributes:
        labels: int32 [h, w], the component of each pixel, 0 for the background.
        boxes: int32 [n, 4], x, y, width and height.
        kept: bool [n], false for dust, for ink that reaches in from the border, as parts of a frame do, and for a
            circle or box drawn around others.
    """

    labels: np.ndarray
    boxes: np.ndarray
    kept: np.ndarray


def find_components(ink: np.ndarray) -> Components:
    """Find the connected components of ink, float32 [h, w] in [0, 1] with at least one pixel of 1."""
    mask = ink > INK
    count, labels, boxes = _label(mask.view(np.uint8))
    foreground, strength = labels[mask], ink[mask]
    amounts = np.bincount(foreground, strength, count)[1:]
    amounts *= np.bincount(foreground[strength >= STRONG_INK], minlength=count)[1:] > 0
    is_frame = _is_frame(labels, boxes, foreground)
    kept = (amounts >= _SPECK * amounts[~is_frame].max()) & ~is_frame
    kept &= ~_encloses_others(labels, boxes, kept)
    return Components(labels, boxes, kept)


def cut_out(ink: np.ndarray, components: Components, chosen: Sequence[int]) -> np.ndarray:
    """Crop ink to the chosen components and the soft edges of their strokes, and erase all other ink.

    Args:
        ink: float32 [h, w] in [0, 1].
        components: of this ink.
        chosen: indices of `components.boxes`, at least one.

    Returns:
        float32, cropped to one pixel around the boxes.
    """
    boxes = components.boxes[chosen]
    left, top = np.maximum(boxes[:, :2].min(0) - 1, 0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0) + 1
    part = np.s_[top:bottom, left:right]
    is_chosen = np.zeros(len(components.boxes) + 1, np.uint8)
    is_chosen[1 + np.asarray(chosen)] = 1
    return ink[part] * cv2.dilate(is_chosen[components.labels[part]], np.ones((3, 3), np.uint8))


def _label(mask):
    """Label the connected components of a mask: their number with the background, int32 [h, w], and the boxes."""
    x, y, width, height = cv2.boundingRect(mask)  # most of an image is background
    part = np.s_[y : y + height, x : x + width]
    count, part_labels, stats, _ = cv2.connectedComponentsWithStats(mask[part], connectivity=8)
    labels = np.zeros(mask.shape, np.int32)
    labels[part] = part_labels
    return count, labels, stats[1:, :4] + np.int32([x, y, 0, 0])


def _encloses_others(labels, boxes, kept):
    """Find circles and boxes drawn around at least one other component of some height: bool [n]."""
    encloses = np.zeros(len(boxes), bool)
    x, y, width, height = boxes.T
    for n in np.flatnonzero(kept & (width > _ROUND[0] * height) & (width < _ROUND[1] * height)):
        is_inside = kept & (x > x[n]) & (y > y[n]) & (x + width < x[n] + width[n]) & (y + height < y[n] + height[n])
        if height[is_inside].max(initial=0) >= _INSIDE * height[n]:
            part = np.s_[y[n] : y[n] + height[n], x[n] : x[n] + width[n]]
            gap = round(_CLOSED * max(width[n], height[n]))
            line = np.pad((labels[part] == n + 1).astype(np.uint8), gap + 1)
            free = 1 - cv2.dilate(line, np.ones((gap + 1, gap + 1), np.uint8))
            cv2.floodFill(free, None, (0, 0), 0)  # what stays 1 is within the line
            encloses[n] = free.sum() >= _OPEN * width[n] * height[n]
    return encloses


def _spans_image(boxes, shape):
    """Whether the ink reaches all four sides, within 2% of the longer one."""
    margin = 1 + 0.02 * max(shape)
    left, top = boxes[:, :2].min(0)
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0)
    return max(left, top, shape[1] - right, shape[0] - bottom) <= margin


def _is_frame(labels, boxes, foreground):
    """Find parts of a frame, or of the surroundings of the sheet: bool [n].

    Such a component lies in a strip along the border. It also touches the border along half its length, or it is far
    from the largest of the other components and either touches the border or is small.
    """
    height, width = labels.shape
    strip = round(_STRIP * max(height, width))
    count = len(boxes) + 1
    sizes = np.bincount(foreground, minlength=count)[1:]
    core = labels[strip : height - strip, strip : width - strip]
    in_strip = sizes - np.bincount(core[core > 0], minlength=count)[1:] >= 0.95 * sizes
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    contact = np.bincount(border, minlength=count)[1:]
    at_border = in_strip & ((contact > 0) | (sizes < 0.1 * sizes.max(initial=0)))
    if not at_border.any() or at_border.all():
        return np.zeros(len(boxes), bool)
    x, y, w, h = boxes.T
    main = np.flatnonzero(~at_border)[sizes[~at_border].argmax()]
    if contact[main] and _spans_image(boxes, labels.shape):
        return np.zeros(len(boxes), bool)  # the image is cut to the ink
    gap_x = np.maximum(x, x[main]) - np.minimum(x + w, x[main] + w[main])
    gap_y = np.maximum(y, y[main]) - np.minimum(y + h, y[main] + h[main])
    far = np.maximum(gap_x, gap_y) > 0.15 * max(w[main], h[main])
    return at_border & (far | (contact >= 0.5 * np.maximum(w, h)))
