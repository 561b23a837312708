"""Distorted digits stay whole, and stretched ones fill about a square."""

import cv2
import numpy as np

from digitscan.training.data.distort import distort, stretch_to_square


def measure_ink(image):
    return cv2.boundingRect(image)[2:]


def test_ink_is_stretched_to_about_a_square():
    rng = np.random.default_rng(0)
    tall = np.zeros((28, 28), np.uint8)
    tall[4:24, 10:18] = 255
    wide = np.ascontiguousarray(tall.T)
    for _ in range(20):
        width, height = measure_ink(stretch_to_square(tall, rng))
        assert height == 20 and 15 <= width <= 20
        width, height = measure_ink(stretch_to_square(wide, rng))
        assert width == 20 and 15 <= height <= 20


def test_a_narrow_line_stays_narrow():
    line = np.zeros((28, 28), np.uint8)
    line[4:24, 13:15] = 255
    assert measure_ink(stretch_to_square(line, np.random.default_rng(0))) == (5, 20)


def test_what_fills_a_square_or_is_empty_is_not_changed():
    rng = np.random.default_rng(0)
    for image in (np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)):
        assert np.array_equal(stretch_to_square(image, rng), image)


def test_a_larger_image_is_distorted_as_one_of_28_pixels():
    image = cv2.putText(np.zeros((112, 112), np.uint8), "3", (24, 92), cv2.FONT_HERSHEY_SIMPLEX, 3.2, 255, 9)
    smaller = cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)
    first, second = (distort(each, np.random.default_rng(0)).astype(float) for each in (image, smaller))
    assert first.shape == second.shape == (64, 64)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.95


def test_a_distorted_image_has_a_larger_canvas():
    distorted = distort(np.zeros((28, 28), np.uint8), np.random.default_rng(0))
    assert distorted.shape == (64, 64)
    assert distorted.dtype == np.uint8
