"""Preprocessing: an image of any size becomes the 28x28 digit that the model sees.

This is the only definition of the model's input: scanning, training and evaluation run it, and no image
skips it. The steps before MNIST's own normalization (see `normalize`) make a user's image look like one of
MNIST's: find which of light and dark is ink (`ink`), subtract the paper and its shadows (`ink`), and keep
the components that belong to the digit (`segment`). `preprocess_batch` is a faster implementation of it.

A change here that may give other pixels for any image needs a new `PREPROCESS_VERSION` and new models.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
from numpy.typing import NDArray

from digitscan.imaging.ink import (
    has_thin_strokes,
    is_blank,
    is_faint,
    is_light_on_dark,
    measure_ink,
    subtract_background,
)
from digitscan.imaging.normalize import (
    MAX_BLOCK_SIZE,
    centre_by_mass,
    downscale,
    downscale_by_area,
    fit_into_box,
    stretch_contrast,
    to_uint8,
)
from digitscan.imaging.segment import Digit, segment_digit
from digitscan.imaging.types import GrayImage

PREPROCESS_VERSION = 2
"""Raised when an image may give other pixels than before: a model belongs to one version."""
WORKING_SIZE = 64
"""Pixels on the longer side of the reduced image that is analysed: enough for one digit, and fast."""
MAX_ELONGATION = 4.0
"""The working size of a long strip is larger by up to this factor, so that its digits are told apart."""
MIN_DIGIT_SIZE = 28
"""A digit of fewer pixels on its longer side, in a reduced image, is cut out and preprocessed again."""
SMALL_IN_FRAME = "small in its frame"
"""The note of an image whose digit was cut out and preprocessed again."""
MAX_ASPECT_RATIO = 2.5
"""Width to height of the widest digit: the widest one of MNIST's training images."""


class Preprocessed(NamedTuple):
    """The model's input for one image, or the reason why there is no digit in it."""

    pixels: GrayImage | None
    """The digit, (28, 28) uint8, 0 for paper to 255 for ink; None if there is none."""
    notes: tuple[str, ...] = ()
    """Short phrases on what was found and done, such as "light on dark", "faint" or "parts left out"."""
    rejection: str | None = None
    """Why there is no digit, such as "blank" or "several digits"; None if and only if `pixels` is not."""
    digit_size: int = 0
    """About the longer side of the digit, in pixels of the given image; 0 if there is none."""


def preprocess(gray: NDArray[Any]) -> Preprocessed:
    """Return the digit in a grayscale image in MNIST's format, light on dark, or why there is none.

    `gray` is a numpy array of shape (height, width), at least 1x1, of any dtype that holds real numbers and
    any range: uint8 is taken as it is, others are stretched from their own range to 0..255. Ink may be darker
    or lighter than paper. The array is not changed. The result's `pixels` are (28, 28) uint8, 0..255; divided
    by 255 they are the model's input. Never raises for such an array, whatever is in it.

    A 7 drawn with two strokes on gray paper, and an empty sheet:

    >>> import numpy as np
    >>> import digitscan
    >>> paper = np.full((120, 90), 230, np.uint8)
    >>> drawing = paper.copy()
    >>> drawing[20:28, 20:70] = 30
    >>> drawing[20:100, 62:70] = 30
    >>> seven = digitscan.preprocess(drawing)
    >>> seven.pixels.shape, seven.pixels.dtype, seven.notes
    ((28, 28), dtype('uint8'), ())
    >>> digitscan.preprocess(paper).rejection
    'blank'
    """
    image = to_uint8(gray)
    reduced, scale = downscale(image, _compute_working_size(image.shape))
    detection = _detect_digit(reduced)
    if scale < 1.0:
        if _may_have_lost_strokes(detection, scale):
            detection = _detect_digit(downscale_by_area(image, reduced.shape))
        close_up = _preprocess_close_up(image, detection, scale)
        if close_up is not None:
            return close_up
    return _render(detection, scale)


class _Detection(NamedTuple):
    """The digit of a reduced image, a rejection or both, as in `Segmentation`, and how to render it."""

    notes: list[str]
    rejection: str | None
    digit: Digit | None = None
    threshold: float = 0.0
    contrast: float = 0.0


def _compute_working_size(shape: tuple[int, ...]) -> int:
    """Return the longer side of the reduced image, for an image of this shape."""
    elongation = max(shape) / (1.5 * min(shape))
    return round(WORKING_SIZE * min(MAX_ELONGATION, max(1.0, elongation)))


def _detect_digit(image: GrayImage) -> _Detection:
    """Return the digit in an image of working size."""
    notes: list[str] = []
    if is_light_on_dark(image):
        light_on_dark = image
        notes.append("light on dark")
    else:
        light_on_dark = cv2.bitwise_not(image)
    ink = subtract_background(light_on_dark)
    mask, threshold, contrast, noise = measure_ink(ink)
    if is_blank(contrast, noise):
        return _Detection(notes, "blank")
    if is_faint(contrast):
        notes.append("faint")
    digit, rejection, note = segment_digit(ink, mask)
    if note:
        notes.append(note)
    if digit is not None and rejection is None:
        height, width = digit.ink.shape
        if width > MAX_ASPECT_RATIO * height:
            rejection = "too wide for one digit"
    return _Detection(notes, rejection, digit, threshold, contrast)


def _may_have_lost_strokes(detection: _Detection, scale: float) -> bool:
    """Tell whether `downscale` skipped pixels that may be of thin strokes.

    Without them, lines of two pixels in a drawing of 1000x1000 became fragments, and other digits.
    """
    if 2 * MAX_BLOCK_SIZE * scale >= 1.0:
        return False
    return detection.digit is None or detection.rejection is not None or has_thin_strokes(detection.digit.ink)


def _preprocess_close_up(image: GrayImage, detection: _Detection, scale: float) -> Preprocessed | None:
    """Return the result for a small digit, cut out of the full image; None where that is of no use."""
    digit = detection.digit
    if digit is None or detection.rejection == "several digits" or max(digit.ink.shape) >= MIN_DIGIT_SIZE:
        return None
    close_up = _cut_with_margin(image, digit, scale)
    if max(close_up.shape) >= max(image.shape):
        return None
    result = preprocess(close_up)
    if result.pixels is None:
        return None
    # Each of the two may have notes that the other has not. Those of both are kept once.
    return result._replace(notes=tuple(dict.fromkeys((SMALL_IN_FRAME, *detection.notes, *result.notes))))


def _cut_with_margin(image: GrayImage, digit: Digit, scale: float) -> GrayImage:
    """Return the digit's part of the full image, with half of its longer side as a margin."""
    height, width = digit.ink.shape
    margin = 0.5 * max(height, width) + 2
    top = max(0, int((digit.top - margin) / scale))
    left = max(0, int((digit.left - margin) / scale))
    bottom = int((digit.top + height + margin) / scale) + 1
    right = int((digit.left + width + margin) / scale) + 1
    return image[top:bottom, left:right]


def _render(detection: _Detection, scale: float) -> Preprocessed:
    """Return the digit that was found in an image reduced by `scale`, in MNIST's format."""
    if detection.digit is None or detection.rejection is not None:
        return Preprocessed(None, tuple(detection.notes), detection.rejection)
    ink = stretch_contrast(detection.digit.ink, detection.threshold, detection.contrast)
    digit_size = round(max(ink.shape) / scale)
    return Preprocessed(centre_by_mass(fit_into_box(ink)), tuple(detection.notes), None, digit_size)
