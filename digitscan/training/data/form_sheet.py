"""A part of a form on which `form_prints` draws: where its cell and its digit are, and what a pen is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.stroke_glyphs import SUBPIXEL_BITS


class Rect(NamedTuple):
    """A rectangle in pixels of the sheet. It may go beyond the sheet."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """The distance of the right side from the left."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The distance of the bottom from the top."""
        return self.bottom - self.top

    @property
    def corners(self) -> NDArray[np.float64]:
        """The four corners (4, 2), x and y, clockwise from the upper left."""
        left, top, right, bottom = self
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])

    def grow(self, margin: float) -> Rect:
        """Return the rectangle with every side moved outwards by `margin` pixels."""
        return Rect(self.left - margin, self.top - margin, self.right + margin, self.bottom + margin)

    def overlaps(self, other: Rect) -> bool:
        """Tell whether the two rectangles have a common area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


class Pen(NamedTuple):
    """What a line is drawn with: its width in pixels of the sheet and its darkness, 0 to 255 for black."""

    width: float
    darkness: float


class Sheet(NamedTuple):
    """A part of a form, as a user crops it, and what is on it."""

    prints: GrayImage
    """The darkness of the print, (height, width) uint8, 0 for paper to 255 for black."""
    cell: Rect
    """The place for one digit. A part of it may lie beyond the sheet."""
    digit: Rect
    """Where the digit is, or would be: inside the sheet."""
    tilt: float
    """The angle in radians by which the print is rotated about the middle of the sheet."""

    @property
    def side(self) -> int:
        """The shorter side of the sheet in pixels."""
        return int(min(self.prints.shape))

    @property
    def reach(self) -> float:
        """A length that goes beyond the sheet from any point near it."""
        return 2.0 * int(max(self.prints.shape))

    def rotate(self, points: NDArray[Any]) -> NDArray[np.int32]:
        """Return points (..., 2) rotated by the tilt, in OpenCV's fixed-point coordinates."""
        height, width = self.prints.shape
        cosine, sine = math.cos(self.tilt), math.sin(self.tilt)
        center_x, center_y = width / 2, height / 2
        offset = (
            center_x - cosine * center_x + sine * center_y,
            center_y - sine * center_x - cosine * center_y,
        )
        rotated = points @ np.array(((cosine, sine), (-sine, cosine))) + offset
        return np.asarray(np.rint(rotated * 2**SUBPIXEL_BITS), np.int32)

    def draw(self, lines: ArrayLike, pen: Pen) -> None:
        """Draw lines of the same number of points, (M, N, 2). A pen thinner than a pixel makes them paler."""
        points = list(self.rotate(np.asarray(lines, np.float64)))
        width = max(1, round(pen.width))
        darkness = pen.darkness * min(1.0, pen.width)
        cv2.polylines(self.prints, points, False, darkness, width, cv2.LINE_AA, SUBPIXEL_BITS)

    def fill(self, rect: Rect, darkness: float) -> None:
        """Fill a rectangle."""
        points = self.rotate(rect.corners)
        cv2.fillConvexPoly(self.prints, points, darkness, cv2.LINE_AA, SUBPIXEL_BITS)
