"""The training itself: epochs of a network over a set of images; of transfer learning, its three stages."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import paddle

from digits.cli import RunError
from digits.config import Config
from digits.data.augment import AMOUNTS, augment
from digits.data.image_files import input_batches, prefetch
from digits.data.mnist import shuffled_batches, to_input
from digits.data.splits import Dataset, make_beside
from digits.evaluation.metrics import score
from digits.networks.checkpoint import load_checkpoint, load_weights
from digits.networks.registry import build_network, options_of, predict_logits
from digits.training.history import HEADER, EpochBar, format_epoch
from digits.training.optim import WeightAverage, make_loss, make_optimizer, make_schedule
from digits.training.pseudo_labels import PseudoLabels
from digits.training.run_folder import (
    HEAD,
    has_progress,
    kept_epoch,
    load_progress,
    reason_to_stop,
    save_progress,
    save_weights,
)
from digits.training.transfer import FEATURES, bottleneck_features, prepare_backbone

METRICS = ("loss", "accuracy", "precision", "recall", "macro_f1", "f1")  # of each epoch
_NEW_SHARE = 0.9  # of the fine-tuned weights, in the mean with the old ones that is kept


def fit(
    config: Config,
    sets: Dataset,
    out: Path,
    resume: bool = False,
    start: Callable[[], paddle.nn.Layer] | None = None,
    first: dict | None = None,
) -> list[dict]:
    """Train, writing `best` and `last` to `out` after each epoch.

    Args:
        config: the run's settings.
        sets: the images: train to fit, val to measure each epoch by, drawings and images without labels to fit beside.
        out: the run's folder.
        resume: go on from `out/last.pdopt`, with the same data to the same weights bit for bit as if the run had never
            stopped.
        start: makes the network with the weights it starts from; None for what the config says.
        first: the row of an epoch 0, of the network as it is made, if that has been measured.

    Returns:
        A dict an epoch: `epoch learning_rate`, of train and val each `loss accuracy precision recall macro_f1 f1`
        (as `train_loss`, `val_f1`), and `seconds`. Train's are of the augmented images, while the network learns.

    Raises:
        RunError: the loss is no longer a finite number.
    """
    # The optimizer keys its state by generated names: the guard makes them the same in every run of one process.
    with paddle.utils.unique_name.guard():
        paddle.seed(config.seed)
        model = start() if start else make_network(config, sets.classes, resume)
        schedule = make_schedule(config, steps_per_epoch=math.ceil(len(sets.train[1]) / config.batch_size))
        optimizer = make_optimizer(config, schedule, model)
        average = WeightAverage(model, config.ema_decay, _NEW_SHARE if config.fine_tune else 1.0)
        pseudo = PseudoLabels(config, sets.unlabeled, sets.classes) if config.unlabeled else None
        history = []
        if resume:
            history = load_progress(out, model, optimizer, average, pseudo)
        else:
            if first:
                history = [first]
                save_weights(out, model, config, sets.classes, history)
            save_progress(out, model, optimizer, average, history, pseudo)

        done = history[-1]["epoch"] if history else 0
        beside = make_beside(config, sets) if done < config.epochs else []
        print(HEADER, *map(format_epoch, history), sep="\n", flush=True)
        for epoch in range(done + 1, config.epochs + 1):
            if reason := reason_to_stop(history, config):
                print(f"stopped early: {reason}")
                break
            started = time.perf_counter()
            train_metrics = train_epoch(config, epoch, model, optimizer, schedule, average, sets, beside, pseudo)
            with average.applied(model):
                val_metrics = score(predict_logits(model, input_batches(sets.val[0])), sets.val[1], config.loss)
                row = {
                    "epoch": epoch,
                    "learning_rate": schedule.get_lr(),
                    **{f"train_{name}": train_metrics[name] for name in METRICS},
                    **{f"val_{name}": val_metrics[name] for name in METRICS},
                    "seconds": time.perf_counter() - started,
                }
                history.append(row)
                save_weights(out, model, config, sets.classes, history)
            if pseudo and pseudo.is_due(history):
                pseudo.renew(model, load_checkpoint(out).weights)
            save_progress(out, model, optimizer, average, history, pseudo)
            is_best = config.keep == "best" and kept_epoch(history, config.keep) == epoch
            print(format_epoch(row) + ("  best" if is_best else ""), flush=True)
        if pseudo:
            pseudo.report(history, out)
    return history


def train_epoch(config, epoch, model, optimizer, schedule, average, sets, beside, pseudo) -> dict:
    """One pass over the training images, in an order that (seed, epoch) alone decides; metrics of its answers."""
    images, labels = sets.train
    num_classes = len(sets.classes)
    rng = np.random.default_rng([config.seed, epoch])
    paddle.seed(int(rng.integers(2**31)))  # for dropout
    batches = list(shuffled_batches(len(labels), config.batch_size, rng))
    bar = EpochBar(len(batches))
    answers = np.empty((len(labels), num_classes), np.float32)
    targets = _smoothed_targets(config, num_classes)
    loss_function = make_loss(config, np.bincount(labels, minlength=num_classes))
    unlabeled = pseudo.batches(epoch, len(batches)) if pseudo else repeat(None)
    taken = zip(batches, prefetch(images, batches), unlabeled, strict=False)
    for step, (batch, batch_images, unlabeled_part) in enumerate(taken, 1):
        shown, shown_labels = [batch_images], [labels[batch]]
        for other_images, other_labels, count in beside:
            chosen = rng.integers(len(other_labels), size=count)
            shown.append(other_images[chosen])
            shown_labels.append(other_labels[chosen])
        if unlabeled_part:
            shown.append(unlabeled_part[0])
            shown_labels.append(unlabeled_part[1])
        shown_labels = np.concatenate(shown_labels)
        x = paddle.to_tensor(to_input(augment(np.concatenate(shown), rng, **amounts(config))))  # [S, C, H, W]
        y = paddle.to_tensor(targets[shown_labels])  # [S, num_classes]

        logits = model(x)  # [S, num_classes]
        loss = loss_function(logits, y, shown_labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
        average.update(model)

        loss = loss.item()
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} in epoch {epoch}, step {step}; try a lower learning_rate")
        answers[batch] = logits[: len(batch)].numpy()
        bar.update(step, loss)
    bar.clear()
    return score(answers, labels, config.loss)


def _smoothed_targets(config, num_classes):
    """What the network is to find, float32 [C + 1, C], by label: the class; or none, all classes as probable then.

    The latter is "outlier exposure" (Hendrycks et al. 2019, section 3).
    """
    targets = np.vstack([np.eye(num_classes), np.full(num_classes, 1 / num_classes)]).astype(np.float32)
    return (1 - config.label_smoothing) * targets + config.label_smoothing / num_classes


def fit_in_stages(
    config: Config, sets: Dataset, out: Path, resume: bool = False, features_folder: Path = FEATURES
) -> list[dict]:
    """Transfer learning: the backbone's features (1), a head on them (2), head and last block together (3).

    Of the stages, the second leaves its own run in `out/head`. The third begins with the row of its best epoch, as
    epoch 0, and so keeps that network unless it finds one as good. Features are kept in `features_folder`.

    Returns:
        The epochs of the third stage, see `fit`.
    """
    if resume and (out / "last.pdopt").exists():
        return fit(config, sets, out, resume)
    with paddle.utils.unique_name.guard():
        paddle.seed(config.seed)
        network = make_network(config, sets.classes)
    print("\nstage 1: features")
    features = {
        name: (bottleneck_features(network, images, name, features_folder), labels)
        for name, (images, labels) in (("train", sets.train), ("val", sets.val))
    }
    print(f"\nstage 2: the head alone, {config.head_epochs} epochs\n")
    nothing = dict.fromkeys(AMOUNTS, 0)
    alone = replace(
        config, optimizer="rmsprop", epochs=config.head_epochs, learning_rate=config.head_learning_rate, keep="best",
        schedule="constant", momentum=0.9, unlabeled="", **nothing,
    )  # fmt: skip
    stage = out / HEAD
    rows = fit(alone, Dataset(sets.classes, **features), stage, has_progress(stage), lambda: network.head)
    first = next(row for row in rows if row["epoch"] == kept_epoch(rows, "best"))
    print(
        f"\nstage 3: the head and {' '.join(network.learning)}, {config.epochs} epochs; epoch 0 is stage 2's "
        f"{first['epoch']}\n"
    )
    load_weights(network.head, load_checkpoint(stage).weights, stage)
    return fit(config, sets, out, False, lambda: network, first | {"epoch": 0})


def build(config: Config, classes: list[str]) -> paddle.nn.Layer:
    """The network that the config names, for these classes, its weights by chance."""
    return build_network(config.model, len(classes), **options_of(config.model, asdict(config)))


def amounts(config: Config) -> dict[str, float]:
    """What the config says to `augment`."""
    return {name: getattr(config, name) for name in AMOUNTS}


def make_network(config: Config, classes: list[str], resume: bool = False) -> paddle.nn.Layer:
    """The network with the weights it starts from (not those, if a run is resumed), and frozen what is not to learn."""
    model = build(config, classes)
    if config.model == "transfer":
        prepare_backbone(model, config, load=not (resume or config.fine_tune))
    if config.fine_tune and not resume:
        start = load_checkpoint(config.fine_tune)
        load_weights(model, start.weights, start.path)
    return model
