"""CPU set-up, device choice, and the versions that a result depends on."""

import ctypes
import logging
import os
import platform
import re
import sys
import warnings
from pathlib import Path

from digits.cli import InputError
from digits.signals import accept_termination, delay_termination

DEVICES = ("auto", "cpu", "gpu")

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def tune_cpu() -> None:
    """Make Paddle fast on this CPU. Call it before Paddle is imported; `LENET_TUNE_CPU=0` turns it off.

    SIGTERM is delayed until `choose_device`.
    """
    delay_termination()
    warnings.filterwarnings("ignore", message="No ccache found")  # concerns only those who build C++ operators
    warnings.filterwarnings("ignore", message="When training, we now always track")  # batch norm says so at every step
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # Paddle enables INFO for every logger
    if os.environ.get("LENET_TUNE_CPU") == "0" or sys.platform != "linux":
        return
    if _is_amd_with_avx2():
        # On AMD, Paddle's MKL takes its slow path unless told otherwise. It reads this once, when it is loaded.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        # glibc returns large buffers after every operation and page-faults them in again for the next; keep them.
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 1 << 26)


def choose_device(name: str = "auto") -> str:
    """Select Paddle's device and return Paddle's name for it, `"cpu"` or `"gpu:0"`.

    Args:
        name: `"cpu"`, `"gpu"`, or `"auto"`: a GPU if Paddle was built with CUDA and sees one, else the CPU.

    Raises:
        InputError: the name is unknown, or there is no GPU to use.
    """
    import paddle

    if name not in DEVICES:
        raise InputError(f"device '{name}' is not known; choose one of {', '.join(DEVICES)}")
    built_with_cuda = paddle.device.is_compiled_with_cuda()
    sees_gpu = built_with_cuda and paddle.device.cuda.device_count() > 0
    if name == "gpu" and not sees_gpu:
        reason = "sees none" if built_with_cuda else "was built without CUDA"
        raise InputError(
            f"device 'gpu': paddle {paddle.__version__} {reason}; use --device cpu, or install a GPU build of Paddle"
        )
    paddle.disable_signal_handler()  # it prints a C++ trace on SIGTERM
    accept_termination()
    paddle.device.set_device("gpu:0" if sees_gpu and name != "cpu" else "cpu")
    return paddle.device.get_device()


def available_cores() -> int:
    """Return the number of cores that this process may use, as far as affinity and the container's quota say."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        limit, period = quota.read_text().split()
        cores = cores if limit == "max" else min(cores, int(limit) // int(period))
    return max(1, cores)


def cpu_name() -> str:
    """Return the processor and the number of cores this process may use, for reports."""
    names = re.findall(r"^model name\s*: (.*)", _cpu_info(), re.MULTILINE) or [
        platform.processor() or platform.machine()
    ]
    return f"{names[0]}, {available_cores()} cores"


def versions() -> dict[str, str]:
    """Return the versions of the packages that a result depends on."""
    import cv2
    import numpy
    import paddle

    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "paddle": paddle.__version__,
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
    }


def _is_amd_with_avx2():
    return "AuthenticAMD" in _cpu_info() and " avx2 " in _cpu_info()


def _cpu_info():
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""
