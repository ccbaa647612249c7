"""What a trained run is worth: which of its answers can be trusted, and, once, what it reaches on the test set."""

import json
from pathlib import Path

from digits.config import Config
from digits.data.image_files import input_batches
from digits.data.splits import Dataset, has_class_folders, load_test
from digits.evaluation import calibration, plots
from digits.evaluation.calibration import Calibration
from digits.evaluation.metrics import confusion_matrix, format_confusions, format_report, score, softmax
from digits.files import replacing
from digits.networks.checkpoint import load_checkpoint, save_meta
from digits.networks.registry import load_network, predict_logits

MEANINGS_FILE = Path("outputs") / "data.json"


def calibrate(config: Config, sets: Dataset, out: Path) -> None:
    """Find from which confidence on the kept epoch's answers are trusted; into `best.json`, printed and drawn.

    A run that has its test figures keeps what they were measured by.

    Args:
        config: the run's settings.
        sets: the images, of which val and calibration are used.
        out: the run's folder.
    """
    best = load_checkpoint(out)
    model, _ = load_network(best)
    if "test" not in best.meta["metrics"]:
        val, held = (
            (predict_logits(model, input_batches(images)), labels) for images, labels in (sets.val, sets.calibration)
        )
        found = calibration.calibrate(val, held, config.trusted_level, config.max_error, config.delta)
        trust = Calibration.read(found)
        best.meta["calibration"] = found
        best.meta["metrics"]["val"] |= calibration.measure(trust, *val)
        save_meta(best.path, best.meta)
        title = f"{out}: {len(held[1]):,} calibration images"
        plots.save(plots.trust(*calibration.trust_curves(trust, *held), title), out / "trust.png")
    print(f"\n{calibration.format_calibration(best.meta['calibration'])}")
    print(f"val: {calibration.format_trust(best.meta['metrics']['val'])}")


def report(config: Config, sets: Dataset, out: Path, limit: int | None = None) -> None:
    """Measure the kept epoch on the test set, print it, and add it to `best.json`. Nothing else here reads test images.

    Of class folders also which classes are taken for which, printed and drawn, and pictures read right and wrong. Where
    there is no test set, that is of val. A run that has its figures keeps them.

    Args:
        config: the run's settings.
        sets: the images, of which val stands in for a test set that is not there.
        out: the run's folder.
        limit: read no more test images than this.
    """
    best = load_checkpoint(out)
    model, classes = load_network(best)
    metrics = best.meta["metrics"]
    if "test" not in metrics:
        test = load_test(config, limit)
        images, labels = test or sets.val
        logits = predict_logits(model, input_batches(images))
        trust = Calibration.read(best.meta["calibration"]) if "calibration" in best.meta else None
        measured = score(logits, labels, config.loss) | (calibration.measure(trust, logits, labels) if trust else {})
        if test:
            metrics["test"] = measured
        else:
            metrics |= {"val": measured, "test": None}
        if has_class_folders(config.data_dir):
            probs = trust.probs(logits) if trust else softmax(logits)
            _show_answers(images, labels, probs, classes, f"{out}, {'test' if test else 'val'}", out)
        save_meta(best.path, best.meta)
    tested = metrics["test"] is not None
    epoch = f"weights of epoch {best.meta['epoch']}"
    said = f"test set, {epoch} (val: {metrics['val']['accuracy']:.2%})"
    print(f"\n{said if tested else f'val, which has chosen the {epoch} (there is no test set)'}\n")
    shown = metrics["test" if tested else "val"]
    print(format_report(shown, classes))
    if "coverage" in shown:
        print(calibration.format_trust(shown))


def _show_answers(images, labels, probs, classes, title, out):
    """Cross table and costliest confusions, printed; the table, and sheets of right and wrong answers, into `out`."""
    confusion = confusion_matrix(labels, probs.argmax(1), len(classes))
    print(f"\n{format_confusions(confusion, classes)}")
    plots.save(plots.confusion(confusion, classes, title), out / "confusion.png")
    for name, figure in plots.answers(images, labels, probs, classes, title).items():
        plots.save(figure, out / f"{name}.png")


def write_meanings(out: Path) -> None:
    """Write the numbers of the run's calibration, if it has one, to `outputs/data.json`, each with its meaning."""
    found = load_checkpoint(out).meta.get("calibration")
    if not found:
        return
    with replacing(MEANINGS_FILE) as temporary:
        explained = {"checkpoint": str(out), **calibration.explain(found)}
        temporary.write_text(json.dumps(explained, indent=2) + "\n", encoding="utf-8")
    print(f"\nwhat these numbers mean: {MEANINGS_FILE}")
