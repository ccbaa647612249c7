"""Read digits by other writers, by kind: plain, stretched, cut, hollow, faint, circled; and letters, dots and signs.

python -m benchmarks.handwriting ../shared/data                       all kinds, with the shipped weights
python -m benchmarks.handwriting ../shared/data --checkpoint RUN      with other weights
python -m benchmarks.handwriting ../shared/data --draw FOLDER         also draws ten of each kind, to look at

The folder holds `pen_strokes.jsonl.gz` (digits as pen strokes, UCI's pen digits) and `letters.npz` (EMNIST's letters).
"""

import gzip
import json
from contextlib import suppress

import cv2
import numpy as np

from digits.cli import ArgumentParser, InputError, run
from digits.evaluation.classifier import Classifier, doubt_picture
from digits.evaluation.metrics import auroc, oscr
from digits.evaluation.reading import BLANK, Reading
from digits.files import user_path
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import to_mnist

SIDE = 400  # side of the square to draw on, pixels
PAPER, INK = 235, 30  # gray levels


def draw_strokes(
    strokes: list, rng: np.random.Generator, pen: int | None = None, size: float | None = None
) -> np.ndarray:
    """Draw pen strokes, points [K, 2] each, as in the drawing window: uint8 [400, 400], bright on black.

    The size (a share of the side), the place and, unless it is given, the pen's width are random.
    """
    points = np.concatenate([np.array(stroke, float) for stroke in strokes])
    low, high = points.min(0), points.max(0)
    size = size or rng.uniform(0.3, 0.8)
    scale = SIDE * size / max((high - low).max(), 1)
    place = SIDE / 2 + rng.uniform(-0.4, 0.4, 2) * SIDE * (1 - size) - scale * (low + high) / 2
    image, pen = np.zeros((SIDE, SIDE), np.uint8), pen or int(rng.integers(10, 29))
    for stroke in strokes:
        path = np.rint(scale * np.array(stroke, float) + place).astype(np.int32)
        cv2.polylines(image, [path], False, 255, pen, cv2.LINE_AA)
    return image


def plain(strokes, rng):
    return draw_strokes(strokes, rng)


def stretched(strokes, rng):
    """The ink's box stretched to a square, whatever its shape."""
    return np.pad(cv2.resize(_box(draw_strokes(strokes, rng)), (320, 320), interpolation=cv2.INTER_AREA), 40)


def cut(strokes, rng):
    """Up to 3% of the digit lost at one side, as by a careless crop."""
    box = np.rot90(_box(draw_strokes(strokes, rng)), turns := int(rng.integers(4)))
    box = np.rot90(box[round(rng.uniform(0, 0.03) * len(box)) :], -turns)
    return _on_paper(np.ascontiguousarray(box))


def cut_to_box(strokes, rng):
    return _on_paper(_box(draw_strokes(strokes, rng)))


def margin_of_2_percent(strokes, rng):
    box = _box(draw_strokes(strokes, rng))
    return _on_paper(np.pad(box, max(1, round(0.02 * max(box.shape)))))


def light_on_black(strokes, rng):
    return _box(draw_strokes(strokes, rng))


def resized_to_28(strokes, rng):
    """Cut to the ink, then resized to 28x28 whatever its shape."""
    return cv2.resize(_on_paper(_box(draw_strokes(strokes, rng))), (28, 28), interpolation=cv2.INTER_AREA)


def hollow(strokes, rng):
    """Only the outline of a thick pen's strokes."""
    pen = int(rng.integers(30, 56))
    shape = (draw_strokes(strokes, rng, pen, rng.uniform(0.6, 0.75)) > 127).astype(np.uint8)
    outlines, _ = cv2.findContours(shape, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return _on_paper(cv2.drawContours(np.zeros_like(shape), outlines, -1, 255, int(rng.integers(3, 9)), cv2.LINE_AA))


def faint(strokes, rng):
    """A thin pencil, little darker than the noisy paper."""
    ink = draw_strokes(strokes, rng, int(rng.integers(3, 7))) / 255
    gray = PAPER - rng.uniform(45, 80) * ink + rng.normal(0, 3, ink.shape)
    return np.clip(gray, 0, 255).astype(np.uint8)


def thick(strokes, rng):
    """A pen of a fifth to a quarter of the digit's height."""
    size = rng.uniform(0.5, 0.7)
    return draw_strokes(strokes, rng, int(SIDE * size * rng.uniform(0.2, 0.25)), size)


def detached(strokes, rng):
    """A gap in one stroke, as between a stem and its bowl."""
    pen, size = int(rng.integers(10, 24)), rng.uniform(0.4, 0.8)
    points = [np.array(stroke, float) for stroke in strokes]
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    longest = max(range(len(points)), key=lambda index: len(points[index]))
    path = points.pop(longest)
    gap = (high - low).max() * (1.2 * pen / (SIDE * size) + 0.03)  # the ends are round: half a pen each
    far = np.linalg.norm(path - path[int(len(path) * rng.uniform(0.2, 0.8))], axis=1) > gap / 2
    runs = np.split(np.arange(len(path)), np.flatnonzero(np.diff(far)) + 1)
    parts = [path[run] for run in runs if far[run[0]]]
    return draw_strokes([*(parts or [path]), *points], rng, pen, size)


def circled(strokes, rng):
    """In a circle drawn by hand."""
    turn = np.linspace(0, 2 * np.pi, 80) + rng.uniform(0, 6)
    radius = 0.44 * SIDE * (1 + 0.05 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.02 * np.sin(3 * turn))
    ring = SIDE / 2 + radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    return _in_frame(strokes, rng, ring)


def boxed(strokes, rng):
    """In a square drawn by hand."""
    corners = SIDE / 2 + 0.42 * SIDE * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    return _in_frame(strokes, rng, corners + rng.normal(0, 5, corners.shape))


KINDS = (
    *(plain, stretched, cut, cut_to_box, margin_of_2_percent, light_on_black, resized_to_28),
    *(hollow, faint, thick, detached, circled, boxed),
)


def _in_frame(strokes, rng, frame):
    pen = int(rng.integers(6, 16))
    image = draw_strokes(strokes, rng, pen, rng.uniform(0.38, 0.5))
    x, y, width, height = cv2.boundingRect(image)
    shift = np.float32([[1, 0, SIDE / 2 - x - width / 2], [0, 1, SIDE / 2 - y - height / 2]])
    image = cv2.warpAffine(image, shift, (SIDE, SIDE))
    return _on_paper(cv2.polylines(image, [np.rint(frame).astype(np.int32)], False, 255, pen, cv2.LINE_AA))


def _box(image):
    x, y, width, height = cv2.boundingRect(image)
    return image[y : y + height, x : x + width]


def _on_paper(image):
    return np.rint(PAPER + (INK - PAPER) * (image / 255)).astype(np.uint8)


def draw_sign(rng: np.random.Generator) -> np.ndarray:
    """Draw a dot, a slash, a dash, a cross, a plus, an equals sign, a colon, a check mark, or an arrow."""
    image, pen = np.zeros((SIDE, SIDE), np.uint8), int(rng.integers(8, 40))
    reach = rng.uniform(60, 150)
    middle = rng.uniform(reach + 20, SIDE - reach - 20, 2)
    lean = rng.uniform(0.45, 1.2)

    def line(*points):
        path = middle + reach * (np.array(points) + rng.normal(0, 0.03, (len(points), 2)))
        cv2.polylines(image, [np.rint(path).astype(np.int32)], False, 255, pen, cv2.LINE_AA)

    def dot(x, y, radius):
        center = np.rint(middle + reach * np.array([x, y])).astype(int).tolist()
        axes = np.rint(radius * rng.uniform(0.8, 1.2, 2)).astype(int).tolist()
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1, cv2.LINE_AA)

    kind = rng.integers(9)
    if kind == 0:
        dot(0, 0, rng.uniform(6, 120))
    elif kind == 1:
        line((lean, -1), (-lean, 1)) if rng.random() < 0.5 else line((-lean, -1), (lean, 1))
    elif kind == 2:
        line((-1, 0), (1, 0))
    elif kind == 3:
        line((-lean, -1), (lean, 1)), line((lean, -1), (-lean, 1))
    elif kind == 4:
        line((-1, 0), (1, 0)), line((0, -1), (0, 1))
    elif kind == 5:
        line((-1, -0.35), (1, -0.35)), line((-1, 0.35), (1, 0.35))
    elif kind == 6:
        radius = min(pen, 0.4 * reach)  # the dots do not touch: they would be an 8
        dot(0, -0.6, radius), dot(0, 0.6, radius)
    elif kind == 7:
        line((-0.7, 0.1), (-0.2, 0.8), (0.9, -0.9))
    else:
        line((-1, 0), (1, 0)), line((0.4, -0.5), (1, 0), (0.4, 0.5))
    return _on_paper(image)


def read(classifier: Classifier, images: list[np.ndarray]) -> tuple[list[Reading], np.ndarray]:
    """Read pictures as `predict.py` does, from the decoded picture on.

    Returns:
        The readings, and the score of each as a digit: float [N], the least for a blank picture.
    """
    blank = Reading(trusted=False, reason=BLANK)
    readings, scores, normalized = [blank] * len(images), np.full(len(images), -np.inf), {}
    for number, image in enumerate(images):
        with suppress(BlankImage):
            normalized[number] = to_mnist(image)
    inputs = np.stack(list(normalized.values()))
    logits = classifier.logits(inputs)
    for number, reading in zip(normalized, classifier.decide(inputs, logits, classifier.probs(logits)), strict=True):
        readings[number] = reading.doubted(doubt_picture(reading.image))
    scores[list(normalized)] = classifier.calibration.digit_scores(logits)
    return readings, scores


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="handwriting.py", description=__doc__)
    parser.add_argument("data", type=user_path)
    parser.add_argument("--checkpoint", type=user_path, metavar="DIR", help="trained weights [the shipped ones]")
    parser.add_argument("--draw", type=user_path, metavar="FOLDER", help="draw ten of each kind")
    parser.add_argument("--count", type=int, default=1000, help="digits of each kind [1000]")
    args = parser.parse_args(argv)
    if missing := [name for name in ("pen_strokes.jsonl.gz", "letters.npz") if not (args.data / name).is_file()]:
        raise InputError(f"{args.data}: {' and '.join(missing)} not found; they are not shipped")
    classifier = Classifier(args.checkpoint)
    with gzip.open(args.data / "pen_strokes.jsonl.gz", "rt") as lines:
        digits = [json.loads(line) for line in lines]
    chosen = [digits[index] for index in np.random.default_rng(0).permutation(len(digits))[: args.count]]
    labels = np.array([digit["label"] for digit in chosen])
    print(f"{classifier.path}: {args.count} digits of each kind\n\n{'kind':20}  right %  trusted %  right of these %")
    for kind in KINDS:
        rng = np.random.default_rng(1)
        images = [kind(digit["strokes"], rng) for digit in chosen]
        readings, scores = read(classifier, images)
        right = np.array([reading.label for reading in readings]) == labels
        trusted = np.array([reading.trusted for reading in readings])
        rates = [100 * right.mean(), 100 * trusted.mean(), 100 * right[trusted].mean() if trusted.any() else 100]
        print(
            f"{kind.__name__.replace('_', ' '):20}  {rates[0]:7.1f}  {rates[1]:9.1f}  {rates[2]:16.1f}",
            flush=True,
        )
        if kind is plain:
            known = right, scores
        if args.draw:
            args.draw.mkdir(parents=True, exist_ok=True)
            sheet = np.hstack([cv2.resize(image, (200, 200)) for image in images[:10]])
            cv2.imwrite(str(args.draw / f"{kind.__name__}.png"), sheet)
    letters = np.load(args.data / "letters.npz")
    readings, scores = read(classifier, list(letters["images"]))
    refused = np.array([not reading.is_answer for reading in readings])
    print(f"\nletters: {100 * refused.mean():.1f}% refused, AUROC {auroc(known[1], scores):.3f}, ", end="")
    print(f"OSCR {oscr(*known, scores):.3f} (against the plain digits)")
    for letter in sorted(set(letters["letters"].tolist())):
        print(f"  {letter} {100 * refused[letters['letters'] == letter].mean():.0f}", end="")
    rng = np.random.default_rng(2)
    readings, _ = read(classifier, [draw_sign(rng) for _ in range(2 * args.count)])
    trusted = sum(reading.trusted for reading in readings)
    print(f"\n{2 * args.count:,} dots, slashes and signs: {trusted} trusted")


if __name__ == "__main__":
    run(main)
