"""What a run saves after every epoch: the weights to use, and the state to resume from."""

import subprocess
from dataclasses import asdict
from functools import cache
from pathlib import Path

import paddle

from digits.cli import InputError
from digits.config import Config
from digits.files import write_csv
from digits.networks.checkpoint import load_weights, read_state, save_checkpoint, save_state
from digits.networks.registry import options_of
from digits.runtime import versions
from digits.training.history import kept_epoch
from digits.training.optim import WeightAverage
from digits.training.pseudo_labels import PseudoLabels

_STATE = {"config", "weights", "optimizer", "average", "average_steps", "first", "history", "pseudo_labels"}


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
        return history

    def save_weights(self, history: list[dict]) -> None:
        """Save the network as `last`, and as `best` if the newest epoch is the one to keep."""
        row = history[-1]
        meta = {
            "model": {"name": self.config.model, **options_of(self.config.model, asdict(self.config))},
            "classes": self.classes,
            "epoch": row["epoch"],
            "metrics": {"val": {name.removeprefix("val_"): row[name] for name in row if name.startswith("val_")}},
            "seed": self.config.seed,
            "config": asdict(self.config),
            "versions": versions(),
            "commit": _commit(),
        }
        is_kept = kept_epoch(history, self.config.keep) == row["epoch"]
        for name in ["last", "best"] if is_kept else ["last"]:
            save_checkpoint(self.out, name, self.network, meta)

    def save_progress(self, history: list[dict]) -> None:
        """Save `log.csv`, and everything that a resume needs as one file: a kill leaves the old one or the new one."""
        state = {
            "config": asdict(self.config),
            "weights": _to_numpy(self.network.state_dict()),
            "optimizer": _to_numpy(self.optimizer.state_dict()),
            "average": _to_numpy(self.average.values),
            "average_steps": self.average.steps,
            "first": _to_numpy(self.average.first),
            "history": history,
            "pseudo_labels": self.pseudo_labels.labels,
        }
        save_state(self.out / "last.pdopt", state)
        if history:
            write_csv(self.out / "log.csv", history[0].keys(), history)

    def restore(self) -> list[dict]:
        """Restore the state that `save_progress` saved, and return the history.

        Raises:
            InputError: the file is damaged, or belongs to another network or other unlabeled images.
        """
        path = self.out / "last.pdopt"
        state = read_state(path)
        if not state.keys() >= _STATE:
            raise InputError(f"checkpoint {path}: not the state of a run of this version; start a new run")
        if len(self.pseudo_labels.labels) != len(state["pseudo_labels"]):
            raise InputError(
                f"--resume: the run in {self.out} had {len(state['pseudo_labels']):,} unlabeled images, "
                f"and now there are {len(self.pseudo_labels.labels):,}"
            )
        if state["config"] != asdict(self.config):
            raise InputError(f"--resume: {self.out / 'config.yaml'} has changed since this run began; restore it")
        load_weights(self.network, state["weights"], path)
        self.optimizer.set_state_dict(state["optimizer"])
        self.average.values = _to_tensors(state["average"])
        self.average.first = _to_tensors(state["first"])
        self.average.steps = state["average_steps"]
        self.pseudo_labels.labels = state["pseudo_labels"]
        return state["history"]


def load_history(out: Path) -> list[dict]:
    """Read the rows of the epochs that a run has completed; empty if it has none."""
    path = out / "last.pdopt"
    return read_state(path)["history"] if path.exists() else []


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
