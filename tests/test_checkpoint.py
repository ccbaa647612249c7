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
from digits.config import Config
from digits.evaluation.classifier import Classifier
from digits.files import replacing
from digits.networks import registry
from digits.networks.checkpoint import (
    load_checkpoint,
    load_weights,
    read_state,
    read_weights,
    save_checkpoint,
    save_state,
)
from digits.networks.description import check_classes
from digits.networks.registry import build_network
from digits.training.stages import make_network
from model import LeNet

EXAMPLE = ROOT / "examples" / "7_scan.png"
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
    ("path", "value", "message"),
    [
        ("classes", "0123456789", "does not say which network and classes it has"),
        ("classes", None, "does not say which network and classes it has"),
        ("classes", [], "has 0 classes; expected 1 to 10,000"),
        ("classes", ["x"] * 20_000, "has 20,000 classes"),
        ("classes", ["\x1b[31mred", *"123456789"], r"the name of the class '\x1b[31mred' has control characters"),
        ("classes", ["0\n", *"123456789"], r"'0\n' has control characters"),
        ("classes", ["\x9b2J", *"123456789"], "has control characters"),
        ("classes", ["x" * 300, *"123456789"], "is not the name of a class; it must be a text of 1 to 255 letters"),
        ("classes", ["", *"123456789"], "'' is not the name of a class"),
        ("classes", [0, *"123456789"], "'0' is not the name of a class"),
        ("classes", [{"a": 1}, *"123456789"], "is not the name of a class"),
        ("classes", ["1", *"123456789"], "two classes have the same name"),
        ("model", "lenet", "does not say which network and classes it has"),
        ("model", ["name"], "does not say which network and classes it has"),
        ("model.name", 7, "model.name: '7' is not text"),
        ("model.name", [[1]], "model.name: '[[1]]' is not text"),
        ("model.image_size", 10**6, "model.image_size: 1000000 is out of range"),
        ("model.image_size", 10**400, "model.image_size: '1000"),
        ("model.image_size", 64, "has no option image_size"),
        ("config", [1, 2], "config: expected names and values, not a list"),
        ("config", "x", "config: expected names and values, not a str"),
        ("config", None, "config: expected names and values, not a NoneType"),
        ("config.loss", "hinge", "config.loss: 'hinge' is not known"),
        ("config.loss", ["mse"], "config.loss: '['mse']' is not text"),
        ("config.seed", -1, "config.seed: -1 is out of range"),
        ("config.epochs", 10**400, "config.epochs: '1000"),
        ("epoch", "\x1b[2J", "epoch is '\x1b[2J', and must be a number"),
        ("calibration.temperature", 10**400, "temperature is '1000"),
        ("calibration.trusted_threshold", -5, "trusted_threshold is '-5', and must be a number from 0 to 1"),
        ("calibration", [1], "its calibration is not complete"),
        ("metrics", 3, "metrics: '3'"),
        ("metrics.test", [1], "metrics.test: '[1]'"),
        ("metrics.test.accuracy", "high", "metrics.test: accuracy is 'high'"),
        ("metrics.test.per_class", 3, "metrics.test.per_class: expected one row per class"),
        ("sha256", 3, "not a checkpoint's JSON"),
    ],
)
def test_a_field_of_the_description_that_is_wrong_is_one_short_line(tmp_path, path, value, message):
    folder = shutil.copytree(ROOT / "checkpoints" / "shipped" / "lenet", tmp_path / "lenet")
    meta = json.loads((folder / "best.json").read_text())
    *parts, last = path.split(".")
    place = meta
    for part in parts:
        place = place[part]
    place[last] = value
    (folder / "best.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match=re.escape(message)) as error:
        Classifier(folder)
    assert len(str(error.value)) < 400
    done = call(predict.main, EXAMPLE, "--checkpoint", folder)
    assert_one_line_error(done, "best")
    assert done.stderr[:-1].isprintable()


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, '{"sha256": 1' + "0" * 5000 + "}", "\x00", "NaN", "{}"]
)
def test_a_deep_or_odd_description_is_one_line(saved, text):
    folder, _ = saved
    (folder / "best.json").write_text(text)
    assert_one_line_error(call(predict.main, EXAMPLE, "--checkpoint", folder), "not a checkpoint's JSON")


def test_an_image_size_that_the_weights_do_not_have_is_refused_before_the_network_is_built(tmp_path, monkeypatch):
    network = build_network("photo_cnn", 2, image_size=32)
    meta = {"model": {"name": "photo_cnn", "image_size": 1024, "dropout": True}, "classes": ["cat", "dog"]}
    save_checkpoint(tmp_path, "best", network, meta)
    monkeypatch.setattr(registry, "build_network", None)
    with pytest.raises(InputError, match=r"are not for image_size 1024: fc1.weight has 256 rows, expected 802816"):
        Classifier(tmp_path)


def test_a_class_name_that_no_checkpoint_may_have_ends_a_training_before_it_starts(small_data):
    with pytest.raises(InputError, match="has control characters; rename it"):
        make_network(Config(), ["cat", "do\x1bg"])
    names = ["\u6570\u5b57", "na\u00efve", "\U0001f431", "a b", "$5", "-", "x" * 255]
    check_classes("here", names)


def test_weights_beside_a_json_of_another_program_are_read_as_the_tutorial_saved_them(tmp_path):
    """paddle.jit.save writes a JSON file named after the network."""
    weights = tmp_path / "mnist.pdparams"
    paddle.save(LeNet().state_dict(), str(weights))
    for text in ('{"base_code": {"magic": "pir", "version": 1}, "program": {"regions": []}}', "{}"):
        (tmp_path / "mnist.json").write_text(text)
        assert load_checkpoint(weights).meta["model"]["activation"] == "sigmoid"
    (tmp_path / "mnist.json").write_text('{"classes": ["0"]}')  # ours, and not complete
    with pytest.raises(InputError, match="not a checkpoint's JSON"):
        load_checkpoint(weights)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_half_and_double_precision_are_read(dtype):
    model = LeNet()
    weights = {name: tensor.numpy().astype(dtype) for name, tensor in LeNet().state_dict().items()}
    load_weights(model, weights, "some.pdparams")
    np.testing.assert_array_equal(model.fc2.weight.numpy(), weights["fc2.weight"].astype(np.float32))


def test_bfloat16_is_named():
    weights = {name: np.zeros(tensor.shape, np.uint16) for name, tensor in LeNet().state_dict().items()}
    with pytest.raises(InputError, match=r"conv1.weight is bfloat16, expected float32"):
        load_weights(LeNet(), weights, "some.pdparams")


def test_foreign_names_of_layers_are_matched_by_their_shapes():
    names = {"conv1.weight": "features.0.weight", "fc2.weight": "linear_1.w_0", "fc2.bias": "linear_1.b_0"}
    weights = {names.get(name, name): tensor.numpy() for name, tensor in LeNet().state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(LeNet(), weights, "some.pdparams")
    pairs = "features.0.weight fits conv1.weight, linear_1.w_0 fits fc2.weight, linear_1.b_0 fits fc2.bias"
    assert str(error.value).endswith(f"; by the shapes, {pairs}: rename them")
    weights["linear_1.w_0"] = weights["linear_1.w_0"].T
    with pytest.raises(InputError, match=r"linear_1.w_0 fits fc2.weight, .*: rename them and transpose the matrices"):
        load_weights(LeNet(), weights, "some.pdparams")
    with pytest.raises(InputError) as error:
        load_weights(LeNet(), {"x": np.zeros((2, 3), np.float32)}, "some.pdparams")
    assert "by the shapes" not in str(error.value)


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
