"""What train.py can show without training: the network's layers, and augmented training images."""

import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import paddle

from digits.config import Config
from digits.data.augment import augment
from digits.data.splits import list_class_names, load_dataset
from digits.evaluation import plots
from digits.networks.registry import build_network, options_of
from digits.training.batches import augmentation

PREVIEW = Path("outputs") / "preview.png"


def print_summary(config: Config) -> None:
    """Print the network's layers, shapes and parameters."""
    num_classes = len(list_class_names(config))
    network = build_network(config.model, num_classes, **options_of(config.model, asdict(config)))
    paddle.summary(network, (1, *config.input_shape))


def draw_preview(config: Config) -> None:
    """Draw eight training images, each beside seven augmented versions, into `PREVIEW`."""
    images = load_dataset(config, limit=8).train[0]
    images = images[np.arange(len(images))]
    rng = np.random.default_rng([config.seed, 1])
    shown = np.stack([images, *(augment(images, rng, **augmentation(config)) for _ in range(7))], 1)
    captions = ["original", *[""] * 7] * len(images)
    plots.save(plots.sheet(shown.reshape(-1, *images.shape[1:]), captions, "augmentation"), PREVIEW)
    print(f"drawn into {PREVIEW}", file=sys.stderr)
