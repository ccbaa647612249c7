"""Datasets in MNIST's file formats; the split into train, val and calibration; the order of the batches."""

import contextlib
import gzip

import numpy as np
import pytest

from digits.cli import InputError
from digits.data.mnist import holds_mnist, load_mnist
from digits.data.splits import shuffled_batches, split


def write_idx(path, array, compress=False):
    content = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)


def make_dataset(count=37):
    rng = np.random.default_rng(count)
    return rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count).astype(np.uint8)


# MNIST's file formats


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_files_are_read_under_each_usual_name(tmp_path, suffix, separator):
    images, labels = make_dataset()
    write_idx(tmp_path / f"train-images{separator}idx3-ubyte{suffix}", images, bool(suffix))
    write_idx(tmp_path / f"train-labels{separator}idx1-ubyte{suffix}", labels, bool(suffix))
    write_idx(tmp_path / f"t10k-images{separator}idx3-ubyte{suffix}", images[:5], bool(suffix))
    write_idx(tmp_path / f"t10k-labels{separator}idx1-ubyte{suffix}", labels[:5], bool(suffix))
    loaded_images, loaded_labels = load_mnist("train", tmp_path)
    np.testing.assert_array_equal(loaded_images, images)
    np.testing.assert_array_equal(loaded_labels, labels)
    assert loaded_labels.dtype == np.int64


def test_an_npz_file_is_read(tmp_path):
    (x, y), (u, v) = make_dataset(37), make_dataset(5)
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
        ({"y_train": np.array([0, 1, 10])}, "labels range from 0 to 10"),
        ({"y_train": np.array([0.0, 1.0, 2.0])}, "float64"),
    ],
)
def test_arrays_of_another_shape_type_or_range_are_input_errors(tmp_path, arrays, message):
    good = {"x_train": np.zeros((3, 28, 28), np.uint8), "y_train": np.array([0, 1, 2])}
    good |= {"x_test": good["x_train"], "y_test": good["y_train"]}
    np.savez(tmp_path / "mnist.npz", **{**good, **arrays})
    with pytest.raises(InputError, match=message):
        load_mnist("train", tmp_path)


def test_missing_and_damaged_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_mnist("train", tmp_path / "missing")
    with pytest.raises(InputError, match=r"neither train-images-idx3-ubyte\[.gz\] nor mnist.npz"):
        load_mnist("train", tmp_path)
    images, labels = make_dataset()
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte", labels)
    with pytest.raises(InputError, match=r"neither t10k-images"):  # an error before the training, not after it
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
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        load_mnist("test", tmp_path)
    with pytest.raises(InputError, match="has no x_train and no y_train"):
        load_mnist("train", tmp_path)


def test_damage_anywhere_in_a_compressed_npz_is_an_input_error_or_harmless(tmp_path):
    images, labels = make_dataset(20)
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
def test_the_split_is_proportional_stratified_and_seeded(mnist_train, val, calibration):
    _, labels = mnist_train
    parts = split(labels, val, calibration, seed=5)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(60_000))
    for part, fraction in zip(parts, (1 - val - calibration, val, calibration), strict=True):
        np.testing.assert_allclose(np.bincount(labels[part], minlength=10) / np.bincount(labels), fraction, atol=0.001)
    same_seed, other_seed = (split(labels, val, calibration, seed=seed) for seed in (5, 6))
    for part, same, other in zip(parts, same_seed, other_seed, strict=True):
        np.testing.assert_array_equal(part, same)
        assert len(part) == 0 or not np.array_equal(part, other)


def test_the_train_part_depends_only_on_the_sum_of_the_held_out_fractions(mnist_train):
    _, labels = mnist_train
    np.testing.assert_array_equal(split(labels, 0.1, 0.0, seed=1)[0], split(labels, 0.025, 0.075, seed=1)[0])


def test_an_empty_part_is_an_input_error():
    for count, val, calibration, empty in ((5, 0.1, 0.0, "val"), (300, 0.001, 0.0, "val"), (9, 0.1, 0.01, "val")):
        with pytest.raises(InputError, match=rf"val_fraction {val} .* of {count} images leave none for {empty}"):
            split(np.zeros(count, int), val, calibration, seed=0)


def test_batches_cover_each_index_once_in_an_order_that_the_generator_decides():
    batches = list(shuffled_batches(103, 10, np.random.default_rng([1, 2])))
    assert [len(batch) for batch in batches] == [10] * 10 + [3]
    order = np.concatenate(batches)
    assert sorted(order) == list(range(103))
    np.testing.assert_array_equal(order, np.concatenate(list(shuffled_batches(103, 10, np.random.default_rng([1, 2])))))
    assert not np.array_equal(order, np.concatenate(list(shuffled_batches(103, 10, np.random.default_rng([1, 3])))))
