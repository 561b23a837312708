"""Variations of a line that was composed once and is learned from several times.

Composing a picture takes a hundred times as long. Without variation, the network remembers the lines: in the
last of six epochs with the same ones its loss was half of that with new ones, and on validation lines no
lower.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from digitscan.imaging.line_image import STEP_WIDTH
from digitscan.imaging.types import GrayImage

MIN_STRETCH, MAX_STRETCH = 0.82, 1.25
"""The width of a varied line, as a share of the original's."""
MIN_SCALE, MAX_SCALE = 0.82, 1.1
"""The height of the writing, likewise; the line itself keeps its height."""
SLANT = 0.08
"""The standard deviation of the horizontal shift of a stroke, as a share of its height."""
MAX_SHIFT = 2.0
"""Pixels by which the writing is moved up or down, at most."""
MAX_GAMMA = 1.5
"""Darkness, 0 to 1, is raised to a power between 1 / MAX_GAMMA and this."""
THINNED, THICKENED, NOISY = 0.1, 0.1, 0.25
"""The shares of the lines whose strokes become thinner, thicker, and that get noise."""
MAX_NOISE = 40
"""Gray levels of the strongest noise."""

_GRAY_LEVELS = np.arange(256) / 255.0
_PEN = np.ones((2, 2), np.uint8)


def vary_line(pixels: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return a line (32, W) uint8 in another size, slant, darkness and pen; its width may differ."""
    height, width = pixels.shape
    stretch = math.exp(rng.uniform(math.log(MIN_STRETCH), math.log(MAX_STRETCH)))
    scale, slant = rng.uniform(MIN_SCALE, MAX_SCALE), rng.normal(0.0, SLANT)
    new_width = max(1, math.ceil(width * stretch / STEP_WIDTH)) * STEP_WIDTH
    middle, shift = height / 2, rng.uniform(-MAX_SHIFT, MAX_SHIFT)
    # For each pixel of the result, the point of the line that it shows.
    matrix = np.array(
        [[1 / stretch, slant, -slant * middle], [0.0, 1 / scale, middle - (middle + shift) / scale]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    varied = cv2.warpAffine(pixels, matrix, (new_width, height), flags=flags)
    choice = rng.random()
    if choice < THINNED:
        varied = cv2.erode(varied, _PEN)
    elif choice < THINNED + THICKENED:
        varied = cv2.dilate(varied, _PEN)
    gamma = math.exp(rng.uniform(-1.0, 1.0) * math.log(MAX_GAMMA))
    varied = cv2.LUT(varied, np.asarray(255.0 * _GRAY_LEVELS**gamma, np.uint8))
    if rng.random() < NOISY:
        noise = rng.integers(0, 1 + int(MAX_NOISE * rng.random()), varied.shape, np.uint8)
        varied = cv2.subtract(cv2.add(varied, noise), np.full(varied.shape, noise.max() // 2, np.uint8))
    return np.asarray(varied, np.uint8)
