"""Decode the bytes of an image file with Pillow.

Pillow leaves orientation, pixels of 16 and 32 bits, transparent colors and blank frames to its caller.
"""

import contextlib
import io
import os
import struct
import sys
import warnings

import cv2
import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from digits.cli import InputError
from digits.imaging.ink import MIN_CONTRAST

MAX_PIXELS = 100_000_000  # larger images are refused before they are decoded: a small file can expand to gigabytes

# Accepted formats, the most frequent first
_FORMATS = [
    reader.format
    for reader in (
        PngImagePlugin.PngImageFile,
        JpegImagePlugin.JpegImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        WebPImagePlugin.WebPImageFile,
        TiffImagePlugin.TiffImageFile,
        AvifImagePlugin.AvifImageFile,
        Jpeg2KImagePlugin.Jpeg2KImageFile,
        PpmImagePlugin.PpmImageFile,
    )
]
_WITH_FRAMES = ("PNG", "GIF", "WEBP", "TIFF", "AVIF")  # a JPEG file's further frames are previews
_MAX_SEARCH = 10 * MAX_PIXELS  # pixels of blank frames decoded in search of one that is not blank

# Exceptions that damaged or unsupported data has raised in Pillow
_BAD_DATA = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    RuntimeError,
    AssertionError,
    ArithmeticError,
    struct.error,
    Image.DecompressionBombError,
)
_CUT_SHORT = ("truncated", "Truncated", "not enough image data")  # in messages about a file that lacks its end

_STRIP = 1 << 18  # pixels converted at a time; converting a large image as a whole would take twice the memory
_DEPTHS = (8, 10, 12, 16)  # bits that cameras and scanners use of 16
_GRAY_STEPS = {"L;2": 85, "L;4": 17}  # gray levels between two values of a PNG file's 2-bit or 4-bit pixels
_ORIENTATION_KEYS = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}  # metadata with an orientation


def decode(data: bytes, name: str) -> np.ndarray:
    """Decode an image file, see `reading.read_image`.

    Args:
        data: content of the file.
        name: the file's name for messages.

    Returns:
        uint8 [H, W] gray, [H, W, 3] BGR or [H, W, 4] BGRA.

    Raises:
        InputError: the data is not an image, is cut short or has more than `MAX_PIXELS`.
    """
    if not data:
        raise InputError(f"{name}: the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _open(data, name)
            pixels = _pixels(image)
            if image.format in _WITH_FRAMES and image.is_animated and _is_blank(pixels):
                pixels = _find_frame(image, name, pixels)
            orientation = _orientation(image)
    except _BAD_DATA as error:
        raise InputError(f"{name}: {_explain(error, data)}") from None
    image.close()  # frees its memory before the pixels are copied once more
    return _turn(pixels, orientation)


def _open(data, name):
    """Open an image without decoding it, and check its size."""
    TiffImagePlugin.logger.disabled = True  # the error it logs is raised as well
    PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # color profiles and edit histories exceed 1 MB
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own message would not give width and height
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width}x{height} pixels are more than the {MAX_PIXELS // 10**6} million that are read; "
            "make it smaller"
        )
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # later frames can be larger; Pillow refuses more than twice this
    if image.format == "PNG" and "transparency" in image.info:
        image.info["transparency"] = _key_color(image.info["transparency"], image.tile[0].args)
    return image


def _find_frame(image, name, first):
    """Find a frame that is not blank, in a file whose first frame is.

    Returns:
        The pixels of a TIFF file's first page that is not blank, or of an animation's last such frame, since it ends
        with the finished drawing; `first` if all are blank.
    """
    found, number = first, 1
    with contextlib.suppress(*_BAD_DATA):  # frames after a damaged one are not searched
        count = image.n_frames
        for index in range(1, min(count, _MAX_SEARCH // (image.width * image.height))):
            image.seek(index)
            pixels = _pixels(image)
            if not _is_blank(pixels):
                found, number = pixels, index + 1
                if image.format == "TIFF":
                    break
    if number > 1:
        print(f"{name}: frame {number} of {count} is used; the first is blank", file=sys.stderr)
    return found


def _pixels(image):
    """Decode the current frame to uint8 gray, BGR or BGRA, as it is stored."""
    raw_mode = str(image.tile[0].args) if image.tile else ""
    _load(image)
    pixels = _to_array(image)
    if pixels.dtype != np.uint8:
        key = image.info.get("transparency")
        alpha = None if key is None else 255 * (pixels != key).astype(np.uint8)
        pixels = _to_eight_bits(pixels)
        if alpha is not None:
            pixels = cv2.merge([pixels, pixels, pixels, alpha])
    elif ";16" in raw_mode and image.format in ("PNG", "TIFF") and pixels.max() < 16:
        pixels *= 16 if pixels.max() > 3 else 64  # only 12 or 10 of 16 bits are used, and Pillow keeps the upper 8
    if pixels.ndim == 3 and pixels.shape[2] == 4 and not pixels[:, :, 3].any():
        return np.ascontiguousarray(pixels[:, :, :3])  # an alpha of 0 everywhere means that it was never set
    return pixels


def _load(image):
    """Decode the current frame; discard libtiff's own messages on stderr, since Pillow raises an error as well."""
    if image.format != "TIFF":
        image.load()
        return
    with open(os.devnull, "wb") as null:
        stderr = os.dup(2)
        os.dup2(null.fileno(), 2)
        try:
            image.load()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _to_array(image):
    """Convert a decoded image, strip by strip, to an array: uint8 gray, BGR or BGRA, or gray of 16 or 32 bits."""
    rows = max(1, _STRIP // image.width)
    if image.height <= rows:
        return _convert(image).copy()
    pixels = None
    for top in range(0, image.height, rows):
        strip = _convert(image.crop((0, top, image.width, min(top + rows, image.height))))
        if pixels is None:
            pixels = np.empty((image.height, *strip.shape[1:]), strip.dtype)
        pixels[top : top + rows] = strip
    return pixels


def _convert(image):
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(image)  # uint16, int32 or float32
    if image.has_transparency_data:
        return cv2.cvtColor(np.asarray(image.convert("RGBA")), cv2.COLOR_RGBA2BGRA)
    if image.mode == "L":
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    return cv2.cvtColor(np.asarray(image if image.mode == "RGB" else image.convert("RGB")), cv2.COLOR_RGB2BGR)


def _to_eight_bits(pixels):
    """Scale uint16, int32 or float32 pixels to uint8.

    Integers of up to 16 bits are divided by a power of two that suits the bits in use. Floats up to 1 are multiplied by
    255, and floats up to 255 are kept. Any other range is stretched to 0 to 255.
    """
    is_float = pixels.dtype.kind == "f"
    if is_float:
        np.nan_to_num(pixels, copy=False, posinf=0, neginf=0)
    low, high = float(pixels.min()), float(pixels.max())
    if not is_float and low >= 0 and high < 65536:
        depth = next(depth for depth in _DEPTHS if high < 2**depth)
        return (pixels >> (depth - 8)).astype(np.uint8)
    if low >= 0 and high <= 255:
        low, scale = 0, 255 if high <= 1 else 1
    else:
        scale = 255 / (high - low or 1)
    return cv2.convertScaleAbs(pixels, alpha=scale, beta=-low * scale)


def _key_color(key, raw_mode):
    """Scale the color that a PNG file declares transparent as Pillow scales the pixels."""
    if raw_mode == "RGB;16B":
        return tuple(value >> 8 for value in key)
    return key * _GRAY_STEPS[raw_mode] if raw_mode in _GRAY_STEPS else key


def _is_blank(pixels):
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    limits = [cv2.minMaxLoc(cv2.extractChannel(pixels, index))[:2] for index in range(channels)]
    return max(high - low for low, high in limits) < MIN_CONTRAST


def _orientation(image):
    """Read the EXIF orientation, 1 to 8; Pillow reports an AVIF rotation as one, and has turned TIFF images itself."""
    if not _ORIENTATION_KEYS & image.info.keys():
        return 1
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _BAD_DATA:  # damaged metadata
        return 1


def _turn(pixels, orientation):
    if orientation in (5, 6, 7, 8):
        pixels = cv2.transpose(pixels)
    if orientation in (2, 3, 6, 7):
        pixels = cv2.flip(pixels, 1)
    if orientation in (3, 4, 7, 8):
        pixels = cv2.flip(pixels, 0)
    return pixels


def _explain(error, data):
    """Say why data could not be decoded, and what to do."""
    if any(words in str(error) for words in _CUT_SHORT):
        return "the picture is cut short; copy it again"
    name = next((name for name in _FORMATS if Image.OPEN[name][1](data[:16])), None)
    if name is None:
        return "not a picture in a supported format: PNG, JPEG, BMP, GIF, WebP, TIFF, AVIF, JPEG 2000 or PNM"
    return (
        f"not a picture that can be decoded: its {name} data is cut short, damaged or of an unsupported kind; "
        "copy it again, or save it as PNG"
    )
