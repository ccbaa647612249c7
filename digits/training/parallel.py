"""The exchange between the processes of a training, through `paddle.distributed` with its gloo backend.

Every process has the same weights and trains on its own share of each batch. Alone, a process exchanges nothing.
"""

import itertools
import os
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import paddle.distributed as dist

from digits.cli import RunError

_START_SECONDS = 60  # time for the main process to import Paddle

_blocks = itertools.count()  # number of the next block that the main process does first, the same in all processes


class ProcessLost(RunError):
    """Another process of this training has ended, or has not answered for 30 seconds."""


def join() -> None:
    """Connect to the other processes that `launch` or `python -m paddle.distributed.launch` has started."""
    if count() > 1:
        cv2.setNumThreads(1)
        own_threads = _threads()
        if not is_main():
            _wait_for_main()
        with redirect_stderr(StringIO()):  # Paddle lists its flags
            _call(dist.init_parallel_env)
        # Gloo's threads spin while this thread holds a lock that they need. If they preempt it, all wait for
        # milliseconds; a batch thread does not preempt others.
        for thread in _threads() - own_threads:
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))


def rank() -> int:
    """Return the number of this process, from 0 on."""
    return dist.get_rank()


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size()


def is_main() -> bool:
    """Whether this is the process that prints and saves."""
    return rank() == 0


def share(batch: np.ndarray) -> np.ndarray:
    """Return this process's share of a batch; of fewer images than processes, all."""
    return np.array_split(batch, count())[rank()] if len(batch) >= count() else batch


@paddle.no_grad()
def average(network: paddle.nn.Layer, loss: paddle.Tensor, images: int) -> paddle.Tensor:
    """Average the gradients and batch norm's statistics over the processes, in one exchange.

    Args:
        network: with the gradients of this process's share of the batch, which are replaced.
        loss: the mean over this share.
        images: number of images in this share, its weight in the average.

    Returns:
        The loss of the whole batch.

    Raises:
        ProcessLost: another process has ended.
    """
    if count() == 1:
        return loss
    tensors = [parameter.grad for parameter in network.parameters() if parameter.grad is not None] + network.buffers()
    tensors.append(loss.detach())
    flat = images * paddle.concat([*(tensor.flatten() for tensor in tensors), paddle.ones([1])])
    _call(dist.all_reduce, flat)
    *parts, _ = paddle.split(flat / flat[-1], [*(tensor.size for tensor in tensors), 1])
    for tensor, part in zip(tensors, parts, strict=True):
        paddle.assign(part.reshape(tensor.shape), tensor)
    return tensors[-1]


def add(array: np.ndarray) -> np.ndarray:
    """Return the sum of the processes' arrays."""
    if count() == 1:
        return array
    tensor = paddle.to_tensor(array)
    _call(dist.all_reduce, tensor)
    return tensor.numpy()


def from_main(value: Any) -> Any:
    """Return the main process's value: a small object that can be pickled."""
    if count() == 1:
        return value
    values = [value]
    _call(dist.broadcast_object_list, values, 0)
    return values[0]


def require_same(data: bytes) -> None:
    """Compare data that must be the same in all processes.

    Raises:
        RunError: it differs.
    """
    checksum = zlib.crc32(data)
    if from_main(checksum) != checksum:
        raise RunError(
            f"process {rank() + 1} starts from different weights or settings than the first; give all of them "
            "the same folder, config and flags"
        )


def wait_for_all() -> None:
    """Wait until all processes have come this far."""
    if count() > 1:
        _call(dist.barrier)


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process do the block first. The others wait as long as it takes; an exchange would give up."""
    event = f"done {next(_blocks)}"
    store = paddle.base.core.create_or_get_global_tcp_store() if count() > 1 else None
    if store and not is_main():
        _call(store.wait, event)
    yield
    if store and is_main():
        store.set(event, b"1")


def _wait_for_main():
    """Wait until the main process listens: Paddle tries to connect at once, and then only after three seconds."""
    endpoint = os.environ.get("PADDLE_MASTER") or os.environ["PADDLE_TRAINER_ENDPOINTS"].split(",")[0]
    host, _, port = endpoint.rpartition(":")
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)


def _threads():
    tasks = Path("/proc/self/task")  # Linux
    return {int(path.name) for path in tasks.iterdir()} if tasks.is_dir() else set()


def _call(exchange, *arguments):
    try:
        exchange(*arguments)
    except (RuntimeError, ValueError) as error:  # of gloo, of the store
        raise ProcessLost("another process has ended or hangs") from error
