"""Which parts of the ink are the digit: its own strokes, not specks, lines of the form or neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from digitscan.imaging.types import GrayImage

LARGE = 28
"""Frames with a longer side show specks and lines; in smaller ones every pixel may be the digit's."""


MANY_PARTS = 25
"""More parts of a size than any digit falls into: a page, a texture, a photo."""


EQUALS = 3
"""So many parts as large as the main one, and apart from it, are other digits even at the edge."""


GAP = 0.12
"""Of the height of all the ink: parts no further apart are one broken stroke."""


Component = tuple[int, int, int, int, int, int]
"""Number, left, top, width, height, area: of a connected part, or of parts taken together."""


@dataclass(frozen=True)
class Digit:
    """The digit's ink and its place: `ink` (H, W) uint8 cut to the digit, at (`top`, `left`) of the frame."""

    ink: GrayImage
    top: int
    left: int


@lru_cache(maxsize=64)
def square(across: int) -> GrayImage:
    """Return a kernel of ones."""
    return np.ones((across, across), np.uint8)


def segment_digit(ink: GrayImage, mask: GrayImage) -> tuple[Digit | None, str | None, str | None]:
    """Return the parts of the ink that belong to the digit, a reason to refuse, and a note.

    `mask` (H, W) uint8 is not 0 where there is ink.

    The main part is the largest that is no line of a form; others belong to it when they are large
    enough and near. Specks, box lines and a neighbour's scraps at the border are left out.
    """
    height, width = ink.shape
    count, _ = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)
    if count <= 1:
        return None, "blank", None
    if count == 2:  # most pictures: statistics would double the time
        left, top, w, h = cv2.boundingRect(mask)
        if spans_image(left, w, h, height, width):
            return None, "lines without a digit", "lines left out"
        return _cut(ink, left, top, w, h), None, None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    parts = [(label, *stats[label].tolist()) for label in range(1, count)]
    # Of a strip, as much of it as may hold one digit counts.
    room = min(height, width) * min(max(height, width), 1.5 * min(height, width))
    smallest = max(2, 0.004 * room) if max(height, width) > LARGE else 2
    # Left, top, width, height, area; a line of a form reaches from edge to edge and is thin.
    sound = [part for part in parts if not _is_line(part, height, width)]
    note = "lines left out" if len(sound) < len(parts) else None
    if not sound:
        return None, "lines without a digit", note
    largest = max(part[5] for part in sound)
    large = [part for part in sound if part[5] >= max(smallest, 0.1 * largest)]
    if len(large) > MANY_PARTS:
        return _cut(ink, 0, 0, width, height), "too many parts for a digit", note
    dots = sound if max(height, width) <= LARGE else [part for part in sound if part[5] >= smallest]
    clusters = join_broken_strokes(dots or sound, height, width)
    wholes = [_union(number, cluster) for number, cluster in enumerate(clusters)]
    main = max(wholes, key=lambda whole: _weight(whole, height, width))
    belonging = [whole for whole in wholes if whole is main or _belongs(whole, main, height, width, smallest)]
    keep = [part for whole in belonging for part in clusters[whole[0]]]
    left = min(part[1] for part in keep)
    top = min(part[2] for part in keep)
    right = max(part[1] + part[3] for part in keep)
    bottom = max(part[2] + part[4] for part in keep)
    digit = _cut(ink, left, top, right - left, bottom - top)
    if (
        _is_row(wholes, main)
        or _has_equals(wholes, belonging, main, height, width)
        or _stand_side_by_side(keep, bottom - top)
    ):
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


def _cut(ink: GrayImage, left: int, top: int, width: int, height: int) -> Digit:
    return Digit(ink[top : top + height, left : left + width], top, left)


def _is_line(part: Component, height: int, width: int) -> bool:
    _, left, top, w, h, area = part
    touches = (left == 0) + (top == 0) + (left + w == width) + (top + h == height)
    if touches == 0:
        return False
    grid = touches >= 3 and area < 0.12 * w * h and max(height, width) > LARGE
    return grid or bool(spans_image(left, w, h, height, width))


def spans_image(left: Any, w: Any, h: Any, height: int, width: int) -> Any:
    """Tell whether a thin part reaches from side to side, or from top to bottom at a side, where no 1 is.

    `left`, `w` and `h` are ints, or arrays of them.
    """
    across = (w >= 0.9 * width) & (h <= 0.12 * height)
    return across | (h >= 0.9 * height) & (w <= 0.08 * width) & ((left == 0) | (left + w == width))


def join_broken_strokes(parts: list[Component], height: int, width: int) -> list[list[Component]]:
    """Return the parts in clusters: those of a stroke that a dry pen or a bad threshold broke.

    A part at the edge of the frame may be a neighbour's: it joins what is not at the edge only where
    their boxes overlap.
    """
    if len(parts) == 1:
        return [parts]
    whole = _union(0, parts)
    gap = GAP * whole[4]
    clusters: list[list[Component]] = []
    for part in parts:
        near = [
            cluster
            for cluster in clusters
            if any(
                _apart(part, other)
                <= (gap if _touches(part, height, width) == _touches(other, height, width) else 0)
                for other in cluster
            )
        ]
        clusters = [cluster for cluster in clusters if cluster not in near]
        clusters.append([part, *(other for cluster in near for other in cluster)])
    return clusters


def _union(number: int, parts: list[Component]) -> Component:
    left = min(part[1] for part in parts)
    top = min(part[2] for part in parts)
    right = max(part[1] + part[3] for part in parts)
    bottom = max(part[2] + part[4] for part in parts)
    return number, left, top, right - left, bottom - top, sum(part[5] for part in parts)


def _touches(part: Component, height: int, width: int) -> bool:
    _, left, top, w, h, _ = part
    return left == 0 or top == 0 or left + w == width or top + h == height


def _apart(one: Component, other: Component) -> int:
    """Return the pixels between the boxes of two parts, the more of across and along; 0 where they meet."""
    _, left, top, w, h, _ = one
    _, other_left, other_top, other_w, other_h, _ = other
    return max(
        left - other_left - other_w, other_left - left - w, top - other_top - other_h, other_top - top - h, 0
    )


def _weight(part: Component, height: int, width: int) -> float:
    """Size, less for a part that lies off the centre and touches the edge."""
    _, left, top, w, h, area = part
    off = abs(left + w / 2 - width / 2) / width + abs(top + h / 2 - height / 2) / height
    return math.sqrt(area) * max(w, h) * (1.2 - off) * (0.6 if _touches(part, height, width) else 1.0)


def _belongs(part: Component, main: Component, height: int, width: int, smallest: float) -> bool:
    area, main_area = part[5], main[5]
    if area < smallest or area < 0.02 * main_area:
        return False
    apart = _apart(part, main)
    if _touches(part, height, width) and not _touches(main, height, width):
        return apart == 0 and area >= 0.05 * main_area
    return apart <= 0.35 * max(main[3], main[4]) * (1.0 if area >= 0.05 * main_area else 0.3)


def _has_equals(
    wholes: list[Component], belonging: list[Component], main: Component, height: int, width: int
) -> bool:
    """Tell whether one that does not belong to the main one is about as large.

    What the edge of the frame cuts, and the main one not, may be a neighbour: it takes several of those.
    """
    apart = [whole for whole in wholes if whole not in belonging]
    equals = [whole for whole in apart if whole[4] >= 0.5 * main[4] and whole[5] >= 0.3 * main[5]]
    cut = 0 if _touches(main, height, width) else sum(_touches(one, height, width) for one in equals)
    return len(equals) > cut or cut >= EQUALS


def _stand_side_by_side(parts: list[Component], height: int) -> bool:
    """Tell whether two parts of what seems to be one digit are each as tall as it, and beside each other."""
    largest = max(part[5] for part in parts)
    tall = sorted(
        (part for part in parts if part[4] >= 0.85 * height and part[5] >= 0.4 * largest),
        key=lambda part: part[1],
    )
    return any(a[1] + a[3] <= b[1] for a, b in pairwise(tall))


def _is_row(wholes: list[Component], main: Component) -> bool:
    """Tell whether some of like height stand side by side, at least three: more than one digit."""
    large = [whole for whole in wholes if whole[5] >= 0.1 * main[5]]
    tall = max(whole[4] for whole in large)
    row = sorted((whole for whole in large if whole[4] >= 0.5 * tall), key=lambda whole: whole[1])
    return len(row) >= 3 and all(a[1] + 0.7 * a[3] <= b[1] for a, b in pairwise(row))
