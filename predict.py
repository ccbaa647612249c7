"""Read the digit in each picture, and say so where there is none or it is not sure.

python predict.py examples/7_scan.png              one picture: the digit and ten probabilities
python predict.py photos/ more.jpg --csv out.csv   folders are searched for pictures; a line each
python predict.py examples/7_scan.png --show       also draw what the network saw
"""

import json
import sys
from pathlib import Path

from atomic import csv_file, write_csv
from calibration import LOW_CONFIDENCE
from data import find_images
from errors import ArgumentParser, InputError, run
from preprocess import read_image
from runtime import DEVICES, tune_cpu

COLUMNS = ("path", "label", "confidence", "trusted", "error", "reason")


def main(argv: list[str] | None = None) -> None:
    args = _parse(argv)
    paths = find_images(args.paths)
    tune_cpu()
    from classifier import Classifier  # imports paddle, which takes longer than all the rest: not before it is needed

    classifier = Classifier(args.checkpoint, args.device)
    rows = classifier.predict_files(paths)
    if args.csv:
        write_csv(args.csv, COLUMNS, rows)
    if args.json:
        print(json.dumps([_as_json(row, classifier.classes) for row in rows], indent=2))
    elif len(rows) == 1:
        _print_one(rows[0], classifier.classes)
    else:
        width = max(len(row["path"]) for row in rows)
        for row in rows:
            if not row["error"]:
                print(f"{row['path']:{width}}  {_in_words(row)}")
    if args.show:
        stems = [Path(row["path"]).stem for row in rows]
        for number, (row, stem) in enumerate(zip(rows, stems, strict=True), 1):
            _show(row, classifier.classes, stem if stems.count(stem) == 1 else f"{stem}_{number}")
    errors = [row["error"] for row in rows if row["error"]]
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        raise InputError(errors[-1])


def _parse(argv):
    parser = ArgumentParser(prog="predict.py", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="pictures, or folders with pictures in them")
    add("--checkpoint", type=Path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add("--csv", type=csv_file, metavar="FILE", help=f"write {','.join(COLUMNS)}")
    add("--json", action="store_true", help="print a JSON list instead, with all probabilities")
    add("--show", action="store_true", help="draw each prediction into outputs/")
    return parser.parse_args(argv)


def _print_one(row, classes):
    if row["error"]:
        return
    print(f"{row['path']}: {_in_words(row)}")
    if row["probs"] is None:
        return
    print()
    for name, prob in zip(classes, row["probs"], strict=True):
        print(f"  {name}  {prob:8.4%}  {'#' * round(40 * prob)}".rstrip())


def _in_words(row):
    """`7, 98.97% sure`; `7?, 61.20% sure: low confidence`; `not a digit; the nearest is 7, 41.02%`; `blank`."""
    if row["label"] is None:
        return row["reason"]
    if row["reason"] in (None, LOW_CONFIDENCE):
        doubt, why = ("?", f": {row['reason']}") if row["reason"] else ("", "")
        return f"{row['label']}{doubt}, {row['confidence']:.2%} sure{why}"
    return f"{row['reason']}; the nearest is {row['label']}, {row['confidence']:.2%}"


def _as_json(row, classes):
    probs = row["probs"] if row["probs"] is None else dict(zip(classes, row["probs"].tolist(), strict=True))
    return {name: row[name] for name in COLUMNS} | {"probs": probs}


def _show(row, classes, name):
    if row["seen"] is None:
        return
    import plots  # matplotlib, for --show only

    picture = read_image(row["path"])
    picture = picture[:, :, [2, 1, 0, *range(3, picture.shape[2])]] if picture.ndim == 3 else picture
    figure = plots.prediction(picture, row["seen"], row["probs"], classes, _in_words(row))
    path = Path("outputs") / f"{name}_prediction.png"
    plots.save(figure, path)
    print(f"drawn into {path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
