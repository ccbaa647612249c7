"""Ctrl-C and SIGTERM end a script with one line and exit status 130 or 143, whatever it is doing.

Scripts import this module before all others, so it imports little itself.
"""

import _signal as signal  # the module behind `signal`, which takes ten times as long to import
import _thread
import atexit
import itertools
import os
import sys
import time

_RETRY = 0.02  # seconds until a signal that came during an import is handled
_delayed = []  # threads in which SIGTERM is delayed


class Terminated(KeyboardInterrupt):
    """The system has asked the process to end."""


def end_on_interrupt(importing: bool = True) -> None:
    """End the process with one line on Ctrl-C and SIGTERM from here on.

    Args:
        importing: imports follow, and then `cli.run`. A library that is being imported can lose an exception, and its
            threads would take a SIGTERM; so SIGTERM is delayed until `run`.
    """
    _handle(_end)
    if importing:
        delay_termination()
        atexit.register(_handle, signal.SIG_IGN)  # the work is done, and Python's own handlers are gone by then


def raise_on_interrupt() -> None:
    """Raise KeyboardInterrupt on Ctrl-C and `Terminated` on SIGTERM from here on; a second signal ends the process."""
    _handle(_raise)
    accept_termination()


def delay_termination() -> None:
    """Delay SIGTERM in this thread, and in threads that it starts, until `accept_termination`.

    Paddle, while it is imported, installs a handler that prints a C++ trace.
    """
    if hasattr(signal, "pthread_sigmask") and signal.getsignal(signal.SIGTERM) in (_end, _raise):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        _delayed.append(_thread.get_ident())


def accept_termination() -> None:
    """Install Python's handler of SIGTERM again, in case a library has replaced it, and call it if it is due."""
    handler = signal.getsignal(signal.SIGTERM)  # None: was not installed by Python
    is_main_thread = handler is not None and _install(signal.SIGTERM, handler)
    if is_main_thread and _thread.get_ident() in _delayed:
        _delayed.clear()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _handle(handler):
    """Handle both signals, unless they are ignored, as a shell's `&` and nohup have it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if _is_script() and signal.getsignal(number) != signal.SIG_IGN:
            _install(number, handler)


def _install(number, handler):
    """Install a handler; return whether this is the main thread, the only one that can."""
    try:
        signal.signal(number, handler)
    except ValueError:
        return False
    return True


def _is_script():
    """Whether this process runs a script and nothing else; a notebook or an editor needs its own handlers."""
    start = len(sys.orig_argv) - len(sys.argv)
    options, (name, *arguments) = sys.orig_argv[:start], sys.orig_argv[start:]
    is_module = os.path.basename(sys.argv[0]) == name.rpartition(".")[2] + ".py"  # python -m package.module
    is_first = all(
        option.startswith("-") or before in ("-X", "-W") for before, option in itertools.pairwise(options)
    )  # behind Python's own options
    return is_first and arguments == sys.argv[1:] and (name == sys.argv[0] or is_module)


def _end(number, _):
    text, status = ("terminated", 143) if number == signal.SIGTERM else ("interrupted", 130)
    try:
        sys.stdout.flush()
    finally:  # even if there is no stdout, or it is full
        try:
            os.write(2, f"error: {text}\n".encode())
        finally:
            os._exit(status)


def _raise(number, frame):
    if _is_importing(frame):
        paddle = getattr(sys.modules.get("paddle"), "__spec__", None)
        if getattr(paddle, "_initializing", False):  # takes seconds, and nothing has begun that could be lost
            _end(number, frame)
        _thread.start_new_thread(_signal_again, (number,))
        return
    end_on_interrupt(importing=False)
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt


def _is_importing(frame):
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _signal_again(number):
    time.sleep(_RETRY)
    _thread.interrupt_main(number)
