"""evaluate.py as a user runs it: MNIST, class folders, your own inputs."""

import csv
import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, script

from digits.data.folders import find_images

EXAMPLES = find_images([ROOT / "examples"])
SHIPPED = ROOT / "checkpoints" / "shipped" / "extended"


def test_evaluate_reports_on_mnist_and_draws(tmp_path):
    done = script("evaluate.py", "--csv", "out.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    recorded = json.loads((SHIPPED / "best.json").read_text())["metrics"]["test"]
    assert f"accuracy {recorded['accuracy']:.2%}" in done.stdout
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 10_000
    assert np.mean([row["truth"] == row["label"] for row in rows]) == pytest.approx(recorded["accuracy"])
    assert np.mean([row["trusted"] == "True" for row in rows]) == pytest.approx(recorded["coverage"])
    assert all((row["right"] == "True") == (row["truth"] == row["label"]) for row in rows)
    assert {row["reason"] for row in rows if row["trusted"] == "True"} == {""}
    for name in ("confusion.png", "mistakes.png", "trust.png"):
        assert cv2.imread(str(tmp_path / "outputs" / name)) is not None


def test_evaluate_json_is_one_object(tmp_path):
    done = script("evaluate.py", "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result.keys() >= {"accuracy", "precision", "recall", "macro_f1", "loss", "images", "per_class", "confusion"}
    assert result.keys() >= {"ece", "coverage", "accepted_error"}
    assert np.trace(result["confusion"]) / result["images"] == pytest.approx(result["accuracy"])
    assert np.sum(result["confusion"]) == result["images"] == 10_000
    recorded = json.loads((SHIPPED / "best.json").read_text())["metrics"]["test"]
    for name in ("accuracy", "coverage", "accepted_error", "ece"):
        assert result[name] == pytest.approx(recorded[name], abs=2e-4)
    assert result["accepted_error"] <= 0.002  # what is promised


def test_the_calibration_error_is_at_most_0_4_percent():
    assert json.loads((SHIPPED / "best.json").read_text())["metrics"]["test"]["ece"] <= 0.004


def test_evaluate_class_folders_and_own_sets(tmp_path, small_data):
    for path in EXAMPLES:
        (tmp_path / "own" / path.name[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "own" / path.name[0])
    (tmp_path / "own" / "7" / "broken.png").write_text("no picture")
    done = script("evaluate.py", tmp_path / "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"accuracy 100.00%: 0 of {len(EXAMPLES)} images wrong" in done.stdout
    assert "left out" in done.stderr
    assert "broken.png" in done.stderr
    done = script("evaluate.py", small_data, cwd=tmp_path)
    assert "of 130 images wrong" in done.stdout


def test_one_image_with_answer_and_truth(small_run, small_data, tmp_path):
    arguments = ("evaluate.py", small_data, "--checkpoint", small_run, "--out", tmp_path)
    done = script(*arguments, "--show", "129")
    assert done.returncode == 0, done.stderr
    truth = np.load(small_data / "mnist.npz")["y_test"][129]
    assert re.fullmatch(rf"test/00129: read as \d, \d+\.\d\d% sure.*; it is {truth}\n", done.stdout)
    assert cv2.imread(str(tmp_path / "image_129.png")).shape[0] > 200
    for number in ("130", "-1"):
        assert_one_line_error(script(*arguments, "--show", number), f"--show {number}", "0 to 129")


def test_evaluate_says_what_a_folder_lacks(tmp_path):
    assert_one_line_error(script("evaluate.py", tmp_path / "gone"), "no such folder")
    assert_one_line_error(script("evaluate.py", tmp_path), "no pictures")
    (tmp_path / "cats").mkdir()
    shutil.copy(EXAMPLES[0], tmp_path / "cats")
    assert_one_line_error(script("evaluate.py", tmp_path), "'cats' is not a class")


def test_evaluate_scores_your_own_inputs(tmp_path):
    done = script("evaluate.py", ROOT / "inputs", "--out", tmp_path / "out", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("left out")) == (0, 0), done.stderr
    with (tmp_path / "out" / "test.csv").open(newline="") as file:
        assert file.readline().strip() == "path,truth,label,confidence,trusted,reason,right"
        file.seek(0)
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    for row in rows:  # by the name of its folder, or by the first character of its own
        name = os.path.relpath(row["path"], ROOT / "inputs" / "test")
        assert row["truth"] == name[0]
        assert (row["right"] == "True") == (row["label"] == row["truth"])
    assert f"accuracy {sum(row['right'] == 'True' for row in rows)} of 20" in done.stdout
    with (tmp_path / "out" / "check.csv").open(newline="") as file:
        assert file.readline().strip() == "path,part,label,confidence,trusted,reason"
        file.seek(0)
        rows = list(csv.DictReader(file))
    for part, at_least in (("digits", 10), ("lookalikes", 17)):
        trusted = [row["trusted"] == "True" for row in rows if row["part"] == part]
        assert len(trusted) == at_least
        assert re.search(rf"{part} +trusted {sum(trusted)} of {len(trusted)} ", done.stdout)


def test_our_own_inputs_are_read_right_and_lookalikes_refused(tmp_path):
    assert script("evaluate.py", "inputs", "--out", tmp_path).returncode == 0
    test, check = (list(csv.DictReader((tmp_path / f"{part}.csv").open())) for part in ("test", "check"))
    assert all(row["right"] == "True" for row in test if row["trusted"] == "True")
    assert sum(row["right"] == "True" for row in test) >= 19
    assert sum(row["trusted"] == "True" for row in check if row["part"] == "digits") >= 9
    assert sum(row["trusted"] == "True" for row in check if row["part"] == "lookalikes") <= 1


def test_inputs_that_cannot_be_scored(tmp_path):
    (tmp_path / "inputs" / "test").mkdir(parents=True)
    shutil.copy(EXAMPLES[0], tmp_path / "inputs" / "test" / "seven.png")
    assert_one_line_error(script("evaluate.py", tmp_path / "inputs"), "seven.png: has no label")
    (tmp_path / "inputs" / "test" / "seven.png").rename(tmp_path / "inputs" / "test" / "2_broken.png")
    (tmp_path / "inputs" / "test" / "2_cut.png").write_bytes(b"nothing")
    done = script("evaluate.py", tmp_path / "inputs", "--out", tmp_path / "out")
    assert done.returncode == 0
    assert "left out: " in done.stderr
    assert len(list(csv.DictReader((tmp_path / "out" / "test.csv").open()))) == 1
    assert_one_line_error(script("evaluate.py", tmp_path / "inputs", "--json"), "leave out --csv, --json")
