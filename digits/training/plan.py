"""Planning runs: from the command line to one run, or one per seed, all checked before the first starts."""

import argparse
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from digits.cli import InputError
from digits.config import Config, load_config, read_settings
from digits.data.class_names import HOW_TO_NAME, UNNAMED
from digits.data.splits import list_class_names
from digits.networks.checkpoint import load_checkpoint
from digits.networks.registry import options_of
from digits.training.options import DEFAULT_CONFIG, run_name
from digits.training.run_folder import RUNS, Run, check_free, find_run, has_progress

# A YAML file's schedule is meant for training from scratch. With --fine-tune these settings override it, and flags
# override these.
_FINE_TUNING = {"epochs": 1, "learning_rate": 0.0003, "schedule": "cosine", "ema_decay": 0.99, "keep": "last"}


def plan_runs(args: argparse.Namespace, overrides: dict[str, str]) -> list[Run]:
    """Plan one run, or one per seed.

    Args:
        args, overrides: as `options.parse` returns them.

    Raises:
        InputError: a setting is invalid, a folder is taken, or there is no run to resume.
    """
    path = args.config or DEFAULT_CONFIG
    name = run_name(args, overrides)
    if args.seeds:
        base = args.out or RUNS / f"{name}-seeds"
        return [_plan_seed(args, path, overrides, base, seed) for seed in args.seeds]
    fine_tunes = "fine_tune" in overrides
    if args.resume:
        # --fine-tune has overridden settings of the YAML file, so only the flags can be compared with the run's.
        stated = read_settings(None if fine_tunes else args.config, overrides)
        out, config = find_run(name, args.out, stated)
        return [Run(config, name, out, resume=True, device=args.device)]
    config = load_run_config(path, overrides)
    if args.dry_run:
        return [_plan_dry_run(config, name)]
    check_free(args.out)
    return [Run(config, name, args.out, device=args.device)]


def load_run_config(path: str | Path, overrides: dict[str, str]) -> Config:
    """Load a config; to fine-tune, with a short schedule and the data split of the checkpoint.

    Raises:
        InputError: a setting is invalid, or the checkpoint does not fit the config.
    """
    config = load_config(path, overrides)
    if not config.fine_tune:
        return config
    start = load_checkpoint(config.fine_tune).meta
    trained, model = start.get("config"), {"name": config.model, **options_of(config.model, asdict(config))}
    if not trained or start.get("model") != model:
        theirs, ours = (" ".join(map(str, network.values())) for network in (start.get("model", {}), model))
        problem = f"are for {theirs}, the config is for {ours}" if trained else "do not say how they were trained"
        raise InputError(f"--fine-tune {config.fine_tune}: these weights {problem}")
    classes = list_class_names(config)
    if start["classes"] != classes:
        problem = HOW_TO_NAME if classes == list(UNNAMED) else f"the data has {' '.join(classes[:12])}"
        raise InputError(
            f"--fine-tune {config.fine_tune}: these weights are for the classes {' '.join(start['classes'])}; {problem}"
        )
    # The images they are calibrated on must not be among those they were trained on.
    trained = asdict(Config()) | trained  # settings added later have their defaults
    split = {name: trained[name] for name in ("seed", "val_fraction", "calibration_fraction", "test_fraction")}
    for name, value in split.items():
        if name in overrides and getattr(config, name) != value:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: the weights to fine-tune were trained with {value}; omit this flag")
    schedule = _FINE_TUNING if "fine_tune" in overrides else {}  # a YAML file that names weights has its own schedule
    settings = {name: str(value) for name, value in (schedule | split).items()}
    return load_config(path, settings | overrides)


def _plan_seed(args, path, overrides, base, seed):
    name, out = Path(path).stem, base / str(seed)
    config = load_run_config(path, overrides | {"seed": str(seed)})
    resume = has_progress(out)
    if resume:
        find_run(name, out, asdict(config))
    else:
        check_free(out)
    return Run(config, name, out, resume, args.device)


def _plan_dry_run(config, name):
    epochs = 2 if config.unlabeled else 1  # the second with pseudo-labels
    short = replace(config, epochs=epochs, unlabeled_epochs=1, head_epochs=min(1, config.head_epochs))
    scratch = tempfile.TemporaryDirectory()
    return Run(short, name, Path(scratch.name), limit=config.batch_size, scratch=scratch)
