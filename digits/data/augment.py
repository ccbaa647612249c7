"""Augmentation of a whole batch at once: random distortion and random stroke width, different for each image."""

from functools import cache

import cv2
import numpy as np

AMOUNTS = (
    *("rotation", "scale", "aspect", "shear", "shift", "elastic", "flip", "fill"),
    *("square", "hollow", "stroke", "edges", "cut", "gap"),
)
FOR_STROKES = ("square", "hollow", "stroke", "edges", "cut", "gap")  # these apply to bright strokes on black only

_MAX_ROWS = 32_767  # height limit of cv2.remap
_KNOTS = 5  # rows and columns of random knots in the elastic field, which is smooth between them
_LARGEST_STRETCH = 2.5  # of a narrow digit; a 1 that fills a square is a block
_GAP = (1.2, 2.6)  # width of a gap in a stroke, pixels
_EDGE_LEVEL = 100  # gray level at the edge of a stroke: strokes thresholded there keep their width
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def augment(
    images: np.ndarray,
    rng: np.random.Generator,
    rotation: float = 0.0,
    scale: float = 0.0,
    aspect: float = 0.0,
    shear: float = 0.0,
    shift: float = 0.0,
    elastic: float = 0.0,
    flip: float = 0.0,
    fill: int = 0,
    square: float = 0.0,
    hollow: float = 0.0,
    stroke: float = 0.0,
    edges: float = 0.0,
    cut: float = 0.0,
    gap: float = 0.0,
) -> np.ndarray:
    """Distort each image by its own uniformly drawn amounts, with bilinear interpolation.

    Args:
        images: uint8 [N, H, W], ink bright; or photos uint8 [N, H, W, C], to which `FOR_STROKES` do not apply.
        rng: source of all randomness.
        rotation: largest angle about the center, in degrees, in both directions.
        scale: largest relative change of size; 0.1 draws factors from 0.9 to 1.1.
        aspect: largest relative change of the ratio of width to height.
        shear: largest horizontal slant, x shift per y.
        shift: largest translation along each axis, in pixels.
        elastic: largest displacement of a knot of a smooth random field, in pixels (after Simard et al. 2003,
            section 2).
        flip: probability of mirroring left to right.
        fill: gray level of pixels that come from outside the image.
        square: probability of stretching the ink's box to a square, as where pictures are resized without their aspect.
        hollow: probability of keeping only the outline of the strokes.
        stroke: largest change of stroke width, thicker or thinner, in pixels; at most 2.
        edges: largest change of edge sharpness: softer (1: like a 3x3 blur) or harder (1: like a black-and-white scan);
            at most 1.
        cut: largest number of pixel rows or columns of ink to clear at one side; at least half of the images stay
            whole.
        gap: probability of clearing a thin line across the ink, which may detach a stem from its bowl.

    Returns:
        uint8, the shape of `images`.
    """
    if not len(images):
        return images
    if any((rotation, scale, aspect, shear, shift, elastic, square)):
        stretch = _stretch_to_square(images, rng.random(len(images)) < square) if square else np.ones((2, 1))
        source = _source(images.shape, rng, rotation, scale, aspect, shear, shift, elastic, stretch)
        size = _MAX_ROWS // (images.shape[1] + 2)
        chunks = [slice(start, start + size) for start in range(0, len(images), size)]
        images = np.concatenate([_sample(images[chunk], source[chunk], fill) for chunk in chunks])
    if flip:
        mirrored = rng.random(len(images)) < flip
        images = np.where(mirrored.reshape(-1, *[1] * (images.ndim - 1)), images[:, :, ::-1], images)
    if hollow:
        images = _hollow_out(images, np.flatnonzero(rng.random(len(images)) < hollow), rng)
    if stroke:
        images = _change_strokes(images, rng.uniform(-stroke, stroke, len(images)))
    if edges:
        images = _change_edges(images, rng.uniform(-edges, edges, len(images)))
    if cut:
        images = _cut(images, rng.integers(4, size=len(images)), rng.uniform(-cut, cut, len(images)))
    if gap:
        images = _open_gaps(images, np.flatnonzero(rng.random(len(images)) < gap), rng)
    return images


def _source(shape, rng, rotation, scale, aspect, shear, shift, elastic, stretch):
    """Return the source (x, y) of each output pixel, float32 [N, 2, H*W]: matrix @ (x, y) + offset about the center.

    `stretch` [2, N] are further factors of width and height.
    """
    count, height, width = shape[:3]
    angle = np.deg2rad(rng.uniform(-rotation, rotation, count))
    size = rng.uniform(1 - scale, 1 + scale, count)
    wider = np.sqrt(rng.uniform(1 - aspect, 1 + aspect, count))
    slant = rng.uniform(-shear, shear, count)
    offset = rng.uniform(-shift, shift, (count, 2))

    cos, sin = np.cos(angle), np.sin(angle)
    across, down = 1 / (size * wider * stretch[0]), wider / (size * stretch[1])
    matrix = np.stack([cos * across, (slant * cos - sin) * down, sin * across, (cos + slant * sin) * down], 1)
    center = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    y, x = np.mgrid[:height, :width]
    x, y = (np.stack([x.ravel(), y.ravel()]) - center).astype(np.float32)  # [H*W] each
    by_x, by_y = matrix.reshape(count, 2, 2).astype(np.float32).transpose(2, 0, 1)[..., None]  # [N, 2, 1] each
    source = by_x * x
    source += by_y * y
    source += (offset + center.T).astype(np.float32)[:, :, None]
    if elastic:
        knots = rng.uniform(-elastic, elastic, (count, 2, _KNOTS, _KNOTS)).astype(np.float32)
        field = _spline_weights(height) @ knots @ _spline_weights(width).T
        source += field.reshape(count, 2, height * width)
    return source


def _stretch_to_square(images, chosen):
    """Return the factors of width and height, float [2, N], that make the box of the chosen images' ink a square."""
    ink = images > _EDGE_LEVEL
    sizes = []
    for axis in (1, 2):
        inked = ink.any(axis)
        sizes.append(np.where(chosen, inked.shape[1] - inked.argmax(1) - inked[:, ::-1].argmax(1), 1))
    factors = np.max(sizes, 0) / sizes
    return np.clip(factors, 1, _LARGEST_STRETCH)


@cache
def _spline_weights(size):
    """Return the cubic B-spline weight of each knot at each pixel, float32 [size, _KNOTS]."""
    distance = np.abs(np.linspace(0.5, _KNOTS - 1.5, size)[:, None] - np.arange(_KNOTS))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _sample(images, source, fill):
    """Sample images at `source`, float32 [N, 2, H*W] (x, y), with the batch stacked into one tall image."""
    count, height, width, *channels = images.shape
    around = ((0, 0), (1, 1), (1, 1), *[(0, 0)] * len(channels))
    padded = np.pad(images, around, constant_values=fill)  # one pixel around each image, read for positions outside
    x = np.clip(source[:, 0] + 1, 0, width + 1)
    y = np.clip(source[:, 1] + 1, 0, height + 1)
    y += np.arange(count, dtype=np.float32)[:, None] * (height + 2)
    tall = padded.reshape(-1, width + 2, *channels)
    size = (count * height, width)
    return cv2.remap(tall, x.reshape(size), y.reshape(size), cv2.INTER_LINEAR).reshape(images.shape)


def _hollow_out(images, chosen, rng):
    """Keep the outlines of the chosen images' strokes, on both sides of their edges."""
    if not len(chosen):
        return images
    images = images.copy()
    thick, thin = _morph(images[chosen])
    inside = rng.uniform(0.3, 1, (len(chosen), 1, 1)).astype(np.float32)
    images[chosen] = np.maximum(thick - (thin + inside * (images[chosen] - thin)), 0).astype(np.uint8)
    return images


def _open_gaps(images, chosen, rng):
    """Clear a line at a random angle across the middle of each of the chosen images."""
    images = images.copy()
    y, x = np.mgrid[: images.shape[1], : images.shape[2]].astype(np.float32)
    x, y = x - x.mean(), y - y.mean()
    angle, reach = rng.uniform(0, np.pi, (len(chosen), 1, 1)), images.shape[1] / 4
    place, wide = rng.uniform(-reach, reach, (len(chosen), 1, 1)), rng.uniform(*_GAP, (len(chosen), 1, 1))
    distance = np.abs(x * np.cos(angle) + y * np.sin(angle) - place)
    images[chosen] = images[chosen] * np.clip(distance - wide / 2 + 0.5, 0, 1)
    return images


def _morph(images):
    """Dilate and erode by a cross of 3x3: two float32 [N, H, W]."""
    count, height, width = images.shape
    tall = np.pad(images, ((0, 0), (1, 1), (0, 0))).reshape(-1, width)
    return (
        morph(tall, _CROSS).reshape(count, height + 2, width)[:, 1:-1].astype(np.float32)
        for morph in (cv2.dilate, cv2.erode)
    )


def _change_strokes(images, change):
    """Thicken (change > 0) or thin strokes by `change` pixels: blend with a dilation or an erosion of 2 pixels."""
    thick, thin = _morph(images)
    weight = (np.abs(change) / 2).astype(np.float32)[:, None, None]
    target = np.where(change[:, None, None] > 0, thick, thin)
    return (images + weight * (target - images) + 0.5).astype(np.uint8)


def _change_edges(images, change):
    """Soften edges (change > 0) by blending with a blur; harden them by contrast about the gray level of an edge."""
    count, height, width = images.shape
    tall = np.pad(images, ((0, 0), (1, 1), (0, 0))).reshape(-1, width)
    soft = cv2.blur(tall, (3, 3)).reshape(count, height + 2, width)[:, 1:-1].astype(np.float32)
    change = change.astype(np.float32)[:, None, None]
    hard = np.clip((images - np.float32(_EDGE_LEVEL)) / np.maximum(1 + change, 0.1) + _EDGE_LEVEL, 0, 255)
    return np.where(change > 0, images + change * (soft - images), hard).astype(np.uint8)


def _cut(images, sides, amounts):
    """Clear the outermost `amounts` pixels of ink (none if negative) at the top, right, bottom or left."""
    images = images.copy()
    for side in range(4):
        chosen = np.flatnonzero((sides == side) & (amounts > 0))
        rotated = np.rot90(images[chosen], side, (1, 2))
        top = (rotated.max(2) > _EDGE_LEVEL).argmax(1)
        rows = np.arange(rotated.shape[1])
        kept = rows >= (top + np.rint(amounts[chosen]))[:, None]
        images[chosen] = np.rot90(rotated * kept[:, :, None], -side, (1, 2))
    return images
