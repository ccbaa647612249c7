"""Training: the files of a run, test images stay unread until the end, early stopping, flags."""

import csv
import dataclasses
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT, assert_one_line_error, assert_same, call, dataset_of, fit, script, state

import train
from digits.cli import RunError
from digits.config import Config, load_config
from digits.data import splits
from digits.evaluation import metrics, trust_report
from digits.networks.checkpoint import load_checkpoint
from digits.networks.registry import build_network
from digits.training.checkpointer import Checkpointer
from digits.training.history import HEADER, METRICS, kept_epoch, overfit_epoch
from digits.training.report import announce
from digits.training.run_folder import EXAMPLE, Run

QUICK = ["--epochs", 1, "--forms", 0, "--non-digits", 0, "--calibration-fraction", 0]

# What a run saves and prints


def test_a_finished_run_has_its_weights_settings_log_and_plots(small_run):
    names = {path.name for path in small_run.iterdir()}
    assert names == {
        "best.pdparams",
        "best.json",
        "last.pdparams",
        "last.json",
        "last.pdopt",
        "config.yaml",
        "log.csv",
        "curves.png",
        "trust.png",
    }
    meta = json.loads((small_run / "best.json").read_text())
    assert {"config", "classes", "epoch", "metrics", "seed", "versions", "sha256", "commit", "model"} <= meta.keys()
    assert 0 <= meta["metrics"]["val"]["accuracy"] <= 1
    assert 0 <= meta["metrics"]["test"]["accuracy"] <= 1
    assert meta["versions"]["paddle"] == paddle.__version__
    assert load_config(small_run / "config.yaml") == Config(**meta["config"])
    rows = list(csv.DictReader((small_run / "log.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), int(row["epoch"])))
    assert meta["epoch"] == int(best["epoch"])
    for name in METRICS:
        assert meta["metrics"]["val"][name] == float(best[f"val_{name}"])
        assert float(best[f"train_{name}"]) >= 0
    assert meta["calibration"].keys() == trust_report.MEANINGS.keys()


def test_each_number_of_the_calibration_is_saved_with_its_meaning(small_run):
    saved = json.loads((small_run.parent / "outputs" / "data.json").read_text())
    found = load_checkpoint(small_run).meta["calibration"]
    assert saved.pop("checkpoint") == str(small_run)
    assert {name: entry["value"] for name, entry in saved.items()} == found
    assert all(len(entry["meaning"]) > 10 for entry in saved.values())


@pytest.fixture(scope="module")
def uncalibrated(tmp_path_factory, small_data):
    """A folder with a complete run in `run`, and the output of the command that trained it."""
    folder = tmp_path_factory.mktemp("uncalibrated")
    (folder / "some.yaml").write_text("epochs: 1\nbatch_size: 128\nlearning_rate: 0.01\ncalibration_fraction: 0\n")
    done = call(
        train.main, "some.yaml", "--data-dir", small_data, "--rotation", 5, "--keep", "best", "--out", "run", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_without_calibration_images_nothing_is_calibrated(uncalibrated):
    folder, _ = uncalibrated
    assert "calibration" not in load_checkpoint(folder / "run").meta
    assert not (folder / "run" / "trust.png").exists()
    assert not (folder / "outputs" / "data.json").exists()


def test_a_run_prints_the_settings_that_differ_from_the_defaults_and_only_those(uncalibrated, small_data):
    _, done = uncalibrated
    _, _, after = done.stdout.partition("settings that differ from the defaults:\n")
    shown = dict(re.findall(r"^  (\w+) +(.*)$", after.partition("device:")[0], re.MULTILINE))
    # batch_size and keep are given too, with their default values
    assert shown == {
        "data_dir": str(small_data),
        "calibration_fraction": "0.0",
        "epochs": "1",
        "learning_rate": "0.01",
        "rotation": "5.0",
    }


def test_a_run_with_default_settings_says_so(capsys):
    announce(Run(Config(), "some", Path("some")), build_network("lenet"))
    assert capsys.readouterr().out.startswith("settings: the defaults\ndevice: ")


def test_several_seeds_give_one_run_each_and_mean_and_standard_deviation(tmp_path, small_data):
    arguments = ["--data-dir", small_data, *QUICK, "--seeds", 3, 5, "--out", "runs"]
    first = call(train.main, *arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    accuracies = [
        100 * load_checkpoint(tmp_path / "runs" / seed).meta["metrics"]["test"]["accuracy"] for seed in ("3", "5")
    ]
    table = [line.split() for line in first.stdout.splitlines()[-4:]]
    assert [row[0] for row in table] == ["3", "5", "mean", "sd"]
    expected = [*accuracies, np.mean(accuracies), np.std(accuracies, ddof=1)]
    np.testing.assert_allclose([float(row[1].rstrip("%")) for row in table], expected, atol=0.001)

    meta = json.loads((tmp_path / "runs" / "5" / "best.json").read_text())
    del meta["metrics"]["test"]  # as if the run had been interrupted before its report
    (tmp_path / "runs" / "5" / "best.json").write_text(json.dumps(meta))
    again = call(train.main, *arguments, cwd=tmp_path)
    assert "run: runs/5" in again.stdout
    assert "run: runs/3" not in again.stdout  # complete, and kept
    assert again.stdout.splitlines()[-6:] == first.stdout.splitlines()[-6:]

    (tmp_path / "runs" / "3" / "curves.png").unlink()  # as if the run had been killed before it drew them
    again = call(train.main, *arguments, cwd=tmp_path)
    assert "run: runs/3" in again.stdout
    assert (tmp_path / "runs" / "3" / "curves.png").exists()
    assert again.stdout.splitlines()[-6:] == first.stdout.splitlines()[-6:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 0, 1, "--seed", 1], "cannot be combined with --seed"),
        (["--seeds", 1, 1], "duplicate seed in 1 1"),
        (["--seeds", 1, -2], "--seed: -2 is out of range"),
        (["--seeds", 1, 9, "--label-smoothing", 0.1], "has label_smoothing 0.0, not 0.1"),
    ],
)
def test_a_mistake_in_a_series_of_seeds_is_reported_before_the_first_run_starts(
    tmp_path, small_run, arguments, message
):
    shutil.copytree(small_run, tmp_path / "runs" / "9")
    config = (small_run / "config.yaml").read_text()
    (tmp_path / "runs" / "9" / "config.yaml").write_text(config.replace("seed: 0", "seed: 9"))
    small = ["--data-dir", yaml.safe_load(config)["data_dir"], "--epochs", 2]
    done = call(train.main, *small, *arguments, "--out", "runs", cwd=tmp_path)
    assert_one_line_error(done, message)
    assert {path.parent.name for path in (tmp_path / "runs").glob("*/*")} == {"9"}


def test_a_run_of_a_different_version_is_not_resumed(tmp_path, small_run):
    shutil.copytree(small_run, tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(re.sub("calibration_fraction.*\n", "", config))
    done = call(train.main, "--resume", "--out", "run", cwd=tmp_path)
    assert_one_line_error(done, "does not say calibration_fraction", "different version")


def test_a_run_is_numbered_rather_than_overwritten(tmp_path, small_data):
    settings = {"data_dir": str(small_data), "epochs": 1, "calibration_fraction": 0}
    for name in ("one.yaml", "one-b.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(settings))
    outputs = [call(train.main, name, cwd=tmp_path) for name in ("one.yaml", "one-b.yaml", "one.yaml", "one.yaml")]
    assert [done.returncode for done in outputs] == [0] * 4, outputs[-1].stderr
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["one", "one-2", "one-3", "one-b"]
    last_lines = [done.stdout.splitlines()[-1] for done in outputs]
    assert last_lines[2] == f"python predict.py {EXAMPLE} --checkpoint checkpoints/one-2"
    # --resume without --out takes the newest
    resumed = call(train.main, "one.yaml", "--resume", cwd=tmp_path)
    assert "run: checkpoints/one-3" in resumed.stdout
    # --out never overwrites either
    refused = call(train.main, "one.yaml", "--out", "checkpoints/one", cwd=tmp_path)
    assert_one_line_error(refused, "never overwritten")


def test_a_dry_run_does_everything_and_keeps_nothing(tmp_path, small_data):
    done = call(train.main, ROOT / "configs" / "lenet.yaml", "--data-dir", small_data, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing was kept" in done.stdout
    assert "accuracy" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_summary_prints_the_layers_and_trains_nothing(tmp_path):
    done = call(train.main, ROOT / "configs" / "lenet.yaml", "--summary", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Total params: 41,806" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_last_line_is_a_command_that_works(small_run, tmp_path):
    done = call(train.main, "--resume", "--out", small_run, cwd=tmp_path)
    command = done.stdout.strip().splitlines()[-1].split()
    assert command[:2] == ["python", "predict.py"]
    assert script(command[1], *command[2:]).returncode == 0


def test_a_terminal_shows_a_progress_bar_and_a_file_only_rows(tmp_path, small_data):
    ours, theirs = pty.openpty()
    seen = bytearray()

    def read():
        while True:
            try:
                seen.extend(os.read(ours, 4096))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    command = [sys.executable, ROOT / "train.py", "--data-dir", small_data, *QUICK, "--batch-size", 20, "--out", "run"]
    done = subprocess.run(
        list(map(str, command)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=120,
    )
    os.close(theirs)
    reader.join(timeout=5)
    assert b"ms/step" in seen or b"us/step" in seen
    assert "step" not in done.stdout
    rows = [line for line in done.stdout.splitlines() if re.match(r" +\d+  train", line)]
    assert len(rows) == 1
    assert len(rows[0]) == len(HEADER)


# Flags


def test_help_and_a_mistyped_flag_are_answered_without_importing_paddle():
    code = """
import runpy, sys
for argument, expected in (("--help", 0), ("--lerning-rate", 2)):
    sys.argv = ["train.py", argument]
    try:
        runpy.run_path("train.py", run_name="__main__")
    except SystemExit as end:
        assert end.code == expected, end.code
    assert "paddle" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--learning-rate float" in done.stdout
    assert "unknown argument '--lerning-rate', did you mean '--learning-rate'?" in done.stderr


def test_a_flag_is_spelled_with_hyphens():
    assert_one_line_error(call(train.main, "--batch_size", 5), "'--batch_size', did you mean '--batch-size'?")


# Test images


@pytest.fixture
def quick(config):
    return dataclasses.replace(config, non_digits=0, forms=0)


def test_no_test_image_is_read_before_the_final_report(quick, tmp_path, monkeypatch):
    order = []
    real_load, real_save = splits.load_mnist, Checkpointer.save_progress

    def load(mode, *arguments):
        order.append(mode)
        return real_load(mode, *arguments)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(splits, "load_mnist", load)
    monkeypatch.setattr(
        Checkpointer, "save_progress", lambda *arguments: (order.append("epoch"), real_save(*arguments))
    )
    train.train_run(Run(quick, "run", tmp_path / "run"))
    assert order == ["train", *["epoch"] * (quick.epochs + 1), "test"]


def test_different_test_images_change_no_weight_and_no_choice(quick, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with np.load(small_data / "mnist.npz") as arrays:
        changed = dict(arrays)
    changed["x_test"], changed["y_test"] = 255 - changed["x_test"], (changed["y_test"] + 1) % 10
    (tmp_path / "changed").mkdir()
    np.savez(tmp_path / "changed" / "mnist.npz", **changed)
    for name, folder in (("a", small_data), ("b", tmp_path / "changed")):
        train.train_run(Run(dataclasses.replace(quick, data_dir=str(folder)), name, tmp_path / name))
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    first, second = (load_checkpoint(tmp_path / name).meta for name in ("a", "b"))
    assert first["epoch"] == second["epoch"]
    assert first["calibration"] == second["calibration"]
    assert first["metrics"]["test"] != second["metrics"]["test"]


# The epoch that is kept, and early stopping


def row(epoch, val_accuracy, val_loss):
    return {"epoch": epoch, "val_accuracy": val_accuracy, "val_loss": val_loss}


def test_the_epoch_with_the_highest_accuracy_is_kept_and_of_equal_epochs_the_latest():
    assert kept_epoch([row(1, 0.9, 0.1), row(2, 0.95, 0.5), row(3, 0.94, 0.1)], "best") == 2
    assert kept_epoch([row(1, 0.9, 0.2), row(2, 0.9, 0.1), row(3, 0.9, 0.3)], "best") == 3


def losses_of_val(*losses):
    """Stand in for a loss function: one loss per epoch for the 26 val images, 9 for the train images."""
    remaining = iter(losses)
    return lambda logits, labels: next(remaining) if len(labels) == 26 else 9


def test_training_stops_when_the_val_loss_no_longer_falls(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "cross_entropy", losses_of_val(0.9, 0.5, 0.6, 0.7, 0.4))
    history = fit(dataclasses.replace(quick, epochs=30, patience=2), dataset_of(quick), tmp_path)
    assert len(history) == 4
    assert "stopped early: the val loss has not fallen for 2 epochs" in capsys.readouterr().out


def test_training_stops_once_the_val_loss_is_low_enough_but_not_before_min_epochs(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "mean_squared_error", losses_of_val(0.4, 0.9, 0.5, 0.49, 0.1))
    stopping = dataclasses.replace(quick, loss="mse", epochs=30, stop_below=0.5, min_epochs=2)
    assert len(fit(stopping, dataset_of(stopping), tmp_path)) == 4
    assert "stopped early: the val loss is below 0.5" in capsys.readouterr().out


def test_overfitting_begins_at_the_lowest_val_loss_if_the_loss_rises_or_patience_runs_out():
    falling = [row(n, 0.9, loss) for n, loss in enumerate([0.5, 0.4, 0.3, 0.31, 0.32], 1)]
    assert overfit_epoch(falling, patience=0) is None  # within a tenth of the lowest
    assert overfit_epoch(falling, patience=3) is None
    assert overfit_epoch(falling, patience=2) == 3
    assert overfit_epoch([*falling, row(6, 0.9, 0.34)], patience=0) == 3
    assert overfit_epoch(falling[:3], patience=1) is None


def test_a_loss_that_is_not_finite_stops_the_run_with_a_reason(quick, tmp_path):
    diverging = dataclasses.replace(
        quick, optimizer="momentum", learning_rate=100.0, schedule="constant", ema_decay=0.0, epochs=20
    )
    with pytest.raises(RunError, match=r"the loss is (nan|inf) in epoch \d+, step \d+; try a lower learning_rate"):
        fit(diverging, dataset_of(diverging), tmp_path)
