"""Images that are not digits: in MNIST format, of many kinds, and decided by the generator alone."""

import numpy as np

from digits.data.non_digits import make_non_digits


def make(mnist_train, count, seed=0):
    return make_non_digits(mnist_train[0][:500], mnist_train[1][:500], count, np.random.default_rng(seed))


def test_the_generator_decides_everything_and_the_digits_are_not_modified(mnist_train):
    before = mnist_train[0][:500].copy()
    first, second, other = (make(mnist_train, 60, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(mnist_train[0][:500], before)


def test_images_are_in_mnists_form_and_almost_all_different(mnist_train):
    images = make(mnist_train, 400)
    assert images.shape == (400, 28, 28)
    assert images.dtype == np.uint8
    drawn = [image for image in images if np.ptp(image)]  # some are uniform, on purpose
    assert len({image.tobytes() for image in drawn}) > 380
    assert np.median([image.max() for image in drawn]) == 255


def test_no_image_is_a_digit_of_the_dataset(mnist_train):
    digits = {image.tobytes() for image in mnist_train[0][:500]}
    assert not digits & {image.tobytes() for image in make(mnist_train, 400)}


def test_a_dataset_may_lack_some_digits(mnist_train):
    ones = mnist_train[1] == 1
    images = make_non_digits(mnist_train[0][ones], mnist_train[1][ones], 100, np.random.default_rng(0))
    assert len(images) == 100
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in mnist_train[0][ones]}
    assert make_non_digits(mnist_train[0][ones], mnist_train[1][ones], 0, np.random.default_rng(0)).shape == (0, 28, 28)
