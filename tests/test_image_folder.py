"""Image folders: which classes there are, which files are train, val and test, and one clear line for each mistake."""

import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import assert_one_line_error, script

from digits.cli import InputError
from digits.config import Config
from digits.data.folders import list_files, list_image_folder
from digits.data.splits import load_dataset, load_test


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def fill(folder, **counts):
    for name, count in counts.items():
        touch(*(folder / name / f"{number:03d}.png" for number in range(count)))


def test_train_val_and_test_folders(tmp_path):
    fill(tmp_path / "train", cats=3, dogs=2)
    fill(tmp_path / "val", dogs=1)
    fill(tmp_path / "test", cats=1, dogs=1)
    found = list_image_folder(tmp_path)
    assert found.classes == ["cats", "dogs"]
    assert {part: labels.tolist() for part, (_, labels) in found.parts.items()} == {
        "train": [0, 0, 0, 1, 1],
        "val": [1],
        "test": [0, 1],
    }
    assert found.parts["val"][0] == [tmp_path / "val" / "dogs" / "000.png"]


@pytest.mark.parametrize("name", ["valid", "validation", "Val"])
def test_the_parts_go_by_other_names_too(tmp_path, name):
    fill(tmp_path / "Training", a=1, b=1)
    fill(tmp_path / name, a=1, b=2)
    fill(tmp_path / "Testing", b=1)
    parts = list_image_folder(tmp_path).parts
    assert [labels.tolist() for _, labels in parts.values()] == [[0, 1], [0, 1, 1], [1]]


def test_a_test_folder_without_classes_is_no_test_set(tmp_path, capsys):
    fill(tmp_path / "train", a=1, b=1)
    touch(tmp_path / "test" / "1.png")
    assert list(list_image_folder(tmp_path).parts) == ["train"]
    assert "test: has no class folders, so it is no test set" in capsys.readouterr().err


def test_class_folders_alone_are_all_train(tmp_path):
    fill(tmp_path, dogs=2, cats=1)
    found = list_image_folder(tmp_path)
    assert (found.classes, list(found.parts)) == (["cats", "dogs"], ["train"])


def test_hidden_files_are_passed_over_and_folders_within_a_class_searched(tmp_path, capsys):
    fill(tmp_path, a=1, b=1)
    touch(tmp_path / "a" / ".DS_Store", tmp_path / ".git" / "x.png", tmp_path / "b" / "more" / "x.png")
    touch(tmp_path / "loose.png")
    found = list_image_folder(tmp_path)
    assert found.classes == ["a", "b"]
    assert [path.name for path in found.parts["train"][0]] == ["000.png", "000.png", "x.png"]
    assert capsys.readouterr().err == f"left out: {tmp_path / 'loose.png'}: lies in no class folder\n"
    assert len(list_files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": {"a": 1}}, "has 1 class folders, two at least are wanted"),
        ({}, "has 0 class folders"),
        ({"train": {"a": 1, "b": 0}}, "there is nothing in b/"),
        ({"val": {"a": 1, "b": 1}}, "has val/, and no train/ beside it"),
        ({"train": {"a": 1, "b": 1}, "val": {"c": 1}}, "'c' is not a class"),
        ({"train": {"a": 1, "b": 1}, "val": {"a": 0}}, "val: there is nothing in its class folders"),
    ],
)
def test_a_mistake_in_the_folder_is_one_line(tmp_path, parts, message):
    for part, counts in parts.items():
        fill(tmp_path / part, **counts)
        for name in counts:
            (tmp_path / part / name).mkdir(exist_ok=True, parents=True)
    with pytest.raises(InputError, match=message):
        list_image_folder(tmp_path)


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        list_image_folder(tmp_path / "nowhere")
    touch(tmp_path / "file")
    with pytest.raises(InputError, match="is a file, name its folder"):
        list_image_folder(tmp_path / "file")


# Parts of a folder that has been read


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """100 red and 60 blue pictures, 8x8, each of a brightness of its own."""
    folder = tmp_path_factory.mktemp("colors")
    for name, channel, count in (("blue", 0, 60), ("red", 2, 100)):
        (folder / name).mkdir()
        for number in range(count):
            picture = np.zeros((8, 8, 3), np.uint8)
            picture[..., channel] = 100 + number
            cv2.imwrite(str(folder / name / f"{number:03d}.png"), picture)
    return folder


def photo_config(folder, **settings):
    return Config(**{"model": "photo_cnn", "image_size": 17, "data_dir": str(folder), "val_fraction": 0.2} | settings)


def contents(part):
    images, labels = part
    return {(int(label), *image[0, 0]) for image, label in zip(images[np.arange(len(images))], labels, strict=True)}


def test_one_folder_is_split_by_seed_each_class_in_proportion(colors):
    config = photo_config(colors, calibration_fraction=0.1, test_fraction=0.1)
    sets, test = load_dataset(config), load_test(config)
    parts = [sets.train, sets.val, sets.calibration, test]
    for (_, labels), share in zip(parts, (0.63, 0.18, 0.09, 0.1), strict=True):
        counts = np.bincount(labels)
        assert abs(counts[0] - 60 * share) < 2
        assert abs(counts[1] - 100 * share) < 2
    seen = [contents(part) for part in parts]
    assert len(set().union(*seen)) == sum(map(len, seen)) == 160, "no image is in two parts"

    assert contents(load_dataset(config).val) == seen[1]
    assert contents(load_dataset(photo_config(colors, seed=1)).val) != seen[1]
    assert sets.classes == ["blue", "red"]
    assert load_test(photo_config(colors)) is None


def test_a_class_that_cannot_be_read_is_an_error(tmp_path, colors):
    shutil.copytree(colors, tmp_path / "data")
    (tmp_path / "data" / "green").mkdir()
    (tmp_path / "data" / "green" / "a.png").write_text("no picture")
    with pytest.raises(InputError, match="no picture of green for training can be read"):
        load_dataset(photo_config(tmp_path / "data", calibration_fraction=0))


def test_a_run_goes_on_with_the_files_it_began_with_only(tmp_path, colors):
    shutil.copytree(colors, tmp_path / "data")
    arguments = [
        "configs/photo_cnn.yaml", "--image-size", 17, "--data-dir", tmp_path / "data", "--epochs", 1,
        "--out", tmp_path / "run",
    ]  # fmt: skip
    done = script("train.py", *arguments)
    assert done.returncode == 0, done.stderr
    files = json.loads((tmp_path / "run" / "files.json").read_text())
    assert sum(map(len, files.values())) == 160
    assert script("train.py", *arguments, "--resume").returncode == 0
    shutil.copy(tmp_path / "data" / "red" / "000.png", tmp_path / "data" / "red" / "new.png")
    assert_one_line_error(script("train.py", *arguments, "--resume"), "have changed since the run", "files.json")


def test_what_a_run_stopped_at_its_start_has_left_binds_no_new_one(tmp_path, colors):
    (tmp_path / "files.json").write_text('{"train": ["of", "another", "folder"]}')
    settings = ["--image-size", 17, "--data-dir", colors, "--epochs", 1, "--out", tmp_path]
    done = script("train.py", "configs/photo_cnn.yaml", *settings)
    assert done.returncode == 0, done.stderr
    assert sum(map(len, json.loads((tmp_path / "files.json").read_text()).values())) == 160


def test_red_is_red(colors):
    images, labels = load_dataset(photo_config(colors)).train
    means = images[np.arange(len(images))].mean((1, 2))  # [N, 3], red first
    assert ((means[:, 0] > means[:, 2]) == (labels == 1)).all()


def test_uneven_classes_are_reported(tmp_path, colors, capsys):
    load_dataset(photo_config(colors))
    printed = capsys.readouterr().out
    assert "train, by class: blue 41, red 68" in printed
    assert "times as many" not in printed

    for number in range(3):
        for name in ("blue", "red"):
            path = tmp_path / name / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((colors / name / f"{number:03d}.png").read_bytes())
    for number in range(3, 40):
        (tmp_path / "red" / f"{number}.png").write_bytes((colors / "red" / f"{number:03d}.png").read_bytes())
    load_dataset(photo_config(tmp_path, val_fraction=0.5, calibration_fraction=0.0))
    assert "red has 10.0 times as many as blue; --class-weights balanced evens that out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_dir": ""}, "model 'photo_cnn' is for photos; name a folder with class folders by --data-dir"),
        ({"stroke": 0.5, "cut": 1.0}, "stroke, cut: for digits"),
        ({"forms": 3}, "forms: for networks of the digits 0 to 9 only, and the classes here are blue red"),
        ({"model": "lenet", "non_digits": 3}, "non_digits: for networks of the digits"),
        ({"data_dir": "nowhere"}, "data folder nowhere: no such folder"),
        ({"unlabeled": "nowhere"}, "unlabeled: nowhere: no such folder"),
        ({"test_fraction": 0.001}, "test_fraction 0.001 of 160 images leave a part without any"),
        (
            {"val_fraction": 0.001, "calibration_fraction": 0.1},
            "val_fraction 0.001 and calibration_fraction 0.1 of 160",
        ),
    ],
)
def test_settings_that_the_data_are_not_made_for(colors, settings, message):
    with pytest.raises(InputError, match=message):
        load_dataset(
            photo_config(**{"folder": colors} | settings)
            if "data_dir" not in settings
            else Config(**{"model": "photo_cnn"} | settings)
        )
