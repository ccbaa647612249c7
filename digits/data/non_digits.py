"""Synthetic images that are not a single digit: out-of-distribution training images (outlier exposure)."""

import string
from contextlib import suppress

import cv2
import numpy as np

from digits.data.augment import augment
from digits.data.letters import draw_letters
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import SIDE, ink_to_mnist, to_mnist

# Letters and signs, except those that look like a digit (I, O, S, b, q, z, ...)
_SIGNS = "".join(sorted(set(string.ascii_letters) - set("BGIOQSZbgiloqsyz"))) + "#%&*+=<?@{}^~"
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_LETTERS = 7  # letters for each drawing or corrupted digit of a kind
_CANVAS = 64  # side of the square canvas, pixels
_MIRRORED = (3, 4, 6, 7, 9)  # digits that are no longer digits when mirrored
_TURNED = (2, 3, 4, 5, 6, 7, 9)  # digits that look different upside down


def make_non_digits(images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw letters, signs, scribbles and shapes, corrupt digits, and generate noise, all in MNIST format.

    Args:
        images: uint8 [N, 28, 28], digits to corrupt, ink bright.
        labels: int64 [N].
        count: number of images.
        rng: source of all randomness.

    Returns:
        uint8 [count, 28, 28].
    """
    by_label = {label: images[labels == label] for label in np.unique(labels).tolist()}

    def digit(*candidates):
        present = [label for label in candidates or by_label if label in by_label]
        if not present:
            raise LookupError
        label = rng.choice(present)
        return by_label[label][rng.integers(len(by_label[label]))]

    drawn = (_sign, _sign, _scribble, _scribble, _shape, _shape)
    corrupted = (_mirror, _overlap, _overlap, _overlap, _overlap, _several, _several, _cut)
    letter = len(drawn) + len(corrupted)  # the first of the kinds that stand for a letter
    noise = letter + _LETTERS
    kinds = rng.integers(noise + 1, size=count)
    drawings = [drawn[kind](rng) for kind in kinds[kinds < len(drawn)]]
    drawings = np.array(drawings, np.uint8).reshape(-1, _CANVAS, _CANVAS)
    drawings = iter(augment(drawings, rng, rotation=15, aspect=0.4, shear=0.4, elastic=8))
    letters = iter(draw_letters(int((kinds >= letter).sum()), rng))
    made = np.zeros((count, SIDE, SIDE), np.uint8)
    for image, kind in zip(made, kinds.tolist(), strict=True):
        if kind < len(drawn):
            image[:] = _to_mnist(next(drawings))
        elif kind < letter:
            image[:] = _to_mnist(_corrupt(corrupted[kind - len(drawn) :] + corrupted, rng, digit))
        elif kind < noise:
            image[:] = _to_mnist(next(letters))
        else:
            image[:] = _noise_to_mnist(_noise(rng))
    return made


def _corrupt(kinds, rng, digit):
    """Corrupt a digit in the first of these ways for which the dataset has the digits."""
    for kind in kinds:
        with suppress(LookupError):
            return kind(rng, digit)


def _to_mnist(drawing):
    """Normalize a drawing, uint8 [H, W] bright on black, to MNIST format, uint8 [28, 28]."""
    if not drawing.any():
        return np.zeros((SIDE, SIDE), np.uint8)
    return np.rint(255 * ink_to_mnist(drawing.astype(np.float32) / drawing.max()))


def _noise_to_mnist(image):
    """Normalize noise as the picture of a digit would be; without ink, shrink it."""
    try:
        return np.rint(255 * to_mnist(image)).astype(np.uint8)
    except BlankImage:
        return cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _canvas():
    return np.zeros((_CANVAS, _CANVAS), np.uint8)


def _sign(rng):
    """Draw a letter or a sign in a font."""
    text = _SIGNS[rng.integers(len(_SIGNS))]
    font, pen = _FONTS[rng.integers(len(_FONTS))], int(rng.integers(2, 8))
    (width, height), below = cv2.getTextSize(text, font, 1, 1)
    scale = 40 / max(width, height + below)
    (width, height), below = cv2.getTextSize(text, font, scale, pen)
    start = ((_CANVAS - width) // 2, (_CANVAS + height - below) // 2)
    return cv2.putText(_canvas(), text, start, font, scale, 255, pen, cv2.LINE_AA)


def _scribble(rng):
    """Draw one or two strokes through random points, smooth or with corners."""
    canvas = _canvas()
    pen = int(rng.integers(2, 8))
    for _ in range(rng.integers(1, 3)):
        points = rng.uniform(6, _CANVAS - 6, (rng.integers(4, 10), 2))
        if rng.random() < 0.7:  # round the corners (Chaikin 1974)
            for _ in range(3):
                before, after = points[:-1], points[1:]
                points = np.stack([0.75 * before + 0.25 * after, 0.25 * before + 0.75 * after], 1).reshape(-1, 2)
        cv2.polylines(canvas, [np.rint(points).astype(np.int32)], False, 255, pen, cv2.LINE_AA)
    return canvas


def _shape(rng):
    """Draw a polygon, a star, rays, a filled blob, a grid, a closed wavy line, or a ring with strokes inside."""
    canvas = _canvas()
    pen = int(rng.integers(2, 7))
    middle, radius = _CANVAS / 2, rng.uniform(18, 26)

    def around(count, reach):
        turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
        reach = reach(turn) if callable(reach) else reach
        turn = turn + rng.uniform(0, 2 * np.pi)
        points = middle + radius * np.broadcast_to(reach, count)[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
        return np.rint(points).astype(np.int32)

    kind = rng.integers(7)
    if kind == 0:
        cv2.polylines(canvas, [around(rng.integers(3, 5), rng.uniform(0.7, 1))], True, 255, pen, cv2.LINE_AA)
    elif kind == 1:
        points = 2 * int(rng.integers(4, 8))
        cv2.polylines(canvas, [around(points, np.tile([0.4, 1], points // 2))], True, 255, pen, cv2.LINE_AA)
    elif kind == 2:
        for end in around(rng.integers(3, 8), 1).tolist():
            cv2.line(canvas, (_CANVAS // 2, _CANVAS // 2), end, 255, pen, cv2.LINE_AA)
    elif kind == 3:
        count = int(rng.integers(6, 20))
        cv2.fillPoly(canvas, [around(count, rng.uniform(0.5, 1, count))], 255, cv2.LINE_AA)
    elif kind == 4:
        for place in np.linspace(10, _CANVAS - 10, rng.integers(2, 5)).astype(int).tolist():
            cv2.line(canvas, (place, 8), (place, _CANVAS - 8), 255, pen, cv2.LINE_AA)
            cv2.line(canvas, (8, place), (_CANVAS - 8, place), 255, pen, cv2.LINE_AA)
    elif kind == 5:
        dents, depth = rng.choice([1, 3, 4, 5]), rng.uniform(0.4, 0.7)  # 1: a heart, 5: a flower; 2 would be an 8
        sharpness = rng.uniform(20, 50) / dents**2
        wavy = around(60, lambda turn: 1 - depth * np.abs(np.cos(dents * turn / 2)) ** sharpness)
        cv2.polylines(canvas, [wavy], True, 255, pen, cv2.LINE_AA)
    else:
        pen = min(pen, 4)
        cv2.polylines(canvas, [around(60, 1)], True, 255, pen, cv2.LINE_AA)
        for _ in range(rng.integers(2, 6)):
            start = rng.uniform(-0.5, 0.5, 2) * radius
            ends = np.clip([start, start + rng.normal(0, 8, 2)], -0.6 * radius, 0.6 * radius) + middle
            cv2.line(canvas, *np.rint(ends).astype(int).tolist(), 255, pen, cv2.LINE_AA)
    return canvas


def _mirror(rng, digit):
    return digit(*_MIRRORED)[:, ::-1]


def _overlap(rng, digit):
    """Superimpose two digits by maximum or by mean: of different classes, or one or both flipped."""
    if rng.random() < 0.5:
        first, second = map(digit, rng.choice(10, 2, replace=False).tolist())
    else:
        first, second = digit(), digit(*_TURNED)
        second = second[::-1, ::-1] if rng.random() < 0.5 else second[::-1]
        first = first[::-1, ::-1] if rng.random() < 0.4 else first
    if rng.random() < 0.5:
        return np.maximum(first, second)
    share = rng.uniform(0.35, 0.65)
    return (share * first + (1 - share) * second).astype(np.uint8)


def _several(rng, digit):
    """Place two or three digits side by side, or two above each other."""
    parts = [digit() for _ in range(rng.integers(2, 4))]
    if rng.random() < 0.8:
        parts = [part[:, _span(part, 0)] for part in parts]
        gap = np.zeros((SIDE, rng.integers(1, 6)), np.uint8)
        return np.hstack([column for part in parts for column in (part, gap)])
    parts = [part[_span(part, 1)] for part in parts[:2]]
    return np.vstack([parts[0], np.zeros((rng.integers(1, 6), SIDE), np.uint8), parts[1]])


def _cut(rng, digit):
    """Cut off one side of a 0, which leaves a C or a U."""
    zero = digit(0)
    zero = zero[_span(zero, 1), _span(zero, 0)]
    side = int(rng.integers(4))
    kept = np.rot90(zero, side)[: round(len(np.rot90(zero, side)) * rng.uniform(0.5, 0.75))]
    return np.pad(np.rot90(kept, -side), 4)


def _noise(rng):
    """Generate a uniform image, fine or coarse noise, soft spots, or stripes."""
    kind, side = rng.integers(6), int(rng.integers(SIDE, 2 * SIDE))
    if kind == 0:
        return np.full((side, side), rng.integers(256), np.uint8)
    if kind == 1:
        noise = rng.normal(0.5, rng.uniform(0.1, 0.5), (side, side))
    elif kind in (2, 3):
        noise = cv2.GaussianBlur(rng.random((side, side), dtype=np.float32), None, rng.uniform(0.7, 6))
        noise = (noise - noise.min()) / np.ptp(noise)
        if kind == 3:
            noise = (noise > np.quantile(noise, rng.uniform(0.3, 0.8))).astype(np.float32)
    elif kind == 4:
        y, x = np.mgrid[:side, :side] / side
        noise = np.zeros((side, side))
        for _ in range(rng.integers(1, 5)):
            (u, v), spread = rng.uniform(0.15, 0.85, 2), rng.uniform(0.05, 0.25)
            noise += np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spread**2))
    else:
        y, x = np.mgrid[:side, :side]
        angle = rng.uniform(0, np.pi)
        noise = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / rng.uniform(0.8, 3))
    return (255 * np.clip(noise, 0, 1)).astype(np.uint8)


def _span(image, axis):
    """Return the slice from the first to the last row or column with ink."""
    inked = np.flatnonzero(image.any(axis))
    return slice(inked[0], inked[-1] + 1) if len(inked) else slice(None)
