"""What a run prints and saves at its start and at its end: settings, calibration, and, once, the test metrics."""

import json
from pathlib import Path

import paddle

from digits.cli import InputError
from digits.config import Config
from digits.data.image_files import input_batches
from digits.data.splits import Dataset, has_class_folders, load_test
from digits.evaluation import calibration, plots, trust_report
from digits.evaluation.calibration import Calibration
from digits.evaluation.metrics import confusion_matrix, format_confusions, format_report, format_spread, score, softmax
from digits.files import replacing
from digits.networks.checkpoint import load_checkpoint, save_meta
from digits.networks.registry import count_parameters, load_network, predict_logits
from digits.text import percent
from digits.training.batches import has_non_digits
from digits.training.history import kept_epoch, overfit_epoch
from digits.training.run_folder import CURVES, MEANINGS_FILE, Run


def announce(run: Run, network: paddle.nn.Layer) -> None:
    """Print the settings that differ from the defaults, the device, the parameters and the run's folder."""
    changed = run.config.changed()
    width = max(map(len, changed), default=0)
    print("settings that differ from the defaults:" if changed else "settings: the defaults")
    for name, value in changed.items():
        print(f"  {name:{width}}  {value}")
    trained, parameters = count_parameters(network), count_parameters(network, frozen=True)
    print(f"device: {paddle.device.get_device()}\nparameters: {parameters:,}", end="")
    print(f", of which {trained:,} are trained" if trained < parameters else "")
    print(f"run: {run.out}\n", flush=True)


def report_run(run: Run, data: Dataset, history: list[dict]) -> None:
    """Calibrate, report the test set, and draw the curves."""
    config, out = run.config, run.out
    if data.calibration:
        calibrate(config, data, out)
    report_test(config, data, out, run.limit)
    overfit = overfit_epoch(history, config.patience)
    curves = plots.curves(history, kept_epoch(history, config.keep), str(out), overfit, config.loss)
    plots.save(curves, out / CURVES)
    if run.limit is None:
        write_meanings(out)


def calibrate(config: Config, data: Dataset, out: Path) -> None:
    """Calibrate the kept epoch on val and the calibration images; save to `best.json`, print and draw.

    A run that has its test metrics already keeps the calibration they were measured with.
    """
    best = load_checkpoint(out)
    network, _ = load_network(best)
    if "test" not in best.meta["metrics"]:
        val, held_out = (
            (predict_logits(network, input_batches(images)), labels) for images, labels in (data.val, data.calibration)
        )
        levels = (config.trusted_level, config.max_error, config.delta, config.candidates_level)
        found = calibration.calibrate(val, held_out, *levels, reject_class=has_non_digits(config, data.classes))
        best.meta["calibration"] = found
        trust = Calibration.load(best)
        best.meta["metrics"]["val"] |= calibration.measure(trust, *val)
        save_meta(best.path, best.meta)
        title = f"{out}: {len(held_out[1]):,} calibration images"
        plots.save(plots.trust(*calibration.trust_curves(trust, *held_out), title), out / "trust.png")
    print(f"\n{trust_report.format_calibration(best.meta['calibration'])}")
    print(f"val: {trust_report.format_trust(best.meta['metrics']['val'])}")


def report_test(config: Config, data: Dataset, out: Path, limit: int | None = None) -> None:
    """Measure the kept epoch on the test set, once; print, and save to `best.json`. Only this reads test images.

    For class folders also print and draw the confusion matrix, and draw sheets of right and wrong predictions. Val
    stands in for a missing test set. A run that has its metrics already keeps them.

    Args:
        config: the run's settings.
        data: the images.
        out: the run's folder.
        limit: read at most this many test images.
    """
    best = load_checkpoint(out)
    network, classes = load_network(best)
    metrics = best.meta["metrics"]
    if "test" not in metrics:
        test = load_test(config, limit)
        images, labels = test or data.val
        logits = predict_logits(network, input_batches(images))
        trust = Calibration.load(best)
        measured = score(logits, labels, config.loss) | (calibration.measure(trust, logits, labels) if trust else {})
        if test:
            metrics["test"] = measured
        else:
            metrics |= {"val": measured, "test": None}
        if has_class_folders(config.data_dir):
            probs = trust.probs(logits) if trust else softmax(logits)
            _show_predictions(images, labels, probs, classes, f"{out}, {'test' if test else 'val'}", out)
        save_meta(best.path, best.meta)
    epoch = f"weights of epoch {best.meta['epoch']}"
    if metrics["test"]:
        print(f"\ntest set, {epoch} (val: {percent(metrics['val']['accuracy'])})\n")
    else:
        print(f"\nvalidation set, also used to choose the {epoch} (no test set)\n")
    shown = metrics["test"] or metrics["val"]
    if len(shown.get("per_class", ())) != len(classes):
        raise InputError(f"checkpoint {best.path}: its description has metrics of other classes; restore the file")
    print(format_report(shown, classes))
    if "coverage" in shown:
        print(trust_report.format_trust(shown))


def report_seeds(runs: list[Run]) -> None:
    """Print the metrics of each seed's run, with mean and standard deviation."""
    metrics = [load_checkpoint(run.out).meta["metrics"] for run in runs]
    part = "test" if all(row["test"] for row in metrics) else "val"
    table = format_spread([run.config.seed for run in runs], [row[part] for row in metrics])
    print(f"\n{runs[0].name} on {'the test set' if part == 'test' else 'val'}\n\n{table}")


def write_meanings(out: Path) -> None:
    """Write the numbers of the run's calibration, if it has one, each with its meaning, to `outputs/data.json`."""
    found = load_checkpoint(out).meta.get("calibration")
    if not found:
        return
    with replacing(MEANINGS_FILE) as temporary:
        explained = {"checkpoint": str(out), **trust_report.explain(found)}
        temporary.write_text(json.dumps(explained, indent=2) + "\n", encoding="utf-8")
    print(f"\nwhat these numbers mean: {MEANINGS_FILE}")


def _show_predictions(images, labels, probs, classes, title, out):
    confusion = confusion_matrix(labels, probs.argmax(1), len(classes))
    print(f"\n{format_confusions(confusion, classes)}")
    plots.save(plots.confusion(confusion, classes, title), out / "confusion.png")
    for name, figure in plots.prediction_sheets(images, labels, probs, classes, title).items():
        plots.save(figure, out / f"{name}.png")
