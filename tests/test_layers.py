"""A look inside the networks: each layer's output is the one that the network computes with, and covers explain it."""

import cv2
import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from conftest import ROOT, assert_one_line_error, call

import predict
from digits.evaluation.classifier import Classifier
from digits.networks import layers
from digits.networks.registry import build_network, predict_logits


@pytest.fixture
def seven():
    return Classifier(ROOT / "checkpoints" / "shipped" / "lenet").load(ROOT / "examples" / "7_scan.png").image


def shapes(found):
    return [(activation.name, activation.values.shape) for activation in found]


def test_lenet_shows_the_shapes_of_its_textbook_picture(seven):
    classifier = Classifier(ROOT / "checkpoints" / "shipped" / "lenet")
    found = classifier.activations(seven)
    assert shapes(found) == [
        ("conv1", (6, 24, 24)),
        ("pool1", (6, 12, 12)),
        ("conv2", (16, 8, 8)),
        ("pool2", (16, 4, 4)),
        ("conv3", (120,)),
        ("fc1", (64,)),
        ("fc2", (10,)),
    ]
    np.testing.assert_allclose(found[-1].values, classifier.logits(seven[None])[0], rtol=1e-5)


@pytest.mark.parametrize("name, options", [("lenet", {}), ("lenet", {"activation": "sigmoid"}), ("extended", {})])
def test_each_layer_follows_from_the_one_before(name, options, seven):
    """From any activation on, the layers that follow give the network's own logits."""
    paddle.seed(1)
    network = build_network(name, **options)
    found = {activation.name: paddle.to_tensor(activation.values[None]) for activation in run(network, seven)}
    network.eval()
    with paddle.no_grad():
        if name == "lenet":
            pooled = F.max_pool2d(found["conv1"], 2)
            expected = F.relu(pooled) if not options else F.sigmoid(F.sigmoid(pooled))
            np.testing.assert_allclose(found["pool1"], expected, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(found["pool2"], F.max_pool2d(found["conv2"], 2), rtol=1e-4, atol=1e-6)
        else:
            block = F.max_pool2d(found["conv3"] + network.conv4(found["conv3"]), 2)
            np.testing.assert_allclose(found["conv4"], block, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["fc2"], network.fc2(found["fc1"]), rtol=1e-4, atol=1e-6)


def run(network, image):
    found = layers.activations(network, image[None])
    assert np.array_equal(found[-1].values, predict_logits(network, [image[None, None]])[0]), "the hooks change nothing"
    return found


def test_other_networks_show_the_outputs_of_their_convolutions():
    photo = np.random.default_rng(0).random((3, 32, 32), np.float32)
    found = layers.activations(build_network("photo_cnn", 2, image_size=32), photo)
    assert shapes(found) == [("conv1", (32, 30, 30)), ("conv2", (64, 8, 8)), ("logits", (2,))]
    deep = layers.activations(build_network("transfer", image_size=32, backbone="resnet18"), photo)
    assert len(deep) == 9
    assert {activation.values.ndim for activation in deep[:-1]} == {3}


def test_the_hooks_are_removed():
    network = build_network("lenet")
    image = np.zeros((1, 28, 28), np.float32)
    assert shapes(layers.activations(network, image)) == shapes(layers.activations(network, image))
    assert not any(layer._forward_pre_hooks for layer in network.sublayers())


def test_covering_the_bar_that_makes_a_7_speaks_for_the_7(seven):
    """Covering that ink costs the 7 its lead over the 1, and where the image is blank a cover changes nothing."""
    classifier = Classifier()
    why = classifier.occlusion(seven, 7, 1)
    assert why.shape == (28, 28)
    bar = np.unravel_index(why.argmax(), why.shape)
    assert seven[max(0, bar[0] - 2) : bar[0] + 3, max(0, bar[1] - 2) : bar[1] + 3].max() > 0.5
    covered = seven.copy()
    covered[bar[0] - 2 : bar[0] + 3, bar[1] - 2 : bar[1] + 3] = 0
    (before,), (after,) = classifier.logits(seven[None]), classifier.logits(covered[None])
    assert why[bar] == pytest.approx((before[7] - before[1]) - (after[7] - after[1]), abs=1e-3)
    far = cv2.dilate(seven, np.ones((7, 7))) == 0
    assert np.abs(why[far]).max() < 1e-4
    np.testing.assert_allclose(classifier.occlusion(seven, 1, 7), -why, atol=1e-4)


def test_predict_draws_the_layers_beside_the_same_answer(tmp_path):
    picture, photo = ROOT / "examples" / "7_scan.png", ROOT / "examples" / "2_photo.jpg"
    done = call(predict.main, picture, photo, "--layers", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == call(predict.main, picture, photo, cwd=tmp_path).stdout
    for path in (picture, photo):
        assert f"drawn into outputs/{path.stem}_layers.png" in done.stderr
        assert cv2.imread(str(tmp_path / "outputs" / f"{path.stem}_layers.png")).shape[1] == 1440
    assert_one_line_error(call(predict.main, picture, "--layers", "--many"), "--layers", "omit --many")
