"""Two readers are compared on the images that only one of them reads right."""

import numpy as np
import pytest

from digitscan.evaluation.comparison import compare
from digitscan.evaluation.metrics import Answers


def answers(right):
    """Answers to images of a 1, of which those are right that are true here."""
    right = np.array(right)
    size = len(right)
    yes = np.ones(size, bool)
    return Answers(("",) * size, np.ones(size, int), np.where(right, 1, 7), np.ones(size), yes, yes)


def test_a_difference_that_two_equal_readers_would_hardly_have_is_no_chance():
    first = answers([True] * 31 + [False] * 9 + [True] * 60)
    second = answers([False] * 31 + [True] * 9 + [True] * 60)
    comparison = compare(first, second)
    assert comparison.describe() == "better on 31 images, worse on 9: not chance (p = 0.0007)"
    # The exact binomial probability of 9 or fewer of 40, and as many on the other side.
    assert comparison.p_value == pytest.approx(0.00068, abs=2e-5)
    assert compare(second, first).describe() == "better on 9 images, worse on 31: not chance (p = 0.0007)"


def test_a_small_difference_may_be_chance():
    assert compare(answers([True, True, False]), answers([False, True, True])).describe() == (
        "better on 1 image, worse on 1: may be chance (p = 1.0000)"
    )


def test_readers_without_a_difference_are_said_to_have_none():
    same = answers([True, False])
    assert compare(same, same).describe() == "right on the same images"
