"""A varied line still shows the same writing, in the height of a line."""

import numpy as np
import pytest

from digitscan.imaging.line_image import LINE_HEIGHT, STEP_WIDTH
from digitscan.training.data.line_variation import MAX_STRETCH, MIN_STRETCH, vary_line


@pytest.fixture
def line():
    pixels = np.zeros((LINE_HEIGHT, 80), np.uint8)
    pixels[6:26, 20:24] = pixels[6:26, 50:54] = 255
    return pixels


def count_bars(pixels):
    is_ink = np.concatenate([[False], pixels[LINE_HEIGHT // 2] > 100])
    return int((is_ink[1:] & ~is_ink[:-1]).sum())


def test_the_writing_and_the_format_stay(line):
    before = line.copy()
    for seed in range(50):
        varied = vary_line(line, np.random.default_rng(seed))
        assert varied.dtype == np.uint8
        assert varied.shape[0] == LINE_HEIGHT
        assert varied.shape[1] % STEP_WIDTH == 0
        assert MIN_STRETCH * 80 <= varied.shape[1] <= MAX_STRETCH * 80 + STEP_WIDTH
        assert count_bars(varied) == 2
    assert np.array_equal(line, before)


def test_variations_differ_and_follow_from_the_seed(line):
    one, same, other = (vary_line(line, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert one.shape != other.shape or not np.array_equal(one, other)


def test_the_narrowest_line_is_varied_too():
    assert vary_line(np.full((LINE_HEIGHT, STEP_WIDTH), 9, np.uint8), np.random.default_rng(3)).size
