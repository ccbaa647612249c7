"""The same networks in PyTorch, trained with the same optimizer and schedule: a baseline for speed.

python -m benchmarks.pytorch speed lenet    seconds for an epoch with validation, for each way to run PyTorch
python -m benchmarks.pytorch accuracy       trains LeNet by the recipe of configs/lenet_fast.yaml; its test accuracy

Needs torch (pip install -r requirements-bench.txt). The images are whole arrays in memory, as in train.py.
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from digits.cli import ArgumentParser, run
from digits.config import Config, load_config
from digits.data.mnist import load_mnist

ROOT = Path(__file__).resolve().parents[1]
VARIANTS = ("default", "channels_last", "fused", "compiled")


class LeNet(nn.Sequential):
    """`model.LeNet`, as one would write it for PyTorch."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(1, 6, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(6, 16, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(256, 120), nn.ReLU()),
            *(nn.Linear(120, 64), nn.ReLU(), nn.Linear(64, 10)),
        )


class ExtendedLeNet(nn.Sequential):
    """`model.ExtendedLeNet`."""

    def __init__(self):
        super().__init__(
            *_block(1, 24),
            *_block(24, 32, pool=True),
            *(*_block(32, 64), Shortcut(64), nn.MaxPool2d(2)),
            *(*_block(64, 112, padding=1), Shortcut(112), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(448, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10)),
        )


class Shortcut(nn.Sequential):
    """A block whose output is added to its input."""

    def __init__(self, channels):
        super().__init__(*_block(channels, channels, padding=1))

    def forward(self, x):
        return x + super().forward(x)


def _block(in_channels, out_channels, padding=0, pool=False):
    layers = [nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False), nn.BatchNorm2d(out_channels)]
    return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.LeakyReLU(0.1)]


NETWORKS = {"lenet": LeNet, "extended": ExtendedLeNet}


class Trainer:
    """Trains with AdamW and a one-cycle learning rate, as a config of train.py says.

    Args:
        network: one of `NETWORKS`.
        variant: one of `VARIANTS`: channels-last memory format, the fused optimizer, or `torch.compile`.
        config: batch size, learning rate, weight decay, label smoothing.
        steps: of the whole training.
    """

    def __init__(self, network: nn.Module, variant: str, config: Config, steps: int):
        self.format = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.network = network.to(memory_format=self.format)
        self.forward = torch.compile(self.network) if variant == "compiled" else self.network
        self.config = config
        rate = config.learning_rate
        settings = {"lr": rate, "weight_decay": config.weight_decay, "fused": variant == "fused"}
        self.optimizer = torch.optim.AdamW(network.parameters(), **settings)
        shape = {"pct_start": 0.25, "div_factor": 10, "final_div_factor": 1e9, "cycle_momentum": False}
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rate, total_steps=steps, **shape)

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        """Train on uint8 images [N, 28, 28] in an order; the loss is read at each step, as train.py does."""
        self.network.train()
        for batch in np.array_split(order, range(self.config.batch_size, len(order), self.config.batch_size)):
            logits, target = self.forward(self._tensor(images[batch])), torch.from_numpy(labels[batch])
            loss = F.cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.schedule.step()
            loss.item()

    @torch.no_grad()
    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of images whose most probable class is their label."""
        self.network.eval()
        parts = range(0, len(images), 1000)
        predicted = [self.forward(self._tensor(images[start : start + 1000])).argmax(1).numpy() for start in parts]
        return float((np.concatenate(predicted) == labels).mean())

    def _tensor(self, images):
        scaled = torch.from_numpy(images.astype(np.float32)[:, None] / 255)
        return scaled.contiguous(memory_format=self.format)


def time_epoch(name: str, variant: str, data_dir: str) -> float:
    """Return the seconds for the second epoch, with its validation."""
    torch.manual_seed(0)
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    images, labels = load_mnist("train", data_dir)
    count = round((1 - config.val_fraction - config.calibration_fraction) * len(labels))
    val = np.s_[-round(config.val_fraction * len(labels)) :]
    trainer = Trainer(NETWORKS[name](), variant, config, 2 * -(-count // config.batch_size))
    for epoch in range(2):
        started = time.perf_counter()
        trainer.train(images, labels, np.random.default_rng(epoch).permutation(count))
        trainer.accuracy(images[val], labels[val])
    return time.perf_counter() - started


def train_to_accuracy(variant: str, seed: int) -> float:
    """Train LeNet by the recipe of configs/lenet_fast.yaml; return the accuracy on the test set."""
    torch.manual_seed(seed)
    config = load_config(ROOT / "configs" / "lenet_fast.yaml")
    images, labels = load_mnist("train")
    order = np.random.default_rng(seed).permutation(len(labels))
    val, train = np.split(order, [round(config.val_fraction * len(labels))])
    trainer = Trainer(LeNet(), variant, config, config.epochs * -(-len(train) // config.batch_size))
    for epoch in range(config.epochs):
        trainer.train(images, labels, np.random.default_rng([seed, epoch]).permutation(train))
        trainer.accuracy(images[val], labels[val])
    return trainer.accuracy(*load_mnist("test"))


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="-m benchmarks.pytorch", description=__doc__)
    parser.add_argument("kind", choices=("speed", "accuracy"))
    parser.add_argument("network", nargs="?", choices=NETWORKS, default="lenet")
    parser.add_argument("--data-dir", default="", metavar="DIR", help="speed: a dataset in MNIST's formats [MNIST]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="accuracy: the seed [0]")
    parser.add_argument("--variant", choices=VARIANTS, default="default", help="accuracy: how to run PyTorch [default]")
    args = parser.parse_args(argv)
    if args.kind == "accuracy":
        print(f"{train_to_accuracy(args.variant, args.seed):.4f}")
        return
    for variant in VARIANTS:
        print(variant, round(time_epoch(args.network, variant, args.data_dir), 3), flush=True)


if __name__ == "__main__":
    run(main)
