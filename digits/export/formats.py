"""Write a network in a format for other programs. What was written is loaded and compared before it gets its name."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F

from digits.cli import RunError
from digits.config import DIGIT_SHAPE
from digits.data.image_files import to_input
from digits.data.synthetic_digits import make_synthetic_digits
from digits.evaluation.calibration import Calibration
from digits.evaluation.metrics import softmax
from digits.export.onnx_graph import INPUT, OUTPUT, input_spec, to_onnx
from digits.export.page import build_page, page_logits, read_page
from digits.files import output_folder, replacing
from digits.networks.checkpoint import Checkpoint
from digits.networks.registry import predict_logits

IMAGES = 1_000  # to compare on
_BATCH = 100
_MAX_LOGIT_DIFFERENCE, _MAX_PROB_DIFFERENCE = 1e-4, 0.01  # the page's weights are rounded to float16


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        paths: the files, the main one first.
        reader: the program that they were loaded with to compare them.
        compared: what was compared, `logits` or `probabilities`.
        difference: the largest difference from the network.
    """

    paths: list[Path]
    reader: str
    compared: str
    difference: float


def export_paddle(network: paddle.nn.Layer, checkpoint: Checkpoint, description: dict, out: Path) -> Export:
    """Write a folder with model.json and model.pdiparams, for `paddle.jit.load` and `paddle.inference`."""
    images = sample_images(network.input_shape)
    expected = predict_logits(network, images)
    output_folder(out)
    with tempfile.TemporaryDirectory(prefix=".", dir=out) as folder:
        with _portable_leaky_relu():
            paddle.jit.save(network, f"{folder}/model", input_spec=input_spec(network))
        difference = _compare(predict_logits(paddle.jit.load(f"{folder}/model"), images), expected)
        Path(folder, "description.json").write_text(_to_json(description), encoding="utf-8")
        names = ("model.json", "model.pdiparams", "description.json")
        for name in names:
            os.replace(Path(folder, name), out / name)
    return Export([out / name for name in names], f"paddle.jit.load {paddle.__version__}", "logits", difference)


def export_onnx(network: paddle.nn.Layer, checkpoint: Checkpoint, description: dict, out: Path) -> Export:
    """Write an ONNX file, and its description as a JSON file beside it."""
    images = sample_images(network.input_shape)
    expected = predict_logits(network, images)
    with replacing(out) as model, replacing(out.with_suffix(".json")) as beside:
        model.write_bytes(to_onnx(network))
        reader, predict = _onnx_reader(model)
        difference = _compare(np.concatenate([predict(batch) for batch in images]), expected)
        beside.write_text(_to_json(description), encoding="utf-8")
    return Export([out, out.with_suffix(".json")], reader, "logits", difference)


def export_html(network: paddle.nn.Layer, checkpoint: Checkpoint, description: dict, out: Path) -> Export:
    """Write LeNet as an HTML page that reads digits and shows every layer, without a server or a network connection."""
    images = sample_images(network.input_shape)
    calibration = Calibration.load(checkpoint)
    to_probs = calibration.probs if calibration else softmax
    expected = to_probs(predict_logits(network, images))
    with replacing(out) as page:
        weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        page.write_text(build_page(description, weights), encoding="utf-8")
        found, weights = read_page(page.read_text(encoding="utf-8"))
        logits = [page_logits(found, weights, batch[:, 0]) for batch in images]
        difference = _compare(to_probs(np.concatenate(logits)), expected, _MAX_PROB_DIFFERENCE)
    return Export([out], "its own weights in numpy", "probabilities", difference)


FORMATS: dict[str, Callable[..., Export]] = {"onnx": export_onnx, "paddle": export_paddle, "html": export_html}


def sample_images(input_shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Make images to compare a network and its export on: synthetic digits, or noise for a network for photos.

    Returns:
        Batches, float32 [n, *input_shape] in [0, 1], `IMAGES` in all.
    """
    rng = np.random.default_rng(0)
    if input_shape == DIGIT_SHAPE:
        images = to_input(make_synthetic_digits(IMAGES, rng)[0])
        return np.split(images, IMAGES // _BATCH)
    return [rng.random((_BATCH, *input_shape), dtype=np.float32) for _ in range(IMAGES // _BATCH)]


def _compare(found, expected, limit=_MAX_LOGIT_DIFFERENCE):
    """Return the largest difference.

    Raises:
        RunError: it is above the limit, or not a number.
    """
    difference = float(np.abs(found - expected).max())
    if not difference <= limit:
        raise RunError(
            f"nothing was written: the export differs from the network by {difference:.2g}, expected at most {limit:g}"
        )
    return difference


def _onnx_reader(path: Path) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """Load an ONNX file with ONNX Runtime, or with OpenCV if that is not installed: its name, and images to logits."""
    try:
        import onnxruntime
    except ImportError:
        network = cv2.dnn.readNetFromONNX(str(path))

        def predict(images):
            network.setInput(images)
            return network.forward()

        return f"OpenCV {cv2.__version__}", predict
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return f"ONNX Runtime {onnxruntime.__version__}", lambda images: session.run([OUTPUT], {INPUT: images})[0]


@contextmanager
def _portable_leaky_relu() -> Iterator[None]:
    """Trace LeakyReLU as a maximum, the same function: Paddle's inference with oneDNN crashes on its own one."""

    def leaky_relu(x, negative_slope=0.01, name=None):
        return paddle.maximum(x, negative_slope * x)

    with mock.patch.object(F, "leaky_relu", leaky_relu):
        yield


def _to_json(description):
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"
