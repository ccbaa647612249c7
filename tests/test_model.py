"""The networks: parameter counts, the textbook's outputs and gradients, the tutorial's weights."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from conftest import ROOT
from paddle import nn

from benchmarks.tutorial import TutorialLeNet
from digits.cli import InputError
from digits.config import FIELDS
from digits.networks.checkpoint import load_weights, read_weights
from digits.networks.description import check_description
from digits.networks.registry import NETWORKS, build_network, count_parameters, predict_logits
from digits.networks.tiny import TinyNet
from model import MLP, ExtendedLeNet, LeNet


class PlainReluLeNet(TutorialLeNet):
    """Bias, activation and pooling in the textbook's order."""

    def forward(self, x):
        x = self.max_pool1(F.relu(self.conv1(x)))
        x = self.max_pool2(F.relu(self.conv2(x)))
        x = F.relu(self.conv3(x)).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_lenet_has_41806_parameters(activation):
    # 6*1*25+6 + 16*6*25+16 + 120*16*16+120 + 120*64+64 + 64*10+10
    assert count_parameters(LeNet(activation=activation)) == 41_806


def test_extended_has_284722_parameters():
    # six convolutions without bias, two numbers per channel for batch norm, and two linear layers
    channels = (1, 24, 32, 64, 64, 112, 112)
    convolutions = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(channels))
    assert count_parameters(ExtendedLeNet()) == convolutions + 448 * 96 + 96 + 96 * 10 + 10 == 284_722 < 300_000


def test_the_mlp_has_101770_parameters():
    assert count_parameters(MLP()) == 784 * 128 + 128 + 128 * 10 + 10 == 101_770


def test_tiny_has_1440_parameters():
    # four convolutions, two of them depthwise-separable, a depthwise one of 6x6, their batch norms, and a linear layer
    convolutions = 25 * 4 + 9 * 4 * 6 + (9 * 6 + 6 * 13) + (9 * 13 + 13 * 13) + 36 * 13
    assert count_parameters(TinyNet()) == convolutions + 2 * (4 + 6 + 13 + 13 + 13) + 13 * 10 + 10 == 1_440 < 1_500


class PlainExtended(nn.Layer):
    """Convolution, batch norm, LeakyReLU, shortcut and pooling in this order, with the layers of our network."""

    def __init__(self, ours):
        super().__init__()
        self.ours = ours

    def forward(self, x):
        ours = self.ours
        for number in (1, 2, 3, 4, 5, 6):
            block = getattr(ours, f"conv{number}")
            shortcut = x if number in (4, 6) else 0
            x = F.leaky_relu(block.norm(block.conv(x)), 0.1) + shortcut
            x = F.max_pool2d(x, 2, 2) if number in (2, 4, 6) else x
        return ours.fc2(ours.dropout(F.relu(ours.fc1(x.flatten(1)))))


def test_extended_computes_the_textbooks_blocks():
    paddle.seed(5)
    model = ExtendedLeNet()
    model(paddle.rand([16, 1, 28, 28]))  # moves the batch-norm statistics away from their initial values
    images = np.random.default_rng(0).random((3, 1, 28, 28), dtype=np.float32)
    expected = predict_logits(PlainExtended(model), [images])
    np.testing.assert_allclose(predict_logits(model, [images]), expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_statistics_are_not_counted_as_parameters():
    assert count_parameters(nn.BatchNorm2D(8)) == 16


@pytest.mark.parametrize(("activation", "oracle"), [("sigmoid", TutorialLeNet), ("relu", PlainReluLeNet)])
def test_lenet_gives_the_logits_and_gradients_of_the_textbook_order(activation, oracle):
    paddle.seed(3)
    ours, theirs = LeNet(activation=activation), oracle()
    ours.set_state_dict(theirs.state_dict())
    images = paddle.rand([5, 1, 28, 28])
    labels = paddle.to_tensor([3, 1, 4, 1, 5])
    for model in (ours, theirs):
        F.cross_entropy(model(images), labels).backward()
    np.testing.assert_allclose(ours(images).numpy(), theirs(images).numpy(), rtol=1e-4, atol=1e-5)
    for name, parameter in ours.named_parameters():
        expected = dict(theirs.named_parameters())[name].grad.numpy()
        np.testing.assert_allclose(parameter.grad.numpy(), expected, rtol=1e-3, atol=1e-6, err_msg=name)


def test_weights_saved_by_the_tutorial_load_and_give_its_logits(tmp_path):
    paddle.seed(4)
    tutorial = TutorialLeNet()
    paddle.save(tutorial.state_dict(), str(tmp_path / "mnist.pdparams"))
    ours = LeNet(activation="sigmoid")
    load_weights(ours, read_weights(tmp_path / "mnist.pdparams"), "mnist.pdparams")
    images = paddle.rand([4, 1, 28, 28])
    np.testing.assert_allclose(ours(images).numpy(), tutorial(images).numpy(), rtol=1e-4, atol=1e-5)


def test_predict_logits_agrees_with_one_call_and_restores_the_mode():
    model = LeNet()
    images = np.random.default_rng(0).random((7, 1, 28, 28), dtype=np.float32)
    for training in (True, False):
        model.training = training
        np.testing.assert_allclose(
            predict_logits(model, [images[:3], images[3:]]),
            model(paddle.to_tensor(images)).numpy(),
            rtol=1e-5,
            atol=1e-6,
        )
        assert model.training is training


def test_the_config_accepts_every_network():
    assert FIELDS["model"].metadata["choices"] == tuple(NETWORKS)


def test_unknown_names_are_input_errors():
    with pytest.raises(InputError, match=r"lenett.*lenet"):
        build_network("lenett")
    with pytest.raises(InputError, match="model 'extended' has no option activation"):
        build_network("extended", activation="relu")
    meta = {"model": {"name": "lenet", "activation": "tanh"}, "classes": list("0123456789")}
    with pytest.raises(InputError, match=r"some.json: model.activation: 'tanh' is not known.*relu, sigmoid"):
        check_description(Path("some.json"), meta)
    with pytest.raises(ValueError, match="activation 'tanh'"):
        LeNet(activation="tanh")


def test_users_own_model_py_and_data_py_do_not_replace_ours(tmp_path):
    for name in ("model.py", "data.py"):
        (tmp_path / name).write_text("raise SystemExit('the file in the working directory was imported')")
    code = "from digits.networks.registry import build_network; print(type(build_network('lenet')).__module__)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "digits.model\n"), done.stderr
