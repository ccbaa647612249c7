"""Class names of data in MNIST's file formats, and what is for digits alone."""

import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, call

import draw
import evaluate
import predict
import train
from digits.cli import InputError
from digits.config import Config, load_config
from digits.data.class_names import UNNAMED, parse_names, read_names
from digits.data.download import FILES, to_idx
from digits.data.mnist import CLASSES, list_names
from digits.data.splits import list_class_names
from digits.networks.checkpoint import load_checkpoint

CLOTHES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """A folder with idx files of 300 + 60 images in ten classes that are not digits, without names."""
    folder = tmp_path_factory.mktemp("clothes")
    rng = np.random.default_rng(0)
    for mode, count in (("train", 300), ("test", 60)):
        labels = np.arange(count) % 10
        images = rng.integers(0, 80, (count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[2 + 2 * label : 6 + 2 * label] += 150
        for name, array in zip(FILES[mode], (images, labels), strict=True):
            (folder / name).write_bytes(to_idx(array))
    return folder


@pytest.fixture(scope="module")
def clothes_run(tmp_path_factory, clothes):
    """The folder of a run on the clothes, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "clothes"
    names = ["--classes", ",".join(CLOTHES)]
    done = call(train.main, "--data-dir", clothes, *names, "--epochs", 2, "--out", out, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return out, done


def test_data_that_is_not_digits_is_trained_without_synthetic_digits_and_non_digits(clothes_run):
    _, done = clothes_run
    line = f"forms, non_digits: left out; they are for the digits 0 to 9, and the classes here are {', '.join(CLOTHES)}"
    assert done.stderr.splitlines().count(line) == 1
    assert "drawing" not in done.stderr


def test_names_are_kept_in_the_checkpoint_and_given_as_answers(clothes_run, clothes, tmp_path):
    out, done = clothes_run
    assert load_checkpoint(out).meta["classes"] == CLOTHES
    assert "Ankle boot" in done.stdout
    done = call(evaluate.main, clothes, "--checkpoint", out, "--out", tmp_path, "--csv", tmp_path / "x.csv")
    assert done.returncode == 0, done.stderr
    assert "T-shirt" in (tmp_path / "x.csv").read_text()
    assert "the classes have no names" in done.stderr
    done = call(predict.main, ROOT / "examples" / "7_scan.png", "--checkpoint", out, "--json")
    assert list(json.loads(done.stdout)[0]["probs"]) == CLOTHES


def test_a_run_on_named_data_is_resumed(clothes_run, clothes, tmp_path):
    out, _ = clothes_run
    shutil.copytree(out, tmp_path / "run")
    done = call(train.main, "--resume", "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_weights_that_are_not_for_digits_are_refused_for_pages_drawings_and_mnist(clothes_run, monkeypatch):
    out, _ = clothes_run
    weights = ("--checkpoint", out)
    message = "expected a network for the digits 0 to 9, but its classes are T-shirt, Trouser"
    assert_one_line_error(call(predict.main, ROOT / "docs" / "page.jpg", "--many", *weights), message)
    assert_one_line_error(call(evaluate.main, *weights), message)
    with pytest.raises(InputError, match=message):
        draw.load_classifier(out, "cpu")


def test_data_with_other_names_than_the_network_is_refused(clothes_run, clothes, tmp_path):
    out, _ = clothes_run
    shutil.copytree(clothes, tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text("\n".join(CLOTHES[::-1]))
    done = call(evaluate.main, tmp_path / "data", "--checkpoint", out, "--out", tmp_path)
    assert_one_line_error(done, "its classes are T-shirt, Trouser", "are Ankle boot, Bag")
    assert_one_line_error(call(evaluate.main, tmp_path / "data", "--out", tmp_path), "its classes are 0, 1")


def test_data_without_names_has_numbered_classes_and_no_synthetic_digits(clothes, tmp_path):
    done = call(train.main, "--data-dir", clothes, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list_names(clothes) == list(UNNAMED)
    assert "class 0" in done.stdout
    assert "the classes have no names; classes.txt beside the data names them, or --classes" in done.stderr
    assert "forms, non_digits: left out" in done.stderr


def test_mnist_is_recognized_by_its_labels_whatever_its_folder(tmp_path, mnist_train):
    images, labels = mnist_train
    (tmp_path / "train-images.idx3-ubyte").write_bytes(to_idx(images[:1]))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(to_idx(labels))
    assert list_names(tmp_path) == list(CLASSES)
    np.savez(tmp_path / "mnist.npz", y_train=labels)
    assert list_names(tmp_path) == list(CLASSES)
    np.savez(tmp_path / "mnist.npz", y_train=labels[:100])
    assert list_names(tmp_path) == list(UNNAMED)


def test_names_come_from_the_setting_or_a_file_beside_the_data(clothes, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"data_dir: {clothes}\nclasses: [{', '.join(CLOTHES)}]\n")
    assert list_class_names(load_config(config)) == CLOTHES
    assert list_class_names(load_config(config, {"classes": "digits"})) == list(CLASSES)
    shutil.copytree(clothes, tmp_path / "data" / "X" / "raw")
    (tmp_path / "data" / "classes.txt").write_text("\ufeff" + "\r\n".join(CLOTHES) + "\n\n", encoding="utf-8")
    assert list_class_names(Config(data_dir=str(tmp_path / "data"))) == CLOTHES


def test_names_for_data_that_has_its_own_are_an_input_error():
    with pytest.raises(InputError, match=r"classes: for idx files or \.npz, and MNIST has names: 0 1 2"):
        list_class_names(Config(classes="a, b"))


def test_more_labels_than_names_are_an_input_error(clothes, tmp_path):
    done = call(train.main, "--data-dir", clothes, "--classes", "a,b,c", "--dry-run", cwd=tmp_path)
    assert_one_line_error(done, "labels range from 0 to 9, expected 0 to 2; name all classes")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("one", "has 1 class names, expected 2 to 1,000"),
        ("a,,b", "class name 1, '', must have"),
        ("a,b,a", "duplicate class name 'a'"),
        ("a,\x1b[31mred", r"class name 1, .* that can be printed"),
        ("a," + "b" * 101, "must have 1 to 100 characters"),
        (",".join(map(str, range(1001))), "has 1001 class names"),
    ],
)
def test_names_that_cannot_be_used_are_an_input_error(names, message, tmp_path):
    with pytest.raises(InputError, match=message):
        parse_names(names)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "is not UTF-8"), (b"a\n" * 10**6, "has more than 400,000 bytes"), (b"", "has 0 class names")],
)
def test_a_file_of_names_that_cannot_be_used_is_an_input_error(tmp_path, content, message):
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_names(tmp_path)


def test_names_with_commas_are_possible_in_a_file(tmp_path):
    (tmp_path / "classes.txt").write_text("boot, ankle\nbag\n")
    assert read_names(tmp_path) == ["boot, ankle", "bag"]
