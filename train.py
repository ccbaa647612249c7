"""Train a network from a YAML config; keep the epoch that is best on val, and report the test set once, at the end.

python train.py                                    configs/lenet.yaml into checkpoints/lenet
python train.py configs/tutorial.yaml --epochs 2   any setting is a flag
python train.py configs/lenet.yaml --resume        go on with a run that was stopped
"""

import math
import shlex
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np

from runtime import DEVICES, choose_device, tune_cpu

tune_cpu()  # before paddle is imported: that is when MKL reads it

import paddle
import paddle.nn.functional as F
from paddle.hapi.progressbar import ProgressBar

import plots
from augment import augment
from checkpoint import load_checkpoint, load_weights, save_meta
from config import FIELDS, Config, add_flags, load_config, read_settings
from data import CLASSES, load_mnist, shuffled_batches, split_train_val, to_input
from errors import ArgumentParser, RunError, run
from metrics import confusion_matrix, cross_entropy, format_report, summarize
from model import build_model, count_parameters, predict_logits
from optim import WeightAverage, make_optimizer, make_schedule
from run_folder import (
    best_epoch,
    check_free,
    find_run,
    load_history,
    load_progress,
    new_run,
    save_progress,
    save_weights,
)

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "lenet.yaml"
EXAMPLE = "examples/7_scan.png"


def main(argv: list[str] | None = None) -> None:
    args, overrides = _parse(argv)
    path = args.config or DEFAULT_CONFIG
    if args.summary:
        paddle.summary(_build(load_config(path, overrides)), (1, 1, 28, 28))
        return
    device = choose_device(args.device)
    if args.resume:
        out, config = find_run(Path(path).stem, args.out, read_settings(args.config, overrides))
    else:
        config = load_config(path, overrides)
        check_free(args.out)
    if args.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            sets = load_sets(config, limit=config.batch_size)
            fit_and_report(replace(config, epochs=1), *sets, Path(folder), limit=config.batch_size)
        print("\ndry run: every part works, nothing was kept")
        return
    sets = load_sets(config)
    print(f"{config.to_yaml()}device: {device}\nparameters: {count_parameters(_build(config)):,}", flush=True)
    if not args.resume:
        out = new_run(config, Path(path).stem, args.out)
    print(f"run: {out}\n", flush=True)
    try:
        fit_and_report(config, *sets, out, args.resume)
    except KeyboardInterrupt:
        done = len(load_history(out))
        go_on = ["python", "train.py", "--resume", "--out", str(out)]
        go_on += ["--device", args.device] if args.device != "auto" else []
        print(f"\nstopped; {done} of {config.epochs} epochs are kept; go on with\n{shlex.join(go_on)}", file=sys.stderr)
        sys.exit(130)
    print(f"\npython predict.py {EXAMPLE} --checkpoint {shlex.quote(str(out))}")


def load_sets(config: Config, limit: int | None = None) -> tuple[tuple, tuple]:
    """Load the training images and split them.

    Args:
        config: the run's settings.
        limit: keep no more images than this of each part.

    Returns:
        The train part and the val part, each images uint8 [N, 28, 28] and labels int64 [N].
    """
    images, labels = load_mnist("train", config.data_dir)
    parts = split_train_val(labels, config.val_fraction, config.seed)
    train_set, val_set = ((images[part[:limit]], labels[part[:limit]]) for part in parts)
    print(f"images: {len(train_set[1]):,} train, {len(val_set[1]):,} val", flush=True)
    return train_set, val_set


def fit_and_report(
    config: Config, train_set: tuple, val_set: tuple, out: Path, resume: bool = False, limit: int | None = None
) -> None:
    """Train, draw the curves, and report the test set; arguments as `fit` and `report` have them."""
    history = fit(config, train_set, val_set, out, resume)
    plots.save(plots.curves(history, best_epoch(history), title=out.name), out / "curves.png")
    report(config, out, limit)


def fit(config: Config, train_set: tuple, val_set: tuple, out: Path, resume: bool = False) -> list[dict]:
    """Train, writing `best` and `last` to `out` after each epoch.

    Args:
        config: the run's settings.
        train_set: images uint8 [N, 28, 28] and labels int64 [N] to fit.
        val_set: the same, to choose the epoch by.
        out: the run's folder.
        resume: go on from `out/last.pdopt`, to the same weights bit for bit as if the run had never stopped.

    Returns:
        A dict an epoch: `epoch learning_rate train_loss train_accuracy val_loss val_accuracy seconds`.

    Raises:
        RunError: the loss is no longer a finite number.
    """
    # The optimizer keys its state by generated names: the guard makes them the same in every run of one process.
    with paddle.utils.unique_name.guard():
        paddle.seed(config.seed)
        model = _build(config)
        schedule = make_schedule(config, steps_per_epoch=math.ceil(len(train_set[1]) / config.batch_size))
        optimizer = make_optimizer(config, schedule, model)
        average = WeightAverage(model, config.ema_decay)
        history = []
        if resume:
            history = load_progress(out, model, optimizer, average)
        else:
            save_progress(out, model, optimizer, average, history)

        print(_HEADER, *map(_row, history), sep="\n", flush=True)
        for epoch in range(len(history) + 1, config.epochs + 1):
            if config.patience and history and epoch - 1 - _lowest_val_loss(history) >= config.patience:
                print(f"stopped early: the val loss has not fallen for {config.patience} epochs")
                break
            started = time.perf_counter()
            train_loss, train_accuracy = train_epoch(config, epoch, model, optimizer, schedule, average, train_set)
            with average.applied(model):
                logits = predict_logits(model, to_input(val_set[0]))
                row = {
                    "epoch": epoch,
                    "learning_rate": schedule.get_lr(),
                    "train_loss": train_loss,
                    "train_accuracy": train_accuracy,
                    "val_loss": cross_entropy(logits, val_set[1]),
                    "val_accuracy": float((logits.argmax(1) == val_set[1]).mean()),
                    "seconds": time.perf_counter() - started,
                }
                history.append(row)
                save_weights(out, model, config, list(CLASSES), history)
            save_progress(out, model, optimizer, average, history)
            print(_row(row) + ("  best" if best_epoch(history) == epoch else ""), flush=True)
    return history


def train_epoch(config, epoch, model, optimizer, schedule, average, train_set) -> tuple[float, float]:
    """One pass over the training images, in an order that (seed, epoch) alone decides; mean loss and accuracy."""
    images, labels = train_set
    rng = np.random.default_rng([config.seed, epoch])
    paddle.seed(int(rng.integers(2**31)))  # for dropout
    bar = _ProgressBar(math.ceil(len(labels) / config.batch_size))
    total_loss = right = 0
    for step, batch in enumerate(shuffled_batches(len(labels), config.batch_size, rng), 1):
        targets = labels[batch]
        augmented = augment(images[batch], rng, config.rotation, config.scale, config.shear, config.shift)
        x = paddle.to_tensor(to_input(augmented))  # [B, 1, 28, 28]
        y = paddle.to_tensor(targets)  # [B]

        logits = model(x)
        loss = F.cross_entropy(logits, y, label_smoothing=config.label_smoothing)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        schedule.step()
        average.update(model)

        loss = loss.item()
        if not math.isfinite(loss):
            raise RunError(f"the loss is {loss} in epoch {epoch}, step {step}; try a lower learning_rate")
        total_loss += loss * len(batch)
        right += int((logits.numpy().argmax(1) == targets).sum())
        bar.update(step, loss)
    bar.clear()
    return total_loss / len(labels), right / len(labels)


def report(config: Config, out: Path, limit: int | None = None) -> None:
    """Measure the best epoch on the test set, print it, and add it to `best.json`. Nothing else here reads test images.

    A run that has its figures keeps them.

    Args:
        config: the run's settings.
        out: the run's folder.
        limit: read no more images than this.
    """
    best = load_checkpoint(out)
    metrics = best.meta["metrics"]
    if "test" not in metrics:
        images, labels = (part[:limit] for part in load_mnist("test", config.data_dir))
        model = _build(config)
        load_weights(model, best.weights, best.path)
        logits = predict_logits(model, to_input(images))
        confusion = confusion_matrix(labels, logits.argmax(1), len(CLASSES))
        metrics["test"] = {"loss": cross_entropy(logits, labels), **summarize(confusion)}
        save_meta(best.path, best.meta)
    print(f"\ntest set, weights of epoch {best.meta['epoch']} (the best on val: {metrics['val']['accuracy']:.2%})\n")
    print(format_report(metrics["test"], best.meta["classes"]))


_HEADER = "epoch  learning rate  train loss  accuracy  val loss  accuracy  seconds"


def _row(row):
    return (
        f"{row['epoch']:5d}  {row['learning_rate']:13.6f}  {row['train_loss']:10.4f}  {row['train_accuracy']:8.2%}"
        f"  {row['val_loss']:8.4f}  {row['val_accuracy']:8.2%}  {row['seconds']:7.1f}"
    )


class _ProgressBar:
    """Paddle's progress bar on stderr where that is a terminal; the epoch's row takes its place."""

    def __init__(self, steps):
        self.bar = ProgressBar(steps, name="step") if sys.stderr.isatty() else None

    def update(self, step, loss):
        if self.bar and step % 10 == 0:
            with redirect_stdout(sys.stderr):
                self.bar.update(step, [("loss", loss)])

    def clear(self):
        if self.bar:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _parse(argv):
    parser = ArgumentParser(prog="train.py", description=__doc__)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML file [configs/lenet.yaml]")
    add = parser.add_argument
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the run [checkpoints/<name of the config>, numbered if taken]",
    )
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--resume", action="store_true", help="go on with the run in --out [the newest of this config], as it was set")
    add("--dry-run", action="store_true", help="one batch of everything, and keep nothing")
    add("--summary", action="store_true", help="print the layers and their parameters, and stop")
    add_flags(parser)
    args = parser.parse_args(argv)
    return args, {name: value for name, value in vars(args).items() if name in FIELDS}


def _build(config):
    return build_model(config.model, len(CLASSES), activation=config.activation)


def _lowest_val_loss(history):
    return min(history, key=lambda row: row["val_loss"])["epoch"]


if __name__ == "__main__":
    run(main)
