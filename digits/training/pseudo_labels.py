"""Learning from unlabeled images: the network's own confident predictions serve as labels (Lee 2013)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle

from digits.config import Config
from digits.data.image_files import ImageFiles, input_batches, prefetch
from digits.evaluation.metrics import softmax
from digits.files import write_csv
from digits.networks.registry import predict_logits
from digits.text import percent

_UNUSED = -1  # label of an image whose prediction is not confident enough


class PseudoLabels:
    """Unlabeled images and their current pseudo-labels.

    Args:
        config: the run's settings: share, least confidence, and epochs between two renewals.
        images: uint8 [N, 28, 28] or [N, S, S, 3]; None turns pseudo-labeling off.
        classes: the class names.

    Attributes:
        labels: int64 [N], -1 for an image that is not used.
    """

    def __init__(self, config: Config, images: np.ndarray | ImageFiles | None, classes: list[str]):
        self.config, self.images, self.classes = config, images, classes
        self.is_on = images is not None
        self.labels = np.full(len(images) if self.is_on else 0, _UNUSED)

    def is_due(self, history: list[dict]) -> bool:
        """Whether to renew the labels after the newest epoch."""
        epoch = history[-1]["epoch"]
        return self.is_on and epoch % self.config.unlabeled_epochs == 0 and epoch < self.config.epochs

    def renew(self, network: paddle.nn.Layer, weights: dict[str, np.ndarray]) -> None:
        """Label the images with these weights, and print what changed; the network keeps its own weights."""
        current = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        network.set_state_dict(weights)
        probs = softmax(predict_logits(network, input_batches(self.images)))
        network.set_state_dict(current)
        labels = np.where(probs.max(1) >= self.config.unlabeled_confidence, probs.argmax(1), _UNUSED)
        previous, self.labels = self.labels, labels
        used, was_used = labels != _UNUSED, previous != _UNUSED
        print(
            f"pseudo-labels: {used.sum():,} of {len(labels):,} images; {(used & ~was_used).sum():,} new, "
            f"{(used & was_used & (labels != previous)).sum():,} changed, {(~used & was_used).sum():,} dropped",
            flush=True,
        )

    def batches(self, epoch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield pseudo-labeled images and their labels for each step of an epoch, as many as make up the share."""
        used = np.flatnonzero(self.labels != _UNUSED)
        share = self.config.unlabeled_share
        count = max(1, round(self.config.batch_size * share / (1 - share))) if len(used) else 0
        rng = np.random.default_rng([self.config.seed, epoch, 3])
        chosen = [used[rng.integers(max(1, len(used)), size=count)] for _ in range(steps)]
        for indices, images in zip(chosen, prefetch(self.images, chosen), strict=True):
            yield images, self.labels[indices]

    def report(self, history: list[dict], out: Path) -> None:
        """Print the labels per class and how val accuracy changed; write the labels to `pseudo_labels.csv`."""
        if not self.is_on:
            return
        names = [str(path) for path in getattr(self.images, "paths", range(len(self.images)))]
        used = np.flatnonzero(self.labels != _UNUSED)
        rows = [{"image": names[index], "label": self.classes[self.labels[index]]} for index in used]
        write_csv(out / "pseudo_labels.csv", ("image", "label"), rows)
        counts = np.bincount(self.labels[used], minlength=len(self.classes))
        by_class = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes, counts, strict=True))
        print(f"\nfinal pseudo-labels by class: {by_class}; written to {out / 'pseudo_labels.csv'}")
        accuracy = {row["epoch"]: row["val_accuracy"] for row in history}
        first, last = self.config.unlabeled_epochs, max(accuracy)
        if first < last:
            print(
                f"val: {percent(accuracy[first])} before the first pseudo-labels (epoch {first}), "
                f"{percent(accuracy[last])} at the end"
            )
