"""PaddlePaddle's MNIST tutorial as published, the baseline for speed: its LeNet, and one epoch of its loop.

python -m benchmarks.tutorial    prints the seconds for one epoch with validation, without the set-up
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import gzip
import tempfile
import time
from pathlib import Path

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.vision.datasets import MNIST
from paddle.vision.transforms import ToTensor

from digits.cli import run
from digits.data.download import CACHE, FILES
from digits.data.mnist import load_mnist


class TutorialLeNet(nn.Layer):
    """The network as the tutorial writes it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(in_channels=1, out_channels=6, kernel_size=5)
        self.max_pool1 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2D(in_channels=6, out_channels=16, kernel_size=5)
        self.max_pool2 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv3 = nn.Conv2D(in_channels=16, out_channels=120, kernel_size=4)
        self.fc1 = nn.Linear(in_features=120, out_features=64)
        self.fc2 = nn.Linear(in_features=64, out_features=10)

    def forward(self, x):
        x = F.sigmoid(self.conv1(x))
        x = F.sigmoid(self.max_pool1(x))
        x = self.max_pool2(self.conv2(x))
        x = paddle.reshape(self.conv3(x), [x.shape[0], -1])
        return self.fc2(F.sigmoid(self.fc1(x)))


def time_epoch() -> float:
    """Train and validate for one epoch as the tutorial does, with ToTensor, DataLoader and batches of 10; seconds."""
    train_loader, test_loader = (
        paddle.io.DataLoader(_load_dataset(mode), batch_size=10, shuffle=True) for mode in ("train", "test")
    )
    model = TutorialLeNet()
    optimizer = paddle.optimizer.Momentum(learning_rate=0.001, momentum=0.9, parameters=model.parameters())
    loss_function = nn.CrossEntropyLoss(reduction="none")

    started = time.perf_counter()
    model.train()
    for images, labels in train_loader():
        loss = paddle.mean(loss_function(model(images), labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    accuracies, losses = [], []
    for images, labels in test_loader():
        logits = model(images)
        losses.append(loss_function(logits, labels).numpy())
        accuracies.append(paddle.metric.accuracy(F.softmax(logits), labels).numpy())
    return time.perf_counter() - started


def _load_dataset(mode):
    """Load Paddle's own dataset from the files in our cache, compressed, since it reads only .gz files."""
    load_mnist(mode)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{name}.gz") for name in FILES[mode]]
        for name, path in zip(FILES[mode], paths, strict=True):
            path.write_bytes(gzip.compress((CACHE.expanduser() / name).read_bytes(), 1))
        return MNIST(*map(str, paths), mode=mode, transform=ToTensor())


if __name__ == "__main__":
    run(lambda: print(time_epoch()))
