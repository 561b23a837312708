"""The digit's components are kept; specks, form lines and neighbours are left out."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.segment import Segmentation, segment_digit
from tests.support.pictures import draw_five


def segment_all(image):
    mask = np.where(image > 127, 255, 0).astype(np.uint8)
    return segment_digit(image, mask, cv2.boundingRect(mask))


def segment(image):
    """Return the only result for an image in which it is plain what is the digit."""
    (segmentation,) = segment_all(image)
    return segmentation


def count_components(image):
    return cv2.connectedComponents((image > 127).astype(np.uint8))[0] - 1


def test_no_ink_is_blank():
    assert segment(np.zeros((30, 30), np.uint8)).rejection == "blank"


def test_a_digit_of_one_component_is_cut_out():
    image = np.zeros((40, 50), np.uint8)
    image[5:30, 12:20] = 200
    digit, rejection, notes, needs_review = segment(image)
    assert (rejection, notes, needs_review) == (None, (), False)
    assert (digit.top, digit.left, digit.ink.shape) == (5, 12, (25, 8))
    assert (digit.ink == 200).all()


def test_specks_are_left_out_without_a_note():
    page = draw_five()
    page[5:7, 5:7] = page[30, 90] = 255
    digit, rejection, notes, _ = segment(page)
    assert (rejection, notes) == (None, ())
    assert np.array_equal(digit.ink, segment(draw_five()).digit.ink)


def test_in_a_small_image_every_component_may_be_a_part_of_the_digit():
    image = np.zeros((28, 28), np.uint8)
    image[4:12, 10:14] = image[14:15, 10:12] = 255
    assert segment(image).digit.ink.shape == (11, 4)


@pytest.mark.parametrize(
    "line", [np.s_[97:99], np.s_[:2], np.s_[:, :2], np.s_[:, 98:]], ids=["low", "top", "left", "right"]
)
def test_a_form_line_is_left_out_with_a_note(line):
    page = draw_five()
    page[line] = 255
    digit, rejection, notes, _ = segment(page)
    assert (rejection, notes) == (None, ("line removed",))
    assert np.array_equal(digit.ink, segment(draw_five()).digit.ink)


@pytest.mark.parametrize("lines", [[np.s_[50:53]], [np.s_[10:12], np.s_[80:82]]], ids=["one", "two"])
def test_form_lines_alone_are_an_empty_field(lines):
    page = np.zeros((100, 100), np.uint8)
    for line in lines:
        page[line] = 255
    assert segment(page) == Segmentation(None, "empty field", ("line removed",))


def test_a_grid_that_reaches_three_edges_is_left_out():
    page = np.zeros((100, 100), np.uint8)
    page[10:12, :] = page[:, 10:12] = 255
    page[30:80, 40:60] = 255
    digit, _, notes, _ = segment(page)
    assert (digit.ink.shape, notes) == ((50, 20), ("line removed",))


def test_a_vertical_stroke_in_the_middle_is_a_one():
    page = np.zeros((100, 100), np.uint8)
    page[2:98, 50:54] = 255
    assert segment(page).rejection is None


def test_the_bar_of_a_five_that_is_apart_is_kept():
    broken = draw_five()
    broken[26:30] = 0
    assert count_components(broken) == 2
    assert segment(broken).digit.ink.shape == segment(draw_five()).digit.ink.shape


def test_a_stroke_broken_into_dashes_is_kept_whole():
    ring = np.zeros((28, 28), np.uint8)
    cv2.ellipse(ring, (14, 14), (7, 10), 0, 0, 360, 255, 1)
    dashed = ring.copy()
    dashed[[6, 7, 12, 13, 19, 20]] = 0
    dashed[:, [9, 10, 15, 19]] = 0
    assert count_components(dashed) > 7
    digit, rejection, notes, _ = segment(dashed)
    assert (rejection, notes) == (None, ())
    assert digit.ink.shape == segment(ring).digit.ink.shape


def test_a_neighbour_at_the_edge_is_left_out_with_a_note():
    page = np.zeros((100, 120), np.uint8)
    page[20:80, 40:70] = draw_five()[20:80, 33:63]
    page[30:70, :8] = 255
    digit, rejection, notes, needs_review = segment(page)
    assert (rejection, notes, needs_review) == (None, ("neighbour left out",), False)
    assert (digit.left, digit.ink.shape[1]) == (40, 30)


def test_what_is_left_out_is_erased_with_its_soft_edge_where_it_reaches_into_the_box():
    page = np.zeros((100, 100), np.uint8)
    page[20:80, 30:36] = page[74:80, 30:70] = 255  # an L, whose box is open at the upper right
    page[40:42, 60:62] = 255
    page[39:43, 59] = 90
    digit, rejection, _, _ = segment(page)
    assert rejection is None
    assert not digit.ink[:50, 10:].any()
    assert (digit.ink[:, :6] == 255).all() and (digit.ink[54:] == 255).all()


def test_more_components_than_a_digit_has_are_no_digit():
    page = np.zeros((100, 100), np.uint8)
    page[5:95:15, 5:95:15] = 255
    page = cv2.dilate(page, np.ones((7, 7), np.uint8))
    digit, rejection, _, _ = segment(page)
    assert rejection == "too many parts for a digit"
    assert digit.ink.shape == (100, 100)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_digits_side_by_side_are_several(count):
    page = np.concatenate([draw_five(60, 7)[:, 12:48]] * count, axis=1)
    assert segment(page).rejection == "several digits"


def test_a_second_digit_above_is_several():
    page = np.zeros((180, 90), np.uint8)
    page[:60, 20:80] = page[120:, 20:80] = draw_five(60, 7)
    assert segment(page).rejection == "several digits"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_digits_that_the_edges_cut_are_neighbours_however_many(count):
    five = draw_five()[15:85, 25:75]
    page = np.zeros((200, 200), np.uint8)
    page[65:135, 75:125] = five
    neighbours = [
        (np.s_[65:135, :20], five[:, 30:]),
        (np.s_[160:, 75:125], five[:40]),
        (np.s_[:40, 75:125], five[30:]),
        (np.s_[65:135, 180:], five[:, :20]),
    ]
    for box, piece in neighbours[:count]:
        page[box] = piece
    digit, rejection, notes, needs_review = segment_all(page)[-1]
    assert (rejection, notes, needs_review) == (None, ("neighbour left out",), False)
    assert np.array_equal(digit.ink, segment(draw_five()).digit.ink)


def test_where_ink_is_at_three_edges_the_first_result_keeps_all_of_it():
    """All of a tight crop may be the digit: here a 4 of two strokes, or a 1 and a neighbour."""
    page = np.zeros((100, 70), np.uint8)
    page[:50, :8] = page[45:53, :50] = page[:, 60:68] = 255
    first, second = segment_all(page)
    assert first.digit.ink.shape == (100, 68)
    assert second.digit.ink.shape == (100, 8)
    assert "neighbour left out" in second.notes


@pytest.mark.parametrize("speck_count", [0, 1, 3])
@pytest.mark.parametrize("size", [40, 44, 52])
def test_an_empty_box_is_an_empty_field_with_and_without_specks(size, speck_count):
    page = np.zeros((64, 64), np.uint8)
    cv2.rectangle(page, (8, 8), (8 + size, 8 + size), 255, 2)
    page[3, 10 : 10 + 10 * speck_count : 10] = 255
    digit, rejection, notes, _ = segment(page)
    assert (digit, rejection, notes) == (None, "empty field", ("box removed",))


@pytest.mark.parametrize("speck_count", [0, 1, 3])
def test_the_corner_of_a_box_is_an_empty_field_with_and_without_specks(speck_count):
    page = np.zeros((64, 64), np.uint8)
    page[10:12, 10:] = page[10:, 10:12] = 255
    page[3, 10 : 10 + 10 * speck_count : 10] = 255
    digit, rejection, notes, _ = segment(page)
    assert (digit, rejection, notes) == (None, "empty field", ("box removed",))


def test_a_digit_of_thin_strokes_that_fills_its_image_is_no_grid():
    page = np.zeros((120, 80), np.uint8)
    cv2.polylines(page, [np.array([(20, 0), (0, 70), (79, 70)])], False, 255, 2)
    cv2.line(page, (60, 30), (60, 119), 255, 2)
    digit, rejection, notes, _ = segment(page)
    assert (digit.ink.shape, rejection, notes) == ((120, 80), None, ())
