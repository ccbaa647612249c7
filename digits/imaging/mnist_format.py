"""Normalize the image of one digit to MNIST format."""

import cv2
import numpy as np

from digits.imaging.components import cut_out, find_components
from digits.imaging.ink import find_ink

SIDE = 28  # side of an MNIST image, pixels
BOX = 20  # side of the square that the digit's longer side fills, pixels (LeCun et al. 1998, section III.A)
CENTER = 14  # row and column of the center of mass: the mean over MNIST's training images is 14.0 for both

_COORDINATES = np.arange(SIDE)
_BLOT = 7.0  # smallest radius of the largest circle inside a dot, pixels
_SOLID = 0.9  # smallest share of its convex hull that a dot fills
_SECOND = 0.1  # smallest share of the ink that makes a second figure; 0.14% of MNIST's training images have one
_STRAIGHT = 0.25  # largest standard deviation of a straight stroke across, as a share of that along it
_LEAN_RIGHT, _LEAN_LEFT = 0.4, 0.25  # largest lean of a 1, x per y; 70% and 98% of MNIST's training 1s lean less
_SEGMENT = 0.7  # smallest height of a digit beside others, as a share of the height of all


def to_mnist(image: np.ndarray) -> np.ndarray:
    """Normalize the image of one digit to MNIST format.

    First the ink is separated from the background (`ink.find_ink`): color is reduced to the gray that shows the ink
    best; the background is estimated as a smooth surface or, where a shadow or a table has edges, locally; printed
    lines are removed. Then dust and parts of a frame are removed. The remaining ink is cropped, scaled into a 20-pixel
    box and centered. An image already in MNIST format is returned unchanged, to the pixel.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA; dark ink on light or the reverse.

    Returns:
        float32 [28, 28] in [0, 1], ink bright, center of mass at the center (LeCun et al. 1998, section III.A).

    Raises:
        BlankImage: no ink was found.
    """
    if _is_mnist_format(image):
        return image.astype(np.float32) / 255
    ink = find_ink(image)
    components = find_components(ink)
    return ink_to_mnist(cut_out(ink, components, np.flatnonzero(components.kept)))


def ink_to_mnist(ink: np.ndarray) -> np.ndarray:
    """Crop ink, scale it into MNIST's box and center it.

    Args:
        ink: float32 [h, w] in [0, 1], ink bright, not all 0.

    Returns:
        float32 [28, 28] in [0, 1].
    """
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return _center(_fit_box(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))


def count_segments(image: np.ndarray) -> int:
    """Count large connected components that do not overlap from left to right, or from top to bottom.

    Args:
        image: float32 [28, 28] in MNIST format.

    Returns:
        2 for "38", 1 for a 5 whose bar is detached, 0 for a blank image.
    """
    count, _, boxes, _ = cv2.connectedComponentsWithStats((image > 0.3).astype(np.uint8), connectivity=8)
    if count == 1:
        return 0
    boxes = boxes[1:]  # the first is the background
    x, y, width, height = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    total_width, total_height = (x + width).max() - x.min(), (y + height).max() - y.min()
    tall = height >= _SEGMENT * total_height
    wide = (width >= _SEGMENT * total_width) & (height >= 0.25 * total_height)  # the bar of a 5 is wide, but too flat
    return max(1, _count_disjoint(x[tall], width[tall]), _count_disjoint(y[wide], height[wide]))


def is_blot(image: np.ndarray) -> bool:
    """Whether the ink is one convex, filled shape, as a dot is.

    Args:
        image: float32 [28, 28] in MNIST format.
    """
    mask = np.pad((image > 0.5).astype(np.uint8), 1)
    if cv2.distanceTransform(mask, cv2.DIST_L2, 5).max() < _BLOT:
        return False
    outline = cv2.findNonZero(mask)
    return mask.sum() > _SOLID * cv2.contourArea(cv2.convexHull(outline))


def is_slash(image: np.ndarray) -> bool:
    """Whether the ink is one straight stroke that leans as a slash does, or lies: few people write a 1 so.

    Args:
        image: float32 [28, 28] in MNIST format.
    """
    moments = cv2.moments(image)
    if not moments["m00"]:
        return False
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / moments["m00"]
    (across, along), axes = np.linalg.eigh(covariance)
    x, y = axes[:, 1] * np.sign(axes[1, 1] or 1)  # down the stroke
    return across <= _STRAIGHT**2 * along and not -_LEAN_LEFT * y <= -x <= _LEAN_RIGHT * y


def has_second_figure(image: np.ndarray) -> bool:
    """Whether there is more ink entirely to the left or right of the largest component, as in 4² or -5.

    Args:
        image: float32 [28, 28] in MNIST format.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats((image > 0.3).astype(np.uint8), connectivity=8)
    x, _, width, _, area = stats[1:].T  # the first is the background
    main = area.argmax()
    is_beside = (x >= x[main] + width[main]) | (x + width <= x[main])
    return bool(area[is_beside].sum() > _SECOND * area.sum())


def _is_mnist_format(image):
    """Whether it is 28x28, bright on pure black, 20 pixels on its longer side, center of mass within a pixel of 14."""
    if image.shape != (SIDE, SIDE) or image.max() < 250:
        return False
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    longer = 1 + max(rows[-1] - rows[0], columns[-1] - columns[0])
    mass = np.array([image.sum(1) @ _COORDINATES, image.sum(0) @ _COORDINATES]) / image.sum()
    return longer == BOX and bool((np.abs(mass - CENTER) <= 1).all())


def _count_disjoint(starts, sizes):
    """Count intervals from left to right, skipping those that overlap the last one counted."""
    count, end = 0, -1
    for start, size in sorted(zip(starts, sizes, strict=True)):
        if start >= end:
            count, end = count + 1, start + size
    return count


def _fit_box(ink):
    """Scale ink so that its longer side is 20 pixels; shrinking averages the pixels that fall into one."""
    scale = BOX / max(ink.shape)
    size = [max(1, round(side * scale)) for side in ink.shape[::-1]]
    box = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.clip(box / box.max(), 0, 1)


def _center(box):
    """Place [h, w] into [28, 28] with its center of mass at the center, rounded to a pixel and without cropping."""
    total = box.sum()
    starts = []
    for axis, size in enumerate(box.shape):
        mass = box.sum(1 - axis) @ np.arange(size) / total
        starts.append(int(np.clip(round(CENTER - mass), 0, SIDE - size)))
    image = np.zeros((SIDE, SIDE), np.float32)
    image[starts[0] : starts[0] + box.shape[0], starts[1] : starts[1] + box.shape[1]] = box
    return image
