"""The command line of train.py. Parsing it does not import Paddle."""

import argparse
import os
from pathlib import Path

from digits.cli import ArgumentParser, InputError
from digits.config import FIELDS, add_flags
from digits.files import user_path
from digits.runtime import DEVICES

DEFAULT_CONFIG = Path(__file__).resolve().parents[2] / "configs" / "lenet.yaml"


def parse(description: str, argv: list[str] | None = None) -> tuple[argparse.Namespace, dict[str, str]]:
    """Parse the command line.

    Args:
        description: the script's docstring.
        argv: the arguments; None for those of the process.

    Returns:
        The arguments, and the settings that flags override: field name to text.

    Raises:
        InputError: a flag is unknown, lacks its value, or does not go with another.
    """
    parser = ArgumentParser(prog="train.py", description=description)
    add = parser.add_argument
    add("config", nargs="?", type=os.path.expanduser, metavar="CONFIG", help="YAML file [configs/lenet.yaml]")
    add("--out", type=user_path, metavar="DIR", help="the run's folder [checkpoints/<config>, numbered if taken]")
    add("--seeds", type=int, nargs="+", metavar="N", help="one run per seed, in DIR/N [checkpoints/<config>-seeds/N]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    processes = "train in that many processes on this machine [auto: one per core where that pays]"
    add("--processes", type=_process_count, default="auto", metavar="auto|N", help=processes)
    add = parser.add_mutually_exclusive_group().add_argument
    resume = "resume the run in --out [this config's newest run] with its original settings"
    add("--resume", action="store_true", help=resume)
    add("--dry-run", action="store_true", help="run one batch of everything and keep nothing")
    add("--summary", action="store_true", help="print the layers and their parameters, and exit")
    add("--preview", action="store_true", help="draw augmented training images into outputs/preview.png, and exit")
    add_flags(parser)
    args = parser.parse_args(argv)
    overrides = {name: value for name, value in vars(args).items() if name in FIELDS}
    if args.seeds:
        if args.resume or args.dry_run or "seed" in overrides:
            raise InputError(
                "--seeds: resumes existing runs by itself; cannot be combined with --seed, --resume or --dry-run"
            )
        if "fine_tune" in overrides:
            raise InputError("--seeds: cannot be combined with --fine-tune, which reuses the seed of the weights")
        if len(set(args.seeds)) < len(args.seeds):
            raise InputError(f"--seeds: duplicate seed in {' '.join(map(str, args.seeds))}")
    return args, overrides


def run_name(args: argparse.Namespace, overrides: dict[str, str]) -> str:
    """Return the name of the folder of a run, without its number."""
    return Path(args.config or DEFAULT_CONFIG).stem + ("-fine-tuned" if "fine_tune" in overrides else "")


def _process_count(text):
    if text != "auto" and not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"'{text}' is not auto or a number from 1 to 1024")
    return text
