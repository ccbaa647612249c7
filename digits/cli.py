"""How every command ends: exit 0 done, 1 failed, 2 bad input, 130 or 143 stopped; one line on stderr says why."""

import argparse
import difflib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable

_TRACEBACK = "LENET_TRACEBACK"  # environment variable that shows the traceback of a bug


class InputError(Exception):
    """The user's input cannot be used. The message is one line: what, which value, what is accepted, what to do."""


class RunError(Exception):
    """The input was good and the work failed. The message is one line."""


class Terminated(KeyboardInterrupt):
    """The system has asked the process to end."""


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser with one-line errors and a suggestion for a mistyped flag."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args=None, namespace=None):
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings if flag != "--help"]
            self.error(f"unknown argument '{unknown[0]}'{suggest(unknown[0].partition('=')[0], flags)}")
        return parsed

    def error(self, message):
        raise InputError(f"{message} (python {self.prog} --help lists the flags)")


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the known word that `word` begins or resembles, or an empty string."""
    known = list(known)
    completions = sorted((name for name in known if word and name.startswith(word)), key=len)
    close = completions or difflib.get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def end_on_interrupt() -> None:
    """End with one line on Ctrl-C from here on, until `run` starts; call it before imports that take long.

    An exception could be lost in a library that is being imported.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # in the background, a shell ignores Ctrl-C
        signal.signal(signal.SIGINT, _end_now)


def run(main: Callable[[], None]) -> None:
    """Run a script's main; if it fails, print one line and exit with the status that fits."""
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's stdout cannot be
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold letters that the terminal lacks
    if signal.getsignal(signal.SIGINT) is _end_now:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    handle_termination()
    status = exit_status(main)
    if status:
        sys.exit(status)


def handle_termination() -> None:
    """Raise `Terminated` on SIGTERM, which a system sends before it kills a process."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def exit_status(main: Callable[[], None]) -> int:
    """Call main, print its error, if any, as one line on stderr, and return the exit status."""
    try:
        main()
        if sys.stdout:  # pythonw has none
            sys.stdout.flush()
        return 0
    except InputError as error:
        return _report(error, 2)
    except BrokenPipeError:  # the reader of the output, say `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except RunError as error:
        return _report(error, 1)
    except OSError as error:
        return _report(f"{error.filename}: {error.strerror}" if error.filename else error, 1)
    except MemoryError:
        return _report("not enough memory", 1)
    except KeyboardInterrupt as stop:
        return _report("terminated", 143) if isinstance(stop, Terminated) else _report("interrupted", 130)
    except Exception as error:  # a bug
        if os.environ.get(_TRACEBACK):
            raise
        kind = f"{type(error).__name__}: {error}"
        return _report(f"this is a bug: {kind:.300}; {_TRACEBACK}=1 in the environment shows the traceback", 1)


def _report(error, status):
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(error))
    print(f"error: {line}", file=sys.stderr)
    return status


def _terminate(*_):
    raise Terminated


def _end_now(*_):
    os.write(2, b"error: interrupted\n")
    os._exit(130)
