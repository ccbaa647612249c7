"""A training without its images: what a run saves in last.pdopt and restores."""

from pathlib import Path

import numpy as np
import paddle

from digits.config import Config
from digits.data.mnist import CLASSES
from digits.networks.registry import build_network
from digits.training.checkpointer import Checkpointer
from digits.training.history import METRICS
from digits.training.optim import make_average, make_optimizer, make_schedule
from digits.training.pseudo_labels import PseudoLabels

CONFIG = Config(epochs=3, batch_size=4, optimizer="adamw", schedule="cosine", ema_decay=0.9, forms=0, non_digits=0)


def make_checkpointer(out: Path) -> Checkpointer:
    """Make what a run saves and restores: a network, its optimizer, its average."""
    paddle.seed(0)
    network = build_network("lenet")
    optimizer = make_optimizer(CONFIG, make_schedule(CONFIG, 2), network)
    average, pseudo_labels = make_average(CONFIG, network), PseudoLabels(CONFIG, None, list(CLASSES))
    return Checkpointer(out, CONFIG, list(CLASSES), network, optimizer, average, pseudo_labels)


def train_one_batch(checkpointer: Checkpointer) -> None:
    """Change the weights, the optimizer's state and the average as a training does."""
    images = paddle.to_tensor(np.random.default_rng(0).random((4, 1, 28, 28), np.float32))
    logits = checkpointer.network(images)
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor([1, 2, 3, 4])).backward()
    checkpointer.optimizer.step()
    checkpointer.optimizer.clear_grad()
    checkpointer.optimizer._learning_rate.step()
    checkpointer.average.update(checkpointer.network)


def save_one_epoch(out: Path) -> None:
    """Save `last.pdopt` as a run does after its first epoch."""
    with paddle.utils.unique_name.guard():
        checkpointer = make_checkpointer(out)
        train_one_batch(checkpointer)
    row = {"epoch": 1, "learning_rate": 0.001, "seconds": 1.0}
    checkpointer.save_progress([row | {f"{part}_{name}": 0.5 for part in ("train", "val") for name in METRICS}])
