"""Every skeleton of the bundled file can be drawn, and preprocessing finds the drawing."""

import json

import numpy as np
import pytest

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.stroke_glyphs import (
    STROKE_GLYPHS_PATH,
    draw_digit,
    draw_non_digit,
    draw_stroke,
    load_stroke_glyphs,
)


def test_the_file_has_several_skeletons_of_each_digit_and_named_non_digits():
    data = json.loads(STROKE_GLYPHS_PATH.read_text(encoding="utf-8"))
    assert list(data["digits"]) == [str(digit) for digit in range(10)]
    assert all(len(skeletons) >= 6 for skeletons in data["digits"].values())
    assert all(glyph["name"] and glyph["strokes"] for glyph in data["non_digits"])
    assert not {glyph["name"] for glyph in data["non_digits"]} & set("BIOSZbgloqsz")


def test_a_skeleton_is_read_as_its_strokes_of_points():
    first_with_base_line = load_stroke_glyphs().digits[1][2]
    assert [stroke.tolist() for stroke in first_with_base_line] == [
        [[1, 3], [4, 0], [4, 0], [4, 9]],
        [[1, 9], [7, 9]],
    ]


@pytest.mark.parametrize("label", range(10))
def test_a_digit_can_be_drawn_and_is_found_by_preprocessing(label):
    rng = np.random.default_rng(label)
    for _ in range(40):
        image = draw_digit(label, rng)
        assert image.shape == (28, 28)
        assert image.dtype == np.uint8
        assert preprocess(image).pixels is not None


def test_drawings_of_non_digits_are_all_different():
    rng = np.random.default_rng(0)
    images = [draw_non_digit(rng) for _ in range(200)]
    assert {image.shape for image in images} == {(28, 28)}
    assert len({image.tobytes() for image in images}) > 195


def test_a_stroke_joins_its_end_points_and_has_at_least_one_pixel_of_width():
    image = np.zeros((28, 28), np.uint8)
    draw_stroke(image, ((4, 5), (22, 23)), 0, np.random.default_rng(0))
    assert image[5, 4] > 100 and image[23, 22] > 100
    assert 15 < np.count_nonzero(image > 100) < 40
