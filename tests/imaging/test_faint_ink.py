"""Faint thin strokes are found in the grain of a small image, and grain alone is no stroke."""

import numpy as np
import pytest

from digitscan.imaging.faint_ink import estimate_grain, separate_faint_ink
from digitscan.imaging.preprocess import preprocess
from tests.support.pictures import correlate, draw_five


def make_frame(seed, strength=24, grain=4.0, size=32, is_light=False):
    """Return a camera's frame, (size, size) uint8: a five with a pen of a pixel, and grain."""
    random = np.random.default_rng(seed)
    slope = np.linspace(-8, 8, size)
    ink = draw_five(size, 3) * (strength / 255)
    frame = 140 + slope + random.normal(0, grain, (size, size)) - ink
    return np.clip(255 - frame if is_light else frame, 0, 255).astype(np.uint8)


PLAIN_FIVE = preprocess(draw_five(64, 5)).pixels


@pytest.mark.parametrize("is_light", [False, True], ids=["dark ink", "light ink"])
@pytest.mark.parametrize("size", [32, 48])
def test_a_faint_five_of_a_thin_pen_is_read(size, is_light):
    correlations = []
    for seed in range(20):
        result = preprocess(make_frame(seed, size=size, is_light=is_light))
        assert result.pixels is not None, result.rejection
        assert "faint" in result.notes
        correlations.append(correlate(result.pixels, PLAIN_FIVE))
    assert np.median(correlations) > 0.75


def test_the_digits_size_is_in_pixels_of_the_given_image():
    assert preprocess(make_frame(1)).digit_size == pytest.approx(0.7 * 32, abs=3)


@pytest.mark.parametrize("grain", [0.0, 0.3, 2.0, 5.0, 12.0])
def test_grain_alone_is_no_ink(grain):
    found = [separate_faint_ink(make_frame(seed, 0, grain)) for seed in range(30)]
    assert sum(separated is not None for separated in found) <= 3


def test_the_edge_of_paper_is_no_stroke():
    frame = make_frame(0, 0)
    frame[:, 20:] -= 80
    separated = separate_faint_ink(frame)
    assert separated is None or separated.measurement.mask[:, 36:44].mean() < 0.2 * 255


def test_the_grain_is_estimated_beside_ink_and_light():
    assert estimate_grain(make_frame(3, 0, 4.0, 60)) == pytest.approx(4.0, rel=0.15)
    assert estimate_grain(make_frame(3, 24, 4.0, 60)) == pytest.approx(4.0, rel=0.3)
    assert estimate_grain(np.full((1, 1), 7, np.uint8)) == 0.0
