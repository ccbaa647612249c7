"""The classifier: a trained network that reads pictures, and says which of its predictions to trust."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.config import DIGIT_SHAPE
from digits.data.class_names import HOW_TO_NAME, UNNAMED
from digits.data.image_files import ImageFiles, input_batches
from digits.data.mnist import CLASSES
from digits.evaluation import figures
from digits.evaluation.calibration import Calibration
from digits.evaluation.metrics import softmax
from digits.evaluation.reading import (
    BLANK,
    LOW_CONFIDENCE,
    NO_KNOWN_CLASS,
    NOT_A_DIGIT,
    SEVERAL_DIGITS,
    SLASH,
    Reading,
)
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import count_segments, has_second_figure, is_blot, is_slash
from digits.imaging.reading import read_digit, read_image, read_input
from digits.networks import layers
from digits.networks.checkpoint import SHIPPED, load_checkpoint
from digits.networks.registry import load_network, predict_logits
from digits.runtime import choose_device


class Classifier:
    """A trained network with its class names and its calibration.

    Args:
        checkpoint: folder or `.pdparams` file, as `load_checkpoint` takes it; None for the shipped weights.
        device: `"auto"`, `"cpu"` or `"gpu"`.

    Raises:
        InputError: the checkpoint or the device cannot be used.
    """

    def __init__(self, checkpoint: str | Path | None = None, device: str = "auto"):
        choose_device(device)
        loaded = load_checkpoint(checkpoint or SHIPPED)
        self.path = loaded.path
        self.loss = loaded.meta.get("config", {}).get("loss", "cross_entropy")  # the training loss
        self.model, self.classes = load_network(loaded)
        self.input_shape = self.model.input_shape  # channels, height, width
        self.takes_digits = self.input_shape == DIGIT_SHAPE  # images in MNIST format
        self.reads_digits = self.takes_digits and self.classes == list(CLASSES)
        self.calibration = Calibration.load(loaded)  # None: never calibrated

    def read(self, path: str | Path) -> Reading:
        """Read the digit in a picture file, or classify a photo.

        A blank picture gives a reading without a label; a file that cannot be read gives one with an `error`.
        """
        loaded = self.load(path)
        if loaded.image is None:
            return loaded
        return replace(self.predict(loaded.image[None])[0].doubted(loaded.reason), path=loaded.path)

    def read_page(self, path: str | Path) -> list[Reading]:
        """Read every digit in a picture file, in reading order, each with its `box` and `line`.

        A blank page gives one reading without a label; a file that cannot be read gives one with an `error`.

        Raises:
            InputError: the classes are not the digits 0 to 9.
        """
        self.require_digits()
        try:
            image = read_image(path)
        except InputError as error:
            return [Reading(path=str(path), error=str(error))]
        readings = [replace(reading, path=str(path)) for reading in self.read_figures(image, split=True)]
        return readings or [Reading(path=str(path), trusted=False, reason=BLANK)]

    def read_figures(self, image: np.ndarray, split: bool = False) -> list[Reading]:
        """Find the digits in a picture and read each, see `figures.read_figures`."""
        return figures.read_figures(self.predict, image, split)

    def load(self, path: str | Path) -> Reading:
        """Load a picture file as the network's input, `image`; if there is none, `reason` or `error` says why.

        With an image, `reason` tells that it shows a dot or a second figure, whatever the network answers.
        """
        try:
            image = read_digit(path) if self.takes_digits else read_input(path, self.input_shape)
        except BlankImage:
            return Reading(path=str(path), trusted=False, reason=BLANK)
        except InputError as error:
            return Reading(path=str(path), error=str(error))
        return Reading(path=str(path), image=image, reason=doubt_picture(image) if self.reads_digits else None)

    def predict(self, images: np.ndarray | ImageFiles) -> list[Reading]:
        """Classify images float32 [N, 28, 28] in [0, 1] in MNIST format, or photos uint8 [N, S, S, 3] in RGB."""
        logits = self.logits(images)
        return self.decide(images, logits, self.probs(logits))

    def logits(self, images: np.ndarray | ImageFiles) -> np.ndarray:
        """Run the network on images as `predict` takes them; logits float32 [N, num_classes]."""
        return predict_logits(self.model, input_batches(images))

    def probs(self, logits: np.ndarray) -> np.ndarray:
        """Logits [N, num_classes] -> calibrated probabilities float64 [N, num_classes]."""
        return self.calibration.probs(logits) if self.calibration else softmax(np.float64(logits))

    def decide(self, images: np.ndarray | ImageFiles, logits: np.ndarray, probs: np.ndarray) -> list[Reading]:
        """Choose the most probable class of each image, and decide whether to trust it."""
        inputs = self._inputs(images)
        trusted = reasons = [None] * len(logits)
        candidates = [()] * len(logits)
        if self.calibration:
            trusted = self.calibration.accepts(logits).tolist()
            in_classes = self.calibration.in_classes(logits)
            reasons = [self._reason(*row) for row in zip(inputs, trusted, in_classes, strict=True)]
            candidates = [
                self._candidates(*row) for row in zip(probs, self.calibration.is_candidate(logits), strict=True)
            ]
        columns = (probs.argmax(1), probs.max(1).tolist(), probs, trusted, reasons, inputs, candidates)
        return [
            Reading(self.classes[index], *row, candidates=names) for index, *row, names in zip(*columns, strict=True)
        ]

    def activations(self, image: np.ndarray) -> list[layers.Activation]:
        """Run the network on one image as `predict` takes them, and return the output of each layer."""
        (batch,) = input_batches(image[None])
        return layers.activations(self.model, batch[0])

    def occlusion(self, image: np.ndarray, first: int, second: int) -> np.ndarray:
        """Measure which parts of an image speak for one class and against another, see `layers.occlusion`."""
        (batch,) = input_batches(image[None])
        return layers.occlusion(self.model, batch[0], first, second)

    def require_digits(self) -> None:
        """Raise an InputError unless the classes are the digits 0 to 9."""
        if not self.reads_digits:
            raise InputError(
                f"checkpoint {self.path}: expected a network for the digits 0 to 9, but its classes are "
                f"{', '.join(self.classes[:12])}"
            )

    def require_names(self, names: list[str], data: str) -> None:
        """Raise an InputError unless data in MNIST's file formats has the network's classes.

        Data without names is assumed to have them, and a line on stderr says so.
        """
        if not self.takes_digits:
            raise InputError(f"checkpoint {self.path}: is for photos, and {data} has images of 28x28 pixels")
        if list(UNNAMED) not in (names, self.classes) and names != self.classes:
            raise InputError(
                f"checkpoint {self.path}: its classes are {', '.join(self.classes[:12])}, and those of {data} are "
                f"{', '.join(names[:12])}"
            )
        if names != self.classes and names == list(UNNAMED):
            print(f"{data}: {HOW_TO_NAME}; assumed: {', '.join(self.classes[:12])}", file=sys.stderr)

    def _inputs(self, images):
        if self.takes_digits:
            return np.concatenate([batch[:, 0] for batch in input_batches(images)])  # float32 [N, 28, 28] in [0, 1]
        return images if isinstance(images, np.ndarray) else [None] * len(images)  # photo files may not fit in memory

    def _candidates(self, probs, is_candidate):
        return tuple(self.classes[index] for index in np.argsort(-probs, kind="stable") if is_candidate[index])

    def _reason(self, image, trusted, in_classes):
        if trusted:
            return None
        if self.reads_digits and count_segments(image) > 1:
            return SEVERAL_DIGITS
        if in_classes:
            return LOW_CONFIDENCE
        return NOT_A_DIGIT if self.reads_digits else NO_KNOWN_CLASS


def doubt_picture(image: np.ndarray) -> str | None:
    """Say why an image in MNIST format, float32 [28, 28], is not one digit, whatever the network answers; or None."""
    if is_blot(image):
        return NOT_A_DIGIT
    if has_second_figure(image):
        return SEVERAL_DIGITS
    return SLASH if is_slash(image) else None
