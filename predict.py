"""Read the digit in each picture, or name the class of each photo; say so when unsure or when there is none.

python predict.py examples/7_scan.png              one picture: the digit and ten probabilities
python predict.py photos/ more.jpg --csv out.csv   folders are searched for pictures; one line per picture
python predict.py examples/7_scan.png --show       also draw what the network was given
python predict.py examples/7_scan.png --layers     also draw the feature maps, and why it is a 7 and not another digit
python predict.py docs/page.jpg --many             several digits per picture, in reading order
python predict.py photo.jpg --checkpoint checkpoints/photo_cnn     a network for photos, with its own classes
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import json
import sys
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from digits.cli import ArgumentParser, InputError, run
from digits.data.pictures import find_images
from digits.data.workers import map_in_workers
from digits.evaluation.reading import Reading
from digits.files import csv_file, user_path, write_csv
from digits.runtime import DEVICES, tune_cpu
from digits.text import columns, pad

COLUMNS = ("path", "label", "confidence", "trusted", "error", "reason", "candidates")
BOX = ("x", "y", "width", "height")
MANY_COLUMNS = (*COLUMNS[:-1], "line", *BOX, COLUMNS[-1])
BATCH_SIZE = 256
MAX_PATH_WIDTH = 80  # columns of the paths; a longer path pushes its prediction to the right


def predict(classifier, readings: list[Reading]) -> list[Reading]:
    """Classify pictures that `classifier.load` has decoded and normalized: from the images to the probabilities."""
    images = [reading.image for reading in readings if reading.image is not None]  # blank pictures have none
    if not images:
        return readings
    images = np.stack(images)  # float32 [N, 28, 28] in [0, 1], ink bright, each digit in MNIST format
    logits = classifier.logits(images)  # float32 [N, 10]
    probs = classifier.probs(logits)  # softmax, calibrated: float64 [N, 10], each row sums to 1
    decided = iter(classifier.decide(images, logits, probs))  # label = argmax; trusted or not, and why
    return [
        reading if reading.image is None else replace(next(decided).doubted(reading.reason), path=reading.path)
        for reading in readings
    ]


def predict_single(classifier, paths: list[Path], args) -> list[Reading]:
    """Read one digit per picture and print, write and draw as the flags say."""
    loaded = map_in_workers(classifier.load, paths)
    batches = iter(lambda: list(islice(loaded, BATCH_SIZE)), [])
    readings = [reading for batch in batches for reading in predict(classifier, batch)]
    if args.csv:
        write_csv(args.csv, COLUMNS, map(Reading.as_row, readings))
    if args.json:
        print(json.dumps([as_json(reading, COLUMNS, classifier.classes) for reading in readings], indent=2))
    elif len(readings) == 1:
        if not readings[0].error:
            print(f"{readings[0].path}: {readings[0].describe_fully(classifier.classes)}")
    else:
        width = min(MAX_PATH_WIDTH, max(columns(reading.path) for reading in readings))
        for reading in readings:
            if not reading.error:
                print(f"{pad(reading.path, width)}  {reading.describe()}")
    if args.show:
        from digits.evaluation import prediction_plots  # imports matplotlib

        prediction_plots.draw_all(paths, readings, classifier.classes)
    if args.layers:
        from digits.evaluation import layer_plots

        layer_plots.draw_all(classifier, readings)
    return readings


def predict_many(classifier, paths: list[Path], args) -> list[Reading]:
    """Read every digit in each picture and print, write and draw as the flags say."""
    pages = [classifier.read_page(path) for path in paths]
    readings = [reading for page in pages for reading in page]
    if args.csv:
        boxes = (dict(zip(BOX, reading.box or [None] * 4, strict=True)) for reading in readings)
        write_csv(
            args.csv, MANY_COLUMNS, [reading.as_row() | box for reading, box in zip(readings, boxes, strict=True)]
        )
    if args.json:
        print(json.dumps([page_as_json(page, classifier.classes) for page in pages], indent=2))
    else:
        for page in pages:
            if not page[0].error:
                print(f"{page[0].path}:{format_page(page)}")
    if args.show:
        show_pages(paths, pages)
    return readings


def format_page(page: list[Reading]) -> str:
    """`" 9 0 2 1 0"`; several lines of writing below each other, indented."""
    if page[0].label is None:
        return f" {page[0].reason}"
    lines = [" ".join(map(mark, line)) for _, line in groupby(page, key=lambda reading: reading.line)]
    return "".join(("\n  " if len(lines) > 1 else " ") + line for line in lines)


def mark(reading: Reading) -> str:
    """`7`, a doubtful `7?`, or `-` for a figure that is not a digit."""
    if not reading.is_answer:
        return "-"
    return reading.label + ("?" if reading.reason else "")


def as_json(reading: Reading, names: tuple[str, ...], classes: list[str]) -> dict:
    probs = None if reading.probs is None else dict(zip(classes, reading.probs.tolist(), strict=True))
    return {name: getattr(reading, name) for name in names} | {"probs": probs}


def page_as_json(page: list[Reading], classes: list[str]) -> dict:
    names = ("box", "line", "label", "confidence", "probs", "trusted", "reason", "candidates")
    figures = [as_json(reading, names, classes) for reading in page if reading.label is not None]
    return {"path": page[0].path, "error": page[0].error, "figures": figures}


def show_pages(paths: list[Path], pages: list[list[Reading]]) -> None:
    from digits.evaluation import prediction_plots as plots

    names = plots.unique_names([page[0].path for page in pages])
    for path, page, name in zip(paths, pages, names, strict=True):
        if page[0].label is not None:
            boxes, marks = [reading.box for reading in page], [mark(reading) for reading in page]
            plots.save_output(plots.page(plots.read_rgb(path), boxes, marks), f"{name}_digits.png")


def parse(argv: list[str] | None):
    parser = ArgumentParser(prog="predict.py", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="+", type=user_path, metavar="PATH", help="pictures, folders to search, or - for standard input")
    add("--checkpoint", type=user_path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    columns = f"{','.join(COLUMNS)}; with --many also line,{','.join(BOX)}"
    add("--csv", type=csv_file, metavar="FILE", help=f"write the columns {columns}")
    add("--json", action="store_true", help="print a JSON list instead, with all probabilities")
    add("--many", action="store_true", help="read every digit in a picture, line by line")
    add("--show", action="store_true", help="draw each prediction into outputs/")
    add("--layers", action="store_true", help="draw what each layer of the network computes into outputs/")
    args = parser.parse_args(argv)
    if args.layers and args.many:
        raise InputError("--layers: shows one digit per picture; omit --many")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    paths = find_images(args.paths)
    tune_cpu()
    from digits.evaluation.classifier import Classifier  # imports Paddle, which takes longer than everything above

    classifier = Classifier(args.checkpoint, args.device)
    readings = (predict_many if args.many else predict_single)(classifier, paths, args)
    errors = [reading.error for reading in readings if reading.error]
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        raise InputError(errors[-1])


if __name__ == "__main__":
    run(main)
