"""Characters are drawn from pen strokes with many pens, and every writer as often as any other."""

import numpy as np
import pytest

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.pen_files import load_pen_strokes
from digitscan.training.data.pen_strokes import CANVAS_SIZE, PenStrokes, draw_pen_digit, draw_pen_non_digit


@pytest.fixture(scope="module")
def strokes(pens_path):
    """Pen strokes of five writers."""
    return load_pen_strokes([pens_path]).splits["train"]


@pytest.mark.parametrize("label", range(10))
def test_a_digit_is_drawn_and_found_by_preprocessing(label, strokes):
    rng = np.random.default_rng(label)
    for _ in range(30):
        image = draw_pen_digit(strokes, label, rng)
        assert image.shape == (CANVAS_SIZE, CANVAS_SIZE)
        assert image.dtype == np.uint8
        border = np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))
        assert not border.any()
        assert preprocess(image).pixels is not None


def test_drawings_follow_from_the_seed_and_are_all_different(strokes):
    images = [draw_pen_non_digit(strokes, rng) for rng in map(np.random.default_rng, range(60))]
    again = [draw_pen_non_digit(strokes, rng) for rng in map(np.random.default_rng, range(60))]
    assert all(np.array_equal(image, other) for image, other in zip(images, again, strict=True))
    assert len({image.tobytes() for image in images}) == 60


def test_pens_differ_in_width_and_some_fade(strokes):
    rng = np.random.default_rng(0)
    images = [draw_pen_digit(strokes, 1, rng) for _ in range(200)]
    ink = [np.count_nonzero(image > 60) for image in images]
    assert np.quantile(ink, 0.9) > 2.5 * np.quantile(ink, 0.1)
    has_middle_tones = [np.count_nonzero(image == 255) < 0.2 * np.count_nonzero(image) for image in images]
    assert 0.15 < np.mean(has_middle_tones) < 0.6


def test_a_stroke_of_one_point_is_a_dot():
    points, ends = np.array([[500, 0], [500, 700], [500, 1000]], np.int16), np.array([1, 3])
    strokes = PenStrokes(points, ends, ends[:1] + 1, (), (np.array([0]),))
    image = draw_pen_non_digit(strokes, np.random.default_rng(0))
    assert image[:15].any() and image[40:].any()


def test_a_writer_of_many_characters_is_drawn_as_often_as_one_of_few():
    """One wrote fifty lines that lie, the other one that stands."""
    points = np.array([[0, 500], [1000, 500]] * 50 + [[500, 0], [500, 1000]], np.int16)
    ends = np.arange(1, 52)
    strokes = PenStrokes(points, 2 * ends, ends, ((np.arange(50), np.array([50])),) * 10, ())
    rng = np.random.default_rng(3)
    images = [draw_pen_digit(strokes, 1, rng) for _ in range(600)]
    stands = [np.ptp(np.nonzero(image)[0]) > np.ptp(np.nonzero(image)[1]) for image in images]
    assert np.mean(stands) == pytest.approx(0.5, abs=0.08)
