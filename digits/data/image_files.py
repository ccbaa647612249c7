"""Image files as a network takes them: decoded in worker processes, kept in memory up to a budget."""

import math
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import paddle

from digits.cli import InputError, RunError
from digits.data.mnist import to_input
from digits.imaging.reading import read_image, read_input, to_photo
from model import DIGIT

_READ, _BROKEN, _GRAPHIC = range(3)  # how reading a file has ended
_CHUNK = 64  # files a worker reads at a time when all are read
_BATCH_NUMBERS = 1000 * 28 * 28  # in a batch of `input_batches`
_FEW = 0.05  # graphics are taken for what was put there in place of photos if they are no more than this share


class ImageFiles:
    """Images in files, like an array uint8 [N, 28, 28] (digits) or [N, S, S, 3] (RGB photos) by `pictures[indices]`.

    The first are in memory, as many as the budget allows; the others are decoded whenever they are wanted.

    Args:
        paths: the files.
        input_shape: of the network, see `preprocess.read_input`.
        budget: memory for pictures, in bytes.
    """

    def __init__(self, paths: list[Path], input_shape: tuple[int, int, int], budget: int):
        self.paths = list(paths)
        self.input_shape = input_shape
        channels, height, width = input_shape
        self.image_shape = (height, width) if channels == 1 else (height, width, channels)
        self.cache = np.empty(
            (min(len(self.paths), budget // (channels * height * width)), *self.image_shape), np.uint8
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return next(self.batches([np.arange(len(self))[indices]]))

    def batches(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the pictures of each batch of indices; those not in memory are decoded ahead, in worker processes."""
        batches = list(batches)
        missing = [batch[batch >= len(self.cache)] for batch in batches]
        decoded = _decode(self, [indices for indices in missing if len(indices)])
        for batch, indices in zip(batches, missing, strict=True):
            images = np.empty((len(batch), *self.image_shape), np.uint8)
            is_cached = batch < len(self.cache)
            images[is_cached] = self.cache[batch[is_cached]]
            if len(indices):
                images[~is_cached], ended = next(decoded)
                if (ended == _BROKEN).any():
                    path = self.paths[indices[ended == _BROKEN][0]]
                    raise RunError(f"{path}: was read when this run began, and cannot be read any more")
            yield images

    def fill(self) -> np.ndarray:
        """Read all files once, which fills the memory; returns how each has ended, int [N]."""
        outcomes = []
        indices = np.arange(len(self))
        chunks = np.split(indices, range(_CHUNK, len(self), _CHUNK))
        for chunk, (images, ended) in zip(chunks, _decode(self, chunks), strict=True):
            kept = chunk < len(self.cache)
            self.cache[chunk[kept]] = images[kept]
            outcomes.append(ended)
        return np.concatenate(outcomes)

    def keep(self, chosen: np.ndarray) -> None:
        """Leave out all but the chosen ones, bool [N]."""
        self.cache = self.cache[chosen[: len(self.cache)]]
        self.paths = [path for path, kept in zip(self.paths, chosen, strict=True) if kept]


def read_image_files(
    paths: list[Path],
    labels: np.ndarray,
    input_shape: tuple[int, int, int],
    budget: int,
    keep_all: bool = False,
) -> tuple[ImageFiles, np.ndarray]:
    """Read files once; what is broken, or no picture, or a drawn graphic among photos, is named on stderr and left out.

    Args:
        paths: the files.
        labels: int [N].
        input_shape, budget: see `ImageFiles`.
        keep_all: leave out no graphics: what is measured on is not to be chosen.

    Returns:
        The pictures that could be read, and their labels.

    Raises:
        InputError: none could be read.
    """
    pictures = ImageFiles(paths, input_shape, budget)
    outcomes = pictures.fill()
    is_graphic = outcomes == _GRAPHIC
    chosen = outcomes == _READ
    if keep_all or is_graphic.mean() > _FEW:
        chosen |= is_graphic
    for index in np.flatnonzero(~chosen):
        print(f"left out: {_complaint(paths[index], input_shape)}", file=sys.stderr)
    if not chosen.any():
        raise InputError(f"{Path(paths[0]).parent}: none of its pictures can be read")
    if not chosen.all():
        pictures.keep(chosen)
    return pictures, labels[chosen]


def prefetch(images: np.ndarray | ImageFiles, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `images[batch]` for each batch of indices, read ahead where they have to be decoded."""
    if isinstance(images, ImageFiles):
        return images.batches(batches)
    return (images[batch] for batch in batches)


def input_batches(images: np.ndarray | ImageFiles) -> Iterator[np.ndarray]:
    """Yield all images, in order, as batches of a network's input."""
    shape = images.image_shape if isinstance(images, ImageFiles) else images.shape[1:]
    size = max(8, _BATCH_NUMBERS // math.prod(shape))
    indices = np.arange(len(images))
    for batch in prefetch(images, np.split(indices, range(size, len(images), size))):
        yield to_input(batch)


class _Files(paddle.io.Dataset):
    """What the worker processes see: picture and outcome by index."""

    def __init__(self, pictures):
        self.paths, self.input_shape, self.image_shape = pictures.paths, pictures.input_shape, pictures.image_shape

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        try:
            if self.input_shape == DIGIT:
                return read_input(self.paths[index], DIGIT), _READ
            image = read_image(self.paths[index])
        except InputError:
            return np.zeros(self.image_shape, np.uint8), _BROKEN
        return to_photo(image, self.input_shape[1]), _GRAPHIC if _is_graphic(image) else _READ


def _decode(pictures, batches):
    """Yield uint8 [n, ...] and outcomes int [n] for each batch of indices, some batches ahead of the one asked for."""
    if not batches:
        return
    workers = _count_workers() if sum(map(len, batches)) > _CHUNK else 0
    loader = paddle.io.DataLoader(
        _Files(pictures),
        batch_sampler=[batch.tolist() for batch in batches],
        collate_fn=lambda items: tuple(map(np.stack, zip(*items, strict=True))),
        num_workers=workers,
        worker_init_fn=lambda number: cv2.setNumThreads(0),  # OpenCV's threads do not survive a fork
        use_shared_memory=False,  # as fast by pipes, and containers have little of it
        use_buffer_reader=False,
        places=paddle.CPUPlace(),
    )
    try:
        for images, outcomes in loader:
            yield images.numpy(), outcomes.numpy()
    except (RuntimeError, SystemError) as error:
        raise RunError(f"a process that reads pictures has died ({str(error).strip().splitlines()[-1]})") from None


def _count_workers():
    """One a core; Paddle has them on Linux only."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 0


def _is_graphic(image):
    """Whether nearly all of it is of one color and there are few others, as in a drawn sign "not found"."""
    step = 1 + max(image.shape[:2]) // 200
    sample = image[::step, ::step].reshape(-1, 1 if image.ndim == 2 else image.shape[2]).astype(np.int64)
    counts = np.unique(sample @ 256 ** np.arange(sample.shape[1]), return_counts=True)[1]
    return len(counts) <= 128 and counts.max() > 0.8 * len(sample)


def _complaint(path, input_shape):
    try:
        read_input(path, input_shape)
    except InputError as error:
        return str(error)
    return f"{path}: is a drawn graphic of few colors, and nearly all the others are photos"
