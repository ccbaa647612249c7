"""Read any number of mutated files and print a table by format; exit status 1 if one was not handled well.

python -m tests.fuzz 20000 --seed 1
python -m tests.fuzz 500 --formats PNG TIFF --workers 1
python -m tests.fuzz --show PNG 17 --seed 1 > broken.png     write one of the files

Every file must be read or refused with one line, in at most 5 s and 1 GiB.
"""

import argparse
import sys
import time
from collections import Counter

from tests.fuzz.cases import Result, case
from tests.fuzz.seeds import FORMATS
from tests.fuzz.workers import run


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", nargs="?", type=int, default=2000, help="number of files [2000]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS), metavar="FORMAT")
    parser.add_argument("--workers", type=int, default=2, help="processes [2]")
    parser.add_argument("--show", nargs=2, metavar=("FORMAT", "NUMBER"), help="write this file to stdout")
    args = parser.parse_args()
    if args.show:
        sys.stdout.buffer.write(case(args.show[0], int(args.show[1]), args.seed)[1])
        return
    started = time.perf_counter()
    kinds = args.formats
    todo = [(kinds[index % len(kinds)], index // len(kinds)) for index in range(args.count)]
    results = run(todo, args.seed, args.workers)
    print_table(results, kinds)
    failed = [result for result in results if result.failure]
    print(f"\n{len(results):,} files, {len(failed)} failures, seed {args.seed}, {time.perf_counter() - started:,.0f} s")
    for failure, count in Counter((result.kind, result.failure) for result in failed).most_common():
        number = next(result.number for result in failed if (result.kind, result.failure) == failure)
        print(f"{count:5} {failure[0]}: {failure[1]}; the first is --show '{failure[0]}' {number}")
    sys.exit(bool(failed))


def print_table(results: list[Result], kinds: list[str]) -> None:
    """Print one row per format as a Markdown table."""
    print("| format | tried | read | refused with one line | failed | slowest, s | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    for kind in [*kinds, "all"]:
        rows = [result for result in results if kind in (result.kind, "all")]
        if not rows:
            continue
        refused = sum(result.refusal is not None for result in rows)
        failed = sum(result.failure is not None for result in rows)
        cells = (kind, len(rows), len(rows) - refused - failed, refused, failed)
        slowest, peak = max(result.seconds for result in rows), max(result.memory for result in rows)
        numbers = " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells)
        print(f"| {numbers} | {slowest:.2f} | {peak / 2**20:,.0f} |")


if __name__ == "__main__":
    main()
