"""Neighbours come in from the edges of a picture, and light and noise leave the digit legible."""

import cv2
import numpy as np
import pytest

from digitscan.training.data.form_sheet import Rect
from digitscan.training.data.surroundings import (
    add_neighbours,
    paste_ink,
    photograph,
    record,
    resize_ink,
)

DIGIT = Rect(40, 30, 80, 100)
SHAPE = (120, 120)


@pytest.mark.parametrize("max_visible", [0.35, 0.9])
def test_every_neighbour_is_cut_by_an_edge_and_spares_the_digit(max_visible):
    block = (np.full((1, 28, 28), 255, np.uint8),)
    covered = []
    for seed in range(100):
        ink = np.zeros(SHAPE, np.uint8)
        add_neighbours(ink, DIGIT, block, max_visible, np.random.default_rng(seed))
        count, _, boxes, _ = cv2.connectedComponentsWithStats((ink > 0).view(np.uint8))
        assert count > 1
        for left, top, width, height, _ in boxes[1:]:
            assert left == 0 or top == 0 or left + width == SHAPE[1] or top + height == SHAPE[0]
        covered.append(np.mean(ink[30:100, 40:80] > 0))
    assert max(covered) < 0.25
    assert np.mean(covered) < 0.05


@pytest.mark.parametrize(
    ("left", "top", "count"),
    [(5, 5, 100), (-5, -5, 25), (15, 15, 25), (-10, 0, 0), (20, 0, 0), (0, 30, 0)],
)
def test_pasted_ink_is_clipped_to_the_image(left, top, count):
    ink = np.zeros((20, 20), np.uint8)
    paste_ink(ink, np.full((10, 10), 200, np.uint8), left, top)
    assert np.count_nonzero(ink) == count


def test_pasted_ink_erases_nothing():
    ink = np.full((20, 20), 100, np.uint8)
    ink[5] = 255
    paste_ink(ink, np.diag(np.full(20, 200, np.uint8)), 0, 0)
    assert (ink[5] == 255).all()
    assert ink[6, 6] == 200 and ink[6, 7] == 100


def test_enlarged_ink_has_sharper_edges_than_interpolation_alone(digits):
    glyph = digits.images[0]
    enlarged = resize_ink(glyph, 140, 140)
    plain = cv2.resize(glyph, (140, 140), interpolation=cv2.INTER_CUBIC)
    assert enlarged.shape == (140, 140)
    assert np.mean((enlarged > 30) & (enlarged < 225)) < 0.6 * np.mean((plain > 30) & (plain < 225))
    assert np.mean((enlarged > 128) == (plain > 128)) > 0.98


def test_the_digit_lies_on_the_paper_in_every_photograph():
    darkness = np.zeros(SHAPE, np.uint8)
    covered = 0
    for seed in range(300):
        picture, lights = photograph(darkness, DIGIT, np.random.default_rng(seed))
        assert picture.shape == SHAPE and picture.dtype == np.uint8
        if lights == ["edge of paper"] or lights == ["bar"]:
            assert np.ptp(picture[31:99, 41:79]) == 0
            covered += np.ptp(picture) > 0  # not where a bar has the tone of the paper
        if not lights:
            assert np.ptp(picture) == 0
    assert covered > 10


def test_ink_is_darker_than_paper_in_every_photograph():
    darkness = np.zeros(SHAPE, np.uint8)
    darkness[60:70, 50:70] = 255
    for seed in range(100):
        picture, _ = photograph(darkness, DIGIT, np.random.default_rng(seed))
        assert picture[62:68, 52:68].max() == 0


def test_a_recording_keeps_its_contrast_above_its_noise():
    picture = np.full(SHAPE, 160, np.uint8)
    for seed in range(100):
        recording = record(picture, 60.0, np.random.default_rng(seed))
        assert recording.shape == SHAPE
        assert recording.std() < 60 / 5
        assert abs(abs(recording.mean() - 127.5) - 32.5) < 4  # as it was, or inverted
