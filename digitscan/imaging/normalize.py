"""From ink to MNIST's 28x28: scale, contrast, box and centre."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

SIZE = 28


BOX = 20


MOST_BLOCKS = 2
"""A side of a block of pixels that is averaged into one, at most."""


STRAY = 4
"""So many pixels at either end of the values may be broken ones."""


PAPER_END = 0.4
"""Of Otsu's threshold: up to there all is paper."""


INK_END = 0.5
"""Of how far ink stands out, beyond the threshold: from there on all is full ink."""


def downscale(picture: GrayImage, longest: int) -> tuple[GrayImage, float]:
    """Return the picture with its long side at most `longest`, and the scale.

    Interpolated to a multiple of the size, then averaged over whole blocks: many times faster than
    averaging to an exact size. Of a huge picture only a part of the pixels is looked at.
    """
    height, width = picture.shape
    long_side = max(height, width)
    if long_side <= longest:
        return picture, 1.0
    scale = longest / long_side
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    blocks = min(MOST_BLOCKS, long_side // longest)
    finer = (size[0] * blocks, size[1] * blocks)
    if finer != (width, height):
        picture = cv2.resize(picture, finer, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if blocks > 1 else picture, scale


def downscale_by_area(picture: GrayImage, shape: tuple[int, ...]) -> GrayImage:
    """Return the picture averaged down to (height, width): by halves first, which is many times faster."""
    while picture.shape[0] >= 2 * shape[0] and picture.shape[1] >= 2 * shape[1]:
        height, width = picture.shape[0] // 2, picture.shape[1] // 2
        # OpenCV is quick at blocks of 2x2 alone; an odd last row or column is left out.
        picture = picture[: 2 * height, : 2 * width]
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def to_uint8(gray: NDArray[Any]) -> GrayImage:
    """Return uint8 of the same shape; other types are stretched from their own range to 0..255.

    A few stray pixels (hot ones, marks for no data) do not set the range. What is no number becomes the
    median, what is infinite the end of the range.
    """
    if gray.dtype == np.uint8:
        return gray
    values = gray if gray.dtype in (np.uint16, np.float32) else gray.astype(np.float64)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        known = values[np.isfinite(values)]
        if known.size == 0:
            return np.zeros(gray.shape, np.uint8)
        values = np.nan_to_num(values, nan=np.median(known), posinf=known.max(), neginf=known.min())
    stray = min(STRAY, values.size // 200)
    ordered = np.partition(values, (stray, values.size - 1 - stray), axis=None)
    low, high = ordered[stray], ordered[values.size - 1 - stray]
    span = float(high) - float(low)
    if not 1e-30 < span < 1e30:  # even, or beyond what can be divided
        return np.zeros(gray.shape, np.uint8)
    return np.asarray(cv2.convertScaleAbs(np.clip(values, low, high) - low, alpha=255.0 / span))


_LEVELS = np.arange(256, dtype=np.float32)


def stretch_contrast(ink: GrayImage, threshold: float, strength: float) -> GrayImage:
    """Return the ink with paper at 0 and full ink at 255: the soft edge keeps its shape, grain goes."""
    low = PAPER_END * threshold
    high = max(low + 1.0, min(255.0, threshold + INK_END * strength))
    # np.clip does the same in twice the time.
    table = np.minimum(np.maximum(_LEVELS - low, 0.0) * (255.0 / (high - low)), 255.0)
    return cv2.LUT(ink, table.astype(np.uint8))


def fit_into_box(ink: GrayImage) -> GrayImage:
    """Return the ink fitted into 20x20 with its shape kept, thin strokes as bright as thick ones."""
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale == 1.0:
        return ink
    fitted = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
    bright = fitted[fitted > 32]
    if bright.size == 0:
        return fitted
    bright.sort(kind="stable")
    strong = float(bright[bright.size * 3 // 4])
    return cv2.convertScaleAbs(fitted, alpha=255.0 / strong) if strong < 250.0 else fitted


@lru_cache(maxsize=256)
def moment_weights(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return what weighs pixels (H, W) by 1, by their row and by their column: (3, H * W)."""
    rows, columns = np.indices(shape).reshape(2, -1)
    return np.stack((np.ones_like(rows), rows, columns)).astype(np.float32)


def centre_by_mass(fitted: GrayImage) -> GrayImage:
    """Return (28, 28) with the centre of the ink's mass at the middle, as far as the box stays inside."""
    height, width = fitted.shape
    # Whole numbers below 2**24: exact in float32, and in less than half the time of cv2.moments.
    mass, down, right = moment_weights(fitted.shape).dot(fitted.ravel().astype(np.float32)).tolist()
    top = round((SIZE - 1) / 2 - down / (mass or 1.0))
    left = round((SIZE - 1) / 2 - right / (mass or 1.0))
    top = min(max(top, 0), SIZE - height)
    left = min(max(left, 0), SIZE - width)
    centred = np.zeros((SIZE, SIZE), np.uint8)
    centred[top : top + height, left : left + width] = fitted
    return centred
