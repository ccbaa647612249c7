"""Measure a trained network on labeled images: MNIST's test set, or your own pictures sorted into a folder a class.

python evaluate.py                                 MNIST's test set, the shipped weights
python evaluate.py photos/ --checkpoint checkpoints/lenet    photos/0/*.png ... photos/9/*.png
python evaluate.py PHOTOS/val --checkpoint checkpoints/photo_cnn    a network for photos, by its own classes
python evaluate.py inputs/                         inputs/test/ (labeled) and inputs/check/ (digits and lookalikes)
python evaluate.py mnist --show 200                one image, with the answer and the truth
python evaluate.py --json                          one JSON object, for other programs
"""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from digits.cli import ArgumentParser, InputError, run
from digits.data.folders import find_images
from digits.data.mnist import holds_mnist, load_mnist
from digits.evaluation import calibration, plots
from digits.evaluation.metrics import confusion_matrix, format_confusions, format_report, score, softmax
from digits.evaluation.reading import BLANK
from digits.files import csv_file, output_folder, write_csv
from digits.runtime import DEVICES, tune_cpu

COLUMNS = ("path", "truth", "label", "confidence", "trusted", "reason", "right")
CHECK_COLUMNS = ("path", "part", "label", "confidence", "trusted", "reason")


def main(argv: list[str] | None = None) -> None:
    args = _parse(argv)
    tune_cpu()
    from digits.evaluation.classifier import (
        Classifier,  # imports paddle, which takes longer than all the rest: not before it is needed
    )

    classifier = Classifier(args.checkpoint, args.device)
    folder = Path(args.data)
    own = args.data != "mnist" and not holds_mnist(folder)
    if args.show is not None:
        show_image(classifier, args)
    elif own and ((folder / "test").is_dir() or (folder / "check").is_dir()):
        if args.json or args.csv:
            raise InputError(
                f"{folder}: holds test/ or check/, which write test.csv and check.csv; leave out --csv, --json"
            )
        evaluate_inputs(classifier, folder, args.out)
    else:
        evaluate_labeled(classifier, args)


def evaluate_labeled(classifier, args) -> None:
    """Metrics of MNIST or of class folders, printed, as CSV, and drawn."""
    classes = classifier.classes
    names, images, labels = load_labeled(classifier, args.data)
    logits = classifier.logits(images)
    confusion = confusion_matrix(labels, logits.argmax(1), len(classes))
    metrics = score(logits, labels, classifier.loss)
    trust = classifier.calibration
    if trust:
        metrics |= calibration.measure(trust, logits, labels)
    rows = [
        {"truth": classes[label], **vars(reading), "path": name, "right": reading.label == classes[label]}
        for name, label, reading in zip(
            names, labels, classifier.decide(images, logits, classifier.probs(logits)), strict=True
        )
    ]
    if args.csv:
        write_csv(args.csv, COLUMNS, rows)
    if args.json:
        print(json.dumps({**metrics, "confusion": confusion.tolist()}, indent=2))
    else:
        print(f"{args.data}, by {classifier.path}\n\n{format_report(metrics, classes)}\nloss {metrics['loss']:.4f}")
        if not classifier.takes_digits:
            print(f"\n{format_confusions(confusion, classes)}\n")
        if trust and trust.guaranteed_threshold is not None:
            print(f"{calibration.format_trust(metrics)}; trusted from {trust.guaranteed_threshold:.2%} on")

    title = f"{args.data}: accuracy {metrics['accuracy']:.2%}"
    figures = {"confusion": plots.confusion(confusion, classes, title)}
    probs = trust.probs(logits) if trust else softmax(logits)
    figures |= plots.answers(images, labels, probs, classes, args.data)
    if trust:
        figures["trust"] = plots.trust(*calibration.trust_curves(trust, logits, labels), title)
    for name, figure in figures.items():
        plots.save(figure, args.out / f"{name}.png")
    print(f"plots: {' '.join(str(args.out / f'{name}.png') for name in figures)}", file=sys.stderr)


def show_image(classifier, args) -> None:
    """Image number `args.show` of labeled data, its answer and its truth, printed and drawn.

    Raises:
        InputError: there are not as many.
    """
    names, images, labels = load_labeled(classifier, args.data)
    number = args.show
    if not 0 <= number < len(images):
        raise InputError(f"--show {number}: {args.data} has images 0 to {len(images) - 1}")
    answer = classifier.predict(images[[number]])[0]
    doubt = f": {answer.reason}" if answer.reason else ""
    said = f"read as {answer.label}, {answer.confidence:.2%} sure{doubt}; it is {classifier.classes[labels[number]]}"
    print(f"{names[number]}: {said}")
    path = args.out / f"image_{number}.png"
    plots.save(plots.prediction(None, images[[number]][0], answer.probs, classifier.classes, said), path)
    print(f"drawn into {path}", file=sys.stderr)


def evaluate_inputs(classifier, folder: Path, out: Path) -> None:
    """Your own pictures: `folder/test` by its labels, `folder/check` by what is trusted; a table of each into `out`.

    What cannot be read is left out, and said so; a blank picture in `test` counts as wrong.

    Raises:
        InputError: a picture in `test` without a label, a part without pictures, or with none that can be read.
    """
    parts = [part for part in ("test", "check") if (folder / part).is_dir()]
    paths = {part: find_images([folder / part]) for part in parts}
    truths = [_truth(path, folder / "test", classifier.classes) for path in paths.get("test", [])]
    for part in parts:
        rows = [vars(classifier.read(path)).copy() for path in paths[part]]
        if part == "test":
            columns, summarize_rows = COLUMNS, _summarize_test
            for row, truth in zip(rows, truths, strict=True):
                row |= {"truth": truth, "right": row["label"] == truth}
        else:
            columns, summarize_rows = CHECK_COLUMNS, _summarize_check
            for row, path in zip(rows, paths[part], strict=True):
                row["part"] = path.relative_to(folder / part).parts[0] if path.parent != folder / part else ""
        read = [row for row in rows if not row["error"]]
        for row in rows:
            if row["error"]:
                print(f"left out: {row['error']}", file=sys.stderr)
        if not read:
            raise InputError(f"{folder / part}: none of its pictures can be read")
        write_csv(out / f"{part}.csv", columns, read)
        print(f"{folder / part}: {len(read)} pictures, into {out / part}.csv\n{summarize_rows(read)}\n")


def load_labeled(classifier, data: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Load labeled images as the classifier takes them.

    Args:
        classifier: which network it is for.
        data: `"mnist"`, a folder with MNIST-like files (see `load_mnist`), or one with a folder of pictures a class.

    Returns:
        A name an image, images as `Classifier.predict` takes them, labels int64 [N]. What cannot be read is left out,
        and said so.

    Raises:
        InputError: no such folder, a folder in it that is no class, or nothing to read.
    """
    from digits.data import image_files  # imports paddle

    folder = Path(data)
    if data == "mnist" or holds_mnist(folder):
        classifier.require_digits()
        images, labels = load_mnist("test", "" if data == "mnist" else folder)
        return [f"test/{i:05d}" for i in range(len(labels))], image_files.to_input(images)[:, 0], labels
    if not folder.is_dir():
        raise InputError(f"data '{data}': no such folder; 'mnist' stands for MNIST's test set")
    return image_files.load_labeled(folder, classifier.classes, classifier.input_shape)


def _truth(path, folder, classes):
    """The label of a picture: its class folder, or what its file name starts with, as 7.png or 7_mine.png."""
    first = path.relative_to(folder).parts[0]
    label = first if path.parent != folder else path.stem.partition("_")[0]
    if label not in classes:
        raise InputError(
            f"{path}: has no label; put it into a folder called after its class ({' '.join(classes)}), "
            f"or start its name with that, as in {classes[0]}_mine{path.suffix}"
        )
    return label


def _summarize_test(rows):
    wrong = [row for row in rows if not row["right"]]
    lines = [f"  accuracy {_part_of(len(rows) - len(wrong), rows)}{_trusted(rows)}"]
    trusted = [row for row in rows if row["trusted"]]
    if trusted:
        lines[0] += f", of these right {_part_of(sum(row['right'] for row in trusted), trusted)}"
    for row in wrong:
        said = f"read as {row['label']}" if row["label"] else "not read"
        doubt = f", {row['reason']}" if row["reason"] else ", and trusted" if row["trusted"] else ""
        lines.append(f"  {row['path']}: {said}{doubt}")
    return "\n".join(lines)


def _summarize_check(rows):
    lines = []
    for part in sorted({row["part"] for row in rows}):
        chosen = [row for row in rows if row["part"] == part]
        reasons = Counter(row["reason"] for row in chosen if row["reason"])
        refused = "".join(f", {count} {reason}" for reason, count in reasons.most_common())
        lines.append(f"  {part or '(no part)':12}{_trusted(chosen).removeprefix(',')}{refused}")
    return "\n".join(lines)


def _trusted(rows):
    if all(row["trusted"] is None or row["reason"] == BLANK for row in rows):
        return ", not calibrated"
    return f", trusted {_part_of(sum(bool(row['trusted']) for row in rows), rows)}"


def _part_of(count, rows):
    return f"{count} of {len(rows)} ({count / len(rows):.1%})"


def _parse(argv):
    parser = ArgumentParser(prog="evaluate.py", description=__doc__)
    add = parser.add_argument
    add(
        "data",
        nargs="?",
        default="mnist",
        metavar="DATA",
        help="mnist, a folder of class folders, or one with test/ and check/ in it [mnist]",
    )
    add("--checkpoint", type=Path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add("--csv", type=csv_file, metavar="FILE", help=f"write {','.join(COLUMNS)}, a row an image")
    add("--json", action="store_true", help="print the metrics as one JSON object")
    add("--show", type=int, metavar="N", help="show image number N, from 0, with its answer and truth, and stop")
    add("--out", type=output_folder, default="outputs", metavar="DIR", help="folder for plots and tables [outputs]")
    return parser.parse_args(argv)


if __name__ == "__main__":
    run(main)
