"""Labeled images to evaluate a classifier on: MNIST's test set, files in its format, or class folders."""

from pathlib import Path

import numpy as np

from digits.cli import InputError
from digits.data.folders import list_classes
from digits.data.image_files import ImageFiles, read_image_files
from digits.data.mnist import holds_mnist, load_mnist, load_pictures, to_input
from digits.evaluation.classifier import Classifier

_CACHE_BYTES = 512 * 10**6  # memory for decoded photos


def load_labeled(classifier: Classifier, data: str) -> tuple[list[str], np.ndarray | ImageFiles, np.ndarray]:
    """Load labeled images as the classifier takes them; skip unreadable pictures, and name them on stderr.

    Args:
        classifier: the classifier to evaluate.
        data: `"mnist"`, a folder with files that `load_mnist` reads, or a folder with one folder of pictures per class.

    Returns:
        The name of each image, images as `Classifier.predict` takes them, and labels int64 [N].

    Raises:
        InputError: the folder does not exist, has a subfolder that is not a class, or has no readable picture.
    """
    folder = Path(data)
    if data == "mnist" or holds_mnist(folder):
        classifier.require_digits()
        images, labels = load_mnist("test", "" if data == "mnist" else folder)
        return [f"test/{number:05d}" for number in range(len(labels))], to_input(images)[:, 0], labels
    if not folder.is_dir():
        raise InputError(f"data '{data}': no such folder; 'mnist' stands for MNIST's test set")
    if classifier.takes_digits:
        return load_pictures(folder, classifier.classes)
    paths, labels = list_classes(folder, classifier.classes)
    photos, labels = read_image_files(paths, labels, classifier.input_shape, _CACHE_BYTES, keep_all=True)
    return [str(path) for path in photos.paths], photos, labels
