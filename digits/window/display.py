"""Check whether OpenCV can open a window here, and with which toolkit."""

import ctypes
import os
import re
import sys
from pathlib import Path

import cv2

from digits.cli import InputError


def toolkit() -> str:
    """Name the toolkit of OpenCV's windows: QT5, GTK3, WIN32UI, COCOA, NONE, ..."""
    found = re.search(r"GUI: +(\S+)", cv2.getBuildInformation())
    return found[1] if found else "NONE"


def check_display() -> None:
    """Check that OpenCV can open a window: without a display it would abort the process.

    Raises:
        InputError: this OpenCV was built without windows, a library is missing, or there is no display.
    """
    if toolkit() == "NONE":
        raise InputError(
            "this OpenCV cannot open windows: pip uninstall opencv-python-headless, "
            "then pip install --force-reinstall opencv-python"
        )
    if sys.platform != "linux":
        return
    if not os.environ.get("DISPLAY"):
        wayland = " (on Wayland, OpenCV needs XWayland)" if os.environ.get("WAYLAND_DISPLAY") else ""
        raise InputError(
            f"no display: DISPLAY is not set{wayland}; run it on a desktop, or try xvfb-run python draw.py"
        )
    os.environ["QT_QPA_PLATFORM"] = "xcb"  # the only platform plugin that opencv-python ships
    plugin = Path(cv2.__file__).parent / "qt" / "plugins" / "platforms" / "libqxcb.so"
    if not plugin.exists():  # built without Qt
        return
    try:
        ctypes.CDLL(str(plugin))
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError as error:
        raise InputError(
            f"OpenCV's windows need a library that cannot be loaded ({error}); "
            "on Debian and Ubuntu: apt-get install libsm6"
        ) from None
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))  # left open: some servers restart after the last client
    if xcb.xcb_connection_has_error(connection):
        raise InputError(
            f"no display: no X server answers at DISPLAY={os.environ['DISPLAY']}, or it refuses the connection"
        )
