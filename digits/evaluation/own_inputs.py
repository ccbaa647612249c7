"""Your own pictures: `test/`, labeled, and `check/`, digits and lookalikes to accept or reject."""

import sys
from collections import Counter
from pathlib import Path

from digits.cli import InputError
from digits.data.mnist import holds_mnist
from digits.data.pictures import find_images
from digits.evaluation.reading import BLANK
from digits.text import percent, printable

TEST_COLUMNS = ("path", "truth", "label", "confidence", "trusted", "reason", "right", "candidates")
COLUMNS = {"test": TEST_COLUMNS, "check": ("path", "part", "label", "confidence", "trusted", "reason", "candidates")}


def has_inputs(data: str) -> bool:
    """Whether `data` is a folder with a `test/` or a `check/`, and not MNIST or a set in its format."""
    folder = Path(data)
    return data != "mnist" and not holds_mnist(folder) and any((folder / part).is_dir() for part in COLUMNS)


def find_inputs(folder: Path, classes: list[str]) -> dict[str, list[tuple[Path, str]]]:
    """Find the pictures in `test/`, each with its label, and in `check/`, each with the name of its subfolder or "".

    Raises:
        InputError: a picture in `test/` has no label, or there are no pictures.
    """
    folders = {part: folder / part for part in COLUMNS if (folder / part).is_dir()}
    found = {part: [(path, _group(path, below)) for path in find_images([below])] for part, below in folders.items()}
    if "test" in found:
        found["test"] = [(path, _label(path, group, classes)) for path, group in found["test"]]
    return found


def read_inputs(classifier, part: str, pictures: list[tuple[Path, str]]) -> list[dict]:
    """Read the pictures of `test` or `check`; skip unreadable pictures, and name them on stderr.

    Returns:
        One row of the part's `COLUMNS` per picture. A blank picture in `test` counts as wrong.
    """
    rows = []
    for path, tag in pictures:
        reading = classifier.read(path)
        if reading.error:
            print(f"left out: {printable(reading.error)}", file=sys.stderr)
            continue
        tagged = {"truth": tag, "right": reading.label == tag} if part == "test" else {"part": tag}
        rows.append(reading.as_row() | tagged)
    return rows


def summarize(part: str, rows: list[dict]) -> str:
    """Say for `test` how many are correct, and which are not; for each group of `check`, how many are trusted."""
    return _summarize_test(rows) if part == "test" else _summarize_check(rows)


def _label(path, group, classes):
    """The label of a picture: its class folder, or the start of its name, as in 7.png or 7_mine.png."""
    label = group or path.stem.partition("_")[0]
    if label not in classes:
        raise InputError(
            f"{path}: has no label; put it into a folder named after its class ({' '.join(classes)}), "
            f"or start its name with the class, as in {classes[0]}_mine{path.suffix}"
        )
    return label


def _group(path, folder):
    return path.relative_to(folder).parts[0] if path.parent != folder else ""


def _summarize_test(rows):
    wrong = [row for row in rows if not row["right"]]
    lines = [f"  accuracy {_share(len(rows) - len(wrong), rows)}{_trusted(rows)}"]
    trusted = [row for row in rows if row["trusted"]]
    if trusted:
        lines[0] += f", of these right {_share(sum(row['right'] for row in trusted), trusted)}"
    for row in wrong:
        said = f"read as {row['label']}" if row["label"] else "not read"
        doubt = f", {row['reason']}" if row["reason"] else ", and trusted" if row["trusted"] else ""
        lines.append(f"  {row['path']}: {said}{doubt}")
    return "\n".join(lines)


def _summarize_check(rows):
    lines = []
    for group in sorted({row["part"] for row in rows}):
        members = [row for row in rows if row["part"] == group]
        reasons = Counter(row["reason"] for row in members if row["reason"])
        rejected = "".join(f", {count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"  {group or '(no part)':12}{_trusted(members).removeprefix(',')}{rejected}")
    return "\n".join(lines)


def _trusted(rows):
    if all(row["trusted"] is None or row["reason"] == BLANK for row in rows):
        return ", not calibrated"
    return f", trusted {_share(sum(bool(row['trusted']) for row in rows), rows)}"


def _share(count, rows):
    return f"{count} of {len(rows)} ({percent(count / len(rows), 1)})"
