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
        self.conv1 = nn.Conv2D(1, 6, kernel_size=5)
        self.max_pool1 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2D(6, 16, kernel_size=5)
        self.max_pool2 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv3 = nn.Conv2D(16, 120, kernel_size=4)
        self.fc1 = nn.Linear(120, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        if self.activation == "sigmoid":
            return self._forward_tutorial(images)
        x = F.relu(_conv_pool(images, self.conv1, self.max_pool1))  # [N, 6, 12, 12]
        x = F.relu(_conv_pool(x, self.conv2, self.max_pool2))  # [N, 16, 4, 4]
        x = F.relu(_conv_whole(x, self.conv3))  # [N, 120]
        x = F.relu(self.fc1(x))  # [N, 64]
        return self.fc2(x)  # [N, num_classes]

    def _forward_tutorial(self, images):
        # The tutorial takes the sigmoid both before and after the first pooling, and none after conv2 and conv3.
        x = F.sigmoid(F.sigmoid(_conv_pool(images, self.conv1, self.max_pool1)))  # [N, 6, 12, 12]
        x = _conv_pool(x, self.conv2, self.max_pool2)  # [N, 16, 4, 4]
        x = _conv_whole(x, self.conv3)  # [N, 120]
        x = F.sigmoid(self.fc1(x))  # [N, 64]
        return self.fc2(x)  # [N, num_classes]


MODELS = {"lenet": LeNet}


def build_model(name: str, num_classes: int = 10, **options) -> nn.Layer:
    """Build the network called `name` (a key of `MODELS`).

    Options the network does not take (a setting of another one) are left out.

    Raises:
        InputError: no network has that name.
    """
    if name not in MODELS:
        raise InputError(f"model '{name}' is not known; choose one of {', '.join(MODELS)}")
    network = MODELS[name]
    taken = inspect.signature(network).parameters
    return network(num_classes, **{key: value for key, value in options.items() if key in taken})


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


def _conv_pool(x, conv, pool):
    """pool(conv(x)), the bias added last: it commutes with a maximum, as relu and sigmoid do, and is less work."""
    x = pool(F.conv2d(x, conv.weight))
    # Expanded first: on a CPU, Paddle's broadcasting add takes three times as long.
    return x + conv.bias.reshape([1, -1, 1, 1]).expand_as(x)


def _conv_whole(x, conv):
    """conv(x) for a kernel as large as x, which is a matrix product: [N, C, K, K] -> [N, out_channels]."""
    x = paddle.matmul(x.flatten(1), conv.weight.flatten(1), transpose_y=True)
    return x + conv.bias.expand_as(x)
