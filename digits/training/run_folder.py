"""The folder of a run: finding or creating it, and the files that make an interrupted run resumable."""

import contextlib
import itertools
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.cli import InputError
from digits.config import FIELDS, Config, read_settings
from digits.data.splits import example_file, has_class_folders, list_parts
from digits.files import LOCK, exclusive, output_file, output_folder, replacing
from digits.networks.checkpoint import load_checkpoint
from digits.runtime import available_cores
from digits.signals import Terminated
from digits.training import parallel
from digits.training.checkpointer import load_history

RUNS = Path("checkpoints")
FILES = "files.json"  # lists the image files of each split
HEAD = "head"  # subfolder in which a transfer-learning run saves the training of its head
CURVES = "curves.png"  # the metrics of each epoch, drawn
EXAMPLE = "examples/7_scan.png"
MEANINGS_FILE = Path("outputs") / "data.json"  # explains the calibration of the newest run


@dataclass
class Run:
    """A run that is planned or under way.

    Attributes:
        config: its settings.
        name: name of its folder under checkpoints/, unless `out` is given.
        out: its folder; None until `begin` creates it.
        resume: whether to continue what is in `out`.
        device: as the flag says, for the command that resumes.
        limit: images per split, for a dry run.
        scratch: the folder of a dry run, deleted when this is.
    """

    config: Config
    name: str
    out: Path | None = None
    resume: bool = False
    device: str = "auto"
    limit: int | None = None
    scratch: tempfile.TemporaryDirectory | None = None

    @property
    def has_report(self) -> bool:
        """Whether the run is complete, with its curves, which are drawn last."""
        return self.out is not None and has_report(self.out) and (self.out / CURVES).exists()

    @property
    def predict_command(self) -> str:
        """A command that tries the trained network."""
        example = example_file(self.config) or EXAMPLE
        return shlex.join(["python", "predict.py", example, "--checkpoint", str(self.out)])

    @contextlib.contextmanager
    def underway(self) -> Iterator[None]:
        """Create and claim the folder within the block; save the config and the list of image files.

        On resume, check that list instead. On Ctrl-C or SIGTERM, say how to resume, and exit with status 130 or 143.

        Raises:
            InputError: the folder is taken or cannot be created, or the image files have changed.
        """
        if not parallel.is_main():
            yield
            return
        if self.limit is None:
            output_file(MEANINGS_FILE)  # fails now rather than after the training
        self.out = self.out or _new_folder(self.name)
        with exclusive(output_folder(self.out)):
            if not self.resume:
                check_free(self.out)
                with replacing(self.out / "config.yaml") as temporary:
                    temporary.write_text(self.config.to_yaml(), encoding="utf-8")
            if has_class_folders(self.config.data_dir):
                save_file_list(self.out, list_parts(self.config), self.resume)
            try:
                yield
            except KeyboardInterrupt as stop:
                print(f"\nstopped; {self._how_to_resume()}", file=sys.stderr)
                sys.exit(143 if isinstance(stop, Terminated) else 130)
            except parallel.ProcessLost as error:
                print(f"\nstopped, since {error}; {self._how_to_resume()}", file=sys.stderr)
                sys.exit(1)

    def _how_to_resume(self):
        if not has_progress(self.out):
            return f"only {self.out / 'config.yaml'} is saved; start again"
        history, epochs = load_history(self.out), f"{self.config.epochs} epochs"
        if not (self.out / "last.pdopt").exists():
            history, epochs = load_history(self.out / HEAD), f"{self.config.head_epochs} epochs of the head"
        done = history[-1]["epoch"] if history else 0
        command = ["python", "train.py", "--resume", "--out", str(self.out)]
        if parallel.count() > available_cores():  # else a resume takes the run's number by itself
            command += ["--processes", str(parallel.count())]
        command += ["--device", self.device] if self.device != "auto" else []
        return f"{done} of {epochs} are saved; resume with\n{shlex.join(command)}"


def check_free(out: Path | None) -> None:
    """Create the folder `out`, if it is given.

    Raises:
        InputError: it is not empty, or cannot be created.
    """
    # A run that was killed at its start leaves its config and its list of files, nothing more.
    if out and {path.name for path in output_folder(out).iterdir()} - {"config.yaml", FILES, LOCK}:
        raise InputError(
            f"--out {out}: is not empty, and a run is never overwritten; choose another folder, or add --resume"
        )


def find_run(name: str, out: Path | None, stated: dict[str, Any]) -> tuple[Path, Config]:
    """Find the run to resume and read its config.

    Args:
        name: name of the config.
        out: the run's folder; None for the newest unfinished run called `name`, else the newest.
        stated: settings from the YAML file and the flags; they must be the run's own.

    Raises:
        InputError: there is no such run, or a setting differs.
    """
    if out is None:
        runs = itertools.takewhile(Path.exists, _numbered(name))
        out = max((run for run in runs if has_progress(run)), key=_is_open_and_new, default=RUNS / name)
    if not has_progress(out):
        raise InputError(f"--resume: there is no run in {out}; name its folder with --out, or omit --resume")
    saved = read_settings(out / "config.yaml")
    missing = FIELDS.keys() - saved.keys()
    if missing:
        raise InputError(
            f"--resume: {out / 'config.yaml'} does not say {', '.join(sorted(missing))}; "
            "it was written by a different version of this program and cannot be resumed"
        )
    for key, value in stated.items():
        if value != saved[key]:
            if key == "epochs" and has_report(out):
                command = ["python", "train.py", out / "config.yaml", "--fine-tune", out, "--epochs", value]
                command += ["--out", f"{out}-longer"]
                raise InputError(
                    f"--resume: the run in {out} has {key} {saved[key]}, not {value}, and is finished; to "
                    f"train on from its weights, start a new run: {shlex.join(map(str, command))}"
                )
            raise InputError(
                f"--resume: the run in {out} has {key} {saved[key]}, not {value}; a run's settings are fixed; "
                "omit --resume to start a new run"
            )
    return out, Config(**saved)


def has_progress(folder: Path) -> bool:
    """Whether the folder holds a run that can be resumed; a transfer-learning run may have saved only its head."""
    return (folder / "last.pdopt").exists() or (folder / HEAD / "last.pdopt").exists()


def has_report(folder: Path) -> bool:
    """Whether the run in the folder is complete: it has its test metrics, or says that there is no test set."""
    try:
        return "test" in load_checkpoint(folder).meta["metrics"]
    except (InputError, KeyError, TypeError):  # no epoch is complete
        return False


def save_file_list(out: Path, parts: dict[str, list[str]], resume: bool) -> None:
    """Save the list of image files of each split; or, on resume, check that they have not changed.

    Raises:
        InputError: they have changed since the run began.
    """
    path = out / FILES
    if not resume:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(parts, indent=1), encoding="utf-8", errors="surrogateescape")
        return
    try:
        unchanged = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape")) == parts
    except (ValueError, RecursionError, OSError):
        unchanged = False
    if not unchanged:
        raise InputError(
            f"--resume: the image files have changed since the run in {out} began, see {path}; "
            "restore them, or start a new run"
        )


def _numbered(name):
    """Yield checkpoints/name, checkpoints/name-2, checkpoints/name-3, ..."""
    return (RUNS / (name if number == 1 else f"{name}-{number}") for number in itertools.count(1))


def _new_folder(name):
    """Create checkpoints/name, or name-2, ... if that is taken; two runs that start at once get one each."""
    output_folder(RUNS)
    for folder in _numbered(name):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def _is_open_and_new(folder):
    """Sort key: incomplete runs last, then by the time of the last epoch."""
    progress = folder / "last.pdopt"
    return not has_report(folder), (progress if progress.exists() else folder / HEAD / "last.pdopt").stat().st_mtime
