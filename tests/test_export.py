"""export.py: the same logits from every program that reads an export, and nothing written that differs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import paddle
import pytest
from conftest import ROOT, call

import export
from digits.cli import InputError
from digits.config import DIGIT_SHAPE
from digits.export import formats
from digits.export.onnx_graph import to_onnx
from digits.networks.checkpoint import load_checkpoint, save_checkpoint
from digits.networks.registry import build_network, load_network, predict_logits
from model import LeNet

RANDOM = {"tiny": {}, "photo_cnn": {"image_size": 32}}  # networks without shipped weights, and their options
NAMES = ("lenet", "extended", *RANDOM)

INFERENCE = """
import sys
import numpy as np
from paddle import inference

folder, uses_onednn = sys.argv[1], sys.argv[2] == "on"
config = inference.Config(f"{folder}/model.json", f"{folder}/model.pdiparams")
config.enable_mkldnn() if uses_onednn else config.disable_mkldnn()
config.disable_glog_info()
predictor = inference.create_predictor(config)
predictor.get_input_handle("images").copy_from_cpu(np.load(f"{folder}/images.npy"))
predictor.run()
np.save(f"{folder}/{sys.argv[2]}.npy", predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with a checkpoint of each network: the shipped weights, or random ones with batch statistics."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("lenet", "extended"):
        (folder / name).symlink_to(ROOT / "checkpoints" / "shipped" / name)
    for name, options in RANDOM.items():
        network = build_network(name, **options)
        for key, tensor in network.state_dict().items():
            if key.endswith(("_mean", "_variance")):
                tensor.set_value(paddle.rand(tensor.shape) + 0.5)
        (folder / name).mkdir()
        meta = {"model": {"name": name, **options}, "classes": list("0123456789")}
        save_checkpoint(folder / name, "best", network, meta)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def exported(request, checkpoints, tmp_path_factory):
    """One network's exports, the images they are compared on, and the network's logits."""
    folder = tmp_path_factory.mktemp(request.param)
    for arguments in (["onnx", "--out", folder / "net.onnx"], ["paddle", "--out", folder]):
        done = call(export.main, "--checkpoint", checkpoints / request.param, "--format", *arguments)
        assert done.returncode == 0, done.stderr
    network, _ = load_network(load_checkpoint(checkpoints / request.param))
    images = formats.sample_images(network.input_shape)[0]
    np.save(folder / "images.npy", images)
    return folder, images, predict_logits(network, [images])


def close(found, expected):
    return found.shape == expected.shape and np.abs(found - expected).max() < 1e-4


def test_paddle_loads_the_same_network(exported):
    folder, images, logits = exported
    assert np.array_equal(predict_logits(paddle.jit.load(str(folder / "model")), [images]), logits)


@pytest.mark.parametrize("onednn", ["off", "on"])
def test_paddle_inference_agrees(exported, onednn):
    folder, _, logits = exported
    done = subprocess.run([sys.executable, "-c", INFERENCE, folder, onednn], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert close(np.load(folder / f"{onednn}.npy"), logits)


def test_onnx_runtime_agrees_at_any_batch_size(exported):
    folder, images, logits = exported
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    for count in (1, len(images)):
        assert close(session.run(["logits"], {"images": images[:count]})[0], logits[:count])


def test_opencv_agrees(exported):
    folder, images, logits = exported
    network = cv2.dnn.readNetFromONNX(str(folder / "net.onnx"))
    network.setInput(images)
    assert close(network.forward(), logits)


def test_the_description_has_what_another_program_needs(exported):
    folder, images, _ = exported
    description = json.loads((folder / "net.json").read_text())
    assert description == json.loads((folder / "description.json").read_text())
    assert description["classes"] == list("0123456789")
    assert tuple(description["input_shape"]) == images.shape[1:]
    is_trained = description["network"] not in RANDOM
    assert ("calibration" in description) == is_trained
    assert ("preprocessing" in description) == (images.shape[1:] == DIGIT_SHAPE)
    assert None not in description.get("calibration", {}).values()


def test_batch_norm_is_folded_into_the_convolutions():
    onnx = pytest.importorskip("onnx")
    types = [node.op_type for node in onnx.load_from_string(to_onnx(build_network("extended"))).graph.node]
    assert types.count("Conv") == 6
    assert set(types) == {"Conv", "LeakyRelu", "MaxPool", "Add", "Flatten", "Gemm", "Relu"}


def test_the_export_is_named_after_the_run():
    assert export.default_path(Path("runs/lenet-2/best.pdparams"), ".onnx") == Path("outputs/export/lenet-2.onnx")
    assert export.default_path(Path("lesson.pdparams"), ".html") == Path("outputs/export/lesson.html")


def test_an_export_that_differs_is_not_written(tmp_path, monkeypatch):
    other = to_onnx(LeNet())
    monkeypatch.setattr(formats, "to_onnx", lambda network: other)
    (tmp_path / "net.onnx").write_text("an earlier export")
    lenet = ROOT / "checkpoints" / "shipped" / "lenet"
    done = call(export.main, "--checkpoint", lenet, "--out", tmp_path / "net.onnx")
    assert done.returncode == 1
    assert "differs from the network by" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier export"]


def test_an_operation_that_onnx_lacks_here_is_named():
    class Network(LeNet):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", paddle.ones([10]), persistable=False)  # not in its state_dict

        def forward(self, images):
            return paddle.erf(super().forward(images) + self.shift)

    with pytest.raises(InputError, match="the operation 'erf' cannot be converted; --format paddle"):
        to_onnx(Network())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "html"], "--format html: the page shows the layers of LeNet, and .* is 'extended'"),
        (["--out", "net.txt"], "--out net.txt: expected the name of a file that ends in .onnx"),
        (["--format", "tflite"], "invalid choice: 'tflite'"),
        (["--checkpoint", "nowhere"], "checkpoint nowhere: no such file or folder"),
    ],
)
def test_a_wrong_argument_is_one_line(arguments, message):
    done = call(export.main, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 or "usage" in done.stderr
    assert re.search(message, done.stderr)


def test_without_the_package_onnx_one_line_says_how_to_install_it():
    code = "import sys; sys.modules['onnx'] = None; import export; from digits.cli import run; run(export.main)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: the package onnx is not installed: pip install onnx\n")
