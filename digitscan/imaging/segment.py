"""Segment the ink: which of its connected components are the digit.

`preprocess` calls `segment_digit`. The terms:

- A **component** is a connected component of the ink's mask, pixels touching at corners included.
- A **group** is the components of one stroke that a dry pen or a poor scan broke into pieces.
- The **main** group is the digit, or the largest part of it.
- A **speck** is a component too small to be a stroke.
- A **form line** is a printed line, or the edge of a box, that reaches from one image edge to another.
- A **neighbour** is the part of another digit that the edge of the image cuts off.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np

from digitscan.imaging.ink import square_kernel
from digitscan.imaging.types import GrayImage

MAX_CLEAN_SIDE = 28
"""Pixels on the longer side of an image without specks and boxes, where every pixel may be the digit's."""
MAX_COMPONENTS = 25
"""A digit has no more components of its size; a page of text, a texture or a photo has."""
MAX_STROKE_GAP = 0.12
"""Components no further apart than this share of the height of all ink belong to one broken stroke.

Joining them raised the share of scanned handwriting that is read right from 94.0 to 99.0 %.
"""
MIN_CUT_DIGITS = 3
"""This many groups at the image edge, each as large as the main one, are digits; fewer may be neighbours."""


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


class ComponentGroup(NamedTuple):
    """The components of one broken stroke, and `extent`, all of them merged into one."""

    components: list[Component]
    extent: Component


class Digit(NamedTuple):
    """A digit's ink, (H, W) uint8, and its position: it was cut out of the image at (`top`, `left`)."""

    ink: GrayImage
    top: int
    left: int


class Segmentation(NamedTuple):
    """What `segment_digit` returns."""

    digit: Digit | None
    """The digit; of several, the main one; None if there is none."""
    rejection: str | None = None
    """Why the image does not hold one digit, if it does not."""
    note: str | None = None
    """What was left out, if it is larger than a speck."""


def segment_digit(ink: GrayImage, mask: GrayImage) -> Segmentation:
    """Return the digit without specks, form lines and neighbours, or why there is none.

    `ink` is (H, W) uint8, 0 for paper; `mask` (H, W) uint8 is not 0 where there is ink.
    """
    count, _ = cv2.connectedComponents(mask, connectivity=8, ltype=cv2.CV_16U)
    if count <= 1:
        return Segmentation(None, "blank")
    if count == 2:  # the usual case: the background and one component
        return _segment_single_component(ink, mask)
    return _segment_components(ink, mask)


def _segment_single_component(ink: GrayImage, mask: GrayImage) -> Segmentation:
    """Return what `_segment_components` would, in half the time: the component's area is not needed."""
    left, top, width, height = cv2.boundingRect(mask)
    if spans_image(left, width, height, ink.shape):
        return Segmentation(None, "lines without a digit", "lines left out")
    return Segmentation(_cut_out(ink, left, top, width, height))


def _segment_components(ink: GrayImage, mask: GrayImage) -> Segmentation:
    """Return the main group and what belongs to it, or why there is no single digit."""
    labels, components = _find_components(mask)
    shape = ink.shape
    min_area = _compute_min_area(shape)
    strokes = [component for component in components if not _is_form_line(component, shape)]
    note = "lines left out" if len(strokes) < len(components) else None
    if not strokes:
        return Segmentation(None, "lines without a digit", note)
    if _count_large(strokes, min_area) > MAX_COMPONENTS:
        whole_image = _cut_out(ink, 0, 0, shape[1], shape[0])
        return Segmentation(whole_image, "too many parts for a digit", note)
    groups = group_broken_strokes(_remove_specks(strokes, min_area, shape), shape)
    main = max(groups, key=lambda group: _compute_prominence(group.extent, shape))
    digit_groups = [group for group in groups if group is main or _belongs_to(group, main, min_area, shape)]
    digit_components = [component for group in digit_groups for component in group.components]
    extent = _merge(digit_components)
    digit = _cut_out(ink, extent.left, extent.top, extent.width, extent.height)
    if (
        _has_row_of_digits(groups, main)
        or _has_second_digit(groups, digit_groups, main, shape)
        or _has_digits_side_by_side(digit_components, extent)
    ):
        return Segmentation(digit, "several digits", note)
    left_out = [component for component in components if component not in digit_components]
    if left_out:
        digit = _erase_others(digit, labels, digit_components, left_out)
        if note is None and any(component.area >= min_area for component in left_out):
            note = "parts left out"
    return Segmentation(digit, None, note)


def _find_components(mask: GrayImage) -> tuple[GrayImage, list[Component]]:
    """Return the label image and the components, by label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    return labels, [Component(label, *row) for label, row in enumerate(stats.tolist()) if label]


def _cut_out(ink: GrayImage, left: int, top: int, width: int, height: int) -> Digit:
    return Digit(ink[top : top + height, left : left + width], top, left)


def _compute_min_area(shape: tuple[int, ...]) -> float:
    """Return the pixels of the smallest component that is no speck.

    Only so much of a long strip counts as one digit can fill; else a digit heavier than its nine neighbours
    would make specks of them.
    """
    short_side, long_side = min(shape), max(shape)
    if long_side <= MAX_CLEAN_SIDE:
        return 2
    return max(2, 0.004 * short_side * min(long_side, 1.5 * short_side))


def _is_form_line(component: Component, shape: tuple[int, ...]) -> bool:
    """Tell whether a component is a line from edge to edge, or a thin grid that reaches three edges."""
    height, width = shape
    _, left, top, component_width, component_height, area = component
    edge_count = (
        (left == 0) + (top == 0) + (left + component_width == width) + (top + component_height == height)
    )
    if edge_count == 0:
        return False
    is_sparse = area < 0.12 * component_width * component_height
    is_grid = edge_count >= 3 and is_sparse and max(shape) > MAX_CLEAN_SIDE
    return is_grid or bool(spans_image(left, component_width, component_height, shape))


def spans_image(left: Any, width: Any, height: Any, shape: tuple[int, ...]) -> Any:
    """Tell whether a thin component reaches from side to side, or from top to bottom along a side.

    A thin vertical component elsewhere may be a 1. `left`, `width` and `height` are ints, or arrays with a
    value for each image of a batch; `shape` is the image's.
    """
    image_height, image_width = shape
    is_horizontal = (width >= 0.9 * image_width) & (height <= 0.12 * image_height)
    is_vertical = (height >= 0.9 * image_height) & (width <= 0.08 * image_width)
    return is_horizontal | is_vertical & ((left == 0) | (left + width == image_width))


def _count_large(strokes: list[Component], min_area: float) -> int:
    """Return the number of components that are no specks and have a tenth of the largest one's area."""
    largest_area = max(component.area for component in strokes)
    large_area = max(min_area, 0.1 * largest_area)
    return sum(component.area >= large_area for component in strokes)


def _remove_specks(strokes: list[Component], min_area: float, shape: tuple[int, ...]) -> list[Component]:
    """Return the components that are no specks; all of them in a small image, or where all are specks."""
    if max(shape) <= MAX_CLEAN_SIDE:
        return strokes
    return [component for component in strokes if component.area >= min_area] or strokes


def group_broken_strokes(components: list[Component], shape: tuple[int, ...]) -> list[ComponentGroup]:
    """Return the components in groups, one for each stroke.

    A component that touches the image edge may be a neighbour's: it joins one that does not only if their
    bounding boxes meet.
    """
    max_gap = MAX_STROKE_GAP * _merge(components).height
    edge_labels = {component.label for component in components if _touches_edge(component, shape)}

    def are_joined(first: Component, second: Component) -> bool:
        may_have_gap = (first.label in edge_labels) == (second.label in edge_labels)
        return _compute_gap(first, second) <= (max_gap if may_have_gap else 0)

    groups: list[list[Component]] = []
    for component in components:
        joined = [component]
        apart = []
        for group in groups:
            if any(are_joined(component, member) for member in group):
                joined += group
            else:
                apart.append(group)
        groups = [*apart, joined]
    return [ComponentGroup(group, _merge(group)) for group in groups]


def _merge(components: Sequence[Component]) -> Component:
    """Return one component with the bounding box and the area of all."""
    if len(components) == 1:
        return components[0]
    left = min(component.left for component in components)
    top = min(component.top for component in components)
    right = max(component.right for component in components)
    bottom = max(component.bottom for component in components)
    area = sum(component.area for component in components)
    return Component(0, left, top, right - left, bottom - top, area)


def _touches_edge(component: Component, shape: tuple[int, ...]) -> bool:
    height, width = shape
    return component.left == 0 or component.top == 0 or component.right == width or component.bottom == height


def _compute_gap(first: Component, second: Component) -> int:
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


def _compute_prominence(component: Component, shape: tuple[int, ...]) -> float:
    """Return the size of a component, less where it is off the centre of the image or touches its edge."""
    height, width = shape
    offset_x = abs(component.left + component.width / 2 - width / 2) / width
    offset_y = abs(component.top + component.height / 2 - height / 2) / height
    size = math.sqrt(component.area) * max(component.width, component.height)
    return size * (1.2 - (offset_x + offset_y)) * (0.6 if _touches_edge(component, shape) else 1.0)


def _belongs_to(group: ComponentGroup, main: ComponentGroup, min_area: float, shape: tuple[int, ...]) -> bool:
    """Tell whether a group is a part of the same digit as the main one: large enough and near enough."""
    candidate, digit = group.extent, main.extent
    if candidate.area < min_area or candidate.area < 0.02 * digit.area:
        return False
    gap = _compute_gap(candidate, digit)
    is_large = candidate.area >= 0.05 * digit.area
    if _touches_edge(candidate, shape) and not _touches_edge(digit, shape):
        return gap == 0 and is_large
    return gap <= 0.35 * max(digit.width, digit.height) * (1.0 if is_large else 0.3)


def _has_row_of_digits(groups: list[ComponentGroup], main: ComponentGroup) -> bool:
    """Tell whether at least three groups of similar height are side by side."""
    large = [group.extent for group in groups if group.extent.area >= 0.1 * main.extent.area]
    max_height = max(extent.height for extent in large)
    row = sorted(
        (extent for extent in large if extent.height >= 0.5 * max_height), key=lambda extent: extent.left
    )
    return len(row) >= 3 and all(
        first.left + 0.7 * first.width <= second.left for first, second in pairwise(row)
    )


def _has_second_digit(
    groups: list[ComponentGroup],
    digit_groups: list[ComponentGroup],
    main: ComponentGroup,
    shape: tuple[int, ...],
) -> bool:
    """Tell whether a group that is no part of the digit is about as large as the main one.

    Those that touch the image edge, where the main one does not, may be neighbours: a few do not count.
    """
    others = [group.extent for group in groups if group not in digit_groups]
    digits = [
        other
        for other in others
        if other.height >= 0.5 * main.extent.height and other.area >= 0.3 * main.extent.area
    ]
    cut_count = 0
    if not _touches_edge(main.extent, shape):
        cut_count = sum(_touches_edge(digit, shape) for digit in digits)
    return len(digits) > cut_count or cut_count >= MIN_CUT_DIGITS


def _has_digits_side_by_side(components: list[Component], extent: Component) -> bool:
    """Tell whether two components of one digit are each as tall as all of it, and side by side."""
    largest_area = max(component.area for component in components)
    tall = sorted(
        (
            component
            for component in components
            if component.height >= 0.85 * extent.height and component.area >= 0.4 * largest_area
        ),
        key=lambda component: component.left,
    )
    return any(first.right <= second.left for first, second in pairwise(tall))


def _erase_others(
    digit: Digit, labels: GrayImage, digit_components: list[Component], left_out: list[Component]
) -> Digit:
    """Return the digit without the components that were left out, where they reach into its box.

    Their soft edges, a pixel wide, are erased too, but nothing of the digit's own components.
    """
    height, width = digit.ink.shape
    box = slice(digit.top, digit.top + height), slice(digit.left, digit.left + width)
    count = 1 + len(digit_components) + len(left_out)
    is_other = np.zeros(count, np.uint8)
    is_other[[component.label for component in left_out]] = 1
    others = cv2.dilate(is_other[labels], square_kernel(3))[box]
    if not others.any():
        return digit
    is_digit = np.zeros(count, np.uint8)
    is_digit[[component.label for component in digit_components]] = 1
    others = cv2.subtract(others, is_digit[labels[box]])
    return digit._replace(ink=cv2.multiply(digit.ink, 1 - others))
