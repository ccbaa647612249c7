"""Synthetic photos for tests: colored digits of MNIST, light on dark or the reverse, in class folders."""

from pathlib import Path

import cv2
import numpy as np


def draw_photo(digit: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a digit, uint8 [28, 28] with bright ink, as a photo, uint8 BGR [size, size, 3]."""
    background, ink = rng.uniform(0, 90, 3), rng.uniform(150, 255, 3)
    photo = background + cv2.resize(rng.normal(0, 15, (4, 4, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    side = int(size * rng.uniform(0.8, 1.0))
    x, y = rng.integers(0, size - side + 1, 2)
    place = photo[y : y + side, x : x + side]
    place += cv2.resize(digit, (side, side))[:, :, None] / 255 * (ink - place)
    photo = np.clip(photo + rng.normal(0, 8, photo.shape), 0, 255).astype(np.uint8)
    return photo if rng.random() < 0.5 else 255 - photo


def write_photos(folder: Path, images, labels, count: int, digits: str, size: int, seed: int) -> None:
    """Write `count` photos of each digit in `digits` to `folder/<digit>/0000.png`, `0001.png`, ..."""
    rng = np.random.default_rng(seed)
    for name in digits:
        (folder / name).mkdir(parents=True)
        for number, index in enumerate(rng.choice(np.flatnonzero(labels == int(name)), count, replace=False)):
            cv2.imwrite(str(folder / name / f"{number:04d}.png"), draw_photo(images[index], size, rng))
