"""Augmented images follow from the seed alone, vary as the configuration says, and keep their label."""

from dataclasses import replace

import numpy as np
import pytest

from digitscan.imaging.preprocess import preprocess
from digitscan.training.data.augment import (
    MAX_LINE_WIDTH,
    NO_AUGMENTATION,
    AugmentationConfig,
    augment_as_scanned,
    augment_images,
    vary_handwriting,
)
from digitscan.training.data.distort import apply_random_affine
from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.pen_files import load_pen_strokes


def augment(digits, indices, seed, config=None):
    return augment_images(digits.images, digits.labels, indices, seed, config)


@pytest.fixture(scope="module")
def preprocessed(digits):
    """The digits as `preprocess` returns them."""
    return np.stack([preprocess(image).pixels for image in digits.images]).astype(float)


@pytest.fixture(scope="module")
def strokes(pens_path):
    """Pen strokes of five writers."""
    return load_pen_strokes([pens_path]).splits["train"]


def mean_difference(images, others):
    return np.abs(images - others).mean()


def test_images_follow_from_the_seed_however_they_are_divided(digits):
    indices = np.arange(250, 350)  # the last 50 are negatives
    at_once = augment(digits, indices, seed=5)
    in_chunks = [augment(digits, chunk, seed=5) for chunk in (indices[:30], indices[30:])]
    assert np.array_equal(at_once, np.concatenate(in_chunks))
    assert not np.array_equal(at_once, augment(digits, indices, seed=6))


def test_every_augmented_image_shows_something(digits):
    images = augment(digits, np.arange(380), seed=1)
    assert images.shape == (380, 28, 28)
    assert images.dtype == np.uint8
    assert images.max(axis=(1, 2)).min() > 100


def test_augmented_digits_look_like_their_originals_on_average(digits, preprocessed):
    means = np.mean([augment(digits, np.arange(300), seed) for seed in range(6)], axis=0)

    def mean_correlation(images):
        pairs = zip(preprocessed, images, strict=True)
        return np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])

    assert mean_correlation(means) > mean_correlation(np.roll(means, 7, axis=0)) + 0.25


def test_weakly_augmented_digits_stay_closer_to_mnist_than_others(digits, preprocessed):
    weak, strong = (
        augment(digits, np.arange(300), 1, AugmentationConfig(weakly_augmented=share)) for share in (1.0, 0.0)
    )
    assert 0 < mean_difference(weak, preprocessed) < 0.8 * mean_difference(strong, preprocessed)


def test_a_random_affine_changes_digits_less_than_augmentation(digits, preprocessed):
    transformed = apply_random_affine(digits.images, np.arange(300), seed=1)
    augmented = augment(digits, np.arange(300), seed=1)
    assert 0 < mean_difference(transformed, preprocessed) < mean_difference(augmented, preprocessed)


def test_shares_of_zero_leave_mnist_as_preprocess_returns_it(digits, preprocessed):
    assert np.array_equal(augment(digits, np.arange(50), 1, NO_AUGMENTATION), preprocessed[:50])


def test_a_share_of_one_takes_all_digits_from_fonts(digits):
    images = augment(digits, np.arange(100), 1, replace(NO_AUGMENTATION, font_glyphs=1.0))
    glyphs = [glyph for digit in load_font_glyphs("train").digits for glyph in digit]
    known = {preprocess(glyph).pixels.tobytes() for glyph in glyphs}
    assert all(image.tobytes() in known for image in images)


def correlate(images, others):
    pairs = zip(images, others, strict=True)
    return np.array([np.corrcoef(image.ravel(), other.ravel())[0, 1] for image, other in pairs])


def test_digits_in_printed_fields_are_still_the_digits(digits, preprocessed):
    images = augment(digits, np.arange(100), 1, replace(NO_AUGMENTATION, printed_fields=1.0))
    is_drawn = images.any(axis=(1, 2))  # a few may stay black: none of their fields was read as the digit
    assert is_drawn.sum() >= 98
    images, originals = images[is_drawn], preprocessed[:100][is_drawn]
    assert not any(np.array_equal(a, b) for a, b in zip(images, originals, strict=True))
    others = np.roll(originals, 7, axis=0)
    assert np.median(correlate(images, originals)) > np.median(correlate(images, others)) + 0.3


def test_empty_fields_that_preprocess_takes_for_a_digit_are_negatives(digits):
    config = replace(NO_AUGMENTATION, empty_fields=1.0)
    images = augment(digits, np.arange(300, 340), 1, config)
    widths = [np.count_nonzero(image.any(axis=0)) for image in images if image.any()]
    assert len(widths) > 10
    assert min(widths) > MAX_LINE_WIDTH


def test_a_scan_sees_the_images_that_training_sees_but_for_the_damaged_ones(digits):
    config = replace(NO_AUGMENTATION, degraded=1.0)
    scanned = augment_as_scanned(digits.images, digits.labels, np.arange(300), 1, config, "train")
    trained = augment(digits, np.arange(300), 1, config)
    is_same = [np.array_equal(result.pixels, image) for result, image in zip(scanned, trained, strict=True)]
    assert 0.8 < np.mean(is_same) < 1


def test_a_scan_sees_all_candidates_of_a_field(digits):
    config = replace(NO_AUGMENTATION, printed_fields=1.0)
    scanned = augment_as_scanned(digits.images, digits.labels, np.arange(100), 1, config, "train")
    assert any(result.alternative for result in scanned if result is not None)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_one_draws_all_digits_from_pen_strokes(share, digits, strokes):
    """None of them is left black where the source's images are."""
    black = np.zeros_like(digits.images)
    config = replace(NO_AUGMENTATION, pen_digits=share)
    images = augment_images(black, digits.labels, np.arange(60), 1, config, "train", strokes)
    assert [image.any() for image in images] == [bool(share)] * 60


def test_a_share_of_one_draws_all_negatives_from_pen_strokes(digits, strokes):
    """All letters of the five writers that no digit looks like have the same shape."""
    likeness = []
    for share in (0.0, 1.0):
        config = replace(NO_AUGMENTATION, pen_non_digits=share)
        indices = np.arange(300, 360)
        images = augment_images(digits.images, digits.labels, indices, 1, config, "train", strokes)
        mean = images.mean(axis=0).ravel()
        likeness.append([np.corrcoef(image.ravel(), mean)[0, 1] for image in images])
    assert np.median(likeness[0]) < 0.72 < 0.8 < np.median(likeness[1])


def test_without_pen_strokes_their_shares_change_nothing(digits):
    indices = np.arange(250, 350)
    config = AugmentationConfig(pen_digits=0.9, pen_non_digits=0.9)
    assert np.array_equal(augment(digits, indices, 5), augment(digits, indices, 5, config))


def test_weakly_augmented_digits_are_never_drawn_from_pen_strokes(digits, strokes):
    config = AugmentationConfig(weakly_augmented=1.0, pen_digits=1.0)
    drawn = augment_images(digits.images, digits.labels, np.arange(50), 1, config, "train", strokes)
    assert np.array_equal(drawn, augment(digits, np.arange(50), 1, config))


@pytest.mark.parametrize(("label", "share"), [(0, 0.25), (1, 0.5), (7, 0.25), (4, 0.0)])
def test_a_share_of_0_1_and_7_gets_a_stroke_that_mnist_lacks(digits, label, share):
    """The flag of a 1, the slash of a 0, the bar of a 7."""
    rng = np.random.default_rng(label)
    originals = [image for image in digits.images[digits.labels == label] for _ in range(20)]
    config = replace(NO_AUGMENTATION, added_strokes=1.0)
    glyphs = load_font_glyphs("train")
    varied = [vary_handwriting(image, label, rng, config, glyphs) for image in originals]
    changed = [image for image, original in zip(varied, originals, strict=True) if image is not original]
    assert len(changed) == pytest.approx(share * len(originals), abs=0.08 * len(originals))
    assert all(
        (image >= original).all() and image.sum() > original.sum()
        for image, original in zip(varied, originals, strict=True)
        if image is not original
    )
