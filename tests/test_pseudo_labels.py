"""Learning from unlabeled images by pseudo-labels."""

import csv
import dataclasses
import re

import cv2
import numpy as np
import pytest
from conftest import assert_same, dataset_of, fit, state, stopped_after

from digits.cli import InputError
from digits.config import Config
from digits.data.mnist import load_mnist
from digits.data.splits import load_dataset
from digits.training.checkpointer import Checkpointer
from digits.training.pseudo_labels import PseudoLabels


@pytest.fixture(scope="module")
def learning(small_data):
    return Config(
        data_dir=str(small_data), unlabeled=str(small_data), unlabeled_epochs=2, unlabeled_confidence=0.5,
        epochs=7, batch_size=60, learning_rate=0.01, calibration_fraction=0.5, keep="last",
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(learning):
    """The small data, plus its training images again as unlabeled images."""
    return dataclasses.replace(dataset_of(learning), unlabeled=load_mnist("train", learning.unlabeled)[0])


@pytest.fixture(scope="module")
def whole(learning, data, tmp_path_factory):
    """The folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    fit(learning, data, out)
    return out


def test_each_batch_has_its_share_of_confident_images_with_their_pseudo_labels(learning):
    images = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1).repeat(28, 1).repeat(28, 2)
    pseudo_labels = PseudoLabels(learning, images, list("0123456789"))
    assert [len(labels) for _, labels in pseudo_labels.batches(3, 4)] == [0] * 4, "no labels before the first renewal"
    pseudo_labels.labels[100:] = np.arange(100) % 10
    batches = list(pseudo_labels.batches(3, 4))
    assert [len(labels) for _, labels in batches] == [20] * 4, "three parts labeled, one part unlabeled"
    for batch_images, labels in batches:
        assert batch_images.min() >= 100
        np.testing.assert_array_equal(labels, batch_images[:, 0, 0] % 10)
    pseudo_labels.config = dataclasses.replace(learning, unlabeled_share=1 / 3)
    assert [len(labels) for _, labels in pseudo_labels.batches(3, 1)] == [30]


def test_pseudo_labels_are_renewed_every_other_epoch_but_not_after_the_last(learning):
    pseudo_labels = PseudoLabels(learning, np.zeros((1, 28, 28), np.uint8), ["a"])
    assert [epoch for epoch in range(1, 8) if pseudo_labels.is_due([{"epoch": epoch}])] == [2, 4, 6]
    pseudo_labels.config = dataclasses.replace(learning, epochs=6)
    assert not pseudo_labels.is_due([{"epoch": 6}]), "no epoch is left to use them"


def test_a_run_reports_how_its_pseudo_labels_changed_and_saves_them(learning, data, tmp_path, capsys):
    fit(learning, data, tmp_path / "run")
    printed = capsys.readouterr().out
    assert re.search(
        r"^val: [\d.]+% before the first pseudo-labels \(epoch 2\), [\d.]+% at the end$", printed, re.MULTILINE
    )
    lines = [line for line in printed.splitlines() if line.startswith("pseudo-labels: ")]
    assert len(lines) == 3
    assert lines[0].endswith("0 changed, 0 dropped")
    used = int(lines[2].split()[1].replace(",", ""))
    assert 0 < used <= 650
    with open(tmp_path / "run" / "pseudo_labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == used
    by_class = re.search(r"^final pseudo-labels by class: (.*); written to ", printed, re.MULTILINE)[1]
    assert sum(int(count.split()[1]) for count in by_class.split(", ")) == used
    labels = load_mnist("train", learning.data_dir)[1]
    right = np.mean([int(row["label"]) == labels[int(row["image"])] for row in rows])
    assert right > 0.8, "confident predictions are mostly right"


@pytest.mark.parametrize("epoch", [4, 5])  # right after a renewal, and between two
def test_a_resumed_run_ends_with_the_same_bits(learning, data, whole, tmp_path, monkeypatch, epoch):
    with stopped_after(monkeypatch, lambda out, history: len(history) == epoch):
        fit(learning, data, tmp_path / "stopped")
    fit(learning, data, tmp_path / "stopped", resume=True)
    assert_same(state(whole), state(tmp_path / "stopped"))


def test_a_run_killed_between_saving_weights_and_progress_ends_with_the_same_bits(
    learning, data, whole, tmp_path, monkeypatch
):
    save = Checkpointer.save_weights

    def save_and_stop(self, history):
        save(self, history)
        if len(history) == 5:  # best.pdparams has epoch 5 now, last.pdopt epoch 4
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpointer, "save_weights", save_and_stop)
        fit(learning, data, tmp_path / "stopped")
    fit(learning, data, tmp_path / "stopped", resume=True)
    assert_same(state(whole), state(tmp_path / "stopped"))


def test_a_resumed_run_needs_as_many_unlabeled_images_as_before(learning, data, tmp_path):
    fit(dataclasses.replace(learning, epochs=2), data, tmp_path / "stopped")
    fewer = dataclasses.replace(data, unlabeled=data.unlabeled[:100])
    with pytest.raises(InputError, match="had 650 unlabeled images, and now there are 100"):
        fit(dataclasses.replace(learning, epochs=9), fewer, tmp_path / "stopped", resume=True)


def test_labels_stored_with_unlabeled_images_are_not_used(learning, small_data, tmp_path):
    with np.load(small_data / "mnist.npz") as arrays:
        changed = dict(arrays)
    changed["y_train"] = (changed["y_train"] + 1) % 10
    np.savez(tmp_path / "mnist.npz", **changed)
    short = dataclasses.replace(learning, epochs=4)
    for name, folder in (("a", small_data), ("b", tmp_path)):
        config = dataclasses.replace(short, unlabeled=str(folder))
        fit(config, load_dataset(config), tmp_path / name)
    assert_same(state(tmp_path / "a"), state(tmp_path / "b"))


def test_unlabeled_images_can_be_a_folder_of_pictures(learning, tmp_path):
    images, _ = load_mnist("train", learning.data_dir)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number in range(5):
        cv2.imwrite(str(tmp_path / "deep" / "er" / f"{number}.png"), images[number])
    data = load_dataset(dataclasses.replace(learning, unlabeled=str(tmp_path)))
    assert [path.name for path in data.unlabeled.paths] == [f"{number}.png" for number in range(5)]
    np.testing.assert_array_equal(data.unlabeled[[0, 3]], images[[0, 3]])


def test_an_empty_folder_of_unlabeled_images_is_refused(learning, tmp_path):
    with pytest.raises(InputError, match=f"unlabeled: {tmp_path}: "):
        load_dataset(dataclasses.replace(learning, unlabeled=str(tmp_path)))
