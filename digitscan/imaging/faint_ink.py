"""Find faint thin strokes in the grain of a small image: `separate_faint_ink`.

In a camera's frame of 32x32 pixels, a pen is a pixel wide and hardly darker than the noise; a threshold
breaks its strokes into specks. But a stroke is a line, and noise is not: along a line, the second derivative
across it stays high. The strength of a ridge is the larger eigenvalue of the Hessian of the smoothed image
(Lindeberg, "Edge detection and ridge detection with automatic scale selection", 1998). Ridges are kept by
hysteresis (Canny, "A computational approach to edge detection", 1986): weak ones where they are connected to
a strong one. Both thresholds are multiples of the median strength, which is that of the noise.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.ink import SeparatedInk, measure_ink, square_kernel
from digitscan.imaging.types import GrayImage

MIN_SIGMA = 1.0
"""The standard deviation of the smoothing, in pixels, for the thinnest pens."""
SIGMA_SHARE = 0.025
"""The same as a share of a larger image's longer side."""
WEAK_RIDGE = 4.0
"""A ridge that is connected to a strong one is stronger than this multiple of the noise."""
STRONG_RIDGE = 8.0
"""A strong ridge is stronger than this multiple of the noise."""
MIN_STRENGTH = 2.0
"""The least strength of a strong ridge. A line a pixel wide has about a third of its contrast."""
MIN_LENGTH = 5
"""Pixels on the longer side of the longest stroke of a digit."""
MAX_ENLARGED_LENGTH = 32
"""An image with a longer side of up to so many pixels is doubled, so that its strokes are smooth."""

_NOISE_KERNEL = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


def separate_faint_ink(image: GrayImage) -> SeparatedInk | None:
    """Return the ink of a small image, (H, W) uint8, enhanced and without noise; None if there is none.

    The ink may be lighter or darker than the paper.
    """
    enlargement = 2 if max(image.shape) <= MAX_ENLARGED_LENGTH else 1
    kept = [_keep_strong_ridges(*ridges, enlargement) for ridges in _compute_ridges(image)]
    energies = [cv2.norm(ridges, cv2.NORM_L2SQR) for ridges in kept]
    is_light = energies[1] > energies[0]
    ridges = kept[is_light]
    strengths = ridges[ridges > 0.0]
    if strengths.size == 0:
        return None
    full_ink = float(np.percentile(strengths, 90))
    ink = cv2.convertScaleAbs(ridges, alpha=255.0 / full_ink)
    return SeparatedInk(is_light, ink, measure_ink(ink), enlargement, is_faint=True)


def estimate_grain(image: GrayImage) -> float:
    """Return the standard deviation of an image's noise, in gray levels.

    Its strokes and its light hardly count (Immerkaer, "Fast noise variance estimation", 1996).
    """
    differences = cv2.filter2D(image, cv2.CV_16S, _NOISE_KERNEL)
    return math.sqrt(math.pi / 2) / 6 * cv2.norm(differences, cv2.NORM_L1) / image.size


def _compute_ridges(image: GrayImage) -> list[tuple[NDArray[np.float32], float]]:
    """Return the strengths of dark and of light ridges, float32 of the image's shape, 0 where there is none.

    The foot of a step, such as the edge of paper, would be a ridge too; the black-hat and the top-hat
    transform, which are 0 there, limit the strength.
    """
    sigma = max(MIN_SIGMA, SIGMA_SHARE * max(image.shape))
    smooth, slope, curvature = _derive_gaussian(sigma)
    values = image.astype(np.float32)
    across, down, diagonal = (
        cv2.sepFilter2D(values, cv2.CV_32F, x_kernel, y_kernel, borderType=cv2.BORDER_REPLICATE)
        for x_kernel, y_kernel in ((curvature, smooth), (smooth, curvature), (slope, slope))
    )
    mean = 0.5 * (across + down)
    deviation = cv2.magnitude(0.5 * (across - down), diagonal)
    width = int(7 * sigma) | 1
    padded = cv2.copyMakeBorder(cv2.blur(image, (3, 3)), width, width, width, width, cv2.BORDER_REPLICATE)
    hats = (
        cv2.morphologyEx(padded, operation, square_kernel(width))[width:-width, width:-width]
        for operation in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT)
    )
    ridges = []
    for sign, hat in zip((1.0, -1.0), hats, strict=True):
        strength = np.maximum(deviation + sign * mean, 0.0) * (sigma * sigma)
        ridges.append((np.minimum(strength, hat), float(np.median(strength))))
    return ridges


@lru_cache(maxsize=64)
def _derive_gaussian(sigma: float) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return the kernels (K,) of a Gaussian, of its first and of its second derivative."""
    radius = math.ceil(3 * sigma)
    positions = np.arange(-radius, radius + 1) / sigma
    gaussian = np.exp(-0.5 * positions**2)
    gaussian /= gaussian.sum()
    slope = -positions / sigma * gaussian
    curvature = (positions**2 - 1.0) / sigma**2 * gaussian
    curvature -= curvature.mean()  # so that even paper has none
    return gaussian.astype(np.float32), slope.astype(np.float32), curvature.astype(np.float32)


def _keep_strong_ridges(ridges: NDArray[np.float32], noise: float, enlargement: int) -> NDArray[np.float32]:
    """Return the ridges enlarged and without noise; all 0 where the longest is too short for a digit."""
    noise = max(noise, MIN_STRENGTH / STRONG_RIDGE)
    if enlargement > 1:
        size = (ridges.shape[1] * enlargement, ridges.shape[0] * enlargement)
        ridges = np.maximum(cv2.resize(ridges, size, interpolation=cv2.INTER_CUBIC), 0.0)
    mask = (ridges > WEAK_RIDGE * noise).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    is_kept = np.zeros(count, np.bool_)
    is_kept[labels[ridges > STRONG_RIDGE * noise]] = True
    lengths = stats[is_kept, cv2.CC_STAT_WIDTH : cv2.CC_STAT_HEIGHT + 1]
    if lengths.size == 0 or lengths.max() < MIN_LENGTH * enlargement:
        is_kept[:] = False
    return np.where(is_kept[labels], ridges, np.float32(0.0))
