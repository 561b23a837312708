"""Geometric distortions of digits: affine and elastic ones, as of other hands and other angles."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.imaging.types import GrayImage

CANVAS_SIZE = 64
"""Pixels on each side of a distorted image: larger than MNIST's 28, so that pens and resolutions can vary."""

MIN_SQUARENESS = 0.75
"""Shorter to longer side of the ink of an image that was stretched to about a square, at least."""
MAX_STRETCH = 2.5
"""The most by which the shorter side is stretched then: a 1 stays narrow."""
MIN_INK = 100
"""The pixels of an image that are brighter are its ink."""

_CENTER = (IMAGE_SIZE - 1) / 2
_CANVAS_COORDINATES = np.stack(np.meshgrid(np.arange(CANVAS_SIZE), np.arange(CANVAS_SIZE)), axis=-1).astype(
    np.float32
)
"""The x and y of every pixel of the canvas, (CANVAS_SIZE, CANVAS_SIZE, 2)."""


def apply_random_affine(images: GrayImage, indices: NDArray[Any], seed: int) -> GrayImage:
    """Return the images at `indices`, slightly rotated, sheared and stretched, then preprocessed.

    `images` are (N, 28, 28) uint8; the result is (len(indices), 28, 28) uint8, black where `preprocess` finds
    no digit.
    """
    transformed = []
    for index in indices.tolist():
        rng = np.random.default_rng((seed, index))
        rotation, shear, stretch_x, stretch_y = (rng.standard_normal(4) * (0.07, 0.1, 0.07, 0.07)).tolist()
        matrix = np.array([[1.0 + stretch_x, shear - rotation], [rotation, 1.0 + stretch_y]])
        offset = _CENTER - matrix @ (_CENTER, _CENTER)
        transformed.append(
            cv2.warpAffine(images[index], np.column_stack((matrix, offset)), (IMAGE_SIZE, IMAGE_SIZE))
        )
    pixels = np.zeros((len(indices), IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for position, preprocessed in enumerate(preprocess_batch(transformed)):
        if preprocessed.pixels is not None:
            pixels[position] = preprocessed.pixels
    return pixels


def stretch_to_square(image: GrayImage, rng: np.random.Generator) -> GrayImage:
    """Return a square image with its ink stretched until its sides are nearly alike, in the middle.

    Semeion's digits and those of touch pads are such: whoever cut them out filled a square with each.
    """
    _, mask = cv2.threshold(image, MIN_INK, 255, cv2.THRESH_BINARY)
    left, top, width, height = cv2.boundingRect(mask)
    long_side, short_side = max(width, height), max(1, min(width, height))
    new_short_side = round(min(MAX_STRETCH * short_side, rng.uniform(MIN_SQUARENESS, 1.0) * long_side))
    if new_short_side <= short_side:
        return image
    new_width, new_height = (new_short_side, height) if width < height else (width, new_short_side)
    ink = image[top : top + height, left : left + width]
    stretched = np.zeros_like(image)
    row, column = (len(image) - new_height) // 2, (len(image) - new_width) // 2
    stretched[row : row + new_height, column : column + new_width] = cv2.resize(ink, (new_width, new_height))
    return stretched


def distort(image: GrayImage, rng: np.random.Generator, strength: float = 1.0) -> GrayImage:
    """Return the image on a 64x64 canvas with a random affine and elastic distortion (Simard 2003).

    The image is square, 28 pixels on each side or more, and is taken as one of 28. It is rotated, sheared,
    stretched and enlarged to about twice that size. `strength`, 0 to 1, scales all but the enlargement. The
    elastic field is random at 3x3 to 6x6 points and interpolated between them.
    """
    angle = np.deg2rad(strength * np.clip(rng.normal(0.0, 6.0), -16.0, 16.0))
    shear = strength * np.clip(rng.normal(0.0, 0.15), -0.4, 0.4)
    scale = rng.uniform(1.7, 2.2)
    stretch = np.exp(strength * rng.normal(0.0, 0.1))
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    matrix = matrix @ np.diag([scale * stretch, scale / stretch])
    inverse = np.linalg.inv(matrix)
    offset = _CENTER - inverse @ [(CANVAS_SIZE - 1) / 2, (CANVAS_SIZE - 1) / 2]
    # For each pixel of the canvas, the point of the image that it shows.
    sources = _CANVAS_COORDINATES @ inverse.T.astype(np.float32) + offset.astype(np.float32)
    grid_size = int(rng.integers(3, 7))
    displacement = strength * rng.uniform(0.2, 1.1) * 4.0 / grid_size
    field = rng.normal(0.0, displacement, (grid_size, grid_size, 2)).astype(np.float32)
    sources += cv2.resize(field, (CANVAS_SIZE, CANVAS_SIZE), interpolation=cv2.INTER_CUBIC)
    if len(image) != IMAGE_SIZE:
        # Pixels are counted at their centres: the first is at 0, its border at -0.5.
        sources = (sources + np.float32(0.5)) * np.float32(len(image) / IMAGE_SIZE) - np.float32(0.5)
    return cv2.remap(image, sources[..., 0], sources[..., 1], cv2.INTER_LINEAR)
