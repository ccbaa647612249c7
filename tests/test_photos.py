"""Networks for photos: from a folder to a report, and the other commands with what they leave."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from conftest import ROOT, assert_one_line_error, assert_same, script, state, stopped_after
from photos import write_photos

from digits.config import Config
from digits.data.augment import augment
from digits.data.splits import load_dataset
from digits.networks.checkpoint import load_checkpoint
from digits.training import fitting
from digits.training.optim import make_loss

SETTINGS = [
    ROOT / "configs" / "photo_cnn.yaml", "--image-size", 32, "--epochs", 6, "--batch-size", 8,
    "--learning-rate", "0.001", "--rotation", 10, "--shift", 1.6,
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory, mnist_train):
    """Class folders cats, dogs and others with train, val and test; one of the files is none."""
    folder = tmp_path_factory.mktemp("photos")
    names = {"0": "cats", "1": "dogs", "7": "other things"}
    for part, count in (("train", 60), ("val", 20), ("test", 15)):
        write_photos(folder / part, *mnist_train, count=count, digits="017", size=40, seed=count)
        for digit, name in names.items():
            (folder / part / digit).rename(folder / part / name)
    (folder / "train" / "dogs" / "notes.txt").write_text("these are dogs")
    return folder


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A finished run, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "photos"
    done = script("train.py", *SETTINGS, "--data-dir", photos, "--max-error", 0.3, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done


def test_the_report_of_a_run(run, photos):
    out, done = run
    best = load_checkpoint(out).meta
    assert best["classes"] == ["cats", "dogs", "other things"]
    assert best["metrics"]["test"]["images"] == 45
    assert best["metrics"]["test"]["accuracy"] > 0.5
    assert done.stderr.count("left out: ") == 1
    assert f"left out: {photos / 'train' / 'dogs' / 'notes.txt'}: not a picture" in done.stderr
    assert "images: 154 train, 60 val, 26 calibration" in done.stdout
    assert "train, by class: cats 51, dogs 52, other things 51" in done.stdout
    assert re.search(r"^true, read as +cats +dogs +other things$", done.stdout, re.MULTILINE)
    wrong = 45 - round(45 * best["metrics"]["test"]["accuracy"])
    assert wrong == 0 or "of all mistakes" in done.stdout
    for name in ("right.png", "mistakes.png", "confusion.png", "trust.png", "curves.png"):
        assert cv2.imread(str(out / name)) is not None, name


def test_predict_names_the_class(run, photos, tmp_path):
    out, done = run
    *_, last = done.stdout.splitlines()
    assert last == f"python predict.py {photos / 'test' / 'cats' / '0000.png'} --checkpoint {out}"
    answer = script("predict.py", photos / "test" / "cats" / "0000.png", "--checkpoint", out)
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[0] for line in answer.stdout.splitlines()[2:]] == ["cats", "dogs", "other"]

    folder = photos / "test" / "other things"
    answer = script("predict.py", folder, "--checkpoint", out, "--csv", tmp_path / "a.csv", "--json")
    listed = json.loads(answer.stdout)
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(listed) == 15
    assert {row["label"] for row in rows} <= {"cats", "dogs", "other things"}
    assert all(set(row["probs"]) == {"cats", "dogs", "other things"} for row in listed)
    assert {row["reason"] for row in rows} <= {"", "low confidence", "none of the classes"}

    shown = script("predict.py", photos / "test" / "cats" / "0000.png", "--checkpoint", out, "--show", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert cv2.imread(str(tmp_path / "outputs" / "0000_prediction.png")) is not None


def test_evaluate_measures_what_the_report_did(run, photos, tmp_path):
    out, _ = run
    test = load_checkpoint(out).meta["metrics"]["test"]
    done = script("evaluate.py", photos / "test", "--checkpoint", out, "--out", tmp_path, "--csv", tmp_path / "a.csv")
    assert done.returncode == 0, done.stderr
    assert f"accuracy {test['accuracy']:.2%}" in done.stdout
    assert "true, read as" in done.stdout
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["right"] == "True" for row in rows) == round(45 * test["accuracy"])
    alone = script("predict.py", rows[0]["path"], "--checkpoint", out, "--json")
    assert json.loads(alone.stdout)[0]["confidence"] == pytest.approx(float(rows[0]["confidence"]), abs=1e-4)
    one = script("evaluate.py", photos / "test", "--checkpoint", out, "--show", 3, "--out", tmp_path)
    assert "it is cats" in one.stdout
    assert (tmp_path / "image_3.png").exists()


def test_what_is_for_digits_says_so(run):
    out, _ = run
    for arguments in (["evaluate.py"], ["predict.py", "examples/7_scan.png", "--many"]):
        done = script(*arguments, "--checkpoint", out)
        assert_one_line_error(
            done, "expected a network for the digits 0 to 9, but its classes are cats dogs other things"
        )


def test_preview_and_summary(photos, tmp_path):
    done = script("train.py", *SETTINGS, "--data-dir", photos, "--preview", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "outputs" / "preview.png")).shape[0] > 500
    summary = script("train.py", *SETTINGS, "--data-dir", photos, "--summary").stdout
    # by hand: norms 2*(3+32+64+200), convolutions 3*32*9+32 and 32*64*9+64, dense 64*2*2*200+200 and 200*3+3
    assert f"Trainable params: {2 * 299 + 896 + 18_496 + 51_400 + 603:,}" in summary


@pytest.mark.parametrize("cache_mb", [0, 512])
def test_memory_changes_nothing_and_a_resumed_run_ends_with_the_same_bits(photos, tmp_path, monkeypatch, cache_mb):
    config = Config(
        model="photo_cnn", image_size=32, data_dir=str(photos), epochs=3, batch_size=32, rotation=20, flip=0.5,
        cache_mb=cache_mb,
    )  # fmt: skip
    cached = dataclasses.replace(config, cache_mb=512)
    fitting.fit(cached, load_dataset(cached), tmp_path / "a")
    sets = load_dataset(config)
    assert len(sets.train[0].cache) == (len(sets.train[0]) if cache_mb else 0)
    with stopped_after(monkeypatch, lambda out, history: len(history) == 1):
        fitting.fit(config, sets, tmp_path / "b")
    fitting.fit(config, sets, tmp_path / "b", resume=True)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_balanced_weights_let_each_class_count_as_much():
    counts = np.array([30, 10])
    labels = np.array([0, 0, 0, 1, 2])  # the last is of no class
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32))
    targets = paddle.to_tensor(np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0.5, 0.5]], np.float32))
    log_probs = paddle.nn.functional.log_softmax(logits).numpy()
    losses = -(targets.numpy() * log_probs).sum(1)
    plain = make_loss(Config(), counts)(logits, targets, labels).item()
    assert plain == pytest.approx(losses.mean(), rel=1e-5)
    balanced = make_loss(Config(class_weights="balanced"), counts)(logits, targets, labels).item()
    assert balanced == pytest.approx((losses * [2 / 3, 2 / 3, 2 / 3, 2, 1]).mean(), rel=1e-5)


def test_photos_are_turned_mirrored_and_filled():
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (40, 30, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(augment(photos, rng, flip=1.0), photos[:, :, ::-1])
    half = augment(photos, rng, flip=0.5)
    mirrored = [(image == photo[:, ::-1]).all() for image, photo in zip(half, photos, strict=True)]
    assert 10 < sum(mirrored) < 30
    assert all(flag or (image == photo).all() for flag, image, photo in zip(mirrored, half, photos, strict=True))
    moved = augment(np.zeros_like(photos), rng, shift=10, fill=200)
    assert (moved == 200).any(), "what moves in has the level asked for"
    assert set(np.unique(augment(np.full_like(photos, 7), rng, rotation=90, fill=7))) == {7}
    # all channels move alike
    gray = np.repeat(photos[..., :1], 3, 3)
    turned = augment(gray, rng, rotation=90, scale=0.2, shear=0.2)
    assert (turned == turned[..., :1]).all()
    # as a stack of single channels would
    first = augment(photos, np.random.default_rng(1), rotation=45)
    one = augment(np.ascontiguousarray(photos[..., 1]), np.random.default_rng(1), rotation=45)
    np.testing.assert_array_equal(first[..., 1], one)


ANTS_BEES = ROOT.parent / "shared" / "data" / "ants_bees"


@pytest.mark.skipif(not ANTS_BEES.is_dir(), reason="needs photos that are not shipped")
def test_real_photos_in_little_memory(tmp_path):
    command = [
        ROOT / "train.py",
        "configs/photo_cnn.yaml",
        "--data-dir",
        ANTS_BEES,
        "--epochs",
        2,
        "--out",
        tmp_path / "a",
    ]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of_tree(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    left_out = [line for line in process.stderr.read().splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 1
    assert "imageNotFound.gif" in left_out[0]
    assert load_checkpoint(tmp_path / "a").meta["metrics"]["val"]["images"] == 153
    assert 100e6 < peak < 2e9


def memory_of_tree(pid):
    """Bytes of a process and those it has started, what they share counted once (Linux)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        share = int(re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):  # it has just ended
        return 0
    return 1024 * share + sum(map(memory_of_tree, map(int, children)))
