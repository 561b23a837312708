"""Pictures of printed fields: a digit in its recorded place among prints and lights, or nothing written."""

import cv2
import numpy as np
import pytest

from digitscan.training.data.distort import CANVAS_SIZE, distort
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.form_prints import FRAMES, FRAMES_OF_EMPTY_FIELDS, PAPERS
from digitscan.training.data.printed_fields import (
    MAX_ASPECT,
    MAX_SIDE,
    MIN_ASPECT,
    MIN_SIDE,
    draw_empty_field,
    draw_printed_field,
    join_digits,
)
from digitscan.training.data.surroundings import LIGHTS

COUNT = 400
BLUR = 10
"""Pixels round a digit that blur and JPEG artefacts may change."""


@pytest.fixture(scope="module")
def canvases(digits):
    rng = np.random.default_rng(0)
    return [distort(image, rng) for image in digits.images]


@pytest.fixture(scope="module")
def glyphs(digits):
    return (digits.images, load_font_glyphs("train").letters)


@pytest.fixture(scope="module")
def fields(canvases, glyphs):
    return [
        draw_printed_field(canvases[seed % len(canvases)], glyphs, np.random.default_rng(seed))
        for seed in range(COUNT)
    ]


@pytest.fixture(scope="module")
def empty_fields(glyphs):
    return [draw_empty_field(glyphs, np.random.default_rng(seed)) for seed in range(COUNT)]


def test_pictures_have_the_sizes_and_shapes_of_crops(fields, empty_fields):
    for picture in (field.picture for field in fields + empty_fields):
        height, width = picture.shape
        assert picture.dtype == np.uint8
        assert MIN_SIDE - 1 <= max(height, width) <= MAX_SIDE
        # A side of 12 pixels is rounded to whole ones.
        assert 0.95 * MIN_ASPECT < width / height < 1.05 * MAX_ASPECT


def test_most_pictures_are_dark_on_light_and_some_are_not(fields):
    ink_is_dark = []
    for field in fields:
        left, top, width, height = field.digit_box
        inside = field.picture[top : top + height, left : left + width].astype(float)
        ink_is_dark.append(np.median(inside) - inside.min() > inside.max() - np.median(inside))
    assert 0.7 < np.mean(ink_is_dark) < 1.0


def test_a_field_follows_from_its_seed(canvases, glyphs, fields, empty_fields):
    again = draw_printed_field(canvases[5], glyphs, np.random.default_rng(5))
    assert np.array_equal(again.picture, fields[5].picture)
    assert again[1:] == fields[5][1:]
    assert len({field.picture.tobytes() for field in fields}) == COUNT
    empty = draw_empty_field(glyphs, np.random.default_rng(5))
    assert np.array_equal(empty.picture, empty_fields[5].picture)


def test_what_is_written_changes_the_picture_only_in_the_recorded_box(glyphs):
    """Two canvases of the same extent get the same place: their pictures differ by their ink alone."""
    block = np.zeros((CANVAS_SIZE, CANVAS_SIZE), np.uint8)
    block[12:52, 20:44] = 255
    hollow = block.copy()
    hollow[20:44, 28:36] = 0
    changed = 0
    for seed in range(150):
        field, other = (
            draw_printed_field(canvas, glyphs, np.random.default_rng(seed)) for canvas in (block, hollow)
        )
        assert field.digit_box == other.digit_box
        difference = cv2.absdiff(field.picture, other.picture)
        left, top, width, height = field.digit_box
        picture_height, picture_width = field.picture.shape
        assert left >= 0 and top >= 0 and left + width <= picture_width and top + height <= picture_height
        changed += difference.max() > 10
        difference[max(0, top - BLUR) : top + height + BLUR, max(0, left - BLUR) : left + width + BLUR] = 0
        assert difference.max() <= 10
    assert changed > 140


def test_digits_are_high_enough_to_be_read_and_differ_in_size(fields):
    heights = np.array([field.digit_box[3] for field in fields])
    shares = heights / [field.picture.shape[0] for field in fields]
    assert heights.min() >= 8
    assert np.mean(heights < 14) > 0.01
    assert 0.9 < np.mean((shares >= 0.28) & (shares <= 0.9)) < 1.0


def test_every_kind_of_print_and_light_occurs(fields):
    kinds = {kind for field in fields for kind in field.kinds}
    assert kinds == {*FRAMES, *PAPERS, *LIGHTS, "caption", "neighbours"}


def test_an_empty_field_has_every_print_that_cannot_be_taken_for_a_digit(empty_fields):
    kinds = {kind for field in empty_fields for kind in field.kinds}
    assert kinds == {*FRAMES_OF_EMPTY_FIELDS, *PAPERS, *LIGHTS, "caption", "neighbours"}
    assert not any("circle" in kind or kind == "underline" for kind in kinds)


def test_nothing_is_written_in_an_empty_field(empty_fields, glyphs):
    """Other neighbours change the picture of an empty field near its edges, and not in its middle."""
    assert all(field.digit_box is None for field in empty_fields)
    blank = (np.zeros((1, 28, 28), np.uint8),)
    for seed in range(COUNT):
        without = draw_empty_field(blank, np.random.default_rng(seed))
        if "neighbours" not in without.kinds:
            assert np.array_equal(without.picture, empty_fields[seed].picture)


def test_digits_in_a_row_are_one_image_of_the_height_of_a_canvas(canvases, glyphs):
    rng = np.random.default_rng(2)
    for count in (2, 3, 6):
        row = join_digits(canvases[:count], rng)
        assert row.shape[0] == CANVAS_SIZE and row.dtype == np.uint8
        ink_in_columns = np.concatenate(([0], row.max(axis=0) > 60, [0])).astype(int)
        assert np.count_nonzero(np.diff(ink_in_columns) == 1) >= count
        field = draw_printed_field(row, glyphs, rng)
        assert field.digit_box[2] > field.digit_box[3] * 0.7 * count / 2


def test_a_canvas_without_ink_gives_a_picture_all_the_same(glyphs):
    field = draw_printed_field(np.zeros((64, 64), np.uint8), glyphs, np.random.default_rng(0))
    assert field.picture.size > 0
