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
from digits.training.pseudo_labels import PseudoLabels

OUTLIER = len(CLASSES)  # label of an image that is not a digit
_MAX_POOL = 20_000  # extra images of each kind; each is augmented afresh whenever it is drawn


def steps_per_epoch(config: Config, data: Dataset) -> int:
    """Return the number of batches, the last perhaps smaller."""
    return math.ceil(len(data.train[1]) / config.batch_size)


def augmentation(config: Config) -> dict[str, float]:
    """Select the settings that `augment` takes."""
    return {name: getattr(config, name) for name in AMOUNTS}


class TrainingBatches:
    """The training images of a run, as one iterator per epoch.

    Each batch holds `batch_size` training images in shuffled order and, where the config asks for them, the user's own
    drawings, synthetic digits, images that are not digits, and pseudo-labeled images.

    Args:
        config: the run's settings.
        data: the images.
        pseudo_labels: the unlabeled images and their current labels.
        first_epoch: the epoch to start with; nothing is drawn if the run is complete.
    """

    def __init__(self, config: Config, data: Dataset, pseudo_labels: PseudoLabels, first_epoch: int):
        self.config, self.data, self.pseudo_labels = config, data, pseudo_labels
        self.extras = _draw_extras(config, data) if first_epoch <= config.epochs else []

    def epoch(self, number: int) -> "EpochBatches":
        """Return the batches of an epoch; (seed, number) alone decides their order and augmentation."""
        return EpochBatches(self, number)


class EpochBatches:
    """One pass over the training images: yields `images` float32 [S, C, H, W] and `labels` int64 [S].

    The first `len(batch)` of the S images are the batch; the extra images follow. `record` and `metrics` measure the
    batch alone.
    """

    def __init__(self, batches: TrainingBatches, number: int):
        self.batches, self.number = batches, number
        labels = batches.data.train[1]
        self.logits = np.empty((len(labels), len(batches.data.classes)), np.float32)
        self.step, self.batch = 0, None  # of the batch yielded last: its number, and the indices of its images

    def __iter__(self) -> Iterator[tuple[paddle.Tensor, np.ndarray]]:
        config, pseudo_labels = self.batches.config, self.batches.pseudo_labels
        images, labels = self.batches.data.train
        rng = np.random.default_rng([config.seed, self.number])
        paddle.seed(int(rng.integers(2**31)))  # for dropout
        order = list(shuffled_batches(len(labels), config.batch_size, rng))
        pseudo_batches = pseudo_labels.batches(self.number, len(order)) if pseudo_labels.is_on else repeat(None)
        bar = _ProgressBar(len(order))
        sources = zip(order, prefetch(images, order), pseudo_batches, strict=False)
        for self.step, (self.batch, batch_images, pseudo_batch) in enumerate(sources, 1):
            parts = [(batch_images, labels[self.batch])]
            for extra_images, extra_labels, count in self.batches.extras:
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
        self.logits[self.batch] = logits[: len(self.batch)].numpy()

    def metrics(self) -> dict:
        """Score the recorded logits, see `metrics.score`: on augmented images, while the network was changing."""
        return score(self.logits, self.batches.data.train[1], self.batches.config.loss)


def _draw_extras(config, data):
    """Return the images to mix into each batch: uint8 [M, 28, 28], labels int64 [M], and how many per batch."""
    extras = []
    max_pool = min(_MAX_POOL, len(data.train[1]))
    steps = config.epochs * steps_per_epoch(config, data)
    if data.extra:
        extras.append((*data.extra, config.extra_per_batch))
    left_out = [name for name in ("forms", "non_digits") if getattr(config, name)]
    if data.classes != list(CLASSES):
        if left_out:
            print(
                f"{', '.join(left_out)}: left out; they are for the digits 0 to 9, and the classes here are "
                f"{', '.join(data.classes[:12])}",
                file=sys.stderr,
            )
        return extras
    if config.forms:
        count = min(max_pool, steps * config.forms)
        print(f"drawing {count:,} digits", file=sys.stderr)
        extras.append((*make_synthetic_digits(count, np.random.default_rng([config.seed, 0, 2])), config.forms))
    if config.non_digits:
        count = min(max_pool, steps * config.non_digits)
        print(f"drawing {count:,} images that are not digits", file=sys.stderr)
        images = make_non_digits(*data.train, count, np.random.default_rng([config.seed, 0, 1]))
        extras.append((images, np.full(count, OUTLIER), config.non_digits))
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
