"""Load Paddle and the network in a background thread, without holding up the window."""

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

import numpy as np

from digits.runtime import tune_cpu


def load_classifier(checkpoint: Path | None, device: str):
    """Import Paddle, load the weights and run the network once; return the `Classifier`.

    Raises:
        InputError: the checkpoint or the device cannot be used, or the network does not read digits.
    """
    tune_cpu()
    _load_paddle_library()
    from digits.evaluation.classifier import Classifier  # imports paddle

    classifier = Classifier(checkpoint, device)
    classifier.require_digits()
    classifier.predict(np.zeros((1, 28, 28), np.float32))  # the first prediction is slower
    return classifier


def _load_paddle_library():
    """Load libpaddle, 0.3 s, without Python's global lock.

    `import paddle` loads it too, but holds the lock meanwhile, and the mouse would lose points of a stroke. A foreign
    function called through ctypes releases the lock; the import then finds the library in memory.
    """
    if sys.platform == "win32":
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype = ctypes.c_void_p
    package = Path(importlib.util.find_spec("paddle").origin).parent
    for library in package.glob("base/libpaddle*.so"):
        dlopen(os.fsencode(library), os.RTLD_NOW)
