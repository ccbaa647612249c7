"""Draw random photos of handwritten pages: paper, printed lines, light, shadow, table, phone camera, four pens.

python tests/pages.py outputs/pages        draw a few to look at

The digits are MNIST training images, thinned to a line and redrawn with a pen. MNIST's test images are never used.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

PENS = {
    # range of widths as shares of a digit's height, colors BGR, opacity, grain
    "pencil": ((0.035, 0.05), [(105, 100, 100)], 0.75, 0.5),
    "ballpoint": ((0.035, 0.055), [(150, 60, 35), (120, 35, 25)], 0.9, 0.15),
    "felt pen": ((0.08, 0.11), [(40, 35, 35)], 0.97, 0.0),
    "marker": ((0.13, 0.17), [(50, 40, 205), (70, 140, 30)], 0.95, 0.0),
}
LINES = ("plain", "ruled", "squared")
_HEIGHT, _WIDTH = 1000, 800  # size of the sheet, pixels
_ROWS = ([5, 5], [3, 4, 3], [4, 3, 3], [2, 3, 2, 3])  # numbers of digits per row


@dataclass(frozen=True)
class Page:
    """A photo of a page.

    Attributes:
        image: uint8 [H, W, 3] BGR.
        labels: the digits in reading order.
        boxes: x, y, width and height of each digit, pixels.
    """

    image: np.ndarray
    labels: list[int]
    boxes: list[tuple[float, float, float, float]]


def draw_page(
    rng: np.random.Generator, images: np.ndarray, labels: np.ndarray, pen: str, lines: str, pairs: int = 0
) -> Page:
    """Draw ten digits, uint8 [10, 28, 28], in rows on a sheet and photograph it.

    In `pairs` of the rows, the first two digits touch.
    """
    cover = np.zeros((_HEIGHT, _WIDTH), np.float32)
    size = rng.uniform(62, 92)
    width, colors, opacity, grain = PENS[pen]
    boxes = []
    counts = _ROWS[rng.integers(len(_ROWS))]
    top, row_height = 150 + rng.uniform(0, 50), min(1.9 * size, 680 / len(counts))
    remaining = iter(images)
    touching = set(rng.permutation(len(counts))[:pairs].tolist())
    for row, count in enumerate(counts):
        step = min(size * rng.uniform(1.25, 1.7), 540 / count)
        x = 130 + rng.uniform(0, max(1, 540 - count * step))
        for place in range(count):
            glyph = _redraw(next(remaining), size * rng.uniform(0.85, 1.1), rng.uniform(*width) * size)
            h, w = glyph.shape
            left = int(x + (step - w) / 2)
            upper = int(top + row * row_height + rng.uniform(-0.06, 0.06) * size)
            if place == 1 and row in touching:
                left = _touch(cover, glyph, boxes[-1], upper)
            part = cover[upper : upper + h, left : left + w]
            np.maximum(part, glyph, out=part)
            ink = cv2.boundingRect((glyph > 0.3).astype(np.uint8))
            boxes.append((left + ink[0], upper + ink[1], ink[2], ink[3]))
            x += step
    sheet = _draw_paper(rng, lines, size)
    if grain:
        texture = cv2.GaussianBlur(rng.normal(0, 1, cover.shape).astype(np.float32), None, 0.8) * 2
        cover = cover * np.clip(1 - grain * (0.5 + 0.5 * texture), 0, 1)
    cover = (opacity * cover)[:, :, None]
    color = np.float32(colors[rng.integers(len(colors))])
    sheet = sheet * (1 - cover) + color * cover
    image, boxes = _photograph(rng, sheet, boxes)
    return Page(image, labels.tolist(), boxes)


def draw_pages(
    count: int, mnist: tuple[np.ndarray, np.ndarray], seed: int = 0, pens=tuple(PENS), pairs: int = 0
) -> list[tuple[str, Page]]:
    """Draw `count` pages with each pen, on plain, ruled and squared paper in turn.

    Returns:
        The name of the pen and the page, for each page.
    """
    rng = np.random.default_rng(seed)
    pages = []
    for number in range(count):
        for pen in pens:
            chosen = _choose(rng, mnist[0], 10)
            pages.append(
                (pen, draw_page(rng, mnist[0][chosen], mnist[1][chosen], pen, LINES[number % len(LINES)], pairs))
            )
    return pages


def _touch(cover, glyph, box, upper):
    """Find the left of a glyph at which it just touches the ink in a box: one pixel of overlap, pushed two farther."""
    x, _, width, _ = box
    rows = slice(upper, upper + len(glyph))
    ink = glyph > 0.3
    for left in range(x + width, x, -1):
        under = cover[rows, left : left + ink.shape[1]] > 0.3
        if (under & ink).any():
            return left - 2
    return x + width - int(ink.any(0).argmax())


def _choose(rng, images, count):
    """Choose random images that their center line describes: loops are open and strokes are well visible."""
    chosen = []
    while len(chosen) < count:
        index = int(rng.integers(len(images)))
        shape = _enlarge(images[index], 80, 10) > 90
        distance = _distance(_thin(shape))
        redrawn = distance <= np.median(cv2.distanceTransform(shape.astype(np.uint8), cv2.DIST_L2, 5)[distance == 0])
        if (redrawn & shape).sum() > 0.85 * (redrawn | shape).sum():
            chosen.append(index)
    return chosen


def _redraw(image, size, width):
    """Enlarge a digit [28, 28] to `size` and redraw its center line `width` pixels wide: float32 [h, w] in [0, 1]."""
    distance = _distance(_thin(_enlarge(image, size, int(width) + 4) > 90))
    return np.clip(width / 2 + 1 - cv2.GaussianBlur(distance, None, 1.2), 0, 1)


def _enlarge(image, size, margin):
    x, y, w, h = cv2.boundingRect(image)
    scale = size / max(w, h)
    enlarged = cv2.resize(image[y : y + h, x : x + w], None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(cv2.copyMakeBorder(enlarged, *[margin] * 4, cv2.BORDER_CONSTANT), None, size / 40)


def _distance(line):
    """Distance of each pixel from a line, bool [h, w], in pixels."""
    return cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _thin(mask):
    """Peel a shape down to its center line (Zhang and Suen 1984)."""
    ring = np.array([[128, 1, 2], [64, 0, 4], [32, 16, 8]], np.float32)
    codes = np.arange(256)
    bits = (codes[:, None] >> np.arange(8)) & 1  # the neighbors, clockwise from the top
    rises = ((bits == 0) & (np.roll(bits, -1, 1) == 1)).sum(1)
    removable = (rises == 1) & (bits.sum(1) >= 2) & (bits.sum(1) <= 6)
    up, right, down, left = bits[:, 0], bits[:, 2], bits[:, 4], bits[:, 6]
    peels = [
        removable & (up * right * down == 0) & (right * down * left == 0),
        removable & (up * right * left == 0) & (up * down * left == 0),
    ]
    mask = mask.copy()
    before = -1
    while before != (before := mask.sum()):
        for peel in peels:
            code = cv2.filter2D(mask.astype(np.float32), -1, ring, borderType=cv2.BORDER_CONSTANT)
            mask &= ~peel[code.astype(int)]
    return mask


def _draw_paper(rng, lines, size):
    """Draw paper with fibers and printed lines, float32 [H, W, 3] BGR."""
    paper = np.empty((_HEIGHT, _WIDTH, 3), np.float32)
    paper[:] = rng.uniform(225, 245) - np.float32([rng.uniform(0, 14), rng.uniform(0, 6), 0])
    fibers = rng.normal(0, 2.5, paper.shape[:2]) + 3 * _clouds(rng, paper.shape[:2], 40)
    paper += fibers[:, :, None]
    if lines == "plain":
        return paper
    color = np.float32([(215, 180, 150), (190, 175, 170), (200, 150, 180)][rng.integers(3)])
    spacing = size * (rng.uniform(0.6, 1.3) if lines == "ruled" else rng.uniform(0.35, 0.7))
    grid = np.zeros(paper.shape[:2], np.float32)
    for axis, length in enumerate(grid.shape):
        if axis == 0 or lines == "squared":
            for center in np.arange(rng.uniform(0.3, 1) * spacing, length, spacing):
                line = np.clip(rng.uniform(1.1, 1.6) - np.abs(np.arange(length) - center), 0, 1)
                grid = np.maximum(grid, line[:, None] if axis == 0 else line)
    grid = 0.85 * grid[:, :, None]
    return paper * (1 - grid) + color * grid


def _photograph(rng, sheet, boxes):
    """Photograph the sheet: on a table, tilted, lit from one side, partly in shadow; with blur, noise and JPEG.

    Returns:
        The photo, uint8 [H, W, 3] BGR, and the digits' boxes in it.
    """
    height, width = sheet.shape[:2]
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    has_table = rng.random() < 0.4
    size = (int(height * 1.15), int(width * 1.15)) if has_table else (height - 100, width - 60)
    target = corners + (np.float32(size[::-1]) - (width, height)) / 2 + rng.uniform(-0.03, 0.03, (4, 2)) * width
    angle = np.radians(rng.uniform(-5, 5))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = np.array(size[::-1]) / 2
    target = ((target - center) @ rotation.T + center).astype(np.float32)
    if not has_table:  # the sheet fills the picture
        target = ((target - center) * 1.12 + center).astype(np.float32)
    view = cv2.getPerspectiveTransform(corners, target)
    wood = np.float32([(60, 85, 120), (70, 70, 75), (40, 55, 80)][rng.integers(3)])
    image = wood + 12 * cv2.GaussianBlur(rng.normal(0, 1, size), None, sigmaX=30, sigmaY=1.5)[:, :, None] * 8
    image = image.astype(np.float32)
    on_sheet = cv2.warpPerspective(np.ones(sheet.shape[:2], np.float32), view, size[::-1])[:, :, None]
    sheet = cv2.warpPerspective(sheet, view, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    image = image * (1 - on_sheet) + sheet * on_sheet

    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    y, x = y / size[0] - 0.5, x / size[1] - 0.5
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0.1, 0.45) * (0.5 + np.cos(direction) * x + np.sin(direction) * y) - 0.25 * (x * x + y * y)
    if rng.random() < 0.7:  # the shadow of the phone, or of a hand
        direction = rng.uniform(0, 2 * np.pi)
        edge = np.cos(direction) * x + np.sin(direction) * y - rng.uniform(-0.25, 0.25)
        edge += 0.03 * np.sin(rng.uniform(3, 9) * (x - y) + rng.uniform(0, 6))
        light *= 1 - rng.uniform(0.25, 0.5) / (1 + np.exp(-np.clip(edge / rng.uniform(0.002, 0.02), -50, 50)))
    image *= light[:, :, None]
    image = cv2.GaussianBlur(image, None, rng.uniform(0.5, 1.1))
    noise = rng.normal(0, 1, image.shape) * np.sqrt(np.maximum(image, 0)) * rng.uniform(0.2, 0.5)
    image = np.clip(image + noise, 0, 255).astype(np.uint8)
    image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(60, 90))])[1], 1)

    boxes_in_photo = []
    for x, y, w, h in boxes:
        points = cv2.perspectiveTransform(np.float32([[[x, y], [x + w, y], [x + w, y + h], [x, y + h]]]), view)[0]
        low, high = points.min(0), points.max(0)
        boxes_in_photo.append((*low.tolist(), *(high - low).tolist()))
    return image, boxes_in_photo


def _clouds(rng, size, scale):
    """Draw smooth noise that varies over `scale` pixels, with a standard deviation of about 1."""
    coarse = rng.normal(0, 1, (size[0] // scale + 2, size[1] // scale + 2)).astype(np.float32)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def main(folder: str) -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from digits.data.mnist import load_mnist

    Path(folder).mkdir(parents=True, exist_ok=True)
    for number, (pen, page) in enumerate(draw_pages(3, load_mnist("train"))):
        cv2.imwrite(f"{folder}/{number:02d}_{pen.replace(' ', '_')}.jpg", page.image)


if __name__ == "__main__":
    main(sys.argv[1])
