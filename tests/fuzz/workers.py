"""Processes that read mutated files one after the other; a file that ends its process is a failure."""

import multiprocessing
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path

from tests.fuzz.cases import Result, attempt, limit_memory

_SPAWN = multiprocessing.get_context("spawn")  # a fork would copy Paddle's threads half
_KILL_AFTER = 60  # seconds without a result
_HARD_LIMIT = 4 << 30  # bytes by which a process may grow


def run(todo: list[tuple[str, int]], seed: int, workers: int) -> list[Result]:
    """Read the files of these formats and numbers in processes of their own."""
    pool = [_Worker(todo[index::workers], seed) for index in range(workers)]
    results = []
    while busy := [worker for worker in pool if worker.todo]:
        wait([worker.pipe for worker in busy], timeout=1)
        for worker in busy:
            for result in worker.receive():
                results.append(result)
                if len(results) % 1000 == 0:
                    print(f"{len(results):,} of {len(todo):,}", file=sys.stderr, flush=True)
    for worker in pool:
        worker.process.join()
    return results


class _Worker:
    """A process that reads files one after the other, and is started again if one of them ends it."""

    def __init__(self, todo: list[tuple[str, int]], seed: int):
        self.todo, self.seed = todo, seed
        self._start()

    def receive(self) -> list[Result]:
        """Return the results that have arrived; a failure if the process has died or hangs."""
        results = []
        try:
            while self.pipe.poll():
                results.append(self.pipe.recv())
                self.todo.pop(0)
                self.heard = time.monotonic()
        except EOFError:
            self.process.join()
            results.append(self._skip(f"the process died with status {self.process.exitcode}"))
        if not results and time.monotonic() - self.heard > _KILL_AFTER:
            self.process.kill()
            results.append(self._skip(f"took more than {_KILL_AFTER} s"))
        return results

    def _skip(self, failure):
        lost = Result(*self.todo.pop(0), None, failure)
        if self.todo:
            self._start()
        return lost

    def _start(self):
        self.pipe, theirs = _SPAWN.Pipe(duplex=False)
        self.process = _SPAWN.Process(target=_work, args=(self.todo, self.seed, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.heard = time.monotonic()


def _work(todo, seed, pipe):
    with tempfile.TemporaryDirectory() as folder:
        attempt(todo[0][0], todo[0][1], seed, Path(folder))  # what is loaded on first use is not the file's memory
        limit_memory(_HARD_LIMIT)
        for kind, number in todo:
            pipe.send(attempt(kind, number, seed, Path(folder)))
