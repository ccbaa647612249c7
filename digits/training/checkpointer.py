"""What a run saves after every epoch: the weights to use, and the state to resume from."""

import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import paddle

from digits.cli import InputError
from digits.config import Config
from digits.files import write_csv
from digits.networks.checkpoint import load_weights, read_state, save_checkpoint, save_state
from digits.networks.registry import options_of
from digits.runtime import versions
from digits.training import parallel
from digits.training.history import METRICS, epoch_row, kept_epoch
from digits.training.optim import WeightAverage
from digits.training.pseudo_labels import PseudoLabels

_STATE = {  # fields of `last.pdopt`
    **dict.fromkeys(("config", "weights", "optimizer", "average", "first"), dict),
    **dict.fromkeys(("processes", "average_steps"), int),
    "history": list,
    "pseudo_labels": np.ndarray,
}


class Checkpointer:
    """Saves a run and restores it, bit for bit.

    Args:
        out: the run's folder.
        config: the run's settings.
        classes: the class names.
        network, optimizer, average, pseudo_labels: the state of the training.
    """

    def __init__(
        self,
        out: Path,
        config: Config,
        classes: list[str],
        network: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        average: WeightAverage,
        pseudo_labels: PseudoLabels,
    ):
        self.out, self.config, self.classes = out, config, classes
        self.network, self.optimizer, self.average, self.pseudo_labels = network, optimizer, average, pseudo_labels

    def begin(self, history: list[dict]) -> list[dict]:
        """Save the initial state, and return the history; if it has an epoch already, its weights are saved too."""
        if history:
            self.save_weights(history)
        self.save_progress(history)
        self._require_same_start()
        return history

    def save_weights(self, history: list[dict]) -> None:
        """Save the network as `last`, and as `best` if the newest epoch is the one to keep; the main process does."""
        if not parallel.is_main():
            return
        row = history[-1]
        meta = {
            "model": {"name": self.config.model, **options_of(self.config.model, asdict(self.config))},
            "classes": self.classes,
            "epoch": row["epoch"],
            "metrics": {"val": {name.removeprefix("val_"): row[name] for name in row if name.startswith("val_")}},
            "seed": self.config.seed,
            "processes": parallel.count(),
            "config": asdict(self.config),
            "versions": versions(),
            "commit": _commit(),
        }
        is_kept = kept_epoch(history, self.config.keep) == row["epoch"]
        for name in ["last", "best"] if is_kept else ["last"]:
            save_checkpoint(self.out, name, self.network, meta)

    def save_progress(self, history: list[dict]) -> None:
        """Save `log.csv`, and everything that a resume needs as one file: a kill leaves the old one or the new one.

        The main process does.
        """
        if not parallel.is_main():
            return
        state = {
            "config": asdict(self.config),
            "processes": parallel.count(),
            "weights": _to_numpy(self.network.state_dict()),
            "optimizer": _to_numpy(self.optimizer.state_dict()),
            "average": _to_numpy(self.average.values),
            "average_steps": self.average.steps,
            "first": _to_numpy(self.average.first),
            "history": history,
            "pseudo_labels": self.pseudo_labels.labels,
        }
        save_state(self.out / "last.pdopt", state)
        self._save_log(history)

    def restore(self) -> list[dict]:
        """Restore the state that `save_progress` saved, and return the history.

        Raises:
            InputError: the file is damaged, or belongs to another network or other unlabeled images.
        """
        path = self.out / "last.pdopt"
        state = _read_progress(path)
        if len(self.pseudo_labels.labels) != len(state["pseudo_labels"]):
            raise InputError(
                f"--resume: the run in {self.out} had {len(state['pseudo_labels']):,} unlabeled images, "
                f"and now there are {len(self.pseudo_labels.labels):,}"
            )
        if state["config"] != asdict(self.config):
            raise InputError(f"--resume: {self.out / 'config.yaml'} has changed since this run began; restore it")
        load_weights(self.network, state["weights"], path)
        shapes = {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}
        for name, ours in (("average", self.average.values), ("first", self.average.first)):
            if {key: np.shape(array) for key, array in state[name].items()} != (shapes if ours else {}):
                raise _not_a_state(path)
        if not _fits(state["optimizer"], self.optimizer):
            raise _not_a_state(path)
        self.optimizer.set_state_dict(state["optimizer"])
        self.average.values = _to_tensors(state["average"])
        self.average.first = _to_tensors(state["first"])
        self.average.steps = state["average_steps"]
        self.pseudo_labels.labels = state["pseudo_labels"]
        if parallel.is_main():
            self._save_log(state["history"])  # a kill after the last epoch may have left it without that epoch
        if state["processes"] != parallel.count():
            processes = "process" if parallel.count() == 1 else "processes"
            print(
                f"resumed with {parallel.count()} {processes}, after {state['processes']}: "
                "the result is as good, but not the same to the last bit"
            )
        self._require_same_start()
        return state["history"]

    def _require_same_start(self):
        if parallel.count() == 1:
            return
        weights = b"".join(tensor.numpy().tobytes() for tensor in self.network.state_dict().values())
        parallel.require_same(self.config.to_yaml().encode() + weights)

    def _save_log(self, history):
        if history:
            write_csv(self.out / "log.csv", history[0].keys(), history)


def load_history(out: Path) -> list[dict]:
    """Read the rows of the epochs that a run has completed; empty if it has none."""
    path = out / "last.pdopt"
    return _read_progress(path)["history"] if path.exists() else []


def read_process_count(out: Path) -> int | None:
    """Return the number of processes that a run was trained in; None if it has saved no epoch of its last stage.

    Raises:
        InputError: `last.pdopt` is damaged.
    """
    path = out / "last.pdopt"
    return _read_progress(path)["processes"] if path.exists() else None


def _read_progress(path):
    """Read what `save_progress` saved, and check its fields."""
    state = read_state(path)
    has_fields = all(isinstance(state.get(name), kind) for name, kind in _STATE.items())
    if not has_fields or not all(map(_is_row, state["history"])):
        raise _not_a_state(path)
    return state


def _is_row(row):
    names = epoch_row(0, 0, *2 * [dict.fromkeys(METRICS)], 0)
    return isinstance(row, dict) and all(_is_number(row.get(name)) for name in names)


def _is_number(value):
    return isinstance(value, int | float)


def _fits(state, optimizer):
    """Whether `optimizer.step()` will accept a state: Paddle checks it then, or not at all."""
    arrays, kinds = dict(state), []
    schedule = arrays.pop("LR_Scheduler", {"last_epoch": 0, "last_lr": 0.0})
    for parameter in optimizer._parameter_list:
        prefix = f"{parameter.name}_"
        own = {name: arrays.pop(name) for name in list(arrays) if str(name).startswith(prefix)}
        kinds.append({name.removeprefix(prefix) for name in own})
        for array in own.values():
            if getattr(array, "dtype", None) != np.float32 or array.shape not in ((1,), tuple(parameter.shape)):
                return False
    is_even = all(kind == max(kinds, key=len) for kind in kinds if kind)  # a parameter without a gradient has none
    return not arrays and is_even and isinstance(schedule, dict) and all(map(_is_number, schedule.values()))


def _not_a_state(path):
    return InputError(f"checkpoint {path}: not the state of a run of this version; start a new run")


@cache
def _commit():
    """Return the commit of this code, with `+changes` if the work tree differs from it; None outside a checkout."""
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
