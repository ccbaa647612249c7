"""Classification metrics from a confusion matrix."""

import numpy as np

_SPREAD = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "coverage": "trusted",
    "accepted_error": "trusted, wrong",
    "ece": "ECE",
}


def confusion_matrix(labels: np.ndarray, preds: np.ndarray, num_classes: int) -> np.ndarray:
    """Count int [num_classes, num_classes]: row = true class, column = predicted class."""
    counts = np.bincount(labels * num_classes + preds, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def summarize(confusion: np.ndarray) -> dict:
    """Metrics of a confusion matrix, as scikit-learn defines them: a ratio of nothing to nothing counts as 0.

    Args:
        confusion: int [C, C], row = true class, column = predicted class.

    Returns:
        `images`: how many. `accuracy`: the share of them labeled right. `precision`, `recall`: unweighted means
        over the classes that occur, as truth or as prediction. `f1`: the harmonic mean of those two. `macro_f1`: the
        unweighted mean of the classes' own F1, which is never above it (Opitz and Burst 2019, "Macro F1 and Macro F1").
        `per_class`: list of C dicts with `images precision recall f1`; a class's recall is its accuracy.
    """
    right = np.diag(confusion)
    support, predicted = confusion.sum(1), confusion.sum(0)
    precision, recall = _ratio(right, predicted), _ratio(right, support)
    f1 = _ratio(2 * right, support + predicted)
    occurs = support + predicted > 0
    mean_precision, mean_recall, mean_f1 = (
        float(values[occurs].mean()) if occurs.any() else 0.0 for values in (precision, recall, f1)
    )
    rows = zip(support, precision, recall, f1, strict=True)
    return {
        "images": int(support.sum()),
        "accuracy": float(_ratio(right.sum(), support.sum())),
        "precision": mean_precision,
        "recall": mean_recall,
        "f1": float(_ratio(2 * mean_precision * mean_recall, mean_precision + mean_recall)),
        "macro_f1": mean_f1,
        "per_class": [
            {"images": int(n), "precision": float(p), "recall": float(r), "f1": float(f)} for n, p, r, f in rows
        ],
    }


def score(logits: np.ndarray, labels: np.ndarray, loss: str = "cross_entropy") -> dict:
    """`loss`, of the kind named, and what `summarize` says of the answers; logits [N, C], labels int [N]."""
    confusion = confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    loss_function = {"cross_entropy": cross_entropy, "mse": mean_squared_error}[loss]
    return {"loss": loss_function(logits, labels), **summarize(confusion)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits [N, C] -> probabilities [N, C]."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats, of labels int [N] under logits float [N, C]."""
    top = logits.max(1, keepdims=True)
    log_total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return float((log_total - logits[np.arange(len(labels)), labels]).mean())


def mean_squared_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images and classes of (softmax of logits float [N, C] - one-hot labels int [N])^2 (Brier 1950)."""
    return float(((softmax(logits) - np.eye(logits.shape[1])[labels]) ** 2).mean())


def format_report(metrics: dict, classes: list[str]) -> str:
    """The metrics of `summarize` as an aligned table, a row a class and the means below."""
    width = max(len("all"), *map(len, classes))
    lines = [f"{'':{width}}  images  precision  recall      F1"]
    for name, row in zip(classes, metrics["per_class"], strict=True):
        values = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
        if not (row["images"] or any(row[key] for key in ("precision", "recall", "f1"))):
            values = ["-"] * 3  # neither there nor ever read as
        lines.append(f"{name:>{width}}  {row['images']:6d}  {values[0]:>9}  {values[1]:>6}  {values[2]:>6}")
    means = [f"{metrics[key]:.4f}" for key in ("precision", "recall", "macro_f1")]
    lines.append(f"{'all':>{width}}  {metrics['images']:6d}  {means[0]:>9}  {means[1]:>6}  {means[2]:>6}")
    wrong = round(metrics["images"] * (1 - metrics["accuracy"]))
    lines.append(f"accuracy {metrics['accuracy']:.2%}: {wrong:,} of {metrics['images']:,} images wrong")
    return "\n".join(lines)


def format_confusions(confusion: np.ndarray, classes: list[str], pairs: int = 5) -> str:
    """The cross table (row = true class; left out for more than 15 classes), and the confusions that cost most.

    Args:
        confusion: int [C, C], row = true class, column = predicted class.
        classes: the class names.
        pairs: how many confusions to name.
    """
    lines = []
    if len(classes) <= 15:
        width = max(len("true, read as"), *map(len, classes))
        widths = [max(5, len(name)) for name in classes]
        lines.append(
            f"{'true, read as':{width}}" + "".join(f"  {name:>{w}}" for name, w in zip(classes, widths, strict=True))
        )
        for name, row in zip(classes, confusion, strict=True):
            lines.append(f"{name:>{width}}" + "".join(f"  {count:{w}d}" for count, w in zip(row, widths, strict=True)))
    mistakes = confusion - np.diag(np.diag(confusion))
    for place in np.argsort(-mistakes, axis=None, kind="stable")[:pairs]:
        true, read = divmod(int(place), len(classes))
        count, images = mistakes[true, read], confusion[true].sum()
        if count:
            share = f"{count / mistakes.sum():.0%} of all mistakes"
            lines.append(
                f"{classes[true]} read as {classes[read]}: {count:,} of {images:,} ({count / images:.1%}), {share}"
            )
    return "\n".join(lines)


def choose_answers(labels: np.ndarray, probs: np.ndarray, right: bool, count: int) -> np.ndarray:
    """Indices of answers to show: the surest mistakes, the surest first; or right ones, evenly from sure to unsure.

    Args:
        labels: int [N].
        probs: float [N, C].
        right: which of the two.
        count: how many, at most.
    """
    found = np.flatnonzero((probs.argmax(1) == labels) == right)
    found = found[np.argsort(-probs[found].max(1), kind="stable")]
    if not right:
        return found[:count]
    return found[np.unique(np.linspace(0, len(found) - 1, count).astype(int))] if len(found) else found


def format_spread(seeds: list[int], rows: list[dict]) -> str:
    """What each seed's run reached, and mean and standard deviation (n - 1), as an aligned table in percent.

    Args:
        seeds: the seeds.
        rows: a dict a seed; of what `_SPREAD` names, those that all of them have are shown.
    """
    names = [name for name in _SPREAD if all(row.get(name) is not None for row in rows)]
    values = 100 * np.array([[row[name] for name in names] for row in rows])
    lines = ["seed" + "".join(f"  {_SPREAD[name]:>14}" for name in names)]
    labeled = [(str(seed), row) for seed, row in zip(seeds, values, strict=True)] + [("mean", values.mean(0))]
    if len(rows) > 1:
        labeled.append(("sd", values.std(0, ddof=1)))
    return "\n".join(
        [*lines, *(f"{label:>4}" + "".join(f"  {value:13.3f}%" for value in row) for label, row in labeled)]
    )


def _ratio(part, whole):
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
