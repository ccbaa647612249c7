"""Class folders: the classes, the files of train, val and test, and a one-line error for each mistake."""

import json
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, call

import train
from digits.cli import InputError
from digits.config import Config
from digits.data.folders import find_images, list_class_folders, list_files, list_image_folder
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
def test_usual_names_of_the_part_folders_are_accepted(tmp_path, name):
    fill(tmp_path / "Training", a=1, b=1)
    fill(tmp_path / name, a=1, b=2)
    fill(tmp_path / "Testing", b=1)
    parts = list_image_folder(tmp_path).parts
    assert [labels.tolist() for _, labels in parts.values()] == [[0, 1], [0, 1, 1], [1]]


def test_a_test_folder_without_class_folders_is_not_a_test_set(tmp_path, capsys):
    fill(tmp_path / "train", a=1, b=1)
    touch(tmp_path / "test" / "1.png")
    assert list(list_image_folder(tmp_path).parts) == ["train"]
    assert "test: has no class folders, so it is not a test set" in capsys.readouterr().err


def test_class_folders_without_parts_are_all_train(tmp_path):
    fill(tmp_path, dogs=2, cats=1)
    found = list_image_folder(tmp_path)
    assert (found.classes, list(found.parts)) == (["cats", "dogs"], ["train"])


def test_hidden_files_are_skipped_loose_files_named_and_folders_in_a_class_searched(tmp_path, capsys):
    fill(tmp_path, a=1, b=1)
    touch(tmp_path / "a" / ".DS_Store", tmp_path / ".git" / "x.png", tmp_path / "b" / "more" / "x.png")
    touch(tmp_path / "loose.png")
    found = list_image_folder(tmp_path)
    assert found.classes == ["a", "b"]
    assert [path.name for path in found.parts["train"][0]] == ["000.png", "000.png", "x.png"]
    assert capsys.readouterr().err == f"left out: {tmp_path / 'loose.png'}: is not in a class folder\n"
    assert len(list_files(tmp_path)) == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": {"a": 1}}, "has 1 class folders, expected at least two"),
        ({}, "has 0 class folders"),
        ({"train": {"a": 1, "b": 0}}, "train: b/ is empty"),
        ({"val": {"a": 1, "b": 1}}, "has val/ but no train/"),
        ({"train": {"a": 1, "b": 1}, "val": {"c": 1}}, "'c' is not a class"),
        ({"train": {"a": 1, "b": 1}, "val": {"a": 0}}, "val: no pictures in class folders"),
    ],
)
def test_a_mistake_in_the_folders_is_an_input_error(tmp_path, parts, message):
    for part, counts in parts.items():
        fill(tmp_path / part, **counts)
        for name in counts:
            (tmp_path / part / name).mkdir(exist_ok=True, parents=True)
    with pytest.raises(InputError, match=message):
        list_image_folder(tmp_path)


def test_a_missing_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        list_image_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such folder"):
        list_class_folders(tmp_path / "nowhere", ["a", "b"])
    touch(tmp_path / "file")
    with pytest.raises(InputError, match="is a file; name its folder"):
        list_image_folder(tmp_path / "file")


def test_folders_are_replaced_by_their_images_and_other_paths_are_kept(tmp_path):
    touch(*(tmp_path / name for name in ("b/2.PNG", "b/10.jpg", "a/1.png", "a/notes.txt")))
    found = find_images([tmp_path, tmp_path / "a" / "notes.txt", tmp_path / "gone"])
    names = ("a/1.png", "b/10.jpg", "b/2.PNG", "a/notes.txt", "gone")
    assert found == [tmp_path / name for name in names]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        find_images([tmp_path / "empty"])


# Datasets in class folders


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """100 red and 60 blue images of 8x8 pixels, all of different brightness."""
    folder = tmp_path_factory.mktemp("colors")
    for name, channel, count in (("blue", 0, 60), ("red", 2, 100)):
        (folder / name).mkdir()
        for number in range(count):
            image = np.zeros((8, 8, 3), np.uint8)
            image[..., channel] = 100 + number
            cv2.imwrite(str(folder / name / f"{number:03d}.png"), image)
    return folder


def photo_config(folder, **settings):
    return Config(**{"model": "photo_cnn", "image_size": 17, "data_dir": str(folder), "val_fraction": 0.2} | settings)


def contents(part):
    """The set of (label, color) of the images in a part."""
    images, labels = part
    return {(int(label), *image[0, 0]) for image, label in zip(images[np.arange(len(images))], labels, strict=True)}


def test_class_folders_are_split_by_seed_stratified_by_class(colors):
    config = photo_config(colors, calibration_fraction=0.1, test_fraction=0.1)
    data, test = load_dataset(config), load_test(config)
    parts = [data.train, data.val, data.calibration, test]
    for (_, labels), share in zip(parts, (0.63, 0.18, 0.09, 0.1), strict=True):
        counts = np.bincount(labels)
        assert abs(counts[0] - 60 * share) < 2
        assert abs(counts[1] - 100 * share) < 2
    found = [contents(part) for part in parts]
    assert len(set().union(*found)) == sum(map(len, found)) == 160, "no image is in two parts"

    assert contents(load_dataset(config).val) == found[1]
    assert contents(load_dataset(photo_config(colors, seed=1)).val) != found[1]
    assert data.classes == ["blue", "red"]
    assert load_test(photo_config(colors)) is None


def test_a_class_without_readable_images_is_an_input_error(tmp_path, colors):
    shutil.copytree(colors, tmp_path / "data")
    (tmp_path / "data" / "green").mkdir()
    (tmp_path / "data" / "green" / "a.png").write_text("no picture")
    with pytest.raises(InputError, match="no training image of class green can be decoded"):
        load_dataset(photo_config(tmp_path / "data", calibration_fraction=0))


def train_on(folder, out, *arguments):
    settings = ["--image-size", 17, "--data-dir", folder, "--epochs", 1, "--out", out]
    return call(train.main, ROOT / "configs" / "photo_cnn.yaml", *settings, *arguments, cwd=out.parent)


def listed_files(run):
    return [path for part in json.loads((run / "files.json").read_text()).values() for path in part]


def test_a_run_is_resumed_only_with_the_files_it_began_with(tmp_path, colors):
    folder, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(colors, folder)
    done = train_on(folder, run)
    assert done.returncode == 0, done.stderr
    assert len(listed_files(run)) == 160
    assert train_on(folder, run, "--resume").returncode == 0
    shutil.copy(folder / "red" / "000.png", folder / "red" / "new.png")
    assert_one_line_error(train_on(folder, run, "--resume"), "have changed since the run", "files.json")


def test_a_new_run_replaces_the_file_list_of_a_run_interrupted_at_its_start(tmp_path, colors):
    run = tmp_path / "run"
    run.mkdir()
    (run / "files.json").write_text('{"train": ["of", "another", "folder"]}')
    done = train_on(colors, run)
    assert done.returncode == 0, done.stderr
    assert len(listed_files(run)) == 160


def test_photos_are_rgb(colors):
    images, labels = load_dataset(photo_config(colors)).train
    means = images[np.arange(len(images))].mean((1, 2))  # [N, 3], red first
    assert ((means[:, 0] > means[:, 2]) == (labels == 1)).all()


def test_unbalanced_classes_are_reported(tmp_path, colors, capsys):
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
    assert (
        "red has 10.0 times as many as blue; --class-weights balanced compensates for that" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_dir": ""}, "model 'photo_cnn' is for photos; name a folder with class folders by --data-dir"),
        ({"stroke": 0.5, "cut": 1.0}, "stroke, cut: for digits"),
        ({"forms": 3}, "forms: for networks of the digits 0 to 9 only, and the classes here are blue red"),
        ({"model": "lenet", "non_digits": 3}, "non_digits: for networks of the digits"),
        ({"data_dir": "nowhere"}, "data folder nowhere: no such folder"),
        ({"unlabeled": "nowhere"}, "unlabeled: nowhere: no such folder"),
        ({"test_fraction": 0.001}, "test_fraction 0.001 of 160 images leave a part empty"),
        (
            {"val_fraction": 0.001, "calibration_fraction": 0.1},
            "val_fraction 0.001 and calibration_fraction 0.1 of 160",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_are_input_errors(colors, settings, message):
    with pytest.raises(InputError, match=message):
        load_dataset(photo_config(colors, **settings))
