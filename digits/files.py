"""Write files so that they are complete or absent, check paths to write to, and locate the project's own files."""

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from digits.cli import InputError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix beside `path`, and rename it to `path` if the block succeeds.

    Folders are created as needed. If the block fails, `path` stays as it was. An existing pipe or device, such as
    /dev/stdout, is written to directly; a symbolic link keeps pointing to its file.

    Raises:
        InputError: `path` is a folder, or its folder cannot be created.
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
    """Check that a file can be written, before the work is done; create its folder.

    Raises:
        InputError: it is a folder, or its folder cannot be created or written to.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected the name of a file")
    if path.is_file() or not path.exists():  # a pipe or a device needs no folder: few users may write to /dev
        output_folder(path.parent)
    return path


def csv_file(text: str) -> Path:
    """Check a path as `output_file` does; refuse any other suffix than .csv as a slip, as in `--csv picture.png`."""
    if Path(text).suffix.lower() not in ("", ".csv"):
        raise InputError(f"{text}: is not the name of a CSV file; it must end in .csv")
    return output_file(text)


def output_folder(path: str | Path) -> Path:
    """Create a folder to write to, with its parents.

    Raises:
        InputError: it cannot be created or written to.
    """
    path = Path(path)
    if path.is_file():
        raise InputError(f"{path}: is a file; expected the name of a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot create this folder ({error.strerror})") from None
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: cannot write to this folder")
    return path


def project_path(name: str) -> Path:
    """Locate a file or folder of this project: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).resolve().parent
    installed = package / name
    return installed if installed.exists() else package.parent / name


def write_csv(path: str | Path, columns: Iterable[str], rows: Iterable[dict]) -> None:
    """Write the named columns of each row; other keys are ignored."""
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
