"""The same networks in PyTorch, trained with the same optimizer and schedule: a baseline for speed.

python -m benchmarks.pytorch speed lenet       seconds for an epoch with validation, for each way to run PyTorch
python -m benchmarks.pytorch accuracy          trains LeNet as fast as possible to 99%; prints its test accuracy

Needs torch (pip install -r requirements-bench.txt). The images are whole arrays in memory, as in train.py.
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from digits.cli import ArgumentParser, run
from digits.data.mnist import load_mnist

VARIANTS = ("default", "channels_last", "fused", "compiled")
TRAIN_SHARE, VAL_SHARE = 0.84, 0.04  # of the images; the defaults of train.py


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
            *_block(1, 16),
            *_block(16, 32, pool=True),
            *_block(32, 64),
            *_block(64, 64, pool=True),
            *_block(64, 128, padding=1, pool=True),
            *(nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10)),
        )


def _block(in_channels, out_channels, padding=0, pool=False):
    layers = [nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False), nn.BatchNorm2d(out_channels)]
    return [*layers, *([nn.MaxPool2d(2)] if pool else []), nn.LeakyReLU(0.1)]


NETWORKS = {"lenet": LeNet, "extended": ExtendedLeNet}


class Trainer:
    """Trains with AdamW and a one-cycle learning rate.

    Args:
        network: one of `NETWORKS`.
        variant: one of `VARIANTS`: channels-last memory format, the fused optimizer, or `torch.compile`.
        steps: of the whole training.
        batch_size, learning_rate, weight_decay: of the recipe; the learning rate at its peak.
    """

    def __init__(self, network, variant, steps, batch_size, learning_rate, weight_decay):
        self.format = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.network = network.to(memory_format=self.format)
        self.forward = torch.compile(self.network) if variant == "compiled" else self.network
        self.batch_size = batch_size
        settings = {"lr": learning_rate, "weight_decay": weight_decay, "fused": variant == "fused"}
        self.optimizer = torch.optim.AdamW(network.parameters(), **settings)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, learning_rate, total_steps=steps)

    def train(self, images: np.ndarray, labels: np.ndarray, order: np.ndarray) -> None:
        """Train on uint8 images [N, 28, 28] in an order; the loss is read at each step, as train.py does."""
        self.network.train()
        for batch in np.array_split(order, range(self.batch_size, len(order), self.batch_size)):
            loss = F.cross_entropy(self.forward(self._tensor(images[batch])), torch.from_numpy(labels[batch]))
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


def time_epoch(name: str, variant: str, batch_size: int, data_dir: str) -> float:
    """Return the seconds for the second epoch, with its validation."""
    torch.manual_seed(0)
    images, labels = load_mnist("train", data_dir)
    count = round(TRAIN_SHARE * len(labels))
    val = np.s_[-round(VAL_SHARE * len(labels)) :]
    steps = 2 * -(-count // batch_size)
    trainer = Trainer(NETWORKS[name](), variant, steps, batch_size, 0.004, 0.05)
    for epoch in range(2):
        started = time.perf_counter()
        trainer.train(images, labels, np.random.default_rng(epoch).permutation(count))
        trainer.accuracy(images[val], labels[val])
    return time.perf_counter() - started


def train_to_accuracy(args) -> float:
    """Train LeNet on all but `args.held_out` training images; return its accuracy on those, or on the test set."""
    torch.manual_seed(args.seed)
    images, labels = load_mnist("train")
    order = np.random.default_rng(args.seed).permutation(len(labels))
    held_out, train = order[: args.held_out], order[args.held_out :]
    steps = args.epochs * -(-len(train) // args.batch_size)
    trainer = Trainer(LeNet(), args.variant, steps, args.batch_size, args.learning_rate, args.weight_decay)
    for epoch in range(args.epochs):
        trainer.train(images, labels, np.random.default_rng([args.seed, epoch]).permutation(train))
    return trainer.accuracy(*((images[held_out], labels[held_out]) if args.held_out else load_mnist("test")))


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="-m benchmarks.pytorch", description=__doc__)
    parser.add_argument("kind", choices=("speed", "accuracy"))
    parser.add_argument("network", nargs="?", choices=NETWORKS, default="lenet")
    parser.add_argument("--data-dir", default="", metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--epochs", type=int, default=3, metavar="N")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N")
    parser.add_argument("--learning-rate", type=float, default=0.004, metavar="X")
    parser.add_argument("--weight-decay", type=float, default=0.05, metavar="X")
    parser.add_argument("--variant", choices=VARIANTS, default="default")
    parser.add_argument("--held-out", type=int, default=0, metavar="N", help="measure on N training images instead")
    args = parser.parse_args(argv)
    if args.kind == "accuracy":
        print(f"{train_to_accuracy(args):.4f}")
        return
    for variant in VARIANTS:
        print(variant, round(time_epoch(args.network, variant, args.batch_size, args.data_dir), 3), flush=True)


if __name__ == "__main__":
    run(main)
