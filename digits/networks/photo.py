"""The networks for photos: each takes float32 images [N, 3, S, S] in [0, 1] and returns logits [N, num_classes]."""

import inspect

import paddle
import paddle.nn.functional as F
from paddle import nn

from digits.cli import InputError, suggest


class PhotoCNN(nn.Layer):
    """A small network for color photos: two 3x3 convolutions and 200 hidden units, each preceded by a batch norm.

    Args:
        num_classes: number of logits.
        image_size: side of the photos, pixels.
        dropout: use dropout (Srivastava et al. 2014) of 0.3 and 0.1 before the two poolings.

    Raises:
        InputError: the photos are too small to pool twice.
    """

    def __init__(self, num_classes: int = 2, image_size: int = 96, dropout: bool = True):
        super().__init__()
        self.input_shape = (3, image_size, image_size)
        features = self.count_features(image_size)
        if not features:
            raise InputError(f"image_size {image_size}: too small for photo_cnn, which needs 17 pixels")
        self.norm1 = nn.BatchNorm2D(3)
        self.conv1 = nn.Conv2D(3, 32, kernel_size=3)
        self.norm2 = nn.BatchNorm2D(32)
        self.dropout1 = nn.Dropout(0.3 if dropout else 0.0)
        self.conv2 = nn.Conv2D(32, 64, kernel_size=3)
        self.norm3 = nn.BatchNorm2D(64)
        self.dropout2 = nn.Dropout(0.1 if dropout else 0.0)
        self.fc1 = nn.Linear(features, 200)
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

    @staticmethod
    def count_features(image_size: int) -> int:
        """Count the outputs of the last pooling for photos of that side; 0 if they are too small."""
        return 64 * max(0, ((image_size - 2) // 3 - 2) // 3) ** 2


class TransferNet(nn.Layer):
    """A backbone of `paddle.vision.models` without its classifier, and a small head on its D features.

    Transfer learning as in Yosinski et al. 2014.

    Args:
        num_classes: number of logits.
        image_size: side of the photos, pixels.
        backbone: name of the function in `paddle.vision.models` that builds it.

    Raises:
        InputError: no backbone has that name, or it does not accept photos of that size.
    """

    # Mean and standard deviation of ImageNet's red, green and blue, on which Paddle's weights were trained
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
            with paddle.no_grad():
                size = self.features(paddle.zeros([1, *self.input_shape])).shape[1]
        except AttributeError:
            raise InputError(
                f"backbone '{backbone}' has several outputs and cannot be used; try resnet18, mobilenet_v3_small, "
                "vgg16 or inception_v3"
            ) from None
        except (ValueError, RuntimeError):
            raise InputError(f"image_size {image_size}: too small for {backbone}; choose a larger one") from None
        self.head = nn.Sequential(
            nn.Linear(size, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(64, num_classes),
        )  # fmt: skip
        self.trained, self.frozen = [], []  # names of the backbone layers to train; layers that are frozen

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """float32 [N, 3, S, S] in [0, 1] -> logits float32 [N, num_classes]."""
        return self.head(self.features(images))

    def features(self, images: paddle.Tensor) -> paddle.Tensor:
        """Compute the "bottleneck features", the averages of the backbone's maps: [N, 3, S, S] in [0, 1] -> [N, D]."""
        x = self.backbone((images - self.mean) / self.std)  # [N, D, h, w]
        return x.flatten(2).mean(2) if x.ndim > 2 else x

    def freeze_all_but(self, names: list[str]) -> None:
        """Train only the head and the named backbone layers; frozen layers also keep their batch-norm statistics.

        Args:
            names: as in `backbone.named_sublayers()`; each stands for all layers in it.

        Raises:
            InputError: the backbone has no such layer.
        """
        layers = dict(self.backbone.named_sublayers())
        for name in names:
            if name not in layers:
                known = [child for child, layer in self.backbone.named_children() if layer.parameters()]
                hint = suggest(name, layers) or f"; it has {', '.join(known)}"
                raise InputError(f"unfreeze: the backbone has no layer '{name}'{hint}")

        def is_trained(name):
            return any(name == other or name.startswith(other + ".") for other in names)

        for name, parameter in self.backbone.named_parameters():
            parameter.stop_gradient = not (is_trained(name) and parameter.trainable)
        self.trained = names
        self.frozen = [layer for name, layer in layers.items() if not is_trained(name)]
        self.train()

    def train(self) -> None:
        """Set training mode, except for frozen layers."""
        super().train()
        for layer in self.frozen:
            layer.training = False


def _make_backbone(name):
    """Build a backbone without its classifier, randomly initialized."""
    known = sorted(key for key, value in vars(paddle.vision.models).items() if inspect.isfunction(value))
    if name not in known:
        raise InputError(
            f"backbone '{name}' is not known{suggest(name, known) or '; choose one of ' + ', '.join(known)}"
        )
    return getattr(paddle.vision.models, name)(num_classes=0)
