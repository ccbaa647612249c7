"""Transfer learning: what is frozen stays, features are computed once, any stop can be gone on from."""

import dataclasses
import re
import shutil

import numpy as np
import paddle
import pytest
from conftest import ROOT, assert_one_line_error, assert_same, script, state, stopped_after
from photos import write_photos

from digits.cli import InputError, RunError
from digits.config import Config
from digits.data.splits import load_dataset
from digits.networks.checkpoint import load_checkpoint
from digits.networks.photo import TransferNet
from digits.networks.registry import build_network
from digits.training import fitting, transfer
from digits.training.transfer import bottleneck_features, last_block, prepare_backbone

SMALL = "shufflenet_v2_x0_25"  # the quickest backbone here


@pytest.fixture(scope="module")
def photos(tmp_path_factory, mnist_train):
    """Train and val folders of two classes."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder / "train", *mnist_train, count=12, digits="38", size=40, seed=0)
    write_photos(folder / "val", *mnist_train, count=5, digits="38", size=40, seed=1)
    return folder


@pytest.fixture
def config(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # features are kept in outputs/
    return Config(
        model="transfer", backbone=SMALL, image_size=40, data_dir=str(photos), calibration_fraction=0, batch_size=8,
        head_epochs=3, head_learning_rate=0.01, epochs=3, optimizer="momentum", learning_rate=0.01, flip=0.5,
    )  # fmt: skip


def weights_of(network):
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


def first_weights(config, classes):
    """Those that a run of this config begins with."""
    with paddle.utils.unique_name.guard():
        paddle.seed(config.seed)
        return weights_of(fitting.build(config, classes))


# The backbones, and what of them learns


@pytest.mark.parametrize(
    ("backbone", "size", "learning"),
    [
        ("inception_v3", 75, ["inception_block_list.10"]),
        ("resnet18", 40, ["layer4"]),
        ("mobilenet_v3_small", 40, ["blocks.10", "lastconv"]),
        ("vgg16", 40, ["features.24", "features.26", "features.28"]),
        ("shufflenet_v2_x0_25", 40, ["_last_conv"]),
        ("vgg11", 40, ["features.18"]),
    ],
)
def test_exactly_the_last_block_and_the_head_change(config, tmp_path, backbone, size, learning):
    config = dataclasses.replace(config, backbone=backbone, image_size=size, epochs=1, head_epochs=1)
    sets = load_dataset(config)
    before = first_weights(config, sets.classes)
    fitting.fit_in_stages(config, sets, tmp_path / "run")
    joined = load_checkpoint(tmp_path / "run" / "head").weights
    after = load_checkpoint(tmp_path / "run" / "last.pdparams").weights

    assert last_block(backbone, build_network("transfer", 2, backbone=backbone, image_size=size).backbone) == learning
    changed = set()
    for name, values in after.items():
        part, _, inner = name.partition(".")
        if part == "head":
            assert (values != joined[inner]).any(), name
        elif (values != before[name]).any():
            changed.add(next((block for block in learning if inner.startswith(f"{block}.")), name))
    assert changed == set(learning)


def test_every_layer_learns_where_that_is_asked_for(config, tmp_path):
    config = dataclasses.replace(config, unfreeze="all", head_epochs=0, epochs=1)
    sets = load_dataset(config)
    before = first_weights(config, sets.classes)
    fitting.fit(config, sets, tmp_path / "run")
    after = load_checkpoint(tmp_path / "run" / "last.pdparams").weights
    assert all((after[name] != values).any() for name, values in before.items() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "resnet19"}, "backbone 'resnet19' is not known, did you mean 'resnet18'"),
        ({"backbone": "resnet"}, "backbone 'resnet' is not known"),
        ({"backbone": "googlenet"}, "backbone 'googlenet' has several outputs, and cannot be used"),
        ({"backbone": "inception_v3"}, "image_size 40: too small for inception_v3, which needs 75"),
        ({"unfreeze": "_conv11"}, "unfreeze: the backbone has no layer '_conv11', did you mean '_conv1.1'"),
        ({"unfreeze": "zzz"}, "unfreeze: the backbone has no layer 'zzz'; it has _conv1, 2_1,"),
        ({"weights": "nowhere.pdparams"}, "checkpoint nowhere.pdparams: no such file"),
    ],
)
def test_a_wrong_setting_is_one_line(config, settings, message):
    config = dataclasses.replace(config, **settings)
    with pytest.raises(InputError, match=message):
        prepare_backbone(fitting.build(config, ["3", "8"]), config)


# Where the weights come from


def test_weights_from_a_file_with_a_top_or_from_a_run_of_ours(config, tmp_path):
    paddle.seed(7)
    whole = paddle.vision.models.resnet18(num_classes=1000)
    paddle.save(whole.state_dict(), str(tmp_path / "resnet18.pdparams"))
    config = dataclasses.replace(config, backbone="resnet18", weights=str(tmp_path / "resnet18.pdparams"), epochs=1)
    network = fitting.build(config, ["3", "8"])
    prepare_backbone(network, config)
    np.testing.assert_array_equal(network.backbone.conv1.weight.numpy(), whole.conv1.weight.numpy())

    fitting.fit_in_stages(config, load_dataset(config), tmp_path / "run")
    again = fitting.build(config, list("abc"))
    prepare_backbone(again, dataclasses.replace(config, weights=str(tmp_path / "run")))
    kept = load_checkpoint(tmp_path / "run").weights
    for name, values in weights_of(again.backbone).items():
        np.testing.assert_array_equal(values, kept[f"backbone.{name}"])

    other = dataclasses.replace(config, backbone=SMALL)
    with pytest.raises(InputError, match=r"not weights of ShuffleNetV2: .* is missing"):
        prepare_backbone(fitting.build(other, ["3", "8"]), other)


def test_weights_that_cannot_be_downloaded_end_in_one_line(photos, tmp_path):
    done = script(
        "train.py", "configs/inception_v3.yaml", "--data-dir", photos, "--out", tmp_path / "run",
        HOME=str(tmp_path), HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9",
    )  # fmt: skip
    assert_one_line_error(done, "Paddle's weights of inception_v3 cannot be had", "--weights FILE", status=1)
    assert not any((tmp_path / "run").iterdir()), "no run has begun"


# Features


def test_features_are_computed_once_for_the_same_weights_files_and_size(config, photos, tmp_path, capsys):
    def features(network, config):
        found = bottleneck_features(network, load_dataset(config).train[0], "train")
        return found, len(list(transfer.FEATURES.glob("*.npy"))), capsys.readouterr().out.splitlines()[-1]

    paddle.seed(1)
    network = TransferNet(2, 40, SMALL)
    first, count, said = features(network, config)
    assert (count, first.shape) == (1, (24, 512))
    assert "24 photos through the backbone" in said
    again, count, said = features(network, config)
    assert count == 1
    assert "from outputs" in said
    np.testing.assert_array_equal(again, first)

    images = load_dataset(config).train[0][np.arange(24)]
    inputs = paddle.to_tensor(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    network.eval()
    np.testing.assert_allclose(network.features(inputs).numpy(), first, rtol=1e-4, atol=1e-5)

    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert features(network, dataclasses.replace(config, data_dir=str(copy)))[1] == 2
    assert features(TransferNet(2, 40, SMALL), config)[1] == 3
    other = fitting.build(dataclasses.replace(config, backbone="shufflenet_v2_x1_0"), ["3", "8"])
    alike = fitting.build(dataclasses.replace(config, backbone="shufflenet_v2_swish"), ["3", "8"])
    alike.set_state_dict(other.state_dict())
    assert [features(network, config)[1] for network in (other, alike)] == [4, 5], "the same weights, another network"
    (next((copy / "train" / "3").iterdir())).touch()
    assert features(network, dataclasses.replace(config, data_dir=str(copy)))[1] == 6


# Stages


@pytest.mark.parametrize("stage", ["head", ""])
def test_a_run_stopped_in_a_stage_goes_on_to_the_same_bits(config, tmp_path, monkeypatch, stage):
    sets = load_dataset(config)
    fitting.fit_in_stages(config, sets, tmp_path / "whole")

    with stopped_after(monkeypatch, lambda out, history: out == tmp_path / "stopped" / stage and len(history) == 2):
        fitting.fit_in_stages(config, sets, tmp_path / "stopped")
    fitting.fit_in_stages(config, sets, tmp_path / "stopped", resume=True)
    assert_same(state(tmp_path / "whole"), state(tmp_path / "stopped"))


def test_the_joined_network_is_kept_unless_fine_tuning_finds_a_better(config, tmp_path):
    config = dataclasses.replace(config, learning_rate=1e-9)  # the third stage changes nothing
    history = fitting.fit_in_stages(config, load_dataset(config), tmp_path / "run")
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[0]["val_accuracy"] == pytest.approx(history[-1]["val_accuracy"])
    head, joined = (load_checkpoint(tmp_path / "run" / name).weights for name in ("head", "best.pdparams"))
    for name, values in head.items():
        np.testing.assert_allclose(joined[f"head.{name}"], values, atol=1e-6)


def test_the_whole_command_and_what_comes_after_it(config, photos, tmp_path):
    out = tmp_path / "run"
    arguments = [
        "configs/inception_v3.yaml", "--pretrained", "false", "--backbone", SMALL, "--image-size", 40,
        "--data-dir", photos, "--epochs", 2, "--head-epochs", 2, "--out", out,
    ]  # fmt: skip
    done = script("train.py", *arguments)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^parameters: [\d,]+, of which [\d,]+ learn$", done.stdout, re.MULTILINE)
    for line in (
        "stage 1: features",
        "stage 2: the head alone",
        "stage 3: the head and _last_conv, 2 epochs",
        "true, read as",
    ):
        assert line in done.stdout
    for name in ("right.png", "mistakes.png", "confusion.png", "curves.png", "best.json", "head/log.csv"):
        assert (out / name).exists(), name
    command = done.stdout.splitlines()[-1].split()
    assert command[:2] == ["python", "predict.py"]
    answer = script(*command[1:])
    assert answer.returncode == 0, answer.stderr
    assert "sure" in answer.stdout
    measured = script("evaluate.py", photos / "val", "--checkpoint", out, "--out", tmp_path / "evaluated")
    val = load_checkpoint(out).meta["metrics"]["val"]
    assert f"accuracy {val['accuracy']:.2%}" in measured.stdout
    assert_one_line_error(script("train.py", *arguments), "is not empty")


def test_a_dry_run_keeps_nothing(photos, tmp_path):
    arguments = ["--pretrained", "false", "--backbone", SMALL, "--image-size", 40, "--data-dir", photos, "--dry-run"]
    config = ROOT / "configs" / "inception_v3.yaml"
    done = script("train.py", config, *arguments, "--calibration-fraction", 0, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stage 3" in done.stdout
    assert not list(tmp_path.iterdir())


def test_fine_tuning_a_run_of_ours_needs_no_other_weights(config, photos, tmp_path):
    fitting.fit_in_stages(config, load_dataset(config), tmp_path / "run")
    tuned = dataclasses.replace(config, fine_tune=str(tmp_path / "run"), pretrained=True, learning_rate=1e-9, epochs=1)
    fitting.fit(tuned, load_dataset(tuned), tmp_path / "tuned")
    first, second = (load_checkpoint(tmp_path / name).weights for name in ("run", "tuned"))
    np.testing.assert_allclose(first["head.0.weight"], second["head.0.weight"], atol=1e-6)


def test_it_needs_its_data_folder():
    assert_one_line_error(script("train.py", "configs/inception_v3.yaml"), "is for photos", "--data-dir")


def test_paddles_weights_are_those_of_the_backbone(config, monkeypatch):
    real = getattr(paddle.vision.models, SMALL)
    paddle.seed(3)
    published = real(num_classes=1000)
    network = TransferNet(2, 40, SMALL)
    monkeypatch.setattr(paddle.vision.models, SMALL, lambda pretrained: published)
    prepare_backbone(network, dataclasses.replace(config, pretrained=True))
    for name, values in weights_of(network.backbone).items():
        np.testing.assert_array_equal(values, published.state_dict()[name].numpy())


def test_no_backbone_can_be_had(config, monkeypatch):
    def fail(**options):
        raise RuntimeError("a dead host")

    network = TransferNet(2, 40, SMALL)
    monkeypatch.setattr(paddle.vision.models, SMALL, fail)
    with pytest.raises(RunError, match="cannot be had"):
        prepare_backbone(network, dataclasses.replace(config, pretrained=True))
