"""Datasets in MNIST's file formats; the split into train, val and calibration; the order of the batches."""

import contextlib
import gzip
import io
import tracemalloc
import zipfile

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


def write_four(folder, images, labels, test_count=5, name=lambda name: name):
    for mode, count in (("train", len(labels)), ("t10k", test_count)):
        for kind, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            path = folder / name(f"{mode}-{kind}")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_idx(path, array[:count])


@pytest.mark.parametrize(
    "name",
    [
        lambda name: f"{name}.gz",  # decompressed by a program that kept the name
        lambda name: f"{name}/{name}",
        lambda name: f"{name}/{name.replace('-idx', '.idx')}",
        lambda name: f"raw/{name}",
        lambda name: f"MNIST/raw/{name}",
        lambda name: f"FashionMNIST/raw/{name.replace('-idx', '.idx')}",
    ],
)
def test_idx_files_are_found_where_archives_and_other_programs_put_them(tmp_path, name):
    images, labels = make_dataset()
    write_four(tmp_path, images, labels, name=name)
    assert holds_mnist(tmp_path)
    np.testing.assert_array_equal(load_mnist("train", tmp_path)[0], images)
    np.testing.assert_array_equal(load_mnist("test", tmp_path)[1], labels[:5])


def test_an_npz_file_can_be_named_itself(tmp_path):
    images, labels = make_dataset()
    np.savez(tmp_path / "letters.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    np.testing.assert_array_equal(load_mnist("train", tmp_path / "letters.npz")[0], images)


def test_one_of_several_datasets_must_be_named(tmp_path):
    for name in ("MNIST", "KMNIST"):
        write_four(tmp_path / name / "raw", *make_dataset())
    with pytest.raises(InputError, match=r"holds several datasets; name one: .*KMNIST/raw .*MNIST/raw"):
        load_mnist("train", tmp_path)
    assert len(load_mnist("train", tmp_path / "MNIST")[1]) == 37


# Files that would take more memory than a dataset


@contextlib.contextmanager
def at_most_megabytes(limit):
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit * 10**6


def idx_header(*sizes):
    return bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (idx_header(10_000_000, 28, 28), "its header says 10000000x28x28 bytes, expected at most 600,000,000"),
        (idx_header(2**32 - 1, 2**32 - 1, 2**32 - 1), "expected at most 600,000,000"),
        (idx_header(*[2] * 70), "not an idx file"),
        (idx_header(60_000, 28, 28), "cut short"),
        (idx_header(10, 28, 28) + bytes(100_000_000), "damaged: its header says 10x28x28 bytes"),
        (b"\0\0\x08\xff", "not an idx file"),
    ],
    ids=["huge", "absurd", "70 dimensions", "short", "long", "header alone"],
)
@pytest.mark.parametrize("compress", [bytes, lambda content: gzip.compress(content, 1)], ids=["plain", "gzip"])
def test_an_idx_file_takes_no_more_memory_than_its_header_may_say(tmp_path, content, message, compress):
    write_four(tmp_path, *make_dataset())
    (tmp_path / "train-images-idx3-ubyte").write_bytes(compress(content))
    with at_most_megabytes(2), pytest.raises(InputError, match=message):
        load_mnist("train", tmp_path)


def npy_header(shape, dtype="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "method", "message"),
    [
        (npy_header((4_000_000, 28, 28)), zipfile.ZIP_DEFLATED, "expected at most 600,000,000 bytes"),
        (npy_header((10**12, 28, 28)), zipfile.ZIP_STORED, "expected at most 600,000,000 bytes"),
        (npy_header((-5, 28, 28)), zipfile.ZIP_STORED, "expected at most 600,000,000 bytes"),
        (npy_header((1,) * 70), zipfile.ZIP_STORED, "expected at most 600,000,000 bytes"),
        (npy_header((60_000, 28, 28)), zipfile.ZIP_DEFLATED, "another size than its header says"),
        (npy_header((2, 28, 28)) + bytes(100_000_000), zipfile.ZIP_DEFLATED, "another size than its header says"),
        (npy_header((2, 28, 28)) + bytes(2 * 28 * 28), zipfile.ZIP_LZMA, "another method than deflate"),
    ],
    ids=["huge", "absurd", "negative", "70 dimensions", "short", "long", "lzma"],
)
def test_an_npz_file_takes_no_more_memory_than_its_headers_may_say(tmp_path, content, method, message):
    images, labels = make_dataset()
    np.savez(tmp_path / "mnist.npz", y_train=labels, x_test=images, y_test=labels)
    with zipfile.ZipFile(tmp_path / "mnist.npz", "a", method) as archive:
        archive.writestr("x_train.npy", content)
    with at_most_megabytes(4), pytest.raises(InputError, match=message):
        load_mnist("train", tmp_path)


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
