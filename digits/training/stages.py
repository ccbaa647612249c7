"""The stages of a run: one training; for transfer learning, the head first, then the head and the last block."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import paddle

from digits.config import Config
from digits.data.augment import AMOUNTS
from digits.data.splits import Dataset
from digits.networks.checkpoint import load_checkpoint, load_weights
from digits.networks.description import check_classes
from digits.networks.registry import build_network, options_of
from digits.training.checkpointer import load_history
from digits.training.history import kept_epoch
from digits.training.run_folder import HEAD, Run, has_progress
from digits.training.transfer import FEATURES, bottleneck_features, prepare_backbone


@dataclass(frozen=True)
class Stage:
    """A network, the data and the settings to train it with, and the folder to save it in.

    Attributes:
        resume: whether to restore the training from `out`.
        history: rows of epochs that were measured before this stage.
    """

    config: Config
    data: Dataset
    network: paddle.nn.Layer
    out: Path
    resume: bool = False
    history: list[dict] = field(default_factory=list)


def make_network(config: Config, classes: list[str], load: bool = True) -> paddle.nn.Layer:
    """Build the config's network as its training starts: random by seed, pretrained, or with the weights to fine-tune.

    Args:
        config: the run's settings.
        classes: the class names.
        load: load the weights that the config names; False if a resumed run restores its own.

    Raises:
        InputError: a class cannot have its name, or the weights do not fit.
    """
    check_classes("the data", classes)  # now rather than when the checkpoint is loaded
    with paddle.utils.unique_name.guard():  # parameters are named alike in every run
        paddle.seed(config.seed)
        network = build_network(config.model, len(classes), **options_of(config.model, asdict(config)))
        if config.model == "transfer":
            prepare_backbone(network, config, load=load and not config.fine_tune)
        if config.fine_tune and load:
            start = load_checkpoint(config.fine_tune)
            load_weights(network, start.weights, start.path)
    return network


def stages(run: Run, data: Dataset, network: paddle.nn.Layer) -> Iterator[Stage]:
    """Yield the stages of a run; each has to be trained before the next is asked for.

    Transfer learning has three: compute the backbone's features of every photo, train a head on them, then train the
    head and the last block together. `out/head` keeps the training of the head. The last stage begins with the best
    epoch of the head as epoch 0, so that fine-tuning never leaves a worse network.
    """
    config, out = run.config, run.out
    in_stages = config.model == "transfer" and config.head_epochs > 0
    if not in_stages or not starts_from_checkpoint(run):
        yield Stage(config, data, network, out, run.resume)
        return
    print("\nstage 1: features")
    folder = FEATURES if run.limit is None else out
    features = {
        part: (bottleneck_features(network, images, part, folder), labels)
        for part, (images, labels) in (("train", data.train), ("val", data.val))
    }
    print(f"\nstage 2: the head alone, {config.head_epochs} epochs\n")
    head_config = replace(
        config, optimizer="rmsprop", epochs=config.head_epochs, learning_rate=config.head_learning_rate, keep="best",
        schedule="constant", momentum=0.9, unlabeled="", **dict.fromkeys(AMOUNTS, 0),
    )  # fmt: skip
    head_out = out / HEAD
    yield Stage(head_config, Dataset(data.classes, **features), network.head, head_out, has_progress(head_out))

    history = load_history(head_out)
    best = next(row for row in history if row["epoch"] == kept_epoch(history, "best"))
    print(
        f"\nstage 3: the head and {' '.join(network.trained)}, {config.epochs} epochs; epoch 0 is stage 2's "
        f"{best['epoch']}\n"
    )
    load_weights(network.head, load_checkpoint(head_out).weights, head_out)
    yield Stage(config, data, network, out, history=[best | {"epoch": 0}])


def starts_from_checkpoint(run: Run) -> bool:
    """Whether the network starts with the weights that the config names; a resumed last stage restores its own."""
    return not (run.resume and (run.out / "last.pdopt").exists())
