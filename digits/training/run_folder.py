"""The folder of a training run: which one it is, and what is kept in it so that any stop can be gone on from."""

import itertools
import json
import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from digits.cli import InputError
from digits.config import FIELDS, Config, read_settings
from digits.files import output_folder, replacing, write_csv
from digits.networks.checkpoint import load_checkpoint, load_weights, read_state, save_checkpoint, save_state
from digits.networks.registry import options_of
from digits.runtime import versions
from digits.training.optim import WeightAverage
from digits.training.pseudo_labels import PseudoLabels

RUNS = Path("checkpoints")
FILES = "files.json"  # which pictures are in which part
HEAD = "head"  # where a run of transfer learning keeps the training of its head


def new_run(config: Config, name: str, out: Path | None = None) -> Path:
    """Make a run's folder with its config in it: `out`, else checkpoints/name, or name-2, name-3, ... if that is taken.

    Raises:
        InputError: there is something in `out` already, or it cannot be made.
    """
    if out is None:
        output_folder(RUNS)
        out = next(folder for folder in _numbered(name) if _claim(folder))
    else:
        check_free(out)
    with replacing(out / "config.yaml") as temporary:
        temporary.write_text(config.to_yaml(), encoding="utf-8")
    return out


def check_free(out: Path | None) -> None:
    """Make the folder `out`, if one is named.

    Raises:
        InputError: there is something in it already, or it cannot be made.
    """
    # A run that was killed at its start has left its config and its files' names, and no more.
    if out and {path.name for path in output_folder(out).iterdir()} - {"config.yaml", FILES}:
        raise InputError(
            f"--out {out}: is not empty, and a run is never overwritten; choose another folder, or go on by --resume"
        )


def find_run(name: str, out: Path | None, stated: dict[str, Any]) -> tuple[Path, Config]:
    """Find the run to resume: `out`, else the newest called `name` that is not finished, or the newest; and its config.

    Args:
        name: name of the config.
        out: the folder, if the user said which.
        stated: settings in the YAML file and the flags given. A run keeps its settings: they have to be those it has.

    Raises:
        InputError: there is no such run, or a setting differs.
    """
    if out is None:
        runs = itertools.takewhile(Path.exists, _numbered(name))
        out = max((run for run in runs if has_progress(run)), key=_is_open_and_new, default=RUNS / name)
    if not has_progress(out):
        raise InputError(f"--resume: there is no run in {out}; start one without --resume, or say by --out where it is")
    kept = read_settings(out / "config.yaml")
    unstated = FIELDS.keys() - kept.keys()
    if unstated:
        raise InputError(
            f"--resume: {out / 'config.yaml'} does not say {', '.join(sorted(unstated))}; it is of another version "
            "of this program, and cannot be gone on with by this one"
        )
    for key, value in stated.items():
        if value != kept[key]:
            raise InputError(
                f"--resume: the run in {out} has {key} {kept[key]}, not {value}; a run keeps its settings, "
                "and without --resume a new one starts"
            )
    return out, Config(**kept)


def has_progress(folder: Path) -> bool:
    """Whether there is a run in the folder to go on with; of transfer learning, its first stages are in `HEAD`."""
    return (folder / "last.pdopt").exists() or (folder / HEAD / "last.pdopt").exists()


def keep_files(out: Path, parts: dict[str, list[str]], resume: bool) -> None:
    """Write which files are in which part into the run's folder; or, of a run that goes on, see that they still are.

    Args:
        out: the run's folder.
        parts: the files by part; empty if the data are no files of pictures.
        resume: whether the run goes on.

    Raises:
        InputError: they are others than when the run began.
    """
    path = out / FILES
    if not resume:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(parts, indent=1), encoding="utf-8", errors="surrogateescape")
    elif path.exists() and json.loads(path.read_text(encoding="utf-8", errors="surrogateescape")) != parts:
        raise InputError(
            f"--resume: the pictures have changed since the run in {out} began, and {path} lists them; "
            "restore them, or start a new run"
        )


def is_reported(folder: Path) -> bool:
    """Whether the run in the folder is finished: its test figures are there, or that there is no test set."""
    return (folder / "best.json").exists() and "test" in load_checkpoint(folder).meta["metrics"]


def kept_epoch(history: list[dict], keep: str) -> int:
    """The epoch whose weights are `best`: the last, or with the highest val accuracy and of equals the latest.

    A schedule that ends at a learning rate of 0 has settled most in its last epoch, whatever a small val says.
    """
    if keep == "last":
        return history[-1]["epoch"]
    return max(history, key=lambda row: (row["val_accuracy"], row["epoch"]))["epoch"]


def patience_ran_out(history: list[dict], patience: int) -> bool:
    """Whether the val loss has not fallen for `patience` epochs; never for a patience of 0."""
    return 0 < patience <= history[-1]["epoch"] - _lowest_loss_row(history)["epoch"]


def reason_to_stop(history: list[dict], config: Config) -> str | None:
    """Why the run ends before its last epoch, if it does."""
    if not history:
        return None
    if patience_ran_out(history, config.patience):
        return f"the val loss has not fallen for {config.patience} epochs"
    if history[-1]["epoch"] >= config.min_epochs and history[-1]["val_loss"] < config.stop_below:
        return f"the val loss is below {config.stop_below:g}"
    return None


def overfit_epoch(history: list[dict], patience: int) -> int | None:
    """The epoch with the lowest val loss, if over-fitting began there, else None.

    It did if the loss is a tenth higher at the end, or if the patience has run out.
    """
    lowest = _lowest_loss_row(history)
    rose = history[-1]["val_loss"] > 1.1 * lowest["val_loss"]
    return lowest["epoch"] if rose or patience_ran_out(history, patience) else None


def save_weights(out: Path, model: paddle.nn.Layer, config: Config, classes: list[str], history: list[dict]) -> None:
    """Keep the model as the run's `last`, and as its `best` if the newest epoch of the history is."""
    row = history[-1]
    meta = {
        "model": {"name": config.model, **options_of(config.model, asdict(config))},
        "classes": classes,
        "epoch": row["epoch"],
        "metrics": {"val": {name.removeprefix("val_"): row[name] for name in row if name.startswith("val_")}},
        "seed": config.seed,
        "config": asdict(config),
        "versions": versions(),
        "commit": _commit(),
    }
    for name in ["last", "best"] if kept_epoch(history, config.keep) == row["epoch"] else ["last"]:
        save_checkpoint(out, name, model, meta)


def save_progress(
    out: Path,
    model: paddle.nn.Layer,
    optimizer,
    average: WeightAverage,
    history: list[dict],
    pseudo: PseudoLabels | None = None,
) -> None:
    """Write all that a resumed run needs as one file, so that a kill leaves the old one or the new; and `log.csv`."""
    state = {
        "weights": _to_numpy(model.state_dict()),
        "optimizer": _to_numpy(optimizer.state_dict()),
        "average": _to_numpy(average.values),
        "average_steps": average.steps,
        "first": _to_numpy(average.first),
        "history": history,
        "pseudo_labels": pseudo.labels if pseudo else np.empty(0, np.int64),
    }
    save_state(out / "last.pdopt", state)
    if history:
        write_csv(out / "log.csv", history[0].keys(), history)


def load_progress(
    out: Path, model: paddle.nn.Layer, optimizer, average: WeightAverage, pseudo: PseudoLabels | None = None
) -> list[dict]:
    """Put everything back as `save_progress` found it, and return the history.

    Raises:
        InputError: the file is damaged, or not that of a run of this network and these images without labels.
    """
    path = out / "last.pdopt"
    state = read_state(path)
    if not {"weights", "optimizer", "average", "average_steps", "first", "history", "pseudo_labels"} <= state.keys():
        raise InputError(f"checkpoint {path}: not the progress of a run")
    load_weights(model, state["weights"], path)
    optimizer.set_state_dict(state["optimizer"])
    average.values = _to_tensors(state["average"])
    average.first = _to_tensors(state["first"])
    average.steps = state["average_steps"]
    if pseudo:
        if len(pseudo.labels) != len(state["pseudo_labels"]):
            raise InputError(
                f"--resume: the run in {out} had {len(state['pseudo_labels']):,} images without labels, "
                f"and now there are {len(pseudo.labels):,}"
            )
        pseudo.labels = state["pseudo_labels"]
    return state["history"]


def load_history(out: Path) -> list[dict]:
    """The epochs a run has behind it, oldest first; none if it has not begun."""
    path = out / "last.pdopt"
    return read_state(path)["history"] if path.exists() else []


def _lowest_loss_row(history):
    return min(history, key=lambda row: row["val_loss"])


def _numbered(name):
    """checkpoints/name, checkpoints/name-2, checkpoints/name-3, ..."""
    return (RUNS / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))


def _claim(folder):
    """Make the folder, and say whether it was not there: of two runs that start at once, each gets its own."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _is_open_and_new(folder):
    """To sort runs by: those without a test report last, and by the time of their last epoch."""
    progress = folder / "last.pdopt"
    return not is_reported(folder), (progress if progress.exists() else folder / HEAD / "last.pdopt").stat().st_mtime


@cache
def _commit():
    """The commit of this code, with `+changes` if the work tree differs from it; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).resolve().parents[2])]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+changes" if changes else "")


def _to_tensors(state):
    return {name: paddle.to_tensor(array) for name, array in state.items()}


def _to_numpy(state):
    return {name: value.numpy() if isinstance(value, paddle.Tensor) else value for name, value in state.items()}
