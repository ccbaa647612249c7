"""Find pictures in files, folders and patterns, by one rule for all commands.

A file is a picture by its suffix or, if it has another one or none, by its first bytes. Hidden files and those of the
system are skipped. Links are followed, and each file counts once. Whatever is left out is named on stderr, except files
that never are pictures, such as .DS_Store.
"""

import glob
import os
import re
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from digits.cli import InputError
from digits.files import STDIN, StandardInput
from digits.text import printable

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif"),
    *(".jp2", ".pbm", ".pgm", ".ppm", ".pnm"),
)

_SIGNATURE = re.compile(
    rb"\x89PNG|\xff\xd8\xff|GIF8|BM.{4}\0{4}|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|.{4}ftyp(?:avi[fs]|he[iv]|mif1|msf1)"
    rb"|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s",
    re.DOTALL,
)  # first bytes of a PNG, JPEG, GIF, BMP, WebP, TIFF, AVIF, HEIC, JPEG 2000 or PNM file
_SIGNATURE_BYTES = 16
_SYSTEM_NAMES = {  # in lower case; names that start with a dot are hidden anyway
    *(
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "@eadir",
        "@__thumb",
        "#recycle",
        "$recycle.bin",
        "icon\r",
    ),
    *("@__thumb", "system volume information", "lost+found", "__pycache__"),
}
_MAX_NAMED = 5  # files that are named for each reason to leave files out

# Reasons to leave something out
_COUNTED, LOOP = "leads to what is counted already", "leads to a folder that it is in"
BROKEN, HIDDEN = "is a link to nothing that can be read", "is hidden or belongs to the system"


def find_images(paths: list[Path]) -> list[os.PathLike]:
    """Replace each folder among the paths by the pictures below it, each pattern by its matches, `-` by standard input.

    Windows passes `*.png` on as it is. A file that has exactly this name goes before the pattern.

    Raises:
        InputError: a folder has no pictures, or nothing matches a pattern.
    """
    found = []
    stdin = StandardInput() if any(str(path) == STDIN for path in paths) else None
    for path in paths:
        if str(path) == STDIN:
            found.append(stdin)
        elif os.path.isdir(path):
            (pictures,) = list_pictures(path)
            if not pictures:
                raise InputError(f"{path}: no pictures in this folder ({' '.join(PICTURE_SUFFIXES)})")
            found += pictures
        elif any(sign in str(path) for sign in "*?[") and not os.path.lexists(path):
            matches = [Path(name) for name in sorted(glob.glob(str(path))) if not is_skipped(os.path.basename(name))]
            if not matches:
                raise InputError(f"{path}: no file matches this pattern")
            found += find_images(matches)
        else:
            found.append(path)
    return found


def list_pictures(*folders: Path, parents: Iterable[Path] = ()) -> list[list[Path]]:
    """List the pictures below each folder, sorted; stderr names other files, broken links and second links to a file.

    A file that is reached in several ways belongs to the folder that contains it, else to the first with a link to it.

    Args:
        folders: the folders to search.
        parents: the folders that contain them; they are not searched, even if a link leads there.
    """
    search = _Search(len(folders), parents)
    for number in sorted(range(len(folders)), key=lambda number: folders[number].is_symlink()):
        search.add_folder(folders[number], number)
    search.follow_links()
    name_left_out(search.left_out)
    return [sorted(found) for found in search.found]


def is_skipped(name: str) -> bool:
    """Return whether a file or folder is hidden, or belongs to the operating system."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def may_hold_pictures(path: Path) -> bool:
    """Return whether a skipped file or folder is worth naming."""
    return path.suffix.lower() in PICTURE_SUFFIXES or path.is_dir()


def leads_back(path: Path) -> bool:
    """Return whether a folder is a link to the folder that it is in, or to one above."""
    target = os.path.realpath(path)
    return Path(os.path.realpath(path.parent)).is_relative_to(target)


def name_left_out(left_out: dict[str, list[Path]]) -> None:
    """Name files that are left out, by reason, on stderr."""
    for reason, paths in left_out.items():
        for path in paths[:_MAX_NAMED]:
            print(f"left out: {printable(path)}: {reason}", file=sys.stderr)
        if len(paths) > _MAX_NAMED:
            print(f"left out: {len(paths) - _MAX_NAMED:,} more: {reason}", file=sys.stderr)


class _Search:
    """Searches numbered folders. `found` are the pictures below each; `left_out` are other files, by reason."""

    def __init__(self, count, parents):
        self.found = [[] for _ in range(count)]
        self.left_out = {}
        self.seen = set(map(os.path.realpath, parents))  # resolved paths of folders and files
        self.links = deque()  # to follow once all files that are not behind links have been found

    def add_folder(self, folder, number):
        folders = [folder]
        while folders:
            folder = folders.pop()
            resolved = os.path.realpath(folder)
            if resolved in self.seen:
                self._leave_out(folder, _COUNTED)
                continue
            self.seen.add(resolved)
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                self._leave_out(folder, f"cannot be searched ({error.strerror})")
                continue
            for entry in entries:
                path = folder / entry.name
                if is_skipped(entry.name):
                    if may_hold_pictures(path):
                        self._leave_out(path, HIDDEN)
                elif entry.is_symlink():
                    self.links.append((path, number))
                elif entry.is_dir():
                    folders.append(path)
                elif entry.is_file():
                    self._add_file(path, os.path.join(resolved, entry.name), number)
                else:  # a pipe would wait for its writer
                    self._leave_out(path, "is neither a file nor a folder")

    def follow_links(self):
        while self.links:
            path, number = self.links.popleft()
            if path.is_dir():
                if leads_back(path):
                    self._leave_out(path, LOOP)
                else:
                    self.add_folder(path, number)
            elif path.is_file():
                self._add_file(path, os.path.realpath(path), number)
            else:
                self._leave_out(path, BROKEN)

    def _add_file(self, path, resolved, number):
        if resolved in self.seen:
            self._leave_out(path, _COUNTED)
            return
        self.seen.add(resolved)
        if path.suffix.lower() in PICTURE_SUFFIXES or _has_signature(path):
            self.found[number].append(path)
        else:
            self._leave_out(path, "is not a picture")

    def _leave_out(self, path, reason):
        self.left_out.setdefault(reason, []).append(path)


def _has_signature(path):
    try:
        with path.open("rb") as file:
            return bool(_SIGNATURE.match(file.read(_SIGNATURE_BYTES)))
    except OSError:
        return False
