"""Shared by several tests: MNIST, a small dataset, a briefly trained network, and ways to run the scripts."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

import train
from benchmarks import desktop as desk
from digits.cli import exit_status
from digits.config import Config
from digits.data import splits
from digits.data.mnist import CLASSES, load_mnist
from digits.data.splits import Dataset, split
from digits.networks.checkpoint import load_checkpoint, read_state
from digits.training.checkpointer import Checkpointer
from digits.training.run_folder import Run
from digits.training.stages import make_network, stages, starts_from_checkpoint
from digits.window.panel import CANVAS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mnist_train():
    return load_mnist("train")


@pytest.fixture(scope="session")
def small_data(tmp_path_factory, mnist_train):
    """A folder with an mnist.npz of 650 + 130 images: not multiples of 100, all from MNIST's training set."""
    images, labels = mnist_train
    folder = tmp_path_factory.mktemp("small")
    np.savez(
        folder / "mnist.npz",
        x_train=images[:650],
        y_train=labels[:650],
        x_test=images[1000:1130],
        y_test=labels[1000:1130],
    )
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, small_data):
    """The folder of a complete run of two epochs on the small data."""
    out = tmp_path_factory.mktemp("runs") / "small"
    done = call(train.main, "--data-dir", small_data, "--epochs", "2", "--out", out, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return out


def call(main, *arguments, cwd=ROOT):
    """Call a script's `main` in this process, as `script` would run it; exit status, and text of stdout and stderr."""
    splits._list_once.cache_clear()  # a process lists a folder once
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(cwd):
        try:
            status = exit_status(lambda: main(list(map(str, arguments))))
        except SystemExit as end:
            status = end.code or 0
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def script(name, *arguments, cwd=ROOT, timeout=600, **environment):
    """Run a script as a process of its own; exit status, and text of stdout and stderr."""
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


SETTINGS = {  # three epochs of three batches on the small data
    "batch_size": 200,
    "epochs": 3,
    "optimizer": "adamw",
    "schedule": "one-cycle",
    "weight_decay": 0.01,
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "calibration_fraction": 0.1,
    "non_digits": 4,
    "forms": 4,
    "edges": 0.3,
    "cut": 1.0,
    "rotation": 10.0,
    "shift": 2.0,
    "seed": 3,
}


@pytest.fixture
def config(small_data):
    return Config(data_dir=str(small_data), **SETTINGS)


def dataset_of(config):
    """Train and val, loaded silently."""
    images, labels = load_mnist("train", config.data_dir)
    train_part, val, _ = split(labels, config.val_fraction, config.calibration_fraction, config.seed)
    return Dataset(list(CLASSES), *((images[part], labels[part]) for part in (train_part, val)))


def fit(config, data, out, resume=False):
    """Train as train.py does, in stages for transfer learning, without a report; the history."""
    run = Run(config, "test", out, resume)
    network = make_network(config, data.classes, load=starts_from_checkpoint(run))
    for stage in stages(run, data, network):
        with paddle.utils.unique_name.guard():
            history = train.train(stage)
    return history


def state(out):
    """Everything that a run leaves, without its settings and the times."""
    progress = read_state(out / "last.pdopt")
    del progress["config"]
    for row in progress["history"]:
        row.pop("seconds")
    return progress, load_checkpoint(out).weights, load_checkpoint(out / "last.pdparams").weights


@contextlib.contextmanager
def interrupting_after(monkeypatch, when):
    """Within the block, interrupt a training as Ctrl-C does after the epoch for which `when(out, history)` holds."""
    save = Checkpointer.save_progress

    def save_and_stop(self, history):
        save(self, history)
        if when(self.out, history):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save_progress", save_and_stop)
        yield


@contextlib.contextmanager
def stopped_after(monkeypatch, when):
    """As `interrupting_after`, around code that lets the interrupt through, as `fit` does."""
    with interrupting_after(monkeypatch, when), pytest.raises(KeyboardInterrupt):
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
    """Mean absolute difference relative to the brighter image: 0 for equal images, 2 for disjoint ones."""
    return np.abs(first - second).sum() / max(first.sum(), second.sum())


def count_components(image):
    """Count the connected components of ink."""
    return cv2.connectedComponents((image > 127).astype(np.uint8))[0] - 1


# draw.py's window


@pytest.fixture(scope="module")
def screen():
    missing = [name for name, path in desk.PROGRAMS.items() if path is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {' '.join(missing)}")
    with desk.desktop() as screen:
        yield screen
        if screen.lost:
            warnings.warn(f"{screen.lost} windows were never painted and started again", stacklevel=1)


@pytest.fixture
def project(tmp_path):
    """A folder with the program, since drawings are saved next to draw.py."""
    for name in ("draw.py", "model.py", "train.py"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("digits", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "shipped").symlink_to(ROOT / "checkpoints" / "shipped")
    return tmp_path


@pytest.fixture
def started(screen, project):
    """draw.py right after its window was painted."""
    from window_driver import Running  # imports this file

    with Running(screen, project) as running:
        yield running


@pytest.fixture
def running(started):
    """draw.py with a window that responds, while the network is loading."""
    return started.until_it_draws()


@pytest.fixture
def loaded(running):
    """draw.py with its network: the panel no longer shows `loading...`."""
    answer = np.s_[42:182, CANVAS + 190 :]
    loading = running.screen.picture()[answer].copy()
    running.until(lambda: (running.screen.picture()[answer] != loading).any())
    return running
