"""Apply a function to many items in worker processes."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout

import cv2

from digits.cli import RunError
from digits.runtime import available_cores

_CHUNK = 16  # items that a worker takes at a time
_WINDOW = 512  # items that are given to the workers ahead of the caller
_MIN_ITEMS = 64  # fewer are done before the workers have started


def map_in_workers(function: Callable, items: Sequence) -> Iterator:
    """Yield `function(item)` for each item, in order, with a progress bar if stderr is a terminal.

    On Linux one worker per core does the work; elsewhere, and for few items, this process does.

    Raises:
        RunError: a worker process has died; the memory may be full.
    """
    count = available_cores() if sys.platform == "linux" else 1
    if count == 1 or len(items) < _MIN_ITEMS:
        yield from map(function, items)
        return
    bar = _progress_bar(len(items)) if sys.stderr.isatty() else None
    windows = [items[start : start + _WINDOW] for start in range(0, len(items), _WINDOW)]
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(count, fork, initializer=_start_worker) as pool:
        try:
            for number, result in enumerate(_map_ahead(pool, function, windows), 1):
                yield result
                if bar and (number % _CHUNK == 0 or number == len(items)):
                    with redirect_stdout(sys.stderr):
                        bar.update(number)
        except BrokenProcessPool:
            raise RunError("a process that reads pictures has died; the memory may be full") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _progress_bar(count):
    from paddle.hapi.progressbar import ProgressBar  # imports Paddle

    return ProgressBar(count, name="picture")


def _map_ahead(pool, function, windows):
    """Yield the results of a window while the workers are at the next one."""
    ahead = ()
    for window in windows:
        current, ahead = ahead, pool.map(function, window, chunksize=_CHUNK)
        yield from current
    yield from ahead


def _start_worker():
    cv2.setNumThreads(0)  # OpenCV's threads do not survive a fork
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
