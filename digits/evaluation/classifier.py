"""Classifier: a checkpoint, ready to answer, and to say why an answer is not to be trusted.

What predict, evaluate and draw share.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import paddle

from digits.cli import InputError
from digits.data.folders import list_classes
from digits.data.image_files import ImageFiles, input_batches, read_image_files
from digits.data.mnist import CLASSES
from digits.evaluation.calibration import (
    BLANK,
    LOW_CONFIDENCE,
    NO_KNOWN_CLASS,
    NOT_A_DIGIT,
    SEVERAL_DIGITS,
    Calibration,
)
from digits.evaluation.metrics import softmax
from digits.imaging.ink import BlankImage
from digits.imaging.mnist_format import count_segments
from digits.imaging.reading import read_digit, read_image, read_input
from digits.imaging.segmentation import Segment, find_digits
from digits.networks.checkpoint import Checkpoint, load_checkpoint, load_weights
from digits.runtime import choose_device
from model import DIGIT, build_model, predict_logits

_BATCH = 256  # pictures read at a time
_MEMORY = 512 * 10**6  # bytes, for the photos of a labeled folder

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints" / "shipped" / "extended"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    `label` is the most probable class, `confidence` its probability, `probs` float [num_classes] all of them;
    `trusted` says whether the answer is sure enough to be used, None if the network was never calibrated, and `reason`,
    if it is not, why: one of `calibration`'s reasons. If that is not a lack of confidence, the label is only what comes
    nearest.
    """

    label: str
    confidence: float
    probs: np.ndarray
    trusted: bool | None = None
    reason: str | None = None


def load_network(loaded: Checkpoint) -> tuple[paddle.nn.Layer, list[str]]:
    """The network of a checkpoint, with its weights, and its class names.

    Raises:
        InputError: its JSON file does not say which they are, or the weights are not those of that network.
    """
    try:
        classes = [str(name) for name in loaded.meta["classes"]]
        options = dict(loaded.meta["model"])
        name = str(options.pop("name"))
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"checkpoint {loaded.path}: its JSON file does not say which network and classes it has"
        ) from None
    model = build_model(name, len(classes), **options)
    load_weights(model, loaded.weights, loaded.path)
    return model, classes


class Classifier:
    """A trained network and its class names.

    Args:
        checkpoint: folder or file, as `load_checkpoint` takes it; None for the shipped weights.
        device: `"auto"`, `"cpu"` or `"gpu"`.

    Raises:
        InputError: the checkpoint or the device cannot be used.
    """

    def __init__(self, checkpoint: str | Path | None = None, device: str = "auto"):
        choose_device(device)
        loaded = load_checkpoint(checkpoint or SHIPPED)
        self.path = loaded.path
        self.loss = loaded.meta.get("config", {}).get("loss", "cross_entropy")  # what it was trained to minimize
        self.model, self.classes = load_network(loaded)
        self.reads_digits = self.model.input_shape == DIGIT
        try:
            found = loaded.meta.get("calibration")
            self.calibration = Calibration.read(found) if found else None
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"checkpoint {loaded.path}: its calibration is not complete; restore its JSON file, or train again"
            ) from None

    def logits(self, images: np.ndarray | ImageFiles) -> np.ndarray:
        """Images as `predict` takes them -> logits float32 [N, num_classes]."""
        return predict_logits(self.model, input_batches(images))

    def load_photos(self, folder: Path) -> tuple[list[str], ImageFiles, np.ndarray]:
        """Read photos that lie in a folder a class: the path of each, the photos, labels int64 [N].

        Raises:
            InputError: a folder in it that is no class, or nothing to read.
        """
        photos, labels = read_image_files(
            *list_classes(folder, self.classes), self.model.input_shape, _MEMORY, keep_all=True
        )
        return [str(path) for path in photos.paths], photos, labels

    def predict_files(self, paths: list[Path]) -> list[dict]:
        """Read and answer picture files.

        Returns:
            A dict a picture: `path`, the fields of `Prediction`, `error`, and `seen`, the image as `predict` takes it.
            What does not apply is None: `error` if the picture could be read, all but `path` and `error` if
            it could not; of a blank one there are `trusted` and `reason` only.
        """
        empty = dict.fromkeys((*(field.name for field in fields(Prediction)), "error", "seen"))
        rows = [{"path": str(path), **empty} for path in paths]
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            for row in batch:
                try:
                    path = row["path"]
                    row["seen"] = read_digit(path) if self.reads_digits else read_input(path, self.model.input_shape)
                except BlankImage:
                    row.update(trusted=False, reason=BLANK)
                except InputError as error:
                    row["error"] = str(error)
            readable = [row for row in batch if row["seen"] is not None]
            if readable:
                answers = self.predict(np.stack([row["seen"] for row in readable]))
                for row, answer in zip(readable, answers, strict=True):
                    row.update(vars(answer))
        return rows

    def predict_figures(self, image: np.ndarray) -> list[tuple[Segment, Prediction]]:
        """Find the digits in one picture, as `segmentation.find_digits` takes it, and answer each, in reading order."""
        figures = find_digits(image)
        answers = self.predict(np.stack([figure.image for figure in figures])) if figures else []
        return list(zip(figures, answers, strict=True))

    def predict_pages(self, paths: list[Path]) -> list[dict]:
        """Read picture files of several digits each.

        Returns:
            A dict a picture: `path`, `error` (None if it could be read) and `figures`, in reading order a dict each:
            `box` (x, y, width, height), `line` and the fields of `Prediction`.

        Raises:
            InputError: the network is none for digits.
        """
        self.require_digits()
        rows = [{"path": str(path), "error": None, "figures": []} for path in paths]
        for row in rows:
            try:
                image = read_image(row["path"])
            except InputError as error:
                row["error"] = str(error)
                continue
            for figure, answer in self.predict_figures(image):
                row["figures"].append({"box": figure.box, "line": figure.line, **vars(answer)})
        return rows

    def require_digits(self) -> None:
        """Raise an InputError unless the network's classes are the digits 0 to 9."""
        if not self.reads_digits or self.classes != list(CLASSES):
            raise InputError(
                f"checkpoint {self.path}: this needs a network of the digits 0 to 9, and its classes are "
                f"{' '.join(self.classes[:12])}"
            )

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """Images float32 [N, 28, 28] in [0, 1], in MNIST's form, or photos uint8 [N, S, S, 3] -> an answer each."""
        return self.answers(images, self.logits(images))

    def answers(self, images: np.ndarray | ImageFiles, logits: np.ndarray) -> list[Prediction]:
        """The same, of images whose logits [N, num_classes] are known."""
        if self.calibration is None:
            return [self._prediction(row, None, None) for row in softmax(logits)]
        probs = self.calibration.probs(logits)
        trusted, is_digit = self.calibration.accepts(logits), self.calibration.is_digit(logits)
        answers = []
        shown = images if self.reads_digits else [None] * len(logits)
        foreign = NOT_A_DIGIT if self.classes == list(CLASSES) else NO_KNOWN_CLASS
        for image, row, sure, digit in zip(shown, probs, trusted, is_digit, strict=True):
            reason = None if sure else LOW_CONFIDENCE if digit else foreign
            if reason and self.reads_digits and count_segments(image) > 1:
                reason = SEVERAL_DIGITS
            answers.append(self._prediction(row, bool(sure), reason))
        return answers

    def _prediction(self, probs, trusted, reason):
        best = probs.argmax()
        return Prediction(self.classes[best], float(probs[best]), probs, trusted, reason)
