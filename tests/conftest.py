"""What several tests share: MNIST, a small set of its kind, and a network trained on that for a moment."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from digits.config import Config
from digits.data.mnist import CLASSES, load_mnist, split
from digits.data.splits import Dataset
from digits.networks.checkpoint import load_checkpoint, read_state
from digits.training import fitting

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mnist_train():
    return load_mnist("train")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory, mnist_train):
    """A folder with an mnist.npz of 650 + 130 images: no multiples of 100, all from MNIST's training part."""
    images, labels = mnist_train
    folder = tmp_path_factory.mktemp("small")
    np.savez(
        folder / "mnist.npz",
        x_train=images[:650],
        y_train=labels[:650],
        x_test=images[1000:1130],
        y_test=labels[1000:1130],
    )
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, small_data):
    """The folder of a finished run of two epochs on the small data."""
    out = tmp_path_factory.mktemp("runs") / "small"
    done = script("train.py", "--data-dir", small_data, "--epochs", "2", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def script(name, *arguments, cwd=ROOT, timeout=600, **environment):
    """Run one of the scripts as a user would; text of stdout and stderr."""
    return subprocess.run(
        [sys.executable, str(ROOT / name), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def assert_one_line_error(done, *parts, status=2):
    lines = [line for line in done.stderr.splitlines() if not line.startswith("data: ")]
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


SETTINGS = {
    "batch_size": 50,
    "epochs": 4,
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "weight_decay": 0.01,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "calibration_fraction": 0.1,
    "non_digits": 8,
    "forms": 8,
    "edges": 0.3,
    "cut": 1.0,
    "rotation": 10.0,
    "shift": 2.0,
    "seed": 3,
}


@pytest.fixture
def config(small_data):
    return Config(data_dir=str(small_data), **SETTINGS)


def sets_of(config):
    """Train and val, without what is printed of them."""
    images, labels = load_mnist("train", config.data_dir)
    train, val, _ = split(labels, config.val_fraction, config.calibration_fraction, config.seed)
    return Dataset(list(CLASSES), *((images[part], labels[part]) for part in (train, val)))


def state(out):
    """All that a run leaves, without the times."""
    progress = read_state(out / "last.pdopt")
    for row in progress["history"]:
        row.pop("seconds")
    return progress, load_checkpoint(out).weights, load_checkpoint(out / "last.pdparams").weights


@contextlib.contextmanager
def stopped_after(monkeypatch, when):
    """Within the block a training ends as by Ctrl-C after the epoch for which `when(out, history)` holds."""
    real = fitting.save_progress

    def save(out, model, optimizer, average, history, *arguments):
        real(out, model, optimizer, average, history, *arguments)
        if when(out, history):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting, "save_progress", save)
        yield


def assert_same(first, second):
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


@pytest.fixture
def digit():
    """A hand-drawn-like 7 as ink, uint8 [200, 160], bright on black."""
    ink = np.zeros((200, 160), np.uint8)
    points = np.array([[30, 40], [80, 36], [125, 38], [100, 90], [75, 170]], np.int32)
    cv2.polylines(ink, [points.reshape(-1, 1, 2)], False, 255, 14, cv2.LINE_AA)
    return ink


def difference(first, second):
    """Mean absolute difference over the brighter of the two: 0 for the same, 2 for nothing in common."""
    return np.abs(first - second).sum() / max(first.sum(), second.sum())


def count_pieces(image):
    """How many connected pieces of ink there are."""
    return cv2.connectedComponents((image > 127).astype(np.uint8))[0] - 1
