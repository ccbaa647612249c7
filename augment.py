"""Augmentation of a whole batch at once: a random affine map an image, in one call of OpenCV."""

import cv2
import numpy as np

_CHUNK = 1024  # cv2.remap takes at most 32,767 rows: 1,024 padded images of 30 rows fit


def augment(
    images: np.ndarray,
    rng: np.random.Generator,
    rotation: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    shift: float = 0.0,
) -> np.ndarray:
    """Rotate, scale, shear and shift each image by its own random amount, with bilinear interpolation; black moves in.

    Args:
        images: uint8 [N, H, W].
        rng: source of the random amounts, all uniform.
        rotation: largest angle, in degrees either way, about the centre.
        scale: largest relative change of size; 0.1 draws factors from 0.9 to 1.1.
        shear: largest horizontal slant, as x moved per y.
        shift: largest move along each axis, in pixels.

    Returns:
        uint8 [N, H, W].
    """
    if not any((rotation, scale, shear, shift)):
        return images
    count, height, width = images.shape
    angle = np.deg2rad(rng.uniform(-rotation, rotation, count))
    factor = rng.uniform(1 - scale, 1 + scale, count)
    slant = rng.uniform(-shear, shear, count)
    offset = rng.uniform(-shift, shift, (count, 2))

    # Each output pixel asks where it comes from: source = matrix @ (x, y) + offset, measured from the image's centre.
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    matrix = np.stack([cos, -sin + slant * cos, sin, cos + slant * sin], 1).reshape(count, 2, 2)
    centre = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    y, x = np.mgrid[:height, :width]
    grid = np.stack([x.ravel(), y.ravel()]) - centre  # [2, H*W]
    source = (matrix @ grid + offset[:, :, None] + centre).astype(np.float32)  # [N, 2, H*W]
    return np.concatenate([_sample(images[i : i + _CHUNK], source[i : i + _CHUNK]) for i in range(0, count, _CHUNK)])


def _sample(images, source):
    """Read images uint8 [N, H, W] at source float32 [N, 2, H*W] (x, y): the batch is stacked into one tall picture."""
    count, height, width = images.shape
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # one black pixel around each, for what comes from outside
    x = np.clip(source[:, 0] + 1, 0, width + 1)
    y = np.clip(source[:, 1] + 1, 0, height + 1)
    y += np.arange(count, dtype=np.float32)[:, None] * (height + 2)
    tall = padded.reshape(-1, width + 2)
    size = (count * height, width)
    return cv2.remap(tall, x.reshape(size), y.reshape(size), cv2.INTER_LINEAR).reshape(images.shape)
