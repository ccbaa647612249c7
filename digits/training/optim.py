"""Loss functions, optimizers, learning-rate schedules and weight averaging, as a config names them."""

import math
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import paddle
import paddle.nn.functional as F

from digits.config import Config

_NEW_SHARE = 0.9  # share of the new weights when a fine-tuned network is averaged with the one it started from


def make_loss(
    config: Config, class_counts: np.ndarray, reject_class: bool = False
) -> Callable[[paddle.Tensor, np.ndarray], paddle.Tensor]:
    """Return the loss function: logits [N, C] and labels int [N] -> scalar.

    With `reject_class`, label C stands for "none of the classes". It is a class of its own, whose logit is always 0:
    the network learns logits whose log-sum-exp is above 0 for digits and below for other images (outlier exposure,
    Hendrycks et al. 2019, with the energy of Liu et al. 2020 as the score).

    Args:
        config: `loss`, `label_smoothing` and `class_weights`; if `balanced`, an image's weight is the mean class count
            divided by the count of its class. Images with label C have weight 1.
        class_counts: int [C], training images per class.
        reject_class: whether there are images of label C.
    """
    targets = np.eye(len(class_counts) + reject_class, dtype=np.float32)  # [C, C] or [C + 1, C + 1]
    targets = (1 - config.label_smoothing) * targets + config.label_smoothing / len(targets)
    balanced = config.class_weights == "balanced"
    reduction = "none" if balanced else "mean"
    weights = np.append(class_counts.mean() / np.maximum(class_counts, 1), 1).astype(np.float32)  # [C + 1]

    def loss_function(logits, labels):
        target = paddle.to_tensor(targets[labels])  # [N, C] or [N, C + 1]
        if reject_class:
            logits = F.pad(logits, [0, 1])  # [N, C + 1]
        if config.loss == "mse":
            losses = F.mse_loss(F.softmax(logits), target, reduction)
        else:
            losses = F.cross_entropy(logits, target, soft_label=True, reduction=reduction)
        return (losses.mean(1) * paddle.to_tensor(weights[labels])).mean() if balanced else losses

    return loss_function


def make_schedule(config: Config, steps_per_epoch: int) -> paddle.optimizer.lr.LRScheduler:
    """Return the learning rate per step: the peak `config.learning_rate` times a factor.

    `cosine` falls from 1 to 0 (Loshchilov and Hutter 2017). `one-cycle` rises from 0.1 during the first quarter of the
    run, then falls to 0 (Smith and Topin 2018), both along half a cosine.
    """
    steps = config.epochs * steps_per_epoch
    rise = steps / 4

    def factor(step):
        if config.schedule == "constant":
            return 1.0
        if config.schedule == "cosine":
            return (1 + math.cos(math.pi * step / steps)) / 2
        if step < rise:
            return 0.1 + 0.9 * (1 - math.cos(math.pi * step / rise)) / 2
        return (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2

    return paddle.optimizer.lr.LambdaDecay(config.learning_rate, factor)


def make_optimizer(config: Config, schedule, network: paddle.nn.Layer) -> paddle.optimizer.Optimizer:
    """Return the optimizer of the network's trainable parameters."""
    rate = config.learning_rate if config.schedule == "constant" else schedule  # a scheduler costs time at every step
    trainable = [parameter for parameter in network.parameters() if not parameter.stop_gradient]
    shared = {"learning_rate": rate, "parameters": trainable, "weight_decay": config.weight_decay}
    if config.optimizer == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **shared)
    if config.optimizer == "rmsprop":
        return paddle.optimizer.RMSProp(rho=config.momentum, **shared)
    optimizer = {"adam": paddle.optimizer.Adam, "adamw": paddle.optimizer.AdamW}[config.optimizer]
    return optimizer(beta1=config.momentum, beta2=config.beta2, **shared)


def make_average(config: Config, network: paddle.nn.Layer) -> "WeightAverage":
    """Return the weight average of a run; a fine-tuned network keeps a share of the weights it started from."""
    return WeightAverage(network, config.ema_decay, _NEW_SHARE if config.fine_tune else 1.0)


class WeightAverage:
    """Averages a network's weights and batch-norm statistics over the steps, and with the initial ones.

    Args:
        network: with its initial weights.
        decay: of the exponential moving average over the steps; 0 turns it off. It grows from 0.1 towards `decay`, so
            that the random initial weights are soon forgotten.
        share: weight of the new parameters when interpolating with the initial ones; below 1, fine-tuning forgets less
            (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """

    def __init__(self, network: paddle.nn.Layer, decay: float, share: float = 1.0):
        self.decay, self.share = decay, share
        self.steps = 0
        self.values = _copy(network) if decay else {}
        self.first = _copy(network) if share < 1 else {}

    @paddle.no_grad()
    def update(self, network: paddle.nn.Layer) -> None:
        """Include the network's current weights."""
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in network.state_dict().items():
            self.values[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def applied(self, network: paddle.nn.Layer):
        """Give the network the averaged weights within the block."""
        if not self.decay and not self.first:
            yield
            return
        current = _copy(network)
        averaged = self.values or current
        if self.first:
            averaged = {name: paddle.lerp(first, averaged[name], self.share) for name, first in self.first.items()}
        network.set_state_dict(averaged)
        yield
        network.set_state_dict(current)


def _copy(network):
    return {name: tensor.clone().detach() for name, tensor in network.state_dict().items()}
