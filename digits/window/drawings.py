"""Finished drawings: described in words, and saved as numbered files."""

import contextlib
import itertools
from pathlib import Path

import cv2
import numpy as np

from digits.evaluation.reading import Reading
from digits.files import output_folder, replacing
from digits.window.panel import least_certain, number, percent


def painted(readings: list[Reading]) -> str:
    """Describe a drawing: `'7' (99.8% sure)`, `'42' (61.2% sure: digit 2 is 4 or 9)`, `not a digit (...)`.

    The least certain digit determines the confidence of a number.
    """
    index = least_certain(readings)
    reading = readings[index]
    if reading.is_answer:
        which = f"digit {index + 1} is " if len(readings) > 1 and reading.doubt != reading.reason else ""
        doubt = f": {which}{reading.doubt}" if reading.reason else ""
        return f"'{number(readings)}' ({percent(reading.confidence)} sure{doubt})"
    nearest = f"the nearest is {reading.label}, {percent(reading.confidence)}"
    if len(readings) == 1:
        return f"{reading.reason} ({nearest})"
    return f"not a number (figure {index + 1} of {len(readings)} is {reading.reason}; {nearest})"


def list_saved(folder: Path, label: int) -> list[Path]:
    """List the drawings saved as a digit, in the folder with a folder for each digit."""
    return sorted((folder / str(label)).glob("[!.]*.png"))


def save_numbered(folder: Path, image: np.ndarray) -> Path:
    """Write an image as `folder`/0001.png, or under the number after the highest one in use.

    Raises:
        InputError: the folder cannot be created or written.
        OSError: for example, the disk is full.
    """
    output_folder(folder)
    highest = max((int(path.stem) for path in folder.glob("*.png") if path.stem.isdecimal()), default=0)
    for following in itertools.count(highest + 1):
        path = folder / f"{following:04d}.png"
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)  # reserves the name, should another program save there too
            break
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(_png(image))
    except OSError:
        path.unlink()
        raise
    return path


def remove_saved(path: Path, image: np.ndarray, root: Path) -> str:
    """Delete an image that `save_numbered` has written, unless the file has changed since; say in words what was done.

    Args:
        path: the file, below the folder `root`.
        image: what was saved.
        root: the folder that the answer does not repeat.
    """
    name = path.relative_to(root).as_posix()
    try:
        if path.read_bytes() != _png(image):
            return f"{name} has changed since, and stays"
        path.unlink()
    except OSError as error:
        return f"{name} cannot be deleted: {error.strerror}"
    return f"not saved any more: {name}"


def _png(image):
    return cv2.imencode(".png", image)[1].tobytes()
