"""How every command ends: exit 0 done, 1 failed, 2 bad input, 130 interrupted; one line on stderr says why."""

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Iterable


class InputError(Exception):
    """The user's input cannot be used. The message is one line: what, which value, what is accepted, what to do."""


class RunError(Exception):
    """The input was good and the work failed. The message is one line."""


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


def run(main: Callable[[], None]) -> None:
    """Run a script's main; if it fails, print one line and exit with the status that fits."""
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold letters that the terminal lacks
    status = exit_status(main)
    if status:
        sys.exit(status)


def exit_status(main: Callable[[], None]) -> int:
    """Call main, print its error, if any, as one line on stderr, and return the exit status."""
    try:
        main()
        sys.stdout.flush()
        return 0
    except InputError as error:
        return _report(error, 2)
    except BrokenPipeError:  # the reader of the output, say `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RunError, OSError) as error:
        return _report(error, 1)
    except KeyboardInterrupt:
        return _report("interrupted", 130)


def _report(error, status):
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(error))
    print(f"error: {line}", file=sys.stderr)
    return status
