"""What a run shows while it learns: a bar within an epoch, two rows of figures after it."""

import sys
from contextlib import redirect_stdout

from paddle.hapi.progressbar import ProgressBar

HEADER = "epoch  part      loss  accuracy  precision  recall  macro-F1      F1  learning rate  seconds"


def format_epoch(row: dict) -> str:
    """Two lines an epoch, below `HEADER`: train with the learning rate and the time, and val."""
    train, val = (
        f"{part:5}  {row[f'{part}_loss']:7.4f}  {row[f'{part}_accuracy']:8.2%}  {row[f'{part}_precision']:9.4f}"
        f"  {row[f'{part}_recall']:6.4f}  {row[f'{part}_macro_f1']:8.4f}  {row[f'{part}_f1']:6.4f}"
        for part in ("train", "val")
    )
    return f"{row['epoch']:5d}  {train}  {row['learning_rate']:13.6f}  {row['seconds']:7.1f}\n       {val}"


class EpochBar:
    """Paddle's progress bar on stderr where that is a terminal; the epoch's row takes its place."""

    def __init__(self, steps: int):
        self.bar = ProgressBar(steps, name="step") if sys.stderr.isatty() else None

    def update(self, step: int, loss: float) -> None:
        if self.bar and step % 10 == 0:
            with redirect_stdout(sys.stderr):
                self.bar.update(step, [("loss", loss)])

    def clear(self) -> None:
        if self.bar:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
