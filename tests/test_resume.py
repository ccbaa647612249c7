"""Resuming: a resumed run ends with the weights of an uninterrupted run to the bit; a kill loses at most one epoch."""

import csv
import dataclasses
import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, assert_same, call, dataset_of, fit, script, state

import train
from digits.config import Config
from digits.files import seal
from digits.networks.checkpoint import read_state
from digits.training import batches
from digits.training.checkpointer import load_history
from digits.training.optim import make_schedule
from digits.training.run_folder import Run, find_run


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_a_resumed_run_ends_with_the_same_bits(config, tmp_path, monkeypatch, optimizer, schedule):
    config = dataclasses.replace(config, optimizer=optimizer, schedule=schedule, momentum=0.9)
    data = dataset_of(config)
    fit(config, data, tmp_path / "whole")

    real, count = batches.augment, 0

    def stop_in_epoch_three(*arguments, **amounts):
        nonlocal count
        count += 1
        if count > 2 * 3 + 1:  # three batches per epoch
            raise KeyboardInterrupt
        return real(*arguments, **amounts)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(batches, "augment", stop_in_epoch_three)
        fit(config, data, tmp_path / "stopped")
    assert len(read_state(tmp_path / "stopped" / "last.pdopt")["history"]) == 2
    fit(config, data, tmp_path / "stopped", resume=True)

    assert_same(state(tmp_path / "whole"), state(tmp_path / "stopped"))


EPOCHS = 30
SETTINGS = ["--epochs", str(EPOCHS), "--batch-size", "20", "--forms", "0", "--non-digits", "0"]


def start(arguments, cwd):
    options = {}
    if os.name == "posix":  # a shell's background job ignores Ctrl-C, and its children inherit that
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def wait_for_epoch(run, number):
    for line in run.stdout:
        if line.split()[:1] == [str(number)]:
            return
    raise AssertionError(run.stderr.read())


def test_ctrl_c_prints_the_command_that_resumes(tmp_path, small_data):
    run = start(["--data-dir", str(small_data), *SETTINGS, "--out", "run"], tmp_path)
    wait_for_epoch(run, 2)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in stderr
    done = int(re.search(rf"stopped; (\d+) of {EPOCHS} epochs are saved", stderr)[1])
    assert done >= 2
    command = stderr.strip().splitlines()[-1].split()
    assert command[:2] == ["python", "train.py"]
    resumed = script(*command[1:], cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert len(read_state(tmp_path / "run" / "last.pdopt")["history"]) == EPOCHS


def test_a_killed_run_loses_at_most_the_epoch_it_was_in(tmp_path, small_data):
    """Killed at two random moments and resumed after each, a run ends as if it had never been interrupted."""
    rng = np.random.default_rng(0)
    completed = 0
    for arguments in (["--data-dir", str(small_data), *SETTINGS], ["--resume"]):
        run = start([*arguments, "--out", "run"], tmp_path)
        wait_for_epoch(run, completed + 2)
        time.sleep(rng.uniform(0, 0.3))
        run.kill()
        run.communicate()
        saved = len(read_state(tmp_path / "run" / "last.pdopt")["history"])
        assert completed + 2 <= saved < EPOCHS
        with (tmp_path / "run" / "log.csv").open() as log:
            assert len(list(csv.DictReader(log))) >= saved - 1
        completed = saved
    resumed = call(train.main, "--resume", "--out", "run", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = call(train.main, "--data-dir", small_data, *SETTINGS, "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert_same(state(tmp_path / "run"), state(tmp_path / "whole"))


def test_resuming_a_complete_run_only_prints_its_report(tmp_path, small_run):
    before = (small_run / "best.json").read_text()
    done = call(train.main, "--resume", "--out", small_run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert (small_run / "best.json").read_text() == before


def test_resume_takes_the_incomplete_run_even_if_a_complete_run_is_newer(tmp_path, small_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_run, "checkpoints/lenet")
    meta = json.loads((tmp_path / "checkpoints/lenet/best.json").read_text())
    del meta["metrics"]["test"]
    (tmp_path / "checkpoints/lenet/best.json").write_text(json.dumps(meta))
    shutil.copytree(small_run, "checkpoints/lenet-2")
    os.utime("checkpoints/lenet-2/last.pdopt")
    assert str(find_run("lenet", None, {})[0]) == "checkpoints/lenet"


def test_a_resumed_run_keeps_its_settings(small_run):
    done = call(train.main, "--resume", "--out", small_run, "--epochs", 9)
    assert_one_line_error(done, "has epochs 2, not 9")


@pytest.mark.parametrize(
    ("content", "message"), [(b"damaged", "damaged"), (seal(pickle.dumps({}, 4)), "not the state of a run")]
)
def test_a_damaged_progress_file_is_a_one_line_error(tmp_path, small_run, content, message):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "last.pdopt").write_bytes(content)
    assert_one_line_error(call(train.main, "--resume", "--out", "run", cwd=tmp_path), "last.pdopt", message)


def test_a_run_is_not_resumed_with_a_different_config(small_run):
    done = call(train.main, ROOT / "configs" / "tutorial.yaml", "--resume", "--out", small_run)
    assert_one_line_error(done, "has activation relu, not sigmoid; a run's settings are fixed")


def test_to_resume_a_finished_run_for_more_epochs_shows_a_command_that_trains_on(tmp_path, small_run):
    shutil.copytree(small_run, tmp_path / "my run")
    done = call(train.main, "--resume", "--out", "my run", "--epochs", "3", cwd=tmp_path)
    assert_one_line_error(done, "has epochs 2, not 3, and is finished", "--fine-tune 'my run' --epochs 3")
    python, script, *arguments = shlex.split(done.stderr.partition("start a new run: ")[2])
    assert (python, script) == ("python", "train.py")
    done = call(train.main, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(load_history(tmp_path / "my run-longer")) == 3


def test_trained_weights_are_never_overwritten(tmp_path, small_data, small_run):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "last.pdopt").unlink()  # as in checkpoints/shipped
    done = call(train.main, "--data-dir", small_data, "--out", "run", cwd=tmp_path)
    assert_one_line_error(done, "never overwritten")


def test_runs_that_start_at_once_get_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [Run(Config(), "a[1]") for _ in range(3)]
    with runs[0].underway(), runs[1].underway(), runs[2].underway():
        assert [str(run.out) for run in runs] == ["checkpoints/a[1]", "checkpoints/a[1]-2", "checkpoints/a[1]-3"]


@pytest.mark.parametrize("steps", range(1, 12))
def test_the_shortest_runs_have_a_schedule(steps):
    for schedule in ("constant", "cosine", "one-cycle"):
        config = Config(schedule=schedule, epochs=1)
        scheduler = make_schedule(config, steps_per_epoch=steps)
        for _ in range(steps):
            assert 0 < scheduler.get_lr() <= config.learning_rate
            scheduler.step()
