"""Text for terminals, tables and file names: shortened, padded, and shares in percent."""

import os
import unicodedata
from typing import Any

MAX_NAME_WIDTH = 32  # columns of a class name in a table


def clip(value: Any, length: int = 60) -> str:
    """Return a value as text for an error message, shortened to `length` letters."""
    try:
        text = str(value)
    except ValueError:  # Python does not print whole numbers of thousands of digits
        text = f"a {type(value).__name__} too long to print"
    return text if len(text) <= length else text[: length - 3] + "..."


def printable(text: Any) -> str:
    """Escape line ends and control codes in a message or a path, which may hold any."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))


def shorten(names: list[str], width: int = MAX_NAME_WIDTH) -> list[str]:
    """Shorten names to at most `width` columns; names that would then be equal get a number."""
    shortened = [_cut(name, width) for name in names]
    for index, (name, text) in enumerate(zip(names, shortened, strict=True)):
        if text != name and shortened.count(text) > 1:
            suffix = f"...{index + 1}"
            shortened[index] = _cut(name, width - len(suffix)).removesuffix("...") + suffix
    return shortened


def columns(text: str) -> int:
    """Count the columns that a terminal needs for a text: two for a Chinese letter, none for a combining accent."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def pad(text: str, width: int, right: bool = False) -> str:
    """Pad a text with spaces to `width` columns, on its left side if it is aligned to the `right`."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def percent(share: float, decimals: int = 2) -> str:
    """Format a share in percent: `98.70%`; `>99.99%` where it would round to 100 and is not all."""
    text = f"{share:.{decimals}%}"
    return confidence(share, decimals) if share < 1 else text


def confidence(prob: float, decimals: int = 2) -> str:
    """Format a probability in percent: `98.70%`; `>99.99%` where it would round to 100, since nothing is certain."""
    text = f"{prob:.{decimals}%}"
    return f">99.{'9' * decimals}%" if text.startswith("100") else text


def file_name(stem: str, length: int = 200) -> str:
    """Shorten the stem of a file name to `length` bytes; file systems accept 255 with the suffix."""
    while len(os.fsencode(stem)) > length:
        stem = stem[:-1]
    return stem


def _cut(text, width):
    if columns(text) <= width:
        return text
    while columns(text) > width - 3:
        text = text[:-1]
    return text + "..."
