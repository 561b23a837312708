"""Preprocessing of a picture of a number: its line of digits, 32 pixels high, as the line network sees it.

This is the only definition of that network's input, as `preprocess` is of the digit's. The paper's brightness
is subtracted, the rows that the writing takes are found and scaled to one height, and the darkness of the ink
is scaled to the whole range. Nothing is cut into digits, and lines that are printed stay: taking them out of
a security pattern destroys strokes, and the network learns to read across them.

A change here that may give other pixels needs a new `LINE_PREPROCESS_VERSION` (see `version`).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.detect import LIGHT_ON_DARK
from digitscan.imaging.line_prints import count_cells
from digitscan.imaging.line_writing import MIN_CONTRAST, Writing, find_writing, measure_darkness
from digitscan.imaging.normalize import downscale_by_area, to_uint8
from digitscan.imaging.segment import BLANK
from digitscan.imaging.types import GrayImage

LINE_HEIGHT = 32
"""Pixels of the network's input from top to bottom."""
WRITING_HEIGHT = 24
"""Pixels of them that the writing takes; the others are for what is left of it at the top and bottom."""
STEP_WIDTH = 4
"""The width of a line is a multiple of it: the network has one answer for each so many columns."""
MAX_LINE_WIDTH = 2048
"""Pixels of the widest line: some hundred digits."""
SEVERAL_LINES = "several lines: cut it first"
"""The rejection of a picture with more than one line of writing."""
MAY_BE_SEVERAL_LINES = "may be several lines"
"""The note of a picture in which one piece of ink stands above or below what was read."""
TOO_LONG = "too long for one number: cut it first"
"""The rejection of a picture whose line would be wider than MAX_LINE_WIDTH."""

WORKING_WIDTH = 384
"""Pixels across, about, of the reduced picture in which the writing is found."""
MIN_WORKING_HEIGHT, MAX_WORKING_HEIGHT = 64, 256
"""Pixels of its height: more where the picture is not long, as the writing may be a small part of it."""
PAPER_WINDOW = 0.3
"""Strokes are narrower than this share of the reduced picture's height; what is wider is paper or shadow."""
MAX_PAPER_WINDOW = 33
"""Pixels of the widest window."""
MAX_WORKING_WIDTH = 32768
"""Pixels across the widest reduced picture. A longer strip holds more than one number, and takes long."""
WIDE_VIEW, SMALL_VIEW = 1.2, 0.88
"""The widths of the other views of a line, as shares of its own. The small one is also less high."""
SIDE_MARGIN = 0.4
"""Paper left at both sides of the writing, as a share of its height."""
FULL_INK = 1.1
"""What is darker than the mean of the ink by this factor is full ink."""


class LineImage(NamedTuple):
    """The line network's input for one picture, or the reason why there is none."""

    pixels: GrayImage | None
    """The line, (LINE_HEIGHT, W) uint8, 0 for paper to 255 for ink, W a multiple of STEP_WIDTH; or None."""
    notes: tuple[str, ...] = ()
    """Short phrases on what was found and done, such as "light on dark"."""
    rejection: str | None = None
    """Why there is no line, such as "blank" or SEVERAL_LINES; None if and only if `pixels` is not."""
    needs_review: bool = False
    """Whether a person should look at the row; the notes say why."""
    digit_size: int = 0
    """About the height of the writing, in pixels of the given picture; 0 if there is none."""
    cell_count: int = 0
    """How many printed cells there are in a row, one for each digit; 0 if there is no such row."""


def preprocess_line(gray: NDArray[Any]) -> LineImage:
    """Return the line of digits in a grayscale picture, or why there is none.

    `gray` is as for `preprocess`: (height, width), at least 1x1, of any dtype that holds real numbers. It is
    not changed. Never raises for such an array, whatever is in it.

    >>> import numpy as np
    >>> drawing = np.full((60, 150), 230, np.uint8)
    >>> drawing[10:50, 30:36] = drawing[10:50, 100:106] = 30
    >>> eleven = preprocess_line(drawing)
    >>> eleven.pixels.shape, eleven.notes
    ((32, 68), ())
    """
    image = to_uint8(gray)
    reduced = _reduce(image)
    if reduced.shape[1] > MAX_WORKING_WIDTH:
        return LineImage(None, (), TOO_LONG)
    is_light = _is_light_on_dark(reduced)
    notes = (LIGHT_ON_DARK,) if is_light else ()
    paper = _find_paper(reduced, is_light)
    darkness = cv2.absdiff(paper, reduced)
    threshold, contrast = measure_darkness(darkness)
    if contrast < MIN_CONTRAST:
        return LineImage(None, (), BLANK)
    writing = find_writing(darkness, threshold)
    if writing is None:
        return LineImage(None, notes, SEVERAL_LINES)
    line = _render(image, paper, writing, is_light, notes)
    if writing.may_be_several and line.pixels is not None:
        notes = (*notes, MAY_BE_SEVERAL_LINES)
        line = line._replace(notes=notes, needs_review=True)
    cell_count = count_cells(darkness, threshold)
    if not cell_count:
        return line
    return line._replace(notes=(*notes, f"in a row of {cell_count} cells"), cell_count=cell_count)


def list_views(line: GrayImage) -> tuple[GrayImage, ...]:
    """Return a line (32, W) uint8 in other sizes: wider, and smaller in both directions.

    Of a doubtful line, the network's answers to all of them together are right more often than one alone.
    """
    height, width = line.shape
    wider = _resize_line(line, width * WIDE_VIEW, height, cv2.INTER_LINEAR)
    smaller = _resize_line(line, width * SMALL_VIEW, round(height * SMALL_VIEW), cv2.INTER_AREA)
    above = (height - smaller.shape[0]) // 2
    below = height - smaller.shape[0] - above
    padded = cv2.copyMakeBorder(smaller, above, below, 0, 0, cv2.BORDER_CONSTANT, value=0)
    return wider, np.asarray(padded, np.uint8)


def _resize_line(line: GrayImage, width: float, height: int, interpolation: int) -> GrayImage:
    """Return a line in about another width, a multiple of STEP_WIDTH, and in another height."""
    steps = min(MAX_LINE_WIDTH // STEP_WIDTH, max(1, round(width / STEP_WIDTH)))
    size = (steps * STEP_WIDTH, height)
    return np.asarray(cv2.resize(line, size, interpolation=interpolation), np.uint8)


def _reduce(image: GrayImage) -> GrayImage:
    """Return the picture in the size in which the writing is found. It is never enlarged."""
    height, width = image.shape
    working_height = min(MAX_WORKING_HEIGHT, max(MIN_WORKING_HEIGHT, WORKING_WIDTH * height / width))
    scale = working_height / height
    if scale >= 1.0:
        return image
    return downscale_by_area(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _is_light_on_dark(reduced: GrayImage) -> bool:
    """Tell whether the ink is lighter than the paper.

    Ink is the smaller part of what differs from its surroundings, so the differences are skewed to its side.
    """
    window = max(3, int(min(reduced.shape)) | 1)
    detail = cv2.subtract(reduced, cv2.blur(reduced, (window, window)), dtype=cv2.CV_32F)
    cube = float(cv2.mean(cv2.multiply(cv2.multiply(detail, detail), detail))[0])
    variance = float(cv2.mean(cv2.multiply(detail, detail))[0])
    skewness = cube / max(1e-3, variance**1.5)
    if abs(skewness) > 0.25:
        return bool(skewness > 0)
    border = np.concatenate((reduced[0], reduced[-1], reduced[:, 0], reduced[:, -1]))
    return float(np.median(border)) < float(cv2.mean(reduced)[0])


def _find_paper(reduced: GrayImage, is_light: bool) -> GrayImage:
    """Return the brightness of the paper at every pixel, without the strokes on it."""
    side = min(MAX_PAPER_WINDOW, max(3, int(PAPER_WINDOW * min(reduced.shape)))) | 1
    operation = cv2.MORPH_OPEN if is_light else cv2.MORPH_CLOSE
    kernel = np.ones((side, side), np.uint8)
    paper = cv2.morphologyEx(reduced, operation, kernel, borderType=cv2.BORDER_REPLICATE)
    return cv2.blur(paper, (side, side), borderType=cv2.BORDER_REPLICATE)


def _render(
    image: GrayImage, paper: GrayImage, writing: Writing, is_light: bool, notes: tuple[str, ...]
) -> LineImage:
    """Return the writing, cut out of the picture, in the network's size and darkness."""
    scale_y, scale_x = image.shape[0] / paper.shape[0], image.shape[1] / paper.shape[1]
    height = max(1, writing.bottom - writing.top)
    margin = height * (LINE_HEIGHT - WRITING_HEIGHT) / (2 * WRITING_HEIGHT)
    top, bottom = (writing.top - margin) * scale_y, (writing.bottom + margin) * scale_y
    left = max(0.0, (writing.left - SIDE_MARGIN * height) * scale_x)
    right = min(float(image.shape[1]), (writing.right + SIDE_MARGIN * height) * scale_x)
    shrink = LINE_HEIGHT / (bottom - top)
    width = max(1, math.ceil((right - left) * shrink / STEP_WIDTH)) * STEP_WIDTH
    if width > MAX_LINE_WIDTH:
        return LineImage(None, notes, TOO_LONG)
    right = left + width / shrink
    picture = _cut_out(image, (top, left, bottom, right), width)
    ground = _cut_out(paper, (top / scale_y, left / scale_x, bottom / scale_y, right / scale_x), width)
    ink = cv2.subtract(picture, ground) if is_light else cv2.subtract(ground, picture)
    # Beyond the picture there is nothing: its repeated edge would be strokes.
    ink[: max(0, math.ceil(-top * shrink))] = 0
    ink[math.floor((image.shape[0] - top) * shrink) :] = 0
    ink[:, math.floor((image.shape[1] - left) * shrink) :] = 0
    pixels = cv2.convertScaleAbs(ink, alpha=255.0 / max(1.0, FULL_INK * writing.darkness))
    return LineImage(np.asarray(pixels, np.uint8), notes, digit_size=max(1, round(height * scale_y)))


def _cut_out(image: GrayImage, place: tuple[float, ...], width: int) -> GrayImage:
    """Return the part of an image at (top, left, bottom, right), resized to (LINE_HEIGHT, `width`).

    Beyond the image, its edge is repeated.
    """
    top, left, bottom, right = place
    shrink = LINE_HEIGHT / (bottom - top)
    # Averaged down first to less than twice the size, then interpolated: no stroke falls between samples.
    while shrink < 0.5 and min(image.shape) >= 4:
        image = cv2.resize(
            image, ((image.shape[1] + 1) // 2, (image.shape[0] + 1) // 2), interpolation=cv2.INTER_AREA
        )
        top, left, bottom, right, shrink = top / 2, left / 2, bottom / 2, right / 2, shrink * 2
    across = (right - left) / width
    down = (bottom - top) / LINE_HEIGHT
    matrix = np.array([[across, 0, left + 0.5 * across - 0.5], [0, down, top + 0.5 * down - 0.5]])
    return cv2.warpAffine(
        image,
        matrix,
        (width, LINE_HEIGHT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
