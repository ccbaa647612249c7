"""How every command ends: exit 0 done, 1 failed while running, 2 bad input; and one line on stderr that says why."""

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
    """argparse with one-line errors, a suggestion for a mistyped flag, and `--batch_size` read as `--batch-size`."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args=None, namespace=None):
        words = [_with_dashes(word) for word in (sys.argv[1:] if args is None else args)]
        parsed, unknown = super().parse_known_args(words, namespace)
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings]
            self.error(f"unknown argument '{unknown[0]}'{suggest(unknown[0].partition('=')[0], flags)}")
        return parsed

    def error(self, message):
        raise InputError(f"{message} (python {self.prog} --help lists the flags)")


def suggest(word: str, known: Iterable[str]) -> str:
    """`", did you mean 'x'?"` for the closest of the known words, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def run(main: Callable[[], None]) -> None:
    """Run a script's main and leave the process with the exit status its outcome calls for."""
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        sys.exit(_report(error, 2))
    except (RunError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # the reader (say, `| head`) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        sys.exit(_report(error, 1))
    except KeyboardInterrupt:
        sys.exit(_report("interrupted", 130))


def _report(error, status):
    print(f"error: {error}", file=sys.stderr)
    return status


def _with_dashes(word):
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word
