"""The digit of an image, and its other readings; nothing where only a field is printed."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.detect import detect_digits
from digitscan.imaging.preprocess import preprocess
from tests.imaging.drawing import (
    INK,
    draw_box,
    draw_dashed_box,
    draw_line,
    load_digit,
    make_paper,
    preprocess_digit,
    write,
)
from tests.support.pictures import correlate, draw_five

SIZES = [40, 64, 100, 200, 400]


def draw_lines(page, lines):
    """Return the page with lines between points, (x, y), in shares of the page."""
    size = page.shape[0]
    for start, end in lines:
        page = draw_line(page, np.multiply(start, size), np.multiply(end, size), max(1, round(0.02 * size)))
    return page


def box(page, margin=0.06, tilt=0.0):
    size = page.shape[0]
    return draw_box(page, margin * size, max(1, round(0.02 * size)), tilt=tilt)


def dashed_box(page):
    margin, dash, gap, thickness = (
        max(1, round(share * page.shape[0])) for share in (0.06, 0.05, 0.04, 0.02)
    )
    return draw_dashed_box(page, margin, dash, gap, thickness)


BOTTOM, TOP = ((0, 0.9), (1, 0.88)), ((0, 0.1), (1, 0.12))
LEFT, RIGHT = ((0.1, 0), (0.1, 1)), ((0.93, 0), (0.9, 1))
EMPTY_FIELDS = {
    "box": box,
    "box turned by 2 degrees": lambda page: box(page, tilt=2),
    "box turned by 4 degrees": lambda page: box(page, tilt=-4),
    "inset box": lambda page: box(page, 0.12),
    "dashed box": dashed_box,
    "line below": lambda page: draw_lines(page, [BOTTOM]),
    "line above": lambda page: draw_lines(page, [TOP]),
    "line on the left": lambda page: draw_lines(page, [LEFT]),
    "line on the right": lambda page: draw_lines(page, [RIGHT]),
    "two rules": lambda page: draw_lines(page, [TOP, BOTTOM]),
    "two columns": lambda page: draw_lines(page, [LEFT, RIGHT]),
    "corner": lambda page: draw_lines(page, [BOTTOM, LEFT]),
    "other corner": lambda page: draw_lines(page, [TOP, RIGHT]),
    "three sides": lambda page: draw_lines(page, [TOP, LEFT, BOTTOM]),
    "cell": lambda page: draw_lines(page, [TOP, LEFT, BOTTOM, RIGHT]),
    "rule in the middle": lambda page: draw_lines(page, [((0, 0.5), (1, 0.5))]),
    "cross of two rules": lambda page: draw_lines(page, [((0, 0.5), (1, 0.5)), ((0.5, 0), (0.5, 1))]),
}


@pytest.mark.parametrize("is_light", [False, True], ids=["dark on light", "light on dark"])
@pytest.mark.parametrize("field", EMPTY_FIELDS)
@pytest.mark.parametrize("size", SIZES)
def test_a_field_in_which_nothing_is_written_is_empty(size, field, is_light):
    page = EMPTY_FIELDS[field](make_paper(size))
    result = preprocess(255 - page if is_light else page)
    assert result.rejection == "empty field"
    assert {"line removed", "box removed"} & set(result.notes)


@pytest.mark.parametrize("field", EMPTY_FIELDS)
def test_a_grainy_field_in_which_nothing_is_written_is_empty(field):
    page = EMPTY_FIELDS[field](make_paper(100))
    grain = np.random.default_rng(5).normal(0, 5, page.shape)
    assert preprocess(np.clip(page + grain, 0, 255).astype(np.uint8)).rejection == "empty field"


@pytest.mark.parametrize("field", EMPTY_FIELDS)
def test_a_small_digit_in_a_field_is_no_remnant_of_it(field):
    """A digit of a quarter of the page, off the lines, is read: the field is not empty."""
    digit = load_digit(3, 1, 70)
    page = write(EMPTY_FIELDS[field](make_paper(300)), digit, 165, 170)
    assert preprocess(page).pixels is not None


@pytest.mark.parametrize("is_light", [False, True])
def test_light_ink_is_told_from_dark_ink(is_light):
    image = draw_five() if is_light else 255 - draw_five()
    (detection,) = detect_digits(image)
    assert detection.is_light_on_dark == is_light
    assert ("light on dark" in detection.notes) == is_light


def test_a_detection_has_the_digit_where_it_is():
    (detection,) = detect_digits(write(make_paper(60), load_digit(4, 1, 30), 12, 20))
    height, _ = detection.digit.ink.shape
    assert abs(detection.digit.top - 12) <= 1 and abs(detection.digit.left - 20) <= 1
    assert abs(height - 30) <= 2
    assert 0 < detection.threshold < 255 and detection.contrast > 100


@pytest.mark.parametrize("level", [0, 90, 255])
def test_empty_paper_is_blank(level):
    (detection,) = detect_digits(np.full((50, 40), level, np.uint8))
    assert (detection.digit, detection.rejection) == (None, "blank")


def test_a_digit_on_its_line_has_the_reading_with_the_line_first():
    digit = load_digit(2, 0, 34)
    page = draw_lines(write(make_paper(60), digit, 49 - digit.shape[0]), [((0, 0.82), (1, 0.82))])
    first, second = detect_digits(page)
    assert first.digit.ink.shape[1] == 60
    assert second.digit.ink.shape[1] < 50
    assert "line removed" in second.notes and "line removed" not in first.notes


def cut_digit(size, label, index, side, share):
    """Return a page with a digit of which an edge cuts a share off, and paper on its other sides."""
    digit = load_digit(label, index, round(0.6 * size))
    height, width = digit.shape
    top, left = (size - height) // 2, (size - width) // 2
    places = {
        "top": (-round(share * height), left),
        "bottom": (size - height + round(share * height), left),
        "left": (top, -round(share * width)),
        "right": (top, size - width + round(share * width)),
    }
    return write(make_paper(size), digit, *places[side])


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize("size", [40, 100, 400])
def test_most_digits_that_an_edge_cuts_are_reviewed(size, side):
    """A stroke that ends at the edge by itself, and one that lies along it, cannot be told from cut ones."""
    results = [
        preprocess(cut_digit(size, label, index, side, share))
        for label in (0, 2, 3, 4, 5, 6, 8, 9)
        for index in (0, 1)
        for share in (0.25, 0.35)
    ]
    reasons = {"cut by the edge", "may be a line"}
    assert all(bool(reasons & set(result.notes)) == result.needs_review for result in results)
    assert sum(result.needs_review for result in results) >= 0.6 * len(results)


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_a_digit_in_a_tight_crop_is_not_cut(margin):
    for size in SIZES:
        for label in range(10):
            for index in range(3):
                result = preprocess_digit(255 - np.pad(load_digit(label, index, size), margin))
                assert "cut by the edge" not in result.notes
                assert not result.needs_review


@pytest.mark.parametrize("side", range(4))
def test_a_digit_that_only_touches_an_edge_is_not_cut(side):
    """Its stroke ends there, and is round."""
    ring = make_paper(80)
    cv2.circle(ring, (40, 40), 20, INK, 5, cv2.LINE_AA)
    page = np.rot90(ring[:, 18:], side)
    result = preprocess_digit(page)
    assert (result.notes, result.needs_review) == ((), False)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("shape", [(900, 1200), (300, 400), (1200, 900)])
def test_a_row_of_small_digits_on_a_page_is_several_digits(shape, count):
    page = make_paper(*shape)
    height = round(shape[0] / 12)
    step = shape[1] / (count + 1)
    for position in range(count):
        page = write(page, load_digit(position, 0, height), shape[0] // 3, round((position + 0.6) * step))
    assert preprocess(page).rejection == "several digits"


def test_one_small_digit_on_a_page_is_read():
    for top, left in [(100, 150), (400, 500), (700, 1000)]:
        page = write(make_paper(900, 1200), load_digit(6, 0, 80), top, left)
        result = preprocess_digit(page)
        assert result.notes == ("small in its frame",)
        assert not result.needs_review


def test_a_small_digit_beside_a_piece_at_the_edge_is_read():
    page = write(make_paper(400), load_digit(6, 0, 80))
    page = write(page, load_digit(9, 0, 80), 160, 370)
    result = preprocess_digit(page)
    assert "neighbour left out" in result.notes


def draw_faint_digit_beside_a_dark_stroke(size, x, width, height):
    """Return a page with a pale digit in the middle and a dark upright stroke at the column `x`."""
    page = 255 - (255 - write(make_paper(size), load_digit(8, 0, round(0.4 * size)))) // 4
    top = (size - height) // 2
    page[top : top + height, x : x + width] = INK
    return page


@pytest.mark.parametrize("size", [64, 100, 400])
@pytest.mark.parametrize(
    ("x", "width", "height"), [(0.9, 0.04, 0.8), (0.08, 0.05, 0.7), (0.92, 0.08, 0.4), (0, 0.06, 0.5)]
)
def test_a_dark_stroke_at_the_side_is_never_plainly_a_one(size, x, width, height):
    shape = [max(1, round(share * size)) for share in (x, width, height)]
    result = preprocess(draw_faint_digit_beside_a_dark_stroke(size, *shape))
    assert result.pixels is None or result.needs_review or "line removed" in result.notes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("x", [0.3, 0.5, 0.7])
def test_a_one_that_is_not_at_the_side_needs_no_review(size, x):
    page = make_paper(size)
    left, width = round(x * size), max(1, round(0.06 * size))
    page[round(0.2 * size) : round(0.8 * size), left : left + width] = INK
    assert not preprocess(page).needs_review


def test_a_tight_crop_of_a_one_needs_no_review():
    digit = load_digit(1, 0, 60)
    assert not preprocess(write(make_paper(60, digit.shape[1]), digit)).needs_review


@pytest.mark.parametrize("thickness", [0.02, 0.04, 0.06])
@pytest.mark.parametrize("size", SIZES)
def test_the_corner_of_a_cell_is_an_empty_field(size, thickness):
    page, line = make_paper(size), max(1, round(thickness * size))
    start, end = round(0.08 * size), round(0.92 * size)
    page[start : start + line, :end] = INK
    page[start:, end - line : end] = INK
    for turned in (page, page[:, ::-1], page[::-1], page[::-1, ::-1]):
        assert preprocess(turned).rejection == "empty field"


def test_an_underlined_digit_is_read_without_its_line_in_the_close_up():
    digit = load_digit(5, 0, 90)
    page = write(make_paper(260), digit, 60)
    left = (260 - digit.shape[1]) // 2
    page[162:170, left - 10 : left + digit.shape[1] + 10] = INK
    result = preprocess(page)
    assert "line removed" in result.notes
    assert correlate(result.pixels, preprocess(write(make_paper(260), digit, 60)).pixels) > 0.9


@pytest.mark.parametrize("speck_count", [0, 1, 4])
def test_squared_paper_with_and_without_specks_is_an_empty_field(speck_count):
    image = np.full((100, 100), 230, np.uint8)
    image[::25] = image[:, ::25] = 120
    image[12 : 12 + 20 * speck_count : 20, 40] = 120
    assert preprocess(image).rejection == "empty field"
