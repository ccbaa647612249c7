"""LeNet as one HTML page, which reads digits and shows every layer without a server or a network connection."""

import base64
import json
import re
from pathlib import Path

import numpy as np

from digits.cli import InputError

_PARTS = Path(__file__).parent
_MODEL = re.compile(r'<script id="model" type="application/json">(.*?)</script>', re.DOTALL)
_POOL = 2


def build_page(description: dict, weights: dict[str, np.ndarray]) -> str:
    """Build the page.

    Args:
        description: as `description.describe` returns it, of a LeNet.
        weights: LeNet's weights by name; the page has them as float16.
    """
    arrays = {
        name: {"shape": list(array.shape), "data": base64.b64encode(array.astype("<f2").tobytes()).decode()}
        for name, array in weights.items()
    }
    model = json.dumps(description | {"weights": arrays}, ensure_ascii=False).replace("<", "\\u003c")
    page = (_PARTS / "page.html").read_text(encoding="utf-8")
    style = (_PARTS / "page.css").read_text(encoding="utf-8")
    script = (_PARTS / "page.js").read_text(encoding="utf-8")
    for mark, part in (("/*STYLE*/", style), ("/*SCRIPT*/", script), ("/*MODEL*/", model)):
        page = page.replace(mark, part)
    return page


def read_page(html: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Read the description and the weights, float32, out of a page.

    Raises:
        InputError: it is not such a page, or it is damaged.
    """
    try:
        description = json.loads(_MODEL.search(html)[1])
        weights = {name: _decode(array) for name, array in description.pop("weights").items()}
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"the page is damaged, or was not made by export.py: {error}") from None
    return description, weights


def page_logits(description: dict, weights: dict[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Compute what the page computes: images float32 [N, 28, 28] -> logits float32 [N, num_classes]."""
    is_sigmoid = description.get("activation") == "sigmoid"
    after_conv1, after_pool1, after_conv2, after_conv3, after_fc1 = (
        (_sigmoid, _sigmoid, _identity, _identity, _sigmoid) if is_sigmoid else (_relu, _identity, _relu, _relu, _relu)
    )
    x = after_pool1(_max_pool(after_conv1(_convolve(images[:, None], weights, "conv1"))))  # [N, 6, 12, 12]
    x = _max_pool(after_conv2(_convolve(x, weights, "conv2")))  # [N, 16, 4, 4]
    x = after_conv3(_convolve(x, weights, "conv3"))[:, :, 0, 0]  # [N, 120]
    x = after_fc1(x @ weights["fc1.weight"] + weights["fc1.bias"])  # [N, 64]
    return x @ weights["fc2.weight"] + weights["fc2.bias"]


def _decode(array):
    data = base64.b64decode(array["data"], validate=True)
    return np.frombuffer(data, "<f2").astype(np.float32).reshape(array["shape"])


def _convolve(images, weights, name):
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    patches = np.lib.stride_tricks.sliding_window_view(images, weight.shape[2:], (2, 3))  # [N, C, H, W, K, K]
    return np.einsum("nchwij,kcij->nkhw", patches, weight, optimize=True) + bias[:, None, None]


def _max_pool(maps):
    count, channels, height, width = maps.shape
    return maps.reshape(count, channels, height // _POOL, _POOL, width // _POOL, _POOL).max((3, 5))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _relu(x):
    return np.maximum(x, 0)


def _identity(x):
    return x
