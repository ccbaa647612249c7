"""The folder of a training run: which one it is, and what is kept in it so that any stop can be gone on from."""

import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import paddle

from atomic import replacing, write_csv
from checkpoint import load_weights, read_state, save_checkpoint, save_state
from config import Config, load_config
from errors import InputError
from optim import WeightAverage
from runtime import versions

RUNS = Path("checkpoints")


def new_run(config: Config, name: str, out: Path | None = None) -> Path:
    """Make a run's folder and write its config there: `out`, else checkpoints/name, or name-2, name-3, ... if taken.

    Raises:
        InputError: `out` holds a run already.
    """
    if out is None:
        newest = _newest(name)
        out = RUNS / (f"{name}-{_number(newest, name) + 1}" if newest else name)
    elif (out / "last.pdopt").exists():
        raise InputError(
            f"--out {out}: holds a run, which is never overwritten; choose another folder, or go on with it by --resume"
        )
    with replacing(out / "config.yaml") as temporary:
        temporary.write_text(config.to_yaml(), encoding="utf-8")
    return out


def find_run(name: str, out: Path | None, overrides: dict[str, str]) -> tuple[Path, Config]:
    """Find the run to resume: `out`, else the newest called `name`; its folder and its config.

    Args:
        name: name of the config.
        out: the folder, if the user said which.
        overrides: settings given as flags. A run keeps its settings, so they have to be those it has.

    Raises:
        InputError: there is no such run, or a setting differs.
    """
    out = out or _newest(name) or RUNS / name
    if not (out / "last.pdopt").exists():
        raise InputError(f"--resume: there is no run in {out}; start one without --resume, or say by --out where it is")
    config = load_config(out / "config.yaml")
    for key, value in asdict(load_config(out / "config.yaml", overrides)).items():
        if value != getattr(config, key):
            raise InputError(
                f"--resume: the run in {out} has {key} {getattr(config, key)}, not {value}; a run keeps its settings"
            )
    return out, config


def best_epoch(history: list[dict]) -> int:
    """The epoch with the highest val accuracy; of equals, the one with the lowest val loss."""
    return max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))["epoch"]


def save_weights(out: Path, model: paddle.nn.Layer, config: Config, classes: list[str], history: list[dict]) -> None:
    """Keep the model as the run's `last`, and as its `best` if the newest epoch of the history is."""
    row = history[-1]
    meta = {
        "model": {"name": config.model, "activation": config.activation},
        "classes": classes,
        "epoch": row["epoch"],
        "metrics": {"val": {"loss": row["val_loss"], "accuracy": row["val_accuracy"]}},
        "seed": config.seed,
        "config": asdict(config),
        "versions": versions(),
        "commit": _commit(),
    }
    for name in ["last", "best"] if best_epoch(history) == row["epoch"] else ["last"]:
        save_checkpoint(out, name, model, meta)


def save_progress(out: Path, model: paddle.nn.Layer, optimizer, average: WeightAverage, history: list[dict]) -> None:
    """Write all that a resumed run needs as one file, so that a kill leaves the old one or the new; and `log.csv`."""
    state = {
        "weights": _to_numpy(model.state_dict()),
        "optimizer": _to_numpy(optimizer.state_dict()),
        "average": _to_numpy(average.values),
        "average_steps": average.steps,
        "history": history,
    }
    save_state(out / "last.pdopt", state)
    if history:
        write_csv(out / "log.csv", history[0].keys(), history)


def load_progress(out: Path, model: paddle.nn.Layer, optimizer, average: WeightAverage) -> list[dict]:
    """Put everything back as `save_progress` found it, and return the history."""
    state = read_state(out / "last.pdopt")
    load_weights(model, state["weights"], out / "last.pdopt")
    optimizer.set_state_dict(state["optimizer"])
    average.values = {name: paddle.to_tensor(array) for name, array in state["average"].items()}
    average.steps = state["average_steps"]
    return state["history"]


def load_history(out: Path) -> list[dict]:
    """The epochs a run has behind it, oldest first."""
    return read_state(out / "last.pdopt")["history"]


def _newest(name):
    runs = [folder for folder in RUNS.glob(f"{name}*") if _number(folder, name) and (folder / "last.pdopt").exists()]
    return max(runs, key=lambda folder: _number(folder, name), default=None)


def _number(folder, name):
    """3 for `name-3`, 1 for `name`, 0 for a folder of another name."""
    rest = folder.name.removeprefix(name)
    return 1 if rest == "" else int(rest[1:]) if rest[0] == "-" and rest[1:].isdecimal() else 0


@cache
def _commit():
    """The commit of this code, with `+changes` if the work tree differs from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "")


def _to_numpy(state):
    return {name: value.numpy() if isinstance(value, paddle.Tensor) else value for name, value in state.items()}
