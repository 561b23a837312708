"""Images are reduced, and ink is brought into MNIST's format."""

import numpy as np
import pytest

from digitscan.imaging.normalize import (
    centre_by_mass,
    downscale,
    downscale_by_area,
    fit_into_box,
    stretch_contrast,
    to_uint8,
)


def test_an_image_is_reduced_to_its_longer_side():
    page = np.zeros((3000, 4000), np.uint8)
    page[:, 1950:2050] = 255
    reduced, scale = downscale(page, 96)
    assert reduced.shape == (72, 96)
    assert scale == pytest.approx(96 / 4000)
    assert reduced[:, 45:51].max(axis=1).min() > 200
    assert reduced[:, :40].max() == 0


def test_a_small_image_is_not_enlarged():
    image = np.zeros((20, 30), np.uint8)
    reduced, scale = downscale(image, 64)
    assert reduced is image and scale == 1.0


def test_downscaling_by_area_uses_every_pixel():
    page = np.zeros((1201, 1601), np.uint8)
    page[:1200, 800] = 255
    reduced = downscale_by_area(page, (48, 64))
    assert reduced.shape == (48, 64)
    assert reduced.sum(axis=1) == pytest.approx(255 / 25, abs=3)


def test_uint8_is_returned_as_it_is():
    image = np.array([[3, 7]], np.uint8)
    assert to_uint8(image) is image


def test_other_types_are_stretched_to_uint8_and_nan_becomes_the_median():
    values = np.array([[0.5, 1.5, np.nan, np.inf, -np.inf, 1.1]])
    assert to_uint8(values).tolist() == [[0, 255, 153, 255, 0, 153]]
    assert not to_uint8(np.full((3, 3), np.nan)).any()


def test_full_ink_is_stretched_to_255_and_grain_to_0():
    ink = np.array([[0, 5, 60, 110, 120]], np.uint8)
    paper, grain, *_, full_ink = stretch_contrast(ink, threshold=60, contrast=110).tolist()[0]
    assert (paper, grain, full_ink) == (0, 0, 255)


def test_a_shape_keeps_its_proportions_in_the_box():
    assert fit_into_box(np.full((60, 15), 255, np.uint8)).shape == (20, 5)
    assert fit_into_box(np.full((5, 10), 255, np.uint8)).shape == (10, 20)


def test_a_thin_stroke_is_as_bright_as_a_thick_one():
    ink = np.zeros((200, 200), np.uint8)
    ink[:, 98:102] = 255
    assert fit_into_box(ink).max() == 255


def test_the_centre_of_mass_goes_to_the_centre():
    digit = np.full((20, 5), 255, np.uint8)
    digit[:10] = 60
    centred = centre_by_mass(digit)
    assert centred.shape == (28, 28)
    mean_row = np.arange(28) @ centred.sum(axis=1) / centred.sum()
    assert abs(mean_row - 13.5) <= 0.51


def test_a_digit_is_not_cut_off_to_centre_it():
    digit = np.ones((20, 20), np.uint8)
    digit[:2] = 255
    assert centre_by_mass(digit).sum() == digit.sum()
