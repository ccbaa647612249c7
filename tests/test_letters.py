"""Letters drawn from stroke templates: of many forms, decided by the generator alone, and not cut off."""

import numpy as np

from digits.data.letters import draw_letters


def test_the_generator_decides_everything():
    first, second, other = (draw_letters(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert draw_letters(0, np.random.default_rng(0)).shape == (0, 56, 56)


def test_letters_are_different_bright_and_not_cut_off():
    letters = draw_letters(300, np.random.default_rng(0))
    assert letters.shape == (300, 56, 56)
    assert letters.dtype == np.uint8
    assert len({letter.tobytes() for letter in letters}) == 300
    assert all(letter.max() > 200 for letter in letters)
    border = np.concatenate([letters[:, 0], letters[:, -1], letters[:, :, 0], letters[:, :, -1]], 1)
    assert (border.max(1) < 100).mean() > 0.97
