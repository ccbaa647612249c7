"""Pictures of no digit: in MNIST's form, of many kinds, and decided by the generator alone."""

import numpy as np

from digits.data.non_digits import make_non_digits


def made(mnist_train, count, seed=0):
    return make_non_digits(mnist_train[0][:500], mnist_train[1][:500], count, np.random.default_rng(seed))


def test_the_generator_decides_everything_and_the_digits_stay_as_they_are(mnist_train):
    before = mnist_train[0][:500].copy()
    first, second, other = (made(mnist_train, 60, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(mnist_train[0][:500], before)


def test_they_have_the_form_of_mnist_and_hardly_two_are_alike(mnist_train):
    images = made(mnist_train, 400)
    assert images.shape == (400, 28, 28)
    assert images.dtype == np.uint8
    drawn = [image for image in images if np.ptp(image)]  # some are empty, on purpose
    assert len({image.tobytes() for image in drawn}) > 380
    assert np.median([image.max() for image in drawn]) == 255


def test_none_is_a_digit_of_the_set(mnist_train):
    digits = {image.tobytes() for image in mnist_train[0][:500]}
    assert not digits & {image.tobytes() for image in made(mnist_train, 400)}


def test_a_set_without_some_digits_will_do(mnist_train):
    ones = mnist_train[1] == 1
    images = make_non_digits(mnist_train[0][ones], mnist_train[1][ones], 100, np.random.default_rng(0))
    assert len(images) == 100
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in mnist_train[0][ones]}
    assert make_non_digits(mnist_train[0][ones], mnist_train[1][ones], 0, np.random.default_rng(0)).shape == (0, 28, 28)
