"""Find the writing in a picture of a number: the rows and columns that it takes, without what is printed.

`line_image` cuts it out. Everything is measured on the darkness of the ink above the paper, (height, width)
uint8, in the size of the reduced picture.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.line_prints import (
    MAX_LINE_THICKNESS,
    MIN_FAINT_SHARE,
    find_components,
    find_long_lines,
)
from digitscan.imaging.types import GrayImage

MIN_CONTRAST = 10.0
"""Gray levels between ink and paper; with less, the picture is blank."""
MIN_COMPONENT_HEIGHT = 0.35
"""A connected piece of ink of this share of the highest one's height, or more, counts as writing."""
MIN_EDGE_COMPONENT_HEIGHT = 0.75
"""The same for a piece that the picture's upper or lower edge cuts: most are of other lines."""
MIN_LINE_COMPONENTS = 2
"""Pieces of ink that make a line of writing where there are others above or below it."""
MIN_LINE_COMPONENT_HEIGHT = 0.55
"""Their height, as a share of the highest one's."""


class Writing(NamedTuple):
    """Where the writing is in the reduced picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int
    darkness: float
    """The mean darkness of its ink in gray levels."""
    may_be_several: bool = False
    """Whether something as high as the writing stands above or below a part of it."""


def measure_darkness(darkness: GrayImage) -> tuple[float, float]:
    """Return Otsu's threshold of the darkness, and the mean darkness above it less that below."""
    threshold, mask = cv2.threshold(darkness, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if not cv2.countNonZero(mask):
        return 0.0, 0.0
    ink = float(cv2.mean(darkness, mask)[0])
    return float(threshold), ink - float(cv2.mean(darkness, cv2.bitwise_not(mask))[0])


def find_writing(darkness: GrayImage, threshold: float) -> Writing | None:
    """Return where the writing is; None where there are several lines of it."""
    _, mask = cv2.threshold(darkness, threshold, 255, cv2.THRESH_BINARY)
    lines = find_long_lines(mask)
    rest = darkness
    if cv2.countNonZero(lines):
        rest = cv2.subtract(darkness, cv2.dilate(lines, np.ones((5, 5), np.uint8)))
        # Lines may be far darker than the writing: then the threshold was theirs.
        lower, contrast = measure_darkness(rest)
        threshold = min(threshold, lower) if contrast >= MIN_CONTRAST else threshold
        _, mask = cv2.threshold(rest, threshold, 255, cv2.THRESH_BINARY)
        mask = cv2.subtract(mask, find_long_lines(mask))
    components = _list_components(mask)
    if not len(components):  # nothing but lines
        rest, (_, mask) = darkness, cv2.threshold(darkness, threshold, 255, cv2.THRESH_BINARY)
        components = _list_components(mask)
    if not len(components):
        return Writing(0, 0, darkness.shape[1], darkness.shape[0], 255.0)
    tall = _select_tall(components, darkness.shape)
    component_counts = _count_components_of_lines(tall, darkness.shape[0])
    if sum(count >= MIN_LINE_COMPONENTS for count in component_counts) >= 2:
        return None
    top, bottom = int(tall[:, 1].min()), int((tall[:, 1] + tall[:, 3]).max())
    left, right = _find_ends(rest, threshold, top, bottom)
    left, right = min(left, int(tall[:, 0].min())), max(right, int((tall[:, 0] + tall[:, 2]).max()))
    band = rest[top:bottom, left:right]
    ink = cv2.threshold(band, threshold, 255, cv2.THRESH_BINARY)[1]
    mean_darkness = float(cv2.mean(band, ink)[0]) or 255.0
    return Writing(left, top, right, bottom, mean_darkness, may_be_several=len(component_counts) >= 2)


def _find_ends(darkness: GrayImage, threshold: float, top: int, bottom: int) -> tuple[int, int]:
    """Return the left and right end of the ink between two rows, also of digits that are fainter.

    Where there is none, the left end is the picture's right one, and the right end its left.
    """
    _, mask = cv2.threshold(darkness, MIN_FAINT_SHARE * threshold, 255, cv2.THRESH_BINARY)
    components = _list_components(mask)
    first, last = components[:, 1], components[:, 1] + components[:, 3]
    inside = np.minimum(last, bottom) - np.maximum(first, top)
    is_in_band = (inside >= MIN_COMPONENT_HEIGHT * (bottom - top)) & (2 * inside >= components[:, 3])
    found = components[is_in_band & ~_is_side(components, darkness.shape)]
    if not len(found):
        return darkness.shape[1], 0
    return int(found[:, 0].min()), int((found[:, 0] + found[:, 2]).max())


def _list_components(mask: GrayImage) -> NDArray[np.int32]:
    """Return left, top, width, height and area (N, 5) of the connected pieces of ink, without specks."""
    _, _, stats, _ = find_components(mask)
    components = stats[1:]
    return np.asarray(components[components[:, 4] >= 6], np.int32)


def _select_tall(components: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return those of N > 0 components (N, 5) that are high enough to be digits or large pieces of them."""
    _, top, _, height, _ = components.T
    is_side = _is_side(components, shape)
    is_cut = (top <= 0) | (top + height >= shape[0])
    choices = (~is_side & ~is_cut, ~is_side, np.ones(len(components), bool))
    is_counted = next(choice for choice in choices if choice.any())
    highest = int(height[is_counted].max())
    share = np.where(is_cut, MIN_EDGE_COMPONENT_HEIGHT, MIN_COMPONENT_HEIGHT)
    return np.asarray(components[(height >= share * highest) & (~is_side | is_counted)], np.int32)


def _is_side(components: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return for each part (N,) whether it is what is left of a box's side, at the left or right edge.

    A 1 there does not count either, and is still in the margin of what is cut out.
    """
    left, _, width, _, _ = components.T
    is_at_edge = (left <= 1) | (left + width >= shape[1] - 1)
    return np.asarray(is_at_edge & (width <= MAX_LINE_THICKNESS * shape[0]), np.bool_)


def _count_components_of_lines(components: NDArray[np.int32], height: int) -> list[int]:
    """Return of how many components (N, 5) each line of writing is, of the lines above each other.

    Parts that the upper or lower edge cuts do not count: a crop shows a little of the lines beside it.
    """
    is_whole = (components[:, 1] > 0) & (components[:, 1] + components[:, 3] < height)
    whole = components[is_whole & (components[:, 3] >= MIN_LINE_COMPONENT_HEIGHT * components[:, 3].max())]
    whole = whole[np.argsort(whole[:, 1], kind="stable")]
    reached = np.maximum.accumulate(whole[:, 1] + whole[:, 3])
    # Rows that no part covers, between those above and those below.
    gaps = np.flatnonzero(whole[1:, 1] > reached[:-1]) + 1
    bounds = [0, *gaps.tolist(), len(whole)]
    return [after - before for before, after in pairwise(bounds) if after > before]
