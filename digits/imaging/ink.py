"""What is ink in a picture: pen, pencil, chalk or paint, told from paper, light, shadow, printed lines and table."""

import cv2
import numpy as np

from digits.cli import InputError
from digits.imaging.components import INK
from digits.imaging.ruled_lines import FAINT, find_lines

WORKING_SIDE = 400  # larger pictures are shrunk to this first: finer detail is lost in a 20-pixel box anyway

_EDGE = 0.85  # from this share of the way from the center outwards, the background is looked for
_TOLERANCE = 8.0  # gray levels around the background that are background too
_RIDGE = 1e-3  # keeps the fit solvable for pictures one pixel wide
_MIN_CONTRAST = 24  # gray levels, of 255, between the ink and what is behind it
_COLORED = 16  # gray levels between the channels of a picture that is not gray

# Strokes up to two thirds of these shares of the picture's longer side are looked for on an uneven background
_KERNELS = (1 / 25, 1 / 12, 1 / 6, 1 / 4)
_GOING_ON = 0.15  # share of the ink's surroundings that may be dark too, where strokes cross lines and shadows
_SMALLEST_UNEVEN = 32  # pixels of the shorter side; in smaller pictures, strokes are as wide as shadows


class BlankImage(InputError):
    """There is no ink in the picture."""


def find_ink(image: np.ndarray, side: int = WORKING_SIDE) -> np.ndarray:
    """Take away what is behind the ink, and printed lines.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA; dark ink on light or the reverse.
        side: a picture with a longer side is shrunk to it first, pixels.

    Returns:
        float32 [h, w] in [0, 1], ink bright; of the picture's aspect, its longer side at most `side`.

    Raises:
        BlankImage: no ink was found.
    """
    gray = _to_gray(_shrink(image, side))
    ink, noise = _above(gray, _surface(gray))
    if _is_uneven(gray, ink, noise):
        local = _local_ink(gray)
        ink = ink if local is None else local
    if ink is None:
        raise BlankImage("the picture is blank: there is no ink to be seen")
    return _without_lines(ink)


def _shrink(image, side):
    """uint8 [h, w] or [h, w, 3]; what is transparent becomes the opposite of the ink."""
    shrink = side / max(image.shape[:2])
    size = [max(1, round(length * shrink)) for length in image.shape[1::-1]] if shrink < 1 else None
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[:, :, 3]
        color = cv2.multiply(image[:, :, :3], cv2.merge([alpha] * 3), scale=1 / 255)
        ink_is_light = cv2.mean(color)[:3] > np.array(cv2.mean(alpha)[0]) / 2
        image = color if ink_is_light.sum() > 1 else cv2.add(color, cv2.merge([255 - alpha] * 3))
    return image if size is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _to_gray(image):
    """float32 [h, w], 0 to 255: of a colored picture, what shows its ink best, as blue shows yellow and green red."""
    if image.ndim == 2:
        return image.astype(np.float32)
    sample = np.ascontiguousarray(_sample(image))
    if np.ptp(sample, axis=2).max() < _COLORED:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    kernel = np.ones((2 * (min(sample.shape[:2]) // 8) + 1,) * 2, np.uint8)
    best, weights = _MIN_CONTRAST, None
    for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):  # dark ink, light ink
        contrast = cv2.morphologyEx(sample, operation, kernel).reshape(-1, 3).astype(np.float32)
        strength = contrast.max(1)
        peak = np.quantile(strength, 0.98)
        if peak > best:
            best, weights = peak, contrast[strength >= 0.7 * peak].mean(0)
    if weights is None:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    return cv2.transform(image.astype(np.float32), weights[None] / weights.sum())


def _above(gray, background):
    """How far each pixel is from the background towards the ink, float32 [h, w] in [0, 1], None if there is no ink; and
    the noise in it, as a share of full ink."""
    difference = gray - background
    noise = 1.4826 * np.median(np.abs(_sample(difference)))
    # The ink is what stands out most, darker or lighter; single pixels count for less than many.
    dark, light = (np.maximum(sign * difference, 0) for sign in (-1, 1))
    is_dark = _peak(dark) >= _peak(light)
    ink, room = (dark, background) if is_dark else (light, 255 - background)
    return _scaled(ink, room, noise)[0], noise / max(_peak(ink), 1)


def _scaled(ink, room, noise):
    """Ink in gray levels -> as a share of full ink, and what full ink is, as a share of the light; None, 0 if none."""
    if _peak(ink) < max(_MIN_CONTRAST, 6 * noise):
        return None, 0
    ink = np.maximum(ink - 3 * noise, 0) / np.maximum(room, _MIN_CONTRAST)  # in the shade, ink differs by less
    full = _peak(ink)
    return np.minimum(ink / full, 1), full


def _surface(gray):
    """float32 [h, w]: what would be there without the ink, as a polynomial surface in x and y.

    Fitted to the edge of the picture first, then to all that looks like it: the ink falls out.
    """
    height, width = gray.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    terms = (np.ones_like(x), x, y, x * y, x * x, y * y)
    samples = np.stack([_sample(np.broadcast_to(term, gray.shape)).ravel() for term in terms], -1)
    values = _sample(gray).ravel()
    edge = np.maximum(np.abs(samples[:, 1]), np.abs(samples[:, 2])) > _EDGE
    background = np.median(values[edge])
    coefficients = np.array([background, 0, 0, 0, 0, 0], np.float32)
    for degree in (1, 3, 6):
        away = np.abs(values - background)
        near = away < max(_TOLERANCE, 2.5 * np.median(away[edge]))
        if near.mean() < 0.2:
            break
        known = samples[near, :degree]
        squares = known.T @ known + np.float32(_RIDGE) * np.eye(degree, dtype=np.float32)
        coefficients[:degree] = np.linalg.solve(squares, known.T @ values[near])
        background = samples @ coefficients
    one, along, down, both, along2, down2 = coefficients
    return (one + along * x + along2 * x * x) + (down * y + down2 * y * y) + (both * y) * x


def _is_uneven(gray, ink, noise):
    """Whether a smooth surface does not describe the background: a shadow, a table, a frame reaches the border."""
    if min(gray.shape) < _SMALLEST_UNEVEN:
        return False
    if ink is None:
        return True
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    return noise > 0.05 or (border > FAINT).mean() > 0.08 or (_sample(ink) > INK).mean() > 0.3


def _local_ink(gray):
    """Ink as what is thin and darker, or lighter, than all around it; None if the strokes are too wide for that.

    The background is a morphological closing: it keeps the edges of shadows, of the sheet and of a table in place, the
    better the smaller its kernel is. So the smallest is taken that finds the strongest ink: thick strokes, and not only
    the lines printed behind them. This is decided at half the size, and so is whether the ink is dark or light.
    """
    image = np.clip(gray, 0, 255).astype(np.uint8)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    dark, light = ([_thin_ink(side, _kernel(side, share))[1:] for share in _KERNELS] for side in (half, 255 - half))
    is_dark = min(against for _, against in dark) <= min(against for _, against in light)
    found = dark if is_dark else light
    strongest = max((contrast for contrast, against in found if against < _GOING_ON), default=0)
    for share, (contrast, against) in zip(_KERNELS, found, strict=True):
        if against < _GOING_ON and contrast > 0.85 * strongest:
            return _thin_ink(image if is_dark else 255 - image, _kernel(image, share))[0]
    return None


def _kernel(image, share):
    """The side of a kernel in pixels; odd, for even ones would shift by half a pixel."""
    return 2 * round(share * max(image.shape) / 2) + 1


def _thin_ink(image, size):
    """Dark strokes up to two thirds of `size` pixels wide, their contrast, and how much speaks against that.

    This last is the share of their surroundings that are as dark and yet no ink. Of wider strokes, only the ends are
    ink; of a light gap between dark strokes, taken for ink, only the narrow part.
    """
    wide = cv2.copyMakeBorder(cv2.medianBlur(image, 3), *[size] * 4, cv2.BORDER_REPLICATE)  # a table goes on outside
    behind = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))[size:-size, size:-size]
    difference = behind.astype(np.float32) - image
    level = np.median(_sample(difference))  # noise lifts the closing above the paper
    noise = 1.4826 * np.median(np.abs(_sample(difference) - level))
    ink, contrast = _scaled(np.maximum(difference - level, 0), behind.astype(np.float32), noise)
    if ink is None:
        return None, 0, 1
    strokes = (ink > 0.5).astype(np.uint8)
    inside = cv2.distanceTransform(strokes, cv2.DIST_L2, 3)
    if 3 * np.quantile(inside[inside > 0], 0.95) > size:
        return None, 0, 1
    middle = cv2.addWeighted(behind, 0.5, image, 0.5, 0) * strokes
    kernel = np.ones((9, 9), np.uint8)
    beside = (cv2.dilate(strokes, kernel) > 0) & (ink < INK)
    return ink, contrast, (image[beside] < cv2.dilate(middle, kernel)[beside]).mean()


def _peak(ink):
    return max(np.quantile(_sample(ink), 0.995), 0.7 * ink.max())


def _sample(image):
    """Every k-th pixel of [H, W], about 4,000 in all: enough for statistics."""
    return image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)]


def _without_lines(ink):
    lines = find_lines(ink)
    if lines is None:
        return ink
    rest = np.where(lines, 0, ink)
    return np.minimum(rest / _peak(rest), 1) if (rest > INK).any() else ink
