"""What several tests share: MNIST, a small set of its kind, and a network trained on that for a moment."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data import load_mnist

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
