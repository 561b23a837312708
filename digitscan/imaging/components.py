"""Connected components of the ink, and simple measures on them.

`segment` and `marks` use them. Pixels that touch at a corner belong to the same component.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

MAX_CLEAN_SIDE = 28
"""Pixels on the longer side of an image without specks, boxes and neighbours: all of it may be the digit."""

CUT_DEPTH = 2
"""A stroke that an edge cuts is as wide this many pixels further in; one that ends there is round."""
MIN_CUT_RATIO = 0.8
"""Width of a cut stroke at the edge, as a share of its width further in."""
MAX_CUT_WIDTH = 0.8
"""Ink along the edge that cuts a digit, as a share of its side there; more may be the base of a 2."""
TOP, LEFT, BOTTOM, RIGHT = range(4)


class Component(NamedTuple):
    """A connected component of the ink: its bounding box and its area, in pixels.

    `label` is its value in OpenCV's label image; 0 for several components merged into one.
    """

    label: int
    left: int
    top: int
    width: int
    height: int
    area: int

    @property
    def right(self) -> int:
        """The first column to the right of the box."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.top + self.height


def find_components(mask: GrayImage) -> tuple[GrayImage, list[Component]]:
    """Return the label image and the components, by label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    return labels, [Component(label, *row) for label, row in enumerate(stats.tolist()) if label]


def compute_min_area(shape: tuple[int, ...]) -> float:
    """Return the pixels of the smallest component that is no speck.

    Only so much of a long strip counts as one digit can fill; else a digit heavier than its nine neighbours
    would make specks of them.
    """
    short_side, long_side = min(shape), max(shape)
    if long_side <= MAX_CLEAN_SIDE:
        return 2
    return max(2, 0.004 * short_side * min(long_side, 1.5 * short_side))


def merge_components(components: Sequence[Component]) -> Component:
    """Return one component with the bounding box and the area of all."""
    if len(components) == 1:
        return components[0]
    left = min(component.left for component in components)
    top = min(component.top for component in components)
    right = max(component.right for component in components)
    bottom = max(component.bottom for component in components)
    area = sum(component.area for component in components)
    return Component(0, left, top, right - left, bottom - top, area)


def mask_component(labels: GrayImage, label: int) -> GrayImage:
    """Return an image of the same shape, uint8: 255 where the component is, 0 elsewhere."""
    return np.asarray(cv2.inRange(labels, label, label), np.uint8)


def find_touched_edges(component: Component, shape: tuple[int, ...]) -> list[int]:
    """Return which of the image's four edges a component touches."""
    height, width = shape
    is_touched = (
        component.top == 0,
        component.left == 0,
        component.bottom == height,
        component.right == width,
    )
    return [edge for edge in (TOP, LEFT, BOTTOM, RIGHT) if is_touched[edge]]


def touches_edge(component: Component, shape: tuple[int, ...]) -> bool:
    """Tell whether a component touches an edge of the image."""
    _, left, top, component_width, component_height, _ = component
    height, width = shape
    return left == 0 or top == 0 or left + component_width == width or top + component_height == height


def take_edge_lines(labels: GrayImage, edge: int) -> GrayImage:
    """Return the row or column of a label image at an edge, and the one CUT_DEPTH further in, (2, N)."""
    rows = labels.T if edge in (LEFT, RIGHT) else labels
    return rows.take((0, CUT_DEPTH) if edge in (TOP, LEFT) else (-1, -1 - CUT_DEPTH), axis=0, mode="wrap")


def is_cut_at(edge: int, component: Component, edge_lines: NDArray[np.bool_]) -> bool:
    """Tell whether an edge of the image cuts a component: whether its strokes end flat there.

    `edge_lines` (2, N) are the component's pixels in the lines of `take_edge_lines`.
    """
    at_edge, inside = np.count_nonzero(edge_lines, axis=1).tolist()
    length = component.height if edge in (LEFT, RIGHT) else component.width
    return bool(0 < at_edge <= MAX_CUT_WIDTH * length and at_edge >= MIN_CUT_RATIO * inside)


def is_cut(component: Component, labels: GrayImage) -> bool:
    """Tell whether an edge of the image cuts a component."""
    return any(
        is_cut_at(edge, component, take_edge_lines(labels, edge) == component.label)
        for edge in find_touched_edges(component, labels.shape)
    )


def compute_gap(first: Component, second: Component) -> int:
    """Return the pixels between two bounding boxes, across or down, whichever is more; 0 where they meet."""
    # Unpacked, because this runs for each pair of components, and attributes take twice as long.
    _, left, top, width, height, _ = first
    _, other_left, other_top, other_width, other_height, _ = second
    return max(
        left - other_left - other_width,
        other_left - left - width,
        top - other_top - other_height,
        other_top - top - height,
        0,
    )
