"""What OpenCV's Qt windows lack on Linux, from the X server by libxcb: Ctrl+Z, what is on the screen, its size."""

import contextlib
import ctypes
import os

_CONTROL, _CAPS_LOCK, _NUM_LOCK = 4, 2, 16  # modifiers of a key (xproto.h)
_Z = 0x7A  # keysym of z
_KEY_PRESS = 2  # type of an event
_STRING, _CARDINAL = 31, 6  # types of a property
_PIXELS, _ALL_PLANES = 2, ctypes.c_uint32(0xFFFFFFFF)  # format of an image, and its bits
_ASYNC = 1  # a grab that does not freeze the keyboard


class _Iterator(ctypes.Structure):
    """xcb_screen_iterator_t of xproto.h."""

    _fields_ = (("data", ctypes.POINTER(ctypes.c_uint8)), ("rem", ctypes.c_int), ("index", ctypes.c_int))


class Connection:
    """A connection to the X server, beside Qt's own."""

    def __init__(self):
        self._xcb = ctypes.CDLL("libxcb.so.1")
        self._libc = ctypes.CDLL(None)
        for name in ("xcb_connect", "xcb_get_setup", "xcb_poll_for_event"):
            getattr(self._xcb, name).restype = ctypes.c_void_p
        self._connection = ctypes.c_void_p(self._xcb.xcb_connect(None, None))
        self._windows: list[int] = []
        self._is_lost = bool(self._xcb.xcb_connection_has_error(self._connection))
        if not self._is_lost:
            self._setup = ctypes.c_void_p(self._xcb.xcb_get_setup(self._connection))
            self._xcb.xcb_setup_roots_iterator.restype = _Iterator
            self._screen = self._xcb.xcb_setup_roots_iterator(self._setup).data

    def screen_size(self) -> tuple[int, int] | None:
        """Return the width and the height of the screen in pixels; None if the connection is lost."""
        if self._is_lost:
            return None
        return tuple(int.from_bytes(self._screen[start : start + 2], "little") for start in (20, 22))

    def attach(self, title: str) -> None:
        """Find this process's window with this title, and receive Ctrl+Z in its place while it has the focus.

        Qt keeps keys with Ctrl for its own purposes; OpenCV never sees them.
        """
        if self._is_lost:
            return
        root = int.from_bytes(self._screen[:4], "little")
        keys = self._keys_of(_Z)
        found = self._find(root, title.encode())
        new, self._windows = set(found) - set(self._windows), found
        for window in new:
            for key in keys:
                for locks in (0, _CAPS_LOCK, _NUM_LOCK, _CAPS_LOCK | _NUM_LOCK):
                    self._xcb.xcb_grab_key(self._connection, 0, window, _CONTROL | locks, key, _ASYNC, _ASYNC)
        self._xcb.xcb_flush(self._connection)

    def pixel(self, x: int, y: int) -> bytes | None:
        """Return what the screen shows at a place in the window, as blue, green and red; None if that is not known."""
        if self._is_lost or not self._windows:
            return None
        place = (ctypes.c_int16(x), ctypes.c_int16(y), ctypes.c_uint16(1), ctypes.c_uint16(1))
        with self._ask("get_image", ctypes.c_uint8(_PIXELS), self._windows[0], *place, _ALL_PLANES) as reply:
            return bytes(reply[32:35]) if reply[1] in (24, 32) else None  # bits per pixel

    def count_presses(self) -> int:
        """Count how often Ctrl+Z was pressed since the last call."""
        count = 0
        while not self._is_lost and (event := self._xcb.xcb_poll_for_event(self._connection)):
            count += ctypes.cast(event, ctypes.POINTER(ctypes.c_uint8))[0] & 0x7F == _KEY_PRESS
            self._libc.free(ctypes.c_void_p(event))
        return count

    def _keys_of(self, symbol):
        """Return the codes of the keys that type a symbol without Shift."""
        first, last = ctypes.cast(self._setup, ctypes.POINTER(ctypes.c_uint8))[34:36]
        with self._ask("get_keyboard_mapping", ctypes.c_uint8(first), ctypes.c_uint8(last - first + 1)) as reply:
            per_key = reply[1]
            symbols = ctypes.cast(ctypes.byref(reply.contents, 32), ctypes.POINTER(ctypes.c_uint32))
            return [first + key for key in range(last - first + 1) if symbols[key * per_key] == symbol]

    def _find(self, window, title):
        """Return the windows below this one with this title."""
        with self._ask("query_tree", window) as reply:
            count = int.from_bytes(reply[16:18], "little")
            children = ctypes.cast(ctypes.byref(reply.contents, 32), ctypes.POINTER(ctypes.c_uint32))[:count]
        found = [child for child in children if self._property(child, b"WM_NAME", _STRING) == title]
        own = os.getpid().to_bytes(4, "little")
        found = [child for child in found if self._property(child, b"_NET_WM_PID", _CARDINAL) == own]
        return found or [match for child in children for match in self._find(child, title)]

    def _property(self, window, name, kind):
        with self._ask("intern_atom", ctypes.c_uint8(1), ctypes.c_uint16(len(name)), name) as reply:
            atom = int.from_bytes(reply[8:12], "little")
        with self._ask("get_property", ctypes.c_uint8(0), window, atom, kind, 0, 64) as reply:
            length = int.from_bytes(reply[16:20], "little") * reply[1] // 8
            return bytes(reply[32 : 32 + length])

    @contextlib.contextmanager
    def _ask(self, request, *arguments):
        """Send a request and yield the reply, bytes as xproto.h lays them out; an error yields zeros."""
        reply_of = getattr(self._xcb, f"xcb_{request}_reply")
        reply_of.restype = ctypes.c_void_p
        cookie = getattr(self._xcb, f"xcb_{request}")(self._connection, *arguments)
        address = reply_of(self._connection, cookie, None)
        try:
            yield ctypes.cast(address or (ctypes.c_uint8 * 64)(), ctypes.POINTER(ctypes.c_uint8))
        finally:
            self._libc.free(ctypes.c_void_p(address))
