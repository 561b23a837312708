"""The known digits and lines that a model is compiled with."""

from __future__ import annotations

import numpy as np

from digitscan.model.known_images import (
    LINE_COUNT,
    LINE_WIDTH,
    compose_known_lines,
    load_calibration_lines,
    load_known_digits,
)


def test_known_lines_hold_several_digits_each_with_its_ink_and_are_always_the_same() -> None:
    lines, numbers = compose_known_lines()
    assert (lines.shape, lines.dtype) == ((LINE_COUNT, 32, LINE_WIDTH), np.uint8)
    assert len(numbers) == LINE_COUNT
    assert all(3 <= len(number) <= 16 and number.isdecimal() for number in numbers)
    assert set("".join(numbers)) == set("0123456789")
    again, numbers_again = compose_known_lines()
    assert np.array_equal(lines, again) and numbers == numbers_again


def test_a_line_shows_as_many_digits_as_its_number_has() -> None:
    """Of lines whose digits are apart, each run of columns with ink is one digit."""
    lines, numbers = compose_known_lines()
    run_counts = [(np.diff((line > 0).any(axis=0).astype(int), prepend=0) == 1).sum() for line in lines]
    is_one_each = [count == len(number) for count, number in zip(run_counts, numbers, strict=True)]
    assert np.mean(is_one_each) > 0.3
    assert all(count <= len(number) for count, number in zip(run_counts, numbers, strict=True))


def test_calibration_lines_fill_the_range_of_the_input() -> None:
    images = load_calibration_lines()
    assert (images.shape, images.dtype) == ((LINE_COUNT, 32, LINE_WIDTH, 1), np.float32)
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_known_digits_have_labels() -> None:
    images, labels = load_known_digits()
    assert images.shape == (500, 28, 28) and set(labels.tolist()) == set(range(10))
