"""The networks. Each takes float32 images [N, C, H, W] in [0, 1] and returns logits [N, num_classes]."""

import inspect

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from errors import InputError


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

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = F.relu(self.fc1(images.flatten(1)))  # [N, 784] -> [N, 128]
        return self.fc2(x)  # [N, num_classes]


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


MODELS = {"lenet": LeNet, "extended": ExtendedLeNet, "mlp": MLP}


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


def count_parameters(model: nn.Layer) -> int:
    """Number of trainable scalars (batch norm's running statistics are not)."""
    return sum(p.size for p in model.parameters() if p.trainable)


def predict_logits(model: nn.Layer, inputs: np.ndarray, batch_size: int = 1000) -> np.ndarray:
    """Run the network in evaluation mode over float32 inputs [N, C, H, W]; logits float32 [N, num_classes]."""
    was_training = model.training
    model.eval()
    with paddle.no_grad():
        starts = range(0, len(inputs), batch_size)
        logits = [model(paddle.to_tensor(inputs[start : start + batch_size])).numpy() for start in starts]
    if was_training:
        model.train()
    return np.concatenate(logits)
