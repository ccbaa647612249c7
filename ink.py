"""What is ink in a picture: pen, pencil, chalk or paint, told from paper, light, shadow, printed lines and table."""

from dataclasses import dataclass

import cv2
import numpy as np

from errors import InputError

WORKING_SIDE = 400  # larger pictures are shrunk to this first: finer detail is lost in a 20-pixel box anyway

_EDGE = 0.85  # from this share of the way from the centre outwards, the background is looked for
_TOLERANCE = 8.0  # grey levels around the background that are background too
_RIDGE = 1e-3  # keeps the fit solvable for pictures one pixel wide
_MIN_CONTRAST = 24  # grey levels, of 255, between the ink and what is behind it
_COLOURED = 16  # grey levels between the channels of a picture that is not grey

# Shares of full ink
_INK = 0.2  # pixels from this on that touch are one piece
_SURE = 0.4  # and somewhere in a piece it has to come to this
_FAINT = 0.1  # a printed line may be as pale as this

# Shares of the picture's longer side
_KERNELS = (1 / 25, 1 / 12, 1 / 6, 1 / 4)  # strokes up to two thirds of this are looked for on an uneven background
_THIN = 1 / 60  # a printed line is at most this thick
_RUN = 1 / 50  # tilted, it is a stair of such steps
_GAP = 1 / 12  # strokes that cross it make gaps up to this
_STRIP = 1 / 10  # bits of a frame lie within this of the border
_LONG = 0.6  # of the shorter side; a printed line goes on as far as this

_GOING_ON = 0.15  # share of the ink's surroundings that may be dark too, where strokes cross lines and shadows
# Pixels of the shorter side; in smaller pictures, strokes are as wide as shadows, and as thin as lines
_SMALLEST_UNEVEN, _SMALLEST_RULED = 32, 64
_SEVERAL_LINES = 3

_SPECK = 0.02  # pieces with less ink than this share of the largest piece are dust


class BlankImage(InputError):
    """There is no ink in the picture."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """The connected pieces of ink; piece n is row n - 1 of `boxes` and `kept`.

    `numbers` int32 [h, w]: the piece that each pixel belongs to, 0 for none; `boxes` int [pieces, 4]: x, y, width,
    height; `kept` bool [pieces]: false for dust and for what reaches in from the border, as bits of a frame.
    """

    numbers: np.ndarray
    boxes: np.ndarray
    kept: np.ndarray


def find_ink(image: np.ndarray, side: int = WORKING_SIDE) -> np.ndarray:
    """Take away what is behind the ink, and printed lines.

    Args:
        image: uint8 [H, W] grey, [H, W, 3] BGR or [H, W, 4] BGRA; dark ink on light or the reverse.
        side: a picture with a longer side is shrunk to it first, pixels.

    Returns:
        float32 [h, w] in [0, 1], ink bright; of the picture's aspect, its longer side at most `side`.

    Raises:
        BlankImage: no ink was found.
    """
    grey = _to_grey(_shrink(image, side))
    ink, noise = _above(grey, _surface(grey))
    if _is_uneven(grey, ink, noise):
        local = _local_ink(grey)
        ink = ink if local is None else local
    if ink is None:
        raise BlankImage("the picture is blank: there is no ink to be seen")
    return _without_lines(ink)


def find_pieces(ink: np.ndarray) -> Pieces:
    """Ink float32 [h, w], some of it 1 -> its connected pieces."""
    mask = ink > _INK
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    inside, boxes = numbers[mask], stats[1:, :4]
    amounts = np.bincount(inside, ink[mask], count)[1:]
    amounts *= np.bincount(inside[ink[mask] >= _SURE], minlength=count)[1:] > 0
    edge = _is_edge(numbers, boxes, inside)
    kept = (amounts >= _SPECK * amounts[~edge].max()) & ~edge
    return Pieces(numbers, boxes, kept)


def keep_pieces(ink: np.ndarray, numbers: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The ink of the pieces chosen, bool [pieces], with the soft edge of their strokes."""
    mask = np.append(False, kept)[numbers].astype(np.uint8)
    return ink * cv2.dilate(mask, np.ones((3, 3), np.uint8))


def _shrink(image, side):
    """uint8 [h, w] or [h, w, 3]; what is transparent becomes the opposite of the ink."""
    shrink = side / max(image.shape[:2])
    size = [max(1, round(length * shrink)) for length in image.shape[1::-1]] if shrink < 1 else None
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[:, :, 3]
        colour = cv2.multiply(image[:, :, :3], cv2.merge([alpha] * 3), scale=1 / 255)
        ink_is_light = cv2.mean(colour)[:3] > np.array(cv2.mean(alpha)[0]) / 2
        image = colour if ink_is_light.sum() > 1 else cv2.add(colour, cv2.merge([255 - alpha] * 3))
    return image if size is None else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _to_grey(image):
    """float32 [h, w], 0 to 255: of a coloured picture, what shows its ink best, as blue shows yellow and green red."""
    if image.ndim == 2:
        return image.astype(np.float32)
    sample = np.ascontiguousarray(_sample(image))
    if np.ptp(sample, axis=2).max() < _COLOURED:
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


def _above(grey, background):
    """How far each pixel is from the background towards the ink, float32 [h, w] in [0, 1], None if there is no ink; and
    the noise in it, as a share of full ink."""
    difference = grey - background
    noise = 1.4826 * np.median(np.abs(_sample(difference)))
    # The ink is what stands out most, darker or lighter; single pixels count for less than many.
    dark, light = (np.maximum(sign * difference, 0) for sign in (-1, 1))
    is_dark = _peak(dark) >= _peak(light)
    ink, room = (dark, background) if is_dark else (light, 255 - background)
    return _scaled(ink, room, noise)[0], noise / max(_peak(ink), 1)


def _scaled(ink, room, noise):
    """Ink in grey levels -> as a share of full ink, and what full ink is, as a share of the light; None, 0 if none."""
    if _peak(ink) < max(_MIN_CONTRAST, 6 * noise):
        return None, 0
    ink = np.maximum(ink - 3 * noise, 0) / np.maximum(room, _MIN_CONTRAST)  # in the shade, ink differs by less
    full = _peak(ink)
    return np.minimum(ink / full, 1), full


def _surface(grey):
    """float32 [h, w]: what would be there without the ink, as a polynomial surface in x and y.

    Fitted to the edge of the picture first, then to all that looks like it: the ink falls out.
    """
    height, width = grey.shape
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    terms = (np.ones_like(x), x, y, x * y, x * x, y * y)
    samples = np.stack([_sample(np.broadcast_to(term, grey.shape)).ravel() for term in terms], -1)
    values = _sample(grey).ravel()
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


def _is_uneven(grey, ink, noise):
    """Whether a smooth surface does not describe the background: a shadow, a table, a frame reaches the border."""
    if min(grey.shape) < _SMALLEST_UNEVEN:
        return False
    if ink is None:
        return True
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    return noise > 0.05 or (border > _FAINT).mean() > 0.08 or (_sample(ink) > _INK).mean() > 0.3


def _local_ink(grey):
    """Ink as what is thin and darker, or lighter, than all around it; None if the strokes are too wide for that.

    The background is a morphological closing: it keeps the edges of shadows, of the sheet and of a table in place, the
    better the smaller its kernel is. So the smallest is taken that finds the strongest ink: thick strokes, and not only
    the lines printed behind them. This is decided at half the size, and so is whether the ink is dark or light.
    """
    image = np.clip(grey, 0, 255).astype(np.uint8)
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
    beside = (cv2.dilate(strokes, kernel) > 0) & (ink < _INK)
    return ink, contrast, (image[beside] < cv2.dilate(middle, kernel)[beside]).mean()


def _peak(ink):
    return max(np.quantile(_sample(ink), 0.995), 0.7 * ink.max())


def _sample(image):
    """Every k-th pixel of [H, W], about 4,000 in all: enough for statistics."""
    return image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)]


def _without_lines(ink):
    """The ink without the lines of ruled or squared paper; strokes that cross them stay whole.

    A line is thin and nearly straight. It goes from border to border, past all the rest, or is one of several: without
    this, a tall 1 would be one. Upright ones count only beside some across: 111 is a number.
    """
    if min(ink.shape) < _SMALLEST_RULED:
        return ink
    across, ruled = _find_lines(ink)
    upright, _ = _find_lines(ink.T, ruled)
    if across is None and upright is None:
        return ink
    rest = ink.copy()
    if across is not None:
        rest[across] = 0
    if upright is not None:
        rest.T[upright] = 0
    return np.minimum(rest / _peak(rest), 1) if (rest > _INK).any() else ink


def _find_lines(ink, ruled=None):
    """Lines across, bool [h, w] or None, and whether they are several: lines of ruled paper.

    `ruled` says whether the paper is known to be.
    """
    side, width = max(ink.shape), ink.shape[1]
    mask = (ink > _FAINT).astype(np.uint8)
    if mask.any(0).sum() < _LONG * width:
        return None, False
    thickest, step = round(_THIN * side) + 2, round(_RUN * side)
    thin = mask & ~cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thickest, 1), np.uint8))
    runs = cv2.dilate(thin, np.ones((3, 1), np.uint8))  # so that a tilted line's steps overlap
    runs = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, step // 2), np.uint8))
    runs = cv2.morphologyEx(runs, cv2.MORPH_OPEN, np.ones((1, step), np.uint8))
    if runs.any(0).sum() < _LONG * width / 2:
        return None, False
    joined = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((3, round(_GAP * side)), np.uint8))
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    stats[0] = 0
    flat = stats[:, 3] < 0.25 * stats[:, 2]
    long = flat & (stats[:, 2] >= _LONG * width)
    through = (long & (stats[:, 0] <= 2) & (stats[:, 0] + stats[:, 2] >= width - 2)).sum()
    several = ruled is not False and (long.sum() >= _SEVERAL_LINES or through >= (1 if ruled else 2))
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
        rest = np.flatnonzero(((ink >= _SURE) & ~lines).any(0))
        if not (through and len(rest) and 0.03 * width < rest[0] and rest[-1] < 0.97 * width):
            return None, False
    return lines, several


def _is_edge(numbers, boxes, inside):
    """bool [pieces]: bits of a frame, or of what lies around the sheet.

    All of such a bit is in a strip along the border. It touches that flat, or is far from the largest of the rest and
    touches the border or is small.
    """
    height, width = numbers.shape
    strip = round(_STRIP * max(height, width))
    count = len(boxes) + 1
    sizes = np.bincount(inside, minlength=count)[1:]
    core = numbers[strip : height - strip, strip : width - strip]
    outside = sizes - np.bincount(core.ravel(), minlength=count)[1:] >= 0.95 * sizes
    border = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    contact = np.bincount(border, minlength=count)[1:]
    at_border = outside & ((contact > 0) | (sizes < 0.1 * sizes.max(initial=0)))
    if not at_border.any() or at_border.all():
        return np.zeros(len(boxes), bool)
    x, y, w, h = boxes.T
    main = np.flatnonzero(~at_border)[sizes[~at_border].argmax()]
    gap_x = np.maximum(x, x[main]) - np.minimum(x + w, x[main] + w[main])
    gap_y = np.maximum(y, y[main]) - np.minimum(y + h, y[main] + h[main])
    far = np.maximum(gap_x, gap_y) > 0.15 * max(w[main], h[main])
    return at_border & (far | (contact >= 0.5 * np.maximum(w, h)))
