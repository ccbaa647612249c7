"""Ink in an image of two tones, where it may fill the image: a digit cut to its bounding box, for example."""

import cv2
import numpy as np

_NEAR = 0.2  # largest distance from a tone, as a share of the contrast; soft edges of strokes lie between the tones
_MIN_SHARE = 0.5  # smallest share of pixels near one of the tones; of a smooth shade, it is lower
_EDGE = 0.06  # half the width of a soft edge, as a share of the shorter side
_MIN_EXPLAINED = 0.995  # smallest share of pixels near a tone or at an edge; a third tone, as of a shadow, lowers it
_LEAST_EXPLAINED = 0.9  # the same where edges are soft; of a smooth shade, it is lower
_SMALL = 64  # shorter side below which edges are wide, pixels
_BORDER = 0.75  # share of the border in one tone above which that tone is the background
_MIN_PART = 0.005  # smallest component that counts, as a share of the image
_MAX_STROKE = 0.6  # largest stroke width as a share of the shorter side; more is a shadow or a table
_SAME_TONE = 0.1  # largest difference between parts of one tone, as a share of the contrast
_MAX_INK = 0.75  # largest share of ink
_MAX_INK_INSIDE = 0.7  # the same if no ink reaches the border; more is a sheet on a table
_BLOCK = 2.0  # an image at least this elongated may be a single stroke, as a 1 cut to its box is


def find_two_tone_ink(gray: np.ndarray, min_contrast: float, strict: bool) -> np.ndarray | None:
    """Find the ink of an image that has a dark and a light tone and little else.

    The background is the tone of nearly all of the border. Where both tones reach the border, it is the tone that falls
    into more parts, since a digit is usually connected and encloses or separates the background around it.

    Args:
        gray: float32 [h, w], gray levels 0 to 255.
        min_contrast: smallest difference of the tones, gray levels.
        strict: accept no third tone, as a shadow makes one; else the strokes may be as soft as those of small images.

    Returns:
        float32 [h, w] in [0, 1], ink bright; None if the image has no two tones, or no ink among them.
    """
    threshold, _ = cv2.threshold(np.clip(gray, 0, 255).astype(np.uint8), 0, 1, cv2.THRESH_OTSU)
    is_dark = gray <= threshold
    if is_dark.all() or not is_dark.any():
        return None
    dark, light = np.median(gray[is_dark]), np.median(gray[~is_dark])
    contrast = light - dark
    if contrast < min_contrast:
        return None
    is_near = np.minimum(np.abs(gray - dark), np.abs(gray - light)) < _NEAR * contrast
    if is_near.mean() < _MIN_SHARE:
        return None
    size = 2 * round(_EDGE * min(gray.shape)) + 3
    is_edge = cv2.morphologyEx(is_dark.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((size, size), np.uint8)) > 0
    explained = (is_near | is_edge).mean()
    if explained < (_MIN_EXPLAINED if strict else _LEAST_EXPLAINED) and (strict or min(gray.shape) >= _SMALL):
        return None
    border = _border(is_dark)
    if (border & ~np.roll(border, 1)).sum() == 1 and 1 - _BORDER < border.mean() < _BORDER:
        return None  # one edge runs across the image, as that of a shadow or a table does
    ink_is_dark = _is_ink_dark(is_dark)
    strokes = is_dark if ink_is_dark else ~is_dark
    max_ink = _MAX_INK if border.any() and not border.all() else _MAX_INK_INSIDE
    is_wide = _stroke_width(strokes) > _MAX_STROKE * min(gray.shape) or strokes.mean() > max_ink
    if is_wide and max(gray.shape) < _BLOCK * min(gray.shape):
        return None
    if strict and _has_other_tone_inside(gray, ~strokes, contrast):
        return None
    darkness = np.clip((light - gray) / contrast, 0, 1)
    return (darkness if ink_is_dark else 1 - darkness).astype(np.float32)


def _is_ink_dark(is_dark):
    border = _border(is_dark).mean()
    if border > _BORDER or border < 1 - _BORDER:
        return border < 0.5
    dark_parts, light_parts = _count_parts(is_dark), _count_parts(~is_dark)
    return dark_parts < light_parts if dark_parts != light_parts else border < 0.5


def _border(mask):
    """The pixels along the border, once around."""
    return np.concatenate([mask[0], mask[1:, -1], mask[-1, -2::-1], mask[-2:0:-1, 0]])


def _has_other_tone_inside(gray, background, contrast):
    """Whether the enclosed background differs from that at the border, as ink on a sheet differs from the table."""
    _, labels = cv2.connectedComponents(background.astype(np.uint8), connectivity=8)
    is_outer = np.isin(labels, np.unique(_border(labels))) & background
    inside = gray[background & ~is_outer]
    if not is_outer.any() or not len(inside):
        return False
    outer = np.median(gray[is_outer])
    return np.quantile(np.abs(inside - outer), 0.1) > _SAME_TONE * contrast


def _count_parts(mask):
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return (stats[1:, cv2.CC_STAT_AREA] > _MIN_PART * mask.size).sum()


def _stroke_width(mask):
    return 2 * cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3).max()
