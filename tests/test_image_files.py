"""Image files: the same images from memory and from disk, and one line for each file that is left out."""

import cv2
import numpy as np
import pytest
from PIL import Image

from digits.cli import InputError, RunError
from digits.config import DIGIT_SHAPE
from digits.data.image_files import ImageFiles, input_batches, load_labeled, read_image_files, to_input
from digits.imaging.reading import read_digit, read_input, to_photo

SHAPE = (3, 20, 20)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """150 images of noise, more than one process reads alone."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for number in range(150):
        cv2.imwrite(str(folder / f"{number:03d}.png"), rng.integers(0, 256, (30, 40, 3), np.uint8))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("cached", [0, 70, 150])
def test_images_decoded_ahead_and_images_from_memory_are_the_same(files, cached):
    images, labels = read_image_files(files, np.arange(150), SHAPE, budget=cached * 1200 + 1199)
    assert len(images.cache) == cached
    expected = np.stack([read_input(path, SHAPE) for path in files])
    np.testing.assert_array_equal(labels, np.arange(150))
    order = np.random.default_rng(1).permutation(150)
    batches = np.split(order, [40, 41, 110])
    for batch, decoded in zip(batches, images.batches(batches), strict=True):
        np.testing.assert_array_equal(decoded, expected[batch])
    np.testing.assert_array_equal(images[[3, 149]], expected[[3, 149]])
    inputs = np.concatenate(list(input_batches(images)))
    np.testing.assert_allclose(inputs, expected.transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_the_cache_fills_the_budget_and_no_more(files):
    assert ImageFiles(files, SHAPE, 100_000).cache.nbytes == 83 * 1200


def test_files_that_cannot_be_decoded_are_named_and_left_out(files, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:500])
    paths = [files[0], tmp_path / "notes.txt", files[1], tmp_path / "empty.jpg", tmp_path / "cut.png", files[2]]
    for budget in (10**9, 0):
        images, labels = read_image_files(paths, np.arange(6), SHAPE, budget)
        assert labels.tolist() == [0, 2, 5]
        np.testing.assert_array_equal(images[[0, 1, 2]], [read_input(path, SHAPE) for path in files[:3]])
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == ["notes.txt", "empty.jpg", "cut.png"]
        assert all(line.startswith("left out: ") for line in lines)
    with pytest.raises(InputError, match="none of its pictures can be read"):
        read_image_files(paths[1:2], np.zeros(1, int), SHAPE, 0)


def test_worker_processes_name_files_that_cannot_be_decoded(files, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not a picture")
    images, labels = read_image_files([*files, tmp_path / "notes.txt"], np.arange(151), SHAPE, 0)
    assert labels.tolist() == list(range(150))
    assert len(images) == 150
    assert capsys.readouterr().err.startswith(f"left out: {tmp_path / 'notes.txt'}: not a picture")


def test_a_placeholder_graphic_among_photos_is_left_out_but_not_in_data_of_graphics(files, tmp_path, capsys):
    sign = np.full((300, 300, 3), 247, np.uint8)
    cv2.putText(sign, "NOT FOUND", (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 1, (40, 40, 40), 3)
    path = tmp_path / "sign.png"
    cv2.imwrite(str(path), sign)
    images, _ = read_image_files([*files, path], np.zeros(151, int), SHAPE, 10**9)
    assert len(images) == 150
    assert f"left out: {path}: is a drawn graphic" in capsys.readouterr().err
    for budget in (10**9, 0):
        images, _ = read_image_files([files[0], path, path], np.zeros(3, int), SHAPE, budget)
        np.testing.assert_array_equal(images[[1, 2]], [read_input(path, SHAPE)] * 2)
    images, _ = read_image_files([*files, path], np.zeros(151, int), SHAPE, 10**9, keep_graphics=True)
    assert len(images) == 151, "evaluation data is not filtered"


def test_a_gray_photo_is_not_a_graphic(files, tmp_path):
    photo = np.zeros((300, 300), np.uint8)
    photo[100:200, 100:200] = np.random.default_rng(0).normal(128, 40, (100, 100)).clip(0, 255)
    cv2.imwrite(str(tmp_path / "ray.png"), photo)
    images, _ = read_image_files([*files, tmp_path / "ray.png"], np.zeros(151, int), SHAPE, 10**9)
    assert len(images) == 151


def test_a_file_deleted_during_a_run_is_named(files, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(files[0].read_bytes())
    images, _ = read_image_files([path, files[1]], np.zeros(2, int), SHAPE, 0)
    path.unlink()
    with pytest.raises(RunError, match=r"a\.png: was decoded when this run began, but cannot be decoded now"):
        images[[0, 1]]


def test_exif_orientation_is_applied_and_the_whole_photo_scaled(tmp_path):
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[:, :40, 0] = 200  # the left half is red
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = read_input(tmp_path / "a.jpg", SHAPE).astype(int)
    assert image.shape == (20, 20, 3)
    assert image[:, :9, 0].min() > 150
    assert image[:, 11:, 0].max() < 50


def test_gray_and_transparent_images_become_rgb():
    gray = np.full((10, 12), 90, np.uint8)
    assert (to_photo(gray, 17) == 90).all()
    clear = np.dstack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 51, np.uint8)])
    assert (to_photo(clear, 17) == 204).all(), "a fifth black over white"


def test_digits_are_brought_into_mnists_form_and_blank_pictures_left_out(tmp_path, digit):
    cv2.imwrite(str(tmp_path / "a.png"), 255 - digit)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((50, 50), 255, np.uint8))
    images, labels = read_image_files(sorted(tmp_path.iterdir()), np.array([7, 7]), DIGIT_SHAPE, 10**9)
    assert images.cache.shape == (1, 28, 28)
    assert labels.tolist() == [7]
    np.testing.assert_array_equal(images.cache[0], read_input(tmp_path / "a.png", DIGIT_SHAPE))


def test_digits_to_evaluate_are_not_rounded_to_gray_levels(tmp_path, digit, capsys):
    for name in ("3/a.png", "7/b.png", "7/.hidden.png", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), 255 - digit)
    (tmp_path / "7" / "notes.txt").write_text("not a picture")
    paths, images, labels = load_labeled(tmp_path, list("0123456789"), DIGIT_SHAPE)
    assert paths == [str(tmp_path / "3" / "a.png"), str(tmp_path / "7" / "b.png")]
    assert labels.tolist() == [3, 7]
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, [read_digit(path) for path in paths])
    assert (images * 255 % 1).any()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == ["loose.png", ".hidden.png", "notes.txt"]


def test_to_input_scales_to_one():
    inputs = to_input(np.array([[[0, 255]]], np.uint8))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, [[[[0, 1]]]])
