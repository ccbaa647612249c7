"""Going on with a run: resumed = uninterrupted to the bit, and a kill loses an epoch at most."""

import csv
import dataclasses
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, assert_same, script, sets_of, state

from digits.config import Config
from digits.networks.checkpoint import read_state
from digits.training import fitting
from digits.training.optim import make_schedule
from digits.training.run_folder import find_run, new_run


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "one-cycle"])
def test_a_resumed_run_ends_with_the_same_bits(config, tmp_path, monkeypatch, optimizer, schedule):
    config = dataclasses.replace(config, optimizer=optimizer, schedule=schedule, momentum=0.9)
    fitting.fit(config, sets_of(config), tmp_path / "whole")

    real, count = fitting.augment, 0

    def stop_in_epoch_three(*arguments, **amounts):
        nonlocal count
        count += 1
        if count > 2 * 12 + 5:  # 552 images are 12 batches an epoch
            raise KeyboardInterrupt
        return real(*arguments, **amounts)

    monkeypatch.setattr(fitting, "augment", stop_in_epoch_three)
    with pytest.raises(KeyboardInterrupt):
        fitting.fit(config, sets_of(config), tmp_path / "stopped")
    assert len(read_state(tmp_path / "stopped" / "last.pdopt")["history"]) == 2
    monkeypatch.setattr(fitting, "augment", real)
    fitting.fit(config, sets_of(config), tmp_path / "stopped", resume=True)

    assert_same(state(tmp_path / "whole"), state(tmp_path / "stopped"))


def start(out, small_data, **options):
    command = [
        sys.executable,
        "train.py",
        "--data-dir",
        small_data,
        "--epochs",
        "100",
        "--out",
        out,
        "--batch-size",
        "10",
    ]
    if os.name == "posix":  # a shell's background job has Ctrl-C ignored, and hands that down
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def wait_for_epoch(run, number):
    for line in run.stdout:
        if line.split()[:1] == [str(number)]:
            return
    raise AssertionError(run.stderr.read())


def test_ctrl_c_says_how_to_go_on_and_going_on_works(tmp_path, small_data):
    run = start(tmp_path / "run", small_data)
    wait_for_epoch(run, 2)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "Traceback" not in stderr
    done = int(re.search(r"stopped; (\d+) of 100 epochs are kept", stderr)[1])
    assert done >= 2
    command = stderr.strip().splitlines()[-1].split()
    assert command[:2] == ["python", "train.py"]
    resumed = script("train.py", *command[2:])
    assert resumed.returncode == 0, resumed.stderr
    assert len(read_state(tmp_path / "run" / "last.pdopt")["history"]) == 100


def test_a_killed_run_loses_at_most_the_epoch_it_was_in(tmp_path, small_data):
    """Killed at five random moments, and gone on with each time, it ends as if nothing had happened."""
    out = tmp_path / "run"
    rng = np.random.default_rng(0)
    run = start(out, small_data)
    seen = 0
    for _ in range(5):
        wait_for_epoch(run, seen + 2)
        time.sleep(rng.uniform(0, 0.3))
        run.kill()
        run.communicate()
        kept = len(read_state(out / "last.pdopt")["history"])
        assert kept >= seen + 2
        with (out / "log.csv").open() as log:
            assert len(list(csv.DictReader(log))) >= kept - 1
        seen = kept
        resume = [sys.executable, "train.py", "--resume", "--out", str(out)]
        run = subprocess.Popen(resume, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _, stderr = run.communicate(timeout=120)
    assert run.returncode == 0, stderr
    whole = script(
        "train.py", "--data-dir", small_data, "--epochs", 100, "--batch-size", 10, "--out", tmp_path / "whole"
    )
    assert whole.returncode == 0, whole.stderr
    assert_same(state(out), state(tmp_path / "whole"))


def test_resuming_a_finished_run_only_reports(tmp_path, small_run):
    before = (small_run / "best.json").read_text()
    done = script("train.py", "--resume", "--out", small_run)
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout
    assert (small_run / "best.json").read_text() == before


def test_resume_goes_on_with_the_unfinished_run_even_if_another_is_newer(tmp_path, small_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_run, "checkpoints/lenet")
    meta = json.loads((tmp_path / "checkpoints/lenet/best.json").read_text())
    del meta["metrics"]["test"]
    (tmp_path / "checkpoints/lenet/best.json").write_text(json.dumps(meta))
    shutil.copytree(small_run, "checkpoints/lenet-2")
    os.utime("checkpoints/lenet-2/last.pdopt")
    assert str(find_run("lenet", None, {})[0]) == "checkpoints/lenet"


def test_a_resumed_run_keeps_its_settings(small_run):
    done = script("train.py", "--resume", "--out", small_run, "--epochs", 9)
    assert done.returncode == 2
    assert "has epochs 2, not 9" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"), [(b"damaged", "damaged"), (pickle.dumps({}, 4), "not the progress of a run")]
)
def test_progress_that_cannot_be_read_is_one_line(tmp_path, small_run, content, message):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "last.pdopt").write_bytes(content)
    done = script("train.py", "--resume", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 + done.stderr.count("data: ")
    assert message in done.stderr


def test_resuming_by_another_config_is_refused(small_run):
    done = script("train.py", "configs/tutorial.yaml", "--resume", "--out", small_run)
    assert done.returncode == 2
    assert "has activation relu, not sigmoid; a run keeps its settings" in done.stderr


def test_what_was_trained_is_never_overwritten(tmp_path, small_data, small_run):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / "last.pdopt").unlink()  # as in checkpoints/shipped
    done = script("train.py", "--data-dir", small_data, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "never overwritten" in done.stderr


def test_two_runs_started_at_once_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [str(new_run(Config(), "a[1]")) for _ in range(3)] == [f"checkpoints/a[1]{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize("steps", range(1, 12))
def test_the_shortest_runs_have_a_schedule_too(steps):
    for schedule in ("constant", "cosine", "one-cycle"):
        scheduler = make_schedule(Config(schedule=schedule, epochs=1), steps_per_epoch=steps)
        for _ in range(steps):
            scheduler.step()
