"""How every command ends: exit 0 done, 1 failed, 2 bad input, 130 or 143 stopped; one line on stderr says why."""

import argparse
import contextlib
import difflib
import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterable

from digits.signals import Terminated, end_on_interrupt, raise_on_interrupt
from digits.text import clip, printable

_TRACEBACK = "LENET_TRACEBACK"  # environment variable that shows the traceback of a bug
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"  # a hyphen, and what word processors replace it by
_ALIASES = {  # flags and settings by the names that other programs give them
    "device": "cpu cuda gpu gpus use_gpu use_cuda no_cuda",
    "checkpoint": "c ckpt load model model_path params weights",
    "data_dir": "data_path data_root dataset input train_dir",
    "out": "o log_dir logdir out_dir output output_dir run_dir save save_dir",
    "csv": "out output save",
    "epochs": "e max_epochs n_epochs num_epochs",
    "batch_size": "b batch bsz",
    "learning_rate": "eta",
    "schedule": "lr_schedule lr_scheduler scheduler",
    "weight_decay": "l2 decay",
    "ema_decay": "ema",
    "patience": "early_stop early_stopping",
    "image_size": "img_size imgsz size",
    "fine_tune": "finetune_from pretrained_model",
    "seed": "manual_seed random_seed random_state",
    "model": "arch net network",
    "dry_run": "debug test_run",
    "many": "multi multiple pages",
}


class InputError(Exception):
    """The user's input cannot be used. The message is one line: what, which value, what is accepted, what to do."""


class RunError(Exception):
    """The input was good and the work failed. The message is one line."""


class ArgumentParser(argparse.ArgumentParser):
    """An argparse parser with one-line errors and a suggestion for a mistyped flag.

    A file whose name begins with a dash is a path and not a flag if it exists; behind `--` every argument is a path.
    """

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else list(args)
        for word in itertools.takewhile(lambda word: word != "--", args):
            self._check_flag(word)
        return super().parse_args(args, namespace)

    def error(self, message):
        raise InputError(f"{message} (python {self.prog} --help lists the flags)")

    def _check_flag(self, word):
        flag = word.partition("=")[0]
        hyphenated = "--" + flag.lstrip(_DASHES)
        if flag[:1] in _DASHES[1:] and hyphenated in self._option_string_actions:
            raise InputError(f"'{word}' begins with a dash that is not a hyphen; write {hyphenated}")
        if not flag.startswith("-") or not (option := self._parse_optional(word)) or self._knows(option):
            return
        if "." in flag or "/" in flag or os.sep in flag:
            raise InputError(f"'{word}': no such file, and not a flag; write ./{word} for a file with that name")
        raise InputError(
            f"unknown argument '{clip(word)}'{suggest(flag, set(self._option_string_actions) - {'-h', '--help'})} "
            f"(python {self.prog} --help lists the flags)"
        )

    def _knows(self, option):
        # Up to Python 3.12.2 argparse returns one option, later a list of options.
        return any(choice[0] is not None for choice in ([option] if isinstance(option, tuple) else option))

    def _parse_optional(self, word):  # argparse asks this; None says that the word is not a flag
        is_flag = word.partition("=")[0] in self._option_string_actions
        return None if not is_flag and os.path.lexists(word) else super()._parse_optional(word)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the known word that `word` stands for, or an empty string.

    A known word is meant that has `word` as its beginning (`--data`: `--data-dir`) or as its initials (`--lr`:
    `--learning-rate`), that has another name elsewhere (`--gpu`: `--device`), or that resembles it.
    """
    names = {_plain(name): name for name in sorted(known, key=len, reverse=True)}  # the shortest of equal names
    plain = _plain(word)
    if not plain:
        return ""
    completions = sorted((name for name in names if name.startswith(plain)), key=len)
    initials = [name for name in names if "_" in name and "".join(part[:1] for part in name.split("_")) == plain]
    alias = [name for name in names if plain in _ALIASES.get(name, "").split()]
    close = difflib.get_close_matches(plain, names, n=1)
    found = [*initials, *alias, *completions, *close]
    return f", did you mean '{names[found[0]]}'?" if found else ""


def run(main: Callable[[], None]) -> None:
    """Run a script's main; if it fails, print one line and exit with the status that fits."""
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's stdout cannot be
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold letters that the terminal lacks

    def run_interruptibly():
        raise_on_interrupt()
        try:
            main()
        finally:
            end_on_interrupt(importing=False)

    status = exit_status(run_interruptibly)
    if status:
        sys.exit(status)


def exit_status(main: Callable[[], None]) -> int:
    """Call main, print its error, if any, as one line on stderr, and return the exit status."""
    try:
        main()
        return _flush()
    except InputError as error:
        return _report(error, 2)
    except BrokenPipeError:
        return _flush() or 1
    except RunError as error:
        return _report(error, 1)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EFBIG)
        if is_full and not error.filename:  # `files.replacing` names each file, so it is not one
            return _report_stdout(error)
        status = 2 if error.errno == errno.ENAMETOOLONG else 1  # the user gave that name
        return _report(f"{error.filename}: {error.strerror}" if error.filename else error, status)
    except MemoryError:
        return _report("not enough memory", 1)
    except KeyboardInterrupt as stop:
        return _report("terminated", 143) if isinstance(stop, Terminated) else _report("interrupted", 130)
    except Exception as error:  # a bug
        if os.environ.get(_TRACEBACK):
            raise
        kind = " ".join(f"{type(error).__name__}: {error}".split())
        return _report(f"this is a bug: {kind:.300}; {_TRACEBACK}=1 in the environment shows the traceback", 1)


def _plain(name):
    """Return a flag's or setting's name in one spelling: `--Data-Dir` as `data_dir`."""
    return name.lower().lstrip("-").replace("-", "_")


def _flush():
    """Write what stdout has buffered; return the exit status."""
    try:
        if sys.stdout:  # pythonw has none
            sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of the output, say `head`, has left
        _discard_output()
        return 1
    except OSError as error:  # a full disk
        return _report_stdout(error)


def _report_stdout(error):
    _discard_output()
    return _report(f"stdout: {error.strerror}", 1)


def _discard_output():
    """Send to nowhere what stdout has buffered; Python would complain at exit."""
    with contextlib.suppress(AttributeError, OSError):  # a notebook's stdout is not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report(error, status):
    print(f"error: {printable(error)}", file=sys.stderr)
    return status
