"""Printed lines are removed, and a digit's strokes stay whole, whether they cross a line or look like one."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.preprocess import list_candidates, preprocess
from tests.imaging.drawing import (
    INK,
    PAPER,
    STROKES,
    compare,
    compare_candidates,
    draw_box,
    draw_comb,
    draw_dashed_box,
    draw_line,
    draw_rounded_box,
    draw_strokes,
    load_digit,
    make_paper,
    preprocess_digit,
    write,
)
from tests.support.pictures import correlate

SIZES = [40, 64, 100, 200, 400]
DIGITS = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 2), (6, 2), (7, 0), (8, 1), (9, 0)]
"""Digits and indices of MNIST's training images."""
EDGES = [((0, 0.92), (1, 0.92)), ((0.07, 0), (0.07, 1)), ((0, 0.06), (1, 0.06)), ((0.94, 0), (0.94, 1))]
"""Ends of a line near each edge, (x, y), as shares of the page."""


def write_digit(size, label, index, offset=(0.0, 0.0), height=0.55):
    """Return a page with a digit, off its middle by so many shares of the page, down and to the right."""
    digit = load_digit(label, index, round(height * size))
    top = (size - digit.shape[0]) // 2 + round(offset[0] * size)
    left = (size - digit.shape[1]) // 2 + round(offset[1] * size)
    return write(make_paper(size), digit, top, left)


def scale(size):
    """Return the thickness of a printed line on a page."""
    return max(1, round(0.02 * size))


BOXES = {
    "square": lambda page: draw_box(page, 0.06 * page.shape[0], scale(page.shape[0])),
    "thick": lambda page: draw_box(page, 0.06 * page.shape[0], 2 * scale(page.shape[0])),
    "pale": lambda page: draw_box(page, 0.06 * page.shape[0], scale(page.shape[0]), tone=175),
    "at the edge": lambda page: draw_box(page, 0.02 * page.shape[0], scale(page.shape[0])),
    "rounded": lambda page: draw_rounded_box(
        page, round(0.06 * page.shape[0]), round(0.14 * page.shape[0]), scale(page.shape[0])
    ),
    "dashed": lambda page: draw_dashed_box(
        page,
        round(0.06 * page.shape[0]),
        round(0.05 * page.shape[0]),
        round(0.04 * page.shape[0]),
        scale(page.shape[0]),
    ),
    **{
        f"turned by {degrees} degrees": lambda page, degrees=degrees: draw_box(
            page, 0.06 * page.shape[0], scale(page.shape[0]), tilt=degrees
        )
        for degrees in (-4, -2, 1, 3)
    },
}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize(
    ("size", "is_light"), [(40, False), (40, True), (64, False), (100, True), (200, False), (400, False)]
)
def test_a_box_is_removed(size, box, is_light):
    for label, index in DIGITS[:6]:
        plain = write_digit(size, label, index)
        page = BOXES[box](plain)
        if is_light:
            page, plain = 255 - page, 255 - plain
        assert compare(page, plain) > 0.85
        if box != "pale":  # its lines may be too pale to be ink
            assert "box removed" in preprocess_digit(page).notes


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("drop", [0.0, 0.04, -0.07], ids=["level", "tilted", "turned by 4 degrees"])
@pytest.mark.parametrize("size", SIZES)
def test_lines_from_edge_to_edge_are_removed(size, drop, count):
    """From one line to a box whose lines go on: the corner of a table, or a cell of it."""
    for label, index in DIGITS[4:]:
        plain = page = write_digit(size, label, index, height=0.5)
        for (start_x, start_y), (end_x, end_y) in EDGES[:count]:
            tilt_x, tilt_y = (0, drop) if start_y == end_y else (drop, 0)
            start = (start_x + tilt_x / 2) * size, (start_y + tilt_y / 2) * size
            end = (end_x - tilt_x / 2) * size, (end_y - tilt_y / 2) * size
            page = draw_line(page, start, end, scale(size))
        result = preprocess_digit(page)
        assert {"line removed", "box removed"} & set(result.notes)
        assert not result.needs_review
        assert compare(page, plain) > 0.9


@pytest.mark.parametrize("edge", range(4), ids=["bottom", "left", "top", "right"])
def test_a_single_line_is_removed_at_any_edge(edge):
    start, end = EDGES[edge]
    for size in SIZES:
        for label, index in DIGITS:
            plain = write_digit(size, label, index)
            page = draw_line(plain, np.multiply(start, size), np.multiply(end, size), scale(size))
            assert "line removed" in preprocess_digit(page).notes
            assert compare(page, plain) > 0.9


@pytest.mark.parametrize(
    "share", [0.5, 0.75, 1.25, 2.0], ids=["below", "lower third", "leaves", "at the end"]
)
@pytest.mark.parametrize("size", [64, 100, 200, 400])
def test_strokes_that_cross_a_line_stay_whole(size, share):
    """A 1, a 4, a 7 and a 9 reach over the line of a form with a stroke, far or only a little."""
    reach = round(0.08 * share * size)
    thickness = scale(size)
    line_y = round(0.8 * size)
    for label, index in [(1, 0), (1, 2), (4, 1), (7, 0), (7, 1), (9, 0)]:
        digit = load_digit(label, index, round(0.6 * size))
        plain = write(make_paper(size), digit, line_y + reach - digit.shape[0])
        page = draw_line(plain, (0, line_y), (size, line_y), thickness)
        assert max(compare_candidates(page, plain)) > 0.85


@pytest.mark.parametrize("size", [64, 100, 200, 400])
def test_a_digit_that_leaves_its_box_to_the_right_stays_whole(size):
    for label, index in [(2, 0), (3, 2), (4, 1), (5, 1), (7, 1), (7, 2)]:
        digit = load_digit(label, index, round(0.5 * size))
        box_right = size - 1 - round(0.12 * size)
        plain = write(make_paper(size), digit, left=box_right + round(0.08 * size) - digit.shape[1])
        page = draw_box(plain, 0.12 * size, scale(size))
        assert max(compare_candidates(page, plain)) > 0.85


@pytest.mark.parametrize("size", SIZES)
def test_a_digit_that_stands_on_its_line_is_one_of_the_readings(size):
    """All of it may be ink, as in a 2: that is the first reading. The other has no line."""
    for label, index in DIGITS:
        digit = load_digit(label, index, round(0.55 * size))
        line_y = round(0.82 * size)
        plain = write(make_paper(size), digit, line_y - digit.shape[0])
        page = draw_line(plain, (0, line_y), (size, line_y), scale(size))
        assert max(compare_candidates(page, plain)) > 0.85


@pytest.mark.parametrize("is_light", [False, True], ids=["dark on light", "light on dark"])
@pytest.mark.parametrize("margin", [0, 1, 2])
@pytest.mark.parametrize("size", [24, 40, 64, 100, 400])
@pytest.mark.parametrize("name", [name for name in STROKES if name != "1"])
def test_the_bars_of_a_digit_that_fills_the_image_are_no_lines(name, size, margin, is_light):
    digit = draw_strokes(name, size, max(2, size // 10))
    expected = preprocess_digit(255 - np.pad(digit, size // 2)).pixels
    page = np.pad(digit, margin)
    result = preprocess_digit(page if is_light else 255 - page)
    assert correlate(result.pixels, expected) > 0.9
    assert not result.needs_review


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("size", [24, 40, 64, 100, 400])
def test_a_written_digit_that_fills_the_image_is_the_first_reading(size, margin):
    for label, index in DIGITS:
        digit = load_digit(label, index, size)
        expected = preprocess_digit(255 - np.pad(digit, size // 2)).pixels
        result = preprocess_digit(255 - np.pad(digit, margin))
        assert correlate(result.pixels, expected) > 0.85
        assert result.notes == ()


@pytest.mark.parametrize("size", [64, 100, 200, 400])
def test_most_digits_in_a_double_box_are_read_without_it(size):
    results = []
    for label in range(10):
        for index in range(3):
            plain = write_digit(size, label, index)
            page = draw_box(draw_box(plain, 0.04 * size, scale(size)), 0.11 * size, scale(size))
            assert "box removed" in preprocess_digit(page).notes
            results.append(compare(page, plain) > 0.85)
    assert sum(results) >= 0.8 * len(results)


@pytest.mark.parametrize("size", [64, 100, 200, 400])
@pytest.mark.parametrize("tooth", [0.1, 0.2])
def test_a_comb_with_short_teeth_is_removed_in_one_of_the_readings(size, tooth):
    for label, index in DIGITS:
        plain = write_digit(size, label, index)
        page = draw_comb(plain, tooth, scale(size))
        assert max(compare_candidates(page, plain)) > 0.75


@pytest.mark.parametrize("lean", [0.0, 0.05, -0.08])
@pytest.mark.parametrize("height", [0.6, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("size", SIZES)
def test_a_one_in_the_middle_is_no_line(size, height, lean):
    top, bottom = (1 - height) / 2 * size, (1 + height) / 2 * size
    one = draw_line(
        make_paper(size), ((0.5 + lean) * size, top), ((0.5 - lean) * size, bottom), max(2, size // 16), INK
    )
    result = preprocess_digit(one)
    assert "line removed" not in result.notes
    _, _, width, height = cv2.boundingRect((result.pixels > 64).astype(np.uint8))
    assert height >= 20 and width < 10


@pytest.mark.parametrize("size", [28, *SIZES])
def test_a_seven_with_margins_is_left_as_it_is(size):
    for name in ("7", "z", "4", "2"):
        page = write(make_paper(size), draw_strokes(name, round(0.7 * size), max(2, size // 14)))
        result = preprocess_digit(page)
        assert (result.notes, result.needs_review, result.alternative) == ((), False, None)


@pytest.mark.parametrize("size", [600, 1000])
@pytest.mark.parametrize("height", [0.12, 0.25])
def test_lines_are_removed_from_the_close_up_of_a_small_digit_too(size, height):
    """A small digit is cut out of the full image, and lines that are near it with it."""
    for label, index in [(2, 0), (5, 0), (7, 0), (8, 1)]:
        digit = load_digit(label, index, round(height * size))
        plain = write(make_paper(size), digit)
        page = plain
        for y in ((size - digit.shape[0]) / 2 - 0.05 * size, (size + digit.shape[0]) / 2 + 0.05 * size):
            page = draw_line(page, (0, y), (size, y), max(2, size // 150))
        result = preprocess_digit(page)
        assert "small in its frame" in result.notes and "line removed" in result.notes
        assert compare(page, plain) > 0.9


def test_the_readings_of_an_image_are_few():
    page = make_paper(100)
    for edge in EDGES:
        page = draw_line(page, *(np.multiply(point, 100) for point in edge))
    page = write(page, load_digit(4, 0, 86))
    assert 1 <= len(list_candidates(preprocess(page))) <= 3


def test_the_grain_of_the_paper_does_not_hide_a_box():
    plain = write_digit(100, 3, 0)
    page = draw_box(plain, 6, 2)
    grain = np.random.default_rng(3).normal(0, 6, page.shape)
    page, plain = (np.clip(image + grain, 0, 255).astype(np.uint8) for image in (page, plain))
    assert preprocess_digit(page).notes == ("box removed",)
    assert compare(page, plain) > 0.9


def test_a_box_in_a_shadow_is_removed():
    plain = write_digit(100, 3, 0)
    light = np.linspace(1.0, 0.6, 100)[None, :]
    page = (draw_box(plain, 6, 2) * light).astype(np.uint8)
    assert "box removed" in preprocess_digit(page).notes
    assert compare(page, plain) > 0.85
    assert PAPER > page[50, 98] > INK
