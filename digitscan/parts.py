"""Which parts of the ink are the digit: its own strokes, not specks, lines of the form or neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[Any]
"""A picture, (H, W) uint8; OpenCV's annotations do not carry the type of a pixel."""

LARGE = 28
"""Frames with a longer side show specks and lines; in smaller ones every pixel may be the digit's."""
MANY_PARTS = 25
"""More parts of a size than any digit falls into: a page, a texture, a photo."""

EQUALS = 3
"""So many parts as large as the main one, and apart from it, are other digits."""

Part = tuple[int, int, int, int, int, int]
"""Label, left, top, width, height, area."""


@dataclass(frozen=True)
class Digit:
    """The digit's ink and its place: `ink` (H, W) uint8 cut to the digit, at (`top`, `left`) of the frame."""

    ink: Gray
    top: int
    left: int


@lru_cache(maxsize=64)
def square(across: int) -> Gray:
    """Return a kernel of ones."""
    return np.ones((across, across), np.uint8)


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
    smallest = max(2, 0.004 * height * width) if max(height, width) > LARGE else 2
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
    if _is_row(large) or _has_equals(sound, keep, main):
        return digit, "several digits", note
    if len(keep) < len(parts):
        # Zero what was left out, with its soft edge, where it reaches into the digit's box.
        others = np.ones(count, np.uint8)
        others[[part[0] for part in keep]] = 0
        others[0] = 0
        outside = cv2.dilate(others[labels], square(3))
        inside = outside[top:bottom, left:right]
        if inside.any():
            kept = np.zeros(count, np.uint8)
            kept[[part[0] for part in keep]] = 1
            inside = cv2.subtract(inside, kept[labels][top:bottom, left:right])
            digit = replace(digit, ink=cv2.multiply(digit.ink, 1 - inside))
        if any(part[5] >= smallest for part in sound if part not in keep):
            note = note or "parts left out"
    return digit, None, note


def _cut(ink: Gray, left: int, top: int, width: int, height: int) -> Digit:
    return Digit(ink[top : top + height, left : left + width], top, left)


def _is_line(part: Part, height: int, width: int) -> bool:
    _, left, top, w, h, area = part
    touches = (left == 0) + (top == 0) + (left + w == width) + (top + h == height)
    if touches == 0:
        return False
    across = w >= 0.9 * width and h <= 0.12 * height
    along = h >= 0.9 * height and w <= 0.08 * width and (left == 0 or left + w == width)
    grid = touches >= 3 and area < 0.12 * w * h and max(height, width) > LARGE
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


def _has_equals(sound: list[Part], keep: list[Part], main: Part) -> bool:
    """Tell whether several parts that do not belong to the main one are about as large."""
    apart = [part for part in sound if part not in keep]
    return sum(part[4] >= 0.5 * main[4] and part[5] >= 0.3 * main[5] for part in apart) >= EQUALS


def _is_row(parts: list[Part]) -> bool:
    """Tell whether parts of like height stand side by side, at least three: more than one digit."""
    tall = max(part[4] for part in parts) if parts else 0
    row = sorted((part for part in parts if part[4] >= 0.5 * tall), key=lambda part: part[1])
    return len(row) >= 3 and all(a[1] + 0.7 * a[3] <= b[1] for a, b in pairwise(row))
