"""Read the digit in each picture, or tell which class a photo is of, and say so where there is none or it is not sure.

python predict.py examples/7_scan.png              one picture: the digit and ten probabilities
python predict.py photos/ more.jpg --csv out.csv   folders are searched for pictures; a line each
python predict.py examples/7_scan.png --show       also draw what the network saw
python predict.py docs/page.jpg --many             several digits in a picture: each, in reading order
python predict.py photo.jpg --checkpoint checkpoints/photo_cnn     a network for photos, with its own classes
"""

import json
import sys
from pathlib import Path

from digits.cli import ArgumentParser, InputError, run
from digits.data.mnist import find_images
from digits.evaluation.calibration import BLANK, LOW_CONFIDENCE
from digits.files import csv_file, write_csv
from digits.imaging.reading import read_image
from digits.runtime import DEVICES, tune_cpu

COLUMNS = ("path", "label", "confidence", "trusted", "error", "reason")
_SHOWN = 12  # classes of which the probability is printed, the most probable ones
MANY_COLUMNS = (*COLUMNS, "line", "x", "y", "width", "height")


def main(argv: list[str] | None = None) -> None:
    args = _parse(argv)
    paths = find_images(args.paths)
    tune_cpu()
    from digits.evaluation.classifier import (
        Classifier,  # imports paddle, which takes longer than all the rest: not before it is needed
    )

    classifier = Classifier(args.checkpoint, args.device)
    rows = (_predict_many if args.many else _predict_single)(classifier, paths, args)
    errors = [row["error"] for row in rows if row["error"]]
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        raise InputError(errors[-1])


def _predict_single(classifier, paths, args):
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
        for row, name in zip(rows, _names(rows), strict=True):
            _show(row, classifier.classes, name)
    return rows


def _predict_many(classifier, paths, args):
    pages = classifier.predict_pages(paths)
    if args.csv:
        write_csv(args.csv, MANY_COLUMNS, [row for page in pages for row in _figure_rows(page)])
    if args.json:
        as_json = [
            page | {"figures": [figure | _named_probs(figure, classifier.classes) for figure in page["figures"]]}
            for page in pages
        ]
        print(json.dumps(as_json, indent=2))
    else:
        for page in pages:
            if not page["error"]:
                print(f"{page['path']}:{_in_lines(page['figures'])}")
    if args.show:
        for page, name in zip(pages, _names(pages), strict=True):
            if page["figures"]:
                _show_page(page, name)
    return pages


def _parse(argv):
    parser = ArgumentParser(prog="predict.py", description=__doc__)
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="pictures, or folders with pictures in them")
    add("--checkpoint", type=Path, metavar="DIR", help="trained weights [the shipped ones]")
    add("--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]")
    add(
        "--csv",
        type=csv_file,
        metavar="FILE",
        help=f"write {','.join(COLUMNS)}; with --many also {','.join(MANY_COLUMNS[len(COLUMNS) :])}",
    )
    add("--json", action="store_true", help="print a JSON list instead, with all probabilities")
    add("--many", action="store_true", help="read every digit in a picture, line by line")
    add("--show", action="store_true", help="draw each prediction into outputs/")
    return parser.parse_args(argv)


def _print_one(row, classes):
    if row["error"]:
        return
    print(f"{row['path']}: {_in_words(row)}")
    if row["probs"] is None:
        return
    print()
    width = max(map(len, classes))
    shown = list(zip(classes, row["probs"], strict=True))
    if len(shown) > _SHOWN:
        shown = sorted(shown, key=lambda pair: -pair[1])[:_SHOWN]
    for name, prob in shown:
        print(f"  {name:{width}}  {prob:8.4%}  {'#' * round(40 * prob)}".rstrip())


def _in_words(row):
    """`7, 98.97% sure`; `7?, 61.20% sure: low confidence`; `not a digit; the nearest is 7, 41.02%`; `blank`."""
    if row["label"] is None:
        return row["reason"]
    if row["reason"] in (None, LOW_CONFIDENCE):
        doubt, why = ("?", f": {row['reason']}") if row["reason"] else ("", "")
        return f"{row['label']}{doubt}, {row['confidence']:.2%} sure{why}"
    return f"{row['reason']}; the nearest is {row['label']}, {row['confidence']:.2%}"


def _in_lines(figures):
    """`" 9 0 2 1 0"`; several lines indented below each other; `7?` for a doubtful digit, `-` for what is none."""
    if not figures:
        return f" {BLANK}"
    lines = [[] for _ in range(1 + figures[-1]["line"])]
    for figure in figures:
        lines[figure["line"]].append(_mark(figure))
    return "".join(("\n  " if len(lines) > 1 else " ") + " ".join(line) for line in lines)


def _mark(figure):
    if figure["reason"] is None:
        return figure["label"]
    return f"{figure['label']}?" if figure["reason"] == LOW_CONFIDENCE else "-"


def _figure_rows(page):
    """Rows of `MANY_COLUMNS`: one a figure, and one for a picture without."""
    if not page["figures"]:
        blank = {} if page["error"] else {"trusted": False, "reason": BLANK}
        return [{"path": page["path"], "error": page["error"]} | blank]
    sides = ("x", "y", "width", "height")
    return [
        figure | {"path": page["path"]} | dict(zip(sides, figure["box"], strict=True)) for figure in page["figures"]
    ]


def _as_json(row, classes):
    return {name: row[name] for name in COLUMNS} | _named_probs(row, classes)


def _named_probs(row, classes):
    return {"probs": row["probs"] if row["probs"] is None else dict(zip(classes, row["probs"].tolist(), strict=True))}


def _names(rows):
    """A name a picture for what is drawn: its own, numbered if several are called so."""
    stems = [Path(row["path"]).stem for row in rows]
    return [stem if stems.count(stem) == 1 else f"{stem}_{number}" for number, stem in enumerate(stems, 1)]


def _show(row, classes, name):
    if row["seen"] is None:
        return
    from digits.evaluation import plots  # matplotlib, for --show only

    _save(
        plots.prediction(_read_rgb(row), row["seen"], row["probs"], classes, _in_words(row)), f"{name}_prediction.png"
    )


def _show_page(page, name):
    from digits.evaluation import plots

    marks = [_mark(figure) for figure in page["figures"]]
    boxes = [figure["box"] for figure in page["figures"]]
    _save(plots.page(_read_rgb(page), boxes, marks), f"{name}_digits.png")


def _read_rgb(row):
    picture = read_image(row["path"])
    return picture[:, :, [2, 1, 0, *range(3, picture.shape[2])]] if picture.ndim == 3 else picture


def _save(figure, name):
    from digits.evaluation import plots

    path = Path("outputs") / name
    plots.save(figure, path)
    print(f"drawn into {path}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
