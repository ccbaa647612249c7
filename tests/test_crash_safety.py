"""Kills, two trainings in one folder, and readers beside a writer: nothing is lost, and nothing is mixed up."""

import os
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import assert_one_line_error, call

import train
from digits.cli import InputError
from digits.networks.checkpoint import read_state, save_state
from tests.fuzz.readers import read
from tests.fuzz.runs import save_one_epoch
from tests.kill import RUN, SETTINGS, Trainings, contents, load_beside_a_writer, temporary_files


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    return Trainings(tmp_path_factory.mktemp("trainings"))


@pytest.fixture(scope="module")
def snapshots(trainings, tmp_path_factory):
    """Copies of a run's folder before each rename after the first epoch, as a kill leaves it; by file and number."""
    work, copies, replace = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("snapshots"), os.replace
    found = []

    def copy_and_replace(source, target):
        name = f"{os.path.basename(target)}-{sum(path.name.startswith(os.path.basename(target)) for path in found)}"
        if (work / RUN / "log.csv").exists():
            found.append(shutil.copytree(work / "checkpoints", copies / name / "checkpoints").parent)
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", copy_and_replace)
        done = call(train.main, "--data-dir", trainings.data, *SETTINGS, cwd=work)
    assert done.returncode == 0, done.stderr
    assert contents(work / RUN) == trainings.expected
    return {path.name: path for path in found}


# Epoch 2 writes last.json, last.pdparams, last.json, the same files of best, last.pdopt and log.csv; so does epoch 3.
MOMENTS = (
    *("last.pdparams-0", "best.json-0", "best.pdparams-0", "best.json-1", "last.pdopt-0", "last.pdopt-1", "log.csv-1"),
    *("curves.png-0", "trust.png-0"),
)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_between_two_writes_is_resumed_without_out_to_the_same_bits(trainings, snapshots, tmp_path, moment):
    killed = shutil.copytree(snapshots[moment], tmp_path / "killed")
    assert temporary_files(killed / RUN)
    resumed = call(train.main, "--resume", cwd=killed)
    assert resumed.returncode == 0, resumed.stderr
    assert contents(killed / RUN) == trainings.expected
    assert temporary_files(killed / RUN) == []


def test_a_real_kill_before_the_weights_are_renamed_is_resumed_to_the_same_bits(trainings):
    moment = len(trainings.operations) - trainings.operations[::-1].index("rename best.pdparams")
    kill = trainings.kill_before(moment)
    assert kill.problem is None
    assert kill.leftovers == 1


def test_of_two_trainings_started_at_once_in_a_folder_one_refuses_and_one_finishes(trainings, tmp_path):
    arguments = ["--data-dir", str(trainings.data), *SETTINGS, "--out", str(RUN)]
    both = [trainings.start(tmp_path, *arguments) for _ in range(2)]
    errors = {run.wait(): run.stderr.read() for run in both}
    assert sorted(errors) == [0, 2], errors
    lines = [line for line in errors[2].splitlines() if not line.startswith("data: ")]
    assert len(lines) == 1, errors
    assert lines[0].startswith("error: ")
    assert contents(tmp_path / RUN) == trainings.expected


@pytest.mark.skipif(os.name != "posix", reason="only POSIX can stop a process and let it go on")
def test_a_run_is_not_resumed_while_it_is_under_way(trainings, tmp_path):
    run = trainings.start(tmp_path)
    while not (tmp_path / RUN / "last.pdopt").exists() and run.poll() is None:
        time.sleep(0.005)
    run.send_signal(signal.SIGSTOP)
    assert_one_line_error(call(train.main, "--resume", cwd=tmp_path), "another training is running in this folder")
    run.send_signal(signal.SIGCONT)
    assert run.wait() == 0, run.stderr.read()
    assert contents(tmp_path / RUN) == trainings.expected


def test_a_checkpoint_is_read_at_any_moment_while_a_training_replaces_it(tmp_path):
    assert load_beside_a_writer(tmp_path / "run", 300) == []


def test_every_flipped_byte_of_a_state_is_refused(tmp_path):
    path = tmp_path / "last.pdopt"
    save_state(path, {"weights": {"a": np.arange(20, dtype=np.float32)}, "history": []})
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        with pytest.raises(InputError, match="damaged"):
            read_state(path)


FIELDS = {
    "history of text": lambda state: state.update(history=["epoch"]),
    "history without epochs": lambda state: state["history"][0].pop("epoch"),
    "average of another network": lambda state: state["average"].popitem(),
    "steps as text": lambda state: state.update(average_steps="3"),
    "labels as a number": lambda state: state.update(pseudo_labels=0),
    "no optimizer": lambda state: state.pop("optimizer"),
    "moment missing": lambda state: state["optimizer"].pop("linear_1.b_0_moment1_0"),
    "moment of another shape": lambda state: state["optimizer"].update({"linear_1.b_0_moment1_0": np.zeros(3, "f")}),
    "unknown moment": lambda state: state["optimizer"].update(other=np.zeros(10, "f")),
    "schedule of text": lambda state: state["optimizer"].update(LR_Scheduler={"last_epoch": "x"}),
}


@pytest.mark.parametrize("change", FIELDS.values(), ids=FIELDS.keys())
def test_a_state_with_a_wrong_field_is_refused_in_one_line(tmp_path, change):
    save_one_epoch(tmp_path)
    state = read_state(tmp_path / "last.pdopt")
    (tmp_path / "log.csv").unlink()
    save_state(tmp_path / "last.pdopt", state)
    data = (tmp_path / "last.pdopt").read_bytes()
    assert read("pdopt", "last.pdopt", data, tmp_path) is None
    change(state)
    save_state(tmp_path / "last.pdopt", state)
    data = (tmp_path / "last.pdopt").read_bytes()
    assert "not the state of a run" in read("pdopt", "last.pdopt", data, tmp_path)
