"""Measure our speed and that of a baseline in turn, in one run, because the speed of a machine varies.

python -m benchmarks.speed             all of the following; outputs/speed.csv and outputs/speed.png keep the results
python -m benchmarks.speed tutorial    an epoch of configs/tutorial.yaml, and of the tutorial's own loop
python -m benchmarks.speed fastest     from start to 99% on the test set: configs/lenet_fast.yaml, PyTorch, the tutorial
python -m benchmarks.speed networks    an epoch of both networks in one process, in one per core, and in PyTorch
python -m benchmarks.speed folders     an epoch of LeNet on MNIST from folders of PNG files, and from arrays
python -m benchmarks.speed startup     the first epoch; predict.py on one picture, and train.py --help, by import paddle
python -m benchmarks.speed pictures    predict.py on a folder of 2,000 pictures
python -m benchmarks.speed window      draw.py in a virtual display (needs Xvfb and xdotool)

The comparisons with PyTorch need torch (pip install -r requirements-bench.txt).
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import csv
import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from benchmarks import results
from benchmarks.inputs import write_class_folders, write_pictures, write_subset
from benchmarks.results import Row, ratio
from benchmarks.window import measure_window
from digits.cli import ArgumentParser, InputError, RunError, run
from digits.evaluation import plots
from digits.runtime import cpu_name, versions

ENVIRONMENT = dict(os.environ)  # without OMP_NUM_THREADS=1, which the import of Paddle adds: PyTorch would obey it
ROOT = Path(__file__).resolve().parents[1]
PLAIN = ("forms", "non-digits", "rotation", "scale", "aspect", "shear", "shift", "elastic", "stroke", "edges", "cut")
PICTURES = 2_000
SUBSET = 6_000  # training images for the extended network: an epoch of all takes PyTorch a minute


def compare_tutorial(rounds: int) -> list[Row]:
    """Time an epoch with validation: the tutorial's loop as published, and train.py with the tutorial's recipe."""
    tutorial, ours = [], []
    for _ in range(rounds):
        tutorial.append(float(_run("-m", "benchmarks.tutorial").splitlines()[-1]))
        counts, seconds = _train("configs/tutorial.yaml", "--epochs", "1")
        ours.append(seconds)
    return [
        Row("the tutorial's loop, 60,000 + 10,000 images", tutorial),
        Row(f"configs/tutorial.yaml, {counts[0]:,} + {counts[1]:,} images", ours),
        ratio("configs/tutorial.yaml against the tutorial's loop", tutorial, ours),
    ]


def compare_fastest(rounds: int) -> list[Row]:
    """Time the way to 99%, from the start of the process to the accuracy on the test set; a seed per round."""
    tutorial, torch, torch_accuracy, ours, accuracy = [], [], [], [], []
    best = ["--variant", "channels_last"]  # PyTorch's fastest here
    for seed in range(rounds):
        tutorial.append(5 * float(_run("-m", "benchmarks.tutorial").splitlines()[-1]))
        if _has_torch():
            command = ["-m", "benchmarks.pytorch", "accuracy", *best, "--seed", str(seed)]
            seconds, found = _time_until(r"^(0\.\d+)$", *command)
            torch.append(seconds)
            torch_accuracy.append(100 * float(found))
        with tempfile.TemporaryDirectory() as folder:
            command = ["train.py", "configs/lenet_fast.yaml", "--seed", str(seed), "--out", f"{folder}/run"]
            seconds, found = _time_until(r"^accuracy (\S+)%", *command)
        ours.append(seconds)
        accuracy.append(float(found))
    rows = [Row("the tutorial's loop, five epochs (95.5%)", tutorial), Row("configs/lenet_fast.yaml", ours)]
    rows += [
        Row("its accuracy", accuracy, "%"),
        ratio("lenet_fast against the tutorial's loop", tutorial, ours),
    ]
    if torch:
        rows += [Row("LeNet in PyTorch", torch), Row("its accuracy, PyTorch", torch_accuracy, "%")]
        rows.append(ratio("lenet_fast against PyTorch", torch, ours))
    return rows


def compare_networks(rounds: int) -> list[Row]:
    """Time the second epoch, without synthetic images and augmentation: PyTorch's best, one process, one per core."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_subset(Path(folder), SUBSET, 1_000)
        for name, data in (("lenet", []), ("extended", ["--data-dir", folder])):
            settings = [f"configs/{name}.yaml", "--epochs", "2", "--ema-decay=0", *data]
            settings += [f"--{amount}=0" for amount in PLAIN]
            torch, one, auto = [], [], []
            for _ in range(rounds):
                if _has_torch():
                    lines = _run("-m", "benchmarks.pytorch", "speed", name, *data).splitlines()
                    torch.append(min(float(line.split()[1]) for line in lines if line[-1].isdigit()))
                one.append(_train(*settings, "--processes", "1")[1])
                auto.append(_train(*settings, "--processes", "auto")[1])
            rows += [Row(f"{name}, PyTorch's best of four ways", torch)] if torch else []
            rows += [Row(f"{name}, one process", one), Row(f"{name}, one process per core", auto)]
            rows.append(ratio(f"{name}, one process per core against one process", one, auto))
            rows += [ratio(f"{name}, one process per core against PyTorch", torch, auto)] if torch else []
    return rows


def compare_folders(rounds: int) -> list[Row]:
    """Time LeNet on MNIST as arrays and as folders of PNG files: the second epoch, and two epochs as a whole."""
    settings = ["configs/lenet.yaml", "--epochs", "2", "--forms", "0", "--non-digits", "0"]
    epochs, runs = {"arrays": [], "folders": []}, {"arrays": [], "folders": []}
    with tempfile.TemporaryDirectory() as folder:
        write_class_folders(Path(folder))
        for _ in range(rounds):
            for name, data in (("arrays", []), ("folders", ["--data-dir", folder])):
                started = time.perf_counter()
                counts, seconds = _train(*settings, *data)
                epochs[name].append(60_000 * seconds / sum(counts))
                runs[name].append(time.perf_counter() - started)
    return [
        Row("lenet, 60,000 images from arrays", epochs["arrays"]),
        Row("lenet, 60,000 images from PNG files", epochs["folders"]),
        Row("two epochs from start to report, arrays", runs["arrays"]),
        Row("two epochs from start to report, PNG files", runs["folders"]),
        ratio("PNG files against arrays", epochs["arrays"], epochs["folders"]),
    ]


def compare_startup(rounds: int) -> list[Row]:
    """Time what comes before the first result, and the import of Paddle, the least that a program with Paddle takes."""
    bare, predict, usage, first, second, begun = [], [], [], [], [], []
    for number in range(rounds + 1):
        bare.append(_time("-c", "import paddle"))
        predict.append(_time("predict.py", "examples/7_scan.png"))
        usage.append(_time("train.py", "--help"))
        if number:  # the first round warms the disk cache
            with tempfile.TemporaryDirectory() as folder:
                command = ["train.py", "configs/lenet.yaml", "--epochs", "2", "--out", f"{folder}/run"]
                begun.append(_time_until("^(epoch) ", *command)[0])
                one, two = _seconds_per_epoch(f"{folder}/run")
            first.append(one)
            second.append(two)
    bare, predict, usage = bare[1:], predict[1:], usage[1:]
    return [
        Row('python -c "import paddle"', bare),
        Row("python predict.py examples/7_scan.png", predict),
        Row("python train.py --help", usage),
        Row("start of train.py to its first epoch", begun),
        Row("its first epoch", first),
        Row("its second epoch", second),
        ratio("one prediction against import paddle", bare, predict),
        ratio("train.py --help against import paddle", bare, usage),
    ]


def measure_pictures(rounds: int) -> list[Row]:
    """Time predict.py on a folder of pictures of 400x400 pixels, beyond the time for one."""
    one, many = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), PICTURES)
        for _ in range(rounds):
            one.append(_time("predict.py", f"{folder}/0000.png"))
            many.append(_time("predict.py", folder))
    beyond = [a - b for a, b in zip(many, one, strict=True)]
    return [
        Row("one picture", one),
        Row(f"a folder of {PICTURES:,}", many),
        Row("the folder beyond one picture", beyond),
    ]


def measure_drawing(rounds: int) -> list[Row]:
    """Time draw.py from its start to its window, and from the pen to the prediction; measure its CPU use when idle."""
    shown, answered, idle = measure_window(rounds)
    return [
        Row("draw.py, start of the process to its window", shown),
        Row("draw.py, press of the button to the prediction", answered, "ms"),
        Row("draw.py, use of one core while nobody draws", idle, "%"),
    ]


PARTS = {
    "tutorial": (compare_tutorial, "one epoch of the tutorial's recipe"),
    "fastest": (compare_fastest, "from start to the test accuracy"),
    "networks": (compare_networks, "one epoch, no augmentation"),
    "folders": (compare_folders, "LeNet on MNIST from arrays and from folders of PNG files"),
    "startup": (compare_startup, "from start to the first result"),
    "pictures": (measure_pictures, "predict.py, from start to end"),
    "window": (measure_drawing, "draw.py"),
}


def _train(*settings):
    """Run train.py; the numbers of train and val images, and the seconds of the last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        printed = _run("train.py", *settings, "--out", f"{folder}/run")
        seconds = _seconds_per_epoch(f"{folder}/run")[-1]
    counts = re.search(r"images: (\S+) train, (\S+) val", printed).groups()
    return [int(count.replace(",", "")) for count in counts], seconds


def _seconds_per_epoch(run_folder):
    with open(f"{run_folder}/log.csv", newline="") as log:
        return [float(row["seconds"]) for row in csv.DictReader(log)]


def _time(*arguments):
    started = time.perf_counter()
    _run(*arguments)
    return time.perf_counter() - started


def _time_until(pattern, *arguments):
    """Run a Python program to its end; the seconds until a line of its output matched, and the text of group 1."""
    started, found = time.perf_counter(), None
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": ENVIRONMENT}
    with subprocess.Popen([sys.executable, "-u", *arguments], cwd=ROOT, **streams) as process:
        for line in process.stdout:
            if found is None and (match := re.search(pattern, line)):
                found = time.perf_counter() - started, match[1]
    if found is None:
        raise RunError(f"python {' '.join(arguments)} ended with {process.returncode} and without a result")
    return found


def _run(*arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def _has_torch():
    return importlib.util.find_spec("torch") is not None


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="-m benchmarks.speed", description=__doc__)
    parser.add_argument("part", nargs="?", choices=("all", *PARTS), default="all")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=5, metavar="N", help="rounds of each [5]")
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore", message="No ccache found")  # from the import of Paddle in `versions`
    machine = ", ".join([cpu_name(), platform.system(), *(f"{name} {version}" for name, version in versions().items())])
    print(machine)
    if not _has_torch():
        print("PyTorch is left out: it is not installed (pip install -r requirements-bench.txt)", file=sys.stderr)
    table = ROOT / "outputs" / "speed.csv"
    for part in PARTS if args.part == "all" else [args.part]:
        measure, title = PARTS[part]
        try:
            rows = measure(args.rounds)
        except InputError as error:
            if args.part != "all":
                raise
            print(f"\nnot measured: {error}")
            continue
        results.show(title, rows)
        results.save(table, part, rows, machine)
    print(f"\n{table}")
    if chart := results.draw(results.load(table)):
        plots.save(chart, table.with_suffix(".png"))
        print(table.with_suffix(".png"))


if __name__ == "__main__":
    run(main)
