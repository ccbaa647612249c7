"""Train a network from a YAML config; keep the last epoch or the best on val; report the test set once, at the end.

python train.py                                    configs/lenet.yaml into checkpoints/lenet
python train.py configs/tutorial.yaml --epochs 2   any setting is a flag
python train.py configs/lenet.yaml --resume        go on with a run that was stopped
python train.py configs/lenet.yaml --seeds 0 1 2   a run each (those finished are kept), mean and standard deviation
python train.py configs/extended.yaml --fine-tune checkpoints/shipped/extended --extra inputs/mine     learn a hand
python train.py configs/photo_cnn.yaml --data-dir PHOTOS     photos, in a folder a class; --preview draws some
"""

import shlex
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from digits.runtime import DEVICES, choose_device, tune_cpu

tune_cpu()  # before paddle is imported: that is when MKL reads it

import paddle

from digits.cli import ArgumentParser, InputError, run
from digits.config import FIELDS, Config, add_flags, load_config, read_settings
from digits.data.augment import augment
from digits.data.splits import Dataset, example_file, has_class_folders, list_class_names, list_parts, load_dataset
from digits.evaluation import plots
from digits.evaluation.metrics import format_spread
from digits.files import output_file
from digits.networks.checkpoint import load_checkpoint
from digits.networks.registry import count_parameters, options_of
from digits.training.fitting import amounts, build, fit, fit_in_stages, make_network
from digits.training.report import MEANINGS_FILE, calibrate, report, write_meanings
from digits.training.run_folder import (
    HEAD,
    RUNS,
    check_free,
    find_run,
    has_progress,
    is_reported,
    keep_files,
    kept_epoch,
    load_history,
    new_run,
    overfit_epoch,
)
from digits.training.transfer import FEATURES

# The schedule of a YAML file is for weights of chance. With --fine-tune these settings count over it, and flags over
# these.
_FINE_TUNING = {"epochs": 1, "learning_rate": 0.0003, "schedule": "cosine", "ema_decay": 0.99, "keep": "last"}

DEFAULT_CONFIG = Path(__file__).resolve().parent / "configs" / "lenet.yaml"
EXAMPLE = "examples/7_scan.png"
PREVIEW = Path("outputs") / "preview.png"


def main(argv: list[str] | None = None) -> None:
    args, overrides = _parse(argv)
    path = args.config or DEFAULT_CONFIG
    if args.summary:
        config = load_config(path, overrides)
        paddle.summary(build(config, list_class_names(config)), (1, *config.input_shape))
        return
    if args.preview:
        preview(load_config(path, overrides))
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
            epochs = 2 if config.unlabeled else 1  # the second with pseudo-labels
            short = replace(config, epochs=epochs, unlabeled_epochs=1, head_epochs=min(1, config.head_epochs))
            fit_and_report(short, load_dataset(config, config.batch_size), Path(folder), limit=config.batch_size)
        print("\ndry run: every part works, nothing was kept")
        return
    out = train_run(config, name, out, args.resume, args.device)
    print(f"\n{shlex.join(['python', 'predict.py', example_file(config) or EXAMPLE, '--checkpoint', str(out)])}")


def train_run(config: Config, name: str, out: Path | None, resume: bool, device: str) -> Path:
    """A whole run, as `main` describes it; returns its folder. Ctrl-C ends the process with how to go on."""
    sets = load_dataset(config)
    network = make_network(config, sets.classes, resume)  # before there is a folder: its weights may not be to be had
    learning, parameters = count_parameters(network), count_parameters(build(config, sets.classes))
    output_file(MEANINGS_FILE)
    print(f"{config.to_yaml()}device: {paddle.device.get_device()}\nparameters: {parameters:,}", end="")
    print(f", of which {learning:,} learn" if learning < parameters else "", flush=True)
    if not resume:
        out = new_run(config, name, out)
    if has_class_folders(config.data_dir):
        keep_files(out, list_parts(config), resume)
    print(f"run: {out}\n", flush=True)
    try:
        fit_and_report(config, sets, out, resume)
    except KeyboardInterrupt:
        print(f"\nstopped; {_what_is_kept(config, out, device)}", file=sys.stderr)
        sys.exit(130)
    write_meanings(out)
    return out


def train_seeds(seeds: list[int], path: Path, overrides: dict, base: Path, device: str) -> None:
    """A run for each seed in `base/<seed>`, those there gone on with or kept; prints what they reach and the spread."""
    runs = []
    for seed in seeds:  # all is checked before the first of them starts
        out = base / str(seed)
        resume = has_progress(out)
        config = _load_config(path, overrides | {"seed": str(seed)})
        if resume:
            find_run(path.stem, out, asdict(config))
        else:
            check_free(out)
        runs.append((config, out, resume))
    for config, out, resume in runs:
        if not is_reported(out):
            train_run(config, path.stem, out, resume, device)
    metrics = [load_checkpoint(out).meta["metrics"] for _, out, _ in runs]
    tested = all(row["test"] for row in metrics)
    rows = [row["test" if tested else "val"] for row in metrics]
    print(f"\n{path.stem} on {'the test set' if tested else 'val'}\n\n{format_spread(seeds, rows)}")


def preview(config: Config) -> None:
    """Draw eight training images, and seven augmentations of each, into `PREVIEW`."""
    images = load_dataset(config, limit=8).train[0]
    images = images[np.arange(len(images))]
    rng = np.random.default_rng([config.seed, 1])
    shown = np.stack([images, *(augment(images, rng, **amounts(config)) for _ in range(7))], 1)
    captions = (["as it is", *[""] * 7]) * len(images)
    plots.save(plots.sheet(shown.reshape(-1, *images.shape[1:]), captions, "augmentation"), PREVIEW)
    print(f"drawn into {PREVIEW}", file=sys.stderr)


def fit_and_report(config: Config, sets: Dataset, out: Path, resume: bool = False, limit: int | None = None) -> None:
    """Train, draw the curves, calibrate, and report the test set; arguments as the functions for these have them."""
    if config.model == "transfer" and config.head_epochs:
        history = fit_in_stages(config, sets, out, resume, FEATURES if limit is None else out)
    else:
        history = fit(config, sets, out, resume)
    overfit = overfit_epoch(history, config.patience)
    plots.save(plots.curves(history, kept_epoch(history, config.keep), str(out), overfit), out / "curves.png")
    if sets.calibration:
        calibrate(config, sets, out)
    report(config, sets, out, limit)


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
    add("--preview", action="store_true", help=f"draw augmented training images into {PREVIEW}, and stop")
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
    if start["classes"] != list_class_names(config):
        raise InputError(
            f"--fine-tune {config.fine_tune}: these weights are for the classes {' '.join(start['classes'])}"
        )
    # What they are calibrated by, they must not have seen.
    trained = asdict(Config()) | trained  # a setting that came later counts at its default
    parts = {name: trained[name] for name in ("seed", "val_fraction", "calibration_fraction", "test_fraction")}
    for name, value in parts.items():
        if name in overrides and getattr(config, name) != value:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: the weights to fine-tune were trained with {value}; leave it out")
    schedule = _FINE_TUNING if "fine_tune" in overrides else {}  # a YAML file that names weights is made for them
    settings = {name: str(value) for name, value in (schedule | parts).items()}
    return load_config(path, settings | overrides)


def _what_is_kept(config, out, device):
    """Of a run that was stopped, and how to go on with it."""
    if not has_progress(out):
        return f"nothing but {out / 'config.yaml'} is kept; start again"
    history, epochs = load_history(out), f"{config.epochs} epochs"
    if not (out / "last.pdopt").exists():
        history, epochs = load_history(out / HEAD), f"{config.head_epochs} epochs of the head"
    done = history[-1]["epoch"] if history else 0
    go_on = ["python", "train.py", "--resume", "--out", str(out)]
    go_on += ["--device", device] if device != "auto" else []
    return f"{done} of {epochs} are kept; go on with\n{shlex.join(go_on)}"


if __name__ == "__main__":
    run(main)
