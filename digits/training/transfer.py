"""Transfer learning: where the backbone's weights come from, and its features, computed once and kept."""

import hashlib
import inspect
import logging
import sys
from pathlib import Path

import numpy as np
import paddle

from digits.cli import RunError
from digits.config import Config
from digits.data.image_files import ImageFiles, input_batches
from digits.files import replacing
from digits.imaging.reading import to_photo
from digits.networks.checkpoint import load_checkpoint, load_weights, read_weights
from model import TransferNet, run_batches

FEATURES = Path("outputs") / "features"

# The last block of a backbone, by the names of its layers. Of others it is the last layer with weights, or of a list of
# layers the last in it.
_LAST_BLOCKS = {
    "inception_v3": ["inception_block_list.10"],
    "resnet18": ["layer4"],
    "mobilenet_v3_small": ["blocks.10", "lastconv"],
    "vgg16": ["features.24", "features.26", "features.28"],
}


def prepare_backbone(network: TransferNet, config: Config, load: bool = True) -> None:
    """Give the backbone the weights that the config names, and freeze what is not to learn.

    Args:
        network: as it was built, with weights by chance.
        config: `weights`, else `pretrained`, say where its weights come from, `unfreeze` what learns.
        load: give it weights; False if it gets those of a run later.

    Raises:
        InputError: the file has not the weights of this backbone, or it has no such layer.
        RunError: Paddle's weights cannot be had.
    """
    if load and (config.weights or config.pretrained):
        source = config.weights or f"Paddle's {config.backbone}"
        found = _read_weights(Path(config.weights)) if config.weights else _download(config.backbone)
        wanted = network.backbone.state_dict()
        load_weights(network.backbone, {name: found[name] for name in wanted if name in found}, source)
    if config.unfreeze == "all":
        names = [name for name, _ in network.backbone.named_children()]
    else:
        names = config.unfreeze.replace(",", " ").split() or last_block(config.backbone, network.backbone)
    network.freeze_all_but(names)


def last_block(name: str, backbone: paddle.nn.Layer) -> list[str]:
    """The names of the layers that make the last block of the backbone called `name`."""
    if name in _LAST_BLOCKS:
        return _LAST_BLOCKS[name]
    *_, (child, layer) = _with_weights(backbone)
    if isinstance(layer, paddle.nn.Sequential | paddle.nn.LayerList):
        *_, (inner, block) = _with_weights(layer)
        if not isinstance(block, paddle.nn.BatchNorm2D):  # else the two belong together
            return [f"{child}.{inner}"]
    return [child]


def _with_weights(layer):
    return [(name, child) for name, child in layer.named_children() if child.parameters()]


def bottleneck_features(network: TransferNet, pictures: ImageFiles, name: str, folder: Path = FEATURES) -> np.ndarray:
    """The backbone's features of all pictures, float32 [N, D]; from the folder if they have been computed before.

    Their file is called by a digest of all that they depend on: backbone and weights, how pictures are brought to the
    network's size, and the files of the pictures, in order (path, bytes, time of the last change).

    Args:
        network: with the backbone's weights.
        pictures: N of them.
        name: of this part, for what is printed.
        folder: where features are kept.
    """
    path = folder / f"{_digest(network, pictures)}.npy"
    if path.exists():
        print(f"features of {name}: from {path}", flush=True)
        return np.load(path)
    print(f"features of {name}: {len(pictures):,} photos through the backbone, into {path}", flush=True)
    features = run_batches(network, network.features, input_batches(pictures))
    with replacing(path) as temporary:
        np.save(temporary, features)
    return features


def _digest(network, pictures):
    transform = (network.MEAN, network.STD, inspect.getsource(to_photo))
    digest = hashlib.sha256(repr((network.backbone_name, pictures.input_shape, transform)).encode())
    for name, tensor in network.backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    for path in pictures.paths:
        status = path.stat()
        digest.update(repr((str(path.resolve()), status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:20]


def _read_weights(path):
    """Of a backbone: a file of one, with its top or without, or of a whole network of ours."""
    weights = load_checkpoint(path).weights if path.is_dir() else read_weights(path)
    own = {name.removeprefix("backbone."): array for name, array in weights.items() if name.startswith("backbone.")}
    return own or weights


def _download(name):
    print(f"data: getting Paddle's weights of {name}", file=sys.stderr)
    logging.getLogger("paddle.utils.download").setLevel(logging.WARNING)  # it tells of each attempt
    try:
        pretrained = getattr(paddle.vision.models, name)(pretrained=True)
    except (RuntimeError, OSError, AssertionError):
        raise RunError(
            f"pretrained: Paddle's weights of {name} cannot be had from here; with a connection they are downloaded "
            "once, a file that has them is named by --weights FILE, and --pretrained false starts from chance"
        ) from None
    return {key: tensor.numpy() for key, tensor in pretrained.state_dict().items()}
