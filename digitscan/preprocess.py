"""The one definition of what the model sees: a grayscale picture of any size -> one 28x28 digit.

MNIST's own procedure (LeCun 1998: fit into 20x20, centre by mass in 28x28), behind the steps that make
a user's picture look like one of MNIST's: find which is ink, remove the paper and its shadows, keep the
parts that belong to the digit. The scanner, the trainer and the evaluator all run `preprocess`, and no
size of picture skips it. Pure functions; nothing here raises on any two-dimensional array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

PREPROCESS_VERSION = 1
"""Raised when the same picture may give other pixels: a model belongs to one version."""

SIZE = 28
BOX = 20
WORKING_SIZE = 96
"""Pixels on the long side that the steps look at: enough for any one digit, and quick."""
MOST_BLOCKS = 3
"""A side of a block of pixels that is averaged into one, at most."""
SMALL_DIGIT = 28
"""A digit shorter than this in a reduced picture is cut from the original and looked at again."""
WIDEST = 2.5
"""Width to height of the widest thing that may be a digit; MNIST's widest is 1.9."""
MANY_PARTS = 25
"""More parts of a size than any digit falls into: a page, a texture, a photo."""

Gray = NDArray[Any]
"""A picture, (H, W) uint8; OpenCV's annotations do not carry the type of a pixel."""


@dataclass(frozen=True)
class Preprocessed:
    """What the model sees of a picture, or why there is no digit in it.

    `pixels` is (28, 28) uint8, ink bright on black, or None; `notes` says what was done and seen;
    `refusal` is why there is no digit to look at, given exactly when `pixels` is None.
    """

    pixels: Gray | None
    notes: tuple[str, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True)
class Digit:
    """The digit's ink and its place: `ink` (H, W) uint8 cut to the digit, at (`top`, `left`) of the frame."""

    ink: Gray
    top: int
    left: int


def preprocess(gray: NDArray[Any]) -> Preprocessed:
    """Return the digit of a picture as MNIST would show it.

    `gray` is any two-dimensional array of at least 1x1: uint8, uint16 or float, of any range. Never raises.
    """
    picture = to_eight_bits(gray)
    reduced, scale = reduce_size(picture, WORKING_SIZE)
    seen, digit = _look(reduced)
    if scale == 1.0 or digit is None or seen.refusal == "several digits":
        return seen
    if max(digit.ink.shape) >= SMALL_DIGIT:
        return seen
    part = _cut_with_margin(picture, digit, scale)
    if max(part.shape) >= max(picture.shape):
        return seen
    again = preprocess(part)
    return replace(again, notes=("small in its frame", *again.notes)) if again.pixels is not None else seen


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


def to_eight_bits(gray: NDArray[Any]) -> Gray:
    """Return uint8 of the same shape; other types are stretched from their own range to 0..255."""
    if gray.dtype == np.uint8:
        return gray
    values = np.nan_to_num(gray.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    span = high - low
    if not 1e-300 < span < np.inf:  # even, or beyond what can be divided
        return np.zeros(gray.shape, np.uint8)
    return np.rint((values - low) / span * 255.0).astype(np.uint8)


def _look(picture: Gray) -> tuple[Preprocessed, Digit | None]:
    """Look at a picture of working size: the answer, and the digit's place for a closer look."""
    notes: list[str] = []
    if is_light_on_dark(picture):
        ink_side = picture
        notes.append("light on dark")
    else:
        ink_side = cv2.bitwise_not(picture)
    ink = remove_paper(ink_side)
    threshold, strength, noise = measure_ink(ink)
    if strength < max(10.0, 3.5 * noise):
        return Preprocessed(None, tuple(notes), "blank"), None
    if strength < 40.0:
        notes.append("faint")
    digit, refusal, parts_note = find_digit(ink, threshold)
    if parts_note:
        notes.append(parts_note)
    if digit is None:
        return Preprocessed(None, tuple(notes), refusal), None
    if refusal is None and digit.ink.shape[1] > WIDEST * digit.ink.shape[0]:
        refusal = "too wide for one digit"
    if refusal is not None:
        return Preprocessed(None, tuple(notes), refusal), digit
    sharpened = stretch_ink(digit.ink, threshold, strength)
    return Preprocessed(centre_by_mass(fit_into_box(sharpened)), tuple(notes)), digit


def is_light_on_dark(picture: Gray) -> bool:
    """Tell ink from paper by what lies at the border, what covers more, and which is the thinner.

    Ink is thin: the largest disc that fits into it is smaller than the largest that fits into paper.
    """
    small, _ = reduce_size(picture, 48)
    edge = np.concatenate((small[0], small[-1], small[:, 0], small[:, -1])).astype(np.int16)
    low, high = np.partition(edge, (edge.size // 10, edge.size * 9 // 10))[
        [edge.size // 10, edge.size * 9 // 10]
    ].tolist()
    if min(small.shape) > 32 and 2 * (high - low) > int(small.max()) - int(small.min()):
        # Light this uneven hides the ink from one threshold: look for thin strokes of either kind.
        lighter = cv2.sumElems(cv2.morphologyEx(small, cv2.MORPH_TOPHAT, _square(9)))[0]
        darker = cv2.sumElems(cv2.morphologyEx(small, cv2.MORPH_BLACKHAT, _square(9)))[0]
        return bool(lighter > darker)
    _, bright = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    area = cv2.countNonZero(bright) / bright.size
    height, width = bright.shape
    border_pixels = 2 * (height + width)
    border = (
        cv2.countNonZero(bright[0])
        + cv2.countNonZero(bright[-1])
        + cv2.countNonZero(bright[:, 0])
        + cv2.countNonZero(bright[:, -1])
    ) / border_pixels
    if area < 0.35 and border < 0.25:
        return True
    if area > 0.65 and border > 0.75:
        return False
    bright_disc = float(cv2.distanceTransform(bright, cv2.DIST_L2, 3).max())
    dark_disc = float(cv2.distanceTransform(1 - bright, cv2.DIST_L2, 3).max())
    thinner = float(np.log2((bright_disc + 0.5) / (dark_disc + 0.5)))
    return bool(thinner + 2.0 * (border - 0.5) + 2.0 * (area - 0.5) < 0.0)


def remove_paper(ink_side: Gray) -> Gray:
    """Return how far each pixel stands out of its paper (uint8, 0 is paper), shadows and gradients removed.

    `ink_side` has ink bright. Even paper is subtracted; uneven paper is estimated by an opening wider
    than any stroke, at half size.
    """
    height, width = ink_side.shape
    border = np.concatenate((ink_side[0], ink_side[-1], ink_side[:, 0], ink_side[:, -1]))
    low, middle = np.partition(border, (border.size // 10, border.size // 2))[
        [border.size // 10, border.size // 2]
    ].tolist()
    high = int(np.partition(border, border.size * 8 // 10)[border.size * 8 // 10])
    if high - low <= 8 or min(height, width) < 12:
        return cv2.subtract(ink_side, np.full_like(ink_side, min(middle, 255)))
    half = cv2.resize(ink_side, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)
    across = (max(half.shape) * 2 // 5) | 1
    kernel = _square(across)
    paper = cv2.blur(cv2.morphologyEx(half, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE), (7, 7))
    paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.subtract(ink_side, paper)


@lru_cache(maxsize=64)
def _square(across: int) -> Gray:
    return np.ones((across, across), np.uint8)


def measure_ink(ink: Gray) -> tuple[float, float, float]:
    """Return Otsu's threshold, how far the ink above stands out of what is below, and the paper's noise."""
    threshold, _ = cv2.threshold(ink, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    counts = cv2.calcHist([ink], [0], None, [256], [0, 256]).ravel()
    levels = _LEVELS
    split = int(threshold) + 1
    above, below = float(counts[split:].sum()), float(counts[:split].sum())
    if above == 0.0 or below == 0.0:
        return float(threshold), 0.0, 0.0
    ink_level = float(counts[split:] @ levels[split:]) / above
    paper_level = float(counts[:split] @ levels[:split]) / below
    spread = float(counts[:split] @ (levels[:split] - paper_level) ** 2) / below
    return float(threshold), ink_level - paper_level, float(spread) ** 0.5


_LEVELS = np.arange(256, dtype=np.float32)


def find_digit(ink: Gray, threshold: float) -> tuple[Digit | None, str | None, str | None]:
    """Return the parts of the ink that belong to the digit, a reason to refuse, and a note.

    The main part is the largest that is no line of a form; others belong to it when they are large
    enough and near. Specks, box lines and a neighbour's scraps at the border are left out.
    """
    height, width = ink.shape
    _, mask = cv2.threshold(ink, threshold, 1, cv2.THRESH_BINARY)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    if count <= 1:
        return None, "blank", None
    if count == 2:
        left, top, w, h, _ = stats[1].tolist()
        return _cut(ink, left, top, w, h), None, None
    parts = [(label, *stats[label].tolist()) for label in range(1, count)]
    smallest = max(2, 0.004 * height * width) if max(height, width) > SIZE else 2
    # Left, top, width, height, area; a line of a form reaches from edge to edge and is thin.
    sound = [part for part in parts if not _is_line(part, height, width)]
    note = "lines left out" if len(sound) < len(parts) else None
    if not sound:
        return None, "lines without a digit", note
    main = max(sound, key=lambda part: _weight(part, height, width))
    large = [part for part in sound if part[5] >= max(smallest, 0.1 * main[5])]
    if len(large) > MANY_PARTS:
        return _cut(ink, 0, 0, width, height), "too many parts for a digit", note
    keep = [part for part in sound if part is main or _belongs(part, main, height, width, smallest)]
    left = min(part[1] for part in keep)
    top = min(part[2] for part in keep)
    right = max(part[1] + part[3] for part in keep)
    bottom = max(part[2] + part[4] for part in keep)
    digit = _cut(ink, left, top, right - left, bottom - top)
    if _is_row(large):
        return digit, "several digits", note
    if len(keep) < len(parts):
        # Zero what was left out, with its soft edge, where it reaches into the digit's box.
        others = np.ones(count, np.uint8)
        others[[part[0] for part in keep]] = 0
        others[0] = 0
        outside = cv2.dilate(others[labels], _square(3))
        inside = outside[top:bottom, left:right]
        if inside.any():
            kept = np.zeros(count, np.uint8)
            kept[[part[0] for part in keep]] = 1
            inside = cv2.subtract(inside, kept[labels][top:bottom, left:right])
            digit = replace(digit, ink=cv2.multiply(digit.ink, 1 - inside))
        if any(part[5] >= smallest for part in sound if part not in keep):
            note = note or "parts left out"
    return digit, None, note


Part = tuple[int, int, int, int, int, int]


def _cut(ink: Gray, left: int, top: int, width: int, height: int) -> Digit:
    return Digit(ink[top : top + height, left : left + width], top, left)


def _is_line(part: Part, height: int, width: int) -> bool:
    _, left, top, w, h, area = part
    touches = (left == 0) + (top == 0) + (left + w == width) + (top + h == height)
    if touches == 0:
        return False
    across = w >= 0.9 * width and h <= 0.12 * height
    along = h >= 0.9 * height and w <= 0.08 * width and (left == 0 or left + w == width)
    grid = touches >= 3 and area < 0.12 * w * h and max(height, width) > SIZE
    return across or along or grid


def _weight(part: Part, height: int, width: int) -> float:
    """Size, less for a part that lies off the centre and touches the edge."""
    _, left, top, w, h, area = part
    off = abs(left + w / 2 - width / 2) / width + abs(top + h / 2 - height / 2) / height
    touches = left == 0 or top == 0 or left + w == width or top + h == height
    return math.sqrt(area) * max(w, h) * (1.2 - off) * (0.6 if touches else 1.0)


def _belongs(part: Part, main: Part, height: int, width: int, smallest: float) -> bool:
    _, left, top, w, h, area = part
    _, main_left, main_top, main_w, main_h, main_area = main
    if area < smallest or area < 0.02 * main_area:
        return False
    reach = max(main_w, main_h)
    apart_x = max(left - main_left - main_w, main_left - left - w, 0)
    apart_y = max(top - main_top - main_h, main_top - top - h, 0)
    apart = max(apart_x, apart_y)
    touches = left == 0 or top == 0 or left + w == width or top + h == height
    main_touches = (
        main_left == 0 or main_top == 0 or main_left + main_w == width or main_top + main_h == height
    )
    if touches and not main_touches:
        return apart == 0 and area >= 0.05 * main_area
    return apart <= 0.35 * reach * (1.0 if area >= 0.05 * main_area else 0.3)


def _is_row(parts: list[Part]) -> bool:
    """Tell whether parts of like height stand side by side, at least three: more than one digit."""
    tall = max(part[4] for part in parts) if parts else 0
    row = sorted((part for part in parts if part[4] >= 0.5 * tall), key=lambda part: part[1])
    return len(row) >= 3 and all(a[1] + 0.7 * a[3] <= b[1] for a, b in pairwise(row))


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
    low = 0.4 * threshold
    high = max(low + 1.0, min(255.0, threshold + 0.5 * strength))
    table = np.clip((_LEVELS - low) * (255.0 / (high - low)), 0.0, 255.0).astype(np.uint8)
    return cv2.LUT(ink, table)


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
    strong = float(np.partition(bright, bright.size * 3 // 4)[bright.size * 3 // 4])
    return cv2.convertScaleAbs(fitted, alpha=255.0 / strong) if strong < 250.0 else fitted


def centre_by_mass(fitted: Gray) -> Gray:
    """Return (28, 28) with the centre of the ink's mass at the middle, as far as the box stays inside."""
    height, width = fitted.shape
    moments = cv2.moments(fitted)
    mass = moments["m00"] or 1.0
    top = round((SIZE - 1) / 2 - moments["m01"] / mass)
    left = round((SIZE - 1) / 2 - moments["m10"] / mass)
    top = min(max(top, 0), SIZE - height)
    left = min(max(left, 0), SIZE - width)
    centred = np.zeros((SIZE, SIZE), np.uint8)
    centred[top : top + height, left : left + width] = fitted
    return centred
