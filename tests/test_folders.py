"""Class folders: the classes, the files of train, val and test, and a one-line error for each mistake."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, call

import train
from digits.cli import InputError
from digits.config import Config
from digits.data.folders import list_class_folders, list_image_folder
from digits.data.pictures import find_images, list_pictures
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
    assert capsys.readouterr().err == (
        f"left out: {tmp_path / 'loose.png'}: is not in a class folder\n"
        f"left out: {tmp_path / '.git'}: is hidden or belongs to the system\n"
    )
    assert [len(found) for found in list_pictures(tmp_path)] == [4]


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


# One rule for all commands


PNG_START = b"\x89PNG\r\n\x1a\n"
SKIPPED = (
    "._7.png",
    ".ipynb_checkpoints/7.png",
    "__MACOSX/7.png",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "@eaDir/7.png",
)


def names_in(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_picture_is_found_whatever_its_suffix(tmp_path, capsys):
    touch(*(tmp_path / f"7.{suffix}" for suffix in ("JPE", "bmp", "heic", "jfif", "pbm", "tif")))
    (tmp_path / "notes").write_text("seven")
    (tmp_path / "seven").write_bytes(PNG_START)
    (tmp_path / "seven.dat").write_bytes(b"\xff\xd8\xff\xe0")
    (found,) = list_pictures(tmp_path)
    expected = ["7.JPE", "7.bmp", "7.heic", "7.jfif", "7.pbm", "7.tif", "seven", "seven.dat"]
    assert names_in(found, tmp_path) == expected
    assert capsys.readouterr().err == f"left out: {tmp_path / 'notes'}: is not a picture\n"


@pytest.mark.parametrize("place", ["", "train", "train/a", "train/a/more"])
def test_hidden_and_system_files_are_skipped_at_every_depth(tmp_path, place, capsys):
    fill(tmp_path / "train", a=1, b=1)
    fill(tmp_path / "val", a=1, b=1)
    touch(tmp_path / "train" / "a" / "more" / "x.png", *(tmp_path / place / name for name in SKIPPED))
    found = list_image_folder(tmp_path)
    assert found.classes == ["a", "b"]
    assert names_in(found.parts["train"][0], tmp_path / "train") == ["a/000.png", "a/more/x.png", "b/000.png"]
    assert names_in(list_pictures(tmp_path / "train")[0], tmp_path / "train") == [
        "a/000.png",
        "a/more/x.png",
        "b/000.png",
    ]
    err = capsys.readouterr().err
    assert "Thumbs.db" not in err
    if place:
        assert f"left out: {tmp_path / place / '._7.png'}: is hidden or belongs to the system\n" in err


def test_a_hidden_file_or_folder_that_is_named_is_read(tmp_path):
    touch(tmp_path / ".hidden" / "7.png", tmp_path / ".7.png")
    assert find_images([tmp_path / ".hidden", tmp_path / ".7.png"]) == [
        tmp_path / ".hidden" / "7.png",
        tmp_path / ".7.png",
    ]


def test_links_are_followed_without_loops_and_each_file_counts_once(tmp_path, capsys):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    fill(data, a=2, b=1)
    fill(elsewhere, c=2, d=1)
    (data / "c").symlink_to(elsewhere / "c")
    (data / "a" / "more").symlink_to(elsewhere / "d")
    (data / "a" / "up").symlink_to(data)
    (data / "a" / "self").symlink_to(data / "a")
    (data / "b" / "again.png").symlink_to(data / "a" / "000.png")
    (data / "b" / "gone.png").symlink_to(data / "nowhere.png")
    (elsewhere / "c" / "back").symlink_to(data / "b")
    paths, labels = list_class_folders(data, ["a", "b", "c"])
    expected = ["a/000.png", "a/001.png", "a/more/000.png", "b/000.png", "c/000.png", "c/001.png"]
    assert (names_in(paths, data), labels.tolist()) == (expected, [0, 0, 0, 1, 2, 2])
    lines = sorted(line.removeprefix(f"left out: {data}/") for line in capsys.readouterr().err.splitlines())
    assert lines == [
        "a/self: leads to a folder that it is in",
        "a/up: leads to a folder that it is in",
        "b/again.png: leads to what is counted already",
        "b/gone.png: is a link to nothing that can be read",
        "c/back: leads to what is counted already",
    ]
    assert sorted(names_in(find_images([data]), data)) == expected


def test_a_file_is_in_one_part_only(tmp_path, capsys):
    fill(tmp_path / "train", a=2, b=1)
    fill(tmp_path / "val", a=1, b=1)
    (tmp_path / "val" / "a" / "001.png").symlink_to(tmp_path / "train" / "a" / "001.png")
    (tmp_path / "train" / "b" / "more.png").symlink_to(tmp_path / "val" / "b" / "000.png")
    parts = list_image_folder(tmp_path).parts
    assert {part: labels.tolist() for part, (_, labels) in parts.items()} == {"train": [0, 0, 1], "val": [0, 1]}
    assert capsys.readouterr().err.count("leads to what is counted already") == 2


def test_a_folder_beside_train_is_named(tmp_path, capsys):
    fill(tmp_path / "train", a=1, b=1)
    fill(tmp_path / "more", a=1)
    assert list(list_image_folder(tmp_path).parts) == ["train"]
    assert capsys.readouterr().err == f"left out: {tmp_path / 'more'}: is not train/, val/ or test/\n"


def test_many_files_that_are_left_out_take_a_few_lines(tmp_path, capsys):
    touch(tmp_path / "a.png", *(tmp_path / f"{number:04d}.txt" for number in range(1200)))
    list_pictures(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 6
    assert lines[-1] == "left out: 1,195 more: is not a picture"


def test_a_line_end_in_a_name_stays_in_its_line(tmp_path, capsys):
    touch(tmp_path / "a.png", tmp_path / "x\ny\x1b[31m")
    list_pictures(tmp_path)
    assert capsys.readouterr().err == f"left out: {tmp_path}/x\\ny\\x1b[31m: is not a picture\n"


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path, capsys):
    touch(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert names_in(find_images([tmp_path]), tmp_path) == ["a.png"]
    assert "pipe.png: is neither a file nor a folder" in capsys.readouterr().err


def test_patterns_that_the_shell_did_not_expand_are_expanded(tmp_path):
    touch(*(tmp_path / name for name in ("b.png", "a.png", ".c.png", "d.jpg", "e/f.png", "[1].png", "1.png")))
    assert names_in(find_images([tmp_path / "*.png"]), tmp_path) == ["1.png", "[1].png", "a.png", "b.png"]
    assert names_in(find_images([tmp_path / "[1].png"]), tmp_path) == ["[1].png"], "a file of this name goes first"
    assert names_in(find_images([tmp_path / "?"]), tmp_path) == ["e/f.png"]
    with pytest.raises(InputError, match="no file matches this pattern"):
        find_images([tmp_path / "*.gif"])


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
        ({"model": "lenet", "extra": "nowhere"}, "extra: for networks of the digits 0 to 9 only"),
        ({"classes": "ants, bees"}, "classes: for idx files or .npz, and class folders have names: blue red"),
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
