"""Whether OpenCV can open a window here, and what draws it."""

import ctypes
import os
import re
import sys
from pathlib import Path

import cv2

from digits.cli import InputError


def gui() -> str:
    """What draws OpenCV's windows: QT5, GTK3, WIN32UI, COCOA, NONE, ..."""
    found = re.search(r"GUI: +(\S+)", cv2.getBuildInformation())
    return found[1] if found else "NONE"


def check_windows() -> None:
    """See that OpenCV can open a window, for it ends the process if it cannot.

    Raises:
        InputError: it has none, or there is no display.
    """
    if gui() == "NONE":
        raise InputError(
            "this OpenCV has no windows: pip uninstall opencv-python-headless, "
            "then pip install --force-reinstall opencv-python"
        )
    if sys.platform != "linux":
        return
    if not os.environ.get("DISPLAY"):
        wayland = " (of Wayland OpenCV can use only XWayland)" if os.environ.get("WAYLAND_DISPLAY") else ""
        raise InputError(
            f"no display: DISPLAY is not set{wayland}; run it on a desktop, or try xvfb-run python draw.py"
        )
    os.environ["QT_QPA_PLATFORM"] = "xcb"  # the only one opencv-python has
    plugin = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms" / "libqxcb.so"
    if not plugin.exists():  # not a build with Qt
        return
    try:
        ctypes.CDLL(str(plugin))
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError as error:
        raise InputError(
            f"OpenCV's windows need a library ({error}); on Debian and Ubuntu: apt-get install libsm6"
        ) from None
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))  # left open: a server may start anew when all have gone
    if xcb.xcb_connection_has_error(connection):
        raise InputError(f"no display: nothing answers at DISPLAY={os.environ['DISPLAY']}, or it lets nobody in")
