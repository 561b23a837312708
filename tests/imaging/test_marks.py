"""What is beside, round or below a digit is left out; what may belong to the answer is said and reviewed."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.preprocess import list_candidates, preprocess
from tests.imaging.drawing import (
    INK,
    PAPER,
    compare,
    cut_to_ink,
    draw_ellipse,
    draw_line,
    draw_strokes,
    load_digit,
    make_paper,
    preprocess_digit,
    write,
)
from tests.support.pictures import correlate

SIZES = [40, 64, 100, 200, 400]
DIGITS = [(0, 1), (2, 0), (3, 1), (4, 0), (6, 0), (7, 0), (8, 0), (9, 1)]
"""Digits and indices of MNIST's training images."""


def write_digit(size, label, index, width=None):
    """Return a page of this height with a digit in the middle, and the columns at which the digit ends."""
    digit = load_digit(label, index, round(0.6 * size))
    page = write(make_paper(size, width or size), digit)
    left = (page.shape[1] - digit.shape[1]) // 2
    return page, left, left + digit.shape[1]


def draw_neighbour(page, label, side):
    """Return the page with a digit of which an edge leaves an eighth of the page."""
    height, width = page.shape
    digit = load_digit(label, 3, round(0.6 * height))
    digit_height, digit_width = digit.shape
    visible = round(0.12 * height)
    top, left = (height - digit_height) // 2 + 2, (width - digit_width) // 2
    places = {
        "left": (top, visible - digit_width),
        "right": (top, width - visible),
        "top": (visible - digit_height, left),
        "bottom": (height - visible, left),
    }
    return write(page, digit, *places[side])


@pytest.mark.parametrize("is_light", [False, True], ids=["dark on light", "light on dark"])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
@pytest.mark.parametrize("size", SIZES)
def test_a_neighbour_that_an_edge_cuts_is_left_out(size, side, is_light):
    for label, index in DIGITS:
        plain, _, _ = write_digit(size, label, index)
        page = draw_neighbour(plain, 4, side)
        if is_light:
            page = 255 - page
        result = preprocess_digit(page)
        assert "neighbour left out" in result.notes
        assert not result.needs_review
        assert compare(page, plain) > 0.95


def test_neighbours_that_edges_cut_on_both_sides_are_left_out():
    plain, _, _ = write_digit(100, 3, 1)
    page = draw_neighbour(draw_neighbour(plain, 8, "left"), 5, "right")
    assert preprocess_digit(page).notes == ("neighbour left out",)
    assert compare(page, plain) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_a_slanted_neighbour_is_left_out_though_its_box_meets_the_digits(size):
    """Handwriting leans to the right: an upright line does not separate digits, a slanted one does."""
    height = round(0.6 * size)
    slant = cv2.warpAffine(
        draw_strokes("1", height, size // 12),
        np.array([[1.0, -0.5, 0.5 * height], [0, 1, 0]]),
        (height, height),
    )
    one = cut_to_ink(slant)
    plain = write(make_paper(size), one)
    left, width = (size - one.shape[1]) // 2, one.shape[1]
    neighbour_left = round(left + 0.75 * width)
    page = write(plain, one, left=neighbour_left)
    page = page[:, : neighbour_left + round(0.7 * width)]
    assert neighbour_left < left + width
    result = preprocess_digit(page)
    assert "neighbour left out" in result.notes
    assert correlate(result.pixels, preprocess_digit(plain).pixels) > 0.95


@pytest.mark.parametrize("size", [100, 200])
@pytest.mark.parametrize("offset", [0, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("is_stacked", [False, True], ids=["side by side", "stacked"])
def test_a_whole_second_digit_is_no_neighbour_though_it_touches_the_edge(size, offset, is_stacked):
    """Two fives, of which the second touches the edge and the first is nearer to the middle."""
    five = draw_strokes("5", round(0.4 * size), size // 14)
    height, width = five.shape
    top, left = (
        ((size - height) // 2, size - width) if not is_stacked else (size - height, (size - width) // 2)
    )
    first_top, first_left = (top, round(offset * size)) if not is_stacked else (round(offset * size), left)
    page = write(write(make_paper(size), five, first_top, first_left), five, top, left)
    assert preprocess(page).rejection == "several digits"


@pytest.mark.parametrize("size", SIZES)
def test_a_point_is_said_and_reviewed(size):
    for label, index in DIGITS:
        plain, left, _ = write_digit(size, label, index, width=round(1.3 * size))
        page = plain.copy()
        radius = max(2, round(0.05 * size))
        cv2.circle(page, (left - round(0.1 * size) - 1, round(0.76 * size)), radius, INK, -1, cv2.LINE_AA)
        result = preprocess_digit(page)
        assert "point left out" in result.notes
        assert result.needs_review
        assert compare(page, plain) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_a_minus_is_said_and_reviewed(size):
    for label, index in DIGITS:
        plain, left, _ = write_digit(size, label, index, width=round(1.4 * size))
        y, thickness = size // 2, max(2, round(0.05 * size))
        page = draw_line(plain, (left - 0.25 * size, y), (left - 0.12 * size, y), thickness, INK)
        result = preprocess_digit(page)
        assert "minus left out" in result.notes
        assert result.needs_review
        assert compare(page, plain) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_a_small_second_digit_is_said_and_reviewed(size):
    for label, index in DIGITS:
        plain, _, right = write_digit(size, label, index, width=round(1.5 * size))
        small = load_digit(2, 1, round(0.24 * size))
        page = write(plain, small, round(0.15 * size), right + round(0.1 * size))
        result = preprocess_digit(page)
        assert "second digit left out" in result.notes
        assert result.needs_review
        assert compare(page, plain) > 0.9


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("drop", [0, 0.03], ids=["level", "tilted"])
def test_an_underline_is_left_out(size, drop):
    thickness = max(1, round(0.03 * size))
    for label, index in DIGITS:
        plain, left, right = write_digit(size, label, index)
        for y in (0.88, 0.95):
            start, end = (left - 2, y * size), (right + 2, (y - drop) * size)
            page = draw_line(plain, start, end, thickness, INK)
            assert preprocess_digit(page).notes == ("line removed",)
            assert compare(page, plain) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_a_circle_round_the_digit_is_left_out(size):
    for label, index in DIGITS:
        plain = write(make_paper(size), load_digit(label, index, round(0.5 * size)))
        for tone in (INK, 120):
            circle = draw_ellipse(np.full_like(plain, PAPER), max(1, size // 20), max(1, size // 40))
            page = np.minimum(plain, np.where(circle < 200, tone, PAPER).astype(np.uint8))
            assert preprocess_digit(page).notes == ("box removed",)
            assert compare(page, plain) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_a_blot_in_a_zero_does_not_make_a_frame_of_it(size):
    zero = draw_ellipse(make_paper(size), size // 5, max(2, size // 12))
    page = zero.copy()
    cv2.circle(page, (size // 2, size // 2), size // 18, INK, -1, cv2.LINE_AA)
    result = preprocess_digit(page)
    assert "box removed" not in result.notes
    ring = preprocess_digit(zero).pixels > 128
    assert (result.pixels[ring] > 64).mean() > 0.9


@pytest.mark.parametrize("size", [28, 40, 100, 400])
@pytest.mark.parametrize("margin", [0, 2, 0.2], ids=["tight", "two pixels", "wide"])
def test_a_five_whose_bar_stands_apart_is_one_digit(size, margin):
    five = draw_strokes("broken 5", size, max(2, size // 12))
    assert cv2.connectedComponents((five > 127).astype(np.uint8))[0] == 3
    pad = round(margin * size) if margin < 1 else margin
    page = 255 - np.pad(five, pad)
    result = preprocess_digit(page)
    assert not result.needs_review
    expected = preprocess_digit(255 - np.pad(five, size // 4)).pixels
    assert correlate(result.pixels, expected) > 0.9
    assert (result.pixels[4:7] > 128).sum() > 8  # the bar


@pytest.mark.parametrize("size", [40, 100, 400])
@pytest.mark.parametrize("margin", [0, 1, 2])
def test_in_a_tight_crop_an_open_four_is_read_whole_first(size, margin):
    """Its right stroke may be a neighbour that the edge cuts: that is the second reading at most."""
    four = draw_strokes("open 4", size, max(2, size // 12))
    expected = preprocess_digit(255 - np.pad(four, size // 4)).pixels
    first, *others = list_candidates(preprocess_digit(255 - np.pad(four, margin)))
    assert correlate(first.pixels, expected) > 0.9
    assert len(others) <= 1
