"""Pictures of no digit, to learn to refuse: made, not collected."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.font_glyphs import FontGlyphs, random_glyph
from digitscan.training.data.stroke_glyphs import draw_non_digit, draw_stroke

Random = np.random.Generator


def draw_negative(
    images: GrayImage, labels: NDArray[np.uint8], random: Random, letters: float, font_glyphs: FontGlyphs
) -> GrayImage:
    """Return a (28, 28) picture that is no digit: letters, strokes drawn at random, or MNIST's pieces.

    `letters` is the share, 0 to 1, of letters of fonts. `images` (N, 28, 28) uint8 have `labels` (N,) uint8.
    """
    if random.random() < letters:
        return random_glyph(font_glyphs.letters, random)
    kind = random.random()
    if kind < 0.5:
        return draw_non_digit(random)
    if kind < 0.65:
        return _scribble(random)
    first = images[int(random.integers(len(images)))]
    if kind < 0.79:
        return _side_by_side(first, images[int(random.integers(len(images)))], random)
    if kind < 0.83:
        return _halves(first, images[int(random.integers(len(images)))], random)
    if kind < 0.88:
        crossed: GrayImage = first.copy()
        for _ in range(int(random.integers(2, 6))):
            points = random.uniform(3.0, 25.0, (2, 2))
            draw_stroke(crossed, points, int(random.integers(1, 4)), random)
        return crossed
    if kind < 0.94:
        return _mirrored(images, labels, random)
    return _texture(random)


def _scribble(random: Random) -> GrayImage:
    drawn = np.zeros((28, 28), np.uint8)
    width = int(random.integers(1, 4))
    for _ in range(int(random.integers(1, 5))):
        count = int(random.integers(2, 9))
        if random.random() < 0.5:
            points = random.uniform(4.0, 24.0, (count, 2))
        else:
            points = np.cumsum(random.normal(0.0, 4.5, (count, 2)), axis=0)
            points += 14.0 - points.mean(axis=0)
        if random.random() < 0.6 and count > 2:
            t = np.linspace(0.0, count - 1.0, 8 * count)
            points = np.stack([np.interp(t, np.arange(count), points[:, k]) for k in (0, 1)], axis=1)
            kernel = np.ones(7) / 7
            padded = np.pad(points, ((3, 3), (0, 0)), mode="edge")
            points = np.stack([np.convolve(padded[:, k], kernel, "valid") for k in (0, 1)], axis=1)
        closed = random.random() < 0.2
        cv2.polylines(drawn, [np.rint(points * 16).astype(np.int32)], closed, 255, width, cv2.LINE_AA, 4)
    return drawn


def _side_by_side(first: GrayImage, second: GrayImage, random: Random) -> GrayImage:
    """Two digits, touching or apart, in one frame."""
    halves = [cv2.resize(_cropped(part), (13, 22), interpolation=cv2.INTER_AREA) for part in (first, second)]
    pair = np.zeros((28, 28), np.uint8)
    overlap = int(random.integers(0, 3))
    for place, half in enumerate(halves):
        left = overlap if place == 0 else 15 - overlap
        rise = int(random.integers(0, 6))
        area = pair[rise : rise + 22, left : left + 13]
        np.maximum(area, half, out=area)
    return pair


def _cropped(digit: GrayImage) -> GrayImage:
    left, top, width, height = cv2.boundingRect(digit)
    return digit[top : top + max(height, 1), left : left + max(width, 1)]


def _halves(first: GrayImage, second: GrayImage, random: Random) -> GrayImage:
    """Glue the upper part of one digit to the lower part of another, which is turned."""
    turned = np.ascontiguousarray(np.rot90(second, int(random.integers(1, 4))))
    line = int(random.integers(10, 18))
    glued = np.concatenate((first[:line], turned[line:]))
    return np.ascontiguousarray(glued.T if random.random() < 0.5 else glued)


def _mirrored(images: GrayImage, labels: NDArray[np.uint8], random: Random) -> GrayImage:
    """Mirror a digit or lay it on its side, of those that are no digit then."""
    for _ in range(20):
        index = int(random.integers(len(images)))
        if labels[index] in (3, 4, 7, 9):
            break
    digit = images[index]
    if labels[index] in (3, 4) and random.random() < 0.5:
        return np.ascontiguousarray(np.rot90(digit, 1 if random.random() < 0.5 else 3))
    return np.ascontiguousarray(digit[:, ::-1])


def _texture(random: Random) -> GrayImage:
    """Blobs and grain, as a threshold makes of a photo."""
    cells = int(random.integers(3, 12))
    field = random.uniform(0.0, 255.0, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(field, (28, 28), interpolation=cv2.INTER_CUBIC)
    limit = float(np.quantile(smooth, random.uniform(0.4, 0.8)))
    return np.asarray(np.where(smooth > limit, 255, 0), np.uint8)
