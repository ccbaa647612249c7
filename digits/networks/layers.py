"""Look inside a network: its feature maps for one image, and the pixels that decide between two classes."""

from typing import NamedTuple

import numpy as np
import paddle.nn.functional as F
from paddle import nn

from digits.config import DIGIT_SHAPE
from digits.networks.registry import ConvPool2D, predict_logits

_PATCH = 5 / 28  # side of the patch that covers a part of the image, relative to the image's side
_GRID, _COARSE_GRID = 28, 14  # places of the patch in a row; fewer for photos, whose networks are slower
_BATCH_SIZE = 196
_WHITE = 0.995  # quantile of a layer's activations that is drawn white, with all above it
_MAX_LAYERS = 8  # of a network for photos; deeper networks show some of theirs


class Activation(NamedTuple):
    """The output of a layer for one image: float32 [C, H, W], or [D] without height and width."""

    name: str
    values: np.ndarray

    def shades(self) -> np.ndarray:
        """Scale the values for a picture: float32 in [0, 1], 0 for those that are not positive."""
        positive = np.maximum(self.values, 0)
        return np.minimum(1, positive / max(float(np.quantile(positive, _WHITE)), 1e-6))


def activations(network: nn.Layer, image: np.ndarray) -> list[Activation]:
    """Run a network once on an image and return its activations, from the first layer to the logits.

    Networks for digits return what each layer passes on to the next, after its nonlinearity: `conv1`, `pool1`, ...
    Networks for photos return the outputs of their convolutions.

    Args:
        network: as `build_network` returns it.
        image: float32 [*network.input_shape] in [0, 1].
    """
    found: list[Activation] = []
    if network.input_shape == DIGIT_SHAPE:
        hooks, last = _record_inputs(network, found)
    else:
        hooks, last = _record_outputs(network, found), ["logits"]
    try:
        logits = predict_logits(network, [image[None]])[0]
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) > _MAX_LAYERS:
        found = [found[index] for index in np.linspace(0, len(found) - 1, _MAX_LAYERS).round().astype(int)]
    return [*found, Activation(last[-1], logits)]


def occlusion(network: nn.Layer, image: np.ndarray, first: int, second: int) -> np.ndarray:
    """Cover one part of an image after the other, and measure what that takes from one class's lead over another.

    After Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2.

    Args:
        network: as `build_network` returns it.
        image: float32 [*network.input_shape] in [0, 1].
        first, second: indices of the classes.

    Returns:
        float32 [G, G]: for each place of the patch, how much the difference of the two logits falls. Where it is
        positive the image speaks for `first`, where it is negative for `second`.
    """
    channels, side, _ = network.input_shape
    is_digit = network.input_shape == DIGIT_SHAPE
    grid = _GRID if is_digit else _COARSE_GRID
    blank = np.zeros(channels, np.float32) if is_digit else image.mean((1, 2))
    half = _PATCH / 2 * side
    centers = (np.arange(grid) + 0.5) * side / grid
    starts, ends = np.maximum(0, np.round(centers - half)).astype(int), np.round(centers + half).astype(int)

    def batches():
        places = [(row, column) for row in range(grid) for column in range(grid)]
        for start in range(0, len(places), _BATCH_SIZE):
            chosen = places[start : start + _BATCH_SIZE]
            covered = np.repeat(image[None], len(chosen), 0)
            for picture, (row, column) in zip(covered, chosen, strict=True):
                picture[:, starts[row] : ends[row], starts[column] : ends[column]] = blank[:, None, None]
            yield covered

    logits = predict_logits(network, batches())
    (before,) = predict_logits(network, [image[None]])
    lead = logits[:, first] - logits[:, second]
    return (before[first] - before[second] - lead).reshape(grid, grid)


def _record_inputs(network, found):
    """Record what each layer with weights receives, under the name of the layer that it comes from."""
    names = []  # of the layers that have been reached

    def hook(layer, inputs, name):
        if names:
            found.append(Activation(names[-1], inputs[0].numpy()[0]))
        names.append(name)
        if isinstance(layer, ConvPool2D):  # its maps before the pooling, which it computes without the bias
            maps = F.conv2d(inputs[0], layer.weight, layer.bias)
            found.append(Activation(name, (F.relu(maps) if network.activation == "relu" else maps).numpy()[0]))
            names.append(name.replace("conv", "pool"))

    return [
        layer.register_forward_pre_hook(lambda layer, inputs, name=name: hook(layer, inputs, name.partition(".")[0]))
        for name, layer in network.named_sublayers()
        if isinstance(layer, nn.Conv2D | nn.Linear)
    ], names


def _record_outputs(network, found):
    return [
        layer.register_forward_post_hook(
            lambda layer, inputs, output, name=name: found.append(Activation(name, output.numpy()[0]))
        )
        for name, layer in network.named_sublayers()
        if isinstance(layer, nn.Conv2D)
    ]
