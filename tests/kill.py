"""Kill trainings and resume them, any number of times: each must end with the bits of an uninterrupted run.

python -m tests.kill 100                  half at random moments, half before a write or a rename
python -m tests.kill 0 --loads 20000      load a checkpoint beside a process that writes it
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from digits.data.mnist import CLASSES, load_mnist
from digits.networks.checkpoint import load_checkpoint, read_state, save_checkpoint

ROOT = Path(__file__).resolve().parent.parent
RUN = Path("checkpoints") / "lenet"  # where `python train.py` puts its run
SETTINGS = ["--epochs", "3", "--batch-size", "50", "--forms", "0", "--non-digits", "0", "--device", "cpu"]
_TEMPORARY = re.compile(r"\..+\.\d+\.\w+")

# Python imports this before it runs a script. The audit hook hears of every file operation before it is done.
_HOOK = """
import os, signal, sys
_left = int(os.environ.get("KILL_AT", "0"))
_log = os.environ.get("OPERATIONS")

def _hear(event, arguments):
    global _left
    if event == "open":
        path, flags = arguments[0], arguments[2] or 0
        if not isinstance(path, (str, bytes, os.PathLike)) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
    elif event in ("os.rename", "os.remove", "os.mkdir"):
        path = arguments[0]
    else:
        return
    path = os.fsdecode(path)
    if "checkpoints" not in os.path.abspath(path) or os.path.basename(path) == ".lock":
        return
    if _log:
        with os.fdopen(os.open(_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "a") as file:
            file.write(event.rpartition(".")[2] + " " + os.path.basename(str(path)) + chr(10))
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(_hear)
"""


@dataclass(frozen=True)
class Kill:
    """What a kill left, and what became of the run.

    Attributes:
        where: the operation before which the run was killed, or `a random moment`.
        problem: why the run did not end as an uninterrupted one; None if it did.
        leftovers: number of temporary files that the kill left.
    """

    where: str
    problem: str | None
    leftovers: int = 0


class Trainings:
    """Runs `python train.py` on a few images, each run in a folder of its own.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        images, labels = load_mnist("train")
        self.data = folder / "data"
        self.data.mkdir()
        parts = {"x_train": images[:400], "y_train": labels[:400], "x_test": images[400:450], "y_test": labels[400:450]}
        np.savez(self.data / "mnist.npz", **parts)
        (self.data / "classes.txt").write_text("\n".join(CLASSES))
        (folder / "hook").mkdir()
        (folder / "hook" / "sitecustomize.py").write_text(_HOOK)
        log = folder / "operations.txt"
        whole = self.start(folder / "whole", OPERATIONS=str(log))
        saved = self._wait_for_progress(whole, folder / "whole")
        assert whole.wait() == 0, whole.stderr.read()
        self.seconds = time.monotonic() - saved  # from the first save to the end
        self.expected = contents(folder / "whole" / RUN)
        self.operations = re.sub(r"\.(\w+)\.\d+\.", r"\1.", log.read_text()).splitlines()  # without the process's id
        first = self.operations.index("rename last.pdopt")  # before it there is nothing to resume
        later = enumerate(self.operations[first + 1 :], start=first + 2)
        self.moments = [moment for moment, operation in later if not operation.startswith("mkdir")]

    def start(self, folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
        """Start a training; without arguments a new one into `folder/checkpoints/lenet`."""
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *(arguments or ["--data-dir", str(self.data), *SETTINGS])],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(self.folder / "hook"), **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill_before(self, moment: int) -> Kill:
        """Kill a training before its file operation with this number, from 1, and resume it."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        run = self.start(folder, KILL_AT=str(moment))
        run.communicate()
        return self._resume(folder, f"the {self.operations[moment - 1]}")

    def kill_at_random(self, rng: np.random.Generator) -> Kill:
        """Kill a training at a random moment after its first save, and resume it."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        run = self.start(folder)
        self._wait_for_progress(run, folder)
        time.sleep(rng.uniform(0, self.seconds))
        run.kill()
        run.communicate()
        return self._resume(folder, "a random moment" if run.returncode else "a random moment after its end")

    @staticmethod
    def _wait_for_progress(run, folder):
        while not (folder / RUN / "last.pdopt").exists() and run.poll() is None:
            time.sleep(0.005)
        return time.monotonic()

    def _resume(self, folder, where):
        leftovers = len(temporary_files(folder / RUN))
        resumed = self.start(folder, "--resume")
        _, stderr = resumed.communicate()
        problem = f"not resumed: {stderr.strip()}" if resumed.returncode else self._compare(folder / RUN)
        if not problem:
            shutil.rmtree(folder)
        return Kill(where, problem, leftovers)

    def _compare(self, run):
        if temporary_files(run):
            return f"left over: {' '.join(temporary_files(run))}"
        found = contents(run)
        different = sorted(
            name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)
        )
        return f"different: {' '.join(different)}" if different else None


def contents(run: Path) -> dict[str, object]:
    """Read everything that a run leaves, to compare it to the bit: without times, and pictures by name alone."""
    found = {path.name: None for path in run.rglob("*")}
    for name in ("best", "last"):
        checkpoint = load_checkpoint(run / f"{name}.pdparams")
        found[f"{name}.pdparams"] = _bits(checkpoint.weights)
        found[f"{name}.json"] = json.dumps(checkpoint.meta, sort_keys=True)
    state = read_state(run / "last.pdopt")
    for row in state["history"]:
        row.pop("seconds")
    found["last.pdopt"] = _bits(state)
    found["log.csv"] = [line.rpartition(",")[0] for line in (run / "log.csv").read_text().splitlines()]
    return found


def temporary_files(run: Path) -> list[str]:
    """List the temporary files in a run's folder."""
    return sorted(path.name for path in run.rglob(".*") if _TEMPORARY.fullmatch(path.name))


def load_beside_a_writer(folder: Path, count: int) -> list[str]:
    """Load a checkpoint `count` times while another process replaces it; the errors."""
    command = "import sys; from tests.kill import write_forever; write_forever(sys.argv[1])"
    writer = subprocess.Popen([sys.executable, "-c", command, str(folder)], cwd=ROOT)
    errors = []
    try:
        while not (folder / "best.json").exists() and writer.poll() is None:
            time.sleep(0.01)
        seen = set()
        for _ in range(count):
            try:
                seen.add(load_checkpoint(folder).meta["epoch"])
            except Exception as error:  # counted, whatever it is
                errors.append(f"{type(error).__name__}: {error}")
        if len(seen) < 2:
            errors.append("the writer wrote nothing meanwhile")
    finally:
        writer.kill()
        writer.wait()
    return errors


def write_forever(folder: str) -> None:
    """Replace a small checkpoint over and over."""
    import paddle

    network, epoch = paddle.nn.Linear(20, 10), 0
    while True:
        epoch += 1
        network.bias.set_value(paddle.full([10], epoch, "float32"))
        save_checkpoint(folder, "best", network, {"epoch": epoch % 1000, "model": {"name": "lenet"}, "classes": ["0"]})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, help="number of kills")
    parser.add_argument("--loads", type=int, default=0, help="number of loads beside a writer [0]")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        if args.count:
            kills = _kill(Trainings(Path(folder)), args.count, rng)
            failed = any(kill.problem for kill in kills)
        if args.loads:
            started = time.perf_counter()
            errors = load_beside_a_writer(Path(folder) / "pair", args.loads)
            seconds = time.perf_counter() - started
            print(f"{args.loads:,} loads beside a writer in {seconds:,.0f} s: {len(errors)} failures")
            print(*sorted(set(errors))[:5], sep="\n", end="")
            failed = failed or bool(errors)
    sys.exit(failed)


def _kill(trainings, count, rng):
    aimed = count // 2
    moments = np.resize(rng.permutation(trainings.moments), aimed).tolist()
    kills = []
    for moment in [None] * (count - aimed) + moments:
        kill = trainings.kill_before(moment) if moment else trainings.kill_at_random(rng)
        kills.append(kill)
        print(f"{len(kills)} of {count}: killed at {kill.where}: {kill.problem or 'good'}", file=sys.stderr, flush=True)
    for where, number in sorted(Counter(kill.where for kill in kills).items()):
        print(f"{number:4} killed at {where}")
    good = sum(kill.problem is None for kill in kills)
    leftovers = sum(kill.leftovers for kill in kills)
    print(
        f"{good} of {len(kills)} killed runs were resumed without --out and ended with the bits of an uninterrupted "
        f"run; the kills left {leftovers} temporary files"
    )
    return kills


def _bits(value):
    """Replace the arrays in plain containers by their bytes, which compare as a whole."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: _bits(part) for key, part in value.items()}
    return [_bits(part) for part in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    main()
