"""Separate ink (pen, pencil, chalk or paint) from paper, light, shadow, printed lines and table."""

import cv2
import numpy as np

from digits.cli import InputError
from digits.imaging.components import INK
from digits.imaging.ruled_lines import FAINT, find_lines
from digits.imaging.two_tone import find_two_tone_ink

WORKING_SIDE = 400  # longer side that larger images are shrunk to, pixels: a 20-pixel box loses finer detail anyway
MIN_CONTRAST = 24  # smallest contrast of ink, gray levels of 255

_EDGE = 0.85  # distance from the center beyond which background is expected, as a share of the way to the border
_TOLERANCE = 8.0  # gray levels around the background that belong to it
_RIDGE = 1e-3  # regularization that keeps the fit solvable for images one pixel wide
_COLORED = 16  # smallest difference between the channels of a color image, gray levels

_STRIP = 1 << 18  # pixels whose transparency is removed at a time

# Kernel sizes for uneven backgrounds, as shares of the image's longer side; strokes may be two thirds as wide
_KERNELS = (1 / 25, 1 / 12, 1 / 6, 1 / 4)
_MAX_DARK_SURROUNDINGS = 0.15  # share of the ink's surroundings that may be dark too, where lines or shadows cross it
_SMALLEST_UNEVEN = 32  # shorter side, pixels; in smaller images strokes are as wide as shadows


class BlankImage(InputError):
    """The image contains no ink."""


def find_ink(image: np.ndarray, side: int = WORKING_SIDE) -> np.ndarray:
    """Remove the background and printed lines.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA; dark ink on light or the reverse.
        side: longer side that larger images are shrunk to first, pixels.

    Returns:
        float32 [h, w] in [0, 1], ink bright; aspect ratio kept, longer side at most `side`.

    Raises:
        BlankImage: no ink was found.
    """
    gray = _to_gray(_shrink(image, side))
    ink, noise = _subtract(gray, _fit_background(gray))
    if _is_uneven(gray, ink, noise):
        found = find_two_tone_ink(gray, MIN_CONTRAST, strict=True)
        if found is None:
            found = _find_local_ink(gray)
        ink = ink if found is None else found
    if ink is None:
        ink = find_two_tone_ink(gray, MIN_CONTRAST, strict=False)
    if ink is None:
        raise BlankImage("the picture is blank: no ink was found")
    return _remove_lines(ink)


def _shrink(image, side):
    """Shrink to uint8 [h, w] or [h, w, 3]; transparency becomes white behind dark ink, black behind light ink."""
    shrink = side / max(image.shape[:2])
    size = [max(1, round(length * shrink)) for length in image.shape[1::-1]] if shrink < 1 else None
    if image.ndim == 3 and image.shape[2] == 4:
        image = _flatten(image)
    return image if size is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _flatten(image):
    """Put a picture with transparency on white if its ink is dark, on black if it is light."""
    alpha, color = image[:, :, 3], np.empty((*image.shape[:2], 3), np.uint8)
    rows = max(1, _STRIP // image.shape[1])
    strips = [slice(top, top + rows) for top in range(0, len(image), rows)]
    for strip in strips:  # as a whole, a large picture would take three times its memory
        color[strip] = cv2.multiply(image[strip, :, :3], cv2.merge([alpha[strip]] * 3), scale=1 / 255)
    ink_is_light = cv2.mean(color)[:3] > np.array(cv2.mean(alpha)[0]) / 2
    if ink_is_light.sum() <= 1:
        for strip in strips:
            color[strip] = cv2.add(color[strip], cv2.merge([255 - alpha[strip]] * 3))
    return color


def _to_gray(image):
    """Convert to float32 [h, w], 0 to 255; color by the weights that show its ink best (blue for yellow ink)."""
    if image.ndim == 2:
        return image.astype(np.float32)
    sample = np.ascontiguousarray(_sample(image))
    if np.ptp(sample, axis=2).max() < _COLORED:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    kernel = np.ones((2 * (min(sample.shape[:2]) // 8) + 1,) * 2, np.uint8)
    best, weights = MIN_CONTRAST, None
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):  # dark ink, light ink
        contrast = cv2.morphologyEx(sample, operation, kernel).reshape(-1, 3).astype(np.float32)
        strength = contrast.max(1)
        peak = np.quantile(strength, 0.98)
        if peak > best:
            best, weights = peak, contrast[strength >= 0.7 * peak].mean(0)
    if weights is None:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return cv2.transform(image.astype(np.float32), weights[None] / weights.sum())


def _subtract(gray, background):
    """Subtract the background.

    Returns:
        Ink, float32 [h, w] in [0, 1], or None if there is none; and the noise as a share of full ink.
    """
    difference = gray - background
    sample = _sample(difference)
    noise = 1.4826 * _quantile(np.abs(sample), 0.5)
    # The ink, darker or lighter than the background, has the highest contrast; single pixels weigh less than many.
    lowest, highest = difference.min(), difference.max()
    dark, light = _peak(np.maximum(-sample, 0), -lowest), _peak(np.maximum(sample, 0), highest)
    is_dark = dark >= light
    ink = np.negative(difference, out=difference) if is_dark else difference
    room = background if is_dark else 255 - background
    return _normalize(np.maximum(ink, 0, out=ink), room, noise)[0], noise / max(dark, light, 1)


def _normalize(ink, room, noise):
    """Scale ink so that full ink is 1.

    Args:
        ink: float32 [h, w], gray levels; overwritten.
        room: the largest ink that the light allows, gray levels.
        noise: standard deviation, gray levels.

    Returns:
        float32 [h, w] in [0, 1], and full ink as a share of `room`; None and 0 if the contrast is too low.
    """
    if _peak(_sample(ink), ink.max()) < max(MIN_CONTRAST, 6 * noise):
        return None, 0
    ink -= 3 * noise
    np.maximum(ink, 0, out=ink)
    ink /= np.maximum(room, MIN_CONTRAST)  # a shadow lowers the contrast of ink
    full = _peak(_sample(ink), ink.max())
    ink /= full
    return np.minimum(ink, 1, out=ink), full


def _fit_background(gray):
    """Fit a polynomial surface in x and y to the background, float32 [h, w].

    The fit starts from the border of the image and then takes in all pixels close to it, which leaves the ink out.
    """
    height, width = gray.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    terms = (np.ones_like(x), x, y, x * y, x * x, y * y)
    samples = np.stack([_sample(np.broadcast_to(term, gray.shape)).ravel() for term in terms], -1)
    values = _sample(gray).ravel()
    edge = np.maximum(np.abs(samples[:, 1]), np.abs(samples[:, 2])) > _EDGE
    background = _quantile(values[edge], 0.5)
    coefficients = np.array([background, 0, 0, 0, 0, 0], np.float32)
    for degree in (1, 3, 6):
        distance = np.abs(values - background)
        near = distance < max(_TOLERANCE, 2.5 * _quantile(distance[edge], 0.5))
        if near.mean() < 0.2:
            break
        known = samples[near, :degree]
        squares = known.T @ known + np.float32(_RIDGE) * np.eye(degree, dtype=np.float32)
        coefficients[:degree] = np.linalg.solve(squares, known.T @ values[near])
        background = samples @ coefficients
    constant, c_x, c_y, c_xy, c_xx, c_yy = coefficients
    background = (c_xy * y) * x
    background += (constant + c_x * x + c_xx * x * x) + (c_y * y + c_yy * y * y)
    return background


def _is_uneven(gray, ink, noise):
    """Whether a smooth surface fails to describe the background, as with a shadow, a table or a frame at the border."""
    if min(gray.shape) < _SMALLEST_UNEVEN:
        return False
    if ink is None:
        return True
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    return noise > 0.05 or (border > FAINT).mean() > 0.08 or (_sample(ink) > INK).mean() > 0.3


def _find_local_ink(gray):
    """Find thin strokes darker, or lighter, than their neighborhood; None if the strokes are too wide.

    The background is a morphological closing. The smaller its kernel, the better it keeps the edges of shadows, of the
    sheet and of a table in place. The smallest kernel is taken that finds the strongest ink, so that thick strokes are
    found and not only the lines printed behind them. Half the resolution is enough to choose the kernel and between
    dark and light ink.
    """
    image = np.clip(gray, 0, 255).astype(np.uint8)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    dark, light = (
        [_thin_ink(view, _kernel_size(view, share))[1:] for share in _KERNELS] for view in (half, 255 - half)
    )
    is_dark = min(doubt for _, doubt in dark) <= min(doubt for _, doubt in light)
    found = dark if is_dark else light
    strongest = max((contrast for contrast, doubt in found if doubt < _MAX_DARK_SURROUNDINGS), default=0)
    for share, (contrast, doubt) in zip(_KERNELS, found, strict=True):
        if doubt < _MAX_DARK_SURROUNDINGS and contrast > 0.85 * strongest:
            return _thin_ink(image if is_dark else 255 - image, _kernel_size(image, share))[0]
    return None


def _kernel_size(image, share):
    """Side of a kernel in pixels; odd, since an even one would shift the image by half a pixel."""
    return 2 * round(share * max(image.shape) / 2) + 1


def _thin_ink(image, size):
    """Find dark strokes up to two thirds of `size` pixels wide.

    Of wider strokes only the ends are found, and of a light gap between dark strokes, mistaken for ink, only the narrow
    part: in both cases the surroundings look like the ink.

    Returns:
        Ink, float32 [h, w] in [0, 1] or None; its contrast; and a score of evidence against it, the share of its
        surroundings that are as dark as the ink but not part of it.
    """
    padded = cv2.copyMakeBorder(cv2.medianBlur(image, 3), *[size] * 4, cv2.BORDER_REPLICATE)  # continues a table
    background = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))[size:-size, size:-size]
    difference = background.astype(np.float32) - image
    sample = _sample(difference)
    level = _quantile(sample, 0.5)  # noise lifts the closing above the paper
    noise = 1.4826 * _quantile(np.abs(sample - level), 0.5)
    ink, contrast = _normalize(np.maximum(difference - level, 0), background.astype(np.float32), noise)
    if ink is None:
        return None, 0, 1
    strokes = (ink > 0.5).astype(np.uint8)
    radius = cv2.distanceTransform(strokes, cv2.DIST_L2, 3)
    if 3 * _quantile(radius[radius > 0], 0.95) > size:
        return None, 0, 1
    halfway = cv2.addWeighted(background, 0.5, image, 0.5, 0) * strokes
    kernel = np.ones((9, 9), np.uint8)
    surroundings = (cv2.dilate(strokes, kernel) > 0) & (ink < INK)
    return ink, contrast, (image[surroundings] < cv2.dilate(halfway, kernel)[surroundings]).mean()


def _peak(sample, highest):
    """Full ink: a high quantile of a sample, or most of the maximum if the strokes are few pixels."""
    return max(_quantile(sample, 0.995), 0.7 * highest)


def _quantile(values, share):
    """The same as `np.quantile`, whose checks take longer than the sort."""
    ordered = np.sort(values, axis=None)
    below, rest = divmod(share * (len(ordered) - 1), 1)
    low, high = ordered[int(below) : int(below) + 2][[0, -1]]
    return low + (high - low) * rest if rest < 0.5 else high - (high - low) * (1 - rest)


def _sample(image):
    """Take every k-th pixel of [H, W], about 4,000 in all: enough for statistics."""
    return image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)]


def _remove_lines(ink):
    lines = find_lines(ink)
    if lines is None:
        return ink
    remaining = np.where(lines, 0, ink)
    return np.minimum(remaining / _peak(_sample(remaining), remaining.max()), 1) if (remaining > INK).any() else ink
