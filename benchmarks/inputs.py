"""MNIST in other forms, to measure on."""

from pathlib import Path

import cv2
import numpy as np

from digits.data.mnist import load_mnist


def write_class_folders(folder: Path) -> None:
    """Write MNIST as PNG files into folder/train/<digit> and folder/test/<digit>."""
    for part in ("train", "test"):
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(*load_mnist(part), strict=True)):
            cv2.imwrite(str(folder / part / str(label) / f"{number:05d}.png"), image)


def write_subset(folder: Path, train: int, test: int) -> None:
    """Write the first `train` training images and the first `test` test images as folder/mnist.npz."""
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        images, labels = load_mnist(part)
        arrays |= {f"x_{part}": images[:count], f"y_{part}": labels[:count]}
    np.savez(folder / "mnist.npz", **arrays)


def write_pictures(folder: Path, count: int) -> None:
    """Write training images as PNG pictures of dark ink on grayish paper, 400x400 pixels."""
    images, _ = load_mnist("train")
    rng = np.random.default_rng(0)
    for number, image in enumerate(images[:count]):
        ink = cv2.resize(image.astype(np.float32), (280, 280), interpolation=cv2.INTER_CUBIC).clip(0, 255)
        x, y = rng.integers(120, size=2)
        paper = np.full((400, 400), rng.uniform(200, 250), np.float32)
        paper[y : y + 280, x : x + 280] -= ink * rng.uniform(0.5, 0.75)
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.clip(paper, 0, 255).astype(np.uint8))
