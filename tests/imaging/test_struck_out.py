"""A straight, slanted stroke through a digit is found; the strokes of digits are not taken for one."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.segment import MAY_BE_STRUCK_OUT
from digitscan.imaging.struck_out import is_struck_out


def draw(*strokes, thickness=4):
    """Return a sheet of 100x120 with strokes, each a list of points (x, y), dark on light."""
    sheet = np.full((100, 120), 235, np.uint8)
    for stroke in strokes:
        cv2.polylines(sheet, [np.array(stroke, np.int32)], False, 30, thickness, cv2.LINE_AA)
    return sheet


FIVE = ([(74, 28), (50, 28), (47, 48), (66, 47), (72, 60), (62, 74), (45, 72)],)
FOUR = ([(55, 25), (42, 60), (80, 55)], [(70, 35), (62, 80)])
SEVEN = ([(42, 30), (78, 28), (55, 75)], [(48, 55), (75, 50)])
TWO = ([(45, 38), (60, 28), (70, 40), (42, 72), (85, 68)],)
LYING_ONE = ([(20, 70), (100, 40)],)


@pytest.mark.parametrize("slash", [[(22, 72), (98, 30)], [(25, 66), (100, 36)], [(24, 32), (98, 68)]])
def test_a_digit_with_a_slash_through_it_needs_review(slash):
    result = preprocess(draw(*FIVE, slash))
    assert MAY_BE_STRUCK_OUT in result.notes
    assert result.needs_review


@pytest.mark.parametrize("strokes", [FIVE, FOUR, SEVEN, TWO, LYING_ONE])
def test_a_digit_is_not_struck_out_by_its_own_strokes(strokes):
    assert MAY_BE_STRUCK_OUT not in preprocess(draw(*strokes)).notes


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 13), (12, 14), (30, 90)])
def test_a_full_or_thin_mask_is_not_struck_out(shape):
    assert not is_struck_out(np.full(shape, 255, np.uint8))
