"""What the configs reach, on the whole of MNIST and on photos made of it."""

import cv2
import numpy as np
import pytest
from conftest import script
from photos import write_photos

from digits.data.mnist import load_mnist
from digits.networks.checkpoint import load_checkpoint


def accuracy(out, *arguments):
    """Train into a folder, and say what that reaches on the test set, in percent."""
    done = script("train.py", *arguments, "--out", out, timeout=2400)
    assert done.returncode == 0, done.stderr
    return 100 * load_checkpoint(out).meta["metrics"]["test"]["accuracy"]


def test_the_perceptrons_recipe_reaches_what_the_exercise_does(tmp_path):
    done = script("train.py", "configs/mlp.yaml", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    best = load_checkpoint(tmp_path / "run").meta
    assert best["epoch"] <= 7
    assert best["metrics"]["test"]["loss"] <= 0.012
    assert best["metrics"]["test"]["accuracy"] >= 0.975
    assert "101,770" in script("train.py", "configs/mlp.yaml", "--summary").stdout


@pytest.mark.slow
def test_two_epochs_of_the_extended_recipe(tmp_path):
    done = script("train.py", "configs/extended.yaml", "--epochs", 2, "--out", tmp_path / "run", timeout=1800)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run").meta["metrics"]["test"]["accuracy"] >= 0.985


@pytest.mark.slow
def test_the_tutorials_recipe_reaches_what_the_tutorial_does(tmp_path):
    done = script("train.py", "configs/tutorial.yaml", "--out", tmp_path / "run", timeout=1200)
    assert done.returncode == 0, done.stderr
    assert 0.95 <= load_checkpoint(tmp_path / "run").meta["metrics"]["test"]["accuracy"] <= 0.97


@pytest.mark.slow
def test_mnist_as_folders_of_png_trains_as_well_as_the_arrays(tmp_path):
    for part in ("train", "test"):
        images, labels = load_mnist(part)
        for digit in "0123456789":
            (tmp_path / "png" / part / digit).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            cv2.imwrite(str(tmp_path / "png" / part / str(label) / f"{number:05d}.png"), image)
    settings = ["configs/lenet.yaml", "--epochs", 4, "--forms", 0, "--non-digits", 0]
    arrays = accuracy(tmp_path / "arrays", *settings)
    folders = accuracy(tmp_path / "folders", *settings, "--data-dir", tmp_path / "png")
    assert arrays > 98.5
    assert abs(folders - arrays) < 0.25


@pytest.mark.slow
def test_a_hundred_labels_and_the_rest_without(tmp_path, mnist_train):
    images, labels = mnist_train
    rng = np.random.default_rng(0)
    few = np.concatenate([rng.choice(np.flatnonzero(labels == digit), 10, replace=False) for digit in range(10)])
    rest = np.setdiff1d(np.arange(len(labels)), few)
    test_images, test_labels = load_mnist("test")
    for name, chosen in (("few", few), ("rest", rest)):
        (tmp_path / name).mkdir()
        known = labels[chosen] if name == "few" else np.zeros(len(chosen), np.int64)
        arrays = {"x_train": images[chosen], "y_train": known, "x_test": test_images, "y_test": test_labels}
        np.savez(tmp_path / name / "mnist.npz", **arrays)
    settings = ["configs/few_labels.yaml", "--data-dir", tmp_path / "few"]
    alone = accuracy(tmp_path / "alone", *settings)
    assert accuracy(tmp_path / "both", *settings, "--unlabeled", tmp_path / "rest") >= alone + 3


@pytest.mark.slow
def test_transfer_beats_training_from_scratch_on_a_hundred_photos_of_other_classes(tmp_path, mnist_train):
    images, labels = mnist_train
    for name, digits, counts in (("many", "012345", (700, 50, 1)), ("few", "6789", (25, 100, 200))):
        places = (slice(0, 40_000), slice(40_000, 50_000), slice(50_000, 60_000))
        for seed, (part, place, count) in enumerate(zip(("train", "val", "test"), places, counts, strict=True)):
            write_photos(tmp_path / name / part, images[place], labels[place], count, digits, 32, seed)
    settings = [
        "configs/inception_v3.yaml", "--backbone", "resnet18", "--pretrained", "false", "--image-size", 32,
        "--rotation", 15, "--flip", 0, "--shift", 2, "--calibration-fraction", 0,
    ]  # fmt: skip
    whole = [
        "--unfreeze", "all", "--head-epochs", 0, "--optimizer", "adamw", "--schedule", "one-cycle",
        "--learning-rate", 0.002,
    ]  # fmt: skip
    many, few = (["--data-dir", tmp_path / name] for name in ("many", "few"))
    accuracy(tmp_path / "backbone", *settings, *whole, *many, "--epochs", 8, "--batch-size", 32)
    scratch = accuracy(tmp_path / "scratch", *settings, *whole, *few, "--epochs", 40)
    transfer = accuracy(tmp_path / "transfer", *settings, *few, "--weights", tmp_path / "backbone")
    print(f"from scratch {scratch:.2f} %, transfer {transfer:.2f} %")
    assert transfer >= scratch + 10
