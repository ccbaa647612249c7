"""Measure our speed and that of a baseline in turn, in one run, because the speed of a machine varies.

python -m benchmarks.speed             all of the following
python -m benchmarks.speed training    an epoch of configs/tutorial.yaml, and of the tutorial's own loop
python -m benchmarks.speed folders     an epoch of LeNet on MNIST from folders of PNG files, and from arrays
python -m benchmarks.speed processes   an epoch of LeNet and of the extended network in one process, and in one per core
python -m benchmarks.speed startup     predict.py on one picture, and a bare import of Paddle
python -m benchmarks.speed window      draw.py in a virtual display (needs Xvfb and xdotool)
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import csv
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np

from benchmarks.desktop import PROGRAMS, desktop
from digits.cli import ArgumentParser, InputError, RunError, run
from digits.data.mnist import load_mnist
from digits.runtime import cpu_name, versions

ROOT = Path(__file__).resolve().parents[1]
INPUT_PANEL = np.s_[42:182, 476:616]  # the part of the screen where draw.py shows the network's input
STROKES_PER_ROUND = 20


def compare_training(rounds: int) -> None:
    """Time an epoch with validation: the tutorial's loop as published, and train.py with the tutorial's recipe."""
    tutorial, ours = [], []
    for _ in range(rounds):
        tutorial.append(float(_run("-m", "benchmarks.tutorial").splitlines()[-1]))
        images, seconds = _train("configs/tutorial.yaml", "--epochs", "1")
        ours.append(seconds)
    print(f"\none epoch, {rounds} rounds: median (min to max)")
    _print_row("the tutorial's loop, 60,000 + 10,000 images", tutorial, "s")
    _print_row(f"configs/tutorial.yaml, {images[0]:,} + {images[1]:,} images", ours, "s")
    ratios = _ratios(tutorial, ours)
    _print_row("times as many epochs per second", ratios, "x")
    _print_row("times as many images per second", [ratio * sum(images) / 70_000 for ratio in ratios], "x")


def compare_folders(rounds: int) -> None:
    """Time LeNet on MNIST as arrays and as folders of PNG files: the second epoch, and two epochs as a whole."""
    settings = ["configs/lenet.yaml", "--epochs", "2", "--forms", "0", "--non-digits", "0"]
    images_per_second, run_seconds = {"arrays": [], "folders": []}, {"arrays": [], "folders": []}
    with tempfile.TemporaryDirectory() as folder:
        _write_mnist(folder)
        for _ in range(rounds):
            for name, data in (("arrays", []), ("folders", ["--data-dir", folder])):
                started = time.perf_counter()
                images, seconds = _train(*settings, *data)
                images_per_second[name].append(sum(images) / seconds)
                run_seconds[name].append(time.perf_counter() - started)
    print(f"\nLeNet on MNIST from arrays and from folders of PNG files, {rounds} rounds: median (min to max)")
    for name, speeds in images_per_second.items():
        _print_row(f"{name}, thousand images per second", [speed / 1000 for speed in speeds], " ")
        _print_row(f"{name}, two epochs from start to report", run_seconds[name], "s")
    _print_row(
        "folders to arrays, images per second",
        _ratios(images_per_second["folders"], images_per_second["arrays"]),
        "x",
    )


def compare_processes(rounds: int) -> None:
    """Time the last of two epochs in one process, and in as many as `auto` takes."""
    for config in ("configs/lenet.yaml", "configs/extended.yaml"):
        one, auto = [], []
        for _ in range(rounds):
            for count, seconds in (("1", one), ("auto", auto)):
                seconds.append(_train(config, "--epochs", "2", "--processes", count)[1])
        print(f"\n{config}, one epoch, {rounds} rounds: median (min to max)")
        _print_row("one process", one, "s")
        _print_row("--processes auto", auto, "s")
        _print_row("times as many images per second", _ratios(one, auto), "x")


def compare_startup(rounds: int) -> None:
    """Time one prediction from the shell, and the import of Paddle, the least that any program with Paddle takes."""
    bare, predict = [], []
    for _ in range(rounds + 1):
        bare.append(_time("-c", "import paddle"))
        predict.append(_time("predict.py", "examples/7_scan.png"))
    bare, predict = bare[1:], predict[1:]  # the first round warms the disk cache
    print(f"\na process from start to end, {rounds} rounds: median (min to max)")
    _print_row('python -c "import paddle"', bare, "s")
    _print_row("python predict.py examples/7_scan.png", predict, "s")
    _print_row("ratio", _ratios(predict, bare), "x")


def measure_window(rounds: int) -> None:
    """Time draw.py from its start to its window, and from the pen to the prediction; measure its CPU use when idle.

    Raises:
        InputError: Xvfb or xdotool is not installed.
        RunError: the window does not answer.
    """
    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        raise InputError(f"draw.py's window: not installed: {' '.join(missing)} (apt-get install xvfb xdotool)")
    shown, idle, answered = [], [], []
    for _ in range(rounds):
        with desktop() as screen:
            process, seconds = screen.start([sys.executable, "draw.py"], cwd=ROOT, stdout=subprocess.DEVNULL)
            shown.append(seconds)
            _time_stroke(screen)  # not counted: the network loads
            answered += [1000 * _time_stroke(screen) for _ in range(STROKES_PER_ROUND)]
            time.sleep(3)
            idle.append(100 * _measure_cpu_use(process.pid, seconds=10))
            process.kill()
            process.wait()
    print(f"\ndraw.py, {rounds} rounds: median (min to max)")
    _print_row("start of the process to its window", shown, "s")
    _print_row("press of the button to the prediction", answered, "ms")
    print(f"  {'95th percentile':46}  {statistics.quantiles(answered, n=20)[-1]:6.2f} ms")
    _print_row("use of one core while nobody draws", idle, "%")


def _train(*settings):
    """Run train.py; the numbers of train and val images, and the seconds of the last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        printed = _run("train.py", *settings, "--out", f"{folder}/run")
        with open(f"{folder}/run/log.csv", newline="") as log:
            *_, row = csv.DictReader(log)
    counts = re.search(r"images: (\S+) train, (\S+) val", printed).groups()
    return [int(count.replace(",", "")) for count in counts], float(row["seconds"])


def _write_mnist(folder):
    """Write MNIST as PNG files into folder/train/<digit> and folder/test/<digit>."""
    for part in ("train", "test"):
        for digit in range(10):
            Path(folder, part, str(digit)).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(*load_mnist(part), strict=True)):
            cv2.imwrite(f"{folder}/{part}/{label}/{number:05d}.png", image)


def _time(*arguments):
    started = time.perf_counter()
    _run(*arguments)
    return time.perf_counter() - started


def _run(*arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"python {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def _time_stroke(screen):
    """Put the pen on draw.py's empty canvas; the seconds until the network's input appears."""
    screen.do("mousemove", 200, 200, "sleep", 0.3)  # until the window is completely drawn
    blank, started = screen.picture()[INPUT_PANEL], time.perf_counter()
    screen.do("mousedown", 1)
    while not (screen.picture()[INPUT_PANEL] != blank).any():
        if time.perf_counter() - started > 60:
            raise RunError("draw.py's window does not answer")
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    screen.do("mouseup", 1, "sleep", 0.1, "key", "c")
    return seconds


def _measure_cpu_use(pid, seconds):
    """The share of one core that a process and its children use."""
    started, before = time.perf_counter(), _cpu_seconds(pid)
    time.sleep(seconds)
    return (_cpu_seconds(pid) - before) / (time.perf_counter() - started)


def _cpu_seconds(pid):
    """The CPU time of a process and its children so far (proc(5))."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for process in [pid, *children]:
        ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ratios(numerators, denominators):
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def _print_row(name, values, unit):
    print(f"  {name:46}  {statistics.median(values):6.2f} {unit}  ({min(values):.2f} to {max(values):.2f})")


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="-m benchmarks.speed", description=__doc__)
    parts = ("all", "training", "folders", "processes", "startup", "window")
    parser.add_argument("part", nargs="?", choices=parts, default="all")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="N", help="rounds of each [3]")
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore", message="No ccache found")  # from the import of Paddle in `versions`
    names = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"{cpu_name()}, {platform.system()}, {names}")
    if args.part in ("all", "training"):
        compare_training(args.rounds)
    if args.part in ("all", "folders"):
        compare_folders(args.rounds)
    if args.part in ("all", "processes"):
        compare_processes(args.rounds)
    if args.part in ("all", "startup"):
        compare_startup(args.rounds * 3)
    if args.part == "window":
        measure_window(args.rounds)
    if args.part == "all":
        try:
            measure_window(args.rounds)
        except InputError as error:
            print(f"\nnot measured: {error}")


if __name__ == "__main__":
    run(main)
