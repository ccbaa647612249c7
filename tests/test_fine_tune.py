"""Fine-tuning starts from trained weights, keeps their data split, and learns the user's own handwriting."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, call, interrupting_after

import predict
import train
from digits.config import load_config
from digits.data.synthetic_digits import draw_forms
from digits.networks.checkpoint import load_checkpoint, read_state


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """A folder with two drawings of each digit in class folders."""
    folder = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(0)
    for label in range(10):
        (folder / str(label)).mkdir()
        for number in range(2):
            cv2.imwrite(str(folder / str(label) / f"{number}.png"), draw_forms(np.array([label]), rng)[0])
    return folder


@pytest.fixture
def fine_tune(tmp_path, small_run, small_data, drawings):
    """Fine-tune the small run into a folder, with the drawings and more arguments."""

    def run(out, *arguments):
        always = ["--fine-tune", small_run, "--data-dir", small_data, "--extra", drawings, "--forms", 0]
        return call(train.main, *always, "--non-digits", 0, "--out", out, *arguments, cwd=tmp_path)

    return run


def test_fine_tuning_starts_from_the_weights_and_keeps_their_split(fine_tune, small_run, drawings, tmp_path):
    (drawings / "3" / "broken.png").write_bytes(b"\x89PNG but damaged")
    done = fine_tune("run", "--learning-rate", "1e-9")
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


def test_the_saved_weights_are_the_mean_of_the_initial_and_the_new_weights_even_if_the_run_is_resumed(
    fine_tune, small_run, tmp_path, monkeypatch
):
    assert fine_tune("whole", "--epochs", 2).returncode == 0
    initial, saved = load_checkpoint(small_run).weights, load_checkpoint(tmp_path / "whole").weights
    new = read_state(tmp_path / "whole" / "last.pdopt")["average"]
    for name in initial:
        np.testing.assert_allclose(saved[name], 0.1 * initial[name] + 0.9 * new[name], rtol=1e-4, atol=1e-6)
    assert any(not np.allclose(saved[name], new[name], rtol=1e-4, atol=1e-6) for name in initial)

    with interrupting_after(monkeypatch, lambda out, history: len(history) == 1):
        stopped = fine_tune("stopped", "--epochs", 2)
    assert stopped.returncode == 130
    assert "1 of 2 epochs are saved" in stopped.stderr
    resumed = fine_tune("stopped", "--epochs", 2, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name, values in load_checkpoint(tmp_path / "stopped").weights.items():
        np.testing.assert_array_equal(values, saved[name])


def test_drawings_are_learned(fine_tune, small_run, drawings, tmp_path):
    """After two epochs on the small data a network reads few of the drawings; fine-tuned with them it reads most."""
    assert fine_tune("run", "--epochs", 20, "--learning-rate", 0.004).returncode == 0
    accuracies = []
    for checkpoint in (small_run, "run"):
        done = call(predict.main, drawings, "--json", "--checkpoint", checkpoint, cwd=tmp_path)
        right = [row["label"] == Path(row["path"]).parent.name for row in json.loads(done.stdout)]
        accuracies.append(np.mean(right))
    assert accuracies[0] < 0.7
    assert accuracies[1] > 0.9


def test_weights_of_a_different_network_are_refused(small_run, tmp_path):
    config = ROOT / "configs" / "extended.yaml"
    done = call(train.main, config, "--fine-tune", small_run, "--out", "run", cwd=tmp_path)
    assert_one_line_error(done, str(small_run), "lenet", "extended")


def test_weights_of_the_same_network_with_a_different_activation_are_refused(fine_tune, small_run):
    assert_one_line_error(fine_tune("run", "--activation", "sigmoid"), str(small_run), "lenet relu", "lenet sigmoid")


def test_a_series_of_seeds_is_refused(fine_tune):
    assert_one_line_error(fine_tune("run", "--seeds", 0, 1), "--seeds", "--fine-tune", "reuses the seed of the weights")


def test_weights_that_do_not_say_how_they_were_trained_are_refused(fine_tune, small_run, tmp_path):
    weights = tmp_path / "mnist.pdparams"
    weights.write_bytes((small_run / "best.pdparams").read_bytes())
    done = fine_tune("run", "--fine-tune", weights)
    assert done.returncode == 2
    assert "do not say how they were trained" in done.stderr.splitlines()[-1]


def test_a_split_that_differs_from_that_of_the_weights_is_refused(fine_tune):
    assert_one_line_error(fine_tune("run", "--seed", 5), "--seed", "trained with 0")


@pytest.mark.parametrize(
    ("folder", "part"), [("nowhere", "no such"), ("empty", "no "), ("sorted/wrongly", "'seven' is not a class")]
)
def test_without_labeled_drawings_the_run_does_not_begin(fine_tune, drawings, tmp_path, folder, part):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sorted" / "wrongly" / "seven").mkdir(parents=True)
    (tmp_path / "sorted" / "wrongly" / "seven" / "0.png").write_bytes((drawings / "7" / "0.png").read_bytes())
    done = fine_tune("run", "--extra", tmp_path / folder)
    assert_one_line_error(done, folder, part)
    assert not (tmp_path / "run" / "config.yaml").exists()
