"""Networks for photos: training on a folder, its report, and the other commands with the trained network."""

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
from conftest import ROOT, assert_one_line_error, assert_same, call, fit, state, stopped_after
from photos import write_photos

import evaluate
import predict
import train
from digits.config import Config
from digits.data.augment import augment
from digits.data.splits import load_dataset
from digits.networks.checkpoint import load_checkpoint
from digits.training.optim import make_loss

SETTINGS = [
    ROOT / "configs" / "photo_cnn.yaml", "--image-size", 32, "--epochs", 6, "--batch-size", 8,
    "--learning-rate", "0.001", "--rotation", 10, "--shift", 1.6,
]  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory, mnist_train):
    """Class folders cats, dogs and others in train, val and test; one file is not an image."""
    folder = tmp_path_factory.mktemp("photos")
    names = {"0": "cats", "1": "dogs", "7": "other things"}
    for part, count in (("train", 60), ("val", 20), ("test", 15)):
        write_photos(folder / part, *mnist_train, count=count, digits="017", size=40, seed=count)
        for digit, name in names.items():
            (folder / part / digit).rename(folder / part / name)
    (folder / "train" / "dogs" / "notes.txt").write_text("these are dogs")
    return folder


@pytest.fixture(scope="module")
def photo_run(photos, tmp_path_factory):
    """The folder of a complete run, and the output of the command that trained it."""
    folder = tmp_path_factory.mktemp("runs")
    done = call(train.main, *SETTINGS, "--data-dir", photos, "--max-error", 0.3, "--out", folder / "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", done


def test_the_report_of_a_run_counts_images_by_class_and_names_files_that_are_not_images(photo_run, photos):
    out, done = photo_run
    best = load_checkpoint(out).meta
    assert best["classes"] == ["cats", "dogs", "other things"]
    assert best["metrics"]["test"]["images"] == 45
    assert best["metrics"]["test"]["accuracy"] > 0.5
    assert done.stderr.count("left out: ") == 1
    assert f"left out: {photos / 'train' / 'dogs' / 'notes.txt'}: " in done.stderr
    assert "images: 153 train, 60 val, 27 calibration" in done.stdout
    assert "cats 51, dogs 51, other things 51" in done.stdout
    assert re.search(r"^true, read as +cats +dogs +other things$", done.stdout, re.MULTILINE)
    wrong = 45 - round(45 * best["metrics"]["test"]["accuracy"])
    assert wrong == 0 or "of all mistakes" in done.stdout
    for name in ("right.png", "mistakes.png", "confusion.png", "trust.png", "curves.png"):
        assert cv2.imread(str(out / name)) is not None, name


def test_predict_names_the_class(photo_run, photos, tmp_path):
    out, done = photo_run
    *_, last = done.stdout.splitlines()
    assert last == f"python predict.py {photos / 'test' / 'cats' / '0000.png'} --checkpoint {out}"
    answer = call(predict.main, photos / "test" / "cats" / "0000.png", "--checkpoint", out, "--show", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[0] for line in answer.stdout.splitlines()[2:]] == ["cats", "dogs", "other"]
    assert cv2.imread(str(tmp_path / "outputs" / "0000_prediction.png")) is not None

    folder = photos / "test" / "other things"
    answer = call(predict.main, folder, "--checkpoint", out, "--csv", "a.csv", "--json", cwd=tmp_path)
    listed = json.loads(answer.stdout)
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(listed) == 15
    assert {row["label"] for row in rows} <= {"cats", "dogs", "other things"}
    assert all(set(row["probs"]) == {"cats", "dogs", "other things"} for row in listed)
    assert {row["reason"] for row in rows} <= {"", "low confidence", "none of the classes"}


def test_evaluate_measures_the_same_accuracy_as_training(photo_run, photos, tmp_path):
    out, _ = photo_run
    test = load_checkpoint(out).meta["metrics"]["test"]
    done = call(evaluate.main, photos / "test", "--checkpoint", out, "--csv", "a.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"accuracy {test['accuracy']:.2%}" in done.stdout
    assert "true, read as" in done.stdout
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(row["right"] == "True" for row in rows) == round(45 * test["accuracy"])
    alone = call(predict.main, rows[0]["path"], "--checkpoint", out, "--json")
    assert json.loads(alone.stdout)[0]["confidence"] == pytest.approx(float(rows[0]["confidence"]), abs=1e-4)


def test_evaluate_shows_a_photo_with_its_class(photo_run, photos, tmp_path):
    out, _ = photo_run
    done = call(evaluate.main, photos / "test", "--checkpoint", out, "--show", 3, cwd=tmp_path)
    assert "it is cats" in done.stdout
    assert (tmp_path / "outputs" / "image_3.png").exists()


def test_commands_for_digits_refuse_a_network_for_photos(photo_run, tmp_path):
    out, _ = photo_run
    for main, arguments in ((evaluate.main, []), (predict.main, [ROOT / "examples" / "7_scan.png", "--many"])):
        done = call(main, *arguments, "--checkpoint", out, cwd=tmp_path)
        assert_one_line_error(
            done, "expected a network for the digits 0 to 9, but its classes are cats, dogs, other things"
        )


def test_preview_draws_augmented_photos(photos, tmp_path):
    done = call(train.main, *SETTINGS, "--data-dir", photos, "--preview", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "outputs" / "preview.png")).shape[0] > 500


def test_summary_counts_the_parameters(photos):
    done = call(train.main, *SETTINGS, "--data-dir", photos, "--summary")
    # by hand: norms 2*(3+32+64+200), convolutions 3*32*9+32 and 32*64*9+64, dense 64*2*2*200+200 and 200*3+3
    assert f"Trainable params: {2 * 299 + 896 + 18_496 + 51_400 + 603:,}" in done.stdout


@pytest.mark.parametrize("cache_mb", [0, 512])
def test_a_resumed_run_ends_with_the_same_bits_whatever_the_cache(photos, tmp_path, monkeypatch, cache_mb):
    config = Config(
        model="photo_cnn", image_size=32, data_dir=str(photos), epochs=3, batch_size=32, rotation=20, flip=0.5,
        cache_mb=cache_mb,
    )  # fmt: skip
    cached = dataclasses.replace(config, cache_mb=512)
    fit(cached, load_dataset(cached), tmp_path / "a")
    data = load_dataset(config)
    assert len(data.train[0].cache) == (len(data.train[0]) if cache_mb else 0)
    with stopped_after(monkeypatch, lambda out, history: len(history) == 1):
        fit(config, data, tmp_path / "b")
    fit(config, data, tmp_path / "b", resume=True)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_balanced_weights_give_each_class_the_same_weight():
    counts = np.array([30, 10])
    labels = np.array([0, 0, 0, 1, 2])  # the last belongs to neither class
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32))
    with_reject = np.pad(logits.numpy(), ((0, 0), (0, 1)))  # the logit of "neither" is 0
    losses = -paddle.nn.functional.log_softmax(paddle.to_tensor(with_reject)).numpy()[range(5), labels]
    plain = make_loss(Config(), counts, reject_class=True)(logits, labels).item()
    assert plain == pytest.approx(losses.mean(), rel=1e-5)
    balanced = make_loss(Config(class_weights="balanced"), counts, reject_class=True)(logits, labels).item()
    assert balanced == pytest.approx((losses * [2 / 3, 2 / 3, 2 / 3, 2, 1]).mean(), rel=1e-5)


def test_photos_are_rotated_mirrored_and_filled():
    rng = np.random.default_rng(0)
    photos = rng.integers(0, 256, (40, 30, 30, 3)).astype(np.uint8)
    np.testing.assert_array_equal(augment(photos, rng, flip=1.0), photos[:, :, ::-1])
    half = augment(photos, rng, flip=0.5)
    mirrored = [(image == photo[:, ::-1]).all() for image, photo in zip(half, photos, strict=True)]
    assert 10 < sum(mirrored) < 30
    assert all(flag or (image == photo).all() for flag, image, photo in zip(mirrored, half, photos, strict=True))
    moved = augment(np.zeros_like(photos), rng, shift=10, fill=200)
    assert (moved == 200).any(), "pixels that move in have the gray level of `fill`"
    assert set(np.unique(augment(np.full_like(photos, 7), rng, rotation=90, fill=7))) == {7}
    # all channels move together
    gray = np.repeat(photos[..., :1], 3, 3)
    turned = augment(gray, rng, rotation=90, scale=0.2, shear=0.2)
    assert (turned == turned[..., :1]).all()
    # each channel is augmented as a gray image would be
    first = augment(photos, np.random.default_rng(1), rotation=45)
    one = augment(np.ascontiguousarray(photos[..., 1]), np.random.default_rng(1), rotation=45)
    np.testing.assert_array_equal(first[..., 1], one)


ANTS_BEES = ROOT.parent / "shared" / "data" / "ants_bees"


@pytest.mark.skipif(not ANTS_BEES.is_dir(), reason="needs photos that are not shipped")
def test_real_photos_are_trained_on_in_less_than_2_gb_of_memory(tmp_path):
    config = ROOT / "configs" / "photo_cnn.yaml"
    command = [sys.executable, ROOT / "train.py", config, "--data-dir", ANTS_BEES, "--epochs", 1, "--out", "run"]
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of_tree(process.pid))
        time.sleep(0.1)
    assert process.returncode == 0
    left_out = [line for line in process.stderr.read().splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 1
    assert "imageNotFound.gif" in left_out[0]
    assert load_checkpoint(tmp_path / "run").meta["metrics"]["val"]["images"] == 153
    assert 100e6 < peak < 2e9


def memory_of_tree(pid):
    """Return the bytes that a process and its descendants use; shared pages count once (Linux)."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        share = int(re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):  # the process has just ended
        return 0
    return 1024 * share + sum(map(memory_of_tree, map(int, children)))
