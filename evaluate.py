"""Evaluate a network on labeled images: MNIST's test set, or your own pictures in one folder per class.

python evaluate.py                                 MNIST's test set, the shipped weights
python evaluate.py photos/ --checkpoint checkpoints/lenet    your digits: photos/0/*.png ... photos/9/*.png
python evaluate.py PHOTOS/val --checkpoint checkpoints/photo_cnn    a network for photos, with its own classes
python evaluate.py inputs/                         inputs/test/ (labeled) and inputs/check/ (digits and lookalikes)
python evaluate.py mnist --show 200                one image, with its prediction and its ground truth label
python evaluate.py --json                          one JSON object, for other programs
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import json
import os
import sys
from pathlib import Path

import numpy as np

from digits.cli import ArgumentParser, InputError, run
from digits.data.mnist import holds_mnist, list_names, load_mnist
from digits.evaluation import own_inputs
from digits.evaluation.metrics import confusion_matrix, format_confusions, format_report, score
from digits.evaluation.reading import Reading
from digits.files import csv_file, output_folder, user_path, write_csv
from digits.runtime import DEVICES, tune_cpu
from digits.text import confidence, percent


def load_images(classifier, data: str) -> tuple:
    """Load MNIST's test set, files in its format, or class folders; unreadable pictures are named on stderr.

    Returns:
        The name of each image, images as `classifier.predict` takes them, and labels int64 [N].

    Raises:
        InputError: the folder does not exist, a subfolder is not a class, or none of the pictures can be read.
    """
    from digits.data import image_files  # imports Paddle

    folder = Path(data)
    is_mnist = data == "mnist"
    if is_mnist or holds_mnist(folder):
        if is_mnist:
            classifier.require_digits()
        else:
            classifier.require_names(list_names(folder), data)
        images, labels = load_mnist("test", "" if is_mnist else folder, len(classifier.classes))
        return [f"test/{number:05d}" for number in range(len(labels))], image_files.to_input(images)[:, 0], labels
    if not folder.is_dir():
        raise InputError(f"data '{data}': no such folder; 'mnist' stands for MNIST's test set")
    return image_files.load_labeled(folder, classifier.classes, classifier.input_shape)


def evaluate_labeled(classifier, names: list[str], images, labels: np.ndarray, args) -> None:
    """Print the metrics, write one CSV row per image, and draw the plots unless the metrics are printed as JSON."""
    from digits.evaluation import calibration, plots, trust_report  # imports matplotlib

    classes, trust = classifier.classes, classifier.calibration
    logits = classifier.logits(images)
    probs = classifier.probs(logits)
    confusion = confusion_matrix(labels, logits.argmax(1), len(classes))
    metrics = score(logits, labels, classifier.loss)
    if trust:
        metrics |= calibration.measure(trust, logits, labels)

    if args.csv:
        readings = classifier.decide(images, logits, probs)
        write_csv(args.csv, own_inputs.TEST_COLUMNS, as_rows(names, readings, [classes[label] for label in labels]))
    if args.json:
        print(json.dumps({**metrics, "confusion": confusion.tolist()}, indent=2))
        return
    print(f"{args.data}, by {classifier.path}\n\n{format_report(metrics, classes)}\nloss {metrics['loss']:.4f}")
    if not classifier.takes_digits:
        print(f"\n{format_confusions(confusion, classes)}\n")
    if trust and trust.guaranteed_threshold is not None:
        print(f"{trust_report.format_trust(metrics)}; trusted from {percent(trust.guaranteed_threshold)} on")
        print(trust_report.format_candidates(calibration.measure_candidates(trust, logits, labels)))

    title = f"{args.data}: accuracy {percent(metrics['accuracy'])}"
    figures = {"confusion": plots.confusion(confusion, classes, title)}
    figures |= plots.prediction_sheets(images, labels, probs, classes, args.data)
    if trust:
        figures["trust"] = plots.trust(*calibration.trust_curves(trust, logits, labels), title)
    paths = {name: args.out / f"{name}.png" for name in figures}
    for name, path in paths.items():
        plots.save(figures[name], path)
    print(f"plots: {' '.join(map(str, paths.values()))}", file=sys.stderr)


def show_image(classifier, names: list[str], images, labels: np.ndarray, args) -> None:
    """Print and draw image number `args.show` with its prediction and its label.

    Raises:
        InputError: the number is out of range.
    """
    from digits.evaluation import plots, prediction_plots

    number = args.show
    if not 0 <= number < len(images):
        raise InputError(f"--show {number}: {args.data} has images 0 to {len(images) - 1}")
    reading = classifier.predict(images[[number]])[0]
    doubt = f": {reading.reason}" if reading.reason else ""
    label = classifier.classes[labels[number]]
    description = f"read as {reading.label}, {confidence(reading.confidence)} sure{doubt}; it is {label}"
    print(f"{names[number]}: {description}")
    path = args.out / f"image_{number}.png"
    figure = prediction_plots.prediction(None, reading.image, reading.probs, classifier.classes, description)
    plots.save(figure, path)
    print(f"drawn into {path}", file=sys.stderr)


def evaluate_inputs(classifier, args) -> None:
    """Read the pictures in `test/` and `check/`; print a summary of each, and write test.csv and check.csv.

    Raises:
        InputError: a picture in `test/` has no label, or none of a folder's pictures can be read.
    """
    if args.json or args.csv:
        raise InputError(
            f"{args.data}: a folder with test/ or check/ writes test.csv and check.csv; omit --csv and --json"
        )
    folder = Path(args.data)
    for part, pictures in own_inputs.find_inputs(folder, classifier.classes).items():
        rows = own_inputs.read_inputs(classifier, part, pictures)
        if not rows:
            raise InputError(f"{folder / part}: none of its pictures can be read")
        path = args.out / f"{part}.csv"
        write_csv(path, own_inputs.COLUMNS[part], rows)
        print(f"{folder / part}: {len(rows)} pictures, into {path}\n{own_inputs.summarize(part, rows)}\n")


def as_rows(names: list[str], readings: list[Reading], labels: list[str]) -> list[dict]:
    return [
        reading.as_row() | {"path": name, "truth": label, "right": reading.label == label}
        for name, reading, label in zip(names, readings, labels, strict=True)
    ]


def parse(argv: list[str] | None):
    parser = ArgumentParser(prog="evaluate.py", description=__doc__)
    add = parser.add_argument
    add(
        "data",
        nargs="?",
        type=os.path.expanduser,
        default="mnist",
        metavar="DATA",
        help="mnist, a folder of class folders, or a folder with test/ and check/ [mnist]",
    )
    add("--checkpoint", type=user_path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add("--csv", type=csv_file, metavar="FILE", help=f"write {','.join(own_inputs.TEST_COLUMNS)}, one row per image")
    add("--json", action="store_true", help="print the metrics as one JSON object, and draw no plots")
    add("--show", type=int, metavar="N", help="only show image number N, from 0, with its prediction and its label")
    add("--out", type=user_path, default="outputs", metavar="DIR", help="folder for plots and tables [outputs]")
    args = parser.parse_args(argv)
    if not args.json or args.show is not None:
        output_folder(args.out)
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    tune_cpu()  # before Paddle is imported
    from digits.evaluation.classifier import Classifier

    classifier = Classifier(args.checkpoint, args.device)
    if args.show is None and own_inputs.has_inputs(args.data):
        evaluate_inputs(classifier, args)
        return
    names, images, labels = load_images(classifier, args.data)
    (evaluate_labeled if args.show is None else show_image)(classifier, names, images, labels, args)


if __name__ == "__main__":
    run(main)
