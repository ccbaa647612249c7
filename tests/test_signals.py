"""Ctrl-C and SIGTERM end a script at any moment with one line, and leave notebooks and other programs alone."""

import io
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

from digits import cli, signals

COMMANDS = {
    "train.py": ["--summary"],
    "evaluate.py": ["--json"],
    "predict.py": ["examples/7_scan.png"],
}
ENDS = {signal.SIGINT: (130, "error: interrupted"), signal.SIGTERM: (143, "error: terminated")}

needs_signals = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's signals and /proc")


def start(command):
    """Start a script, and wait until its first line has run."""
    process = subprocess.Popen(
        [sys.executable, command, *COMMANDS[command]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not handles_termination(process.pid):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    return process


def handles_termination(pid):
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


@needs_signals
@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("latest", [0.1, 0.6, 2.0])
def test_a_signal_at_any_moment_of_the_start_is_one_line(number, latest):
    """The moments are random: while Python's modules, Paddle and the scripts are imported, and just behind."""
    status, line = ENDS[number]
    processes = [start(command) for command in COMMANDS]
    wait = random.Random()
    for process in processes:
        time.sleep(wait.uniform(0, latest / len(processes)))
        process.send_signal(number)
    for process in processes:
        out, err = process.communicate(timeout=60)
        lines = [text for text in err.splitlines() if not text.startswith("data: ")]
        is_done = process.returncode == 0 and lines == [] and out and latest == 2.0
        assert is_done or (process.returncode, lines) == (status, [line]), (process.args, err)


@needs_signals
def test_a_script_that_has_done_its_work_ignores_ctrl_c(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("""
from digits.signals import end_on_interrupt
end_on_interrupt()
from digits.cli import run
run(lambda: print("done"))
import atexit, os, signal
atexit._run_exitfuncs()
os.kill(os.getpid(), signal.SIGINT)
""")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_signal_during_an_import_is_raised_behind_it(tmp_path, monkeypatch):
    """Importlib can lose an exception that a handler raises."""
    raised = []
    monkeypatch.setattr(signals._thread, "interrupt_main", raised.append)
    monkeypatch.setattr(signals, "_RETRY", 0)
    (tmp_path / "slow_import.py").write_text(
        "import sys\nfrom digits import signals\nsignals._raise(2, sys._getframe())\nfinished = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import slow_import

    assert slow_import.finished
    end = time.monotonic() + 10
    while not raised and time.monotonic() < end:
        time.sleep(0.01)
    assert raised == [2]
    with pytest.raises(KeyboardInterrupt):
        signals._raise(signal.SIGINT, sys._getframe())
    with pytest.raises(signals.Terminated):
        signals._raise(signal.SIGTERM, sys._getframe())


@pytest.mark.parametrize(
    ("orig_argv", "argv", "is_script"),
    [
        (["python", "train.py", "--lr", "1"], ["train.py", "--lr", "1"], True),
        (["python", "-u", "-X", "utf8", "/a/train.py"], ["/a/train.py"], True),
        (["python", "-m", "benchmarks.speed", "window"], ["/a/benchmarks/speed.py", "window"], True),
        (["python", "-m", "ipykernel_launcher", "-f", "k.json"], ["predict.py", "7.png"], False),  # %run
        (["python", "-m", "ipykernel_launcher", "-f", "k.json"], ["predict.py"], False),
        (["python", "wrapper.py", "predict.py", "7.png"], ["predict.py", "7.png"], False),
        (["python", "-m", "pytest"], ["/a/pytest/__main__.py"], False),
        (["python"], [""], False),
    ],
)
def test_only_a_script_of_its_own_process_handles_signals(orig_argv, argv, is_script, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    monkeypatch.setattr(sys, "argv", argv)
    assert signals._is_script() == is_script


def test_a_script_that_is_imported_or_run_here_leaves_the_handlers(monkeypatch, capsys):
    handlers = [signal.getsignal(number) for number in ENDS]
    monkeypatch.setattr(sys, "argv", ["predict.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "predict.py"), run_name="__main__")
    assert "usage: predict.py" in capsys.readouterr().out
    assert [signal.getsignal(number) for number in ENDS] == handlers


class NotebookOutput(io.TextIOBase):
    """What a notebook or IDLE has for stdout: it can be written to, and nothing else."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)


class ClosedOutput(NotebookOutput):
    def write(self, text):
        raise BrokenPipeError


def test_notebooks_and_pythonw_need_no_real_stdout(monkeypatch):
    notebook = NotebookOutput()
    monkeypatch.setattr(sys, "stdout", notebook)
    cli.run(lambda: print("7"))
    assert notebook.text == "7\n"
    monkeypatch.setattr(sys, "stdout", ClosedOutput())
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: print("7"))
    assert end.value.code == 1
    monkeypatch.setattr(sys, "stdout", None)  # pythonw
    monkeypatch.setattr(sys, "stderr", None)
    cli.run(lambda: print("7"))
    with pytest.raises(SystemExit) as end:
        cli.run(lambda: os.stat("/gone"))
    assert end.value.code == 1
