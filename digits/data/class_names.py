"""Class names for data in MNIST's file formats, which hold numbers alone."""

from pathlib import Path

from digits.cli import InputError

DIGITS = tuple("0123456789")
UNNAMED = tuple(f"class {digit}" for digit in DIGITS)  # of data that is not known to be digits
NAMES_FILE = "classes.txt"  # beside the data, one name per line
HOW_TO_NAME = (
    f"the classes have no names; {NAMES_FILE} beside the data names them, or --classes of train.py (--classes digits: "
    "they are the digits 0 to 9)"
)

_SAID_DIGITS = "digits"  # in the setting `classes`
_MAX_CLASSES = 1000
_MAX_LENGTH = 100  # characters of a name
_MAX_BYTES = 4 * _MAX_CLASSES * _MAX_LENGTH  # of a file of names


def parse_names(setting: str) -> list[str]:
    """Parse the setting `classes`: names with commas between them, or `digits` for 0 to 9.

    Raises:
        InputError: see `check_names`.
    """
    if setting == _SAID_DIGITS:
        return list(DIGITS)
    return check_names([name.strip() for name in setting.split(",")], "classes")


def read_names(folder: Path) -> list[str] | None:
    """Read the names in `classes.txt`, one per line, in the order of the labels; None if there is no such file.

    Raises:
        InputError: the file cannot be read, or see `check_names`.
    """
    path = folder / NAMES_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise InputError(f"{path}: has more than {_MAX_BYTES:,} bytes; expected one class name per line")
        lines = content.decode("utf-8-sig").splitlines()  # Windows' Notepad writes a byte order mark
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; expected one class name per line") from None
    return check_names([line.strip() for line in lines if line.strip()], str(path))


def check_names(names: list[str], where: str) -> list[str]:
    """Return the names.

    Raises:
        InputError: there are fewer than 2 or more than 1,000, one is empty, too long or a duplicate, or it has
            characters that cannot be printed. The message starts with `where`.
    """
    if not 2 <= len(names) <= _MAX_CLASSES:
        raise InputError(f"{where}: has {len(names)} class names, expected 2 to {_MAX_CLASSES:,}")
    for number, name in enumerate(names):
        if not name or len(name) > _MAX_LENGTH or not name.isprintable():
            raise InputError(
                f"{where}: class name {number}, {name[:_MAX_LENGTH]!a}, must have 1 to {_MAX_LENGTH} characters "
                "that can be printed"
            )
        if name in names[:number]:
            raise InputError(f"{where}: duplicate class name '{name}'")
    return names
