"""Ink is told from paper under any light, on a table, and in grain; where there is none, nothing is found."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from digitscan.imaging.ink import is_blank, separate_in_even_light
from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.separate import separate_ink
from tests.support.pictures import correlate, draw_five

Y, X = np.mgrid[-1:1:300j, -1:1:300j]


def make_step(distance, softness=0.004):
    """Return 0 on one side of a line and 1 on the other."""
    return 1 / (1 + np.exp(-np.clip(distance / softness, -30, 30)))


LIGHTS = {
    "slope": 150 + 60 * X,
    "steep slope": 140 + 100 * (X + Y) / 2,
    "vignette": 200 - 70 * (X**2 + Y**2),
    "lamp in a corner": 120 + 110 * np.exp(-((X + 0.6) ** 2 + (Y + 0.6) ** 2) / 0.2),
    "lamp in the middle": 120 + 110 * np.exp(-((X + 0.1) ** 2 + (Y + 0.5) ** 2) / 0.15),
    "edge of a shadow": 210 - 90 * make_step(X + 0.4 * Y - 0.7),
    "soft edge of a shadow": 210 - 90 * make_step(X - 0.5 * Y - 0.7, 0.05),
    "round shadow": 210 - 90 * make_step(X**2 + (Y - 1.2) ** 2 - 0.5, 0.02) - 20,
    "table at one side": 210 - 160 * make_step(X - 0.05 * Y - 0.8),
    "table at two sides": 210 - 160 * make_step(np.maximum(X - 0.04 * Y, -Y - 0.04 * X) - 0.75),
    "table all around": 210 - 160 * make_step(np.maximum(abs(X), abs(Y)) - 0.85),
    "bars of a screenshot": 220 - 190 * make_step(abs(Y) - 0.88),
    "crease": 200 - 50 * np.exp(-(((X - 0.6 + 0.1 * Y) / 0.015) ** 2)) - 15 * make_step(X - 0.6 + 0.1 * Y),
    "strip of light": 130 + 80 * make_step(0.1 - abs(X - 0.7 + 0.2 * Y)),
}
"""Brightness of empty paper, (300, 300)."""


@pytest.fixture(params=LIGHTS)
def paper(request):
    grain = np.random.default_rng(0).normal(0, 2, (300, 300))
    return LIGHTS[request.param] + grain


def write_five(paper, size, strength=0.6):
    """Return the paper, uint8, with a dark five of a given size in the middle."""
    five = np.zeros((300, 300))
    start = (300 - size) // 2
    five[start : start + size, start : start + size] = draw_five(size, 7) / 255
    return np.clip(paper * (1 - strength * five), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [60, 140])
@pytest.mark.parametrize("is_light", [False, True], ids=["dark ink", "light ink"])
def test_a_five_is_read_in_any_light(paper, size, is_light):
    """Of a tenth to a fifth of the picture's height. A glow is not taken for light ink, and nor is a step."""
    image = write_five(paper, size)
    result = preprocess(255 - image if is_light else image)
    assert result.pixels is not None, result.rejection
    assert ("light on dark" in result.notes) == is_light
    assert correlate(result.pixels, preprocess(draw_five(100, 7)).pixels) > 0.8


def test_empty_paper_has_no_ink_in_any_light(paper):
    for image in (paper, 255 - paper):
        assert preprocess(np.clip(image, 0, 255).astype(np.uint8)).pixels is None


@pytest.mark.parametrize("angle", range(0, 180, 20))
def test_the_edge_of_a_shadow_is_no_ink_at_any_angle(angle):
    direction = np.deg2rad(angle)
    shadow = make_step(X * np.cos(direction) + Y * np.sin(direction) - 0.2)
    assert preprocess((210 - 90 * shadow).astype(np.uint8)).rejection == "blank"


@pytest.mark.parametrize("angle", range(0, 180, 20))
def test_a_strip_of_light_is_no_ink_at_any_angle(angle):
    direction = np.deg2rad(angle)
    strip = make_step(0.1 - abs(X * np.cos(direction) + Y * np.sin(direction)))
    for image in (130 + 80 * strip, 210 - 80 * strip):
        assert preprocess(image.astype(np.uint8)).pixels is None


def draw_ring():
    """Return a zero of a thick pen that touches all four sides, 255 on 0, (80, 60)."""
    ring = np.zeros((80, 60), np.uint8)
    cv2.ellipse(ring, (30, 40), (24, 34), 0, 0, 360, 255, 11)
    return ring


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_the_hole_of_a_tight_crop_is_not_taken_for_ink(strength):
    light = 200 * (1 + strength * np.linspace(-0.5, 0.5, 60))
    image = np.clip(light * (1 - 0.7 * draw_ring() / 255), 0, 255).astype(np.uint8)
    for ink_is_light in (False, True):
        separated = separate_ink(255 - image if ink_is_light else image)
        assert separated.is_light_on_dark == ink_is_light
        overlap = (separated.measurement.mask > 0) == (draw_ring() > 128)
        assert overlap.mean() > 0.95


def test_a_digit_that_one_edge_cuts_is_no_table():
    stroke = np.full((100, 100), 255, np.uint8)
    cv2.line(stroke, (60, 20), (40, 99), 0, 6, cv2.LINE_AA)
    separated = separate_ink(stroke)
    assert not separated.is_light_on_dark
    assert separated.measurement.mask[95, 41] > 0


@pytest.mark.parametrize("size", [16, 28, 40, 64])
def test_on_even_paper_one_threshold_is_enough(size):
    image = 230 - draw_five(size, 8) // 2
    separated, expected = separate_ink(image), separate_in_even_light(image)
    assert np.array_equal(separated.ink, expected.ink)
    assert np.array_equal(separated.measurement.mask, expected.measurement.mask)
    assert separated.scale == 1.0


IMAGES = st.one_of(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70)),
    st.builds(
        lambda shape, seed, contrast: (
            (120 + np.random.default_rng(seed).normal(0, contrast, shape).cumsum(axis=seed % 2))
            .clip(0, 255)
            .astype(np.uint8)
        ),
        st.tuples(st.integers(1, 200), st.integers(1, 200)),
        st.integers(0, 1000),
        st.floats(0.5, 20),
    ),
)


@given(IMAGES)
@settings(max_examples=150)
def test_any_image_is_separated_and_left_unchanged(image):
    before = image.copy()
    separated = separate_ink(image)
    assert np.array_equal(image, before)
    assert separated.ink.dtype == separated.measurement.mask.dtype == np.uint8
    assert separated.ink.shape == separated.measurement.mask.shape
    assert separated.ink.shape == tuple(int(separated.scale * side) for side in image.shape)
    if not is_blank(separated.measurement.contrast, separated.measurement.noise):
        assert separated.measurement.mask.any()
