"""Separate ink from evenly lit paper: which of the two is light, the paper's brightness, the ink's contrast.

`separate` and `preprocess_batch` use it. "Light on dark" is light ink on dark paper, as in MNIST.
Thresholds are Otsu's ("A threshold selection method from gray-level histograms", 1979). Functions with
`Any` in their signature take numbers, or arrays of them with a value for each image of a batch.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import downscale
from digitscan.imaging.types import GrayImage

POLARITY_SIZE = 48
"""Pixels on the longer side of an image when light and dark are compared."""
MIN_UNEVEN_SIDE = 32
"""An image whose shorter side has no more pixels is too small to be searched for uneven light."""
MAX_LIGHTER = 0.1
"""Where nothing is lighter than the border by a larger share of the ink's contrast, no ink is light."""
MIN_PLAIN_LENGTH = 29
"""A smaller image goes to `is_light_on_dark` at once; `preprocess_batch` counts on it."""
MIN_PAPER_SHARE = 0.75
"""The share of such an image that is paper: more ink may be a table's, or a shadow."""
MIN_NARROW_RATIO = 2.8
"""An image whose height is more than this many times its width can hold no digit but a 1."""
MIN_CONTRAST = 10.0
"""Gray levels between ink and paper; with less contrast, there is no ink."""
MIN_CONTRAST_TO_NOISE = 3.5
"""Ratio of the ink's contrast to the paper's noise; with less, the ink is the grain of the paper."""
FAINT_CONTRAST = 40.0
"""Gray levels between ink and paper; ink with less contrast is noted as faint."""
MAX_EVEN_SPAN = 8
"""Gray levels between the darkest tenth and the lightest fifth of the border of an evenly lit image."""
MIN_BACKGROUND_SIDE = 12
"""An image whose shorter side has fewer pixels is too small for an estimate of its background."""


class InkMeasurement(NamedTuple):
    """Where the ink is, and how clearly it differs from paper, in gray levels."""

    mask: GrayImage
    """(H, W) uint8, 255 where there is ink, 0 elsewhere."""
    threshold: float
    """Otsu's threshold between the two."""
    contrast: float
    """The difference between the means of ink and paper; 0 if there is only one of them."""
    noise: float
    """The standard deviation of the paper."""


class SeparatedInk(NamedTuple):
    """The ink of an image, without its paper."""

    is_light_on_dark: bool
    """Whether the ink is lighter than the paper."""
    ink: GrayImage
    """(H, W) uint8: by how much each pixel differs from the paper behind it, towards the ink."""
    measurement: InkMeasurement
    scale: float = 1.0
    """Pixels of `ink` for each pixel of the image, in either direction."""
    is_faint: bool = False
    """Whether the ink has little contrast, though `ink` may show it enhanced."""
    border_span: int = 0
    """Gray levels of the image's border, from the third-darkest pixel to the third-lightest."""


@lru_cache(maxsize=64)
def square_kernel(size: int) -> GrayImage:
    """Return a kernel of ones for OpenCV's morphology, (size, size)."""
    return np.ones((size, size), np.uint8)


def has_thin_strokes(ink: GrayImage) -> bool:
    """Tell whether a digit's strokes are at most two pixels wide, except where they cross."""
    _, strokes = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return cv2.countNonZero(cv2.erode(strokes, square_kernel(3))) < 0.05 * cv2.countNonZero(strokes)


def is_blank(contrast: Any, noise: Any) -> Any:
    """Tell whether an image has too little contrast to hold any ink."""
    return (contrast < MIN_CONTRAST) | (contrast < MIN_CONTRAST_TO_NOISE * noise)


def is_faint(contrast: Any) -> Any:
    """Tell whether the ink has little contrast."""
    return contrast < FAINT_CONTRAST


def separate_in_even_light(image: GrayImage) -> SeparatedInk:
    """Return the ink of an image, (H, W) uint8, by one threshold for all of it, less a smooth background."""
    border = sort_border(image)
    is_light = not _is_plainly_dark_on_light(image, border) and is_light_on_dark(image)
    return _separate(image, is_light, border)


def separate_ink_of(image: GrayImage, is_light: bool) -> SeparatedInk:
    """Return the ink of known polarity, by one threshold for the whole image, less a smooth background."""
    return _separate(image, is_light, sort_border(image))


def _separate(image: GrayImage, is_light: bool, border: GrayImage) -> SeparatedInk:
    """Return the ink of known polarity; `border` is what `sort_border` gives for the image."""
    light_on_dark = image if is_light else cv2.bitwise_not(image)
    if not is_light:
        border = ~border[::-1]
    ink = subtract_background(light_on_dark, border)
    measurement = measure_ink(ink)
    border_span = int(border[-3]) - int(border[2])
    return SeparatedInk(is_light, ink, measurement, 1.0, is_faint(measurement.contrast), border_span)


def is_light_on_dark(image: GrayImage) -> bool:
    """Tell whether the ink is lighter than the paper.

    Paper is what lies at the border, covers more of the image, and is wider than a stroke.
    """
    small, _ = downscale(image, POLARITY_SIZE)
    if min(small.shape) > MIN_UNEVEN_SIDE and _is_unevenly_lit(small):
        return _has_more_light_strokes(small)
    _, bright = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    height, width = bright.shape
    bright_share = cv2.countNonZero(bright) / bright.size
    bright_border_share = cv2.countNonZero(_get_border(bright)) / (2 * (height + width))
    if is_clearly_light_on_dark(bright_share, bright_border_share):
        return True
    if is_clearly_dark_on_light(bright_share, bright_border_share):
        return False
    if MIN_NARROW_RATIO * width < height:
        return _is_middle_bright(bright)
    score = _compare_widths(bright) + 2.0 * (bright_border_share - 0.5) + 2.0 * (bright_share - 0.5)
    return bool(score < 0.0)


def _is_plainly_dark_on_light(image: GrayImage, border: GrayImage) -> bool:
    """Tell whether a little of the image is much darker than its sorted border, and nothing is lighter.

    So it is in most images, and it is found in a quarter of the time that `is_light_on_dark` takes.
    """
    if max(image.shape) < MIN_PLAIN_LENGTH:
        return False
    darkest, brightest, _, _ = cv2.minMaxLoc(image)
    low, high = int(border[2]), int(border[-3])
    contrast = low - darkest
    if contrast < FAINT_CONTRAST or brightest - high > MAX_LIGHTER * contrast:
        return False
    _, paper = cv2.threshold(image, low - contrast / 2, 1, cv2.THRESH_BINARY)
    return cv2.countNonZero(paper) >= MIN_PAPER_SHARE * paper.size


def is_clearly_light_on_dark(bright_share: Any, bright_border_share: Any) -> Any:
    """Tell whether so little of the image and of its border is bright that it must be ink."""
    return (bright_share < 0.35) & (bright_border_share < 0.25)


def is_clearly_dark_on_light(bright_share: Any, bright_border_share: Any) -> Any:
    """Tell whether so much of the image and of its border is bright that it must be paper."""
    return (bright_share > 0.65) & (bright_border_share > 0.75)


def _is_unevenly_lit(image: GrayImage) -> bool:
    """Tell whether the border spans half of the image's range: no single threshold separates the ink."""
    border = sort_border(image)
    darkest, brightest, _, _ = cv2.minMaxLoc(image)
    border_span = int(border[border.size * 9 // 10]) - int(border[border.size // 10])
    return border_span > 0.5 * (brightest - darkest)


def _has_more_light_strokes(image: GrayImage) -> bool:
    """Tell whether thin light structures outweigh thin dark ones, which uneven light does not change."""
    total = cv2.sumElems(image)[0]
    without_light = cv2.sumElems(cv2.morphologyEx(image, cv2.MORPH_OPEN, square_kernel(9)))[0]
    without_dark = cv2.sumElems(cv2.morphologyEx(image, cv2.MORPH_CLOSE, square_kernel(9)))[0]
    return total - without_light > without_dark - total


def _is_middle_bright(bright: GrayImage) -> bool:
    """Tell whether most of the middle is bright; in a narrow image, that is where the stroke of a 1 is."""
    height, width = bright.shape
    middle = bright[height // 3 : -(height // 3), width // 3 :][:, : max(1, width // 3)]
    return 2 * cv2.countNonZero(middle) > middle.size


def _compare_widths(bright: GrayImage) -> float:
    """Return the binary logarithm of how much wider the bright regions are than the dark ones.

    The width is the diameter of the largest disc that fits into a region.
    """
    bright_radius = float(cv2.distanceTransform(bright, cv2.DIST_L2, 3).max())
    dark_radius = float(cv2.distanceTransform(1 - bright, cv2.DIST_L2, 3).max())
    return float(np.log2((bright_radius + 0.5) / (dark_radius + 0.5)))


def sort_border(image: GrayImage) -> GrayImage:
    """Return the pixels of all four sides in ascending order."""
    border = _get_border(image)
    border.sort(kind="stable")  # radix sort: at least twice as fast as the default
    return border


def _get_border(image: GrayImage) -> GrayImage:
    """Return the pixels of all four sides, each corner twice. Joining slices takes three times as long."""
    return image.take(border_indices(image.shape))


@lru_cache(maxsize=64)
def border_indices(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return the indices of the pixels of all four sides in a flat image (H * W,), each corner twice."""
    indices = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.concatenate((indices[0], indices[-1], indices[:, 0], indices[:, -1]))


def subtract_background(image: GrayImage, border: GrayImage | None = None) -> GrayImage:
    """Return how much lighter each pixel is than the paper behind it, (H, W) uint8.

    `image` is light on dark; `border` is what `sort_border` gives. Of even paper, the brightness is
    subtracted; uneven paper, with its shadows, is estimated by a morphological opening that is wider than any
    stroke, at half size.
    """
    height, width = image.shape
    if border is None:
        border = sort_border(image)
    low, high = int(border[border.size // 10]), int(border[border.size * 8 // 10])
    if has_even_background(high - low, image.shape):
        level = int(border[border.size // 2])
        return cv2.subtract(image, np.full_like(image, level)) if level else image
    half = cv2.resize(image, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    kernel = square_kernel((max(half.shape) * 2 // 5) | 1)
    paper = cv2.morphologyEx(half, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    paper = cv2.resize(cv2.blur(paper, (7, 7)), (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.subtract(image, paper)


def has_even_background(border_span: Any, shape: tuple[int, ...]) -> Any:
    """Tell whether an image's paper is even, by the range of most of its border in gray levels."""
    return (border_span <= MAX_EVEN_SPAN) | (min(shape) < MIN_BACKGROUND_SIDE)


def measure_ink(ink: GrayImage) -> InkMeasurement:
    """Return where the ink is and how clearly it differs from paper; `ink` is of `subtract_background`."""
    threshold, mask = cv2.threshold(ink, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    ink_count = cv2.countNonZero(mask)
    paper_count = ink.size - ink_count
    if ink_count == 0 or paper_count == 0:
        return InkMeasurement(mask, threshold, 0.0, 0.0)
    # The L1 norm is the sum, in half the time of cv2.mean.
    ink_sum = cv2.norm(ink, cv2.NORM_L1, mask)
    paper_mean = (cv2.norm(ink, cv2.NORM_L1) - ink_sum) / paper_count
    paper_squares = cv2.norm(ink, cv2.NORM_L2SQR) - cv2.norm(ink, cv2.NORM_L2SQR, mask)
    noise = math.sqrt(max(0.0, paper_squares / paper_count - paper_mean * paper_mean))
    return InkMeasurement(mask, threshold, ink_sum / ink_count - paper_mean, noise)
