"""The networks. Each takes float32 images [N, *input_shape] in [0, 1] and returns logits [N, num_classes]."""

import inspect
from collections.abc import Iterable

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from digits.cli import InputError, suggest

DIGIT = (1, 28, 28)  # channels, height, width of MNIST's form


class LeNet(nn.Layer):
    """LeNet for 28x28 digits, in the layout of the PaddlePaddle MNIST tutorial; 41,806 parameters.

    After LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B), with
    max-pooling, a 4x4 third convolution and no padding. The layers have the tutorial's names: its `.pdparams` load.

    Args:
        num_classes: number of logits.
        activation: `"relu"`, or `"sigmoid"` for the tutorial's own forward pass.

    Raises:
        InputError: unknown activation.
    """

    ACTIVATIONS = ("relu", "sigmoid")
    input_shape = DIGIT

    def __init__(self, num_classes: int = 10, activation: str = "relu"):
        super().__init__()
        if activation not in self.ACTIVATIONS:
            raise InputError(f"activation '{activation}' is not known; choose one of {', '.join(self.ACTIVATIONS)}")
        self.activation = activation
        self.conv1 = LateBiasConv2D(1, 6, kernel_size=5)
        self.max_pool1 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv2 = LateBiasConv2D(6, 16, kernel_size=5)
        self.max_pool2 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv3 = WholeConv2D(16, 120, kernel_size=4)
        self.fc1 = nn.Linear(120, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        # The bias, relu and sigmoid commute with taking a maximum: after pooling they have a quarter of the work.
        x = self.conv1.add_bias(self.max_pool1(self.conv1(images)))  # [N, 6, 12, 12]
        if self.activation == "sigmoid":  # the tutorial has one before and one after this pooling, and none after conv3
            x = F.sigmoid(F.sigmoid(x))
            x = self.conv2.add_bias(self.max_pool2(self.conv2(x)))  # [N, 16, 4, 4]
            x = F.sigmoid(self.fc1(self.conv3(x)))  # [N, 120] -> [N, 64]
        else:
            x = F.relu(x)
            x = F.relu(self.conv2.add_bias(self.max_pool2(self.conv2(x))))  # [N, 16, 4, 4]
            x = F.relu(self.fc1(F.relu(self.conv3(x))))  # [N, 120] -> [N, 64]
        return self.fc2(x)  # [N, num_classes]


class ExtendedLeNet(nn.Layer):
    """LeNet's plan with today's parts: five 3x3 convolutions in three blocks, each with pooling; 201,338 parameters.

    Batch norm as Ioffe and Szegedy 2015, LeakyReLU as Maas et al. 2013, dropout as Srivastava et al. 2014.

    Args:
        num_classes: number of logits.
    """

    input_shape = DIGIT

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1 = ConvNorm(1, 16)
        self.conv2 = ConvNorm(16, 32, pool=True)
        self.conv3 = ConvNorm(32, 64)
        self.conv4 = ConvNorm(64, 64, pool=True)
        self.conv5 = ConvNorm(64, 128, padding=1, pool=True)
        self.fc1 = nn.Linear(128 * 2 * 2, 128)
        self.dropout = nn.Dropout(0.3)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = self.conv2(self.conv1(images))  # [N, 16, 26, 26] -> [N, 32, 12, 12]
        x = self.conv4(self.conv3(x))  # [N, 64, 10, 10] -> [N, 64, 4, 4]
        x = self.conv5(x)  # [N, 128, 2, 2]
        x = F.relu(self.fc1(x.flatten(1)))  # [N, 512] -> [N, 128]
        return self.fc2(self.dropout(x))  # [N, num_classes]


class MLP(nn.Layer):
    """The multilayer perceptron: 784-128-10 with ReLU for 28x28 digits; 101,770 parameters.

    Args:
        num_classes: number of logits.
    """

    input_shape = DIGIT

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = F.relu(self.fc1(images.flatten(1)))  # [N, 784] -> [N, 128]
        return self.fc2(x)  # [N, num_classes]


class PhotoCNN(nn.Layer):
    """A small network for color photos: two 3x3 convolutions and 200 hidden units, each behind a batch norm.

    Args:
        num_classes: number of logits.
        image_size: pixels of a side of the photos.
        dropout: with dropout (Srivastava et al. 2014) of 0.3 and 0.1 before the two poolings, or without.

    Raises:
        InputError: the photos are too small to be pooled twice.
    """

    def __init__(self, num_classes: int = 2, image_size: int = 96, dropout: bool = True):
        super().__init__()
        self.input_shape = (3, image_size, image_size)
        side = ((image_size - 2) // 3 - 2) // 3
        if side < 1:
            raise InputError(f"image_size {image_size}: too small for photo_cnn, which needs 17 pixels")
        self.norm1 = nn.BatchNorm2D(3)
        self.conv1 = nn.Conv2D(3, 32, kernel_size=3)
        self.norm2 = nn.BatchNorm2D(32)
        self.dropout1 = nn.Dropout(0.3 if dropout else 0.0)
        self.conv2 = nn.Conv2D(32, 64, kernel_size=3)
        self.norm3 = nn.BatchNorm2D(64)
        self.dropout2 = nn.Dropout(0.1 if dropout else 0.0)
        self.fc1 = nn.Linear(64 * side * side, 200)
        self.norm4 = nn.BatchNorm1D(200)
        self.fc2 = nn.Linear(200, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 3, S, S] in [0, 1] -> logits float32 [N, num_classes]; shapes for S = 96."""
        x = F.relu(self.conv1(self.norm1(images)))  # [N, 32, 94, 94]
        x = F.max_pool2d(self.dropout1(self.norm2(x)), kernel_size=3)  # [N, 32, 31, 31]
        x = F.relu(self.conv2(x))  # [N, 64, 29, 29]
        x = F.max_pool2d(self.dropout2(self.norm3(x)), kernel_size=3)  # [N, 64, 9, 9]
        x = self.norm4(F.relu(self.fc1(x.flatten(1))))  # [N, 200]
        return self.fc2(x)  # [N, num_classes]


class TransferNet(nn.Layer):
    """A backbone of `paddle.vision.models` without its top, and a small head on its D features (Yosinski et al. 2014).

    Args:
        num_classes: number of logits.
        image_size: pixels of a side of the photos.
        backbone: name of the function in `paddle.vision.models` that makes it.

    Raises:
        InputError: no backbone has that name, or it cannot take photos of that size.
    """

    # of the photos that Paddle's pretrained weights come from (ImageNet; its channels are red, green, blue)
    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, num_classes: int = 2, image_size: int = 150, backbone: str = "inception_v3"):
        super().__init__()
        self.input_shape = (3, image_size, image_size)
        for name, values in (("mean", self.MEAN), ("std", self.STD)):
            self.register_buffer(name, paddle.to_tensor(values).reshape([1, 3, 1, 1]), persistable=False)
        self.backbone_name = backbone
        self.backbone = _make_backbone(backbone)
        self.backbone.eval()
        if backbone == "inception_v3" and image_size < 75:
            raise InputError(f"image_size {image_size}: too small for inception_v3, which needs 75 pixels")
        try:
            size = self.features(paddle.zeros([1, *self.input_shape])).shape[1]
        except AttributeError:
            raise InputError(
                f"backbone '{backbone}' has several outputs, and cannot be used; try resnet18, mobilenet_v3_small, "
                "vgg16 or inception_v3"
            ) from None
        except (ValueError, RuntimeError):
            raise InputError(f"image_size {image_size}: too small for {backbone}; try a larger one") from None
        self.head = nn.Sequential(
            nn.Linear(size, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, num_classes),
        )  # fmt: skip
        self.learning, self.frozen = [], []  # names of the layers of the backbone that learn; those that do not

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 3, S, S] in [0, 1] -> logits float32 [N, num_classes]."""
        return self.head(self.features(images))

    def features(self, images: paddle.Tensor) -> paddle.Tensor:
        """The "bottleneck features": float32 [N, 3, S, S] in [0, 1] -> [N, D], the backbone's maps averaged."""
        x = self.backbone((images - self.mean) / self.std)  # [N, D, h, w]
        return x.flatten(2).mean(2) if x.ndim > 2 else x

    def freeze_all_but(self, names: list[str]) -> None:
        """Let only the head and the named layers of the backbone learn; what is frozen keeps its statistics too.

        Args:
            names: as in `backbone.named_sublayers()`, each with all that is in it.

        Raises:
            InputError: the backbone has no such layer.
        """
        layers = dict(self.backbone.named_sublayers())
        for name in names:
            if name not in layers:
                known = [child for child, layer in self.backbone.named_children() if layer.parameters()]
                hint = suggest(name, layers) or f"; it has {', '.join(known)}"
                raise InputError(f"unfreeze: the backbone has no layer '{name}'{hint}")

        def learns(name):
            return any(name == other or name.startswith(other + ".") for other in names)

        for name, parameter in self.backbone.named_parameters():
            parameter.stop_gradient = not (learns(name) and parameter.trainable)
        self.learning = names
        self.frozen = [layer for name, layer in layers.items() if not learns(name)]
        self.train()

    def train(self) -> None:
        """Training mode for all that learns."""
        super().train()
        for layer in self.frozen:
            layer.training = False


def _make_backbone(name):
    """The network called so without its classifier, its weights by chance."""
    known = sorted(key for key, value in vars(paddle.vision.models).items() if inspect.isfunction(value))
    if name not in known:
        raise InputError(
            f"backbone '{name}' is not known{suggest(name, known) or '; choose one of ' + ', '.join(known)}"
        )
    return getattr(paddle.vision.models, name)(num_classes=0)


class ConvNorm(nn.Layer):
    """Convolution 3x3, batch norm, LeakyReLU, and max-pooling 2/2 where asked for.

    Pooling comes before the LeakyReLU: they commute, and it has a quarter of the work then.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0, pool: bool = False):
        super().__init__()
        self.conv = nn.Conv2D(in_channels, out_channels, kernel_size=3, padding=padding, bias_attr=False)
        self.norm = nn.BatchNorm2D(out_channels)  # has the bias
        self.pool = pool

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H - 2 + 2 padding, W - 2 + 2 padding], halved if pooled."""
        x = self.norm(self.conv(x))
        if self.pool:
            x = F.max_pool2d(x, kernel_size=2, stride=2)
        return F.leaky_relu(x, negative_slope=0.1)


class LateBiasConv2D(nn.Conv2D):
    """A convolution (no padding, stride 1) that leaves its bias to `add_bias`, so that pooling can come between.

    On a CPU, Paddle's broadcasting addition of a bias costs as much as the convolution.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H - K + 1, W - K + 1]."""
        return F.conv2d(x, self.weight)

    def add_bias(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, out_channels, H, W] -> the same; expanding the bias first is three times faster than broadcasting it."""
        return x + self.bias.reshape([1, -1, 1, 1]).expand_as(x)


class WholeConv2D(nn.Conv2D):
    """A convolution with a kernel as large as its input: one matrix product, in a quarter of a convolution's time."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, K, K] -> [N, out_channels]."""
        return paddle.matmul(x.flatten(1), self.weight.flatten(1), transpose_y=True) + self.bias


MODELS = {"lenet": LeNet, "extended": ExtendedLeNet, "mlp": MLP, "photo_cnn": PhotoCNN, "transfer": TransferNet}


def build_model(name: str, num_classes: int = 10, **options) -> nn.Layer:
    """Build the network called `name` (a key of `MODELS`) with its options.

    Raises:
        InputError: no network has that name, or it has no such option.
    """
    if name not in MODELS:
        raise InputError(f"model '{name}' is not known; choose one of {', '.join(MODELS)}")
    foreign = sorted(options.keys() - options_of(name, options))
    if foreign:
        raise InputError(f"model '{name}' has no option {', '.join(foreign)}")
    return MODELS[name](num_classes, **options)


def options_of(name: str, settings: dict) -> dict:
    """Those of the settings that are options of the network called `name`."""
    parameters = inspect.signature(MODELS[name]).parameters
    return {key: value for key, value in settings.items() if key in parameters and key != "num_classes"}


def input_shape(name: str, settings: dict) -> tuple[int, int, int]:
    """Channels, height and width of what the network called `name` takes, with these settings."""
    size = options_of(name, settings).get("image_size")
    return (3, size, size) if size else DIGIT


def count_parameters(model: nn.Layer) -> int:
    """Number of trainable scalars (batch norm's running statistics are not, nor is what is frozen)."""
    return sum(p.size for p in model.parameters() if not p.stop_gradient)


def predict_logits(model: nn.Layer, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Run the network in evaluation mode over batches of float32 inputs [n, *input_shape]; logits float32 [N, C]."""
    return run_batches(model, model, batches)


def run_batches(model: nn.Layer, function, batches: Iterable[np.ndarray]) -> np.ndarray:
    """Apply a function of a network, in evaluation mode, to batches of float32 inputs; all its outputs."""
    was_training = model.training
    model.eval()
    with paddle.no_grad():
        outputs = [function(paddle.to_tensor(batch)).numpy() for batch in batches]
    if was_training:
        model.train()
    return np.concatenate(outputs)
