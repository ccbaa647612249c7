"""Files that are either whole or not there: written under a temporary name, then renamed."""

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from digits.cli import InputError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same suffix beside `path`, and rename it to `path` if the block ends well.

    Folders are made as needed. A block that fails leaves `path` as it was. What is there and is no regular file (a
    pipe, /dev/stdout) is written to directly; a symbolic link keeps pointing.

    Raises:
        InputError: `path` is a folder, or its folder cannot be made.
    """
    path = output_file(path)
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def output_file(path: str | Path) -> Path:
    """Check, before the work is done, that a file can be written there; makes its folder.

    Raises:
        InputError: it is a folder, or its folder cannot be made or written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, the name of a file is wanted")
    output_folder(path.parent)
    return path


def csv_file(text: str) -> Path:
    """`output_file` for a CSV: another suffix is taken for a slip, as in `--csv picture.png`."""
    if Path(text).suffix.lower() not in ("", ".csv"):
        raise InputError(f"{text}: is no name for a CSV file; it ends in .csv")
    return output_file(text)


def output_folder(path: str | Path) -> Path:
    """Make a folder to write to, and those above it.

    Raises:
        InputError: it cannot be made or written.
    """
    path = Path(path)
    if path.is_file():
        raise InputError(f"{path}: is a file, the name of a folder is wanted")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: this folder cannot be made ({error.strerror})") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: this folder cannot be written")
    return path


def write_csv(path: str | Path, columns: Iterable[str], rows: Iterable[dict]) -> None:
    """Write the named columns of each row; what else a row has is left out."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
