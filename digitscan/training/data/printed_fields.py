"""Pictures of printed fields, with a digit, with several digits or empty, as a user crops them from a form.

`augment` puts digits into fields, which keep their label, and takes empty fields and fields of several
digits as negatives. The print is drawn (`form_prints`), and so are neighbours, paper and light
(`surroundings`); no form is collected for them. A field is drawn larger than its picture and averaged down,
so lines may be thinner than a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.degrade import break_strokes, change_stroke_width
from digitscan.training.data.form_prints import (
    FRAMES,
    FRAMES_OF_EMPTY_FIELDS,
    PAPERS,
    Print,
    draw_caption,
)
from digitscan.training.data.form_sheet import Rect, Sheet
from digitscan.training.data.surroundings import (
    MIN_CONTRAST,
    add_neighbours,
    paste_ink,
    photograph,
    record,
    resize_ink,
)

MIN_SIDE, MAX_SIDE = 24, 260
"""Pixels on the longer side of a picture."""
USUAL_SIDES = (40, 130)
"""The longer side of most pictures."""
MIN_ASPECT, MAX_ASPECT = 0.5, 1.8
"""The width of a picture divided by its height."""
MIN_DIGIT_HEIGHT = 10.0
"""Pixels of a picture: a lower digit may be no longer legible."""
MIN_SHARE, MAX_SHARE = 0.3, 0.85
"""The height of a digit divided by that of the picture."""
SMALL_DIGITS = 0.06
"""The share of the pictures whose digit is lower than MIN_SHARE: those of a page with one digit on it."""
NEIGHBOURS, CAPTIONS = 0.25, 0.12
"""The share of the fields that have neighbours, and a caption."""
MAX_VISIBLE = 0.7
"""The share of a neighbour that may be inside the picture. With more, it would be a second digit."""
MAX_VISIBLE_ALONE = 0.35
"""The same for an empty field: with more, the neighbour may be a digit that can be read."""
MIN_INK = 30
"""Pixels of the canvas brighter than this are ink."""


class PrintedField(NamedTuple):
    """A picture of a field and what is on it."""

    picture: GrayImage
    """(height, width) uint8, mostly dark ink on light paper."""
    kinds: tuple[str, ...]
    """The names of the prints, surroundings and lights that it has."""
    digit_box: tuple[int, int, int, int] | None
    """The left, top, width and height of the digit in the picture, in pixels; None for an empty field."""


class _Layout(NamedTuple):
    """Where things are on the sheet."""

    scale: int
    """Pixels of the sheet for each pixel of the picture."""
    shape: tuple[int, int]
    """The height and width of the sheet."""
    cell: Rect
    digit: Rect


def draw_printed_field(
    digit: GrayImage, glyphs: Sequence[NDArray[Any]], rng: np.random.Generator
) -> PrintedField:
    """Return a picture of a printed field in which the digit is written.

    `digit` is (height, width) uint8, light ink on black, with some ink, as `distort.distort` returns it.
    Neighbours are taken from `glyphs`, arrays (N, 28, 28) uint8 of digits or letters.
    """
    varied = change_stroke_width(digit, rng)
    if rng.random() < 0.1:
        varied = break_strokes(varied, rng)
    left, top, width, height = cv2.boundingRect(
        cv2.threshold(cv2.max(digit, varied), MIN_INK, 255, cv2.THRESH_BINARY)[1]
    )
    rows, columns = slice(top, top + max(1, height)), slice(left, left + max(1, width))
    max_visible = MAX_VISIBLE if rng.random() < NEIGHBOURS else 0.0
    layout = _choose_layout(max(1, width) / max(1, height), max_visible > 0.0, rng)
    ink = np.zeros(layout.shape, np.uint8)
    resized = resize_ink(varied[rows, columns], layout.digit.width, layout.digit.height)
    paste_ink(ink, resized, layout.digit.left, layout.digit.top)
    picture, kinds = _draw_field(layout, ink, FRAMES, max_visible, glyphs, rng)
    return PrintedField(picture, kinds, _find_box(layout))


def draw_empty_field(glyphs: Sequence[NDArray[Any]], rng: np.random.Generator) -> PrintedField:
    """Return a picture of a printed field in which nothing is written, but there may be neighbours.

    They are taken from `glyphs`, arrays (N, 28, 28) uint8 of digits or letters.
    """
    max_visible = MAX_VISIBLE_ALONE if rng.random() < NEIGHBOURS else 0.0
    layout = _choose_layout(rng.uniform(0.3, 0.9), max_visible > 0.0, rng)
    ink = np.zeros(layout.shape, np.uint8)
    picture, kinds = _draw_field(layout, ink, FRAMES_OF_EMPTY_FIELDS, max_visible, glyphs, rng)
    return PrintedField(picture, kinds, None)


def join_digits(digits: Sequence[GrayImage], rng: np.random.Generator) -> GrayImage:
    """Return digits of the same height in a row, apart or nearly touching, as one image of ink.

    `digits` are (height, width) uint8, light ink on black. The result is 64 pixels high, as a canvas
    of `augment` is, and may be given to `draw_printed_field`.
    """
    gap = rng.uniform(1.0, 24.0)
    parts: list[GrayImage] = []
    for digit in digits:
        left, top, width, height = cv2.boundingRect(cv2.threshold(digit, MIN_INK, 255, cv2.THRESH_BINARY)[1])
        ink = digit[top : top + max(1, height), left : left + max(1, width)]
        part = resize_ink(ink, max(8.0, 48.0 * ink.shape[1] / ink.shape[0]), 48.0)
        shift = int(rng.integers(4, 13))
        parts.append(np.pad(part, ((shift, 16 - shift), (0, round(gap * rng.uniform(0.6, 1.4))))))
    return np.concatenate(parts, axis=1)


def _choose_layout(digit_aspect: float, has_neighbours: bool, rng: np.random.Generator) -> _Layout:
    """Choose the size of the picture, the cell in it, and a place for a digit of this width to height."""
    choice = rng.random()
    low, high = (MIN_SIDE, USUAL_SIDES[0]) if choice < 0.12 else USUAL_SIDES
    if choice > 0.82:
        low, high = USUAL_SIDES[1], MAX_SIDE
    side = low * (high / low) ** rng.random()
    max_aspect = 1.0 if has_neighbours else MAX_ASPECT  # a crop round one of several digits is narrow
    aspect = MIN_ASPECT * (max_aspect / MIN_ASPECT) ** rng.random()
    scale = 4 if side < 40 else 2 if side < 100 else 1
    width, height = (round(side * min(1.0, ratio)) * scale for ratio in (aspect, 1 / aspect))
    cell = _choose_cell(width, height, rng)
    is_small = side > USUAL_SIDES[1] and rng.random() < SMALL_DIGITS / 0.18
    digit = _choose_place(digit_aspect, width, height, cell, MIN_DIGIT_HEIGHT * scale, is_small, rng)
    return _Layout(scale, (height, width), cell, digit)


def _choose_cell(width: int, height: int, rng: np.random.Generator) -> Rect:
    """Return a cell that fills most of a sheet. Some of its sides may lie beyond the sheet."""
    choice = rng.random()
    lowest, highest = (0.0, 0.07) if choice < 0.45 else (0.05, 0.22) if choice < 0.75 else (-0.12, 0.16)
    left, top, right, bottom = rng.uniform(lowest, highest, 4).tolist()
    return Rect(left * width, top * height, (1.0 - right) * width, (1.0 - bottom) * height)


def _choose_place(
    aspect: float,
    width: int,
    height: int,
    cell: Rect,
    min_height: float,
    is_small: bool,
    rng: np.random.Generator,
) -> Rect:
    """Return where the digit is: mostly inside the cell, at times across one of its sides or leaving it."""
    left, top, right, bottom = cell
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
    digit_height = rng.uniform(0.4, 0.95) * (bottom - top)
    digit_height = min(max(digit_height, MIN_SHARE * height), MAX_SHARE * height)
    if is_small:
        digit_height = rng.uniform(0.08, MIN_SHARE) * height
    digit_height = min(max(digit_height, min_height), 0.95 * (right - left) / aspect, 0.95 * height)
    digit_width = digit_height * aspect
    place_x, place_y = (0.5 * (rng.random(2) + rng.random(2))).tolist()
    x = left + place_x * (right - left - digit_width)
    y = top + place_y * (bottom - top - digit_height)
    if rng.random() < 0.2:
        shift, angle = digit_height * rng.uniform(0.1, 0.5), rng.uniform(0.0, 2 * np.pi)
        x, y = x + shift * math.cos(angle), y + shift * math.sin(angle)
    x = min(max(x, 0.01 * width), 0.99 * width - digit_width)
    y = min(max(y, 0.01 * height), 0.99 * height - digit_height)
    return Rect(x, y, x + digit_width, y + digit_height)


def _draw_field(
    layout: _Layout,
    ink: GrayImage,
    frames: dict[str, tuple[float, Print]],
    max_visible: float,
    glyphs: Sequence[NDArray[Any]],
    rng: np.random.Generator,
) -> tuple[GrayImage, tuple[str, ...]]:
    """Return the picture of a field with this ink in it, (height, width) uint8, and what else is on it."""
    tilt = np.deg2rad(rng.normal(0.0, 1.0) if rng.random() < 0.9 else rng.uniform(-5.0, 5.0))
    sheet = Sheet(np.zeros(layout.shape, np.uint8), layout.cell, layout.digit, tilt)
    kinds = []
    for prints in (PAPERS, frames):
        name = _choose_print(prints, rng)
        if name is not None:
            kinds.append(name)
            prints[name][1](sheet, rng)
    if rng.random() < CAPTIONS:
        kinds.append("caption")
        draw_caption(sheet, rng)
    if max_visible > 0.0:
        kinds.append("neighbours")
        add_neighbours(ink, layout.digit, glyphs, max_visible, rng)
    pen_darkness = 1.0 - 0.8 * rng.random() ** 1.5
    darkness = cv2.max(cv2.convertScaleAbs(ink, alpha=pen_darkness), sheet.prints)
    digit = Rect(*(value / layout.scale for value in layout.digit))
    picture, lights = photograph(_reduce(darkness, layout.scale), digit, rng)
    contrast = max(MIN_CONTRAST, 150.0 * pen_darkness)
    return record(picture, contrast, rng), (*kinds, *lights)


def _choose_print(prints: dict[str, tuple[float, Print]], rng: np.random.Generator) -> str | None:
    """Return the name of one of the prints, each with the probability of its share, or None."""
    choice = rng.random()
    for name, (share, _) in prints.items():
        choice -= share
        if choice < 0.0:
            return name
    return None


def _reduce(sheet: GrayImage, scale: int) -> GrayImage:
    """Return a sheet, or a part of one, in the size of the picture."""
    height, width = sheet.shape
    return cv2.resize(sheet, (width // scale, height // scale), interpolation=cv2.INTER_AREA)


def _find_box(layout: _Layout) -> tuple[int, int, int, int]:
    """Return the left, top, width and height of the digit in the picture."""
    digit = layout.digit
    left, top = int(digit.left / layout.scale), int(digit.top / layout.scale)
    right, bottom = math.ceil(digit.right / layout.scale), math.ceil(digit.bottom / layout.scale)
    return left, top, right - left, bottom - top
