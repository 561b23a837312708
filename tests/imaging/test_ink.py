"""Ink is told from paper, and measured, on light and dark, even and uneven paper."""

import cv2
import numpy as np
import pytest

from digitscan.imaging.ink import has_thin_strokes, is_light_on_dark, measure_ink, subtract_background
from tests.support.pictures import draw_five


@pytest.mark.parametrize("size", [20, 28, 100, 400])
def test_a_five_is_light_on_dark_and_its_negative_is_not(size):
    assert is_light_on_dark(draw_five(size, 8))
    assert not is_light_on_dark(255 - draw_five(size, 8))


def test_a_tight_crop_whose_ink_fills_the_border_is_not_inverted():
    ring = np.zeros((40, 30), np.uint8)
    cv2.ellipse(ring, (15, 20), (11, 16), 0, 0, 360, 255, 5)
    assert is_light_on_dark(ring)
    assert not is_light_on_dark(255 - ring)


@pytest.mark.parametrize("lean", [0, 4, -4])
def test_a_narrow_crop_of_a_one_is_not_inverted(lean):
    stroke = np.zeros((60, 16), np.uint8)
    cv2.line(stroke, (8 - lean, 0), (8 + lean, 59), 255, 7, cv2.LINE_AA)
    assert is_light_on_dark(stroke)
    assert not is_light_on_dark(255 - stroke)


@pytest.mark.parametrize("strength", [0.5, -0.5])
def test_thin_strokes_tell_ink_from_paper_under_uneven_light(strength):
    light = np.tile(np.linspace(60, 200, 100), (100, 1))
    page = light * (1 + strength * draw_five() / 255)
    assert is_light_on_dark(page.clip(0, 255).astype(np.uint8)) == (strength > 0)


def test_a_gradient_of_the_paper_is_removed_and_the_ink_stays():
    gradient = np.tile(np.linspace(20, 120, 100), (100, 1))
    ink = subtract_background(np.clip(gradient + 0.5 * draw_five(), 0, 255).astype(np.uint8))
    is_paper = cv2.dilate(draw_five(), np.ones((9, 9), np.uint8)) == 0
    assert ink[is_paper].max() <= 25  # the most is at the edge, where the paper is known on one side only
    assert ink[is_paper].mean() < 4
    assert ink[draw_five() == 255].min() > 100


def test_even_paper_becomes_zero():
    ink = subtract_background(np.maximum(draw_five(), 40))
    assert ink[0, 0] == 0
    assert ink.max() == 215


def test_contrast_and_noise_are_measured_in_gray_levels():
    random = np.random.default_rng(1)
    page = np.where(draw_five() > 128, 150, 20) + random.normal(0, 3, (100, 100))
    mask, threshold, contrast, noise = measure_ink(page.astype(np.uint8))
    assert np.array_equal(mask > 0, draw_five() > 128)
    assert 20 < threshold < 150
    assert contrast == pytest.approx(130, abs=2)
    assert noise == pytest.approx(3, abs=0.5)


def test_an_image_of_one_value_has_no_contrast():
    measurement = measure_ink(np.zeros((20, 20), np.uint8))
    assert (measurement.contrast, measurement.noise) == (0.0, 0.0)


def test_strokes_of_a_thin_pen_are_thin_and_of_a_wider_one_are_not():
    assert has_thin_strokes(draw_five(100, 1))
    assert not has_thin_strokes(draw_five(100, 4))
