"""Measure draw.py in a virtual display: its start, its answer to the pen, its use of the CPU when idle."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.desktop import PROGRAMS, desktop
from digits.cli import InputError, RunError

_INPUT_PANEL = np.s_[42:182, 476:616]  # the part of the screen where draw.py shows the network's input
_STROKES = 20  # per round


def measure_window(rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return the seconds from the start to the window, the milliseconds from the pen to the prediction, and the idle
    CPU use in percent of a core.

    Raises:
        InputError: Xvfb or xdotool is not installed.
        RunError: the window does not answer.
    """
    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        raise InputError(f"draw.py's window: not installed: {' '.join(missing)} (apt-get install xvfb xdotool)")
    shown, answered, idle = [], [], []
    for _ in range(rounds):
        with desktop() as screen:
            command = [sys.executable, "draw.py"]
            root = Path(__file__).resolve().parents[1]
            process, seconds = screen.start(command, cwd=root, stdout=subprocess.DEVNULL)
            shown.append(seconds)
            _time_stroke(screen)  # not counted: the network loads
            answered += [1000 * _time_stroke(screen) for _ in range(_STROKES)]
            time.sleep(3)
            idle.append(100 * _measure_cpu_use(process.pid, seconds=10))
            process.kill()
            process.wait()
    return shown, answered, idle


def _time_stroke(screen):
    """Put the pen on draw.py's empty canvas; the seconds until the network's input appears."""
    screen.do("mousemove", 200, 200, "sleep", 0.3)  # until the window is completely drawn
    blank, started = screen.picture()[_INPUT_PANEL], time.perf_counter()
    screen.do("mousedown", 1)
    while not (screen.picture()[_INPUT_PANEL] != blank).any():
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
