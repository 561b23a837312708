"""Size and contrast: reduce an image for analysis, and bring a digit's ink into MNIST's 28x28 format.

MNIST's format is described in LeCun et al., "Gradient-based learning applied to document recognition"
(1998), section III.A: a digit is scaled to fit a 20x20 box with its aspect ratio kept, and placed in a 28x28
image with its centre of mass at the centre. `ink`, `preprocess` and `preprocess_batch` use these functions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

IMAGE_SIZE = 28
"""Pixels on a side of MNIST's images."""
BOX_SIZE = 20
"""Pixels on the longer side of a digit in them."""
MAX_BLOCK_SIZE = 2
"""`downscale` averages over blocks of at most this many pixels a side."""
MAX_OUTLIERS = 4
"""Up to this many pixels at either end of an image's values may be defective."""
PAPER_CUTOFF = 0.4
"""Values up to this share of Otsu's threshold become 0, paper."""
INK_CUTOFF = 0.5
"""Values from Otsu's threshold plus this share of the ink's contrast on become 255, full ink."""

_GRAY_LEVELS = np.arange(256, dtype=np.float32)


def downscale(image: GrayImage, max_side: int) -> tuple[GrayImage, float]:
    """Return the image with a longer side of at most `max_side` pixels, and the scale, which is at most 1.

    The image is interpolated to a multiple of its new size and averaged over whole blocks, which is many
    times faster than averaging to an exact size. Some pixels of a large image have no influence:
    `downscale_by_area` uses all.
    """
    height, width = image.shape
    long_side = max(height, width)
    if long_side <= max_side:
        return image, 1.0
    scale = max_side / long_side
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    block_size = min(MAX_BLOCK_SIZE, long_side // max_side)
    block_aligned_size = (size[0] * block_size, size[1] * block_size)
    if block_aligned_size != (width, height):
        image = cv2.resize(image, block_aligned_size, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA) if block_size > 1 else image, scale


def downscale_by_area(image: GrayImage, shape: tuple[int, ...]) -> GrayImage:
    """Return the image averaged down to `shape`, (height, width).

    Halving it first is many times faster than one step: OpenCV has fast code for 2x2 blocks only. An odd
    last row or column is dropped.
    """
    while image.shape[0] >= 2 * shape[0] and image.shape[1] >= 2 * shape[1]:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        image = image[: 2 * height, : 2 * width]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def to_uint8(gray: NDArray[Any]) -> GrayImage:
    """Return the image as uint8 of the same shape; other types are stretched from their range to 0..255.

    A few outliers (hot pixels, markers for missing data) do not count for the range: one of them made a
    readable 16-bit scan blank. NaN becomes the median, an infinity the end of the range.
    """
    if gray.dtype == np.uint8:
        return gray
    values = gray if gray.dtype in (np.uint16, np.float32) else gray.astype(np.float64)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        finite = values[np.isfinite(values)]
        if finite.size == 0:
            return np.zeros(gray.shape, np.uint8)
        values = np.nan_to_num(values, nan=np.median(finite), posinf=finite.max(), neginf=finite.min())
    outlier_count = min(MAX_OUTLIERS, values.size // 200)
    low_index, high_index = outlier_count, values.size - 1 - outlier_count
    ordered = np.partition(values, (low_index, high_index), axis=None)
    low, high = ordered[low_index], ordered[high_index]
    span = float(high) - float(low)
    if not 1e-30 < span < 1e30:  # a constant image, or a range too large to divide by
        return np.zeros(gray.shape, np.uint8)
    return np.asarray(cv2.convertScaleAbs(np.clip(values, low, high) - low, alpha=255.0 / span))


def stretch_contrast(ink: GrayImage, threshold: float, contrast: float) -> GrayImage:
    """Return the ink with paper at 0 and full ink at 255.

    Edges stay soft, the grain of the paper disappears. `threshold` and `contrast` are of `measure_ink`.
    """
    low = PAPER_CUTOFF * threshold
    high = max(low + 1.0, min(255.0, threshold + INK_CUTOFF * contrast))
    # np.clip would take twice as long.
    table = np.minimum(np.maximum(_GRAY_LEVELS - low, 0.0) * (255.0 / (high - low)), 255.0)
    return cv2.LUT(ink, table.astype(np.uint8))


def fit_into_box(ink: GrayImage) -> GrayImage:
    """Return the ink scaled to a longer side of 20 pixels, thin strokes as bright as thick ones.

    Thin strokes fade when they are reduced, so strokes are brightened until a quarter of them is full ink.
    """
    height, width = ink.shape
    scale = BOX_SIZE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if scale == 1.0:
        return ink
    fitted = cv2.resize(ink, size, interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
    stroke_values = fitted[fitted > 32]
    if stroke_values.size == 0:
        return fitted
    stroke_values.sort(kind="stable")
    upper_quartile = float(stroke_values[stroke_values.size * 3 // 4])
    return cv2.convertScaleAbs(fitted, alpha=255.0 / upper_quartile) if upper_quartile < 250.0 else fitted


@lru_cache(maxsize=256)
def moment_weights(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the weights (3, H * W) whose products with a flat image are its moments m00, m01 and m10.

    That is the sum of its pixels, weighted by 1, by their row and by their column.
    """
    rows, columns = np.indices(shape).reshape(2, -1)
    return np.stack((np.ones_like(rows), rows, columns)).astype(np.float32)


def centre_by_mass(fitted: GrayImage) -> GrayImage:
    """Return a (28, 28) image with the digit's centre of mass at its centre, as far as the digit fits."""
    height, width = fitted.shape
    # The sums are integers below 2**24, exact in float32. cv2.moments takes more than twice as long.
    mass, row_moment, column_moment = (
        moment_weights(fitted.shape).dot(fitted.ravel().astype(np.float32)).tolist()
    )
    top = round((IMAGE_SIZE - 1) / 2 - row_moment / (mass or 1.0))
    left = round((IMAGE_SIZE - 1) / 2 - column_moment / (mass or 1.0))
    top = min(max(top, 0), IMAGE_SIZE - height)
    left = min(max(left, 0), IMAGE_SIZE - width)
    centred = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    centred[top : top + height, left : left + width] = fitted
    return centred
