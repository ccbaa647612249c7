"""Checkpoints: readable by any Paddle program, strict, safe against hostile files, complete or absent."""

import hashlib
import json
import os
import pickle
import re
import shutil

import numpy as np
import paddle
import pytest
from conftest import ROOT, assert_one_line_error, call

import evaluate
import predict
import train
from digits.cli import InputError
from digits.evaluation.classifier import Classifier
from digits.files import replacing
from digits.networks.checkpoint import (
    load_checkpoint,
    load_weights,
    read_state,
    read_weights,
    save_checkpoint,
    save_state,
)
from model import LeNet

META = {"model": {"name": "lenet", "activation": "relu"}, "classes": list("0123456789")}


@pytest.fixture
def saved(tmp_path):
    """A folder with a checkpoint called best, and its network."""
    paddle.seed(1)
    model = LeNet()
    save_checkpoint(tmp_path / "run", "best", model, META)
    return tmp_path / "run", model


def test_a_saved_checkpoint_is_read_back_equal(saved):
    folder, model = saved
    loaded = load_checkpoint(folder)
    assert {key: loaded.meta[key] for key in META} == META
    other = LeNet()
    load_weights(other, loaded.weights, folder)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), tensor.numpy())
    assert load_checkpoint(folder / "best.pdparams").path == loaded.path


def test_any_paddle_program_loads_the_weights(saved):
    folder, model = saved
    plain = LeNet()
    missing, unexpected = plain.set_state_dict(paddle.load(str(folder / "best.pdparams")))
    assert missing == unexpected == []
    np.testing.assert_array_equal(plain.fc2.weight.numpy(), model.fc2.weight.numpy())


def test_a_saved_state_is_read_back_equal(tmp_path):
    state = {
        "weights": {"a": np.arange(3.0)},
        "optimizer": {"LR_Scheduler": {"last_epoch": 3}},
        "history": [{"epoch": 1}],
    }
    save_state(tmp_path / "last.pdopt", state)
    loaded = read_state(tmp_path / "last.pdopt")
    np.testing.assert_array_equal(loaded["weights"].pop("a"), state["weights"].pop("a"))
    assert loaded == state


def break_missing_folder(folder):
    return folder / "gone", "no such file or folder"


def break_no_weights(folder):
    (folder / "best.pdparams").unlink()
    return folder, "there is no best.pdparams"


def break_no_json(folder):
    (folder / "best.json").unlink()
    return folder, "best.json, which describes the network, is missing"


def break_json(folder):
    (folder / "best.json").write_text("{")
    return folder, "not a checkpoint's JSON"


def break_json_of_something_else(folder):
    (folder / "best.json").write_text("[1]")
    return folder, "not a checkpoint's JSON"


def break_one_byte(folder):
    data = bytearray((folder / "best.pdparams").read_bytes())
    data[-5000] ^= 1
    (folder / "best.pdparams").write_bytes(data)
    return folder, "damaged or changed: its SHA-256"


def break_cut_short(folder):
    data = (folder / "best.pdparams").read_bytes()
    (folder / "best.pdparams").write_bytes(data[: len(data) // 2])
    return folder, "damaged or changed: its SHA-256"


BREAKS = [value for name, value in sorted(globals().items()) if name.startswith("break_")]


@pytest.mark.parametrize("damage", BREAKS, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_one_clear_line(saved, damage):
    path, message = damage(saved[0])
    with pytest.raises(InputError, match=re.escape(message)) as error:
        Classifier(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


class Attack:
    """Pickles as a command that creates the file `witness`."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


def make_hostile(folder, witness):
    """Replace the weights by an attack, and the SHA-256 to match: the attacker brings both files."""
    hostile = pickle.dumps({"fc1.weight": Attack(witness)}, 4)
    (folder / "best.pdparams").write_bytes(hostile)
    meta = json.loads((folder / "best.json").read_text())
    meta["sha256"] = hashlib.sha256(hostile).hexdigest()
    (folder / "best.json").write_text(json.dumps(meta))


def test_a_hostile_file_is_refused_and_runs_nothing(saved, tmp_path):
    folder, _ = saved
    make_hostile(folder, tmp_path / "witness")
    for read in (load_checkpoint, Classifier):
        with pytest.raises(InputError, match="refused"):
            read(folder)
    with pytest.raises(InputError, match="refused"):
        read_weights(folder / "best.pdparams")
    assert not (tmp_path / "witness").exists()


def test_scripts_refuse_a_hostile_checkpoint_in_one_line_with_exit_2(saved, tmp_path):
    folder, _ = saved
    make_hostile(folder, tmp_path / "witness")
    for main, *arguments in (
        (predict.main, ROOT / "examples", "--checkpoint", folder),
        (evaluate.main, "mnist", "--checkpoint", folder),
        (train.main, "--fine-tune", folder),
    ):
        assert_one_line_error(call(main, *arguments, cwd=tmp_path), str(folder), "refused")
    assert not (tmp_path / "witness").exists()


def of_another_network(meta):
    meta["classes"] = ["cat", "dog"]


def of_an_unknown_network(meta):
    meta["model"]["name"] = "resnet"


def half_calibrated(meta):
    del meta["calibration"]["temperature"]


def wrongly_calibrated(meta):
    meta["calibration"]["temperature"] = "hot"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_another_network, "fc2.weight is [64, 10], the network's is [64, 2]"),
        (of_an_unknown_network, "model 'resnet' is not known"),
        (half_calibrated, "its calibration is not complete"),
        (wrongly_calibrated, "its calibration is not complete"),
    ],
)
def test_a_description_that_does_not_fit_is_one_clear_line(tmp_path, change, message):
    folder = shutil.copytree(ROOT / "checkpoints" / "shipped" / "lenet", tmp_path / "lenet")
    meta = json.loads((folder / "best.json").read_text())
    change(meta)
    (folder / "best.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        Classifier(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or not a checkpoint"),
        (b"Hello", "damaged or not a checkpoint"),
        (pickle.dumps([1, 2], 4), "holds a list"),
        (pickle.dumps({}, 4), "not a file of weights"),
        (pickle.dumps({"fc1.weight": "text"}, 4), "not a file of weights"),
    ],
)
def test_a_file_without_weights_is_refused(tmp_path, content, message):
    path = tmp_path / "some.pdparams"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_weights(path)


def test_weights_of_another_network_are_refused_by_name():
    weights = {name: tensor.numpy() for name, tensor in LeNet().state_dict().items()}
    for change, message in (
        ({"fc2.bias": None}, "fc2.bias is missing"),
        ({"fc3.weight": np.zeros(3)}, "fc3.weight is not in the network"),
        ({"fc2.bias": np.zeros(9, np.float32)}, r"fc2.bias is [9], the network's is [10]"),
        ({"fc2.bias": np.full(10, np.nan, np.float32)}, "fc2.bias is not all finite floats"),
        ({"fc2.bias": np.zeros(10, np.int64)}, "fc2.bias is not all finite floats"),
    ):
        changed = {name: array for name, array in {**weights, **change}.items() if array is not None}
        with pytest.raises(InputError, match=re.escape(message)):
            load_weights(LeNet(), changed, "some.pdparams")
    with pytest.raises(InputError, match=r"not weights of LeNet: .* and 7 more"):
        load_weights(LeNet(), {}, "some.pdparams")


def test_a_refused_load_changes_nothing():
    model = LeNet()
    before = model.fc1.weight.numpy().copy()
    weights = {name: tensor.numpy() + 1 for name, tensor in model.state_dict().items()}
    del weights["fc2.bias"]
    with pytest.raises(InputError):
        load_weights(model, weights, "some.pdparams")
    np.testing.assert_array_equal(model.fc1.weight.numpy(), before)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
