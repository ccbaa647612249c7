"""evaluate.py on MNIST, on class folders, and on your own inputs."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, call, script
from scipy.stats import binom

import evaluate
from digits import files
from digits.data.pictures import find_images
from digits.evaluation.classifier import Classifier

EXAMPLES = find_images([ROOT / "examples"])
SHIPPED = ROOT / "checkpoints" / "shipped" / "extended"


def read_csv(path):
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return reader.fieldnames, list(reader)


@pytest.fixture(scope="module")
def recorded():
    return json.loads((SHIPPED / "best.json").read_text())["metrics"]["test"]


@pytest.fixture(scope="module")
def on_mnist(tmp_path_factory):
    """The folder that evaluate.py ran in, its result as text, and its result with --json; the network runs once."""
    folder = tmp_path_factory.mktemp("mnist")
    compute, logits = Classifier.logits, []

    def compute_once(classifier, images):
        if not logits:
            logits.append(compute(classifier, images))
        return logits[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, "logits", compute_once)
        return folder, call(evaluate.main, "--csv", "out.csv", cwd=folder), call(evaluate.main, "--json", cwd=folder)


def test_evaluate_reports_on_mnist_and_draws(on_mnist, recorded):
    folder, done, _ = on_mnist
    assert done.returncode == 0, done.stderr
    assert f"accuracy {recorded['accuracy']:.2%}" in done.stdout
    for name in ("confusion.png", "right.png", "mistakes.png", "trust.png"):
        assert cv2.imread(str(folder / "outputs" / name)) is not None


def test_evaluate_writes_one_csv_row_per_image(on_mnist, recorded):
    columns, rows = read_csv(on_mnist[0] / "out.csv")
    assert columns == ["path", "truth", "label", "confidence", "trusted", "reason", "right", "candidates"]
    assert len(rows) == 10_000
    assert np.mean([row["truth"] == row["label"] for row in rows]) == pytest.approx(recorded["accuracy"])
    assert np.mean([row["trusted"] == "True" for row in rows]) == pytest.approx(recorded["coverage"])
    assert all((row["right"] == "True") == (row["truth"] == row["label"]) for row in rows)
    assert {row["reason"] for row in rows if row["trusted"] == "True"} == {""}


def test_the_candidates_of_doubtful_digits_include_the_right_one_as_often_as_promised(on_mnist):
    """Exact binomial interval about the promised 95%; at most 2.2 candidates on average."""
    rows = [row for row in read_csv(on_mnist[0] / "out.csv")[1] if row["reason"] == "low confidence"]
    sets = [row["candidates"].split("|") for row in rows]
    low, high = binom.interval(0.99, len(rows), 0.95)
    covered = sum(row["truth"] in names for row, names in zip(rows, sets, strict=True))
    assert low <= covered <= high, f"{covered} of {len(rows)}"
    assert all(names[0] == row["label"] for row, names in zip(rows, sets, strict=True))
    assert np.mean([len(names) for names in sets]) <= 2.2
    assert re.search(r"^low confidence \d+: candidates include the right class in 9\d", on_mnist[1].stdout, re.M)


def test_evaluate_json_is_one_object(on_mnist, recorded):
    result = json.loads(on_mnist[2].stdout)
    assert result.keys() >= {"accuracy", "precision", "recall", "macro_f1", "loss", "images", "per_class", "confusion"}
    assert result.keys() >= {"ece", "coverage", "accepted_error"}
    assert np.trace(result["confusion"]) / result["images"] == pytest.approx(result["accuracy"])
    assert np.sum(result["confusion"]) == result["images"] == 10_000
    for name in ("accuracy", "coverage", "accepted_error", "ece"):
        assert result[name] == pytest.approx(recorded[name], abs=2e-4)
    assert result["accepted_error"] <= 0.002  # the guarantee


def test_the_calibration_error_is_at_most_0_4_percent(recorded):
    assert recorded["ece"] <= 0.004


def test_evaluate_class_folders(tmp_path):
    for path in EXAMPLES:
        (tmp_path / "own" / path.name[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "own" / path.name[0])
    (tmp_path / "own" / "7" / "broken.png").write_text("not a picture")
    done = call(evaluate.main, tmp_path / "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"accuracy 100.00%: 0 of {len(EXAMPLES)} images wrong" in done.stdout
    assert "left out" in done.stderr
    assert "broken.png" in done.stderr


def test_evaluate_json_needs_no_folder_and_draws_no_plots(tmp_path, monkeypatch):
    """As in a container whose disk is read-only, where the folder outputs/ cannot be created."""
    (tmp_path / "own" / "7").mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "7_scan.png", tmp_path / "own" / "7")
    monkeypatch.setattr(files, "output_folder", None)
    monkeypatch.setattr(evaluate, "output_folder", None)
    done = call(evaluate.main, "own", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


def test_a_csv_of_names_beyond_ascii_opens_in_excel(tmp_path):
    rows = [{"path": "\u6570\u5b57.png"}, {"path": os.fsdecode(b"\xff.png")}]
    files.write_csv(tmp_path / "a.csv", ["path"], rows)
    content = "\ufeffpath\r\n\u6570\u5b57.png\r\n".encode() + b"\xff.png\r\n"
    assert (tmp_path / "a.csv").read_bytes() == content
    files.write_csv(tmp_path / "a.csv", ["path"], [{"path": "7.png"}])
    assert (tmp_path / "a.csv").read_bytes() == b"path\r\n7.png\r\n"


def test_evaluate_a_dataset_in_mnists_format_as_a_process(tmp_path, small_data):
    done = script("evaluate.py", small_data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "of 130 images wrong" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["data", "plots"]


def test_show_prints_and_draws_one_image_with_prediction_and_label(small_run, small_data, tmp_path):
    arguments = (small_data, "--checkpoint", small_run, "--out", tmp_path)
    done = call(evaluate.main, *arguments, "--show", "129")
    assert done.returncode == 0, done.stderr
    label = np.load(small_data / "mnist.npz")["y_test"][129]
    assert re.fullmatch(rf"test/00129: read as \d, \d+\.\d\d% sure.*; it is {label}\n", done.stdout)
    assert cv2.imread(str(tmp_path / "image_129.png")).shape[0] > 200
    for number in ("130", "-1"):
        assert_one_line_error(call(evaluate.main, *arguments, "--show", number), f"--show {number}", "0 to 129")


def test_a_folder_that_cannot_be_evaluated_is_refused(tmp_path):
    arguments = ("--out", tmp_path / "out")
    assert_one_line_error(call(evaluate.main, tmp_path / "gone", *arguments), "no such folder")
    (tmp_path / "photos").mkdir()
    assert_one_line_error(call(evaluate.main, tmp_path / "photos", *arguments), "no pictures")
    (tmp_path / "photos" / "cats").mkdir()
    shutil.copy(EXAMPLES[0], tmp_path / "photos" / "cats")
    assert_one_line_error(call(evaluate.main, tmp_path / "photos", *arguments), "'cats' is not a class")


@pytest.fixture(scope="module")
def on_inputs(tmp_path_factory):
    """Where evaluate.py wrote the tables of the project's own inputs, and its result."""
    out = tmp_path_factory.mktemp("inputs")
    return out, call(evaluate.main, ROOT / "inputs", "--out", out)


def test_evaluate_scores_labeled_inputs(on_inputs):
    out, done = on_inputs
    assert (done.returncode, done.stderr.count("left out")) == (0, 0), done.stderr
    columns, rows = read_csv(out / "test.csv")
    assert columns == ["path", "truth", "label", "confidence", "trusted", "reason", "right", "candidates"]
    assert len(rows) == 20
    for row in rows:  # labeled by the name of the folder, or by the first character of the file name
        name = os.path.relpath(row["path"], ROOT / "inputs" / "test")
        assert row["truth"] == name[0]
        assert (row["right"] == "True") == (row["label"] == row["truth"])
    assert f"accuracy {sum(row['right'] == 'True' for row in rows)} of 20" in done.stdout


def test_evaluate_counts_the_trusted_digits_and_lookalikes(on_inputs):
    out, done = on_inputs
    columns, rows = read_csv(out / "check.csv")
    assert columns == ["path", "part", "label", "confidence", "trusted", "reason", "candidates"]
    for part, count in (("digits", 10), ("lookalikes", 17)):
        trusted = [row["trusted"] == "True" for row in rows if row["part"] == part]
        assert len(trusted) == count
        assert re.search(rf"{part} +trusted {sum(trusted)} of {len(trusted)} ", done.stdout)


def test_our_own_inputs_are_read_correctly_and_lookalikes_rejected(on_inputs):
    (_, test), (_, check) = (read_csv(on_inputs[0] / f"{part}.csv") for part in ("test", "check"))
    assert all(row["right"] == "True" for row in test if row["trusted"] == "True")
    assert sum(row["right"] == "True" for row in test) >= 19
    assert sum(row["trusted"] == "True" for row in check if row["part"] == "digits") >= 9
    assert sum(row["trusted"] == "True" for row in check if row["part"] == "lookalikes") <= 1


def test_an_input_without_a_label_is_refused_and_an_unreadable_one_left_out(tmp_path):
    test, out = tmp_path / "inputs" / "test", tmp_path / "out"
    test.mkdir(parents=True)
    shutil.copy(EXAMPLES[0], test / "seven.png")
    arguments = (tmp_path / "inputs", "--out", out)
    assert_one_line_error(call(evaluate.main, *arguments), "seven.png: has no label")
    (test / "seven.png").rename(test / "2_broken.png")
    (test / "2_cut.png").write_bytes(b"nothing")
    done = call(evaluate.main, *arguments)
    assert done.returncode == 0
    assert "left out: " in done.stderr
    assert len(read_csv(out / "test.csv")[1]) == 1
    assert_one_line_error(call(evaluate.main, *arguments, "--json"), "omit --csv and --json")


def test_inputs_of_which_none_can_be_read_are_refused(tmp_path):
    check = tmp_path / "inputs" / "check"
    check.mkdir(parents=True)
    (check / "cut.png").write_bytes(b"nothing")
    done = call(evaluate.main, tmp_path / "inputs", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == f"error: {check}: none of its pictures can be read"


def test_usage_errors_answer_and_the_cpu_is_tuned_before_paddle_is_imported():
    code = """
import sys
import evaluate
from digits.cli import InputError
try:
    evaluate.main(["--lerning"])
except InputError as error:
    assert "unknown argument '--lerning'" in str(error)
else:
    sys.exit("--lerning was accepted")
evaluate.tune_cpu = lambda: sys.exit("too late" if "paddle" in sys.modules else 0)
evaluate.main(["--out", "."])
sys.exit("the CPU was not tuned")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
