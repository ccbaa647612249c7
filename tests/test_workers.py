"""Worker processes keep the order of the items; one that dies is a clear error."""

import os
import sys

import pytest

from digits.cli import RunError
from digits.data.workers import map_in_workers
from digits.runtime import available_cores


def where(item):
    return item, os.getpid()


@pytest.mark.parametrize("count", [0, 3, 64, 1100])
def test_results_come_in_order(count):
    results = list(map_in_workers(where, range(count)))
    assert [item for item, _ in results] == list(range(count))
    if count < 64:
        assert {process for _, process in results} <= {os.getpid()}


@pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux only")
@pytest.mark.skipif(available_cores() == 1, reason="one core has no workers")
def test_a_worker_that_dies_is_an_error():
    with pytest.raises(RunError, match="has died"):
        list(map_in_workers(os._exit, [1] * 100))
