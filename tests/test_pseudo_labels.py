"""Learning from images without labels."""

import csv
import dataclasses
import re

import cv2
import numpy as np
import pytest
from conftest import assert_same, sets_of, state, stopped_after

from digits.cli import InputError
from digits.config import Config
from digits.data.mnist import load_mnist
from digits.data.splits import load_dataset
from digits.training import fitting
from digits.training.pseudo_labels import PseudoLabels


@pytest.fixture
def learning(small_data):
    return Config(
        data_dir=str(small_data), unlabeled=str(small_data), unlabeled_epochs=2, unlabeled_confidence=0.5,
        epochs=7, batch_size=60, learning_rate=0.01, calibration_fraction=0.5, keep="last",
    )  # fmt: skip


def with_unlabeled(config):
    return dataclasses.replace(sets_of(config), unlabeled=load_mnist("train", config.unlabeled)[0])


def test_each_step_sees_the_share_of_sure_images_with_their_labels(learning):
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1).repeat(28, 1).repeat(28, 2)
    pseudo = PseudoLabels(learning, images, list("0123456789"))
    assert [len(labels) for _, labels in pseudo.batches(3, 4)] == [0] * 4, "none before the first pseudo-labels"
    pseudo.labels[100:] = np.arange(100) % 10
    seen = list(pseudo.batches(3, 4))
    assert [len(labels) for _, labels in seen] == [20] * 4, "three parts labeled, one part not"
    for shown, labels in seen:
        assert shown.min() >= 100
        np.testing.assert_array_equal(labels, shown[:, 0, 0] % 10)
    third = dataclasses.replace(learning, unlabeled_share=1 / 3)
    pseudo.config = third
    assert [len(labels) for _, labels in pseudo.batches(3, 1)] == [30]


def test_when_labels_are_renewed(learning):
    pseudo = PseudoLabels(learning, np.zeros((1, 28, 28), np.uint8), ["a"])
    assert [epoch for epoch in range(1, 8) if pseudo.is_due([{"epoch": epoch}])] == [2, 4, 6]
    pseudo.config = dataclasses.replace(learning, epochs=6)
    assert not pseudo.is_due([{"epoch": 6}]), "after the last epoch there is none to use them"


def test_a_run_says_what_the_labels_changed_and_keeps_them(learning, tmp_path, capsys):
    fitting.fit(learning, with_unlabeled(learning), tmp_path / "run")
    printed = capsys.readouterr().out
    assert re.search(r"^val: [\d.]+% before the first of them \(epoch 2\), [\d.]+% at the end$", printed, re.MULTILINE)
    lines = [line for line in printed.splitlines() if line.startswith("pseudo-labels")]
    assert len(lines) == 4
    used = int(lines[2].split()[1].replace(",", ""))
    assert 0 < used <= 650
    assert lines[0].endswith("0 changed, 0 dropped")
    with open(tmp_path / "run" / "pseudo_labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == used
    truth = load_mnist("train", learning.data_dir)[1]
    right = np.mean([int(row["label"]) == truth[int(row["image"])] for row in rows])
    assert right > 0.8, "what is sure is mostly right"


@pytest.mark.parametrize("epoch", [4, 5])  # after a labeling, and between two
def test_a_resumed_run_ends_with_the_same_bits(learning, tmp_path, monkeypatch, epoch):
    sets = with_unlabeled(learning)
    fitting.fit(learning, sets, tmp_path / "whole")
    with stopped_after(monkeypatch, lambda out, history: len(history) == epoch):
        fitting.fit(learning, sets, tmp_path / "stopped")
    fitting.fit(learning, sets, tmp_path / "stopped", resume=True)
    assert_same(state(tmp_path / "whole"), state(tmp_path / "stopped"))


def test_a_run_killed_between_its_two_files_ends_with_the_same_bits(learning, tmp_path, monkeypatch):
    sets = with_unlabeled(learning)
    fitting.fit(learning, sets, tmp_path / "whole")
    real = fitting.save_weights

    def save(out, model, config, classes, history):
        real(out, model, config, classes, history)
        if len(history) == 5:  # best.pdparams is of epoch 5 now, the progress of epoch 4
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fitting, "save_weights", save)
        fitting.fit(learning, sets, tmp_path / "stopped")
    fitting.fit(learning, sets, tmp_path / "stopped", resume=True)
    assert_same(state(tmp_path / "whole"), state(tmp_path / "stopped"))


def test_as_many_images_have_to_be_there_on_resume(learning, tmp_path):
    sets = with_unlabeled(learning)
    fitting.fit(dataclasses.replace(learning, epochs=2), sets, tmp_path / "stopped")

    fewer = dataclasses.replace(sets, unlabeled=sets.unlabeled[:100])
    with pytest.raises(InputError, match="had 650 images without labels, and now there are 100"):
        fitting.fit(dataclasses.replace(learning, epochs=9), fewer, tmp_path / "stopped", resume=True)


def test_the_labels_that_lie_beside_the_images_are_not_used(learning, small_data, tmp_path):
    with np.load(small_data / "mnist.npz") as arrays:
        other = dict(arrays)
    other["y_train"] = (other["y_train"] + 1) % 10
    np.savez(tmp_path / "mnist.npz", **other)
    config = dataclasses.replace(learning, epochs=4)
    for name, folder in (("a", small_data), ("b", tmp_path)):
        changed = dataclasses.replace(config, unlabeled=str(folder))
        fitting.fit(changed, load_dataset(changed), tmp_path / name)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_a_folder_of_pictures_without_labels(learning, tmp_path):
    images, _ = load_mnist("train", learning.data_dir)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(str(tmp_path / "deep" / "er" / f"{number}.png"), images[number])
    sets = load_dataset(dataclasses.replace(learning, unlabeled=str(tmp_path)))
    assert [path.name for path in sets.unlabeled.paths] == [f"{number}.png" for number in range(5)]
    np.testing.assert_array_equal(sets.unlabeled[[0, 3]], images[[0, 3]])
    with pytest.raises(InputError, match="there is nothing in this folder"):
        (tmp_path / "empty").mkdir()
        load_dataset(dataclasses.replace(learning, unlabeled=str(tmp_path / "empty")))
