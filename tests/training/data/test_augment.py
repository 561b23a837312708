"""Training pictures: other hands, pens and cameras, and what is no digit, the same for the same seed."""

import numpy as np
import pytest

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.augment import (
    AugmentationConfig,
    augment_images,
    distort_elastically,
    slant_images,
)
from digitscan.training.data.degrade import degrade
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.negatives import draw_negative
from digitscan.training.data.sources import load_data
from digitscan.training.data.stroke_glyphs import DIGITS, draw_digit, draw_non_digit

MNIST = load_data()
IMAGES, LABELS = MNIST.x_train[:300], MNIST.y_train[:300]


def test_the_same_seed_gives_the_same_pictures_however_they_are_shared_out() -> None:
    indices = np.arange(250, 350)
    together = augment_images(IMAGES, LABELS, indices, seed=5)
    apart = np.concatenate(
        [
            augment_images(IMAGES, LABELS, indices[:30], seed=5),
            augment_images(IMAGES, LABELS, indices[30:], seed=5),
        ]
    )
    assert np.array_equal(together, apart)
    assert not np.array_equal(together, augment_images(IMAGES, LABELS, indices, seed=6))


def test_every_augmented_picture_shows_something() -> None:
    pictures = augment_images(IMAGES, LABELS, np.arange(380), seed=1)
    assert pictures.shape == (380, 28, 28)
    assert pictures.dtype == np.uint8
    assert pictures.max(axis=(1, 2)).min() > 100


def test_augmented_digits_stay_like_themselves_on_average() -> None:
    plain = np.stack([preprocess(image).pixels for image in IMAGES]).astype(float)
    many = np.mean([augment_images(IMAGES, LABELS, np.arange(300), seed) for seed in range(6)], axis=0)
    own = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(plain, many, strict=True)]
    others = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(plain, np.roll(many, 7, 0), strict=True)
    ]
    assert np.mean(own) > np.mean(others) + 0.25


def test_gentle_pictures_stay_closer_than_others() -> None:
    plain = np.stack([preprocess(image).pixels for image in IMAGES]).astype(float)
    every, none = (
        np.abs(
            augment_images(IMAGES, LABELS, np.arange(300), 1, AugmentationConfig(gentle=share)) - plain
        ).mean()
        for share in (1.0, 0.0)
    )
    assert 0 < every < 0.8 * none


def test_slanted_digits_stay_closer_than_augmented_ones() -> None:
    plain = np.stack([preprocess(image).pixels for image in IMAGES]).astype(float)
    gently = np.abs(slant_images(IMAGES, np.arange(300), 1) - plain).mean()
    roughly = np.abs(augment_images(IMAGES, LABELS, np.arange(300), 1) - plain).mean()
    assert 0 < gently < roughly


@pytest.mark.parametrize("label", range(10))
def test_every_skeleton_of_a_digit_can_be_drawn_and_found(label: int) -> None:
    random = np.random.default_rng(label)
    assert len(DIGITS[label]) >= 4
    for _ in range(20):
        drawn = draw_digit(label, random)
        assert drawn.shape == (28, 28)
        assert preprocess(drawn).pixels is not None


def test_pictures_of_no_digit_are_many_and_different() -> None:
    random = np.random.default_rng(0)
    font_glyphs = load_font_glyphs(learning=True)
    pictures = [draw_negative(IMAGES, LABELS, random, 0.0, font_glyphs) for _ in range(200)]
    pictures += [draw_non_digit(random) for _ in range(100)]
    assert {picture.shape for picture in pictures} == {(28, 28)}
    assert len({picture.tobytes() for picture in pictures}) > 295


def test_a_picture_may_have_any_frame_but_always_two_dimensions() -> None:
    random = np.random.default_rng(3)
    shapes = {degrade(distort_elastically(IMAGES[k], random), random).shape for k in range(100)}
    assert len(shapes) > 10
    assert all(len(shape) == 2 for shape in shapes)


def test_a_share_of_zero_leaves_mnist_as_preprocess_shows_it() -> None:
    nothing = AugmentationConfig(
        added_strokes=0.0, skeletons=0.0, fonts=0.0, letters=0.0, bent=0.0, pens_and_cameras=0.0, gentle=0.0
    )
    plain = np.stack([preprocess(image).pixels for image in IMAGES[:50]])
    assert np.array_equal(augment_images(IMAGES, LABELS, np.arange(50), 1, nothing), plain)


def test_fonts_to_learn_from_are_not_those_for_validation() -> None:
    learning, checking = load_font_glyphs(learning=True), load_font_glyphs(learning=False)
    for more, fewer in zip(
        (*learning.digits, learning.letters), (*checking.digits, checking.letters), strict=True
    ):
        assert len(more) > len(fewer) >= 8
        assert not {image.tobytes() for image in more} & {image.tobytes() for image in fewer}


def test_all_digits_can_come_from_fonts() -> None:
    fonts = AugmentationConfig(skeletons=0.0, fonts=1.0, bent=0.0, pens_and_cameras=0.0, gentle=0.0)
    shown = augment_images(IMAGES, LABELS, np.arange(100), 1, fonts)
    known = {preprocess(image).pixels.tobytes() for digit in load_font_glyphs(True).digits for image in digit}
    assert all(image.tobytes() in known for image in shown)
