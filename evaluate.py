"""Measure a trained network on labelled images: MNIST's test set, or your own pictures sorted into a folder a class.

python evaluate.py                                 MNIST's test set, the shipped weights
python evaluate.py photos/ --checkpoint checkpoints/lenet    photos/0/*.png ... photos/9/*.png
python evaluate.py --json                          one JSON object, for other programs
"""

import json
import sys
from pathlib import Path

import numpy as np

import plots
from atomic import csv_file, output_folder, write_csv
from data import find_images, holds_mnist, load_mnist, to_input
from errors import ArgumentParser, InputError, run
from metrics import confusion_matrix, cross_entropy, format_report, summarize
from preprocess import read_digit
from runtime import DEVICES, tune_cpu

COLUMNS = ("path", "truth", "label", "confidence", "trusted")
_SHOWN = 40  # mistakes in the picture of the worst


def main(argv: list[str] | None = None) -> None:
    args = _parse(argv)
    tune_cpu()
    from classifier import Classifier  # imports paddle, which takes longer than all the rest: not before it is needed

    classifier = Classifier(args.checkpoint, args.device)
    classes = classifier.classes
    names, images, labels = load_labelled(args.data, classes)
    logits = classifier.logits(images)
    confusion = confusion_matrix(labels, logits.argmax(1), len(classes))
    metrics = {"loss": cross_entropy(logits, labels), **summarize(confusion)}
    rows = [
        {
            "path": name,
            "truth": classes[label],
            "label": answer.label,
            "confidence": answer.confidence,
            "trusted": answer.trusted,
        }
        for name, label, answer in zip(names, labels, classifier.answers(logits), strict=True)
    ]
    if args.csv:
        write_csv(args.csv, COLUMNS, rows)
    if args.json:
        print(json.dumps({**metrics, "confusion": confusion.tolist()}, indent=2))
    else:
        print(f"{args.data}, by {classifier.path}\n\n{format_report(metrics, classes)}\nloss {metrics['loss']:.4f}")

    wrong = [i for i, row in enumerate(rows) if row["label"] != row["truth"]]
    worst = sorted(wrong, key=lambda i: -rows[i]["confidence"])[:_SHOWN]
    captions = [f"{rows[i]['truth']} read as {rows[i]['label']}\n{rows[i]['confidence']:.1%}" for i in worst]
    shown = f"{len(worst)} of {len(wrong)} mistakes, the surest first" if wrong else "no mistakes"
    title = f"{args.data}: accuracy {metrics['accuracy']:.2%}"
    plots.save(plots.confusion(confusion, classes, title), args.plots / "confusion.png")
    plots.save(plots.mistakes(images[worst], captions, f"{args.data}: {shown}"), args.plots / "mistakes.png")
    print(f"plots: {args.plots / 'confusion.png'} {args.plots / 'mistakes.png'}", file=sys.stderr)


def load_labelled(data: str, classes: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Load labelled images in MNIST's form.

    Args:
        data: `"mnist"`, a folder with MNIST-like files (see `load_mnist`), or one with a folder of pictures a class.
        classes: the class names, in the order of the labels.

    Returns:
        A name an image, images float32 [N, 28, 28], labels int64 [N]. What cannot be read is left out, and said so.

    Raises:
        InputError: no such folder, a folder in it that is no class, or nothing to read.
    """
    folder = Path(data)
    if data == "mnist" or holds_mnist(folder):
        images, labels = load_mnist("test", "" if data == "mnist" else folder)
        return [f"test/{i:05d}" for i in range(len(labels))], to_input(images)[:, 0], labels
    if not folder.is_dir():
        raise InputError(f"data '{data}': no such folder; 'mnist' stands for MNIST's test set")
    names, images, labels = [], [], []
    for path in find_images([folder]):
        truth = path.relative_to(folder).parts[0]
        if truth not in classes:
            raise InputError(
                f"{path}: '{truth}' is not a class; {folder} needs its pictures in folders called {' '.join(classes)}"
            )
        try:
            images.append(read_digit(path))
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        names.append(str(path))
        labels.append(classes.index(truth))
    if not images:
        raise InputError(f"{folder}: none of its pictures can be read")
    return names, np.stack(images), np.array(labels)


def _parse(argv):
    parser = ArgumentParser(prog="evaluate.py", description=__doc__)
    add = parser.add_argument
    add("data", nargs="?", default="mnist", metavar="DATA", help="mnist, or a folder of class folders [mnist]")
    add("--checkpoint", type=Path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add("--csv", type=csv_file, metavar="FILE", help=f"write {','.join(COLUMNS)}, a row an image")
    add("--json", action="store_true", help="print the metrics as one JSON object")
    add("--plots", type=output_folder, default="outputs", metavar="DIR", help="folder for the two plots [outputs]")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
