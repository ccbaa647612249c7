"""Classification metrics from a confusion matrix."""

import numpy as np

from digits.text import columns, pad, percent, shorten

_SPREAD_HEADERS = {  # metrics in the table over seeds, and their column headers
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "coverage": "trusted",
    "accepted_error": "trusted, wrong",
    "ece": "ECE",
}


def confusion_matrix(labels: np.ndarray, preds: np.ndarray, num_classes: int) -> np.ndarray:
    """Count labels int [N] by predictions int [N]: int [num_classes, num_classes], row = true class."""
    counts = np.bincount(labels * num_classes + preds, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def summarize(confusion: np.ndarray) -> dict:
    """Compute metrics from a confusion matrix, as scikit-learn defines them; 0/0 counts as 0 (zero_division=0).

    Args:
        confusion: int [C, C], row = true class, column = predicted class.

    Returns:
        `images`: their number. `accuracy`: the share classified correctly. `precision`, `recall`: unweighted means
        over the classes that occur among labels or predictions. `f1`: the harmonic mean of these two means. `macro_f1`:
        the unweighted mean of the F1 of each class, never above `f1` (Opitz and Burst 2019, "Macro F1 and Macro F1").
        `per_class`: list of C dicts with `images precision recall f1`; the recall of a class is its accuracy.
    """
    correct = np.diag(confusion)
    support, predicted = confusion.sum(1), confusion.sum(0)
    precision, recall = _ratio(correct, predicted), _ratio(correct, support)
    f1 = _ratio(2 * correct, support + predicted)
    occurs = support + predicted > 0
    mean_precision, mean_recall, mean_f1 = (
        float(values[occurs].mean()) if occurs.any() else 0.0 for values in (precision, recall, f1)
    )
    rows = zip(support, precision, recall, f1, strict=True)
    return {
        "images": int(support.sum()),
        "accuracy": float(_ratio(correct.sum(), support.sum())),
        "precision": mean_precision,
        "recall": mean_recall,
        "f1": float(_ratio(2 * mean_precision * mean_recall, mean_precision + mean_recall)),
        "macro_f1": mean_f1,
        "per_class": [
            {"images": int(n), "precision": float(p), "recall": float(r), "f1": float(f)} for n, p, r, f in rows
        ],
    }


def score(logits: np.ndarray, labels: np.ndarray, loss: str = "cross_entropy") -> dict:
    """Compute the loss and the metrics of `summarize`.

    Args:
        logits: float [N, C].
        labels: int [N].
        loss: `"cross_entropy"` or `"mse"`.
    """
    confusion = confusion_matrix(labels, logits.argmax(1), logits.shape[1])
    loss_function = {"cross_entropy": cross_entropy, "mse": mean_squared_error}[loss]
    return {"loss": loss_function(logits, labels), **summarize(confusion)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Logits [N, C] -> probabilities [N, C]."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Logits [N, C] -> logarithm of the sum of their exponentials [N]."""
    top = logits.max(1, keepdims=True)
    return np.log(np.exp(logits - top).sum(1)) + top[:, 0]


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood, in nats, of labels int [N] under logits float [N, C]."""
    return float((log_sum_exp(logits) - logits[np.arange(len(labels)), labels]).mean())


def mean_squared_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images and classes of (softmax of logits float [N, C] - one-hot labels int [N])^2 (Brier 1950)."""
    return float(((softmax(logits) - np.eye(logits.shape[1])[labels]) ** 2).mean())


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Compute the area under the ROC curve: how often a known image scores above an unknown one; ties count half.

    Args:
        known: float [n], scores of images of the classes.
        unknown: float [m], scores of images outside the classes.
    """
    ordered = np.sort(unknown)
    below, not_above = (np.searchsorted(ordered, known, side) for side in ("left", "right"))
    return float((below + not_above).mean() / 2 / len(unknown))


def oscr(correct: np.ndarray, known: np.ndarray, unknown: np.ndarray) -> float:
    """Compute the area under the open-set classification rate curve (Dhamija et al. 2018, section 4).

    It is the AUROC in which a misclassified image of the classes ranks below every unknown one: at most the accuracy.

    Args:
        correct: bool [n], whether each image of the classes was classified correctly.
        known, unknown: scores as for `auroc`.
    """
    return auroc(np.where(correct, known, -np.inf), unknown)


def format_report(metrics: dict, classes: list[str]) -> str:
    """Format the metrics of `summarize` as an aligned table: one row per class, the means, the accuracy."""
    classes = shorten(classes)
    width = max(len("all"), *map(columns, classes))
    lines = [f"{'':{width}}  images  precision  recall      F1"]
    for name, row in zip(classes, metrics["per_class"], strict=True):
        values = ["-"] * 3  # without images of the class
        if row["images"]:
            values = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
        lines.append(
            f"{pad(name, width, right=True)}  {row['images']:6d}  {values[0]:>9}  {values[1]:>6}  {values[2]:>6}"
        )
    means = [f"{metrics[key]:.4f}" for key in ("precision", "recall", "macro_f1")]
    lines.append(f"{'all':>{width}}  {metrics['images']:6d}  {means[0]:>9}  {means[1]:>6}  {means[2]:>6}")
    wrong = round(metrics["images"] * (1 - metrics["accuracy"]))
    lines.append(f"accuracy {percent(metrics['accuracy'])}: {wrong:,} of {metrics['images']:,} images wrong")
    return "\n".join(lines)


def format_confusions(confusion: np.ndarray, classes: list[str], pairs: int = 5) -> str:
    """Format the confusion matrix (omitted for more than 15 classes) and the most frequent confusions.

    Args:
        confusion: int [C, C], row = true class, column = predicted class.
        classes: the class names.
        pairs: number of confusions to list.
    """
    lines, classes = [], shorten(classes)
    if len(classes) <= 15:
        width = max(len("true, read as"), *map(columns, classes))
        widths = [max(5, columns(name)) for name in classes]
        lines.append(f"{'true, read as':{width}}{_format_cells(classes, widths)}")
        lines += [
            f"{pad(name, width, right=True)}{_format_cells(row, widths)}"
            for name, row in zip(classes, confusion, strict=True)
        ]
    mistakes = confusion - np.diag(np.diag(confusion))
    for index in np.argsort(-mistakes, axis=None, kind="stable")[:pairs]:
        label, pred = divmod(int(index), len(classes))
        count, images = mistakes[label, pred], confusion[label].sum()
        if count:
            rate, share = percent(count / images, 1), f"{count / mistakes.sum():.0%} of all mistakes"
            lines.append(f"{classes[label]} read as {classes[pred]}: {count:,} of {images:,} ({rate}), {share}")
    return "\n".join(lines)


def choose_examples(labels: np.ndarray, probs: np.ndarray, correct: bool, count: int) -> np.ndarray:
    """Choose predictions to show, in order of decreasing confidence; returns their indices.

    Args:
        labels: int [N].
        probs: float [N, C].
        correct: correct predictions, evenly spread over the confidences; or the mistakes with the highest confidence.
        count: maximum number.
    """
    found = np.flatnonzero((probs.argmax(1) == labels) == correct)
    found = found[np.argsort(-probs[found].max(1), kind="stable")]
    if not correct:
        return found[:count]
    return found[np.unique(np.linspace(0, len(found) - 1, count).astype(int))] if len(found) else found


def format_spread(seeds: list[int], rows: list[dict]) -> str:
    """Format the metrics of one run per seed, with mean and standard deviation (n - 1), as a table in percent.

    Args:
        seeds: the seed of each run.
        rows: the metrics of each run; the table shows the keys of `_SPREAD_HEADERS` that all runs have.
    """
    names = [name for name in _SPREAD_HEADERS if all(row.get(name) is not None for row in rows)]
    values = 100 * np.array([[row[name] for name in names] for row in rows])
    lines = ["seed" + "".join(f"  {_SPREAD_HEADERS[name]:>14}" for name in names)]
    table = [*zip(map(str, seeds), values, strict=True), ("mean", values.mean(0))]
    if len(rows) > 1:
        table.append(("sd", values.std(0, ddof=1)))
    lines += [f"{name:>4}" + "".join(f"  {value:13.3f}%" for value in row) for name, row in table]
    return "\n".join(lines)


def _format_cells(cells, widths):
    return "".join(f"  {pad(str(cell), width, right=True)}" for cell, width in zip(cells, widths, strict=True))


def _ratio(numerator, denominator):
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95% interval of a probability of which `count` of `total` trials came true (Wilson 1927)."""
    z = 1.959964
    middle, spread = (count + z**2 / 2) / (total + z**2), z * np.sqrt(count * (total - count) / total + z**2 / 4)
    return middle - spread / (total + z**2), middle + spread / (total + z**2)
