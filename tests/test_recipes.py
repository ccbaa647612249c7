"""What the configs reach, on the whole of MNIST."""

import pytest
from conftest import script

from checkpoint import load_checkpoint


def test_the_perceptrons_recipe_reaches_what_the_exercise_does(tmp_path):
    done = script("train.py", "configs/mlp.yaml", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    best = load_checkpoint(tmp_path / "run").meta
    assert best["epoch"] <= 7
    assert best["metrics"]["test"]["loss"] <= 0.012
    assert best["metrics"]["test"]["accuracy"] >= 0.975
    assert "101,770" in script("train.py", "configs/mlp.yaml", "--summary").stdout


@pytest.mark.slow
def test_two_epochs_of_the_extended_recipe(tmp_path):
    done = script("train.py", "configs/extended.yaml", "--epochs", 2, "--out", tmp_path / "run", timeout=1800)
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(tmp_path / "run").meta["metrics"]["test"]["accuracy"] >= 0.985


@pytest.mark.slow
def test_the_tutorials_recipe_reaches_what_the_tutorial_does(tmp_path):
    done = script("train.py", "configs/tutorial.yaml", "--out", tmp_path / "run", timeout=1200)
    assert done.returncode == 0, done.stderr
    assert 0.95 <= load_checkpoint(tmp_path / "run").meta["metrics"]["test"]["accuracy"] <= 0.97
