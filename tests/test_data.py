"""A user's own set; the split and the order of the batches; pictures in folders."""

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest

from digits.cli import InputError
from digits.data.mnist import find_images, holds_mnist, load_mnist, shuffled_batches, split, to_input


def write_idx(path, array, compress=False):
    content = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)


def own_set(count=37):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8)


# A set of one's own


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_own_idx_files(tmp_path, suffix, separator):
    images, labels = own_set()
    write_idx(tmp_path / f"train-images{separator}idx3-ubyte{suffix}", images, bool(suffix))
    write_idx(tmp_path / f"train-labels{separator}idx1-ubyte{suffix}", labels, bool(suffix))
    write_idx(tmp_path / f"t10k-images{separator}idx3-ubyte{suffix}", images[:5], bool(suffix))
    write_idx(tmp_path / f"t10k-labels{separator}idx1-ubyte{suffix}", labels[:5], bool(suffix))
    loaded_images, loaded_labels = load_mnist("train", tmp_path)
    np.testing.assert_array_equal(loaded_images, images)
    np.testing.assert_array_equal(loaded_labels, labels)
    assert loaded_labels.dtype == np.int64


def test_own_npz(tmp_path):
    (x, y), (u, v) = own_set(37), own_set(5)
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=u, y_test=v)
    np.testing.assert_array_equal(load_mnist("train", tmp_path)[0], x)
    np.testing.assert_array_equal(load_mnist("test", tmp_path)[1], v)
    assert holds_mnist(tmp_path)
    assert not holds_mnist(tmp_path.parent / "no-such-folder")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.zeros((3, 28, 28))}, "float64"),
        ({"x_train": np.zeros((3, 32, 32), np.uint8)}, "32, 32"),
        ({"x_train": np.zeros((0, 28, 28), np.uint8), "y_train": np.zeros(0, int)}, r"\[0, 28, 28\]"),
        ({"y_train": np.array([0, 1])}, r"labels are int64 \[2\]"),
        ({"y_train": np.array([0, 1, 10])}, "labels go from 0 to 10"),
        ({"y_train": np.array([0.0, 1.0, 2.0])}, "float64"),
    ],
)
def test_an_own_set_of_the_wrong_form_is_an_input_error(tmp_path, arrays, message):
    good = {"x_train": np.zeros((3, 28, 28), np.uint8), "y_train": np.array([0, 1, 2])}
    good |= {"x_test": good["x_train"], "y_test": good["y_train"]}
    np.savez(tmp_path / "mnist.npz", **{**good, **arrays})
    with pytest.raises(InputError, match=message):
        load_mnist("train", tmp_path)


def test_broken_own_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_mnist("train", tmp_path / "missing")
    with pytest.raises(InputError, match=r"neither train-images-idx3-ubyte\[.gz\] nor mnist.npz"):
        load_mnist("train", tmp_path)
    images, labels = own_set()
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    with pytest.raises(InputError, match=r"neither t10k-images"):  # known before the training, not after
        load_mnist("train", tmp_path)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels)
    for content in (b"", b"hello", (tmp_path / "train-images-idx3-ubyte").read_bytes()[:-1]):
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(InputError, match="cut short"):
            load_mnist("train", tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 1000)[:-20])
    with pytest.raises(InputError, match="gzip"):
        load_mnist("train", tmp_path)
    (tmp_path / "mnist.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="npz"):
        load_mnist("train", tmp_path)


def test_an_npz_with_pickled_objects_is_not_unpickled(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_test=np.array([{"a": 1}], object), y_test=np.array([1]))
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        load_mnist("test", tmp_path)
    with pytest.raises(InputError, match="has no x_train and no y_train"):
        load_mnist("train", tmp_path)


def test_damage_anywhere_in_a_compressed_npz_is_an_input_error_or_harmless(tmp_path):
    images, labels = own_set(20)
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, x_test=images, y_test=labels)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(len(whole), size=4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            load_mnist("test", tmp_path)


# Split and batches


@pytest.mark.parametrize(("val", "calibration"), [(0.05, 0.08), (0.1, 0.0), (0.01, 0.2)])
def test_the_split_is_in_proportion_stratified_and_seeded(mnist_train, val, calibration):
    _, labels = mnist_train
    parts = split(labels, val, calibration, seed=5)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(60_000))
    for part, fraction in zip(parts, (1 - val - calibration, val, calibration), strict=True):
        np.testing.assert_allclose(np.bincount(labels[part], minlength=10) / np.bincount(labels), fraction, atol=0.001)
    for part, same, other in zip(
        parts, split(labels, val, calibration, seed=5), split(labels, val, calibration, seed=6), strict=True
    ):
        np.testing.assert_array_equal(part, same)
        assert len(part) == 0 or not np.array_equal(part, other)


def test_what_is_trained_on_depends_on_the_sum_of_the_held_out_parts(mnist_train):
    _, labels = mnist_train
    np.testing.assert_array_equal(split(labels, 0.1, 0.0, seed=1)[0], split(labels, 0.025, 0.075, seed=1)[0])


def test_a_part_without_images_is_an_input_error():
    for count, val, calibration, empty in ((5, 0.1, 0.0, "val"), (300, 0.001, 0.0, "val"), (9, 0.1, 0.01, "val")):
        with pytest.raises(InputError, match=rf"val_fraction {val} .* of {count} images leave none for {empty}"):
            split(np.zeros(count, int), val, calibration, seed=0)


def test_batches_cover_everything_once_in_an_order_of_the_generator_alone():
    batches = list(shuffled_batches(103, 10, np.random.default_rng([1, 2])))
    assert [len(batch) for batch in batches] == [10] * 10 + [3]
    order = np.concatenate(batches)
    assert sorted(order) == list(range(103))
    np.testing.assert_array_equal(order, np.concatenate(list(shuffled_batches(103, 10, np.random.default_rng([1, 2])))))
    assert not np.array_equal(order, np.concatenate(list(shuffled_batches(103, 10, np.random.default_rng([1, 3])))))


def test_to_input_scales_to_one():
    inputs = to_input(np.array([[[0, 255]]], np.uint8))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, [[[[0, 1]]]])


# Pictures


def test_pictures_are_found_in_folders_sorted_and_files_taken_as_they_are(tmp_path):
    for name in ("b/2.PNG", "b/10.jpg", "a/1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_images([tmp_path, tmp_path / "a" / "notes.txt", tmp_path / "gone"])
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        str(Path(name)) for name in ("a/1.png", "b/10.jpg", "b/2.PNG", "a/notes.txt", "gone")
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        find_images([tmp_path / "empty"])
