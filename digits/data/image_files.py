"""Image files as an array that is decoded on demand: worker processes decode, and images are cached up to a budget."""

import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import paddle

from digits.cli import InputError, RunError
from digits.data.folders import list_class_folders
from digits.imaging.reading import read_digit, read_image, read_input, to_photo
from digits.runtime import available_cores
from digits.text import printable

_CHUNK = 64  # files that a worker process decodes at a time when all files are read
_BATCH_PIXELS = 1000 * 28 * 28  # pixels times channels in a batch of `input_batches`
_EVALUATION_BYTES = 512 * 10**6  # memory for the photos of `load_labeled`

_GRAPHIC = "is a drawn graphic of few colors, and nearly all other images are photos"
_MAX_GRAPHICS = 0.05  # largest share of images that counts as placeholders; more graphics are part of the data


class ImageFiles:
    """Images in files, indexed like an array: uint8 [N, 28, 28] (digits) or [N, S, S, 3] (RGB photos).

    The first images are kept in memory, as many as the budget allows; the others are decoded on demand.

    Args:
        paths: the files.
        input_shape: channels, height and width of the network's input: (1, 28, 28) for digits, (3, S, S) for photos.
        budget: memory for images, in bytes.
        dtype: float32 keeps digits in [0, 1], not rounded to gray levels.
    """

    def __init__(self, paths: list[Path], input_shape: tuple[int, int, int], budget: int, dtype: type = np.uint8):
        self.paths = list(paths)
        self.input_shape = input_shape
        channels, height, width = input_shape
        self.image_shape = (height, width) if channels == 1 else (height, width, channels)
        cached = min(len(self.paths), budget // (math.prod(input_shape) * np.dtype(dtype).itemsize))
        self.cache = np.empty((cached, *self.image_shape), dtype)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return next(self.batches([np.arange(len(self))[indices]]))

    def batches(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the images of each batch of indices; worker processes decode ahead the images not in memory."""
        batches = list(batches)
        missing = [batch[batch >= len(self.cache)] for batch in batches]
        decoded = self._decode([indices for indices in missing if len(indices)])
        for batch, indices in zip(batches, missing, strict=True):
            images = np.empty((len(batch), *self.image_shape), self.cache.dtype)
            is_cached = batch < len(self.cache)
            images[is_cached] = self.cache[batch[is_cached]]
            if len(indices):
                images[~is_cached], problems = next(decoded)
                failed = [self.paths[index] for index, problem in zip(indices, problems, strict=True) if problem]
                if failed:
                    raise RunError(f"{failed[0]}: was decoded when this run began, but cannot be decoded now")
            yield images

    def fill(self, find_graphics: bool) -> list[str]:
        """Decode all files once, and fill the memory.

        Args:
            find_graphics: report photos that are drawn graphics as a problem.

        Returns:
            The problem of each file in words, empty if there is none.
        """
        problems = []
        indices = np.arange(len(self))
        chunks = np.split(indices, range(_CHUNK, len(self), _CHUNK))
        for chunk, (images, found) in zip(chunks, self._decode(chunks, find_graphics), strict=True):
            kept = chunk < len(self.cache)
            self.cache[chunk[kept]] = images[kept]
            problems += found
        return problems

    def keep(self, chosen: np.ndarray) -> None:
        """Drop all files that are not chosen, bool [N]."""
        self.cache = self.cache[chosen[: len(self.cache)]]
        self.paths = [path for path, kept in zip(self.paths, chosen, strict=True) if kept]

    def _decode(self, batches, find_graphics=False):
        """Yield images [n, ...] and n problems for each batch of indices, some batches ahead of the caller."""
        if not batches:
            return
        loader = paddle.io.DataLoader(
            _Decoder(self, find_graphics),
            batch_sampler=[batch.tolist() for batch in batches],
            collate_fn=_collate,
            num_workers=_count_workers() if sum(map(len, batches)) > _CHUNK else 0,
            worker_init_fn=lambda number: cv2.setNumThreads(0),  # OpenCV's threads do not survive a fork
            use_shared_memory=False,  # pipes are as fast, and containers have little shared memory
            use_buffer_reader=False,
            places=paddle.CPUPlace(),
        )
        try:
            for images, problems in loader:
                yield images.numpy(), problems
        except (RuntimeError, SystemError) as error:
            reason = str(error).strip().splitlines()[-1]
            raise RunError(f"a process that decodes images has died ({reason})") from None


def read_image_files(
    paths: list[Path],
    labels: np.ndarray,
    input_shape: tuple[int, int, int],
    budget: int,
    keep_graphics: bool = False,
    dtype: type = np.uint8,
) -> tuple[ImageFiles, np.ndarray]:
    """Decode files once. Files that cannot be decoded, and placeholder graphics among photos, are named on stderr.

    Args:
        paths: the files.
        labels: int [N].
        input_shape, budget, dtype: see `ImageFiles`.
        keep_graphics: keep placeholder graphics, too: evaluation data must not be filtered.

    Returns:
        The images left, and their labels.

    Raises:
        InputError: none of the files can be decoded.
    """
    files = ImageFiles(paths, input_shape, budget, dtype)
    problems = files.fill(find_graphics=not keep_graphics)
    if problems.count(_GRAPHIC) / len(problems) > _MAX_GRAPHICS:
        problems = [problem if problem != _GRAPHIC else "" for problem in problems]
    for path, problem in zip(paths, problems, strict=True):
        if problem:
            print(f"left out: {printable(f'{path}: {problem}' if problem == _GRAPHIC else problem)}", file=sys.stderr)
    chosen = np.array([not problem for problem in problems])
    if not chosen.any():
        raise InputError(f"{Path(paths[0]).parent}: none of its pictures can be read")
    if not chosen.all():
        files.keep(chosen)
    return files, labels[chosen]


def load_labeled(
    folder: Path, classes: list[str], input_shape: tuple[int, int, int]
) -> tuple[list[str], np.ndarray | ImageFiles, np.ndarray]:
    """Load the images in class folders for evaluation. Files that cannot be decoded are named on stderr.

    Args:
        folder: the folder of the class folders.
        classes: the class names, in the order of the labels.
        input_shape: see `ImageFiles`.

    Returns:
        The path of each image; the images, float32 [N, 28, 28] in [0, 1] for digits, `ImageFiles` for photos; labels
        int64 [N].

    Raises:
        InputError: see `list_class_folders` and `read_image_files`.
    """
    is_digits = input_shape[0] == 1
    budget, dtype = (sys.maxsize, np.float32) if is_digits else (_EVALUATION_BYTES, np.uint8)
    paths, labels = list_class_folders(folder, classes)
    files, labels = read_image_files(paths, labels, input_shape, budget, keep_graphics=True, dtype=dtype)
    return [str(path) for path in files.paths], files.cache if is_digits else files, labels


def prefetch(images: np.ndarray | ImageFiles, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield `images[batch]` for each batch of indices; files are decoded ahead."""
    if isinstance(images, ImageFiles):
        return images.batches(batches)
    return (images[batch] for batch in batches)


def input_batches(images: np.ndarray | ImageFiles) -> Iterator[np.ndarray]:
    """Yield all images, in order, as batches of network input, see `to_input`."""
    shape = images.image_shape if isinstance(images, ImageFiles) else images.shape[1:]
    size = max(8, _BATCH_PIXELS // math.prod(shape))
    indices = np.arange(len(images))
    for batch in prefetch(images, np.split(indices, range(size, len(images), size))):
        yield to_input(batch)


def to_input(images: np.ndarray) -> np.ndarray:
    """Convert stored images to network input, float32 in [0, 1].

    Args:
        images: [N, 28, 28] or [N, S, S, 3], uint8 or float32 in [0, 1]; or features, float32 [N, D].

    Returns:
        [N, 1, 28, 28] or [N, 3, S, S]; or the features, unchanged.
    """
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4:
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images


class _Decoder(paddle.io.Dataset):
    """In the worker processes: an image and its problem, by index."""

    def __init__(self, files, find_graphics):
        self.paths, self.input_shape, self.find_graphics = files.paths, files.input_shape, find_graphics
        self.blank = np.zeros(files.image_shape, files.cache.dtype)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path, (channels, side, _) = self.paths[index], self.input_shape
        try:
            if channels == 1:
                return (read_digit(path) if self.blank.dtype == np.float32 else read_input(path, self.input_shape)), ""
            image = read_image(path)
        except InputError as error:
            return self.blank, str(error)
        return to_photo(image, side), _GRAPHIC if self.find_graphics and _is_graphic(image) else ""


def _collate(items):
    images, problems = zip(*items, strict=True)
    return np.stack(images), list(problems)


def _count_workers():
    """One per core on Linux; Paddle's DataLoader has no worker processes on other systems."""
    return available_cores() if sys.platform == "linux" else 0


def _is_graphic(image):
    """Return whether one color covers nearly all of an image that has few colors, as in a "not found" sign."""
    step = 1 + max(image.shape[:2]) // 200
    sample = image[::step, ::step].reshape(-1, 1 if image.ndim == 2 else image.shape[2]).astype(np.int64)
    counts = np.unique(sample @ 256 ** np.arange(sample.shape[1]), return_counts=True)[1]
    return len(counts) <= 128 and counts.max() > 0.8 * len(sample)
