"""Pictures of numbers can be read, and differ as those of users do."""

import numpy as np
import pytest

from digitscan.imaging.line_image import preprocess_line
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.form_sheet import Rect, Sheet
from digitscan.training.data.number_drawing import HandwritingSources
from digitscan.training.data.number_paper import draw_number_picture, draw_security_pattern


@pytest.fixture(scope="module")
def pictures(digits):
    sources = HandwritingSources.of(digits, load_font_glyphs("train"), None)
    return [draw_number_picture(sources, np.random.default_rng((4, seed))) for seed in range(150)]


def test_nearly_all_pictures_with_a_number_give_a_line(pictures):
    results = [preprocess_line(picture.picture) for picture in pictures if picture.symbols]
    assert np.mean([result.pixels is not None for result in results]) > 0.95


def test_some_pictures_show_no_number(pictures):
    empty = [not picture.symbols for picture in pictures]
    assert 0.05 < np.mean(empty) < 0.25


def test_pictures_have_many_sizes_and_lights(pictures):
    heights = [picture.picture.shape[0] for picture in pictures]
    assert min(heights) < 25
    assert max(heights) > 90
    papers = [np.median(picture.picture) for picture in pictures]
    assert min(papers) < 120
    assert max(papers) > 220


def test_the_same_seed_gives_the_same_picture(digits):
    sources = HandwritingSources.of(digits, load_font_glyphs("train"), None)
    one, other = (draw_number_picture(sources, np.random.default_rng(8)) for _ in range(2))
    assert np.array_equal(one.picture, other.picture)


def test_a_security_pattern_covers_the_sheet():
    for seed in range(12):
        sheet = Sheet(np.zeros((80, 200), np.uint8), Rect(10, 10, 190, 70), Rect(20, 20, 180, 60), 0.0)
        draw_security_pattern(sheet, np.random.default_rng(seed))
        quarters = [
            part for half in np.array_split(sheet.prints, 2) for part in np.array_split(half, 2, axis=1)
        ]
        assert all(part.any() for part in quarters)
