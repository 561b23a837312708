"""Degraded images are grayscale images of any shape, and each degradation does what its name says."""

import numpy as np
import pytest

from digitscan.training.data.degrade import (
    break_strokes,
    change_stroke_width,
    crop_at_border,
    degrade,
    reduce_resolution,
    simulate_camera,
)
from digitscan.training.data.distort import distort


@pytest.fixture(scope="module")
def images(digits):
    """One hundred digits of 64x64 pixels."""
    rng = np.random.default_rng(3)
    return [distort(image, rng) for image in digits.images[:100]]


def test_a_degraded_image_may_have_any_shape_but_always_two_dimensions(images):
    rng = np.random.default_rng(3)
    degraded = [degrade(image, rng) for image in images]
    assert len({image.shape for image in degraded}) > 10
    assert all(image.ndim == 2 and image.dtype == np.uint8 for image in degraded)


def test_no_degradation_changes_its_input(images):
    rng = np.random.default_rng(3)
    copies = [image.copy() for image in images]
    for image in images:
        degrade(image, rng)
    assert all(np.array_equal(image, copy) for image, copy in zip(images, copies, strict=True))


def test_strokes_become_thinner_or_thicker_or_stay(images):
    rng = np.random.default_rng(1)
    signs = {int(np.sign(int(change_stroke_width(image, rng).sum()) - int(image.sum()))) for image in images}
    assert signs == {-1, 0, 1}


def test_broken_strokes_only_lose_ink(images):
    rng = np.random.default_rng(1)
    broken = [break_strokes(image, rng) for image in images]
    assert all((after <= before).all() for after, before in zip(broken, images, strict=True))
    assert sum(int(image.sum()) for image in broken) < sum(int(image.sum()) for image in images)


def test_a_crop_loses_at_most_the_given_share_of_one_side(images):
    rng = np.random.default_rng(1)
    for image in images:
        whole = crop_at_border(image, rng, max_share=0.0)
        height, width = crop_at_border(image, rng, max_share=0.25).shape
        assert height >= 0.75 * whole.shape[0] - 1 and width >= 0.75 * whole.shape[1] - 1
        assert height == whole.shape[0] or width == whole.shape[1]


def test_an_image_of_too_little_ink_is_not_cropped():
    image = np.zeros((64, 64), np.uint8)
    image[30:34, 30:34] = 255
    assert crop_at_border(image, np.random.default_rng(0)) is image


def test_a_low_resolution_has_15_to_30_pixels_on_the_longer_side(images):
    rng = np.random.default_rng(1)
    sides = [max(reduce_resolution(image, rng).shape) for image in images]
    assert min(sides) >= 15 and max(sides) <= 30


def test_a_photograph_is_mostly_dark_ink_on_light_paper(images):
    rng = np.random.default_rng(1)
    photographs = [simulate_camera(image, rng) for image in images]
    light = [np.median(photograph) > photograph.mean() for photograph in photographs]
    assert 0.6 < np.mean(light) < 1.0
