"""The one definition of what the model sees: a grayscale picture of any size -> one 28x28 digit.

MNIST's own procedure (LeCun 1998: fit into 20x20, centre by mass in 28x28), behind the steps that make
a user's picture look like one of MNIST's: find which is ink, remove the paper and its shadows, keep the
parts that belong to the digit. The scanner, the trainer and the evaluator all run `preprocess`, and no
size of picture skips it. Pure functions; nothing here raises on any two-dimensional array from 1x1 on.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.segment import Digit, Gray, find_digit, square

PREPROCESS_VERSION = 2
"""Raised when the same picture may give other pixels: a model belongs to one version."""

SIZE = 28
BOX = 20
WORKING_SIZE = 64
"""Pixels on the long side that the steps look at: enough for any one digit, and quick."""
MOST_ELONGATED = 4.0
"""A long strip is looked at with so many times more pixels, to see what stands in it side by side."""
MOST_BLOCKS = 2
"""A side of a block of pixels that is averaged into one, at most."""
SMALL_DIGIT = 28
"""A digit shorter than this in a reduced picture is looked at again where it has more pixels."""
STRAY = 4
"""So many pixels at either end of the values may be broken ones."""
SMALL_IN_FRAME = "small in its frame"
"""The note of a picture whose digit was looked at again, closer."""
NARROW = 2.8
"""Height to width of a crop that can hold no digit but a 1."""
WIDEST = 2.5
"""Width to height of the widest thing that may be a digit: the widest of MNIST's training images."""
PAPER_END = 0.4
"""Of Otsu's threshold: up to there all is paper."""
INK_END = 0.5
"""Of how far ink stands out, beyond the threshold: from there on all is full ink."""


class Preprocessed(NamedTuple):
    """What the model sees of a picture, or why there is no digit in it.

    `pixels` is (28, 28) uint8, ink bright on black, or None; `notes` says what was done and seen;
    `refusal` is why there is no digit to look at, given exactly when `pixels` is None. `digit_side` is the
    longer side of the digit in pixels of the picture, 0 where there is none.
    """

    pixels: Gray | None
    notes: tuple[str, ...] = ()
    refusal: str | None = None
    digit_side: int = 0


def preprocess(gray: NDArray[Any]) -> Preprocessed:
    """Return the digit of a picture as MNIST would show it.

    `gray` is any two-dimensional array of at least 1x1: uint8, uint16 or float, of any range. Never raises.
    """
    picture = to_eight_bits(gray)
    height, width = picture.shape
    elongated = min(MOST_ELONGATED, max(1.0, max(height, width) / (1.5 * min(height, width))))
    reduced, scale = reduce_size(picture, round(WORKING_SIZE * elongated))
    seen = _look(reduced)
    if 2 * MOST_BLOCKS * scale < 1.0 and (seen.digit is None or seen.refusal or is_thin(seen.digit.ink)):
        # Pixels were left out, and a stroke between them would be lost or broken.
        reduced = average_down(picture, reduced.shape)
        seen = _look(reduced)
    if scale == 1.0 or seen.digit is None or seen.refusal == "several digits":
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


def reduce_size(picture: Gray, longest: int) -> tuple[Gray, float]:
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


def average_down(picture: Gray, shape: tuple[int, ...]) -> Gray:
    """Return the picture averaged down to (height, width): by halves first, which is many times faster."""
    while picture.shape[0] >= 2 * shape[0] and picture.shape[1] >= 2 * shape[1]:
        height, width = picture.shape[0] // 2, picture.shape[1] // 2
        # OpenCV is quick at blocks of 2x2 alone; an odd last row or column is left out.
        picture = picture[: 2 * height, : 2 * width]
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(picture, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)


def is_thin(ink: Gray) -> bool:
    """Tell whether a digit's strokes are nowhere wider than two pixels, but for their crossings."""
    _, strokes = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return cv2.countNonZero(cv2.erode(strokes, square(3))) < 0.05 * cv2.countNonZero(strokes)


def to_eight_bits(gray: NDArray[Any]) -> Gray:
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


class _Seen(NamedTuple):
    """What one look saw: a digit, or why there is none, or both. A tuple, made in half a record's time."""

    notes: list[str]
    refusal: str | None
    digit: Digit | None = None
    threshold: float = 0.0
    strength: float = 0.0


def _look(picture: Gray) -> _Seen:
    """Look at a picture of working size."""
    notes: list[str] = []
    if is_light_on_dark(picture):
        ink_side = picture
        notes.append("light on dark")
    else:
        ink_side = cv2.bitwise_not(picture)
    ink = remove_paper(ink_side)
    mask, threshold, strength, noise = measure_ink(ink)
    if is_blank(strength, noise):
        return _Seen(notes, "blank")
    if is_faint(strength):
        notes.append("faint")
    digit, refusal, parts_note = find_digit(ink, mask)
    if parts_note:
        notes.append(parts_note)
    if digit is not None and refusal is None and digit.ink.shape[1] > WIDEST * digit.ink.shape[0]:
        refusal = "too wide for one digit"
    return _Seen(notes, refusal, digit, threshold, strength)


def is_blank(strength: Any, noise: Any) -> Any:
    """Tell whether ink stands out too little to be any; floats, or arrays of them."""
    return (strength < 10.0) | (strength < 3.5 * noise)


def is_faint(strength: Any) -> Any:
    """Tell whether ink stands out little; a float, or an array of them."""
    return strength < 40.0


def _shown(seen: _Seen, scale: float) -> Preprocessed:
    """Return what was seen in a picture reduced by `scale` as MNIST would show it."""
    if seen.digit is None or seen.refusal is not None:
        return Preprocessed(None, tuple(seen.notes), seen.refusal)
    sharpened = stretch_ink(seen.digit.ink, seen.threshold, seen.strength)
    side = round(max(seen.digit.ink.shape) / scale)
    return Preprocessed(centre_by_mass(fit_into_box(sharpened)), tuple(seen.notes), None, side)


def is_light_on_dark(picture: Gray) -> bool:
    """Tell ink from paper by what lies at the border, what covers more, and which is the thinner.

    Ink is thin: the largest disc that fits into it is smaller than the largest that fits into paper.
    """
    small, _ = reduce_size(picture, 48)
    if min(small.shape) > 32:
        border = _sorted_border(small)
        darkest, brightest, _, _ = cv2.minMaxLoc(small)
        if int(border[border.size * 9 // 10]) - int(border[border.size // 10]) > 0.5 * (brightest - darkest):
            # Light this uneven hides the ink from one threshold: look for thin strokes of either kind.
            without_light = cv2.sumElems(cv2.morphologyEx(small, cv2.MORPH_OPEN, square(9)))[0]
            without_dark = cv2.sumElems(cv2.morphologyEx(small, cv2.MORPH_CLOSE, square(9)))[0]
            every = cv2.sumElems(small)[0]
            return every - without_light > without_dark - every
    _, bright = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    area = cv2.countNonZero(bright) / bright.size
    height, width = bright.shape
    around = cv2.countNonZero(_border(bright)) / (2 * (height + width))
    if is_plainly_light(area, around):
        return True
    if is_plainly_dark(area, around):
        return False
    if NARROW * width < height:
        # So narrow a crop holds a 1, which passes through its middle.
        middle = bright[bright.shape[0] // 3 : -(bright.shape[0] // 3), bright.shape[1] // 3 :]
        middle = middle[:, : max(1, bright.shape[1] // 3)]
        return bool(2 * cv2.countNonZero(middle) > middle.size)
    bright_disc = float(cv2.distanceTransform(bright, cv2.DIST_L2, 3).max())
    dark_disc = float(cv2.distanceTransform(1 - bright, cv2.DIST_L2, 3).max())
    thinner = float(np.log2((bright_disc + 0.5) / (dark_disc + 0.5)))
    return bool(thinner + 2.0 * (around - 0.5) + 2.0 * (area - 0.5) < 0.0)


def is_plainly_light(area: Any, around: Any) -> Any:
    """Tell whether what is bright, of all and of the border, is ink; shares, or arrays of them."""
    return (area < 0.35) & (around < 0.25)


def is_plainly_dark(area: Any, around: Any) -> Any:
    """Tell whether what is bright, of all and of the border, is paper; shares, or arrays of them."""
    return (area > 0.65) & (around > 0.75)


def _sorted_border(picture: Gray) -> Gray:
    border = _border(picture)
    border.sort(kind="stable")  # by radix: twice as fast or more
    return border


def _border(picture: Gray) -> Gray:
    """Return the pixels of all four sides, each corner twice, in a third of the time of joining slices."""
    return picture.take(border_places(picture.shape))


@lru_cache(maxsize=64)
def border_places(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Return where the pixels of all four sides are in a flat picture (H * W,), each corner twice."""
    places = np.arange(shape[0] * shape[1]).reshape(shape)
    return np.concatenate((places[0], places[-1], places[:, 0], places[:, -1]))


def remove_paper(ink_side: Gray) -> Gray:
    """Return how far each pixel stands out of its paper (uint8, 0 is paper), shadows and gradients removed.

    `ink_side` has ink bright. Even paper is subtracted; uneven paper is estimated by an opening wider
    than any stroke, at half size.
    """
    height, width = ink_side.shape
    border = _sorted_border(ink_side)
    low, high = int(border[border.size // 10]), int(border[border.size * 8 // 10])
    if is_even(high - low, ink_side.shape):
        level = int(border[border.size // 2])
        return cv2.subtract(ink_side, np.full_like(ink_side, level)) if level else ink_side
    half = cv2.resize(ink_side, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    across = (max(half.shape) * 2 // 5) | 1
    kernel = square(across)
    paper = cv2.blur(cv2.morphologyEx(half, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE), (7, 7))
    paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.subtract(ink_side, paper)


def is_even(span: Any, shape: tuple[int, ...]) -> Any:
    """Tell by the span of most of its border whether a picture's paper is even; an int, or an array."""
    return (span <= 8) | (min(shape) < 12)


def measure_ink(ink: Gray) -> tuple[Gray, float, float, float]:
    """Return where the ink is, Otsu's threshold, how far ink stands out of paper, and the paper's noise."""
    threshold, above = cv2.threshold(ink, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    count = cv2.countNonZero(above)
    below = ink.size - count
    if count == 0 or below == 0:
        return above, threshold, 0.0, 0.0
    # Norms are sums, in half the time of cv2.mean.
    ink_sum = cv2.norm(ink, cv2.NORM_L1, above)
    paper_level = (cv2.norm(ink, cv2.NORM_L1) - ink_sum) / below
    squares = cv2.norm(ink, cv2.NORM_L2SQR) - cv2.norm(ink, cv2.NORM_L2SQR, above)
    noise = math.sqrt(max(0.0, squares / below - paper_level * paper_level))
    return above, threshold, ink_sum / count - paper_level, noise


_LEVELS = np.arange(256, dtype=np.float32)


def _cut_with_margin(picture: Gray, digit: Digit, scale: float) -> Gray:
    height, width = digit.ink.shape
    margin = 0.5 * max(height, width) + 2
    top = max(0, int((digit.top - margin) / scale))
    left = max(0, int((digit.left - margin) / scale))
    bottom = int((digit.top + height + margin) / scale) + 1
    right = int((digit.left + width + margin) / scale) + 1
    return picture[top:bottom, left:right]


def stretch_ink(ink: Gray, threshold: float, strength: float) -> Gray:
    """Return the ink with paper at 0 and full ink at 255: the soft edge keeps its shape, grain goes."""
    low = PAPER_END * threshold
    high = max(low + 1.0, min(255.0, threshold + INK_END * strength))
    # np.clip does the same in twice the time.
    table = np.minimum(np.maximum(_LEVELS - low, 0.0) * (255.0 / (high - low)), 255.0)
    return cv2.LUT(ink, table.astype(np.uint8))


def fit_into_box(ink: Gray) -> Gray:
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
def moments_of(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return what weighs pixels (H, W) by 1, by their row and by their column: (3, H * W)."""
    rows, columns = np.indices(shape).reshape(2, -1)
    return np.stack((np.ones_like(rows), rows, columns)).astype(np.float32)


def centre_by_mass(fitted: Gray) -> Gray:
    """Return (28, 28) with the centre of the ink's mass at the middle, as far as the box stays inside."""
    height, width = fitted.shape
    # Whole numbers below 2**24: exact in float32, and in less than half the time of cv2.moments.
    mass, down, right = moments_of(fitted.shape).dot(fitted.ravel().astype(np.float32)).tolist()
    top = round((SIZE - 1) / 2 - down / (mass or 1.0))
    left = round((SIZE - 1) / 2 - right / (mass or 1.0))
    top = min(max(top, 0), SIZE - height)
    left = min(max(left, 0), SIZE - width)
    centred = np.zeros((SIZE, SIZE), np.uint8)
    centred[top : top + height, left : left + width] = fitted
    return centred
