"""Segment the ink: which of its connected components are the digit.

`detect` calls `segment_digit`. The terms:

- A **group** is the components of one broken stroke; see `groups`.
- The **main** component or group is the digit, or the largest part of it.
- A **speck** is a component too small to be a stroke.
- A **form line** is a printed line, or the edge of a box, that reaches from one image edge to another.
- A **neighbour** is a part of something else than the digit; `marks` finds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.components import (
    MAX_CLEAN_SIDE,
    Component,
    compute_gap,
    compute_min_area,
    find_components,
    find_touched_edges,
    is_cut_at,
    mask_component,
    merge_components,
    take_edge_lines,
    touches_edge,
)
from digitscan.imaging.frames import (
    BOX_REMOVED,
    LINE_REMOVED,
    find_frames,
    find_lines_apart,
    find_underlines,
    is_corner,
    is_empty_frame,
    is_frame,
    may_be_frame,
)
from digitscan.imaging.groups import (
    belongs_to,
    compute_prominence,
    group_broken_strokes,
    has_digits_side_by_side,
    has_row_of_digits,
    has_second_digit,
)
from digitscan.imaging.ink import square_kernel
from digitscan.imaging.marks import POINT_LEFT_OUT, Neighbours, find_neighbours, has_point
from digitscan.imaging.struck_out import MIN_STRUCK_OUT_ASPECT, is_struck_out
from digitscan.imaging.types import GrayImage

MASK_LABEL = 255
"""A mask is the label image of its ink: 255 is the label of the only component."""
MAX_COMPONENTS = 25
"""A digit has no more components of its size; a page of text, a texture or a photo has."""
MAX_SMALL_DIGIT = 0.25
"""Size of the largest digit, as a share of the image, that is one of several on a page."""
MIN_SMALL_DIGIT_GAP = 0.5
"""Paper between two such digits, as a share of their size; the parts of a broken digit are nearer."""
MAX_GRID_FILL = 0.12
"""A grid's lines fill a smaller share of its bounding box."""
MIN_TIGHT_EDGES = 3
"""A tight crop touches the ink with at least so many edges: none of the ink may be another digit's."""
MIN_CUT_MARGIN = 0.08
"""Paper on the other three sides of a digit that an edge cuts, as a share of its size."""

MIN_LINE_ASPECT = 4.0
"""Height to width of a stroke that may be a line."""
MIN_LINE_HEIGHT = 0.5
"""Height of such a stroke, as a share of the image's."""
LINE_BORDER = 0.2
"""The left and right borders of the image where such a stroke is, as shares of its width."""
MIN_EDGE_ASPECT = 2.5
"""Height to width of a stroke at the image's edge that may be the edge of paper, or a piece of a line."""
MAX_COMPARED_COMPONENTS = 4
"""So few components are masked one by one, which is faster than a table of all labels."""
MIN_EDGE_MARGIN = 2.0
"""Paper on its other side, as a multiple of its width; with less, it may be a tight crop of a 1."""

EMPTY_FIELD = "empty field"
BLANK = "blank"
SEVERAL_DIGITS = "several digits"
CUT_BY_EDGE = "cut by the edge"
MAY_BE_LINE = "may be a line"
MAY_BE_STRUCK_OUT = "may be struck out"


class Digit(NamedTuple):
    """A digit's ink, (H, W) uint8, and its position: it was cut out of the image at (`top`, `left`)."""

    ink: GrayImage
    top: int
    left: int


class Segmentation(NamedTuple):
    """One way to divide the ink into the digit and the rest."""

    digit: Digit | None
    """The digit; of several, the main one; None if there is none."""
    rejection: str | None = None
    """Why the image does not hold one digit, if it does not."""
    notes: tuple[str, ...] = ()
    """What was left out, if it is larger than a speck, and whether the digit is cut."""
    needs_review: bool = False
    """Whether a person should look at the digit, however clear it is."""


class PrintRemoval(NamedTuple):
    """The ink without printed components, and what was left out."""

    ink: GrayImage
    notes: tuple[str, ...]
    has_strokes: bool
    """Whether other components are left; if not, there may still be ink that is much paler."""


class _Components(NamedTuple):
    """The ink of an image and its components."""

    ink: GrayImage
    mask: GrayImage
    labels: GrayImage
    components: list[Component]
    min_area: float
    """The pixels of the smallest component that is no speck."""


def segment_digit(ink: GrayImage, mask: GrayImage, box: Sequence[int]) -> list[Segmentation]:
    """Return the digit without specks, lines and neighbours, or why there is none.

    There are two results where components may be parts of the digit or neighbours: the first one keeps
    them. `ink` is (H, W) uint8, 0 for paper; `mask` (H, W) uint8 is 255 where there is ink, 0 elsewhere;
    `box` is its bounding box: left, top, width and height.
    """
    left, top, width, height = box
    if width == 0:
        return [Segmentation(None, BLANK)]
    part = mask[top : top + height, left : left + width]
    count, _ = cv2.connectedComponents(part, connectivity=8, ltype=cv2.CV_16U)
    # The usual case is one component. It may fill its box: then there is no background.
    if count == 2 or (count == 1 and part[0, 0]):
        return [_segment_single_component(ink, mask, Component(MASK_LABEL, left, top, width, height, 0))]
    return _segment_components(ink, mask)


def _segment_single_component(ink: GrayImage, mask: GrayImage, component: Component) -> Segmentation:
    """Return what `_segment_components` would, in half the time: the mask is the label image.

    The component's area may be 0: it is counted where it is needed.
    """
    _, left, top, width, height, _ = component
    shape = ink.shape
    is_at_edge = touches_edge(component, shape)
    if is_at_edge and spans_image(left, width, height, shape):
        return Segmentation(None, EMPTY_FIELD, (LINE_REMOVED,))
    digit = _cut_out(ink, left, top, width, height)
    if max(shape) > MAX_CLEAN_SIDE and may_be_frame(component, shape):
        area = cv2.countNonZero(mask[top : top + height, left : left + width])
        if is_frame(component._replace(area=area), mask):
            return Segmentation(None, EMPTY_FIELD, (BOX_REMOVED,))
    if is_at_edge and _is_cut(component, mask):
        return Segmentation(digit, None, (CUT_BY_EDGE,), needs_review=True)
    if _may_be_line(component, shape):
        return Segmentation(digit, None, (MAY_BE_LINE,), needs_review=True)
    if _is_struck_out(component, mask):
        return Segmentation(digit, None, (MAY_BE_STRUCK_OUT,), needs_review=True)
    return Segmentation(digit)


def _segment_components(ink: GrayImage, mask: GrayImage) -> list[Segmentation]:
    """Return the main group and what belongs to it, or why there is no single digit."""
    labels, components = find_components(mask)
    shape = ink.shape
    image = _Components(ink, mask, labels, components, compute_min_area(shape))
    strokes, notes = _remove_lines_and_frames(image)
    if not strokes:
        return [Segmentation(None, EMPTY_FIELD, notes)]
    if _count_large(strokes, image.min_area) > MAX_COMPONENTS:
        whole_image = _cut_out(ink, 0, 0, shape[1], shape[0])
        return [Segmentation(whole_image, "too many parts for a digit", notes)]
    if max(shape) <= MAX_CLEAN_SIDE:
        return [_segment_strokes(image, strokes, notes)]
    if _has_small_digits(strokes, shape):
        return [Segmentation(None, SEVERAL_DIGITS, notes)]
    specks = [stroke for stroke in strokes if stroke.area < image.min_area]
    strokes = _remove_specks(strokes, image.min_area)
    main = max(strokes, key=lambda stroke: compute_prominence(stroke, shape))
    neighbours = find_neighbours(strokes, main, labels, shape)
    if has_point(specks, main, labels):
        neighbours = neighbours._replace(note=neighbours.note or POINT_LEFT_OUT, needs_review=True)
    elif not neighbours.components:
        return [_segment_strokes(image, strokes, notes)]
    without_neighbours = _segment_without_neighbours(image, strokes, neighbours, notes)
    if len(find_touched_edges(merge_components(strokes), shape)) < MIN_TIGHT_EDGES:
        return [without_neighbours]
    return [_segment_strokes(image, strokes, notes), without_neighbours]


def remove_printed_components(ink: GrayImage, mask: GrayImage) -> PrintRemoval | None:
    """Return the ink without the components that are printed lines and frames; None where there are none."""
    labels, components = find_components(mask)
    image = _Components(ink, mask, labels, components, compute_min_area(ink.shape))
    strokes, notes = _remove_lines_and_frames(image)
    if not notes or (len(components) == 1 and BOX_REMOVED not in notes):
        return None
    printed = [component for component in components if component not in strokes]
    whole_image = _cut_out(ink, 0, 0, ink.shape[1], ink.shape[0])
    rest = _erase(image, whole_image, printed).ink
    return PrintRemoval(rest, notes, bool(strokes))


def _remove_lines_and_frames(image: _Components) -> tuple[list[Component], tuple[str, ...]]:
    """Return the components that are neither lines nor frames, and what was left out."""
    shape = image.ink.shape
    strokes = [component for component in image.components if not _is_form_line(component, shape)]
    if max(shape) <= MAX_CLEAN_SIDE:
        return strokes, (LINE_REMOVED,) if len(strokes) < len(image.components) else ()
    underlines = find_underlines(strokes, image.min_area)
    strokes = [stroke for stroke in strokes if stroke not in underlines]
    lines = find_lines_apart(strokes, image.labels, image.min_area)
    strokes = [stroke for stroke in strokes if stroke not in lines]
    notes = (LINE_REMOVED,) if len(strokes) < len(image.components) else ()
    frames = find_frames(strokes, image.labels, image.min_area)
    frames += [stroke for stroke in strokes if is_corner(stroke, image.labels)]
    rest = [stroke for stroke in strokes if stroke not in frames]
    large = [stroke for stroke in rest if stroke.area >= image.min_area]
    # Specks beside a corner are no digit, nor are specks in an empty box.
    if (frames and not large) or (len(large) == 1 and is_empty_frame(large[0], image.labels)):
        rest = []
    return rest, (*notes, BOX_REMOVED) if len(rest) < len(strokes) else notes


def _segment_without_neighbours(
    image: _Components, strokes: list[Component], neighbours: Neighbours, notes: tuple[str, ...]
) -> Segmentation:
    rest = [stroke for stroke in strokes if stroke not in neighbours.components]
    segmentation = _segment_strokes(image, rest, (*notes, neighbours.note) if neighbours.note else notes)
    return segmentation._replace(needs_review=segmentation.needs_review or neighbours.needs_review)


def _segment_strokes(image: _Components, strokes: list[Component], notes: tuple[str, ...]) -> Segmentation:
    """Return the main group of these components and what belongs to it, or why there is no single digit."""
    ink, _, labels, components, min_area = image
    shape = ink.shape
    groups = group_broken_strokes(strokes, shape)
    main = max(groups, key=lambda group: compute_prominence(group.extent, shape))
    digit_groups = [group for group in groups if group is main or belongs_to(group, main, min_area, shape)]
    digit_components = [component for group in digit_groups for component in group.components]
    extent = merge_components(digit_components)
    digit = _cut_out(ink, extent.left, extent.top, extent.width, extent.height)
    if (
        has_row_of_digits(groups, main)
        or has_second_digit(groups, digit_groups, main, labels)
        or has_digits_side_by_side(digit_components, extent)
    ):
        return Segmentation(digit, SEVERAL_DIGITS, notes)
    left_out = [component for component in components if component not in digit_components]
    if left_out:
        digit = _erase(image, digit, left_out)
        if not notes and any(component.area >= min_area for component in left_out):
            notes = ("parts left out",)
    is_digit = np.zeros(len(components) + 1, np.uint8)
    is_digit[[component.label for component in digit_components]] = 1
    if _is_cut(extent, labels, is_digit):
        return Segmentation(digit, None, (*notes, CUT_BY_EDGE), needs_review=True)
    if _may_be_line(extent, shape):
        return Segmentation(digit, None, (*notes, MAY_BE_LINE), needs_review=True)
    if _is_struck_out(extent, labels, is_digit):
        return Segmentation(digit, None, (*notes, MAY_BE_STRUCK_OUT), needs_review=True)
    return Segmentation(digit, None, notes)


def _mask_components(image: _Components, components: list[Component]) -> GrayImage:
    """Return an image (H, W) uint8 of 255 where these components are, 0 elsewhere."""
    if len(components) <= MAX_COMPARED_COMPONENTS:
        masks = [mask_component(image.labels, component.label) for component in components]
        return np.asarray(reduce(cv2.bitwise_or, masks), np.uint8)
    is_chosen = np.zeros(1 + len(image.components), np.uint8)
    is_chosen[[component.label for component in components]] = 255
    return np.asarray(is_chosen.take(image.labels), np.uint8)


def _cut_out(ink: GrayImage, left: int, top: int, width: int, height: int) -> Digit:
    return Digit(ink[top : top + height, left : left + width], top, left)


def _has_small_digits(strokes: list[Component], shape: tuple[int, ...]) -> bool:
    """Tell whether several components of like size, each small in the image, are apart from each other.

    Those that touch an edge may be neighbours of the only digit.
    """
    strokes = [stroke for stroke in strokes if not touches_edge(stroke, shape)]
    if len(strokes) < 2:
        return False
    largest = max(strokes, key=lambda stroke: stroke.area)
    size = max(largest.height, largest.width)
    if size > MAX_SMALL_DIGIT * max(shape) or largest.height < 3:
        return False
    return any(
        stroke.height >= 0.6 * largest.height
        and stroke.area >= 0.3 * largest.area
        and compute_gap(stroke, largest) >= MIN_SMALL_DIGIT_GAP * size
        for stroke in strokes
        if stroke is not largest
    )


def _is_cut(extent: Component, labels: GrayImage, is_digit: NDArray[np.uint8] | None = None) -> bool:
    """Tell whether a digit ends flat at one edge of the image, with paper on its other three sides.

    `is_digit` tells, for each label, whether it is the digit's; None if all are that are not 0.
    """
    _, left, top, extent_width, extent_height, _ = extent
    height, width = labels.shape
    margins = (top, left, height - top - extent_height, width - left - extent_width)
    if min(margins) > 0:
        return False
    size = max(extent_width, extent_height)
    if sorted(margins)[1] < MIN_CUT_MARGIN * size or max(height, width) <= MAX_CLEAN_SIDE:
        return False
    edge = margins.index(0)
    lines = take_edge_lines(labels, edge)
    return is_cut_at(edge, extent, lines > 0 if is_digit is None else is_digit[lines] > 0)


def _is_struck_out(extent: Component, labels: GrayImage, is_digit: NDArray[np.uint8] | None = None) -> bool:
    """Tell whether a straight stroke goes through a digit; the arguments are as for `_is_cut`."""
    if extent.width < MIN_STRUCK_OUT_ASPECT * extent.height or max(labels.shape) <= MAX_CLEAN_SIDE:
        return False
    part = labels[extent.top : extent.bottom, extent.left : extent.right]
    return is_struck_out(part if is_digit is None else is_digit[part])


def _may_be_line(extent: Component, shape: tuple[int, ...]) -> bool:
    """Tell whether a digit may be a line or the edge of something: high, thin, and at one side.

    The digit may be beside it, much fainter. People write a 1 in the middle of its field.
    """
    height, width = shape
    if extent.height < MIN_EDGE_ASPECT * extent.width or max(shape) <= MAX_CLEAN_SIDE:
        return False
    left, right = extent.left, width - extent.right
    if min(left, right) == 0:
        return max(left, right) >= MIN_EDGE_MARGIN * extent.width
    if extent.height < MIN_LINE_ASPECT * extent.width or extent.height < MIN_LINE_HEIGHT * height:
        return False
    centre = (extent.left + extent.width / 2) / width
    return not LINE_BORDER < centre < 1 - LINE_BORDER


def _is_form_line(component: Component, shape: tuple[int, ...]) -> bool:
    """Tell whether a component is a line from edge to edge, or a thin grid that reaches three edges."""
    if not touches_edge(component, shape):
        return False
    _, left, _, width, height, area = component
    if spans_image(left, width, height, shape):
        return True
    is_sparse = area < MAX_GRID_FILL * width * height and max(shape) > MAX_CLEAN_SIDE
    return is_sparse and len(find_touched_edges(component, shape)) >= 3


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


def _remove_specks(strokes: list[Component], min_area: float) -> list[Component]:
    """Return the components that are no specks; all of them where all are specks."""
    return [component for component in strokes if component.area >= min_area] or strokes


def _erase(image: _Components, digit: Digit, left_out: list[Component]) -> Digit:
    """Return the digit without the components that were left out, where they reach into its box.

    Their soft edges, a pixel wide, are erased too, but nothing of the other components.
    """
    height, width = digit.ink.shape
    top, left = max(0, digit.top - 1), max(0, digit.left - 1)
    part = slice(top, digit.top + height + 1), slice(left, digit.left + width + 1)
    others = _mask_components(image, left_out)[part]
    kept = cv2.subtract(image.mask[part], others)
    erased = cv2.subtract(cv2.dilate(others, square_kernel(3)), kept)
    erased = erased[digit.top - top :, digit.left - left :][:height, :width]
    return digit._replace(ink=cv2.subtract(digit.ink, erased)) if cv2.countNonZero(erased) else digit
