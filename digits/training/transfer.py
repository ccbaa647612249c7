"""Transfer learning: loading and freezing a backbone, and computing its features once."""

import contextlib
import hashlib
import inspect
import io
import logging
import sys
from pathlib import Path

import numpy as np
import paddle

from digits.cli import RunError
from digits.config import Config
from digits.data.image_files import ImageFiles, input_batches
from digits.files import replacing, seal, unseal
from digits.imaging.reading import to_photo
from digits.networks.checkpoint import load_checkpoint, load_weights, read_weights
from digits.networks.photo import TransferNet
from digits.networks.registry import run_batches

FEATURES = Path("outputs") / "features"

# Layers of a backbone's last block, by name. For other backbones it is the last layer with weights, or the last item of
# a list of layers.
_LAST_BLOCKS = {
    "inception_v3": ["inception_block_list.10"],
    "resnet18": ["layer4"],
    "mobilenet_v3_small": ["blocks.10", "lastconv"],
    "vgg16": ["features.24", "features.26", "features.28"],
}


def prepare_backbone(network: TransferNet, config: Config, load: bool = True) -> None:
    """Load the backbone's weights and freeze the layers that are not trained.

    Args:
        network: randomly initialized.
        config: `weights`, else `pretrained`, says where the weights come from; `unfreeze` names the layers to train.
        load: False if the weights are restored later.

    Raises:
        InputError: the file does not hold this backbone's weights, or the backbone has no such layer.
        RunError: Paddle's weights cannot be downloaded.
    """
    if load and (config.weights or config.pretrained):
        source = config.weights or f"Paddle's {config.backbone}"
        weights = _read_weights(Path(config.weights)) if config.weights else _download(config.backbone)
        expected = network.backbone.state_dict()
        load_weights(network.backbone, {name: weights[name] for name in expected if name in weights}, source)
    if config.unfreeze == "all":
        names = [name for name, _ in network.backbone.named_children()]
    else:
        names = config.unfreeze.replace(",", " ").split() or last_block(config.backbone, network.backbone)
    network.freeze_all_but(names)


def last_block(name: str, backbone: paddle.nn.Layer) -> list[str]:
    """Return the names of the layers that make up the last block of the backbone called `name`."""
    if name in _LAST_BLOCKS:
        return _LAST_BLOCKS[name]
    *_, (child, layer) = _with_weights(backbone)
    if isinstance(layer, paddle.nn.Sequential | paddle.nn.LayerList):
        *_, (inner, block) = _with_weights(layer)
        if not isinstance(block, paddle.nn.BatchNorm2D):  # a batch norm belongs to the convolution before it
            return [f"{child}.{inner}"]
    return [child]


def bottleneck_features(network: TransferNet, photos: ImageFiles, part: str, folder: Path = FEATURES) -> np.ndarray:
    """Compute the backbone's features of all photos, float32 [N, D], or load them if they were computed before.

    The file is named by a digest of everything the features depend on: the backbone and its weights, how photos are
    scaled, and the files of the photos, in order (path, size in bytes, time of the last change).

    Args:
        network: with the backbone's weights.
        photos: N photos.
        part: `"train"` or `"val"`, for the messages.
        folder: where features are saved.
    """
    path = folder / f"{_digest(network, photos)}.npy"
    if path.exists():
        with contextlib.suppress(ValueError):  # damaged: compute them again
            features = np.load(io.BytesIO(unseal(path.read_bytes())), allow_pickle=False)
            print(f"features of {part}: from {path}", flush=True)
            return features
    print(f"features of {part}: {len(photos):,} photos through the backbone, into {path}", flush=True)
    features = run_batches(network, network.features, input_batches(photos))
    content = io.BytesIO()
    np.save(content, features)
    with replacing(path) as temporary:
        temporary.write_bytes(seal(content.getvalue()))
    return features


def _with_weights(layer):
    return [(name, child) for name, child in layer.named_children() if child.parameters()]


def _digest(network, photos):
    transform = (network.MEAN, network.STD, inspect.getsource(to_photo))
    digest = hashlib.sha256(repr((network.backbone_name, photos.input_shape, transform)).encode())
    for name, tensor in network.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    for path in photos.paths:
        status = path.stat()
        digest.update(repr((str(path.resolve()), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:20]


def _read_weights(path):
    """Read a backbone's weights from its own file, with or without its classifier, or from one of our networks."""
    weights = load_checkpoint(path).weights if path.is_dir() else read_weights(path)
    own = {name.removeprefix("backbone."): array for name, array in weights.items() if name.startswith("backbone.")}
    return own or weights


def _download(name):
    print(f"data: downloading Paddle's weights of {name}", file=sys.stderr)
    logging.getLogger("paddle.utils.download").setLevel(logging.WARNING)  # it logs every attempt
    try:
        pretrained = getattr(paddle.vision.models, name)(pretrained=True)
    except (RuntimeError, OSError, AssertionError):
        raise RunError(
            f"pretrained: Paddle's weights of {name} cannot be downloaded; connect to the internet, "
            "pass a file with --weights FILE, or start from random weights with --pretrained false"
        ) from None
    return {key: tensor.numpy() for key, tensor in pretrained.state_dict().items()}
