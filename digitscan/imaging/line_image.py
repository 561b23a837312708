"""Preprocessing of a picture of a number: its line of digits, 32 pixels high, as the line network sees it.

This is the only definition of that network's input, as `preprocess` is of the digit's. The paper's brightness
is subtracted, the rows that the writing takes are found and scaled to one height, and the darkness of the ink
is scaled to the whole range. Nothing is cut into digits, and lines that are printed stay: taking them out of
a security pattern destroys strokes, and the network learns to read across them.

A change here that may give other pixels needs a new `LINE_PREPROCESS_VERSION` (see `version`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.detect import LIGHT_ON_DARK
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
MIN_CONTRAST = 10.0
"""Gray levels between ink and paper; with less, the picture is blank."""
MIN_PART_HEIGHT = 0.35
"""A connected piece of ink of this share of the highest one's height, or more, counts as writing."""
MIN_EDGE_PART_HEIGHT = 0.75
"""The same for a piece that the picture's upper or lower edge cuts: most are of other lines."""
MIN_FAINT_SHARE = 0.5
"""Printed lines, and ink at the ends of the writing, may be fainter: above this share of the threshold."""
MIN_LINE_PARTS = 2
"""Pieces of ink that make a line of writing where there are others above or below it."""
MIN_LINE_PART_HEIGHT = 0.55
"""Their height, as a share of the highest one's."""
MAX_LINE_THICKNESS = 0.12
"""The thickness of a printed line, as a share of the reduced picture's height, at most."""
LINE_END_GAP = 3
"""Pixels of the reduced picture between the end of a box's side and its corner, at most."""
MAX_PITCH_ERROR = 0.2
"""The widths of cells in a row differ from their median by at most this share of it."""
MIN_CELL_WIDTH, MAX_CELL_WIDTH = 0.4, 1.8
"""The width of a cell for one digit, as shares of the height of its sides."""
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


class _Writing(NamedTuple):
    """Where the writing is in the reduced picture, in pixels."""

    left: int
    top: int
    right: int
    bottom: int
    darkness: float
    """The mean darkness of its ink in gray levels."""
    may_be_several: bool = False
    """Whether something as high as the writing stands above or below a part of it."""


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
    threshold, contrast = _measure_darkness(darkness)
    if contrast < MIN_CONTRAST:
        return LineImage(None, (), BLANK)
    writing = _find_writing(darkness, threshold)
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


def _measure_darkness(darkness: GrayImage) -> tuple[float, float]:
    """Return Otsu's threshold of the darkness, and the mean darkness above it less that below."""
    threshold, mask = cv2.threshold(darkness, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if not cv2.countNonZero(mask):
        return 0.0, 0.0
    ink = float(cv2.mean(darkness, mask)[0])
    return float(threshold), ink - float(cv2.mean(darkness, cv2.bitwise_not(mask))[0])


def _find_writing(darkness: GrayImage, threshold: float) -> _Writing | None:
    """Return where the writing is; None where there are several lines of it."""
    _, mask = cv2.threshold(darkness, threshold, 255, cv2.THRESH_BINARY)
    lines = _find_long_lines(mask)
    rest = darkness
    if cv2.countNonZero(lines):
        rest = cv2.subtract(darkness, cv2.dilate(lines, np.ones((5, 5), np.uint8)))
        # Lines may be far darker than the writing: then the threshold was theirs.
        lower, contrast = _measure_darkness(rest)
        threshold = min(threshold, lower) if contrast >= MIN_CONTRAST else threshold
        _, mask = cv2.threshold(rest, threshold, 255, cv2.THRESH_BINARY)
        mask = cv2.subtract(mask, _find_long_lines(mask))
    parts = _list_parts(mask)
    if not len(parts):
        rest, parts = darkness, _list_parts(cv2.threshold(darkness, threshold, 255, cv2.THRESH_BINARY)[1])
    if not len(parts):
        return _Writing(0, 0, darkness.shape[1], darkness.shape[0], 255.0)
    tall = _select_tall(parts, darkness.shape)
    if _count_lines(tall, darkness.shape[0], MIN_LINE_PARTS) >= 2:
        return None
    top, bottom = int(tall[:, 1].min()), int((tall[:, 1] + tall[:, 3]).max())
    left, right = _find_ends(rest, threshold, top, bottom)
    left, right = min(left, int(tall[:, 0].min())), max(right, int((tall[:, 0] + tall[:, 2]).max()))
    band = rest[top:bottom, left:right]
    ink = cv2.threshold(band, threshold, 255, cv2.THRESH_BINARY)[1]
    may_be_several = _count_lines(tall, darkness.shape[0], 1) >= 2
    return _Writing(left, top, right, bottom, float(cv2.mean(band, ink)[0]) or 255.0, may_be_several)


def _find_ends(darkness: GrayImage, threshold: float, top: int, bottom: int) -> tuple[int, int]:
    """Return the left and right end of the ink between two rows, also of digits that are fainter.

    Where there is none, the left end is the picture's right one, and the right end its left.
    """
    _, mask = cv2.threshold(darkness, MIN_FAINT_SHARE * threshold, 255, cv2.THRESH_BINARY)
    parts = _list_parts(mask)
    height, width = darkness.shape
    first, last = parts[:, 1], parts[:, 1] + parts[:, 3]
    inside = np.minimum(last, bottom) - np.maximum(first, top)
    is_side = ((parts[:, 0] <= 1) | (parts[:, 0] + parts[:, 2] >= width - 1)) & (
        parts[:, 2] <= MAX_LINE_THICKNESS * height
    )
    is_writing = (inside >= MIN_PART_HEIGHT * (bottom - top)) & (2 * inside >= parts[:, 3]) & ~is_side
    found = parts[is_writing]
    if not len(found):
        return width, 0
    return int(found[:, 0].min()), int((found[:, 0] + found[:, 2]).max())


def count_cells(darkness: GrayImage, threshold: float) -> int:
    """Return how many printed cells there are in a row, all of about one width; 0 if they are fewer than two.

    `darkness` is (height, width) uint8, that of the ink above the paper; `threshold` tells ink from paper.
    """
    # Printed lines are often paler than the pen.
    _, mask = cv2.threshold(darkness, MIN_FAINT_SHARE * threshold, 255, cv2.THRESH_BINARY)
    _, sides = _find_rows_and_sides(mask)
    _, _, stats, _ = _find_components(sides)
    middles = np.sort(stats[1:, 0] + stats[1:, 2] / 2)
    if len(middles) < 3:
        return 0
    gaps = np.diff(middles)
    # The two lines of a double side, or of boxes that stand beside each other, are one.
    wide = gaps[gaps >= 0.4 * gaps.max()]
    pitch = float(np.median(wide))
    is_even = np.abs(wide - pitch) <= MAX_PITCH_ERROR * pitch
    height = float(np.median(stats[1:, 3]))
    if len(wide) < 2 or not is_even.all() or not MIN_CELL_WIDTH * height <= pitch <= MAX_CELL_WIDTH * height:
        return 0
    return len(wide)


def _find_rows_and_sides(mask: GrayImage) -> tuple[GrayImage, GrayImage]:
    """Return the level lines in a mask that are longer than any stroke, and the sides of boxes."""
    height, width = mask.shape
    long_row = max(9, min(width // 2, height))
    rows = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, long_row), np.uint8))
    tall_column = max(9, height // 2)
    columns = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((tall_column, 1), np.uint8))
    return rows, _select_box_sides(columns, rows)


def _find_long_lines(mask: GrayImage) -> GrayImage:
    """Return the printed lines in a mask.

    They only do not count for where the writing is: a stroke loses there what it shares with a line.
    """
    height = mask.shape[0]
    lines = cv2.max(*_find_rows_and_sides(mask))
    if not cv2.countNonZero(lines):
        return np.asarray(lines, np.uint8)
    thick = max(3, int(MAX_LINE_THICKNESS * height)) | 1
    solid = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((thick, thick), np.uint8))
    return np.asarray(cv2.dilate(cv2.subtract(lines, solid), np.ones((3, 3), np.uint8)), np.uint8)


def _select_box_sides(columns: GrayImage, rows: GrayImage) -> GrayImage:
    """Return those of the upright lines that end at a level line or the picture's edge at both ends.

    A 1 does so at most at one, where it stands on a line, unless the picture is cropped to it.
    """
    count, labels, stats, _ = _find_components(columns)
    framed = cv2.copyMakeBorder(rows, 1, 1, 0, 0, cv2.BORDER_CONSTANT, value=255)
    is_side = np.zeros(count, np.uint8)
    for label, (left, top, width, height, _) in enumerate(stats.tolist()[1:], 1):
        ends = (top + 1, top + height)  # rows of `framed`
        is_side[label] = 255 * all(
            framed[
                max(0, end - LINE_END_GAP) : end + LINE_END_GAP + 1,
                max(0, left - LINE_END_GAP) : left + width + LINE_END_GAP,
            ].any()
            for end in ends
        )
    return is_side[labels] if is_side.any() else np.zeros_like(columns)


def _find_components(mask: GrayImage) -> Any:
    """Return what `cv2.connectedComponentsWithStats` does, of masks of any size."""
    # The smaller type is faster, and too small where more isolated pixels fit into the mask.
    ltype = cv2.CV_16U if mask.size < 4 * 60_000 else cv2.CV_32S
    return cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=ltype)


def _list_parts(mask: GrayImage) -> NDArray[np.int32]:
    """Return left, top, width, height and area (N, 5) of the connected pieces of ink, without specks."""
    _, _, stats, _ = _find_components(mask)
    parts = stats[1:]
    return np.asarray(parts[parts[:, 4] >= 6], np.int32)


def _select_tall(parts: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the parts (N, 5) that are high enough to be digits or large pieces of them."""
    left, top, width, height, _ = parts.T
    # What is left of the side of a box at the left or right edge. A 1 there is still in the margin.
    is_side = ((left <= 1) | (left + width >= shape[1] - 1)) & (width <= MAX_LINE_THICKNESS * shape[0])
    is_cut = (top <= 0) | (top + height >= shape[0])
    for is_counted in (~is_side & ~is_cut, ~is_side, np.ones(len(parts), bool)):
        if is_counted.any():
            highest = int(height[is_counted].max())
            share = np.where(is_cut, MIN_EDGE_PART_HEIGHT, MIN_PART_HEIGHT)
            return np.asarray(parts[(height >= share * highest) & (~is_side | is_counted)], np.int32)
    return parts


def _count_lines(parts: NDArray[np.int32], height: int, min_parts: int) -> int:
    """Return how many lines of writing there are above each other, each of `min_parts` parts (N, 5) or more.

    Parts that the upper or lower edge cuts do not count: a crop shows a little of the lines beside it.
    """
    is_whole = (parts[:, 1] > 0) & (parts[:, 1] + parts[:, 3] < height)
    whole = parts[is_whole & (parts[:, 3] >= MIN_LINE_PART_HEIGHT * parts[:, 3].max())]
    whole = whole[np.argsort(whole[:, 1], kind="stable")]
    reached = np.maximum.accumulate(whole[:, 1] + whole[:, 3])
    # Rows that no part covers, between those above and those below.
    gaps = np.flatnonzero(whole[1:, 1] > reached[:-1]) + 1
    bounds = [0, *gaps.tolist(), len(whole)]
    counts = [after - before for before, after in pairwise(bounds)]
    return sum(count >= min_parts for count in counts)


def _render(
    image: GrayImage, paper: GrayImage, writing: _Writing, is_light: bool, notes: tuple[str, ...]
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
