"""CPU set-up, device choice and versions: what a run depends on besides its config."""

import ctypes
import logging
import os
import platform
import re
import sys
import warnings
from pathlib import Path

from digits.cli import InputError

DEVICES = ("auto", "cpu", "gpu")

# glibc's mallopt parameters (malloc.h)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def tune_cpu() -> None:
    """Make Paddle fast on this CPU. To be called before paddle is imported; `LENET_TUNE_CPU=0` turns it off."""
    warnings.filterwarnings("ignore", message="No ccache found")  # of use only to those who build C++ operators
    warnings.filterwarnings("ignore", message="When training, we now always track")  # batch norm says so at each step
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # Paddle turns everybody's INFO on
    if os.environ.get("LENET_TUNE_CPU") == "0" or sys.platform != "linux":
        return
    if _is_amd_with_avx2():
        # Paddle's MKL takes its slow path on AMD unless told which one to take; read once, when the library is loaded.
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        # glibc returns large buffers after every operation and page-faults them in again for the next: keep them.
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
        libc.mallopt(_M_TOP_PAD, 1 << 26)


def choose_device(name: str = "auto") -> str:
    """Make Paddle use a device and return Paddle's name for it, `"cpu"` or `"gpu:0"`.

    Args:
        name: `"cpu"`, `"gpu"`, or `"auto"`: a GPU if this Paddle was built with CUDA and sees one, else the CPU.

    Raises:
        InputError: unknown name, or a GPU was asked for and there is none to use.
    """
    import paddle

    if name not in DEVICES:
        raise InputError(f"device '{name}' is not known; choose one of {', '.join(DEVICES)}")
    built_with_cuda = paddle.device.is_compiled_with_cuda()
    sees_gpu = built_with_cuda and paddle.device.cuda.device_count() > 0
    if name == "gpu" and not sees_gpu:
        why = "sees none" if built_with_cuda else "was built without CUDA"
        raise InputError(
            f"device 'gpu': paddle {paddle.__version__} {why}; use --device cpu, or install a GPU build of Paddle"
        )
    paddle.device.set_device("gpu:0" if sees_gpu and name != "cpu" else "cpu")
    return paddle.device.get_device()


def cpu_name() -> str:
    """The processor and how many of its cores this process may use, for reports."""
    names = re.findall(r"^model name\s*: (.*)", _cpu_info(), re.MULTILINE) or [
        platform.processor() or platform.machine()
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0]}, {cores} cores"


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
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
