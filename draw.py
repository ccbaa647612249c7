"""Draw a digit with the mouse; the network's answer appears next to it while you draw.

python draw.py                                         the window; h shows the keys
python draw.py --checkpoint checkpoints/shipped/lenet  with other weights
"""

from digits.signals import end_on_interrupt

if __name__ == "__main__":
    end_on_interrupt()  # before the other imports, which take seconds

import os
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from digits.cli import ArgumentParser, InputError, run
from digits.files import user_path
from digits.runtime import DEVICES
from digits.signals import accept_termination, delay_termination
from digits.window.board import LABELED
from digits.window.display import check_display
from digits.window.drawings import painted
from digits.window.loading import load_classifier
from digits.window.teaching import LessonFailed, Teacher
from digits.window.window import Window

ROOT = Path(__file__).resolve().parent  # drawings are saved below it
PAUSE = 1.5  # seconds without the pen after which a drawing counts as finished


def draw(checkpoint: Path | None, device: str) -> None:
    """Open the window and run its loop until the user leaves; print every finished drawing.

    Raises:
        InputError: OpenCV cannot open a window, or the checkpoint or the device cannot be used.
        KeyboardInterrupt: Ctrl-C; `Terminated`: SIGTERM.
    """
    delay_termination()  # Paddle's handler would end the window with a C++ trace
    with ThreadPoolExecutor(1) as background, Teacher(ROOT, LABELED, device) as teacher:
        with Window(ROOT) as window:
            loading = background.submit(load_classifier, checkpoint, device)  # takes 2 s; drawing can begin
            while window.is_open:
                key = window.wait_for_key()
                window.handle_mouse_events()
                window.handle_key(key)
                if window.pause > PAUSE or not window.is_open:
                    window.finish_drawing()
                if loading.done():
                    accept_termination()
                    classifier = teacher.taught or loading.result()
                    window.read_drawing(classifier)
                    announce(window.finished, classifier)
                    attend(teacher, window, classifier)
                window.show()
        if window.finished:  # the user left before the network was loaded
            announce(window.finished, loading.result())


def attend(teacher: Teacher, window: Window, classifier) -> None:
    """Start or stop a lesson, if the user wants that, and show how far it is or what it has changed."""
    try:
        if window.wants_lesson:
            window.wants_lesson = False
            window.report(teacher.start_or_stop(classifier))
        if teacher.lesson_under_way:
            window.show_progress(teacher.lesson_under_way)
            if lesson := teacher.poll():
                window.report(lesson.describe(), lesson)
                print_line(f"[INFO] {lesson.describe()}")
    except LessonFailed as failure:
        window.report(str(failure))
        print(f"warning: {failure}", file=sys.stderr)


def announce(drawings: deque, classifier) -> None:
    """Read each finished drawing and print its digits; empties the queue."""
    while drawings:
        readings = classifier.read_figures(drawings.popleft())
        if readings:
            print_line(f"[INFO] User painted {painted(readings)}")


def print_line(line: str) -> None:
    """Print a line at once. If the reader of the output has gone, the window carries on without it."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: list[str] | None = None) -> None:
    parser = ArgumentParser(prog="draw.py", description=__doc__)
    parser.add_argument("--checkpoint", type=user_path, metavar="DIR", help="trained weights [the shipped ones]")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where to compute [auto: a GPU if Paddle can use one]"
    )
    args = parser.parse_args(argv)
    if args.checkpoint and not args.checkpoint.exists():
        raise InputError(f"checkpoint {args.checkpoint}: no such file or folder; python train.py makes one")
    check_display()
    draw(args.checkpoint, args.device)


if __name__ == "__main__":
    run(main)
