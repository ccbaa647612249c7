"""Losses, optimizers, learning-rate schedules and weight averaging, as a config names them."""

import math
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import paddle
import paddle.nn.functional as F

from digits.config import Config


def make_loss(config: Config, counts: np.ndarray) -> Callable:
    """What is minimized: a function of logits [N, C], targets [N, C] (probabilities) and labels int [N] -> scalar.

    Args:
        config: the run's settings.
        counts: int [C], images a class. With `class_weights: balanced` an image counts by the mean over the classes,
            divided by that of its own; one whose label is C, of no class, counts 1.
    """
    balanced = config.class_weights == "balanced"
    reduction = "none" if balanced else "mean"
    weights = np.append(counts.mean() / np.maximum(counts, 1), 1).astype(np.float32)

    def loss(logits, targets, labels):
        if config.loss == "mse":
            losses = F.mse_loss(F.softmax(logits), targets, reduction)
        else:
            losses = F.cross_entropy(logits, targets, soft_label=True, reduction=reduction)
        return (losses.mean(1) * paddle.to_tensor(weights[labels])).mean() if balanced else losses

    return loss


def make_schedule(config: Config, steps_per_epoch: int) -> paddle.optimizer.lr.LRScheduler:
    """The learning rate of each step: `config.learning_rate`, the peak, times a factor.

    `cosine` falls from 1 to 0 (Loshchilov and Hutter 2017); `one-cycle` rises from 0.1 for a quarter of the run, then
    falls to 0 (Smith and Topin 2018), both along half a cosine.
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


def make_optimizer(config: Config, schedule, model: paddle.nn.Layer) -> paddle.optimizer.Optimizer:
    """The update rule that the config names, over those of the model's parameters that are not frozen."""
    rate = config.learning_rate if config.schedule == "constant" else schedule  # a scheduler costs at every step
    learning = [parameter for parameter in model.parameters() if not parameter.stop_gradient]
    shared = {"learning_rate": rate, "parameters": learning, "weight_decay": config.weight_decay}
    if config.optimizer == "momentum":
        return paddle.optimizer.Momentum(momentum=config.momentum, **shared)
    if config.optimizer == "rmsprop":
        return paddle.optimizer.RMSProp(rho=config.momentum, **shared)
    rule = {"adam": paddle.optimizer.Adam, "adamw": paddle.optimizer.AdamW}[config.optimizer]
    return rule(beta1=config.momentum, beta2=config.beta2, **shared)


class WeightAverage:
    """Averages of a model's weights and batch-norm statistics: over the steps, and with those it had at first.

    Args:
        model: with the weights it starts from.
        decay: of the exponential moving average over the steps; 0 turns it off. It grows from 0.1 towards `decay`, so
            that the first, random weights are soon forgotten.
        share: of the new weights in the mean with the first ones; below 1 a fine-tuned network keeps more of what it
            knew (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """

    def __init__(self, model: paddle.nn.Layer, decay: float, share: float = 1.0):
        self.decay, self.share = decay, share
        self.steps = 0
        self.values = _copy(model) if decay else {}
        self.first = _copy(model) if share < 1 else {}

    @paddle.no_grad()
    def update(self, model: paddle.nn.Layer) -> None:
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in model.state_dict().items():
            self.values[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def applied(self, model: paddle.nn.Layer):
        """Within the block the model has the averaged weights."""
        if not self.decay and not self.first:
            yield
            return
        current = _copy(model)
        averaged = self.values or current
        if self.first:
            averaged = {name: paddle.lerp(first, averaged[name], self.share) for name, first in self.first.items()}
        model.set_state_dict(averaged)
        yield
        model.set_state_dict(current)


def _copy(model):
    return {name: tensor.clone().detach() for name, tensor in model.state_dict().items()}
