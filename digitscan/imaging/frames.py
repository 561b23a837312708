"""What is printed round a digit or below it, apart from it: frames, circles, corners, lines, underlines.

`segment` leaves them out. Straight lines that touch the digit are taken away before, in `lines`.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.components import Component, mask_component, touches_edge
from digitscan.imaging.types import GrayImage

MAX_FRAME_FILL = 0.4
"""A frame's lines fill at most this share of its bounding box."""
MIN_ENCLOSED_HEIGHT = 0.25
"""A digit in a frame has at least this share of its height; a smaller component may be a blot in a 0."""
MIN_ENCLOSED_SIDE = 0.85
"""A frame lies along at least this share of each side of the digit in it."""
MIN_EMPTY_FRAME_SIZE = 0.6
"""Width and height of an empty box, as shares of the image's; a smaller one may be a 0."""
MAX_EMPTY_FRAME_THICKNESS = 0.08
"""Thickness of its lines, as a share of its shorter side."""
MIN_CORNER_SIZE = 0.5
"""Width and height of the corner of a box, as shares of the image's."""
MAX_CORNER_REST = 0.02
"""Ink of such a corner beside its two lines, as a share of its ink."""
STRAIGHT_SHARE = 0.7
"""The middle of a side, as a share of it, is straight in a box, also in one with round corners."""
MAX_BEND = 0.025
"""How far the middle of a straight side is from the line between its ends, as a share of the box."""
MAX_LINE_GAP = 0.05
"""A line from edge to edge ends so near to them, as a share of the image along it."""
MAX_LINE_THICKNESS = 0.12
"""Thickness of the thickest line, as a share of the image across it."""
MAX_LINE_SLOPE = 0.09
"""Pixels across for each pixel along a line."""
MAX_UNDERLINE_ASPECT = 0.3
"""An underline is at most so much higher than wide: it may be tilted or wavy."""
MIN_UNDERLINE_GAP = 0.04
"""Paper between a digit and its underline, as a share of the digit's height. The base of a broken 2 is
nearer.
"""
LINE_REMOVED = "line removed"
BOX_REMOVED = "box removed"


def find_frames(strokes: list[Component], labels: GrayImage, min_area: float) -> list[Component]:
    """Return the components that go round another one that may be a digit: boxes and circles."""
    large = [component for component in strokes if component.area >= min_area]
    return [
        outer
        for outer in large
        if outer.area < MAX_FRAME_FILL * outer.width * outer.height
        and any(_is_enclosed(inner, outer, labels) for inner in large if inner is not outer)
    ]


def _is_enclosed(inner: Component, outer: Component, labels: GrayImage) -> bool:
    """Tell whether a component is large enough for a digit and has the other one on all four sides."""
    # Unpacked, because this runs for each pair of components, and attributes take twice as long.
    label, outer_left, outer_top, outer_width, outer_height, _ = outer
    _, inner_left, inner_top, width, height, _ = inner
    left, top = inner_left - outer_left, inner_top - outer_top
    right, bottom = left + width, top + height
    if height < MIN_ENCLOSED_HEIGHT * outer_height or not (
        left > 0 and top > 0 and right < outer_width and bottom < outer_height
    ):
        return False
    part = labels[outer_top : outer_top + outer_height, outer_left : outer_left + outer_width]
    box = mask_component(part, label)
    side, end = MIN_ENCLOSED_SIDE * height, MIN_ENCLOSED_SIDE * width
    return (
        _count_inked(box[top:bottom, :left], 1) >= side
        and _count_inked(box[top:bottom, right:], 1) >= side
        and _count_inked(box[:top, left:right], 0) >= end
        and _count_inked(box[bottom:, left:right], 0) >= end
    )


def _count_inked(mask: GrayImage, axis: int) -> int:
    """Return how many rows (axis 1) or columns (axis 0) of a mask have ink."""
    return cv2.countNonZero(cv2.reduce(mask, axis, cv2.REDUCE_MAX))


def may_be_frame(stroke: Component, shape: tuple[int, ...]) -> bool:
    """Tell whether a component is wide and high enough for `is_frame`, which takes longer.

    A corner is at two edges of the image, an empty box may be anywhere.
    """
    _, _, _, width, height, _ = stroke
    min_size = MIN_CORNER_SIZE if touches_edge(stroke, shape) else MIN_EMPTY_FRAME_SIZE
    return width >= min_size * shape[1] and height >= min_size * shape[0]


def is_frame(stroke: Component, labels: GrayImage) -> bool:
    """Tell whether a component is an empty box or a corner of one."""
    return is_corner(stroke, labels) or is_empty_frame(stroke, labels)


def is_empty_frame(stroke: Component, labels: GrayImage) -> bool:
    """Tell whether a component is a box, with square or round corners, that no stroke enters.

    A 0 has no stroke inside either, but its sides are bent.
    """
    height, width = labels.shape
    if (
        stroke.width < MIN_EMPTY_FRAME_SIZE * width
        or stroke.height < MIN_EMPTY_FRAME_SIZE * height
        or stroke.area
        > 2 * (stroke.width + stroke.height) * MAX_EMPTY_FRAME_THICKNESS * min(stroke.width, stroke.height)
    ):
        return False
    box = labels[stroke.top : stroke.bottom, stroke.left : stroke.right] == stroke.label
    border_height, border_width = stroke.height // 5, stroke.width // 5
    if box[border_height:-border_height, border_width:-border_width].any():
        return False
    return all(_is_straight_side(side) for side in (box, box[::-1], box.T, box.T[::-1]))


def is_corner(stroke: Component, labels: GrayImage) -> bool:
    """Tell whether a component is two upright lines that meet in the image, and end at its edges.

    It is a corner of a table or a box. A 7 or an L that ends at two edges of the image would be cut by both.
    """
    _, left, top, stroke_width, stroke_height, area = stroke
    height, width = labels.shape
    at_right, at_bottom = left + stroke_width < width, top + stroke_height < height
    at_left, at_top = left > 0, top > 0
    # On each axis, one end is at an edge of the image, and the lines meet at the other.
    if at_right == at_left or at_bottom == at_top:
        return False
    if stroke_width < MIN_CORNER_SIZE * width or stroke_height < MIN_CORNER_SIZE * height:
        return False
    box = labels[top : top + stroke_height, left : left + stroke_width] == stroke.label
    box = box[:: -1 if at_bottom else 1, :: -1 if at_right else 1]
    thickness = round(1.5 * area / (stroke_width + stroke_height)) + 1
    if thickness > MAX_EMPTY_FRAME_THICKNESS * 2 * min(stroke_width, stroke_height):
        return False
    is_whole = box[:thickness].any(axis=0).all() and box[:, :thickness].any(axis=1).all()
    rest = np.count_nonzero(box[thickness:, thickness:])
    return bool(is_whole and rest <= MAX_CORNER_REST * area)


def _is_straight_side(box: NDArray[np.bool_]) -> bool:
    """Tell whether the upper side of a box is straight, except at its corners."""
    height, width = box.shape
    margin = round((1 - STRAIGHT_SHARE) / 2 * width)
    upper = box[: height // 5, margin : width - margin]
    depths = upper.argmax(axis=0)
    if not upper.any(axis=0).all():
        return False
    ends = (int(depths[0]) + int(depths[-1])) / 2
    bend = abs(int(depths[depths.size // 2]) - ends)
    return bool(bend <= max(1.0, MAX_BEND * height))


def find_lines_apart(strokes: list[Component], labels: GrayImage, min_area: float) -> list[Component]:
    """Return the straight lines from edge to edge that touch nothing, beside a digit that is inside.

    A digit at the edge may fill the image, and a line may be one of its strokes. `lines` finds those that
    touch other strokes, or are dashed.
    """
    lines = [stroke for stroke in strokes if _is_line_apart(stroke, labels)]
    others = [stroke for stroke in strokes if stroke not in lines and stroke.area >= min_area]
    if not lines or not others:
        return []
    height, width = labels.shape
    digit = max(others, key=lambda stroke: stroke.area)
    is_inside = min(digit.left, digit.top, width - digit.right, height - digit.bottom) > 1
    is_large = max(digit.width, digit.height) >= MIN_ENCLOSED_HEIGHT * max(height, width)
    return lines if is_inside and is_large else []


def _is_line_apart(stroke: Component, labels: GrayImage) -> bool:
    """Tell whether a component is a straight line from edge to edge."""
    _, left, top, width, height, area = stroke
    image_height, image_width = labels.shape
    start, length, across, image_length, image_across = top, height, width, image_height, image_width
    if width > height:
        start, length, across, image_length, image_across = left, width, height, image_width, image_height
    margin = MAX_LINE_GAP * image_length
    thickness = area / length
    if (
        start > margin
        or start + length < image_length - margin
        or thickness > MAX_LINE_THICKNESS * image_across
        or across > thickness + 2 + MAX_LINE_SLOPE * length
    ):
        return False
    part = labels[top : top + height, left : left + width]
    along, centre = np.nonzero((part if height >= width else part.T) == stroke.label)
    third = along.size // 3
    first, last = centre[:third].sum(), centre[-third:].sum()
    middle = centre[third : 2 * third].sum()
    return bool(abs(middle - (first + last) / 2) <= third)


def find_underlines(strokes: list[Component], min_area: float) -> list[Component]:
    """Return the components that are a line below another one."""
    large = [component for component in strokes if component.area >= min_area]
    flat = [component for component in large if component.height <= MAX_UNDERLINE_ASPECT * component.width]
    others = [component for component in large if component not in flat]
    return [line for line in flat if any(_is_underlined(other, line) for other in others)]


def _is_underlined(digit: Component, line: Component) -> bool:
    gap = line.top - digit.bottom
    overlap = min(digit.right, line.right) - max(digit.left, line.left)
    return (
        MIN_UNDERLINE_GAP * digit.height <= gap < digit.height
        and overlap >= 0.6 * digit.width
        and line.width >= max(0.6 * digit.width, 0.4 * digit.height)
    )
