"""Negatives: images that are not a digit, from which a network learns to reject such images.

They are drawn at random or made of MNIST's digits; no images are collected for them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.types import GrayImage
from digitscan.training.data.font_glyphs import FontGlyphs, choose_glyph
from digitscan.training.data.stroke_glyphs import draw_non_digit, draw_polyline, draw_stroke

MIRRORABLE_DIGITS = (3, 4, 7, 9)
"""Digits whose mirror image is not a digit."""
SLASHED_DIGITS = (0, 1, 7)
"""Digits that people write with a stroke across, so one more does not strike them out."""
ROTATABLE_DIGITS = (3, 4)
"""Digits that are not a digit when they lie on their side."""


def draw_negative(
    images: GrayImage,
    labels: NDArray[np.uint8],
    rng: np.random.Generator,
    letter_share: float,
    font_glyphs: FontGlyphs,
) -> GrayImage:
    """Return a random negative, (28, 28) uint8, light ink on black.

    With the probability `letter_share`, 0 to 1, it is a letter of `font_glyphs`. Otherwise it is a letter
    or sign drawn from a stroke skeleton (probability 0.44), a digit that is struck out (0.06), a scribble
    (0.15), two digits side by side (0.14), the halves of two digits (0.04), a scribbled-over digit (0.05), a
    mirrored or rotated digit (0.06) or a texture (0.06). Digits are taken from `images`, (N, 28, 28) uint8,
    with their `labels`, (N,) uint8.
    """
    if rng.random() < letter_share:
        return choose_glyph(font_glyphs.letters, rng)
    kind = rng.random()
    if kind < 0.44:
        return draw_non_digit(rng)
    if kind < 0.5:
        return _strike_out(images, labels, rng)
    if kind < 0.65:
        return _draw_scribble(rng)
    # Drawn here, before it is known to be needed: moving the draw would change every seeded training run.
    digit = images[int(rng.integers(len(images)))]
    if kind < 0.79:
        return _join_side_by_side(digit, images[int(rng.integers(len(images)))], rng)
    if kind < 0.83:
        return _join_halves(digit, images[int(rng.integers(len(images)))], rng)
    if kind < 0.88:
        return _scribble_over(digit, rng)
    if kind < 0.94:
        return _mirror_or_rotate_digit(images, labels, rng)
    return _draw_texture(rng)


def _draw_scribble(rng: np.random.Generator) -> GrayImage:
    """Return one to four lines through random points or along random walks, some of them smooth."""
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    width = int(rng.integers(1, 4))
    for _ in range(int(rng.integers(1, 5))):
        point_count = int(rng.integers(2, 9))
        if rng.random() < 0.5:
            points = rng.uniform(4.0, 24.0, (point_count, 2))
        else:
            points = np.cumsum(rng.normal(0.0, 4.5, (point_count, 2)), axis=0)
            points += 14.0 - points.mean(axis=0)
        if rng.random() < 0.6 and point_count > 2:
            points = _smooth_line(points)
        is_closed = bool(rng.random() < 0.2)
        draw_polyline(image, points, width, is_closed)
    return image


def _smooth_line(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the line through points (N, 2) as points (8 N, 2), smoothed by a moving average."""
    count = len(points)
    t = np.linspace(0.0, count - 1.0, 8 * count)
    resampled = np.stack([np.interp(t, np.arange(count), points[:, axis]) for axis in (0, 1)], axis=1)
    padded = np.pad(resampled, ((3, 3), (0, 0)), mode="edge")
    kernel = np.ones(7) / 7
    return np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)


def _join_side_by_side(left_digit: GrayImage, right_digit: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return two digits beside each other, touching or apart."""
    left_resized, right_resized = (
        cv2.resize(_crop_to_ink(digit), (13, 22), interpolation=cv2.INTER_AREA)
        for digit in (left_digit, right_digit)
    )
    pair = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    inset = int(rng.integers(0, 3))
    for digit, left in ((left_resized, inset), (right_resized, 15 - inset)):
        top = int(rng.integers(0, 6))
        area = pair[top : top + 22, left : left + 13]
        np.maximum(area, digit, out=area)
    return pair


def _crop_to_ink(digit: GrayImage) -> GrayImage:
    left, top, width, height = cv2.boundingRect(digit)
    return digit[top : top + max(height, 1), left : left + max(width, 1)]


def _join_halves(upper_digit: GrayImage, lower_digit: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the upper part of one digit above the lower part of another, which is rotated."""
    rotated = np.ascontiguousarray(np.rot90(lower_digit, int(rng.integers(1, 4))))
    seam = int(rng.integers(10, 18))
    joined = np.concatenate((upper_digit[:seam], rotated[seam:]))
    return np.ascontiguousarray(joined.T if rng.random() < 0.5 else joined)


def _strike_out(images: GrayImage, labels: NDArray[np.uint8], rng: np.random.Generator) -> GrayImage:
    """Return a digit with one or two straight lines through it, slanted or level, that end beside it."""
    index = int(rng.integers(len(images)))
    for _ in range(20):  # there may be no other digit
        if labels[index] not in SLASHED_DIGITS:
            break
        index = int(rng.integers(len(images)))
    struck_out = images[index].copy()
    left, top, width, height = cv2.boundingRect(struck_out)
    centre = np.array((left + width / 2, top + height / 2)) + rng.normal(0.0, 1.5, 2)
    stroke_width = int(rng.integers(1, 3))
    # A level line through a 4 may be its own crossbar.
    is_level = rng.random() < 0.35 and labels[index] != 4
    angle = np.deg2rad(rng.uniform(-12.0, 12.0) if is_level else rng.uniform(20.0, 65.0))
    if rng.random() < 0.2:
        angle = -angle
    for _ in range(1 if rng.random() < 0.75 else 2):
        direction = np.array((np.cos(angle), -np.sin(angle)))
        reach = 0.5 * (width * abs(direction[0]) + height * abs(direction[1])) * rng.uniform(1.15, 1.5)
        ends = np.clip((centre - reach * direction, centre + reach * direction), 0.0, IMAGE_SIZE - 1.0)
        draw_stroke(struck_out, ends, stroke_width, rng)
        # A second line crosses the first or runs beside it.
        angle = -angle if rng.random() < 0.5 else angle + np.deg2rad(rng.normal(0.0, 5.0))
        centre = centre + rng.normal(0.0, 2.0, 2)
    return np.asarray(struck_out, np.uint8)


def _scribble_over(digit: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return the digit under two to five random strokes."""
    crossed_out = digit.copy()
    for _ in range(int(rng.integers(2, 6))):
        ends = rng.uniform(3.0, 25.0, (2, 2))
        draw_stroke(crossed_out, ends, int(rng.integers(1, 4)), rng)
    return crossed_out


def _mirror_or_rotate_digit(
    images: GrayImage, labels: NDArray[np.uint8], rng: np.random.Generator
) -> GrayImage:
    """Return a digit mirrored or on its side, one that is no digit then."""
    for _ in range(20):
        index = int(rng.integers(len(images)))
        if labels[index] in MIRRORABLE_DIGITS:
            break
    digit = images[index]
    if labels[index] in ROTATABLE_DIGITS and rng.random() < 0.5:
        return np.ascontiguousarray(np.rot90(digit, 1 if rng.random() < 0.5 else 3))
    return np.ascontiguousarray(digit[:, ::-1])


def _draw_texture(rng: np.random.Generator) -> GrayImage:
    """Return random blobs, such as a threshold makes of a photograph."""
    cell_count = int(rng.integers(3, 12))
    noise = rng.uniform(0.0, 255.0, (cell_count, cell_count)).astype(np.float32)
    smooth = cv2.resize(noise, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC)
    threshold = float(np.quantile(smooth, rng.uniform(0.4, 0.8)))
    return np.asarray(np.where(smooth > threshold, 255, 0), np.uint8)
