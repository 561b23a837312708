"""Negatives are many different images of the size of MNIST's digits."""

import numpy as np

from digitscan.training.data.font_glyphs import load_font_glyphs
from digitscan.training.data.negatives import draw_negative


def test_negatives_are_images_of_one_size_and_all_different(digits):
    rng = np.random.default_rng(0)
    font_glyphs = load_font_glyphs("train")
    images = [draw_negative(digits.images, digits.labels, rng, 0.0, font_glyphs) for _ in range(200)]
    assert {(image.shape, image.dtype.name) for image in images} == {((28, 28), "uint8")}
    assert len({image.tobytes() for image in images}) > 195


def test_a_letter_share_of_one_gives_letters_of_fonts_alone(digits):
    rng = np.random.default_rng(0)
    font_glyphs = load_font_glyphs("train")
    letters = {letter.tobytes() for letter in font_glyphs.letters}
    images = [draw_negative(digits.images, digits.labels, rng, 1.0, font_glyphs) for _ in range(50)]
    assert {image.tobytes() for image in images} <= letters


def test_no_digit_that_a_negative_is_made_of_is_changed(digits):
    rng = np.random.default_rng(0)
    font_glyphs = load_font_glyphs("train")
    before = digits.images.copy()
    for _ in range(300):
        draw_negative(digits.images, digits.labels, rng, 0.0, font_glyphs)
    assert np.array_equal(digits.images, before)


def test_some_negatives_are_digits_with_a_line_through_them_that_ends_beside_them(digits):
    rng = np.random.default_rng(0)
    is_four = digits.labels == 4
    fours, labels = digits.images[is_four], digits.labels[is_four]
    whole = {digit.tobytes() for digit in fours}
    struck_out = 0
    for _ in range(400):
        negative = draw_negative(fours, labels, rng, 0.0, load_font_glyphs("train"))
        covered = [np.count_nonzero((digit > 100) & (negative < 100)) == 0 for digit in fours]
        struck_out += any(covered) and negative.tobytes() not in whole
    assert 10 < struck_out < 100
