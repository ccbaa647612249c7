"""Pictures from files: in memory or decoded anew the same, and what is no picture is named and left out."""

import cv2
import numpy as np
import pytest
from PIL import Image

from digits.cli import InputError, RunError
from digits.data.image_files import ImageFiles, input_batches, read_image_files
from digits.imaging.reading import read_input, to_photo

SHAPE = (3, 20, 20)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """150 pictures of noise, more than are read in one process."""
    folder = tmp_path_factory.mktemp("noise")
    rng = np.random.default_rng(0)
    for number in range(150):
        cv2.imwrite(str(folder / f"{number:03d}.png"), rng.integers(0, 256, (30, 40, 3), np.uint8))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("cached", [0, 70, 150])
def test_decoded_ahead_or_from_memory_they_are_the_same(files, cached):
    pictures, labels = read_image_files(files, np.arange(150), SHAPE, budget=cached * 1200 + 1199)
    assert len(pictures.cache) == cached
    expected = np.stack([read_input(path, SHAPE) for path in files])
    np.testing.assert_array_equal(labels, np.arange(150))
    order = np.random.default_rng(1).permutation(150)
    batches = np.split(order, [40, 41, 110])
    for batch, images in zip(batches, pictures.batches(batches), strict=True):
        np.testing.assert_array_equal(images, expected[batch])
    np.testing.assert_array_equal(pictures[[3, 149]], expected[[3, 149]])
    inputs = np.concatenate(list(input_batches(pictures)))
    np.testing.assert_allclose(inputs, expected.transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_the_memory_is_that_of_the_budget_and_no_more(files):
    assert ImageFiles(files, SHAPE, 100_000).cache.nbytes == 83 * 1200


def test_what_is_no_picture_is_named_and_left_out(files, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:500])
    paths = [files[0], tmp_path / "notes.txt", files[1], tmp_path / "empty.jpg", tmp_path / "cut.png", files[2]]
    for budget in (10**9, 0):
        pictures, labels = read_image_files(paths, np.arange(6), SHAPE, budget)
        assert labels.tolist() == [0, 2, 5]
        np.testing.assert_array_equal(pictures[[0, 1, 2]], [read_input(path, SHAPE) for path in files[:3]])
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1].rpartition("/")[2] for line in lines] == ["notes.txt", "empty.jpg", "cut.png"]
        assert all(line.startswith("left out: ") for line in lines)
    with pytest.raises(InputError, match="none of its pictures can be read"):
        read_image_files(paths[1:2], np.zeros(1, int), SHAPE, 0)


def test_a_drawn_sign_among_photos_is_left_out_but_not_among_its_like(files, tmp_path, capsys):
    sign = np.full((300, 300, 3), 247, np.uint8)
    cv2.putText(sign, "NOT FOUND", (40, 150), cv2.FONT_HERSHEY_SIMPLEX, 1, (40, 40, 40), 3)
    path = tmp_path / "sign.png"
    cv2.imwrite(str(path), sign)
    pictures, _ = read_image_files([*files, path], np.zeros(151, int), SHAPE, 10**9)
    assert len(pictures) == 150
    assert "sign.png: is a drawn graphic" in capsys.readouterr().err
    pictures, _ = read_image_files([files[0], path, path], np.zeros(3, int), SHAPE, 10**9)
    assert len(pictures) == 3
    pictures, _ = read_image_files([*files, path], np.zeros(151, int), SHAPE, 10**9, keep_all=True)
    assert len(pictures) == 151, "what is measured on is not chosen"


def test_a_gray_photo_is_no_drawn_sign(files, tmp_path):
    photo = np.zeros((300, 300), np.uint8)
    photo[100:200, 100:200] = np.random.default_rng(0).normal(128, 40, (100, 100)).clip(0, 255)
    cv2.imwrite(str(tmp_path / "ray.png"), photo)
    pictures, _ = read_image_files([*files, tmp_path / "ray.png"], np.zeros(151, int), SHAPE, 10**9)
    assert len(pictures) == 151


def test_a_file_that_goes_while_it_is_needed_is_named(files, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(files[0].read_bytes())
    pictures, _ = read_image_files([path, files[1]], np.zeros(2, int), SHAPE, 0)
    path.unlink()
    with pytest.raises(RunError, match=r"a\.png: was read when this run began, and cannot be read any more"):
        pictures[[0, 1]]


def test_a_photo_is_turned_as_its_exif_says_and_scaled_whole(tmp_path):
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[:, :40, 0] = 200  # the left half is red
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(photo))).save(tmp_path / "a.jpg", exif=exif, quality=95)
    seen = read_input(tmp_path / "a.jpg", SHAPE).astype(int)
    assert seen.shape == (20, 20, 3)
    assert seen[:, :9, 0].min() > 150
    assert seen[:, 11:, 0].max() < 50


def test_gray_and_transparent_pictures_become_color():
    gray = np.full((10, 12), 90, np.uint8)
    assert (to_photo(gray, 17) == 90).all()
    clear = np.dstack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8), 51, np.uint8)])
    assert (to_photo(clear, 17) == 204).all(), "a fifth black over white"


def test_a_folder_of_digits_is_brought_into_mnists_form(tmp_path, digit):
    cv2.imwrite(str(tmp_path / "a.png"), 255 - digit)
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((50, 50), 255, np.uint8))
    pictures, labels = read_image_files(sorted(tmp_path.iterdir()), np.array([7, 7]), (1, 28, 28), 10**9)
    assert pictures.cache.shape == (1, 28, 28)
    assert labels.tolist() == [7]
    np.testing.assert_array_equal(pictures.cache[0], read_input(tmp_path / "a.png", (1, 28, 28)))
