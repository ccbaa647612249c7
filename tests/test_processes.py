"""Training in several processes: the same images, learning rate and weights in each; one line when one of them ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, assert_same, call, script, state

import train
from digits.cli import InputError
from digits.config import load_config
from digits.networks.checkpoint import load_checkpoint, read_state
from digits.runtime import available_cores
from digits.training.launch import _count_processes, _find_config
from digits.training.options import parse

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several processes work on Linux only")

SMALL = ["--batch-size", "64", "--forms", "4", "--non-digits", "3", "--rotation", "10"]


def start(*arguments, cwd, **environment):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *map(str, arguments)],
        cwd=cwd, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def ranks_of(run):
    """Process numbers of the processes that a training has started, by rank."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return sorted(map(int, children))


def wait_for_epoch(run, number):
    for line in run.stdout:
        if line.split()[:1] == [str(number)]:
            return
    raise AssertionError(run.stderr.read())


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, small_data):
    """A training of the extended network in two processes, three epochs."""
    folder = tmp_path_factory.mktemp("two")
    done = script("train.py", ROOT / "configs" / "extended.yaml", "--data-dir", small_data, *SMALL,
                  "--epochs", 3, "--processes", 2, "--out", "whole", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "whole", done


def test_two_processes_train_a_network_and_print_once(two_processes):
    out, done = two_processes
    assert done.stdout.count("parameters: ") == 1
    assert done.stderr.count("\n") == 2, done.stderr  # where the data is from, train and test
    assert load_checkpoint(out).meta["processes"] == 2
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("victim", ["supervisor", "first", "second"])
def test_a_killed_training_resumes_bit_for_bit(two_processes, small_data, tmp_path, victim):
    run = start(ROOT / "configs" / "extended.yaml", "--data-dir", small_data, *SMALL,
                "--epochs", 3, "--processes", 2, "--out", "run", cwd=tmp_path)  # fmt: skip
    wait_for_epoch(run, 1)
    ranks = ranks_of(run)
    assert len(ranks) == 2
    os.kill({"supervisor": run.pid, "first": ranks[0], "second": ranks[1]}[victim], signal.SIGKILL)
    _, stderr = run.communicate(timeout=60)
    for _ in range(100):
        if not any(Path(f"/proc/{rank}").exists() for rank in ranks):
            break
        time.sleep(0.1)
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    assert "Traceback" not in stderr
    if victim == "second":
        assert run.returncode == 1
        assert re.search(r"stopped, since another process has ended or hangs; \d of 3 epochs are saved", stderr)
        assert stderr.endswith("error: process 2 of 2 was killed (signal 9)\n")
    if victim == "first":
        assert run.returncode == 128 + signal.SIGKILL
        assert stderr.endswith("error: the training was killed (signal 9); --resume continues it\n")
    resumed = script("train.py", "--resume", "--out", "run", "--processes", 2, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert_same(state(tmp_path / "run"), state(two_processes[0]))


def test_ctrl_c_ends_all_processes_and_says_how_to_resume(small_data, tmp_path):
    run = start("--data-dir", small_data, *SMALL, "--epochs", 200, "--processes", 2, "--out", "run", cwd=tmp_path)
    wait_for_epoch(run, 1)
    ranks = ranks_of(run)
    for rank in ranks:  # gloo's threads do not preempt the main thread
        policies = {
            int(task.name): os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{rank}/task").iterdir()
        }
        assert policies.pop(rank) == os.SCHED_OTHER
        assert os.SCHED_BATCH in policies.values()
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert re.search(r"stopped; \d+ of 200 epochs are saved; resume with\npython train.py --resume", stderr)
    assert "Traceback" not in stderr
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def test_one_process_resumes_what_two_have_begun(two_processes, small_data, tmp_path):
    run = start(ROOT / "configs" / "extended.yaml", "--data-dir", small_data, *SMALL,
                "--epochs", 3, "--processes", 2, "--out", "run", cwd=tmp_path)  # fmt: skip
    wait_for_epoch(run, 1)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert run.returncode == 143
    resumed = call(train.main, "--resume", "--out", "run", "--processes", "1", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumed with 1 process, after 2: " in resumed.stdout
    assert len(read_state(tmp_path / "run" / "last.pdopt")["history"]) == 3


def test_without_randomness_two_processes_take_the_step_of_one(small_data, tmp_path):
    """LeNet has no batch norm: the average of the halves' gradients is the gradient of the whole batch."""
    for count in (1, 2):
        done = script("train.py", ROOT / "configs" / "tutorial.yaml", "--data-dir", small_data, "--epochs", 1,
                      "--batch-size", 64, "--processes", count, "--out", str(count), cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, two = (load_checkpoint(tmp_path / str(count)).weights for count in (1, 2))
    for name, weights in one.items():
        np.testing.assert_allclose(two[name], weights, atol=1e-4)
    one, two = (read_state(tmp_path / str(count) / "last.pdopt")["history"][0] for count in (1, 2))
    assert one["train_loss"] == pytest.approx(two["train_loss"], abs=1e-4)


def test_two_hosts_train_the_same_weights_as_two_processes(two_processes, small_data, tmp_path):
    """Two launchers on two loopback addresses stand for two machines."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-m", "paddle.distributed.launch", "--nnodes", "2",
             "--master", f"127.0.0.1:{port}", "--rank", str(rank), "--host", f"127.0.0.{rank + 1}",
             "--log_dir", str(tmp_path / f"log{rank}"), str(ROOT / "train.py"),
             str(ROOT / "configs" / "extended.yaml"), "--data-dir", str(small_data), *SMALL, "--epochs", "3",
             "--out", "run"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    printed = [host.communicate(timeout=120)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], printed
    assert_same(state(tmp_path / "run"), state(two_processes[0]))


def count_processes(*arguments):
    args, overrides = parse("", list(map(str, arguments)))
    return _count_processes(args, *_find_config(args, overrides))


def test_auto_never_takes_more_processes_than_cores_or_than_pays():
    cores = available_cores()
    assert count_processes() == min(cores, 4)
    assert count_processes("--batch-size", 64) == min(cores, 2)
    assert count_processes("--batch-size", 32) == 1
    assert count_processes(ROOT / "configs" / "mlp.yaml") == 1
    assert count_processes("--device", "gpu") == 1
    assert count_processes("--processes", 3) == 3
    with pytest.raises(InputError, match="photos and unlabeled images"):
        count_processes(ROOT / "configs" / "photo_cnn.yaml", "--processes", 2)
    with pytest.raises(InputError, match="at most one process per image"):
        count_processes("--batch-size", 2, "--processes", 3)


def test_a_resume_takes_the_number_of_processes_of_the_run_if_there_are_as_many_cores(two_processes, small_run):
    assert count_processes("--resume", "--out", small_run) == 1
    assert count_processes("--resume", "--out", two_processes[0]) == min(available_cores(), 2)
    assert count_processes("--resume", "--out", two_processes[0], "--processes", 1) == 1
    args, overrides = parse("", [str(ROOT / "configs" / "mlp.yaml")])  # auto trains it in one process
    assert _count_processes(args, load_config(args.config, overrides), before=available_cores()) == available_cores()


def test_a_wrong_number_of_processes_is_a_one_line_error():
    for value in ("0", "-1", "two", "1.5"):
        assert_one_line_error(script("train.py", f"--processes={value}"), "--processes", value)


def test_bad_input_is_one_line_from_several_processes_too(two_processes, small_data):
    out, _ = two_processes
    done = script("train.py", "--data-dir", small_data, *SMALL, "--processes", 2, "--out", out, cwd=out.parent)
    assert_one_line_error(done, "never overwritten")


def test_several_seeds_in_two_processes(small_data, tmp_path):
    done = script("train.py", "--data-dir", small_data, *SMALL, "--epochs", 1, "--processes", 2, "--seeds", 0, 1,
                  "--out", "seeds", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [load_checkpoint(tmp_path / "seeds" / seed).meta["processes"] for seed in "01"] == [2, 2]
