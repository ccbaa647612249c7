"""Fine-tuning: it starts from weights, on their own part of the data, and learns a hand."""

import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, script

from digits.config import load_config
from digits.data.synthetic_digits import draw_form
from digits.networks.checkpoint import load_checkpoint, read_state


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """Two drawings of each digit in class folders."""
    folder = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / str(label)).mkdir()
        for number in range(2):
            cv2.imwrite(str(folder / str(label) / f"{number}.png"), draw_form(label, rng))
    return folder


def fine_tune(start, out, *arguments):
    return script("train.py", "--fine-tune", start, "--out", out, *arguments)


def test_it_starts_from_the_weights_and_keeps_their_split(small_run, small_data, drawings, tmp_path):
    (drawings / "3" / "broken.png").write_bytes(b"\x89PNG not a picture")
    done = fine_tune(
        small_run, tmp_path / "run", "--data-dir", small_data, "--extra", drawings, "--learning-rate", "1e-9"
    )
    (drawings / "3" / "broken.png").unlink()
    assert done.returncode == 0, done.stderr
    assert f"{drawings}: 20 drawings" in done.stdout
    assert "broken.png" in done.stderr
    before, after = load_checkpoint(small_run), load_checkpoint(tmp_path / "run")
    for name, values in before.weights.items():
        np.testing.assert_allclose(after.weights[name], values, atol=1e-5)
    config = load_config(tmp_path / "run" / "config.yaml")
    trained = before.meta["config"]
    assert (config.seed, config.val_fraction) == (trained["seed"], trained["val_fraction"])
    assert config.epochs == 1
    assert "calibration" in after.meta
    assert "test" in after.meta["metrics"]


def test_what_is_kept_is_the_mean_of_the_old_weights_and_the_new_also_when_it_is_resumed(
    small_run, small_data, drawings, tmp_path
):
    arguments = ("--data-dir", small_data, "--extra", drawings, "--epochs", "2")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert fine_tune(small_run, whole, *arguments).returncode == 0
    start, kept = load_checkpoint(small_run).weights, load_checkpoint(whole).weights
    new = read_state(whole / "last.pdopt")["average"]
    for name in start:
        np.testing.assert_allclose(kept[name], 0.1 * start[name] + 0.9 * new[name], rtol=1e-4, atol=1e-6)
    assert any(not np.allclose(kept[name], new[name], rtol=1e-4, atol=1e-6) for name in start)

    process = subprocess.Popen(
        [sys.executable, ROOT / "train.py", "--fine-tune", small_run, "--out", stopped, *map(str, arguments)]
    )
    while not (stopped / "log.csv").exists() and process.poll() is None:  # until the first epoch is done
        time.sleep(0.002)
    process.kill()
    process.wait()
    resumed = fine_tune(small_run, stopped, *arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name, values in load_checkpoint(stopped).weights.items():
        np.testing.assert_array_equal(values, kept[name])


def test_drawings_are_learnt(small_run, small_data, drawings, tmp_path):
    """The network of a moment's training reads few of them; after a few epochs with them it reads most."""
    arguments = ("--data-dir", small_data, "--extra", drawings, "--epochs", "20", "--learning-rate", "0.004")
    assert fine_tune(small_run, tmp_path / "run", *arguments).returncode == 0
    right = []
    for checkpoint in (small_run, tmp_path / "run"):
        done = script("evaluate.py", drawings, "--json", "--checkpoint", checkpoint, "--out", tmp_path)
        right.append(json.loads(done.stdout)["accuracy"])
    assert right[0] < 0.7
    assert right[1] > 0.9


def test_weights_of_another_network_are_refused(small_run, tmp_path):
    done = script("train.py", "configs/extended.yaml", "--fine-tune", small_run, "--out", tmp_path / "run")
    assert_one_line_error(done, str(small_run), "lenet", "extended")


def test_weights_of_the_same_network_with_other_activations_are_refused(small_run, tmp_path):
    done = fine_tune(small_run, tmp_path / "run", "--activation", "sigmoid")
    assert_one_line_error(done, str(small_run), "lenet relu", "lenet sigmoid")


def test_a_series_of_seeds_is_refused(small_run, tmp_path):
    assert_one_line_error(fine_tune(small_run, tmp_path / "run", "--seeds", "0", "1"), "--seeds", "keep their own seed")


def test_weights_that_do_not_say_how_they_were_trained_are_refused(small_run, tmp_path):
    weights = tmp_path / "mnist.pdparams"
    weights.write_bytes((small_run / "best.pdparams").read_bytes())
    done = fine_tune(weights, tmp_path / "run")
    assert done.returncode == 2
    assert "do not say how they were trained" in done.stderr.splitlines()[-1]


def test_another_split_than_that_of_the_weights_is_refused(small_run, tmp_path):
    done = fine_tune(small_run, tmp_path / "run", "--seed", "5")
    assert_one_line_error(done, "--seed", "trained with 0")


@pytest.mark.parametrize(
    ("folder", "part"), [("nowhere", "no such"), ("empty", "no pictures"), ("sorted/wrongly", "not a class")]
)
def test_a_folder_without_labeled_drawings_is_refused_and_no_run_begun(small_run, drawings, tmp_path, folder, part):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sorted" / "wrongly" / "seven").mkdir(parents=True)
    (tmp_path / "sorted" / "wrongly" / "seven" / "0.png").write_bytes((drawings / "7" / "0.png").read_bytes())
    done = fine_tune(small_run, tmp_path / "run", "--extra", tmp_path / folder)
    assert_one_line_error(done, folder, part)
    assert not (tmp_path / "run" / "config.yaml").exists()
