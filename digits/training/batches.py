"""The batches of an epoch: shuffled, mixed with extra images, augmented."""

import math
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import repeat

import numpy as np
import paddle
from paddle.hapi.progressbar import ProgressBar

from digits.cli import RunError
from digits.config import Config
from digits.data.augment import AMOUNTS, augment
from digits.data.image_files import prefetch, to_input
from digits.data.mnist import CLASSES
from digits.data.non_digits import make_non_digits
from digits.data.splits import Dataset, shuffled_batches
from digits.data.synthetic_digits import make_synthetic_digits
from digits.evaluation.metrics import score
from digits.training import parallel
from digits.training.pseudo_labels import PseudoLabels

OUTLIER = len(CLASSES)  # label of an image that is not a digit
_POOL = 1_000  # synthetic images of each kind per epoch; each is augmented afresh whenever it is chosen


def steps_per_epoch(config: Config, data: Dataset) -> int:
    """Return the number of batches, the last perhaps smaller."""
    return math.ceil(len(data.train[1]) / config.batch_size)


def augmentation(config: Config) -> dict[str, float]:
    """Select the settings that `augment` takes."""
    return {name: getattr(config, name) for name in AMOUNTS}


def has_non_digits(config: Config, classes: list[str]) -> bool:
    """Whether batches have images outside the classes; such images are for the digits 0 to 9 only."""
    return config.non_digits > 0 and classes == list(CLASSES)


class TrainingBatches:
    """The training images of a run, as one iterator per epoch.

    Each batch holds `batch_size` training images in shuffled order and, where the config asks for them, the user's own
    drawings, synthetic digits, images that are not digits, and pseudo-labeled images.

    Args:
        config: the run's settings.
        data: the images.
        pseudo_labels: the unlabeled images and their current labels.
    """

    def __init__(self, config: Config, data: Dataset, pseudo_labels: PseudoLabels):
        self.config, self.data, self.pseudo_labels = config, data, pseudo_labels
        left_out = [name for name in ("forms", "non_digits") if getattr(config, name)]
        if left_out and data.classes != list(CLASSES):
            print(
                f"{', '.join(left_out)}: left out; they are for the digits 0 to 9, and the classes here are "
                f"{', '.join(data.classes[:12])}",
                file=sys.stderr,
            )

    def epoch(self, number: int) -> "EpochBatches":
        """Return this process's share of the batches of an epoch; (seed, number) alone decides their order."""
        return EpochBatches(self, number)


class EpochBatches:
    """One pass over the training images: yields `images` float32 [S, C, H, W] and `labels` int64 [S].

    The first `len(batch)` of the S images are the batch; the extra images follow. `record` and `metrics` measure the
    batch alone.
    """

    def __init__(self, batches: TrainingBatches, number: int):
        self.batches, self.number = batches, number
        labels = batches.data.train[1]
        self.logits = np.zeros((len(labels), len(batches.data.classes) + 1), np.float32)  # the last column counts
        self.step, self.batch = 0, None  # of the batch yielded last: its number, and the indices of its images

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, np.ndarray]]:
        config, pseudo_labels = self.batches.config, self.batches.pseudo_labels
        images, labels = self.batches.data.train
        rng = np.random.default_rng([config.seed, self.number])  # the same in all processes
        order = [parallel.share(batch) for batch in shuffled_batches(len(labels), config.batch_size, rng)]
        rng = np.random.default_rng([config.seed, self.number, 1 + parallel.rank()])
        paddle.seed(int(rng.integers(2**31)))  # for dropout
        extras = _draw_extras(config, self.batches.data, len(order), rng)
        pseudo_batches = pseudo_labels.batches(self.number, len(order)) if pseudo_labels.is_on else repeat(None)
        bar = _ProgressBar(len(order))
        sources = zip(order, prefetch(images, order), pseudo_batches, strict=False)
        for self.step, (self.batch, batch_images, pseudo_batch) in enumerate(sources, 1):
            parts = [(batch_images, labels[self.batch])]
            for extra_images, extra_labels, count in extras:
                chosen = rng.integers(len(extra_labels), size=count)
                parts.append((extra_images[chosen], extra_labels[chosen]))
            if pseudo_batch:
                parts.append(pseudo_batch)
            mixed_images, mixed_labels = map(np.concatenate, zip(*parts, strict=True))
            yield paddle.to_tensor(to_input(augment(mixed_images, rng, **augmentation(config)))), mixed_labels
            bar.update(self.step, self.loss)
        bar.clear()

    def record(self, loss: paddle.Tensor, logits: paddle.Tensor) -> None:
        """Keep the loss and the logits of the batch that was yielded last.

        Raises:
            RunError: the loss is not a finite number.
        """
        self.loss = loss.item()
        if not math.isfinite(self.loss):
            raise RunError(
                f"the loss is {self.loss} in epoch {self.number}, step {self.step}; try a lower learning_rate"
            )
        self.logits[self.batch, :-1] += logits[: len(self.batch)].numpy()
        self.logits[self.batch, -1] += 1

    def metrics(self) -> dict:
        """Score the recorded logits, see `metrics.score`: on augmented images, while the network was changing."""
        logits = parallel.add(self.logits)
        return score(logits[:, :-1] / logits[:, -1:], self.batches.data.train[1], self.batches.config.loss)


def _draw_extras(config, data, steps, rng):
    """Return the images to mix into an epoch's batches: uint8 [M, 28, 28], labels int64 [M], and how many per batch.

    They are those of this process: its share of the pool, and of each batch.
    """
    pool = len(parallel.share(np.arange(_POOL)))
    drawings, forms, non_digits = (
        len(parallel.share(np.arange(count))) for count in (config.extra_per_batch, config.forms, config.non_digits)
    )
    extras = [(*data.extra, drawings)] if data.extra else []
    if data.classes != list(CLASSES):
        return extras
    if forms:
        extras.append((*make_synthetic_digits(min(pool, steps * forms), rng), forms))
    if non_digits:
        count = min(pool, steps * non_digits)
        images = make_non_digits(*data.train, count, rng)
        extras.append((images, np.full(count, OUTLIER), non_digits))
    return extras


class _ProgressBar:
    """Paddle's progress bar on stderr, if that is a terminal; the epoch's row replaces it."""

    def __init__(self, steps: int):
        self.bar = ProgressBar(steps, name="step") if sys.stderr.isatty() else None

    def update(self, step: int, loss: float) -> None:
        if self.bar and step % 10 == 0:
            with redirect_stdout(sys.stderr):
                self.bar.update(step, [("loss", loss)])

    def clear(self) -> None:
        if self.bar:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
