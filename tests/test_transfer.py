"""Transfer learning: frozen layers do not change, features are computed once, an interrupted run can be resumed."""

import contextlib
import dataclasses
import re
import shutil
import time

import numpy as np
import paddle
import pytest
from conftest import (
    ROOT,
    assert_one_line_error,
    assert_same,
    call,
    fit,
    interrupting_after,
    state,
    stopped_after,
)
from photos import write_photos

import evaluate
import predict
import train
from digits.cli import InputError, RunError
from digits.config import Config
from digits.data.splits import load_dataset
from digits.networks.checkpoint import load_checkpoint
from digits.networks.photo import TransferNet
from digits.training import transfer
from digits.training.stages import make_network
from digits.training.transfer import bottleneck_features, last_block, prepare_backbone

SMALL = "shufflenet_v2_x0_25"  # the fastest backbone here


@pytest.fixture(scope="module")
def photos(tmp_path_factory, mnist_train):
    """Train and val folders of two classes."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder / "train", *mnist_train, count=12, digits="38", size=40, seed=0)
    write_photos(folder / "val", *mnist_train, count=5, digits="38", size=40, seed=1)
    return folder


@pytest.fixture(scope="module")
def settings(photos):
    return Config(
        model="transfer", backbone=SMALL, image_size=40, data_dir=str(photos), calibration_fraction=0, batch_size=8,
        head_epochs=3, head_learning_rate=0.01, epochs=3, optimizer="momentum", learning_rate=0.01, flip=0.5,
    )  # fmt: skip


@pytest.fixture
def config(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # features are saved in outputs/
    return settings


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """The folder of an uninterrupted run with these settings."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        fit(settings, load_dataset(settings), folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def transfer_run(photos, tmp_path_factory):
    """A folder with a complete run in `run`, the arguments it was trained with, and the output."""
    folder = tmp_path_factory.mktemp("runs")
    arguments = [
        ROOT / "configs" / "inception_v3.yaml", "--pretrained", "false", "--backbone", SMALL, "--image-size", 40,
        "--data-dir", photos, "--epochs", 2, "--head-epochs", 2, "--out", "run",
    ]  # fmt: skip
    done = call(train.main, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, arguments, done


def weights_of(network):
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


# Backbones, and the layers that are trained


@pytest.mark.parametrize(
    ("backbone", "size", "trained"),
    [
        ("inception_v3", 75, ["inception_block_list.10"]),
        ("resnet18", 40, ["layer4"]),
        ("mobilenet_v3_small", 40, ["blocks.10", "lastconv"]),
        ("vgg16", 40, ["features.24", "features.26", "features.28"]),
        ("shufflenet_v2_x0_25", 40, ["_last_conv"]),
        ("vgg11", 40, ["features.18"]),
    ],
)
def test_exactly_the_last_block_and_the_head_change(config, tmp_path, backbone, size, trained):
    config = dataclasses.replace(config, backbone=backbone, image_size=size, epochs=1, head_epochs=1)
    data = load_dataset(config)
    initial_network = make_network(config, data.classes)
    before = weights_of(initial_network)
    fit(config, data, tmp_path / "run")
    joined = load_checkpoint(tmp_path / "run" / "head").weights
    after = load_checkpoint(tmp_path / "run" / "last.pdparams").weights

    assert last_block(backbone, initial_network.backbone) == trained
    changed = set()
    for name, values in after.items():
        part, _, inner = name.partition(".")
        if part == "head":
            assert (values != joined[inner]).any(), name
        elif (values != before[name]).any():
            changed.add(next((block for block in trained if inner.startswith(f"{block}.")), name))
    assert changed == set(trained)


def test_unfreeze_all_trains_every_layer(config, tmp_path):
    config = dataclasses.replace(config, unfreeze="all", head_epochs=0, epochs=1)
    data = load_dataset(config)
    before = weights_of(make_network(config, data.classes))
    fit(config, data, tmp_path / "run")
    after = load_checkpoint(tmp_path / "run" / "last.pdparams").weights
    assert all((after[name] != values).any() for name, values in before.items() if name.endswith("weight"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet19"}, "backbone 'resnet19' is not known, did you mean 'resnet18'"),
        ({"backbone": "resnet"}, "backbone 'resnet' is not known"),
        ({"backbone": "googlenet"}, "backbone 'googlenet' has several outputs"),
        ({"backbone": "inception_v3"}, "image_size 40: too small for inception_v3, which needs 75"),
        ({"unfreeze": "_conv11"}, "unfreeze: the backbone has no layer '_conv11', did you mean '_conv1.1'"),
        ({"unfreeze": "zzz"}, "unfreeze: the backbone has no layer 'zzz'; it has _conv1, 2_1,"),
        ({"weights": "nowhere.pdparams"}, "checkpoint nowhere.pdparams: no such file"),
    ],
)
def test_an_invalid_setting_is_a_one_line_error(config, changes, message):
    with pytest.raises(InputError, match=message):
        make_network(dataclasses.replace(config, **changes), ["3", "8"])


# Initial weights


def test_weights_can_come_from_a_file_with_a_classifier_or_from_a_run(config, tmp_path):
    paddle.seed(7)
    whole = paddle.vision.models.resnet18(num_classes=1000)
    paddle.save(whole.state_dict(), str(tmp_path / "resnet18.pdparams"))
    config = dataclasses.replace(config, backbone="resnet18", weights=str(tmp_path / "resnet18.pdparams"), epochs=1)
    network = make_network(config, ["3", "8"])
    np.testing.assert_array_equal(network.backbone.conv1.weight.numpy(), whole.conv1.weight.numpy())

    fit(config, load_dataset(config), tmp_path / "run")
    again = make_network(dataclasses.replace(config, weights=str(tmp_path / "run")), list("abc"))
    saved = load_checkpoint(tmp_path / "run").weights
    for name, values in weights_of(again.backbone).items():
        np.testing.assert_array_equal(values, saved[f"backbone.{name}"])

    with pytest.raises(InputError, match=r"not weights of ShuffleNetV2: .* is missing"):
        make_network(dataclasses.replace(config, backbone=SMALL), ["3", "8"])


def test_the_backbone_gets_paddles_pretrained_weights(config, monkeypatch):
    real = getattr(paddle.vision.models, SMALL)
    paddle.seed(3)
    published = real(num_classes=1000)
    network = TransferNet(2, 40, SMALL)
    monkeypatch.setattr(paddle.vision.models, SMALL, lambda pretrained: published)
    prepare_backbone(network, dataclasses.replace(config, pretrained=True))
    for name, values in weights_of(network.backbone).items():
        np.testing.assert_array_equal(values, published.state_dict()[name].numpy())


def test_a_failed_download_is_a_one_line_error_and_no_run_begins(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(paddle.utils.download, "WEIGHTS_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between Paddle's attempts
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    config = ROOT / "configs" / "inception_v3.yaml"
    done = call(train.main, config, "--data-dir", photos, "--out", "run", cwd=tmp_path)
    assert_one_line_error(done, "Paddle's weights of inception_v3 cannot be downloaded", "--weights FILE", status=1)
    assert not any((tmp_path / "run").iterdir())


def test_an_error_in_paddles_downloader_becomes_a_run_error(config, monkeypatch):
    def fail(**options):
        raise RuntimeError("a dead host")

    network = TransferNet(2, 40, SMALL)
    monkeypatch.setattr(paddle.vision.models, SMALL, fail)
    with pytest.raises(RunError, match="cannot be downloaded"):
        prepare_backbone(network, dataclasses.replace(config, pretrained=True))


# Features


def test_features_are_computed_once_for_the_same_weights_files_and_size(config, photos, tmp_path, capsys):
    def features(network, config):
        found = bottleneck_features(network, load_dataset(config).train[0], "train")
        return found, len(list(transfer.FEATURES.glob("*.npy"))), capsys.readouterr().out.splitlines()[-1]

    paddle.seed(1)
    network = TransferNet(2, 40, SMALL)
    first, count, printed = features(network, config)
    assert (count, first.shape) == (1, (24, 512))
    assert "24 photos through the backbone" in printed
    again, count, printed = features(network, config)
    assert count == 1
    assert "from outputs" in printed
    np.testing.assert_array_equal(again, first)

    images = load_dataset(config).train[0][np.arange(24)]
    inputs = paddle.to_tensor(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    network.eval()
    np.testing.assert_allclose(network.features(inputs).numpy(), first, rtol=1e-4, atol=1e-5)

    copy = tmp_path / "copy"
    shutil.copytree(photos, copy)
    assert features(network, dataclasses.replace(config, data_dir=str(copy)))[1] == 2
    assert features(TransferNet(2, 40, SMALL), config)[1] == 3
    relu, swish = (TransferNet(2, 40, f"shufflenet_v2_{kind}") for kind in ("x1_0", "swish"))
    swish.set_state_dict(relu.state_dict())
    assert [features(network, config)[1] for network in (relu, swish)] == [4, 5], "equal weights, different networks"
    (next((copy / "train" / "3").iterdir())).touch()
    assert features(network, dataclasses.replace(config, data_dir=str(copy)))[1] == 6


# Stages


@pytest.mark.parametrize("stage", ["head", ""])
def test_a_run_interrupted_in_a_stage_is_resumed_to_the_same_bits(config, tmp_path, monkeypatch, whole, stage):
    data = load_dataset(config)
    with stopped_after(monkeypatch, lambda out, history: out == tmp_path / "stopped" / stage and len(history) == 2):
        fit(config, data, tmp_path / "stopped")
    fit(config, data, tmp_path / "stopped", resume=True)
    assert_same(state(whole), state(tmp_path / "stopped"))


def test_an_interrupt_during_the_head_says_how_many_of_its_epochs_are_saved(transfer_run, tmp_path, monkeypatch):
    _, arguments, _ = transfer_run
    with interrupting_after(monkeypatch, lambda out, history: len(history) == 1):
        done = call(train.main, *arguments, cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr.endswith(
        "stopped; 1 of 2 epochs of the head are saved; resume with\npython train.py --resume --out run\n"
    )


def test_the_joined_network_is_kept_unless_an_epoch_of_fine_tuning_is_better(config, tmp_path):
    config = dataclasses.replace(config, learning_rate=1e-9)  # the third stage changes nothing
    history = fit(config, load_dataset(config), tmp_path / "run")
    assert [row["epoch"] for row in history] == [0, 1, 2, 3]
    assert history[0]["val_accuracy"] == pytest.approx(history[-1]["val_accuracy"])
    head, joined = (load_checkpoint(tmp_path / "run" / name).weights for name in ("head", "best.pdparams"))
    for name, values in head.items():
        np.testing.assert_allclose(joined[f"head.{name}"], values, atol=1e-6)


def test_a_run_prints_its_stages_and_draws_its_plots(transfer_run):
    folder, _, done = transfer_run
    assert re.search(r"^parameters: [\d,]+, of which [\d,]+ are trained$", done.stdout, re.MULTILINE)
    for line in (
        "stage 1: features",
        "stage 2: the head alone, 2 epochs",
        "stage 3: the head and _last_conv, 2 epochs",
        "true, read as",
    ):
        assert line in done.stdout
    for name in ("right.png", "mistakes.png", "confusion.png", "curves.png", "best.json", "head/log.csv"):
        assert (folder / "run" / name).exists(), name


def test_the_last_line_is_a_command_that_works(transfer_run):
    folder, _, done = transfer_run
    command = done.stdout.splitlines()[-1].split()
    assert command[:2] == ["python", "predict.py"]
    answer = call(predict.main, *command[2:], cwd=folder)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(command[2])


def test_evaluate_measures_the_same_accuracy_as_training(transfer_run, photos, tmp_path):
    folder, _, _ = transfer_run
    measured = call(evaluate.main, photos / "val", "--checkpoint", folder / "run", cwd=tmp_path)
    val = load_checkpoint(folder / "run").meta["metrics"]["val"]
    assert f"accuracy {val['accuracy']:.2%}" in measured.stdout


def test_a_finished_run_is_not_overwritten(transfer_run):
    folder, arguments, _ = transfer_run
    assert_one_line_error(call(train.main, *arguments, cwd=folder), "is not empty")


def test_a_dry_run_keeps_nothing(photos, tmp_path):
    arguments = ["--pretrained", "false", "--backbone", SMALL, "--image-size", 40, "--data-dir", photos, "--dry-run"]
    config = ROOT / "configs" / "inception_v3.yaml"
    done = call(train.main, config, *arguments, "--calibration-fraction", 0, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "stage 3" in done.stdout
    assert not list(tmp_path.iterdir())


def test_fine_tuning_a_transfer_run_needs_no_pretrained_weights(config, tmp_path, whole):
    tuned = dataclasses.replace(
        config, fine_tune=str(whole), pretrained=True, head_epochs=0, learning_rate=1e-9, epochs=1
    )
    fit(tuned, load_dataset(tuned), tmp_path / "tuned")
    first, second = load_checkpoint(whole).weights, load_checkpoint(tmp_path / "tuned").weights
    np.testing.assert_allclose(first["head.0.weight"], second["head.0.weight"], atol=1e-6)


def test_the_data_folder_is_required():
    assert_one_line_error(call(train.main, ROOT / "configs" / "inception_v3.yaml"), "is for photos", "--data-dir")
