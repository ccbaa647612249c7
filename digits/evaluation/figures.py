"""Read every figure on a page: find it, read it, and read it as two digits where they touch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from digits.evaluation.reading import NOT_A_DIGIT, TOUCHING, Reading
from digits.imaging.mnist_format import is_blot
from digits.imaging.segmentation import Segment, find_digits
from digits.imaging.touching import cut_in_two

_SPLIT_CONFIDENCE = 0.98  # smallest confidence in both parts of a figure that is read as two digits
_FAR = 2.5  # distance beyond which a figure that is not a digit does not belong to the digits, in their heights


def read_figures(predict: Callable[[np.ndarray], list[Reading]], image: np.ndarray, split: bool) -> list[Reading]:
    """Find the digits in a picture and read each, in reading order, with its `box` and `line`.

    Args:
        predict: reads images float32 [N, 28, 28] in MNIST format.
        image: as `find_digits` takes it.
        split: whether to read digits that touch, which takes a tenth of a second or more for each figure in doubt.
    """
    segments = find_digits(image)
    if not segments:
        return []
    figures = []
    for reading, segment in zip(_read(predict, segments), segments, strict=True):
        doubt = _doubt(reading, segment)
        may_be_two = split and not (reading.trusted or doubt)
        figures += (_read_as_two(predict, segment) if may_be_two else []) or [reading.doubted(doubt)]
    return _drop_strays(figures)


def _read(predict, segments):
    readings = predict(np.stack([segment.image for segment in segments]))
    return [
        replace(reading, box=segment.box, line=segment.line)
        for reading, segment in zip(readings, segments, strict=True)
    ]


def _doubt(reading: Reading, segment: Segment) -> str | None:
    """A small figure beside others is a digit, such as an exponent, only if it is trusted."""
    is_sign = segment.is_sign or (segment.is_small and not reading.trusted)
    return NOT_A_DIGIT if is_sign or is_blot(segment.image) else None


def _read_as_two(predict, segment):
    """Read a segment as two digits that touch, both of them doubtful; empty if no cut leaves two digits."""
    pairs = cut_in_two(segment)
    if not pairs:
        return []
    readings = _read(predict, [part for pair in pairs for part in pair])
    pairs = list(zip(readings[::2], readings[1::2], strict=True))
    best = max(pairs, key=lambda pair: min(reading.confidence for reading in pair))
    if not all(reading.is_answer and reading.confidence >= _SPLIT_CONFIDENCE for reading in best):
        return []
    return [reading.doubted(TOUCHING) for reading in best]


def _drop_strays(figures):
    """Drop what is not a digit and far from all digits: the edge of the sheet, part of a printed line."""
    digits = [figure.box for figure in figures if figure.is_answer]
    if not digits:
        return figures
    reach = _FAR * np.median([height for *_, height in digits])
    return [figure for figure in figures if figure.is_answer or min(_gap(figure.box, box) for box in digits) <= reach]


def _gap(box, other):
    """The distance of two boxes along the axis on which they are farther apart."""
    return max(
        max(start - other_start - other_size, other_start - start - size)
        for start, size, other_start, other_size in zip(box[:2], box[2:], other[:2], other[2:], strict=True)
    )
