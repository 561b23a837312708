"""The one definition of what the model sees: a grayscale picture of any size -> one 28x28 digit.

MNIST's own procedure (LeCun 1998: fit into 20x20, centre by mass in 28x28), behind the steps that make
a user's picture look like one of MNIST's: find which is ink, remove the paper and its shadows, keep the
parts that belong to the digit. The scanner, the trainer and the evaluator all run `preprocess`, and no
size of picture skips it. Pure functions; nothing here raises on any two-dimensional array from 1x1 on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
from numpy.typing import NDArray

from digitscan.imaging.ink import (
    is_blank,
    is_faint,
    is_light_on_dark,
    is_thin,
    measure_ink,
    subtract_background,
)
from digitscan.imaging.normalize import (
    MOST_BLOCKS,
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
"""Raised when the same picture may give other pixels: a model belongs to one version."""


WORKING_SIZE = 64
"""Pixels on the long side that the steps look at: enough for any one digit, and quick."""


MOST_ELONGATED = 4.0
"""A long strip is looked at with so many times more pixels, to see what stands in it side by side."""


SMALL_DIGIT = 28
"""A digit shorter than this in a reduced picture is looked at again where it has more pixels."""


SMALL_IN_FRAME = "small in its frame"
"""The note of a picture whose digit was looked at again, closer."""


WIDEST = 2.5
"""Width to height of the widest thing that may be a digit: the widest of MNIST's training images."""


class Preprocessed(NamedTuple):
    """What the model sees of a picture, or why there is no digit in it.

    `pixels` is (28, 28) uint8, ink bright on black, or None; `notes` says what was done and seen;
    `refusal` is why there is no digit to look at, given exactly when `pixels` is None. `digit_size` is the
    longer side of the digit in pixels of the picture, 0 where there is none.
    """

    pixels: GrayImage | None
    notes: tuple[str, ...] = ()
    rejection: str | None = None
    digit_size: int = 0


def preprocess(gray: NDArray[Any]) -> Preprocessed:
    """Return the digit of a picture as MNIST would show it.

    `gray` is any two-dimensional array of at least 1x1: uint8, uint16 or float, of any range. Never raises.
    """
    picture = to_uint8(gray)
    height, width = picture.shape
    elongated = min(MOST_ELONGATED, max(1.0, max(height, width) / (1.5 * min(height, width))))
    reduced, scale = downscale(picture, round(WORKING_SIZE * elongated))
    seen = _look(reduced)
    if 2 * MOST_BLOCKS * scale < 1.0 and (seen.digit is None or seen.rejection or is_thin(seen.digit.ink)):
        # Pixels were left out, and a stroke between them would be lost or broken.
        reduced = downscale_by_area(picture, reduced.shape)
        seen = _look(reduced)
    if scale == 1.0 or seen.digit is None or seen.rejection == "several digits":
        return _shown(seen, scale)
    if max(seen.digit.ink.shape) >= SMALL_DIGIT:
        return _shown(seen, scale)
    part = _cut_with_margin(picture, seen.digit, scale)
    if max(part.shape) >= max(picture.shape):
        return _shown(seen, scale)
    again = preprocess(part)
    if again.pixels is None:
        return _shown(seen, scale)
    # Either look may have seen what the other could not; what both saw is said once.
    return again._replace(notes=tuple(dict.fromkeys((SMALL_IN_FRAME, *seen.notes, *again.notes))))


class _Seen(NamedTuple):
    """What one look saw: a digit, or why there is none, or both. A tuple, made in half a record's time."""

    notes: list[str]
    rejection: str | None
    digit: Digit | None = None
    threshold: float = 0.0
    strength: float = 0.0


def _look(picture: GrayImage) -> _Seen:
    """Look at a picture of working size."""
    notes: list[str] = []
    if is_light_on_dark(picture):
        ink_side = picture
        notes.append("light on dark")
    else:
        ink_side = cv2.bitwise_not(picture)
    ink = subtract_background(ink_side)
    mask, threshold, strength, noise = measure_ink(ink)
    if is_blank(strength, noise):
        return _Seen(notes, "blank")
    if is_faint(strength):
        notes.append("faint")
    digit, rejection, parts_note = segment_digit(ink, mask)
    if parts_note:
        notes.append(parts_note)
    if digit is not None and rejection is None and digit.ink.shape[1] > WIDEST * digit.ink.shape[0]:
        rejection = "too wide for one digit"
    return _Seen(notes, rejection, digit, threshold, strength)


def _shown(seen: _Seen, scale: float) -> Preprocessed:
    """Return what was seen in a picture reduced by `scale` as MNIST would show it."""
    if seen.digit is None or seen.rejection is not None:
        return Preprocessed(None, tuple(seen.notes), seen.rejection)
    sharpened = stretch_contrast(seen.digit.ink, seen.threshold, seen.strength)
    side = round(max(seen.digit.ink.shape) / scale)
    return Preprocessed(centre_by_mass(fit_into_box(sharpened)), tuple(seen.notes), None, side)


def _cut_with_margin(picture: GrayImage, digit: Digit, scale: float) -> GrayImage:
    height, width = digit.ink.shape
    margin = 0.5 * max(height, width) + 2
    top = max(0, int((digit.top - margin) / scale))
    left = max(0, int((digit.left - margin) / scale))
    bottom = int((digit.top + height + margin) / scale) + 1
    right = int((digit.left + width + margin) / scale) + 1
    return picture[top:bottom, left:right]
