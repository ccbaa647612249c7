"""A network for digits with under 1,500 parameters."""

import paddle
import paddle.nn.functional as F
from paddle import nn


class TinyNet(nn.Layer):
    """Depthwise-separable convolutions (Howard et al. 2017, MobileNets, section 3.1): 1,440 parameters.

    A depthwise convolution filters each channel by itself, and a 1x1 convolution mixes the channels: together they
    need a fraction of a convolution's weights.

    Args:
        num_classes: number of logits.
    """

    input_shape = (1, 28, 28)  # channels, height, width

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2D(1, 4, kernel_size=5, bias_attr=False)
        self.norm1 = nn.BatchNorm2D(4)
        self.conv2 = nn.Conv2D(4, 6, kernel_size=3, padding=1, bias_attr=False)
        self.norm2 = nn.BatchNorm2D(6)
        self.block3 = SeparableConv(6, 13)
        self.block4 = SeparableConv(13, 13)
        self.pixels = self.create_parameter([13, 6 * 6])  # weight of each pixel of each channel
        self.norm5 = nn.BatchNorm1D(13)
        self.fc = nn.Linear(13, num_classes)

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 1, 28, 28] in [0, 1] -> logits float32 [N, num_classes]."""
        x = F.max_pool2d(self.conv1(images), kernel_size=2, stride=2)  # [N, 4, 12, 12]
        x = F.leaky_relu(self.norm1(x), negative_slope=0.1)
        x = F.leaky_relu(self.norm2(self.conv2(x)), negative_slope=0.1)  # [N, 6, 12, 12]
        x = self.block3(x)  # [N, 13, 12, 12]
        x = F.max_pool2d(x + self.block4(x), kernel_size=2, stride=2)  # [N, 13, 6, 6]
        x = (x.flatten(2) * self.pixels).sum(-1)  # [N, 13]: a depthwise convolution of 6x6
        return self.fc(self.norm5(x))  # [N, num_classes]


class SeparableConv(nn.Layer):
    """Depthwise 3x3 convolution, 1x1 convolution, batch norm, LeakyReLU."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = nn.Conv2D(in_channels, in_channels, 3, padding=1, groups=in_channels, bias_attr=False)
        self.pointwise = nn.Conv2D(in_channels, out_channels, kernel_size=1, bias_attr=False)
        self.norm = nn.BatchNorm2D(out_channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H, W]."""
        return F.leaky_relu(self.norm(self.pointwise(self.depthwise(x))), negative_slope=0.1)
