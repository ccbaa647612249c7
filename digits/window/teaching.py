"""Teach the network the saved drawings: fine-tune it in a process of its own, and compare before and after."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.cli import InputError
from digits.window.drawings import list_saved

RUNS = Path("checkpoints")  # below the root
_SUFFIX = "-fine-tuned"
_NICENESS = 10  # the training leaves the cores to the window
_GRACE = 10  # seconds for the training to end when it is stopped
_STEPS = re.compile(r"step +(\d+)/(\d+)")  # as Paddle's progress bar prints them
_SHARE_OF_STEPS = 0.85  # of a lesson; the rest is measuring
_MIN_SECONDS = 3  # of training before the rest of it is estimated


@dataclass
class Lesson:
    """What a lesson has changed.

    Attributes:
        classifier: the fine-tuned `Classifier`.
        folder: its run, below the root.
        counts: how many drawings of each digit there are.
        before, after: how many of them the network reads as another digit, before and after.
    """

    classifier: Any
    folder: Path
    counts: list[int]
    before: list[int]
    after: list[int]

    def describe(self) -> str:
        """Say it in a line: `12 of 50 drawings wrong before, 2 after; in use now: checkpoints/lenet-fine-tuned`."""
        change = f"{sum(self.before)} of {sum(self.counts)} drawings wrong before, {sum(self.after)} after"
        return f"{change}; in use now: {self.folder.as_posix()}"


class Teacher:
    """Gives lessons, one at a time; used in a `with` block, which stops the one under way at its end.

    Each begins with the network that the window was opened with, and teaches all saved drawings.

    Args:
        root: folder of the project.
        drawings: folder with a folder of drawings for each digit, below the root.
        device: as train.py takes it.

    Attributes:
        taught: the network that the last lesson has made; None before the first.
        lesson_under_way: None between the lessons.
    """

    def __init__(self, root: Path, drawings: Path, device: str):
        self.taught = None
        self.lesson_under_way: Teaching | None = None
        self._root, self._drawings, self._device = root, drawings, device
        self._start: Path | None = None  # checkpoint to fine-tune

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.lesson_under_way:
            self.lesson_under_way.stop()
            print("the lesson was stopped before its end; nothing has changed", file=sys.stderr)

    def start_or_stop(self, classifier) -> str:
        """Start a lesson, or stop the one under way; say in a line which, or nothing.

        Raises:
            LessonFailed: there is nothing to teach, or nothing to train with.
        """
        if self.lesson_under_way:
            self.lesson_under_way.stop()
            self.lesson_under_way = None
            return "the lesson was stopped; nothing has changed"
        self._start = self._start or classifier.path.resolve()
        self.lesson_under_way = Teaching(self._root, self._drawings, classifier, self._start, self._device)
        return ""

    def poll(self) -> Lesson | None:
        """Continue the lesson for a moment; return what it has changed, once it is over.

        Raises:
            LessonFailed: it has failed.
        """
        try:
            lesson = self.lesson_under_way.poll()
        except (LessonFailed, InputError) as error:
            self.lesson_under_way = None
            raise LessonFailed(str(error)) from None
        if lesson:
            self.taught, self.lesson_under_way = lesson.classifier, None
        return lesson


class LessonFailed(Exception):
    """A lesson cannot begin, or has failed. The message is one line."""


class Teaching:
    """A lesson under way, the command of docs/training.md: train.py --fine-tune ... --extra inputs/mine.

    Args:
        root: folder of the project.
        drawings: folder with a folder of drawings for each digit, below the root.
        classifier: the network in use.
        start: checkpoint to fine-tune.
        device: as train.py takes it.

    Attributes:
        share: how much of it is done, in [0, 1].

    Raises:
        LessonFailed: there are no drawings, or the settings to train with are not known.
    """

    def __init__(self, root: Path, drawings: Path, classifier, start: Path, device: str):
        self.share = 0.0
        self._root, self._classifier = root, classifier
        self._drawings = [(label, path) for label in range(10) for path in list_saved(root / drawings, label)]
        if not self._drawings:
            raise LessonFailed("nothing to teach: draw, then save as the digit it should be; five of each are enough")
        run = start if start.is_dir() else start.parent
        config = run / "config.yaml"
        if not config.exists():
            config = root / "configs" / f"{run.name}.yaml"
        if not config.exists():
            raise LessonFailed(f"cannot teach: there is no config.yaml in {run}; train.py writes one")
        name = run.name.removesuffix(_SUFFIX) + _SUFFIX
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        self._folder = next(RUNS / name for name in names if not (root / RUNS / name).exists())
        command = [sys.executable, root / "train.py", config, "--fine-tune", start, "--extra", root / drawings]
        self._start([*command, "--out", root / self._folder, "--device", device])
        self._text = ""  # what the training has printed on stderr
        self._began: float | None = None  # time of its first step
        self._comparison: Iterator[Lesson | None] | None = None

    def describe(self) -> str:
        """Say in a line how far it is."""
        what = f"learning your {len(self._drawings)} drawings"
        if self._comparison:
            return "reading your drawings again"
        if self.share == 0:
            return f"{what}: starting"
        if self.share >= _SHARE_OF_STEPS:
            return f"{what}: measuring"
        seconds = time.monotonic() - self._began
        left = (1 - self.share) / self.share * seconds
        return f"{what}: {self.share:.0%}" + (f", about {left:.0f} s left" if seconds > _MIN_SECONDS else "")

    def poll(self) -> Lesson | None:
        """Return what the lesson has changed, once it is over. Does a little work: call it again and again.

        Raises:
            LessonFailed: the training has failed.
        """
        if self._comparison:
            return next(self._comparison)
        self._read_progress()
        status = self._process.poll()
        if status is None:
            return None
        if status:
            lines = [line for line in re.split(r"[\r\n]+", self._text) if line.strip()]
            reason = lines[-1].removeprefix("error: ") if lines else f"exit status {status}"
            raise LessonFailed(f"teaching failed: {reason}")
        self._comparison = self._compare()
        return None

    def stop(self) -> None:
        """End the training, if it is running, and delete what it has written."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._root / self._folder, ignore_errors=True)

    def _start(self, command):
        """Start the training in a session of its own: a terminal's Ctrl-C is for the window alone."""
        try:
            self._output, errors = os.openpty()  # Paddle draws its progress bar for a terminal only
            os.set_blocking(self._output, False)
        except (AttributeError, OSError):  # Windows has none
            file = tempfile.TemporaryFile()  # noqa: SIM115
            self._output = errors = file.fileno()
            self._file = file
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        self._process = subprocess.Popen(command, cwd=self._root, start_new_session=True, **options)
        if errors != self._output:
            os.close(errors)
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    def _read_progress(self):
        with contextlib.suppress(OSError):  # nothing new, or the process has ended
            while data := os.read(self._output, 1 << 16):
                self._text = (self._text + data.decode(errors="replace"))[-4000:]
        steps = _STEPS.findall(self._text)
        if steps:
            self._began = self._began or time.monotonic()
            done, total = map(int, steps[-1])
            self.share = _SHARE_OF_STEPS * done / total

    def _compare(self):
        """Read each drawing with both networks, one at a time; yield None, and in the end the lesson."""
        from digits.evaluation.classifier import Classifier  # imports Paddle

        taught = Classifier(self._root / self._folder)
        lesson = Lesson(taught, self._folder, *([0] * 10 for _ in range(3)))
        for number, (label, path) in enumerate(self._drawings):
            lesson.counts[label] += 1
            for classifier, wrong in ((self._classifier, lesson.before), (taught, lesson.after)):
                wrong[label] += classifier.read(path).label != str(label)
            self.share = _SHARE_OF_STEPS + (1 - _SHARE_OF_STEPS) * number / len(self._drawings)
            yield None
        yield lesson
