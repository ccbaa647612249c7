"""What a trained run is worth: which of its answers can be trusted, and, once, what it reaches on the test set."""

import json
from pathlib import Path

import calibration
import plots
from atomic import replacing
from calibration import Calibration
from checkpoint import load_checkpoint, save_meta
from classifier import load_network
from config import Config
from data import load_mnist, to_input
from metrics import format_report, score
from model import predict_logits

MEANINGS_FILE = Path("outputs") / "data.json"


def calibrate(config: Config, val_set: tuple, calibration_set: tuple, out: Path) -> None:
    """Find from which confidence on the kept epoch's answers are trusted; into `best.json`, printed and drawn.

    A run that has its test figures keeps what they were measured by.

    Args:
        config: the run's settings.
        val_set: images uint8 [N, 28, 28] and labels int64 [N].
        calibration_set: the same.
        out: the run's folder.
    """
    best = load_checkpoint(out)
    model, _ = load_network(best)
    if "test" not in best.meta["metrics"]:
        val, held = ((predict_logits(model, to_input(images)), labels) for images, labels in (val_set, calibration_set))
        found = calibration.calibrate(val, held, config.trusted_level, config.max_error, config.delta)
        trust = Calibration.read(found)
        best.meta["calibration"] = found
        best.meta["metrics"]["val"] |= calibration.measure(trust, *val)
        save_meta(best.path, best.meta)
        title = f"{out}: {len(held[1]):,} calibration images"
        plots.save(plots.trust(*calibration.trust_curves(trust, *held), title), out / "trust.png")
    print(f"\n{calibration.format_calibration(best.meta['calibration'])}")
    print(f"val: {calibration.format_trust(best.meta['metrics']['val'])}")


def report(data_dir: str, out: Path, limit: int | None = None) -> None:
    """Measure the kept epoch on the test set, print it, and add it to `best.json`. Nothing else here reads test images.

    A run that has its figures keeps them.

    Args:
        data_dir: where the images are, see `load_mnist`.
        out: the run's folder.
        limit: read no more images than this.
    """
    best = load_checkpoint(out)
    model, _ = load_network(best)
    metrics = best.meta["metrics"]
    if "test" not in metrics:
        images, labels = (part[:limit] for part in load_mnist("test", data_dir))
        logits = predict_logits(model, to_input(images))
        metrics["test"] = score(logits, labels, best.meta["config"]["loss"])
        if "calibration" in best.meta:
            metrics["test"] |= calibration.measure(Calibration.read(best.meta["calibration"]), logits, labels)
        save_meta(best.path, best.meta)
    print(f"\ntest set, weights of epoch {best.meta['epoch']} (val: {metrics['val']['accuracy']:.2%})\n")
    print(format_report(metrics["test"], best.meta["classes"]))
    if "coverage" in metrics["test"]:
        print(calibration.format_trust(metrics["test"]))


def write_meanings(out: Path) -> None:
    """Write the numbers of the run's calibration, if it has one, to `outputs/data.json`, each with its meaning."""
    found = load_checkpoint(out).meta.get("calibration")
    if not found:
        return
    with replacing(MEANINGS_FILE) as temporary:
        explained = {"checkpoint": str(out), **calibration.explain(found)}
        temporary.write_text(json.dumps(explained, indent=2) + "\n", encoding="utf-8")
    print(f"\nwhat these numbers mean: {MEANINGS_FILE}")
