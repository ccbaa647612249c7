"""Measure our speed against a yardstick in the same run, since the machine's own speed comes and goes.

python -m benchmarks.speed             all of these
python -m benchmarks.speed training    an epoch of configs/tutorial.yaml beside one of the tutorial's own loop
python -m benchmarks.speed folders     an epoch of MNIST from folders of PNG beside one of the same from its arrays
python -m benchmarks.speed startup     predict.py on one picture beside `import paddle` alone
python -m benchmarks.speed window      draw.py on a screen of its own (needs Xvfb and xdotool)
"""

import csv
import gzip
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

warnings.filterwarnings("ignore", message="No ccache found")

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.vision.datasets import MNIST
from paddle.vision.transforms import ToTensor

from digits.cli import ArgumentParser, InputError, RunError, run
from digits.data.download import CACHE, FILES
from digits.data.mnist import load_mnist
from digits.runtime import cpu_name, versions

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("all", "training", "folders", "startup", "window", "tutorial-loop")


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="-m benchmarks.speed", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, default="all")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), default=3, metavar="N", help="of each, in turn [3]")
    args = parser.parse_args(argv)
    if args.part == "tutorial-loop":  # the process that `training` times
        print(tutorial_epoch())
        return
    names = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"{cpu_name()}, {platform.system()}, {names}")
    if args.part in ("all", "training"):
        compare_training(args.rounds)
    if args.part in ("all", "folders"):
        compare_folders(args.rounds)
    if args.part in ("all", "startup"):
        compare_startup(args.rounds * 3)
    if args.part in ("all", "window"):
        try:
            measure_window(args.rounds)
        except InputError as error:
            if args.part == "window":
                raise
            print(f"\nnot measured: {error}")


def compare_training(rounds: int) -> None:
    """An epoch with its validation: the tutorial's loop as published, and train.py with the tutorial's recipe."""
    tutorial, ours = [], []
    for _ in range(rounds):
        tutorial.append(float(_run("-m", "benchmarks.speed", "tutorial-loop").splitlines()[-1]))
        images, seconds = _last_epoch("configs/tutorial.yaml", "--epochs", "1")
        ours.append(seconds)
    print(f"\nan epoch, {rounds} rounds: median (least to most)")
    _print_row("the tutorial's loop, 60,000 + 10,000 images", tutorial, "s")
    _print_row(f"configs/tutorial.yaml, {images[0]:,} + {images[1]:,} images", ours, "s")
    ratios = [a / b for a, b in zip(tutorial, ours, strict=True)]
    _print_row("times as fast an epoch", ratios, "x")
    _print_row("times as many images a second", [ratio * sum(images) / 70_000 for ratio in ratios], "x")


def compare_folders(rounds: int) -> None:
    """LeNet's second epoch on MNIST as folders of PNG files, and on its arrays; and each run from start to report."""
    epochs, runs = {"arrays": [], "folders": []}, {"arrays": [], "folders": []}
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "test"):
            for digit in range(10):
                Path(folder, part, str(digit)).mkdir(parents=True)
            for number, (image, label) in enumerate(zip(*load_mnist(part), strict=True)):
                cv2.imwrite(f"{folder}/{part}/{label}/{number:05d}.png", image)
        settings = ["configs/lenet.yaml", "--epochs", "2", "--forms", "0", "--non-digits", "0"]
        for _ in range(rounds):
            for name, data in (("arrays", []), ("folders", ["--data-dir", folder])):
                started = time.perf_counter()
                images, seconds = _last_epoch(*settings, *data)
                epochs[name].append(sum(images) / seconds)
                runs[name].append(time.perf_counter() - started)
    print(f"\nLeNet on MNIST from arrays and from folders of PNG, {rounds} rounds: median (least to most)")
    for name in epochs:
        _print_row(f"{name}, thousand images a second", [value / 1000 for value in epochs[name]], " ")
        _print_row(f"{name}, two epochs from start to report", runs[name], "s")
    ratios = [folders / arrays for arrays, folders in zip(*epochs.values(), strict=True)]
    _print_row("folders by arrays, images a second", ratios, "x")


def compare_startup(rounds: int) -> None:
    """One prediction from the shell, and the least that any program with Paddle in it takes."""
    bare, predict = [], []
    for _ in range(rounds + 1):
        bare.append(_seconds(["-c", "import paddle"]))
        predict.append(_seconds(["predict.py", "examples/7_scan.png"]))
    bare, predict = bare[1:], predict[1:]  # the first round warms the disk cache
    print(f"\nstart to end of a process, {rounds} rounds: median (least to most)")
    _print_row('python -c "import paddle"', bare, "s")
    _print_row("python predict.py examples/7_scan.png", predict, "s")
    _print_row("ratio", [b / a for a, b in zip(bare, predict, strict=True)], "x")


def measure_window(rounds: int) -> None:
    """From the start of draw.py to its window, from the pen to the answer, and what it costs while nobody draws."""
    sys.path.insert(0, str(ROOT / "tests"))
    from desktop import PROGRAMS, desktop

    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        raise InputError(f"draw.py's window: not installed: {' '.join(missing)} (apt-get install xvfb xdotool)")
    shown, idle, answered = [], [], []
    for _ in range(rounds):
        with desktop() as screen:
            seen = np.s_[42:182, 476:616]  # the part of the screen where the network's 28x28 stands
            command = [sys.executable, "draw.py"]
            process, seconds = screen.start(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            shown.append(seconds)
            for _ in range(21):
                screen.do("mousemove", 200, 200, "sleep", 0.3)  # all has been drawn then
                blank, started = screen.picture()[seen], time.perf_counter()
                screen.do("mousedown", 1)
                _wait_for_change(screen, seen, blank)
                answered.append(1000 * (time.perf_counter() - started))
                screen.do("mouseup", 1, "sleep", 0.1, "key", "c")
            del answered[-21]  # the first, for which the model had to load
            time.sleep(3)
            started, before = time.perf_counter(), _cpu_seconds(process.pid)
            time.sleep(10)
            idle.append(100 * (_cpu_seconds(process.pid) - before) / (time.perf_counter() - started))
            process.kill()
            process.wait()
    print(f"\ndraw.py, {rounds} rounds: median (least to most)")
    _print_row("start of the process to its window", shown, "s")
    _print_row("a press of the button to the answer", answered, "ms")
    print(f"  {'95 % of them within':46}  {statistics.quantiles(answered, n=20)[-1]:6.2f} ms")
    _print_row("of a core, while nobody draws", idle, "%")


def _wait_for_change(screen, part, before):
    end = time.monotonic() + 60
    while not (screen.picture()[part] != before).any():
        if time.monotonic() > end:
            raise RunError("draw.py's window does not answer")
        time.sleep(0.002)


def _cpu_seconds(pid):
    """Of a process and its children, so far (proc(5))."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = 0
    for process in [pid, *children]:
        ticks += sum(map(int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


class TutorialLeNet(nn.Layer):
    """The network as the tutorial writes it."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2D(in_channels=1, out_channels=6, kernel_size=5)
        self.max_pool1 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2D(in_channels=6, out_channels=16, kernel_size=5)
        self.max_pool2 = nn.MaxPool2D(kernel_size=2, stride=2)
        self.conv3 = nn.Conv2D(in_channels=16, out_channels=120, kernel_size=4)
        self.fc1 = nn.Linear(in_features=120, out_features=64)
        self.fc2 = nn.Linear(in_features=64, out_features=10)

    def forward(self, x):
        x = F.sigmoid(self.conv1(x))
        x = F.sigmoid(self.max_pool1(x))
        x = self.max_pool2(self.conv2(x))
        x = paddle.reshape(self.conv3(x), [x.shape[0], -1])
        return self.fc2(F.sigmoid(self.fc1(x)))


def tutorial_epoch() -> float:
    """Seconds for an epoch as the tutorial writes it: ToTensor, DataLoader, batches of 10, validation."""
    with tempfile.TemporaryDirectory() as folder:
        loaders = [
            paddle.io.DataLoader(_paddle_mnist(mode, folder, ToTensor()), batch_size=10, shuffle=True)
            for mode in ("train", "test")
        ]
    model = TutorialLeNet()
    optimizer = paddle.optimizer.Momentum(learning_rate=0.001, momentum=0.9, parameters=model.parameters())
    loss_function = nn.CrossEntropyLoss(reduction="none")

    started = time.perf_counter()
    model.train()
    for images, labels in loaders[0]():
        loss = paddle.mean(loss_function(model(images), labels))
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    accuracies, losses = [], []
    for images, labels in loaders[1]():
        logits = model(images)
        losses.append(loss_function(logits, labels).numpy())
        accuracies.append(paddle.metric.accuracy(F.softmax(logits), labels).numpy())
    return time.perf_counter() - started


def _paddle_mnist(mode, folder, transform):
    """Paddle's own dataset, from the files our cache holds (it reads .gz only)."""
    load_mnist(mode)
    for name in FILES[mode]:
        Path(folder, f"{name}.gz").write_bytes(gzip.compress((CACHE.expanduser() / name).read_bytes(), 1))
    return MNIST(*(f"{folder}/{name}.gz" for name in FILES[mode]), mode=mode, transform=transform)


def _run(*command):
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RunError(f"python {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def _last_epoch(*settings):
    """Train, and return how many images train and val have, and the seconds of the last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        printed = _run("train.py", *settings, "--out", f"{folder}/run")
        with open(f"{folder}/run/log.csv", newline="") as log:
            *_, row = csv.DictReader(log)
    counts = re.search(r"images: (\S+) train, (\S+) val", printed).groups()
    return [int(count.replace(",", "")) for count in counts], float(row["seconds"])


def _seconds(command):
    started = time.perf_counter()
    _run(*command)
    return time.perf_counter() - started


def _print_row(name, values, unit):
    print(f"  {name:46}  {statistics.median(values):6.2f} {unit}  ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    run(main)
