"""The history of a run: one row of metrics per epoch, how it prints, which epoch is kept, and when to stop early."""

from digits.config import Config
from digits.text import percent

METRICS = ("loss", "accuracy", "precision", "recall", "macro_f1", "f1")  # of both train and val
HEADER = "epoch  part      loss  accuracy  precision  recall  macro-F1      F1  learning rate  seconds"


def epoch_row(epoch: int, learning_rate: float, train: dict, val: dict, seconds: float) -> dict:
    """Build the row of an epoch: `epoch learning_rate`, each of `METRICS` as `train_...` and `val_...`, `seconds`."""
    return {
        "epoch": epoch,
        "learning_rate": learning_rate,
        **{f"train_{name}": train[name] for name in METRICS},
        **{f"val_{name}": val[name] for name in METRICS},
        "seconds": seconds,
    }


def format_epoch(row: dict) -> str:
    """Format a row as two lines under `HEADER`: train with the learning rate and the time, then val."""
    train, val = (
        f"{part:5}  {row[f'{part}_loss']:7.4f}  {percent(row[f'{part}_accuracy']):>8}  {row[f'{part}_precision']:9.4f}"
        f"  {row[f'{part}_recall']:6.4f}  {row[f'{part}_macro_f1']:8.4f}  {row[f'{part}_f1']:6.4f}"
        for part in ("train", "val")
    )
    return f"{row['epoch']:5d}  {train}  {row['learning_rate']:13.6f}  {row['seconds']:7.1f}\n       {val}"


def next_epoch(history: list[dict]) -> int:
    """Return the number of the epoch that follows, from 1."""
    return history[-1]["epoch"] + 1 if history else 1


def kept_epoch(history: list[dict], keep: str) -> int:
    """Return the epoch whose weights are kept as `best`.

    Args:
        history: one row per epoch.
        keep: `"last"`, or `"best"` for the highest val accuracy, the latest epoch among equals. A schedule that ends at
            a learning rate of 0 has settled most in its last epoch, whatever a small val says.
    """
    if keep == "last":
        return history[-1]["epoch"]
    return max(history, key=lambda row: (row["val_accuracy"], row["epoch"]))["epoch"]


def is_best(history: list[dict], keep: str) -> bool:
    """Whether the newest epoch has the highest val accuracy; never if the last epoch is kept anyway."""
    return keep == "best" and kept_epoch(history, keep) == history[-1]["epoch"]


def reason_to_stop(history: list[dict], config: Config) -> str | None:
    """Return the reason to stop before the last epoch, if there is one."""
    if not history:
        return None
    if _patience_ran_out(history, config.patience):
        return f"the val loss has not fallen for {config.patience} epochs"
    if history[-1]["epoch"] >= config.min_epochs and history[-1]["val_loss"] < config.stop_below:
        return f"the val loss is below {config.stop_below:g}"
    return None


def overfit_epoch(history: list[dict], patience: int) -> int | None:
    """Return the epoch with the lowest val loss if overfitting began there, else None.

    It did if the val loss ended a tenth higher, or if the patience ran out.
    """
    lowest = _lowest_loss_row(history)
    rose = history[-1]["val_loss"] > 1.1 * lowest["val_loss"]
    return lowest["epoch"] if rose or _patience_ran_out(history, patience) else None


def _patience_ran_out(history, patience):
    return 0 < patience <= history[-1]["epoch"] - _lowest_loss_row(history)["epoch"]


def _lowest_loss_row(history):
    return min(history, key=lambda row: row["val_loss"])
