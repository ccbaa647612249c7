"""What the bytes of a picture file say before they are decoded: its size, how it is turned, whether it is whole."""

import re
import struct

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG"  # what such a file begins with

_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # JPEG's frame headers
_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112  # TIFF's tags, and EXIF's


def image_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a PNG, JPEG, BMP, GIF, WebP, TIFF, AVIF, JPEG 2000 or PNM file; None else."""
    try:
        if data.startswith(PNG):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(JPEG):
            height, width = struct.unpack_from(">HH", data, _jpeg_frame(data) + 5)
            return width, height
        if data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            return width, abs(height)  # negative: stored from the top
        if data.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack_from("<HH", data, 6)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data.startswith((b"II*\0", b"MM\0*")):
            tags = _tiff_tags(data)
            return tags[_WIDTH], tags[_HEIGHT]
        if data[4:12] in (b"ftypavif", b"ftypavis"):
            return max(struct.unpack_from(">II", data, at.end() + 4) for at in re.finditer(b"ispe", data[:65536]))
        if data[4:8] == b"jP  ":
            height, width = struct.unpack_from(">II", data, data.index(b"ihdr") + 4)
            return width, height
        if data[:1] == b"P" and data[1:2] in b"123456":
            lines = (line.partition(b"#")[0] for line in data[2:4096].split(b"\n"))
            width, height = b" ".join(lines).split()[:2]
            return int(width), int(height)
    except (struct.error, IndexError, KeyError, ValueError):  # cut short, or damaged
        return None
    return None


def is_cut_short(data: bytes) -> bool:
    """Whether a PNG or JPEG file lacks its end; behind that, phones append films and more."""
    if data.startswith(PNG):
        return b"IEND" not in data
    if data.startswith(JPEG):
        try:
            return data.find(b"\xff\xd9", _jpeg_frame(data)) < 0
        except struct.error:
            return True
    return False


def orientation(data: bytes) -> int:
    """EXIF's orientation of a PNG or WebP file, 1 (as it lies) to 8."""
    for name, start in ((b"eXIf", 4), (b"EXIF", 8)):
        at = data.rfind(name)
        if at >= 0:
            exif = data[at + start : at + start + 65536].removeprefix(b"Exif\0\0")
            try:
                return _tiff_tags(exif).get(_ORIENTATION, 1)
            except struct.error:
                return 1
    return 1


def _jpeg_frame(data):
    """Where the frame header of a JPEG file is: behind the preview in its EXIF block."""
    at = 2
    while True:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker in _SOF:
            return at
        at += 1 if marker == 0xFF else 2 + length  # 0xFF fills


def _webp_size(data):
    kind = data[12:16]
    if kind == b"VP8X":
        return tuple(1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return tuple(length & 0x3FFF for length in struct.unpack_from("<HH", data, 26))


def _tiff_tags(data):
    """The whole numbers of the first directory of a TIFF file, or of an EXIF block, which is one."""
    order = "<" if data.startswith(b"II") else ">"
    directory = struct.unpack_from(order + "I", data, 4)[0]
    tags = {}
    for number in range(struct.unpack_from(order + "H", data, directory)[0]):
        tag, kind = struct.unpack_from(order + "HH", data, directory + 2 + 12 * number)
        if kind in (3, 4):  # 16 and 32 bits
            form = order + ("H" if kind == 3 else "I")
            tags[tag] = struct.unpack_from(form, data, directory + 10 + 12 * number)[0]
    return tags
