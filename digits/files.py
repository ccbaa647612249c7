"""Write files so that they are complete or absent, check paths to write to, and locate the project's own files."""

import contextlib
import csv
import hashlib
import io
import os
import re
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from digits.cli import InputError
from digits.text import file_name

LOCK = ".lock"  # file that a training locks in its folder
STDIN = "-"  # stands for standard input on a command line

_MAX_STDIN = 10**9  # bytes
_CHUNK = 1 << 20  # bytes read at a time
_SEAL = b"\nSHA-256 "
_TEMPORARY = re.compile(r"\..*\.\d+\.(pdparams|pdopt|json|csv|yaml|png|npy)")  # as `replacing` names them


def user_path(text: str | Path) -> Path:
    """Replace a leading `~` by the home folder; if there is none, the path stays as it is."""
    return Path(os.path.expanduser(text))


class StandardInput(os.PathLike):
    """Standard input as a file: it is read into a temporary file, and called `-`.

    Raises:
        InputError: there is no standard input, or it does not end within a gigabyte.
    """

    def __init__(self):
        if sys.stdin is None:  # as under pythonw
            raise InputError(f"{STDIN}: there is no standard input; name a file")
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._path = os.path.join(folder, STDIN)
        with open(self._path, "wb") as file:
            while chunk := sys.stdin.buffer.read(_CHUNK):
                file.write(chunk)
                if file.tell() > _MAX_STDIN:
                    raise InputError(f"{STDIN}: standard input has more than {_MAX_STDIN // 10**6} megabytes")

    def __str__(self) -> str:
        return STDIN

    def __fspath__(self) -> str:
        return self._path


def read_at_most(stream: BinaryIO, limit: int) -> bytearray:
    """Read a stream up to `limit` bytes, in pieces: a size that a file merely claims takes no memory."""
    content = bytearray()
    while chunk := stream.read(min(_CHUNK, limit - len(content))):
        content += chunk
    return content


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
    temporary = path.with_name(f".{file_name(path.stem, 100)}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:  # a full disk names no file, or the temporary one
        is_named = error.filename and str(error.filename) != str(temporary)
        raise error if is_named else OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Claim a folder for this process within the block, and delete temporary files that a killed process left in it.

    Raises:
        InputError: another process has claimed it.
    """
    lock = folder / LOCK
    with lock.open("a") as file:
        try:
            _lock(file)
            if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                raise BlockingIOError  # it was deleted by a training that has just ended
        except OSError:
            raise InputError(f"{folder}: another training is running in this folder; choose another one") from None
        for path in folder.rglob(".*"):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)
        try:
            yield
        finally:
            with contextlib.suppress(PermissionError):  # Windows keeps a file that is open
                lock.unlink(missing_ok=True)


def seal(data: bytes) -> bytes:
    """Append the SHA-256 of the data, for `unseal` to check."""
    return data + _SEAL + hashlib.sha256(data).hexdigest().encode()


def unseal(data: bytes) -> bytes:
    """Return the data that `seal` sealed.

    Raises:
        ValueError: the data is damaged, or was never sealed.
    """
    data, seal, digest = data[: -64 - len(_SEAL)], data[-64 - len(_SEAL) : -64], data[-64:]
    if seal != _SEAL or hashlib.sha256(data).hexdigest().encode() != digest:
        raise ValueError("its checksum does not match")
    return data


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
    return output_file(user_path(text))


def output_folder(path: str | Path) -> Path:
    """Create a folder to write to, with its parents.

    Raises:
        InputError: it cannot be created or written to.
    """
    path = user_path(path)
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
    """Write the named columns of each row in UTF-8; other keys are ignored.

    Text beyond ASCII begins with a byte order mark, without which Excel would misread it; but not in a pipe.
    """
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    text = table.getvalue()
    with replacing(path) as temporary:
        is_file = temporary.is_file() or not temporary.exists()
        mark = "" if text.isascii() or not is_file else "\ufeff"
        temporary.write_bytes((mark + text).encode("utf-8", "surrogateescape"))


def _lock(file):
    """Lock an open file until it is closed or the process ends; OSError if another process has locked it."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
