"""Training: what a run leaves, test images stay unread to the end, the loop's parts."""

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

import numpy as np
import paddle
import pytest
import yaml
from conftest import ROOT, assert_same, script, sets_of, state

import train
from digits.cli import RunError
from digits.config import Config, load_config
from digits.data import mnist as data
from digits.data import splits as training_data
from digits.evaluation import metrics, trust_report
from digits.networks.checkpoint import load_checkpoint
from digits.training import fitting
from digits.training import history as progress
from digits.training.run_folder import kept_epoch, overfit_epoch

# What a run leaves


def test_the_folder_of_a_run(small_run, small_data):
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
    for name in fitting.METRICS:
        assert meta["metrics"]["val"][name] == float(best[f"val_{name}"])
        assert float(best[f"train_{name}"]) >= 0
    assert meta["calibration"].keys() == trust_report.MEANINGS.keys()


def test_what_the_thresholds_mean_is_written_beside_their_values(tmp_path, small_data):
    done = script("train.py", "--data-dir", small_data, "--epochs", 1, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "outputs" / "data.json").read_text())
    found = load_checkpoint(tmp_path / "run").meta["calibration"]
    assert written.pop("checkpoint") == "run"
    assert {name: entry["value"] for name, entry in written.items()} == found
    assert all(len(entry["meaning"]) > 10 for entry in written.values())


def test_without_a_calibration_part_nothing_is_calibrated(tmp_path, small_data):
    arguments = ["--data-dir", small_data, "--epochs", 1, "--calibration-fraction", 0, "--out", tmp_path / "run"]
    assert script("train.py", *arguments, cwd=tmp_path).returncode == 0
    assert "calibration" not in load_checkpoint(tmp_path / "run").meta
    assert not (tmp_path / "run" / "trust.png").exists()


def test_several_seeds_are_a_run_each_and_a_mean_with_its_spread(tmp_path, small_data):
    arguments = ["--data-dir", small_data, "--epochs", 1, "--seeds", 3, 5, "--out", "runs"]
    first = script("train.py", *arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    accuracies = [
        100 * load_checkpoint(tmp_path / "runs" / seed).meta["metrics"]["test"]["accuracy"] for seed in ("3", "5")
    ]
    table = [line.split() for line in first.stdout.splitlines()[-4:]]
    assert [row[0] for row in table] == ["3", "5", "mean", "sd"]
    expected = [*accuracies, np.mean(accuracies), np.std(accuracies, ddof=1)]
    np.testing.assert_allclose([float(row[1].rstrip("%")) for row in table], expected, atol=0.001)

    meta = json.loads((tmp_path / "runs" / "5" / "best.json").read_text())
    del meta["metrics"]["test"]  # as if it had been stopped before its report
    (tmp_path / "runs" / "5" / "best.json").write_text(json.dumps(meta))
    again = script("train.py", *arguments, cwd=tmp_path)
    assert "run: runs/5" in again.stdout
    assert "run: runs/3" not in again.stdout  # finished, and kept
    assert again.stdout.splitlines()[-6:] == first.stdout.splitlines()[-6:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", 0, 1, "--seed", 1], "leave out --seed"),
        (["--seeds", 1, 1], "is there twice"),
        (["--seeds", 1, -2], "--seed: -2 is out of range"),
        (["--seeds", 1, 9, "--label-smoothing", 0.1], "has label_smoothing 0.0, not 0.1"),
    ],
)
def test_what_is_wrong_with_a_series_is_said_before_it_starts(tmp_path, small_run, arguments, message):
    shutil.copytree(small_run, tmp_path / "runs" / "9")
    config = (small_run / "config.yaml").read_text()
    (tmp_path / "runs" / "9" / "config.yaml").write_text(config.replace("seed: 0", "seed: 9"))
    small = ["--data-dir", yaml.safe_load(config)["data_dir"], "--epochs", 2]
    done = script("train.py", *small, *arguments, "--out", "runs", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert {path.parent.name for path in (tmp_path / "runs").glob("*/*")} == {"9"}


def test_a_run_of_another_version_is_not_gone_on_with(tmp_path, small_run):
    shutil.copytree(small_run, tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(re.sub("calibration_fraction.*\n", "", config))
    done = script("train.py", "--resume", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "does not say calibration_fraction; it is of another version" in done.stderr


def test_a_run_is_numbered_rather_than_overwritten(tmp_path, small_data):
    for name in ("one.yaml", "one-b.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump({"data_dir": str(small_data), "epochs": 1}))
    outputs = [script("train.py", name, cwd=tmp_path) for name in ("one.yaml", "one-b.yaml", "one.yaml", "one.yaml")]
    assert [done.returncode for done in outputs] == [0] * 4, outputs[-1].stderr
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["one", "one-2", "one-3", "one-b"]
    last_lines = [done.stdout.splitlines()[-1] for done in outputs]
    assert last_lines[2] == f"python predict.py {train.EXAMPLE} --checkpoint checkpoints/one-2"
    # --resume without --out takes the newest
    resumed = script("train.py", "one.yaml", "--resume", cwd=tmp_path)
    assert "run: checkpoints/one-3" in resumed.stdout
    # --out never overwrites either
    refused = script("train.py", "one.yaml", "--out", "checkpoints/one", cwd=tmp_path)
    assert refused.returncode == 2
    assert "never overwritten" in refused.stderr


def test_dry_run_does_everything_and_keeps_nothing(tmp_path, small_data):
    done = script("train.py", ROOT / "configs" / "lenet.yaml", "--data-dir", small_data, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing was kept" in done.stdout
    assert "accuracy" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_summary_prints_the_layers_and_trains_nothing(tmp_path):
    done = script("train.py", ROOT / "configs" / "lenet.yaml", "--summary", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Total params: 41,806" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_last_line_is_a_command_that_works(small_run):
    done = script("train.py", "--resume", "--out", small_run)
    command = done.stdout.strip().splitlines()[-1].split()
    assert command[:2] == ["python", "predict.py"]
    assert script(command[1], *command[2:]).returncode == 0


def test_a_bar_on_a_terminal_and_rows_alone_in_a_file(tmp_path, small_data, small_run):
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
    command = [sys.executable, "train.py", "--data-dir", small_data, "--epochs", "1", "--batch-size", "5", "--out"]
    done = subprocess.run(
        [*map(str, command), str(tmp_path / "run")],
        cwd=ROOT,
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
    assert len(rows[0]) == len(progress.HEADER)


# Honesty


def test_no_test_image_is_read_before_the_final_report(config, tmp_path, monkeypatch):
    order = []
    real_load, real_save = data.load_mnist, fitting.save_progress

    def load(mode, *arguments):
        order.append(mode)
        return real_load(mode, *arguments)

    monkeypatch.setattr(training_data, "load_mnist", load)
    monkeypatch.setattr(fitting, "save_progress", lambda *arguments: (order.append("epoch"), real_save(*arguments)))
    train.fit_and_report(config, train.load_dataset(config), tmp_path / "run")
    assert order == ["train", *["epoch"] * (config.epochs + 1), "test"]


def test_other_test_images_change_no_weight_and_no_choice(config, small_data, tmp_path):
    with np.load(small_data / "mnist.npz") as arrays:
        other = dict(arrays)
    other["x_test"], other["y_test"] = 255 - other["x_test"], (other["y_test"] + 1) % 10
    (tmp_path / "other").mkdir()
    np.savez(tmp_path / "other" / "mnist.npz", **other)
    for name, folder in (("a", small_data), ("b", tmp_path / "other")):
        changed = dataclasses.replace(config, data_dir=str(folder))
        train.fit_and_report(changed, train.load_dataset(changed), tmp_path / name)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))
    first, second = (load_checkpoint(tmp_path / name).meta for name in ("a", "b"))
    assert first["epoch"] == second["epoch"]
    assert first["metrics"]["test"] != second["metrics"]["test"]


# The loop's parts


def row(epoch, val_accuracy, val_loss):
    return {"epoch": epoch, "val_accuracy": val_accuracy, "val_loss": val_loss}


def test_the_best_epoch_is_by_accuracy_and_of_equals_the_latest():
    assert kept_epoch([row(1, 0.9, 0.1), row(2, 0.95, 0.5), row(3, 0.94, 0.1)], "best") == 2
    assert kept_epoch([row(1, 0.9, 0.2), row(2, 0.9, 0.1), row(3, 0.9, 0.3)], "best") == 3


def test_training_stops_when_the_val_loss_no_longer_falls(config, tmp_path, monkeypatch, capsys):
    losses = iter([9, 0.9, 9, 0.5, 9, 0.6, 9, 0.7, 9, 0.4])  # train and val in turn
    monkeypatch.setattr(metrics, "cross_entropy", lambda *arguments: next(losses))
    history = fitting.fit(dataclasses.replace(config, epochs=30, patience=2), sets_of(config), tmp_path)
    assert len(history) == 4
    assert "stopped early: the val loss has not fallen for 2 epochs" in capsys.readouterr().out


def test_training_stops_once_the_val_loss_is_low_enough_but_not_too_early(config, tmp_path, monkeypatch, capsys):
    losses = iter([9, 0.4, 9, 0.9, 9, 0.5, 9, 0.49, 9, 0.1])  # train and val in turn
    monkeypatch.setattr(metrics, "mean_squared_error", lambda *arguments: next(losses))
    stopping = dataclasses.replace(config, loss="mse", epochs=30, stop_below=0.5, min_epochs=2)
    assert len(fitting.fit(stopping, sets_of(config), tmp_path)) == 4
    assert "stopped early: the val loss is below 0.5" in capsys.readouterr().out


def test_where_over_fitting_began():
    falling = [row(n, 0.9, loss) for n, loss in enumerate([0.5, 0.4, 0.3, 0.31, 0.32], 1)]
    assert overfit_epoch(falling, patience=0) is None  # within a tenth of the lowest
    assert overfit_epoch(falling, patience=3) is None
    assert overfit_epoch(falling, patience=2) == 3
    assert overfit_epoch([*falling, row(6, 0.9, 0.34)], patience=0) == 3
    assert overfit_epoch(falling[:3], patience=1) is None


def test_a_loss_that_is_no_number_stops_with_a_reason(config, tmp_path):
    diverging = dataclasses.replace(
        config, optimizer="momentum", learning_rate=100.0, schedule="constant", ema_decay=0.0
    )
    with pytest.raises(RunError, match=r"the loss is (nan|inf) in epoch \d+, step \d+; try a lower learning_rate"):
        fitting.fit(diverging, sets_of(diverging), tmp_path)
