"""What the network is trained on: the parts of MNIST, and what it sees beside each batch of that."""

import math
import sys
from pathlib import Path

import numpy as np

from config import Config
from data import CLASSES, load_mnist, load_pictures, split
from forms import make_forms
from nondigits import make_nondigits

NO_DIGIT = len(CLASSES)  # label of a picture of none
# What the network is to find by label: the digit's class, or all classes as probable ("outlier exposure", Hendrycks et
# al. 2019, section 3).
TARGETS = np.vstack([np.eye(len(CLASSES)), np.full(len(CLASSES), 1 / len(CLASSES))]).astype(np.float32)
_POOL = 20_000  # pictures of a kind to choose from, at most; each is distorted anew whenever it is shown


def load_sets(config: Config, limit: int | None = None) -> tuple[tuple, tuple, tuple, tuple | None]:
    """Load the training images and split them, and the drawings of `config.extra`.

    Args:
        config: the run's settings.
        limit: keep no more images than this of each part.

    Returns:
        The train, the val and the calibration part, and the drawings if there are any: each images uint8 [N, 28, 28]
        and labels int64 [N].

    Raises:
        InputError: `config.data_dir` is no set of MNIST's form, or `config.extra` no folder of labelled pictures.
    """
    images, labels = load_mnist("train", config.data_dir)
    parts = split(labels, config.val_fraction, config.calibration_fraction, config.seed)
    sets = [(images[part[:limit]], labels[part[:limit]]) for part in parts]
    counts = (f"{len(part):,} {name}" for (part, _), name in zip(sets, ("train", "val", "calibration"), strict=True))
    print(f"images: {', '.join(counts)}", flush=True)
    if not config.extra:
        return *sets, None
    _, drawings, truths = load_pictures(Path(config.extra), list(CLASSES))
    print(f"{config.extra}: {len(truths):,} drawings", flush=True)
    return *sets, (np.rint(255 * drawings).astype(np.uint8), truths)


def make_beside(config: Config, train_set: tuple, extra_set: tuple | None) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """What the network sees beside each batch of training images: drawn digits, the user's own, pictures of no digit.

    Returns:
        For each kind images uint8 [M, 28, 28] to choose from, labels int64 [M] in 0..9 or `NO_DIGIT`, and how many of
        them a step.
    """
    beside = []
    most = min(_POOL, len(train_set[1]))
    steps = config.epochs * math.ceil(len(train_set[1]) / config.batch_size)
    if extra_set:
        beside.append((*extra_set, config.extra_per_batch))
    if config.forms:
        count = min(most, steps * config.forms)
        print(f"drawing {count:,} digits", file=sys.stderr)
        beside.append((*make_forms(count, np.random.default_rng([config.seed, 0, 2])), config.forms))
    if config.non_digits:
        count = min(most, steps * config.non_digits)
        print(f"drawing {count:,} pictures of no digit", file=sys.stderr)
        images = make_nondigits(*train_set, count, np.random.default_rng([config.seed, 0, 1]))
        beside.append((images, np.full(count, NO_DIGIT), config.non_digits))
    return beside
