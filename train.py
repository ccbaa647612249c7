"""Train a network from a YAML config; keep the last epoch or the best on val; report the test set once, at the end.

python train.py                                    configs/lenet.yaml into checkpoints/lenet
python train.py configs/tutorial.yaml --epochs 2   any setting is a flag
python train.py configs/lenet.yaml --resume        go on with a run that was stopped
python train.py configs/lenet.yaml --seeds 0 1 2   a run each (those finished are kept), mean and standard deviation
python train.py configs/extended.yaml --fine-tune checkpoints/shipped/extended --extra inputs/mine     learn a hand
"""

import math
import shlex
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from runtime import DEVICES, choose_device, tune_cpu

tune_cpu()  # before paddle is imported: that is when MKL reads it

import paddle
import paddle.nn.functional as F
from paddle.hapi.progressbar import ProgressBar

import plots
from atomic import output_file
from augment import AMOUNTS, augment
from checkpoint import load_checkpoint, load_weights
from config import FIELDS, Config, add_flags, load_config, read_settings
from data import CLASSES, shuffled_batches, to_input
from errors import ArgumentParser, InputError, RunError, run
from metrics import format_spread, score
from model import build_model, count_parameters, options_of, predict_logits
from optim import WeightAverage, make_optimizer, make_schedule
from report import MEANINGS_FILE, calibrate, report, write_meanings
from run_folder import (
    RUNS,
    check_free,
    find_run,
    is_reported,
    kept_epoch,
    load_history,
    load_progress,
    new_run,
    overfit_epoch,
    reason_to_stop,
    save_progress,
    save_weights,
)
from training_data import TARGETS, load_sets, make_beside

METRICS = ("loss", "accuracy", "precision", "recall", "macro_f1", "f1")  # of each epoch
# The schedule of a YAML file is for weights of chance. With --fine-tune these settings count over it, and flags over
# these.
_FINE_TUNING = {"epochs": 1, "learning_rate": 0.0003, "schedule": "cosine", "ema_decay": 0.99, "keep": "last"}
_NEW_SHARE = 0.9  # of the fine-tuned weights, in the mean with the old ones that is kept

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "lenet.yaml"
EXAMPLE = "examples/7_scan.png"


def main(argv: list[str] | None = None) -> None:
    args, overrides = _parse(argv)
    path = args.config or DEFAULT_CONFIG
    if args.summary:
        paddle.summary(_build(load_config(path, overrides)), (1, 1, 28, 28))
        return
    choose_device(args.device)
    if args.seeds:
        train_seeds(args.seeds, Path(path), overrides, args.out or RUNS / f"{Path(path).stem}-seeds", args.device)
        return
    out = args.out
    name = Path(path).stem + ("-fine-tuned" if "fine_tune" in overrides else "")
    if args.resume:
        stated = read_settings(None if "fine_tune" in overrides else args.config, overrides)  # see _load_config
        out, config = find_run(name, out, stated)
    else:
        config = _load_config(path, overrides)
        check_free(out)
    if args.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            sets = load_sets(config, limit=config.batch_size)
            fit_and_report(replace(config, epochs=1), *sets, Path(folder), limit=config.batch_size)
        print("\ndry run: every part works, nothing was kept")
        return
    out = train_run(config, name, out, args.resume, args.device)
    print(f"\npython predict.py {EXAMPLE} --checkpoint {shlex.quote(str(out))}")


def train_run(config: Config, name: str, out: Path | None, resume: bool, device: str) -> Path:
    """A whole run, as `main` describes it; returns its folder. Ctrl-C ends the process with how to go on."""
    sets = load_sets(config)
    parameters = count_parameters(_build(config))
    output_file(MEANINGS_FILE)
    print(f"{config.to_yaml()}device: {paddle.device.get_device()}\nparameters: {parameters:,}", flush=True)
    if not resume:
        out = new_run(config, name, out)
    print(f"run: {out}\n", flush=True)
    try:
        fit_and_report(config, *sets, out, resume)
    except KeyboardInterrupt:
        done = len(load_history(out))
        go_on = ["python", "train.py", "--resume", "--out", str(out)]
        go_on += ["--device", device] if device != "auto" else []
        print(f"\nstopped; {done} of {config.epochs} epochs are kept; go on with\n{shlex.join(go_on)}", file=sys.stderr)
        sys.exit(130)
    write_meanings(out)
    return out


def train_seeds(seeds: list[int], path: Path, overrides: dict, base: Path, device: str) -> None:
    """A run for each seed in `base/<seed>`, those there gone on with or kept; prints what they reach and the spread."""
    runs = []
    for seed in seeds:  # all is checked before the first of them starts
        out = base / str(seed)
        resume = (out / "last.pdopt").exists()
        config = _load_config(path, overrides | {"seed": str(seed)})
        if resume:
            find_run(path.stem, out, asdict(config))
        else:
            check_free(out)
        runs.append((config, out, resume))
    for config, out, resume in runs:
        if not is_reported(out):
            train_run(config, path.stem, out, resume, device)
    rows = [load_checkpoint(out).meta["metrics"]["test"] for _, out, _ in runs]
    print(f"\n{path.stem} on the test set\n\n{format_spread(seeds, rows)}")


def fit_and_report(
    config: Config,
    train_set: tuple,
    val_set: tuple,
    calibration_set: tuple,
    extra_set: tuple | None,
    out: Path,
    resume: bool = False,
    limit: int | None = None,
) -> None:
    """Train, draw the curves, calibrate, and report the test set; arguments as the functions for these have them."""
    history = fit(config, train_set, val_set, out, resume, extra_set)
    overfit = overfit_epoch(history, config.patience)
    plots.save(plots.curves(history, kept_epoch(history, config.keep), str(out), overfit), out / "curves.png")
    if len(calibration_set[1]):
        calibrate(config, val_set, calibration_set, out)
    report(config.data_dir, out, limit)


def fit(
    config: Config, train_set: tuple, val_set: tuple, out: Path, resume: bool = False, extra_set: tuple | None = None
) -> list[dict]:
    """Train, writing `best` and `last` to `out` after each epoch.

    Args:
        config: the run's settings.
        train_set: images uint8 [N, 28, 28] and labels int64 [N] to fit.
        val_set: the same, to measure each epoch by.
        out: the run's folder.
        resume: go on from `out/last.pdopt`, with the same data to the same weights bit for bit as if the run had never
            stopped.
        extra_set: drawings to fit beside the train set, of the same form.

    Returns:
        A dict an epoch: `epoch learning_rate`, of train and val each `loss accuracy precision recall macro_f1 f1`
        (as `train_loss`, `val_f1`), and `seconds`. Train's are of the augmented images, while the network learns.

    Raises:
        RunError: the loss is no longer a finite number.
    """
    # The optimizer keys its state by generated names: the guard makes them the same in every run of one process.
    with paddle.utils.unique_name.guard():
        paddle.seed(config.seed)
        model = _build(config)
        if config.fine_tune and not resume:
            start = load_checkpoint(config.fine_tune)
            load_weights(model, start.weights, start.path)
        schedule = make_schedule(config, steps_per_epoch=math.ceil(len(train_set[1]) / config.batch_size))
        optimizer = make_optimizer(config, schedule, model)
        average = WeightAverage(model, config.ema_decay, _NEW_SHARE if config.fine_tune else 1.0)
        history = []
        if resume:
            history = load_progress(out, model, optimizer, average)
        else:
            save_progress(out, model, optimizer, average, history)

        beside = make_beside(config, train_set, extra_set) if len(history) < config.epochs else []
        print(_HEADER, *map(_rows, history), sep="\n", flush=True)
        for epoch in range(len(history) + 1, config.epochs + 1):
            if reason := reason_to_stop(history, config):
                print(f"stopped early: {reason}")
                break
            started = time.perf_counter()
            train_metrics = train_epoch(config, epoch, model, optimizer, schedule, average, train_set, beside)
            with average.applied(model):
                val_metrics = score(predict_logits(model, to_input(val_set[0])), val_set[1], config.loss)
                row = {
                    "epoch": epoch,
                    "learning_rate": schedule.get_lr(),
                    **{f"train_{name}": train_metrics[name] for name in METRICS},
                    **{f"val_{name}": val_metrics[name] for name in METRICS},
                    "seconds": time.perf_counter() - started,
                }
                history.append(row)
                save_weights(out, model, config, list(CLASSES), history)
            save_progress(out, model, optimizer, average, history)
            is_best = config.keep == "best" and kept_epoch(history, config.keep) == epoch
            print(_rows(row) + ("  best" if is_best else ""), flush=True)
    return history


def train_epoch(config, epoch, model, optimizer, schedule, average, train_set, beside) -> dict:
    """One pass over the training images, in an order that (seed, epoch) alone decides; metrics of its answers."""
    images, labels = train_set
    rng = np.random.default_rng([config.seed, epoch])
    paddle.seed(int(rng.integers(2**31)))  # for dropout
    bar = _ProgressBar(math.ceil(len(labels) / config.batch_size))
    amounts = {name: getattr(config, name) for name in AMOUNTS}
    answers = np.empty((len(labels), len(CLASSES)), np.float32)
    targets = (1 - config.label_smoothing) * TARGETS + config.label_smoothing / len(CLASSES)
    loss_function = {"cross_entropy": partial(F.cross_entropy, soft_label=True), "mse": _squared_error}[config.loss]
    for step, batch in enumerate(shuffled_batches(len(labels), config.batch_size, rng), 1):
        shown, shown_labels = [images[batch]], [labels[batch]]
        for other_images, other_labels, count in beside:
            chosen = rng.integers(len(other_labels), size=count)
            shown.append(other_images[chosen])
            shown_labels.append(other_labels[chosen])
        x = paddle.to_tensor(to_input(augment(np.concatenate(shown), rng, **amounts)))  # [S, 1, 28, 28]
        y = paddle.to_tensor(targets[np.concatenate(shown_labels)])  # [S, 10]

        logits = model(x)  # [S, 10]
        loss = loss_function(logits, y)
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


def _squared_error(logits, targets):
    return F.mse_loss(F.softmax(logits), targets)


_HEADER = "epoch  part      loss  accuracy  precision  recall  macro-F1      F1  learning rate  seconds"


def _rows(row):
    """Two lines an epoch: train with the learning rate and the time, and val."""
    train, val = (
        f"{part:5}  {row[f'{part}_loss']:7.4f}  {row[f'{part}_accuracy']:8.2%}  {row[f'{part}_precision']:9.4f}"
        f"  {row[f'{part}_recall']:6.4f}  {row[f'{part}_macro_f1']:8.4f}  {row[f'{part}_f1']:6.4f}"
        for part in ("train", "val")
    )
    return f"{row['epoch']:5d}  {train}  {row['learning_rate']:13.6f}  {row['seconds']:7.1f}\n       {val}"


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
    add("--seeds", type=int, nargs="+", metavar="N", help="a run for each seed, in DIR/N [checkpoints/<name>-seeds/N]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add = parser.add_mutually_exclusive_group().add_argument
    add("--resume", action="store_true", help="go on with the run in --out [the newest of this config], as it was set")
    add("--dry-run", action="store_true", help="one batch of everything, and keep nothing")
    add("--summary", action="store_true", help="print the layers and their parameters, and stop")
    add_flags(parser)
    args = parser.parse_args(argv)
    overrides = {name: value for name, value in vars(args).items() if name in FIELDS}
    if args.seeds and (args.resume or args.dry_run or "seed" in overrides):
        raise InputError("--seeds: goes on by itself with what is there; leave out --seed, --resume and --dry-run")
    if args.seeds and "fine_tune" in overrides:
        raise InputError("--seeds: weights to fine-tune keep their own seed, and their part of the data; leave it out")
    if args.seeds and len(set(args.seeds)) < len(args.seeds):
        raise InputError(f"--seeds: one of {' '.join(map(str, args.seeds))} is there twice; each counts once")
    return args, overrides


def _load_config(path, overrides):
    """The config; for fine-tuning with the settings for that, and the split of the data that the weights come from."""
    config = load_config(path, overrides)
    if not config.fine_tune:
        return config
    start = load_checkpoint(config.fine_tune).meta
    trained, model = start.get("config"), {"name": config.model, **options_of(config.model, asdict(config))}
    if not trained or start.get("model") != model:
        theirs, ours = (" ".join(map(str, network.values())) for network in (start.get("model", {}), model))
        wrong = f"are of {theirs}, the config is of {ours}" if trained else "do not say how they were trained"
        raise InputError(f"--fine-tune {config.fine_tune}: these weights {wrong}")
    # What they are calibrated by, they must not have seen.
    parts = {name: trained[name] for name in ("seed", "val_fraction", "calibration_fraction")}
    for name, value in parts.items():
        if name in overrides and getattr(config, name) != value:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: the weights to fine-tune were trained with {value}; leave it out")
    schedule = _FINE_TUNING if "fine_tune" in overrides else {}  # a YAML file that names weights is made for them
    settings = {name: str(value) for name, value in (schedule | parts).items()}
    return load_config(path, settings | overrides)


def _build(config):
    return build_model(config.model, len(CLASSES), **options_of(config.model, asdict(config)))


if __name__ == "__main__":
    run(main)
