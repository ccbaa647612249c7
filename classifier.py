"""Classifier: a checkpoint, ready to answer. What predict, evaluate and draw share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from checkpoint import load_checkpoint, load_weights
from errors import InputError
from metrics import softmax
from model import build_model, predict_logits
from runtime import choose_device

SHIPPED = Path(__file__).resolve().parent / "checkpoints" / "shipped" / "lenet"


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    `label` is the most probable class, `confidence` its probability, `probs` float32 [num_classes] all of them;
    `trusted` says whether the answer is sure enough to be used, None while nothing has been calibrated.
    """

    label: str
    confidence: float
    probs: np.ndarray
    trusted: bool | None = None


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
        try:
            self.classes = [str(name) for name in loaded.meta["classes"]]
            options = dict(loaded.meta["model"])
            name = str(options.pop("name"))
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"checkpoint {loaded.path}: its JSON file does not say which network and classes it has"
            ) from None
        self.model = build_model(name, len(self.classes), **options)
        load_weights(self.model, loaded.weights, loaded.path)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Images float32 [N, 28, 28] in MNIST's form -> logits float32 [N, num_classes]."""
        return predict_logits(self.model, images[:, None])

    def answers(self, logits: np.ndarray) -> list[Prediction]:
        """Logits [N, num_classes] -> an answer each."""
        best = logits.argmax(1)
        return [Prediction(self.classes[i], float(row[i]), row) for i, row in zip(best, softmax(logits), strict=True)]

    def predict(self, images: np.ndarray) -> list[Prediction]:
        """Images float32 [N, 28, 28] in MNIST's form -> an answer each."""
        return self.answers(self.logits(images))
