"""Preprocessing: an image of any size becomes the 28x28 digit that the model sees.

This is the only definition of the model's input: scanning, training and evaluation run it, and no image
skips it. The steps before MNIST's own normalization (see `normalize`) make a user's image look like one of
MNIST's: separate the ink from the paper, its light and its grain (`separate`), and keep the components that
belong to the digit (`segment`). `preprocess_batch` is a faster implementation of it.

A change here that may give other pixels for any image needs a new `PREPROCESS_VERSION` (see `version`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.condition import Condition
from digitscan.imaging.detect import LIGHT_ON_DARK, Detection, detect_digits
from digitscan.imaging.frames import BOX_REMOVED, LINE_REMOVED
from digitscan.imaging.ink import has_thin_strokes, square_kernel
from digitscan.imaging.marks import NEIGHBOUR_LEFT_OUT, POINT_LEFT_OUT
from digitscan.imaging.normalize import (
    MAX_BLOCK_SIZE,
    centre_by_mass,
    downscale,
    downscale_by_area,
    fit_into_box,
    stretch_contrast,
    to_uint8,
)
from digitscan.imaging.segment import SEVERAL_DIGITS, Digit
from digitscan.imaging.types import GrayImage

WORKING_SIZE = 64
"""Pixels on the longer side of the reduced image that is analysed: enough for one digit, and fast."""
MAX_ELONGATION = 4.0
"""The working size of a long strip is larger by up to this factor, so that its digits are told apart."""
MAX_SAFE_SCALE = 1 / (2 * MAX_BLOCK_SIZE)
"""An image that is reduced less has all its pixels averaged; see `downscale`."""
PAPER_SAMPLES = 24
"""Pixels along the longer side of a close-up from which the brightness of its paper is found."""
MAX_CANDIDATES = 3
"""The most readings of one image."""
CLOSE_UP_MARGIN = 0.5
"""Paper around a digit in its close-up, as a share of its longer side."""
NARROW_MARGIN = 0.2
"""The same where prints are near: if the close-up shows none of them, they need not be painted over."""
MIN_DIGIT_SIZE = 28
"""A digit of fewer pixels on its longer side, in a reduced image, is cut out and preprocessed again."""
SMALL_IN_FRAME = "small in its frame"
"""The note of an image whose digit was cut out and preprocessed again."""
CLEAN_NOTES = frozenset({LIGHT_ON_DARK, SMALL_IN_FRAME})
"""The notes of images in which nothing was left out, and no stroke may have been lost."""
FIELD_NOTES = CLEAN_NOTES | {LINE_REMOVED, BOX_REMOVED, NEIGHBOUR_LEFT_OUT, POINT_LEFT_OUT}
"""The notes of images in which something stood beside a digit, but the digit itself is plain."""


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
    needs_review: bool = False
    """Whether a person should look at the row, however clear the digit is; the notes say why."""
    alternative: Preprocessed | None = None
    """Another reading of the image, where it is not plain what is the digit: without lines or neighbours.

    The classifier chooses: see `classify_preprocessed`.
    """

    @property
    def condition(self) -> Condition:
        """How plainly the image shows the digit.

        Where something stood beside it or its ink is faint, strokes may have been lost, or may be of
        something else, and a model can be sure of the wrong digit. So such rows have their own limits for
        `ok`.
        """
        if self.alternative is None and CLEAN_NOTES.issuperset(self.notes):
            return Condition.CLEAN
        return Condition.FIELD if FIELD_NOTES.issuperset(self.notes) else Condition.UNCLEAR


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
    return _preprocess(to_uint8(gray))


def list_candidates(result: Preprocessed) -> list[Preprocessed]:
    """Return a result and its alternatives, in order; an empty list if it has no digit."""
    candidates = []
    candidate: Preprocessed | None = result
    while candidate is not None and candidate.pixels is not None:
        candidates.append(candidate)
        candidate = candidate.alternative
    return candidates


class ReducedDetections(NamedTuple):
    """What was detected in an image of working size."""

    reduced: GrayImage
    scale: float
    """Pixels of `reduced` for each pixel of the full image, at most 1."""
    detections: list[Detection]


def detect_in_reduced(image: GrayImage, is_light: bool | None = None) -> ReducedDetections:
    """Return what is detected in a uint8 image, reduced; `is_light` is as in `detect_digits`."""
    if max(image.shape) <= WORKING_SIZE:
        return ReducedDetections(image, 1.0, detect_digits(image, is_light))
    reduced, scale = downscale(image, _compute_working_size(image.shape))
    detections = detect_digits(reduced, is_light)
    if scale < MAX_SAFE_SCALE and any(_may_have_lost_strokes(detection) for detection in detections):
        reduced = downscale_by_area(image, reduced.shape)
        detections = detect_digits(reduced, is_light)
    return ReducedDetections(reduced, scale, detections)


def _preprocess(image: GrayImage, is_light: bool | None = None) -> Preprocessed:
    """Return the result for a uint8 image; `is_light` is as in `detect_digits`."""
    _, scale, detections = detect_in_reduced(image, is_light)
    if len(detections) == 1:
        return refine(image, detections[0], scale)
    return _chain([refine(image, detection, scale) for detection in detections])


def refine(image: GrayImage, detection: Detection, scale: float) -> Preprocessed:
    """Return a detected digit in MNIST's format, from a close-up of the full image if it is small."""
    if scale < 1.0:
        close_up = _preprocess_close_up(image, detection, scale)
        if close_up is not None:
            return close_up
    return _render(detection, scale)


def _chain(results: list[Preprocessed]) -> Preprocessed:
    """Return the first result that has a digit, with the others that have one as its alternatives."""
    candidates = [candidate for result in results for candidate in list_candidates(result)]
    chained: Preprocessed | None = None
    for candidate in reversed(candidates[:MAX_CANDIDATES]):
        chained = candidate._replace(alternative=chained)
    return chained or results[0]


def _compute_working_size(shape: tuple[int, ...]) -> int:
    """Return the longer side of the reduced image, for an image of this shape."""
    elongation = max(shape) / (1.5 * min(shape))
    return round(WORKING_SIZE * min(MAX_ELONGATION, max(1.0, elongation)))


def _may_have_lost_strokes(detection: Detection) -> bool:
    """Tell whether pixels that `downscale` skipped may be of thin strokes.

    Without them, lines of two pixels in a drawing of 1000x1000 became fragments, and other digits.
    """
    return detection.digit is None or detection.rejection is not None or has_thin_strokes(detection.digit.ink)


def _preprocess_close_up(image: GrayImage, detection: Detection, scale: float) -> Preprocessed | None:
    """Return the result for a small digit, cut out of the full image; None where that is of no use."""
    digit = detection.digit
    if digit is None or detection.rejection == SEVERAL_DIGITS or max(digit.ink.shape) >= MIN_DIGIT_SIZE:
        return None
    printed = detection.printed
    margin = CLOSE_UP_MARGIN
    if printed is not None and _has_prints(printed, digit, margin):
        margin = NARROW_MARGIN
    top, left, bottom, right = _find_close_up(digit, scale, margin)
    close_up = image[top:bottom, left:right]
    if max(close_up.shape) >= max(image.shape):
        return None
    if printed is not None and _has_prints(printed, digit, margin):
        printed = _enlarge(_exclude_digit(printed, digit), top, left, close_up.shape, scale)
        close_up = _paint_over(close_up, printed)
    result = _preprocess(close_up, detection.is_light_on_dark)
    if result.pixels is None:
        return None
    return _add_findings(result, detection)


def _add_findings(result: Preprocessed, detection: Detection) -> Preprocessed:
    """Return the result of a close-up with what the whole image showed, in all its candidates."""
    return result._replace(
        # Each of the two may have notes that the other has not. Those of both are kept once.
        notes=tuple(dict.fromkeys((SMALL_IN_FRAME, *detection.notes, *result.notes))),
        needs_review=result.needs_review or detection.needs_review,
        alternative=result.alternative and _add_findings(result.alternative, detection),
    )


def _has_prints(printed: GrayImage, digit: Digit, margin_share: float) -> bool:
    """Tell whether a close-up with this margin shows prints, or their soft edges."""
    top, left, bottom, right = _find_close_up(digit, 1.0, margin_share)
    return cv2.countNonZero(printed[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]) > 0


def _find_close_up(digit: Digit, scale: float, margin_share: float) -> tuple[int, int, int, int]:
    """Return top, left, bottom and right of a digit in the full image, with a margin of its longer side."""
    height, width = digit.ink.shape
    margin = margin_share * max(height, width) + 2
    top = max(0, int((digit.top - margin) / scale))
    left = max(0, int((digit.left - margin) / scale))
    bottom = int((digit.top + height + margin) / scale) + 1
    right = int((digit.left + width + margin) / scale) + 1
    return top, left, bottom, right


def _exclude_digit(printed: GrayImage, digit: Digit) -> GrayImage:
    """Return the mask of prints a pixel wider, for their soft edges, but without the digit's pixels."""
    widened = cv2.dilate(printed, square_kernel(3))
    height, width = digit.ink.shape
    widened[digit.top : digit.top + height, digit.left : digit.left + width][digit.ink > 0] = 0
    return np.asarray(widened, np.uint8)


def _enlarge(mask: GrayImage, top: int, left: int, shape: tuple[int, ...], scale: float) -> GrayImage:
    """Return the part of a reduced image's mask at (`top`, `left`) of the full image, in full size."""
    # For each pixel of the result, the point of the mask that it shows.
    matrix = np.array([[scale, 0, (left + 0.5) * scale - 0.5], [0, scale, (top + 0.5) * scale - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    enlarged = cv2.warpAffine(mask, matrix, shape[::-1], flags=flags)
    return np.asarray(cv2.threshold(enlarged, 127, 255, cv2.THRESH_BINARY)[1], np.uint8)


def _paint_over(image: GrayImage, printed: GrayImage) -> GrayImage:
    """Return the image with the brightness of its paper where there are prints."""
    if cv2.countNonZero(printed) == 0:
        return image
    # Most of a close-up is paper. A few hundred pixels are enough to find its brightness.
    step = max(1, round(max(image.shape) / PAPER_SAMPLES))
    sample, is_printed = image[::step, ::step], printed[::step, ::step]
    values = sample[is_printed == 0]
    if values.size == 0:
        values = sample.ravel()
    values = np.sort(values, kind="stable")  # radix sort; np.median takes ten times as long
    paper = np.full_like(image, values[values.size // 2])
    return np.asarray(cv2.copyTo(paper, printed, image.copy()), np.uint8)


def _render(detection: Detection, scale: float) -> Preprocessed:
    """Return the digit that was found in an image reduced by `scale`, in MNIST's format."""
    if detection.digit is None or detection.rejection is not None:
        return Preprocessed(None, detection.notes, detection.rejection)
    ink = stretch_contrast(detection.digit.ink, detection.threshold, detection.contrast)
    digit_size = round(max(ink.shape) / (scale * detection.scale))
    pixels = centre_by_mass(fit_into_box(ink))
    return Preprocessed(pixels, detection.notes, None, digit_size, detection.needs_review)
