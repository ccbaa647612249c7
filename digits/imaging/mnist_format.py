"""Any picture -> what a network takes: a digit in MNIST's form, or a photo of its size."""

from pathlib import Path

import cv2
import numpy as np

from digits.cli import InputError
from digits.imaging.components import find_pieces, keep_pieces
from digits.imaging.image_header import JPEG, image_size, is_cut_short, orientation
from digits.imaging.ink import BlankImage, find_ink

SIDE = 28  # pixels of an MNIST image
BOX = 20  # pixels of the square the digit's longer side fills (LeCun et al. 1998, section III.A)
CENTER = 14  # row and column of the center of mass: the mean over MNIST's training images is 14.0 for both

MAX_PIXELS = 100_000_000  # larger pictures are refused before they are decoded: a small file can hold gigabytes

_PLACES = np.arange(SIDE)
_FIGURE = 0.7  # a figure beside others is at least this share of their common height


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture file, turned the way its EXIF orientation says.

    Returns:
        uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.

    Raises:
        InputError: no such file, not a picture, one that is cut short or has more than `MAX_PIXELS`.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if not data:
        raise InputError(f"{path}: the file is empty")
    if is_cut_short(data):
        raise InputError(f"{path}: the picture is cut short; copy it again")
    size = image_size(data)
    if size and size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"{path}: {size[0]}x{size[1]} pixels are more than the {MAX_PIXELS // 10**6} million that are read; "
            "make it smaller"
        )
    image = _decode(data) if size else None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path}: not a picture that can be read; PNG, JPEG, BMP, GIF, WebP, TIFF, AVIF and JPEG 2000 can"
        )
    return image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)


def read_digit(path: str | Path) -> np.ndarray:
    """Read a picture file of one digit into MNIST's form, float32 [28, 28]: `to_mnist(read_image(path))`.

    Raises:
        InputError: as the two do, with the path named.
    """
    image = read_image(path)
    try:
        return to_mnist(image)
    except BlankImage as error:
        raise BlankImage(f"{path}: {error}") from None


def read_input(path: str | Path, input_shape: tuple[int, int, int]) -> np.ndarray:
    """Read a picture file the way a network takes it.

    Args:
        path: the file.
        input_shape: channels, height and width of its input: (1, 28, 28) for digits, (3, S, S) for photos.

    Returns:
        uint8: a digit in MNIST's form [28, 28], or a photo [S, S, 3], as `to_photo` makes it.

    Raises:
        InputError: as `read_image`; BlankImage if a digit was to be read and there is no ink.
    """
    if input_shape[0] == 1:
        return np.rint(255 * read_digit(path)).astype(np.uint8)
    return to_photo(read_image(path), input_shape[1])


def to_photo(image: np.ndarray, size: int) -> np.ndarray:
    """A picture as uint8 RGB [size, size, 3], its sides scaled each by its own factor; what is transparent is white.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.
        size: pixels of a side.
    """
    smaller = size < max(image.shape[:2])
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4:
        opacity = image[:, :, 3:].astype(np.float32) / 255
        image = np.rint(255 + opacity * (image[:, :, :3].astype(np.float32) - 255)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def to_mnist(image: np.ndarray) -> np.ndarray:
    """Turn any picture of one digit into MNIST's form.

    First the ink is told from what is behind it (`ink.find_ink`): a colored picture becomes the gray that shows its
    ink best; what would be there without the ink is estimated, as a smooth surface or, where a shadow or a table has
    edges, from close by; printed lines are taken away. Then dust and bits of frame are cleared. What is left is
    cropped, scaled into a 20-pixel box and centered. A picture that is in MNIST's form already is kept to the pixel.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA; dark ink on light or the reverse.

    Returns:
        float32 [28, 28] in [0, 1], ink bright, center of mass at the center (LeCun et al. 1998, section III.A).

    Raises:
        BlankImage: no ink was found.
    """
    if _is_in_form(image):
        return image.astype(np.float32) / 255
    ink = find_ink(image)
    pieces = find_pieces(ink)
    return ink_to_mnist(keep_pieces(ink, pieces.numbers, pieces.kept))


def ink_to_mnist(ink: np.ndarray) -> np.ndarray:
    """Ink [h, w], some of it above 0, cropped, scaled into MNIST's box and centered: float32 [28, 28] in [0, 1]."""
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    return _center(_fit_box(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]))


def count_segments(image: np.ndarray) -> int:
    """How many large pieces lie side by side, or one above the other, without overlap: 2 for "38", 1 for a 5 in two.

    Args:
        image: float32 [28, 28] in MNIST's form.
    """
    count, _, boxes, _ = cv2.connectedComponentsWithStats((image > 0.3).astype(np.uint8), connectivity=8)
    if count == 1:
        return 0
    boxes = boxes[1:]  # the first is the background
    x, y, width, height = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    whole_width, whole_height = (x + width).max() - x.min(), (y + height).max() - y.min()
    tall = height >= _FIGURE * whole_height
    wide = (width >= _FIGURE * whole_width) & (height >= 0.25 * whole_height)  # the bar of a 5 is wide, but no figure
    return max(1, _apart(x[tall], width[tall]), _apart(y[wide], height[wide]))


def _is_in_form(image):
    """Whether it is 28x28, bright on pure black, 20 pixels on its longer side, center of mass within a pixel of 14."""
    if image.shape != (SIDE, SIDE) or image.max() < 250:
        return False
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    longer = 1 + max(rows[-1] - rows[0], columns[-1] - columns[0])
    mass = np.array([image.sum(1) @ _PLACES, image.sum(0) @ _PLACES]) / image.sum()
    return longer == BOX and bool((np.abs(mass - CENTER) <= 1).all())


def _apart(starts, sizes):
    """How many intervals there are, leaving out those that overlap one before."""
    found, end = 0, -1
    for start, size in sorted(zip(starts, sizes, strict=True)):
        if start >= end:
            found, end = found + 1, start + size
    return found


def _decode(data):
    """The picture, None if it cannot be decoded. OpenCV keeps transparency or heeds the orientation, not both."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it has lines of its own for stderr
    is_jpeg = data.startswith(JPEG)
    try:
        flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if is_jpeg else cv2.IMREAD_UNCHANGED
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    if image is None or is_jpeg:
        return image
    turn = orientation(data)
    if turn in (5, 6, 7, 8):
        image = cv2.transpose(image)
    if turn in (2, 3, 6, 7):
        image = cv2.flip(image, 1)
    if turn in (3, 4, 7, 8):
        image = cv2.flip(image, 0)
    return image


def _fit_box(ink):
    """Scale so that the longer side is 20 pixels, averaging what falls into one pixel."""
    scale = BOX / max(ink.shape)
    size = [max(1, round(side * scale)) for side in ink.shape[::-1]]
    box = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.clip(box / box.max(), 0, 1)


def _center(box):
    """Place [h, w] into [28, 28] with its center of mass at the center, to the pixel, and nothing outside."""
    total = box.sum()
    starts = []
    for axis, size in enumerate(box.shape):
        mass = box.sum(1 - axis) @ np.arange(size) / total
        starts.append(int(np.clip(round(CENTER - mass), 0, SIDE - size)))
    image = np.zeros((SIDE, SIDE), np.float32)
    image[starts[0] : starts[0] + box.shape[0], starts[1] : starts[1] + box.shape[1]] = box
    return image
