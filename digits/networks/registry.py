"""The networks by name: building them, loading their weights, running them."""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable

import numpy as np
import paddle
from paddle import nn

from digits.cli import InputError
from digits.files import project_path
from digits.networks.checkpoint import Checkpoint, load_weights
from digits.networks.photo import PhotoCNN, TransferNet
from digits.networks.tiny import TinyNet


def _load_model_file():
    """Import `model.py` as `digits.model`; a plain `import model` could find the user's own `model.py` instead."""
    spec = importlib.util.spec_from_file_location("digits.model", project_path("model.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["digits.model"] = module
    spec.loader.exec_module(module)
    return module


_model = sys.modules.get("digits.model") or _load_model_file()
ConvPool2D = _model.ConvPool2D
NETWORKS = {
    "lenet": _model.LeNet,
    "extended": _model.ExtendedLeNet,
    "mlp": _model.MLP,
    "tiny": TinyNet,
    "photo_cnn": PhotoCNN,
    "transfer": TransferNet,
}


def build_network(name: str, num_classes: int = 10, **options) -> nn.Layer:
    """Build a network, randomly initialized.

    Args:
        name: a key of `NETWORKS`.
        num_classes: number of logits.
        options: arguments of its constructor.

    Raises:
        InputError: no network has that name, or it has no such option.
    """
    if name not in NETWORKS:
        raise InputError(f"model '{name}' is not known; choose one of {', '.join(NETWORKS)}")
    unknown = sorted(options.keys() - options_of(name, options))
    if unknown:
        raise InputError(f"model '{name}' has no option {', '.join(unknown)}")
    return NETWORKS[name](num_classes, **options)


def options_of(name: str, settings: dict) -> dict:
    """Select the settings that the constructor of the network `name` accepts."""
    parameters = inspect.signature(NETWORKS[name]).parameters
    return {key: value for key, value in settings.items() if key in parameters and key != "num_classes"}


def load_network(checkpoint: Checkpoint) -> tuple[nn.Layer, list[str]]:
    """Build the network of a checkpoint and load its weights; returns it with its class names.

    Raises:
        InputError: the network is not known, or the weights do not fit.
    """
    classes, options = checkpoint.meta["classes"], dict(checkpoint.meta["model"])
    name = options.pop("name")
    if name == "photo_cnn" and "image_size" in options:  # before a large network is built
        rows = len(checkpoint.weights.get("fc1.weight", ()))
        expected = PhotoCNN.count_features(options["image_size"])
        if rows != expected:
            raise InputError(
                f"checkpoint {checkpoint.path}: its weights are not for image_size {options['image_size']}: "
                f"fc1.weight has {rows} rows, expected {expected}"
            )
    try:
        network = build_network(name, len(classes), **options)
    except InputError as error:
        raise InputError(f"checkpoint {checkpoint.path}: {error}") from None
    load_weights(network, checkpoint.weights, checkpoint.path)
    return network, classes


def count_parameters(network: nn.Layer, frozen: bool = False) -> int:
    """Count the scalars that are trained, or with `frozen` also those that are frozen.

    Batch norm's running statistics are not parameters, though Paddle lists them as such.
    """
    statistics = ("_mean", "_variance")
    return sum(
        parameter.size
        for name, parameter in network.named_parameters()
        if not name.endswith(statistics) and (frozen or not parameter.stop_gradient)
    )


def predict_logits(network: nn.Layer, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Run the network in evaluation mode on batches float32 [n, *input_shape]; logits float32 [N, num_classes]."""
    return run_batches(network, network, batches)


def run_batches(network: nn.Layer, function: Callable, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Apply a function of a network, in evaluation mode, to float32 batches; returns all outputs as one array."""
    was_training = network.training
    network.eval()
    with paddle.no_grad():
        outputs = [function(paddle.to_tensor(batch)).numpy() for batch in batches]
    if was_training:
        network.train()
    return np.concatenate(outputs)
