"""Digits in the fields of forms, drawn for the tests of this package.

Pages are (H, W) uint8, dark ink on light paper. A digit is a mask, 255 where it has ink, cut to its ink.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.preprocess import Preprocessed, list_candidates, preprocess
from digitscan.imaging.types import GrayImage
from digitscan.training.data.sources import load_data
from tests.support.pictures import correlate

PAPER, INK, PRINT = 235, 50, 80
"""Gray levels of the paper, of the digit and of the printed lines."""

STROKES: dict[str, Sequence[Sequence[tuple[float, float]]]] = {
    "1": [[(0, 0), (0, 1)]],
    "2": [[(0, 0.2), (0.25, 0), (0.55, 0.05), (0.6, 0.3), (0, 1), (0.7, 1)]],
    "4": [[(0.35, 0), (0, 0.62), (0.7, 0.62)], [(0.5, 0.3), (0.5, 1)]],
    "5": [[(0.65, 0), (0.05, 0), (0, 0.45), (0.4, 0.4), (0.65, 0.65), (0.45, 0.97), (0, 0.9)]],
    "7": [[(0, 0), (0.65, 0), (0.2, 1)]],
    "z": [[(0, 0), (0.65, 0), (0, 1), (0.65, 1)]],
    "open 4": [[(0, 0), (0, 0.6), (0.5, 0.6)], [(0.65, 0), (0.65, 1)]],
    "broken 5": [
        [(0.15, 0.14), (0.1, 0.5), (0.45, 0.48), (0.65, 0.7), (0.45, 0.97), (0, 0.9)],
        [(0.2, 0), (0.75, 0)],
    ],
}
"""Corners of each stroke of digits and signs, (x, y), in heights of the digit."""


def draw_strokes(name: str, height: int = 60, pen: int = 5) -> GrayImage:
    """Return the digit of STROKES with a pen of so many pixels, so high with the pen, cut to its ink."""
    inner = height - pen
    mask = np.zeros((2 * height, 2 * height), np.uint8)
    for corners in STROKES[name]:
        points = np.rint((np.array(corners) * inner + height // 4) * 16).astype(np.int32)
        cv2.polylines(mask, [points], False, 255, pen, cv2.LINE_AA, 4)
    return cut_to_ink(mask)


@cache
def _load_training_images() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    data = load_data()
    return data.x_train[:2000], data.y_train[:2000]


def load_digit(label: int, index: int = 0, height: int = 60) -> GrayImage:
    """Return the `index`-th of MNIST's training images of a digit, so high, cut to its ink."""
    images, labels = _load_training_images()
    digit = cut_to_ink(images[np.flatnonzero(labels == label)[index]])
    width = max(2, round(digit.shape[1] * height / digit.shape[0]))
    is_larger = height > digit.shape[0]
    return cv2.resize(digit, (width, height), interpolation=cv2.INTER_CUBIC if is_larger else cv2.INTER_AREA)


def cut_to_ink(mask: GrayImage) -> GrayImage:
    left, top, width, height = cv2.boundingRect((mask > 64).astype(np.uint8))
    return mask[top : top + height, left : left + width]


def make_paper(height: int = 100, width: int | None = None) -> GrayImage:
    """Return empty paper; square if only the height is given."""
    return np.full((height, width or height), PAPER, np.uint8)


def write(page: GrayImage, digit: GrayImage, top: int | None = None, left: int | None = None) -> GrayImage:
    """Return the page with a digit on it, in the middle where no place is given; the page may cut it."""
    height, width = page.shape
    digit_height, digit_width = digit.shape
    top = (height - digit_height) // 2 if top is None else top
    left = (width - digit_width) // 2 if left is None else left
    mask = np.zeros((height + 2 * digit_height, width + 2 * digit_width), np.uint8)
    y, x = top + digit_height, left + digit_width
    assert 0 <= y <= height + digit_height and 0 <= x <= width + digit_width, "off the page"
    mask[y : y + digit_height, x : x + digit_width] = digit
    mask = mask[digit_height : digit_height + height, digit_width : digit_width + width]
    ink = PAPER - (PAPER - INK) * (mask / 255)
    return np.minimum(page, ink.astype(np.uint8))


def draw_line(
    page: GrayImage,
    start: tuple[float, float],
    end: tuple[float, float],
    thickness: int = 2,
    tone: int = PRINT,
) -> GrayImage:
    """Return the page with a straight line between two points, (x, y)."""
    points = [tuple(round(value * 16) for value in point) for point in (start, end)]
    return np.asarray(cv2.line(page.copy(), *points, tone, thickness, cv2.LINE_AA, 4))


def draw_box(
    page: GrayImage, margin: float = 6, thickness: int = 2, tone: int = PRINT, tilt: float = 0.0
) -> GrayImage:
    """Return the page with a rectangle at this distance from the edges, turned by `tilt` degrees."""
    height, width = page.shape
    corners = [(margin, margin), (width - 1 - margin, margin), (width - 1 - margin, height - 1 - margin)]
    corners.append((margin, height - 1 - margin))
    turned = cv2.transform(
        np.array([corners], np.float64), cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), tilt, 1)
    )
    points = np.rint(turned * 16).astype(np.int32)
    return np.asarray(cv2.polylines(page.copy(), list(points), True, tone, thickness, cv2.LINE_AA, 4))


def draw_rounded_box(page: GrayImage, margin: int = 6, radius: int = 14, thickness: int = 2) -> GrayImage:
    height, width = page.shape
    mask = np.zeros(page.shape, np.uint8)
    for inset, value in ((0, 255), (thickness, 0)):
        first, last, inner_radius = margin + inset, margin + inset + 1, radius - inset
        cv2.rectangle(
            mask, (first + inner_radius, first), (width - last - inner_radius, height - last), value, -1
        )
        cv2.rectangle(
            mask, (first, first + inner_radius), (width - last, height - last - inner_radius), value, -1
        )
        for y in (first + inner_radius, height - last - inner_radius):
            for x in (first + inner_radius, width - last - inner_radius):
                cv2.circle(mask, (x, y), inner_radius, value, -1)
    return np.where(mask > 0, PRINT, page).astype(np.uint8)


def draw_dashed_box(
    page: GrayImage, margin: int = 6, dash: int = 5, gap: int = 4, thickness: int = 2
) -> GrayImage:
    height, width = page.shape
    is_dash_x = np.arange(width) % (dash + gap) < dash
    is_dash_y = np.arange(height) % (dash + gap) < dash
    frame = np.zeros(page.shape, np.bool_)
    for start in (margin, height - margin - thickness):
        frame[start : start + thickness, margin : width - margin] |= is_dash_x[margin : width - margin]
    for start in (margin, width - margin - thickness):
        frame[margin : height - margin, start : start + thickness] |= is_dash_y[
            margin : height - margin, None
        ]
    return np.where(frame, PRINT, page).astype(np.uint8)


def draw_comb(page: GrayImage, tooth: float, thickness: int) -> GrayImage:
    """Return the page with a comb's base, and a tooth at either side, from the base up."""
    height, width = page.shape
    base = height - 8
    page = draw_line(page, (0, base), (width, base), thickness)
    for x in (5, width - 6):
        page = draw_line(page, (x, base), (x, base - tooth * height), thickness)
    return page


def draw_ellipse(page: GrayImage, margin: int = 6, thickness: int = 2) -> GrayImage:
    height, width = page.shape
    axes = (width // 2 - margin, height // 2 - margin)
    return np.asarray(
        cv2.ellipse(page.copy(), (width // 2, height // 2), axes, 0, 0, 360, PRINT, thickness, cv2.LINE_AA)
    )


def preprocess_digit(page: GrayImage) -> Preprocessed:
    """Return the result for a page on which there must be a digit."""
    result = preprocess(page)
    assert result.pixels is not None, result.rejection
    return result


def compare(page: GrayImage, expected: GrayImage) -> float:
    """Return the correlation of the first candidates of two pages that must have a digit."""
    pixels, expected_pixels = preprocess_digit(page).pixels, preprocess_digit(expected).pixels
    assert pixels is not None and expected_pixels is not None
    return correlate(pixels, expected_pixels)


def compare_candidates(page: GrayImage, expected: GrayImage) -> list[float]:
    """Return the correlation of each candidate of a page with the first one of another."""
    expected_pixels = preprocess_digit(expected).pixels
    assert expected_pixels is not None
    candidates = list_candidates(preprocess_digit(page))
    return [correlate(candidate.pixels, expected_pixels) for candidate in candidates]


def draw_number(number, index):
    """Return a picture of a number in MNIST's hands, dark on light paper, (H, W) uint8."""
    digits = [load_digit(int(digit), index) for digit in number]
    page = np.full((100, 20 + sum(digit.shape[1] + 8 for digit in digits)), 235, np.uint8)
    left = 10
    for digit in digits:
        height, width = digit.shape
        page[20 : 20 + height, left : left + width] -= (digit * 0.7).astype(np.uint8)
        left += width + 8
    return page
