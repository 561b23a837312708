"""Numbers are composed of digits of one hand, in order, with what may stand between them."""

import numpy as np
import pytest

from digitscan.model.ctc import MINUS, POINT
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.number_drawing import (
    DIGIT_HEIGHT,
    MAX_DIGITS,
    HandwritingSources,
    draw_number,
    draw_word,
)
from digitscan.training.data.pen_files import load_pen_strokes


@pytest.fixture(scope="module")
def sources(digits):
    return HandwritingSources.of(digits, load_font_glyphs("train"), None)


def draw_many(draw, sources, count=60):
    return [draw(sources, np.random.default_rng((3, seed))) for seed in range(count)]


def test_a_number_has_digits_and_ink_from_edge_to_edge(sources):
    for number in draw_many(draw_number, sources):
        digits = [symbol for symbol in number.symbols if symbol < 10]
        assert 1 <= len(digits) <= MAX_DIGITS
        assert set(number.symbols) <= {*range(10), POINT, MINUS}
        assert number.ink.dtype == np.uint8
        for edge in (number.ink[0], number.ink[-1], number.ink[:, 0], number.ink[:, -1]):
            assert edge.max() > 30


def test_longer_numbers_are_wider(sources):
    numbers = draw_many(draw_number, sources, 200)
    lengths = np.array([len(number.symbols) for number in numbers])
    widths = np.array([number.ink.shape[1] for number in numbers])
    assert np.corrcoef(lengths, widths)[0, 1] > 0.7


def test_the_same_seed_draws_the_same_number(sources):
    one, other = (draw_number(sources, np.random.default_rng(8)) for _ in range(2))
    assert one.symbols == other.symbols
    assert np.array_equal(one.ink, other.ink)


def test_some_numbers_have_points_and_some_are_in_cells(sources):
    numbers = draw_many(draw_number, sources, 200)
    assert any(POINT in number.symbols[1:-1] for number in numbers)
    in_cells = [number for number in numbers if number.cells]
    assert in_cells
    for number in in_cells:
        assert len(number.cells) == len(number.symbols) + 1
        assert np.all(np.diff(number.cells) > 0.5 * DIGIT_HEIGHT)


def test_a_word_has_no_symbols(sources):
    for word in draw_many(draw_word, sources, 20):
        assert word.symbols == ()
        assert word.ink.max() > 100


def test_pen_strokes_are_drawn_where_there_are_any(digits, pens_path):
    strokes = load_pen_strokes([pens_path]).splits["train"]
    assert len(strokes.hands) == 5
    fonts = load_font_glyphs("train")
    with_pens = draw_many(draw_number, HandwritingSources.of(digits, fonts, strokes), 20)
    without = draw_many(draw_number, HandwritingSources.of(digits, fonts, None), 20)
    assert any(not np.array_equal(a.ink, b.ink) for a, b in zip(with_pens, without, strict=True))
