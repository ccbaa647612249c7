"""How every command ends: exit 0 done, 1 failed, 2 bad input, 130 stopped by Ctrl-C; one line on stderr says why."""

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
            flags = [flag for action in self._actions for flag in action.option_strings if flag != "--help"]
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
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal's encoding lacks
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        sys.exit(_report(error, 2))
    except BrokenPipeError:  # whoever read the output, say `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (RunError, OSError) as error:
        sys.exit(_report(error, 1))
    except KeyboardInterrupt:
        sys.exit(_report("interrupted", 130))


def _report(error, status):
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(error))
    print(f"error: {line}", file=sys.stderr)
    return status


def _with_dashes(word):
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value if flag.startswith("--") else word
