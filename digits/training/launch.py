"""Start a training in several processes on this machine, and end them together. Does not import Paddle."""

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from digits.cli import InputError
from digits.config import DIGIT_SHAPE, Config, load_config
from digits.runtime import available_cores
from digits.training.options import DEFAULT_CONFIG, run_name

RANK = "PADDLE_TRAINER_ID"  # environment variable of a process that is one of several
_NETWORKS = ("lenet", "extended")  # networks whose steps take far longer than an exchange
_MIN_IMAGES = 32  # images of a batch per process; with fewer, the exchange takes as long as it saves
_GRACE = 10  # seconds for the main process to end by itself when another one has died
_SAID = (2, 130, 143)  # exit status of bad input, Ctrl-C and SIGTERM: the first process has said it for all
_POLL = 0.05  # seconds between two looks at the processes
_PDEATHSIG = 1  # prctl's option: the signal to receive when the parent dies (Linux, sys/prctl.h)


def launch(args: argparse.Namespace, overrides: dict[str, str]) -> None:
    """Train in several processes, if `args.processes` asks for them; return if this process is to train.

    The processes are those of `paddle.distributed`: the environment tells each its rank, the number of processes and
    the address of the first. `python -m paddle.distributed.launch` sets the same variables.

    Raises:
        InputError: the config cannot be trained in several processes.
        SystemExit: the training has ended; its exit status.
    """
    if RANK in os.environ or args.summary or args.preview or args.dry_run or args.processes == "1":
        return
    count = _count_processes(args, *_find_config(args, overrides))
    if count > 1 and sys.platform != "linux":
        if args.processes != "auto":
            print(f"--processes {count}: works on Linux only; training in one process", file=sys.stderr)
        return
    if count > 1:
        sys.exit(_supervise(_start(count)))


def _find_config(args, overrides):
    """Return the config, and the number of processes that the run to resume was trained in; None for a new run."""
    if not args.resume:
        return load_config(args.config or DEFAULT_CONFIG, overrides), None
    from digits.training.checkpointer import read_process_count  # these import Paddle
    from digits.training.run_folder import find_run

    out, config = find_run(run_name(args, overrides), args.out, {})
    return config, read_process_count(out)


def _count_processes(args, config: Config, before: int | None = None) -> int:
    is_one = config.input_shape != DIGIT_SHAPE or bool(config.unlabeled)
    if args.processes != "auto":
        count = int(args.processes)
        if count > 1 and is_one:
            raise InputError(f"--processes {count}: photos and unlabeled images are trained on in one process; omit it")
        if count > config.batch_size:
            raise InputError(f"--processes {count}: batch_size is {config.batch_size}; at most one process per image")
        return count
    has_gpu = args.device == "gpu" or (args.device == "auto" and Path("/dev/nvidiactl").exists())
    if is_one or has_gpu:
        return 1
    if before and before <= available_cores():
        return before
    if config.model not in _NETWORKS:
        return 1
    return max(1, min(available_cores(), config.batch_size // _MIN_IMAGES))


def _start(count):
    """Start the processes, each with a share of the cores; the first one has the terminal."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoints = [f"127.0.0.1:{port + rank}" for rank in range(count)]
    shared = {
        "PADDLE_TRAINERS_NUM": str(count),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints),
        "PADDLE_MASTER": endpoints[0],
        "PADDLE_DISTRI_BACKEND": "gloo",
        "GLOO_SOCKET_IFNAME": "lo",
        "GLOG_minloglevel": "2",  # Paddle reports every connection
        "OMP_NUM_THREADS": str(max(1, available_cores() // count)),
    }
    return [
        _Process(rank, os.environ | shared | {RANK: str(rank), "PADDLE_CURRENT_ENDPOINT": endpoints[rank]})
        for rank in range(count)
    ]


class _Process:
    """One process of the training: the first has the terminal; of the others, only the errors are kept."""

    def __init__(self, rank, environment):
        libc = ctypes.CDLL(None)
        self.errors = None if rank == 0 else tempfile.TemporaryFile()  # noqa: SIM115
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} if rank else {}
        self.process = subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env=environment,
            stderr=self.errors,
            start_new_session=True,  # a terminal's Ctrl-C is for the supervisor alone
            preexec_fn=lambda: libc.prctl(_PDEATHSIG, signal.SIGKILL),
            **silent,
        )

    def describe_end(self):
        status = self.process.returncode
        if status < 0:
            return f"was killed (signal {-status})"
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"failed: {lines[-1].removeprefix('error: ') if lines else f'exit status {status}'}"


def _supervise(processes):
    """Wait until the first process ends, and end the others; return its exit status, or 1 if another one fails."""
    main, *others = (process.process for process in processes)
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process says how to resume
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: main.send_signal(number))
    deadline = None
    while main.poll() is None:
        if deadline is None and any(other.poll() for other in others):
            deadline = time.monotonic() + _GRACE
        if deadline and time.monotonic() > deadline:
            main.kill()
        time.sleep(_POLL)
    failed = next((number for number, other in enumerate(others, 1) if other.poll()), None)
    for other in others:
        other.kill()
        other.wait()
    if failed and main.returncode not in _SAID:
        print(f"error: process {failed + 1} of {len(processes)} {processes[failed].describe_end()}", file=sys.stderr)
        return 1
    if main.returncode < 0:
        print(f"error: the training {processes[0].describe_end()}; --resume continues it", file=sys.stderr)
        return 128 - main.returncode
    return main.returncode
