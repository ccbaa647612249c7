"""Learning from images without labels: the network's own sure answers are taken for their labels (Lee 2013)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle

from digits.config import Config
from digits.data.image_files import ImageFiles, input_batches, prefetch
from digits.evaluation.metrics import softmax
from digits.files import write_csv
from digits.networks.registry import predict_logits

_NONE = -1  # label of an image whose answer is not sure enough


class PseudoLabels:
    """Images without labels, and what the network takes them for.

    Args:
        config: the run's settings, of which the share, the least confidence and how often the labels are renewed.
        images: uint8 [N, 28, 28] or [N, S, S, 3].
        classes: the class names.
    """

    def __init__(self, config: Config, images: np.ndarray | ImageFiles, classes: list[str]):
        self.config, self.images, self.classes = config, images, classes
        self.labels = np.full(len(images), _NONE)

    def is_due(self, history: list[dict]) -> bool:
        """Whether the labels are to be renewed after these epochs, for the next."""
        epoch = history[-1]["epoch"]
        return epoch % self.config.unlabeled_epochs == 0 and epoch < self.config.epochs

    def renew(self, model: paddle.nn.Layer, weights: dict[str, np.ndarray]) -> None:
        """Label the images by these weights of the network, and print what that changed; the network keeps its own."""
        current = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.set_state_dict(weights)
        probs = softmax(predict_logits(model, input_batches(self.images)))
        model.set_state_dict(current)
        labels = np.where(probs.max(1) >= self.config.unlabeled_confidence, probs.argmax(1), _NONE)
        before, self.labels = self.labels, labels
        used, was_used = labels != _NONE, before != _NONE
        print(
            f"pseudo-labels: {used.sum():,} of {len(labels):,} images; {(used & ~was_used).sum():,} new, "
            f"{(used & was_used & (labels != before)).sum():,} changed, {(~used & was_used).sum():,} dropped",
            flush=True,
        )

    def batches(self, epoch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield for each step of an epoch as many of the labeled ones as make the share: images and labels."""
        used = np.flatnonzero(self.labels != _NONE)
        share = self.config.unlabeled_share
        count = max(1, round(self.config.batch_size * share / (1 - share))) if len(used) else 0
        rng = np.random.default_rng([self.config.seed, epoch, 3])
        chosen = [used[rng.integers(max(1, len(used)), size=count)] for _ in range(steps)]
        for indices, images in zip(chosen, prefetch(self.images, chosen), strict=True):
            yield images, self.labels[indices]

    def report(self, history: list[dict], out: Path) -> None:
        """Print how many images each class has got and what val has gained; write the labels to `pseudo_labels.csv`."""
        names = [str(path) for path in getattr(self.images, "paths", range(len(self.images)))]
        used = np.flatnonzero(self.labels != _NONE)
        rows = [{"image": names[index], "label": self.classes[self.labels[index]]} for index in used]
        write_csv(out / "pseudo_labels.csv", ("image", "label"), rows)
        counts = np.bincount(self.labels[used], minlength=len(self.classes))
        by_class = ", ".join(f"{name} {count:,}" for name, count in zip(self.classes, counts, strict=True))
        print(f"\npseudo-labels at the end, by class: {by_class}; {out / 'pseudo_labels.csv'}")
        accuracy = {row["epoch"]: row["val_accuracy"] for row in history}
        first, last = self.config.unlabeled_epochs, max(accuracy)
        if first < last:
            print(
                f"val: {accuracy[first]:.2%} before the first of them (epoch {first}), {accuracy[last]:.2%} at the end"
            )
