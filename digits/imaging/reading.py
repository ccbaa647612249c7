"""Read an image file: as pixels, as a digit in MNIST format, or as a photo of the network's input size."""

from pathlib import Path

import cv2
import numpy as np

from digits.cli import InputError
from digits.files import read_at_most
from digits.imaging.decoding import MAX_PIXELS, decode
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist

_MAX_BYTES = 6 * MAX_PIXELS  # of a picture file: uncompressed colors of 16 bits


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file in its EXIF orientation.

    If the first of several frames or pages is blank, one that is not is read instead, and a line on stderr says so.

    Returns:
        uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.

    Raises:
        InputError: the file does not exist, is not an image, is cut short or has more than `decoding.MAX_PIXELS`.
    """
    try:
        with open(path, "rb") as file:
            data = read_at_most(file, _MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path}: has more than {_MAX_BYTES // 10**6} megabytes, which no picture needs")
    return decode(bytes(data), str(path))


def read_digit(path: str | Path) -> np.ndarray:
    """Read an image file of one digit into MNIST format, float32 [28, 28]: `to_mnist(read_image(path))`.

    Raises:
        InputError: as `read_image`.
        BlankImage: no ink was found; the message names the path.
    """
    image = read_image(path)
    try:
        return to_mnist(image)
    except BlankImage as error:
        raise BlankImage(f"{path}: {error}") from None


def read_input(path: str | Path, input_shape: tuple[int, int, int]) -> np.ndarray:
    """Read an image file as input for a network.

    Args:
        path: the file.
        input_shape: channels, height and width of the network's input: (1, 28, 28) for digits, (3, S, S) for photos.

    Returns:
        uint8: a digit in MNIST format [28, 28], or a photo [S, S, 3] as `to_photo` returns it.

    Raises:
        InputError: as `read_image`.
        BlankImage: a digit was expected, but no ink was found.
    """
    if input_shape[0] == 1:
        return np.rint(255 * read_digit(path)).astype(np.uint8)
    return to_photo(read_image(path), input_shape[1])


def to_photo(image: np.ndarray, size: int) -> np.ndarray:
    """Resize an image to a square, whatever its aspect ratio, and make transparency white.

    Args:
        image: uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.
        size: side of the square, pixels.

    Returns:
        uint8 RGB [size, size, 3].
    """
    smaller = size < max(image.shape[:2])
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4:
        opacity = image[:, :, 3:].astype(np.float32) / 255
        image = np.rint(255 + opacity * (image[:, :, :3].astype(np.float32) - 255)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
