"""The networks for digits: each takes float32 images [N, 1, 28, 28] in [0, 1] and returns logits [N, num_classes]."""

import paddle
import paddle.nn.functional as F
from paddle import nn


class LeNet(nn.Layer):
    """LeNet as in PaddlePaddle's MNIST tutorial: 41,806 parameters.

    After LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition", section II.B).
    The layers have the tutorial's names, so weights saved by the tutorial's own code load here.

    Args:
        num_classes: number of logits.
        activation: `"relu"`, or `"sigmoid"` for the tutorial's forward pass.

    Raises:
        ValueError: the activation is unknown.
    """

    input_shape = (1, 28, 28)  # channels, height, width

    def __init__(self, num_classes: int = 10, activation: str = "relu"):
        super().__init__()
        if activation not in ("relu", "sigmoid"):
            raise ValueError(f"activation '{activation}' is not known; choose relu or sigmoid")
        self.activation = activation
        self.conv1 = ConvPool2D(1, 6, kernel_size=5)
        self.conv2 = ConvPool2D(6, 16, kernel_size=5)
        self.conv3 = FullConv2D(16, 120, kernel_size=4)
        self.fc1 = nn.Linear(120, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        if self.activation == "sigmoid":
            return self.forward_as_in_the_tutorial(images)
        x = F.relu(self.conv1(images))  # [N, 6, 12, 12]
        x = F.relu(self.conv2(x))  # [N, 16, 4, 4]
        x = F.relu(self.conv3(x))  # [N, 120]
        x = F.relu(self.fc1(x))  # [N, 64]
        return self.fc2(x)  # [N, num_classes]

    def forward_as_in_the_tutorial(self, images: paddle.Tensor) -> paddle.Tensor:
        """Apply a sigmoid before and after the first pooling, none after conv2 and conv3, and a last one after fc1."""
        x = F.sigmoid(F.sigmoid(self.conv1(images)))  # [N, 6, 12, 12]
        x = self.conv2(x)  # [N, 16, 4, 4]
        x = self.conv3(x)  # [N, 120]
        x = F.sigmoid(self.fc1(x))  # [N, 64]
        return self.fc2(x)  # [N, num_classes]


class ExtendedLeNet(nn.Layer):
    """LeNet's plan with modern parts: six 3x3 convolutions in three pooled blocks, two shortcuts, 284,722 parameters.

    Batch norm (Ioffe and Szegedy 2015), LeakyReLU (Maas et al. 2013), shortcuts (He et al. 2016), dropout (Srivastava
    et al. 2014).

    Args:
        num_classes: number of logits.
    """

    input_shape = (1, 28, 28)

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1 = ConvNorm(1, 24)
        self.conv2 = ConvNorm(24, 32)
        self.conv3 = ConvNorm(32, 64)
        self.conv4 = ConvNorm(64, 64, padding=1)
        self.conv5 = ConvNorm(64, 112, padding=1)
        self.conv6 = ConvNorm(112, 112, padding=1)
        self.fc1 = nn.Linear(112 * 2 * 2, 96)
        self.dropout = nn.Dropout(0.3)
        self.fc2 = nn.Linear(96, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = self.conv1(images)  # [N, 24, 26, 26]
        x = self.conv2(x, pool=True)  # [N, 32, 12, 12]
        x = self.conv3(x)  # [N, 64, 10, 10]
        x = F.max_pool2d(x + self.conv4(x), kernel_size=2, stride=2)  # [N, 64, 5, 5]
        x = self.conv5(x)  # [N, 112, 5, 5]
        x = F.max_pool2d(x + self.conv6(x), kernel_size=2, stride=2)  # [N, 112, 2, 2]
        x = F.relu(self.fc1(x.flatten(1)))  # [N, 96]
        return self.fc2(self.dropout(x))  # [N, num_classes]


class MLP(nn.Layer):
    """A multilayer perceptron, 784-128-10 with ReLU: 101,770 parameters.

    Args:
        num_classes: number of logits.
    """

    input_shape = (1, 28, 28)

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.fc1 = nn.Linear(28 * 28, 128)
        self.fc2 = nn.Linear(128, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = F.relu(self.fc1(images.flatten(1)))  # [N, 128]
        return self.fc2(x)  # [N, num_classes]


class ConvPool2D(nn.Conv2D):
    """Convolution (no padding, stride 1), 2x2 max-pooling, then the bias.

    Adding a bias and applying ReLU or a sigmoid commute with taking a maximum, and after the pooling they have a
    quarter of the work. On a CPU, Paddle takes as long to add a bias as to convolve.
    """

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, (H - K + 1) / 2, (W - K + 1) / 2]."""
        x = F.max_pool2d(F.conv2d(x, self.weight), kernel_size=2, stride=2)
        return x + self.bias.reshape([1, -1, 1, 1]).expand_as(x)  # expand_as is faster than broadcasting here


class FullConv2D(nn.Conv2D):
    """Convolution whose kernel covers its whole input: one matrix product."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, K, K] -> [N, out_channels]."""
        return paddle.matmul(x.flatten(1), self.weight.flatten(1), transpose_y=True) + self.bias


class ConvNorm(nn.Layer):
    """Convolution 3x3, batch norm, LeakyReLU, optional 2x2 max-pooling.

    LeakyReLU commutes with taking a maximum: after the pooling it has a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: int = 0):
        super().__init__()
        self.conv = nn.Conv2D(in_channels, out_channels, kernel_size=3, padding=padding, bias_attr=False)
        self.norm = nn.BatchNorm2D(out_channels)  # its shift replaces the bias

    def forward(self, x: paddle.Tensor, pool: bool = False) -> paddle.Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H - 2 + 2 padding, W - 2 + 2 padding], halved if pooled."""
        x = self.norm(self.conv(x))
        if pool:
            x = F.max_pool2d(x, kernel_size=2, stride=2)
        return F.leaky_relu(x, negative_slope=0.1)
