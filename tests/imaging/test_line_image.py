"""The line of digits is found in pictures of many kinds, and has the size that the network takes."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from digitscan.imaging.line_image import (
    LINE_HEIGHT,
    MAX_LINE_WIDTH,
    SEVERAL_LINES,
    STEP_WIDTH,
    TOO_LONG,
    WRITING_HEIGHT,
    preprocess_line,
)


def write(text, height=60, margin=20, paper=230, ink=30, thickness=3):
    """A picture of digits in one of OpenCV's fonts, `height` pixels high."""
    scale = height / 22
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    picture = np.full((height + 2 * margin, width + 2 * margin), paper, np.uint8)
    place = (margin, height + margin)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)
    return picture


def measure_writing(line):
    """The rows from the first to the last with strong ink."""
    rows = np.flatnonzero((line.pixels > 128).any(axis=1))
    return int(rows[-1] - rows[0] + 1)


def alike(one, other):
    """The correlation of two lines of about one width."""
    width = min(one.pixels.shape[1], other.pixels.shape[1])
    return np.corrcoef(one.pixels[:, :width].ravel(), other.pixels[:, :width].ravel())[0, 1]


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, bool]),
        st.tuples(st.integers(1, 40), st.integers(1, 60)),
    )
)
def test_any_array_gives_a_line_or_a_reason(gray):
    line = preprocess_line(gray)
    assert (line.pixels is None) == (line.rejection is not None)
    if line.pixels is not None:
        assert line.pixels.dtype == np.uint8
        height, width = line.pixels.shape
        assert height == LINE_HEIGHT
        assert width % STEP_WIDTH == 0
        assert 0 < width <= MAX_LINE_WIDTH


@pytest.mark.parametrize("height", [14, 30, 60, 150, 400])
def test_writing_of_any_size_has_one_height(height):
    line = preprocess_line(write("407", height, margin=height // 2, thickness=max(1, height // 15)))
    assert abs(measure_writing(line) - WRITING_HEIGHT) <= 3
    assert abs(line.digit_size - height) <= 0.2 * height + 2


def test_a_small_number_on_a_large_sheet_is_enlarged():
    sheet = np.full((600, 900), 225, np.uint8)
    number = write("1984", 50, 4, paper=225)
    sheet[300 : 300 + number.shape[0], 200 : 200 + number.shape[1]] = number
    line = preprocess_line(sheet)
    assert abs(measure_writing(line) - WRITING_HEIGHT) <= 3
    assert line.pixels.shape[1] < 160


def test_light_ink_on_dark_paper_gives_the_same_line_and_is_noted():
    picture = write("2026")
    dark_on_light, light_on_dark = preprocess_line(picture), preprocess_line(255 - picture)
    assert light_on_dark.notes == ("light on dark",)
    assert dark_on_light.notes == ()
    assert alike(dark_on_light, light_on_dark) > 0.99


def test_a_printed_box_does_not_make_the_writing_smaller():
    picture = write("63", 30, 14, thickness=2)
    boxed = picture.copy()
    cv2.rectangle(boxed, (3, 3), (boxed.shape[1] - 4, boxed.shape[0] - 4), 40, 1)
    assert preprocess_line(boxed).digit_size == pytest.approx(preprocess_line(picture).digit_size, abs=3)


def test_a_shadow_is_no_ink():
    picture = write("5128").astype(np.float64)
    shade = np.linspace(1.0, 0.35, picture.shape[1])
    assert (
        alike(preprocess_line(picture.astype(np.uint8)), preprocess_line((picture * shade).astype(np.uint8)))
        > 0.9
    )


def test_faint_ink_is_as_dark_as_strong_ink():
    strong, faint = preprocess_line(write("338")), preprocess_line(write("338", ink=200))
    assert alike(strong, faint) > 0.98
    assert faint.pixels.max() > 200


def test_an_empty_sheet_is_blank():
    assert preprocess_line(np.full((40, 120), 200, np.uint8)).rejection == "blank"


def test_a_page_of_several_lines_is_to_be_cut_first():
    page = np.concatenate([write("12345", 40, 12)] * 4)
    assert preprocess_line(page).rejection == SEVERAL_LINES


def test_one_joined_piece_above_another_is_for_review():
    page = np.full((160, 200), 230, np.uint8)
    for row, text in ((20, "407"), (90, "512")):
        part = write(text, 40, 0)
        page[row : row + part.shape[0], 20 : 20 + part.shape[1]] = part
        page[row + 30 : row + 34, 30:110] = 30  # joins the digits
    line = preprocess_line(page)
    assert line.needs_review or line.rejection == SEVERAL_LINES
    assert not preprocess_line(write("5", 40)).needs_review


@pytest.mark.parametrize("shape", [(64, 9000), (64, 70000), (1200, 1200)])
def test_thousands_of_specks_end_in_a_line_or_a_reason(shape):
    specks = np.full(shape, 230, np.uint8)
    specks[::2, ::2] = 20
    line = preprocess_line(specks)
    assert (line.pixels is None) == (line.rejection is not None)


def test_the_edges_of_other_lines_do_not_make_several():
    number = write("12345", 40, 12)
    crop = np.concatenate([number[-26:-10], number, number[10:26]])
    line = preprocess_line(crop)
    assert line.rejection is None
    assert abs(line.digit_size - 40) <= 10


def test_a_strip_of_20000_pixels_is_too_long():
    strip = np.tile(write("0123456789", 24, 4), (1, 60))[:, :20000]
    assert preprocess_line(strip).rejection == TOO_LONG


def test_a_strip_of_one_row_and_one_of_one_column_give_something():
    rng = np.random.default_rng(1)
    for shape in ((1, 20000), (20000, 1), (1, 1)):
        line = preprocess_line(rng.integers(0, 256, shape, np.uint8))
        assert (line.pixels is None) == (line.rejection is not None)


def test_the_picture_is_not_changed():
    picture = write("99")
    before = picture.copy()
    preprocess_line(picture)
    assert np.array_equal(picture, before)


def draw_cells(digits, count, height=50, pen=1):
    """A row of cells with a digit in each of the first ones."""
    row = np.full((height + 16, 40 * count + 24), 235, np.uint8)
    for index in range(count):
        cv2.rectangle(row, (12 + 40 * index, 8), (52 + 40 * index, 8 + height), 120, pen)
    for index, digit in enumerate(digits):
        place = (22 + 40 * index, height - 3)
        cv2.putText(row, digit, place, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 40, 2, cv2.LINE_AA)
    return row


@pytest.mark.parametrize(("digits", "count"), [("4071", 4), ("12", 6), ("9630174452810026", 16)])
def test_the_cells_of_a_row_are_counted_also_the_empty_ones(digits, count):
    line = preprocess_line(draw_cells(digits, count))
    assert line.cell_count == count
    assert f"in a row of {count} cells" in line.notes


def test_one_box_and_ones_without_a_box_are_no_cells():
    picture = write("63", 30, 14, thickness=2)
    cv2.rectangle(picture, (3, 3), (picture.shape[1] - 4, picture.shape[0] - 4), 40, 1)
    assert preprocess_line(picture).cell_count == 0
    assert preprocess_line(write("11111", 40, 2)).cell_count == 0
    assert preprocess_line(write("8080808", 40, 2)).cell_count == 0
