"""Read a file of any format as the program reads it."""

import contextlib
import io
import shutil
import zlib
from pathlib import Path

import numpy as np
import paddle

from digits.cli import InputError
from digits.config import Config, read_settings
from digits.data.mnist import load_mnist
from digits.evaluation.classifier import Classifier
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist
from digits.imaging.reading import read_image, to_photo
from digits.imaging.segmentation import find_digits
from digits.networks.checkpoint import load_checkpoint, load_weights
from digits.networks.registry import build_network
from digits.training.checkpointer import load_history
from digits.training.history import format_epoch, next_epoch
from digits.training.run_folder import has_report, save_file_list
from tests.fuzz.runs import make_checkpointer, train_one_batch
from tests.fuzz.seeds import FILE_LIST, LENET, seeds_of

_MAX_MESSAGE = 2000  # characters of an error message


def read(kind: str, name: str, data: bytes, folder: Path) -> str | None:
    """Write the data to the file `name` in an empty folder, and read it as the program does.

    Returns:
        The one-line error if the file is refused, None if it is read.

    Raises:
        AssertionError: the error is not one line.
        Exception: whatever else the reader raises is a bug.
    """
    path = folder / name
    path.write_bytes(data)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            _READERS.get(kind, _read_picture)(path)
        except InputError as error:
            message = str(error)
            assert message, "the error has no message"
            assert "\n" not in message, f"the error has more than one line: {message!r}"
            assert len(message) <= _MAX_MESSAGE, f"the error has {len(message):,} characters"
            return message
        finally:
            for file in folder.iterdir():
                file.unlink()
    return None


def _read_picture(path):
    """Read a digit, a page or a photo: the file's checksum decides which."""
    choice = zlib.crc32(path.read_bytes()) % 3
    image = read_image(path)
    with contextlib.suppress(BlankImage):
        (to_mnist, find_digits, lambda image: to_photo(image, 96))[choice](image)


def _read_json(path):
    if path.name == "files.json":
        save_file_list(path.parent, FILE_LIST, resume=True)
        return
    shutil.copy(LENET / "best.pdparams", path.parent)
    has_report(path.parent)
    classifier = Classifier(path.parent)
    for reading in classifier.predict(np.zeros((1, 28, 28), np.float32)):
        reading.describe()


def _read_yaml(path):
    Config(**read_settings(path))


def _read_mnist_file(path):
    for seed in seeds_of("idx"):
        for name in (seed.name, seed.name.replace("train", "t10k")):
            if not path.name.startswith(name):
                (path.parent / name).write_bytes(seed.data)
    load_mnist("train", path.parent)


def _read_npz(path):
    load_mnist("train", path.parent)
    load_mnist("test", path.parent)


def _read_pdparams(path):
    load_weights(build_network("lenet", activation="sigmoid"), load_checkpoint(path).weights, path)


def _read_pdopt(path):
    load_history(path.parent)
    with paddle.utils.unique_name.guard():
        checkpointer = make_checkpointer(path.parent)
        history = checkpointer.restore()
        next_epoch(history)
        for row in history:
            format_epoch(row)
        train_one_batch(checkpointer)
    with checkpointer.average.applied(checkpointer.network):
        checkpointer.save_weights(history)
    checkpointer.save_progress(history)


_READERS = {
    "JSON": _read_json,
    "YAML": _read_yaml,
    "idx": _read_mnist_file,
    "gz": _read_mnist_file,
    "npz": _read_npz,
    "pdparams": _read_pdparams,
    "pdopt": _read_pdopt,
}
