"""predict.py: right answers, exact columns, and one bad picture does not stop the others."""

import csv
import io
import json
import os
import shutil
import sys

import cv2
import numpy as np
import paddle
import pytest
from conftest import ROOT, assert_one_line_error, call

import predict
from benchmarks.tutorial import TutorialLeNet
from digits.imaging import reading

EXAMPLES = sorted((ROOT / "examples").iterdir())
REASONS = {
    "blank": "blank",
    "arrow": "not a digit",
    "letter_E": "not a digit",
    "letter_M": "not a digit",
    "smiley": "not a digit",
    "two_digits": "several digits",
    "three_digits": "several digits",
}


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_read_correctly(path):
    done = call(predict.main, path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: {path.name[0]}, ")
    probs = [float(line.split()[1].rstrip("%")) for line in done.stdout.splitlines()[2:]]
    assert len(probs) == 10
    assert sum(probs) == pytest.approx(100, abs=0.01)
    assert np.argmax(probs) == int(path.name[0])
    assert done.stderr == ""


def test_several_pictures_give_one_line_and_one_csv_row_each(tmp_path):
    out = tmp_path / "out.csv"
    paths = [*EXAMPLES, EXAMPLES[0]]
    done = call(predict.main, ROOT / "examples", EXAMPLES[0], "--csv", out)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0].split() for line in done.stdout.splitlines()] == [[str(p), p.name[0]] for p in paths]
    assert out.read_text().splitlines()[0] == "path,label,confidence,trusted,error,reason,candidates"
    rows = read_rows(out)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert all(0.1 < float(row["confidence"]) <= 1 for row in rows)
    assert all((row["trusted"], row["error"], row["reason"]) == ("True", "", "") for row in rows)
    assert all(row["candidates"] == row["label"] for row in rows)


def test_json_is_a_list_with_all_probabilities():
    done = call(predict.main, *EXAMPLES[:2], "--json")
    rows = json.loads(done.stdout)
    assert [row["label"] for row in rows] == [path.name[0] for path in EXAMPLES[:2]]
    for row in rows:
        assert list(row) == ["path", "label", "confidence", "trusted", "error", "reason", "candidates", "probs"]
        assert list(row["probs"]) == list("0123456789")
        assert row["confidence"] == max(row["probs"].values())
        assert (row["error"], row["reason"], row["trusted"]) == (None, None, True)


@pytest.mark.parametrize("name", REASONS)
def test_a_picture_without_one_digit_gets_a_reason_and_no_error(tmp_path, name):
    (path,) = (ROOT / "inputs" / "check" / "lookalikes").glob(f"{name}.*")
    done = call(predict.main, path, "--csv", tmp_path / "out.csv", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = read_rows(tmp_path / "out.csv")
    assert (row["trusted"], row["error"], row["reason"]) == ("False", "", REASONS[name])
    assert json.loads(done.stdout)[0]["reason"] == REASONS[name]
    in_words = call(predict.main, path, "--show", cwd=tmp_path).stdout
    assert in_words.startswith(f"{path}: {REASONS[name]}")


def test_one_bad_picture_is_a_row_and_the_others_are_read(tmp_path):
    shutil.copy(EXAMPLES[0], tmp_path / "a.png")
    (tmp_path / "b.png").write_text("I am text")
    shutil.copy(EXAMPLES[1], tmp_path / "c.png")
    done = call(predict.main, tmp_path, "--csv", tmp_path / "out.csv", "--json")
    assert_one_line_error(done, "b.png: not a picture")
    rows = read_rows(tmp_path / "out.csv")
    assert [row["label"] for row in rows] == [EXAMPLES[0].name[0], "", EXAMPLES[1].name[0]]
    assert "not a picture" in rows[1]["error"]
    assert json.loads(done.stdout)[1]["probs"] is None


def test_a_missing_picture_does_not_stop_the_others(tmp_path):
    done = call(predict.main, EXAMPLES[0], tmp_path / "gone.png", EXAMPLES[1])
    assert_one_line_error(done, "gone.png: no such file")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [str(EXAMPLES[0]), str(EXAMPLES[1])]


def make_input(folder, kind):
    path = folder / kind
    if kind == "text.png":
        path.write_text("I am text\n")
    elif kind == "zero.png":
        path.touch()
    elif kind == "truncated.png":
        path.write_bytes(EXAMPLES[-1].read_bytes()[:1500])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing.png", "no such file"),
        ("folder", "no pictures in this folder"),
        ("text.png", "not a picture"),
        ("zero.png", "the file is empty"),
        ("truncated.png", "cut short"),
    ],
)
def test_a_bad_picture_is_one_line_and_exit_2(tmp_path, kind, message):
    path = make_input(tmp_path, kind)
    assert_one_line_error(call(predict.main, path), str(path), message)


def feed(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("flags", [(), ("--many",)])
def test_a_dash_reads_one_picture_from_standard_input(tmp_path, monkeypatch, flags):
    content = (ROOT / "examples" / "7_scan.png").read_bytes()
    feed(monkeypatch, content)
    csv_file = tmp_path / "x.csv"
    done = call(predict.main, "-", ROOT / "examples" / "3_chalk.png", *flags, "--csv", csv_file, "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["path"], row["label"]) for row in csv.DictReader(csv_file.open())] == [
        ("-", "7"),
        (str(ROOT / "examples" / "3_chalk.png"), "3"),
    ]
    assert len(list((tmp_path / "outputs").iterdir())) == 2


def test_standard_input_without_a_picture_is_one_line(monkeypatch):
    feed(monkeypatch, b"")
    assert_one_line_error(call(predict.main, "-"), "error: -: the file is empty")
    monkeypatch.setattr(sys, "stdin", None)
    assert_one_line_error(call(predict.main, "-"), "error: -: there is no standard input; name a file")


def test_a_file_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "_MAX_BYTES", 10**6)
    assert_one_line_error(call(predict.main, "/dev/zero"), "/dev/zero: has more than 1 megabytes")


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "7_scan.png", tmp_path)
    shutil.copytree(ROOT / "checkpoints" / "shipped" / "extended", tmp_path / "extended")
    monkeypatch.setenv("HOME", str(tmp_path))
    done = call(predict.main, "~/7_scan.png", "--checkpoint", "~/extended")
    assert done.stdout.startswith(f"{tmp_path / '7_scan.png'}: 7, ")


def test_show_draws_the_prediction(tmp_path):
    done = call(predict.main, EXAMPLES[0], "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    picture = cv2.imread(str(tmp_path / "outputs" / f"{EXAMPLES[0].stem}_prediction.png"))
    assert picture is not None
    assert picture.shape[1] > 800


def test_show_and_json_combine_and_files_of_the_same_name_get_different_plots(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        shutil.copy(EXAMPLES[0], tmp_path / folder / "x.png")
    done = call(predict.main, "a", "b", "--show", "--json", cwd=tmp_path)
    assert len(json.loads(done.stdout)) == 2
    assert len(list((tmp_path / "outputs").iterdir())) == 2


def test_the_tutorials_own_weights_are_read(tmp_path):
    paddle.save(TutorialLeNet().state_dict(), str(tmp_path / "mnist.pdparams"))
    done = call(predict.main, EXAMPLES[0], "--checkpoint", tmp_path / "mnist.pdparams", "--json")
    assert done.returncode == 0, done.stderr
    assert "read as the tutorial's LeNet with sigmoids" in done.stderr
    assert json.loads(done.stdout)[0]["label"] in "0123456789"


def test_the_answer_is_the_same_from_any_folder(tmp_path):
    assert call(predict.main, EXAMPLES[0], cwd=tmp_path).stdout == call(predict.main, EXAMPLES[0]).stdout


def test_a_pipe_in_a_write_protected_folder_is_written_to_and_kept(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *arguments: False)  # as for /dev; root may write to any folder
        assert_one_line_error(
            call(predict.main, EXAMPLES[0], "--csv", tmp_path / "file.csv"), "cannot write to this folder"
        )
        assert call(predict.main, *EXAMPLES[:2], "--csv", tmp_path / "pipe").returncode == 0
    assert os.read(reader, 2**16).decode().startswith("path,label,confidence,trusted,error,reason")
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_is_kept_and_its_file_written(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert call(predict.main, EXAMPLES[0], "--csv", tmp_path / "link.csv").returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("path,")
