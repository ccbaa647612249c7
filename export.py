"""Export a trained network to other programs; each export is loaded and compared with the network first.

python export.py                                                   ONNX, into outputs/export/extended.onnx
python export.py --checkpoint checkpoints/lenet --format html      one page that reads digits, for any browser
python export.py --format paddle --out deploy/extended             a folder for paddle.jit.load and paddle.inference
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import os
from pathlib import Path

from digits.cli import ArgumentParser, InputError, run
from digits.files import output_file, user_path
from digits.runtime import choose_device, tune_cpu

SUFFIXES = {"onnx": ".onnx", "paddle": "", "html": ".html"}  # the format paddle is a folder


def default_path(checkpoint: Path, suffix: str) -> Path:
    """Name the export after the run, `outputs/export/lenet-2.onnx`, or after the file of weights."""
    name = checkpoint.resolve().parent.name if checkpoint.stem == "best" else checkpoint.stem
    return Path("outputs/export", name + suffix)


def export(args) -> None:
    """Load the checkpoint, export it, and print what was written and how closely it agrees with the network.

    Raises:
        InputError: the checkpoint cannot be used, the format does not fit it, or the file cannot be written.
        RunError: the export does not agree with the network.
    """
    from digits.export.description import describe  # these import Paddle
    from digits.export.formats import FORMATS, IMAGES
    from digits.networks.checkpoint import SHIPPED, load_checkpoint
    from digits.networks.registry import load_network

    choose_device("cpu")
    checkpoint = load_checkpoint(args.checkpoint or SHIPPED)
    network, _ = load_network(checkpoint)
    name = checkpoint.meta["model"]["name"]
    if args.format == "html" and name != "lenet":
        raise InputError(
            f"--format html: the page shows the layers of LeNet, and {checkpoint.path} is '{name}'; "
            "try --checkpoint checkpoints/shipped/lenet"
        )
    out = args.out or default_path(checkpoint.path, SUFFIXES[args.format])
    written = FORMATS[args.format](network, checkpoint, describe(checkpoint, network.input_shape), out)
    for path in written.paths:
        print(f"{path}  {path.stat().st_size / 1000:,.1f} kB")
    print(
        f"compared on {IMAGES:,} images with {written.reader}: "
        f"its {written.compared} differ from the network's by at most {written.difference:.1e}"
    )


def parse(argv: list[str] | None):
    parser = ArgumentParser(prog="export.py", description=__doc__)
    add = parser.add_argument
    add("--checkpoint", type=user_path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--format", choices=tuple(SUFFIXES), default="onnx", help="the format [onnx]")
    add("--out", type=user_path, metavar="FILE", help="file, or folder for paddle [outputs/export/NAME]")
    args = parser.parse_args(argv)
    suffix = SUFFIXES[args.format]
    if args.out and suffix and args.out.suffix != suffix:
        raise InputError(f"--out {args.out}: expected the name of a file that ends in {suffix}")
    if args.out and suffix:
        output_file(args.out)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    os.environ.setdefault("GLOG_minloglevel", "2")  # Paddle warns about its own tracing
    tune_cpu()
    export(args)


if __name__ == "__main__":
    run(main)
