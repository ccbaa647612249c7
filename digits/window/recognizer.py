"""The network in a process of its own, so that the window stays quick while Paddle loads and computes."""

import contextlib
import multiprocessing
import signal
from pathlib import Path

import numpy as np

from digits.cli import InputError, RunError
from digits.evaluation.reading import Reading
from digits.runtime import tune_cpu


class Recognizer:
    """Answers images in a process of its own, one at a time.

    In a thread, importing Paddle would hold the window for half a second, and the mouse with it.

    Attributes:
        classes: the class names; None while the model loads.
        is_idle: whether it can take an image.
    """

    def __init__(self, checkpoint: Path | None, device: str):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs, checkpoint, device), daemon=True)
        heeded = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is the window's to heed
        self._process.start()
        signal.signal(signal.SIGINT, heeded)
        theirs.close()
        self.classes: list[str] | None = None
        self.is_idle = False

    def send(self, image: np.ndarray) -> None:
        """Give it an image, uint8 [H, W] with bright ink."""
        self.is_idle = False
        with _ending_said():
            self._pipe.send(image)

    def close(self) -> None:
        """End its process. Paddle would report a milder signal as a crash."""
        self._process.kill()
        self._process.join()

    def poll(self, seconds: float = 0) -> list[Reading] | None:
        """The digits of the image sent, or None if they are not there yet.

        Raises:
            InputError, RunError: the model cannot be loaded, or its process ended.
        """
        with _ending_said():
            if self.is_idle or not self._pipe.poll(seconds):
                return None
            message = self._pipe.recv()
        if isinstance(message, Exception):
            raise message
        self.is_idle = True
        if self.classes is None:
            self.classes = message
            return None
        return message


@contextlib.contextmanager
def _ending_said():
    try:
        yield
    except (EOFError, OSError):
        raise RunError("the process that reads the digits has ended; start again") from None


def _answer(pipe, checkpoint, device):
    """What that process does: say the class names, then answer each image, until the window closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited, on Windows
    try:
        tune_cpu()
        from digits.evaluation.classifier import Classifier  # imports paddle

        classifier = Classifier(checkpoint, device)
        classifier.require_digits()
        classifier.predict(np.zeros((1, 28, 28), np.float32))  # the first takes longer
        pipe.send(classifier.classes)
        while True:
            pipe.send(classifier.read_figures(pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the window has closed
        return
    except (InputError, RunError, OSError) as error:
        with contextlib.suppress(OSError):
            pipe.send(error)
