"""Mutated files by number: the same seed, format and number always give the same file."""

import contextlib
import ctypes
import resource
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tests.fuzz.mutations import mutate
from tests.fuzz.readers import read
from tests.fuzz.seeds import seeds_of

MAX_SECONDS = 5.0
MAX_BYTES = 1 << 30  # memory that reading one file may take
_TEXT = ("JSON", "YAML")


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        kind, number: which file.
        refusal: the error that refused it; None if it was read.
        failure: what is wrong with how it was handled; None if nothing is.
        seconds: time taken.
        memory: growth of the process in bytes, at its peak.
    """

    kind: str
    number: int
    refusal: str | None
    failure: str | None
    seconds: float = 0.0
    memory: int = 0


def case(kind: str, number: int, seed: int) -> tuple[str, bytes]:
    """Make a mutated file; its name and its bytes."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    seeds = seeds_of(kind)
    chosen, donor = seeds[rng.integers(len(seeds))], seeds[rng.integers(len(seeds))]
    return chosen.name, chosen.finish(mutate(chosen.data, donor.data, rng, text=kind in _TEXT))


def attempt(kind: str, number: int, seed: int, folder: Path) -> Result:
    """Read a mutated file, and measure it."""
    return examine(kind, *case(kind, number, seed), folder, number)


def examine(kind: str, name: str, data: bytes, folder: Path, number: int = 0) -> Result:
    """Read a file through an empty folder, and measure it."""
    refusal = failure = None
    with measured() as taken:
        try:
            refusal = read(kind, name, data, folder)
        except Exception as error:  # a bug in the reader: the reason for this test
            failure = _describe(error)
    if not failure and taken.seconds > MAX_SECONDS:
        failure = f"took {taken.seconds:.1f} s"
    if not failure and taken.peak > MAX_BYTES:
        failure = f"took {taken.peak / 2**20:,.0f} MiB"
    return Result(kind, number, refusal, failure, taken.seconds, taken.peak)


@contextlib.contextmanager
def measured() -> Iterator[SimpleNamespace]:
    """Measure a block: `seconds`, and `peak`, the bytes by which the process grew at most."""
    taken, before, started = SimpleNamespace(), _start_peak(), time.perf_counter()
    yield taken
    taken.seconds, taken.peak = time.perf_counter() - started, max(0, _peak() - before)


def limit_memory(extra: int) -> None:
    """Let this process grow by at most `extra` bytes from here on, so that no file can stop the machine."""
    if sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + extra
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _describe(error):
    at = error.__traceback__
    while at.tb_next:
        at = at.tb_next
    place = f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split()):.200}"


def _start_peak():
    """Return freed memory to the system, reset the peak, and return the bytes in use."""
    if sys.platform != "linux":
        return _peak()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak():
    if sys.platform == "linux":
        return _status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))
