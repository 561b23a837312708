"""Pictures of numbers as users crop them: on forms, on cheques, on plain and on lined paper, in any light.

`draw_number_picture` puts a number of `number_drawing` on a sheet. The prints are those of `form_prints`,
drawn round the whole number, with rows of cells and security patterns besides; light and camera are those of
`surroundings`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.form_prints import (
    PAPERS,
    draw_baseline,
    draw_caption,
    draw_dashed_box,
    draw_dotted_box,
    draw_double_box,
    draw_rounded_box,
    draw_square_box,
    draw_table_lines,
)
from digitscan.training.data.form_sheet import Pen, Rect, Sheet
from digitscan.training.data.number_drawing import (
    DIGIT_HEIGHT,
    DrawnNumber,
    HandwritingSources,
    draw_number,
    draw_word,
)
from digitscan.training.data.surroundings import MIN_CONTRAST, paste_ink, photograph, record

WORDS, BLANKS = 0.12, 0.04
"""The share of the pictures in which words or scribbles are written, and of those with nothing."""
SECURITY_PATTERNS, PLAIN_PAPERS = 0.28, 0.12
"""The share of the pictures on the pattern of a cheque, and on ruled, squared or tinted paper."""
MAX_PATTERN_DARKNESS = 0.45
"""The darkness of the darkest pattern, as a share of the pen's: with more, nobody could read the number."""
NEIGHBOURS = 0.15
"""The share of the pictures into which the lines above and below reach."""
CAPTIONS = 0.05
TIGHT_CROPS = 0.4
"""The share of the pictures that are cropped closely."""
MIN_PICTURE_DIGIT, MAX_PICTURE_DIGIT = 11.0, 60.0
"""Pixels of a digit in the picture, from top to bottom."""

_FRAMES: tuple[tuple[float, Any], ...] = (
    (0.16, draw_square_box),
    (0.03, draw_rounded_box),
    (0.03, draw_double_box),
    (0.03, draw_dashed_box),
    (0.02, draw_dotted_box),
    (0.14, draw_table_lines),
    (0.12, draw_baseline),
)
"""Prints of which a picture has at most one, and the share of the pictures that have it."""


class NumberPicture(NamedTuple):
    """A picture and what a reader should find in it."""

    picture: GrayImage
    """(height, width) uint8, mostly dark ink on light paper."""
    symbols: tuple[int, ...]
    """As in DrawnNumber; empty where no number is written."""


def draw_number_picture(sources: HandwritingSources, rng: np.random.Generator) -> NumberPicture:
    """Return a random picture of a number, of something else that is written, or of an empty field."""
    kind = rng.random()
    number = (draw_word if kind < WORDS else draw_number)(sources, rng)
    if WORDS <= kind < WORDS + BLANKS:
        number = number._replace(ink=np.zeros_like(number.ink), symbols=())
    return put_on_paper(number, sources, rng)


def put_on_paper(number: DrawnNumber, sources: HandwritingSources, rng: np.random.Generator) -> NumberPicture:
    """Return a picture of the number on some paper, in some light."""
    ink, place = _add_margins(number, rng)
    cell = place.grow(DIGIT_HEIGHT * rng.uniform(0.02, 0.3))
    tilt = np.deg2rad(rng.normal(0.0, 0.7))
    sheet = Sheet(np.zeros(ink.shape, np.uint8), cell, place, tilt)
    pen_darkness = 1.0 - 0.65 * rng.random() ** 1.5
    _draw_paper(sheet, pen_darkness, rng)
    _draw_prints(sheet, number, rng)
    if rng.random() < NEIGHBOURS:
        _add_neighbours(ink, place, sources, rng)
    darkness = cv2.max(cv2.convertScaleAbs(ink, alpha=pen_darkness), sheet.prints)
    low, high = math.log(MIN_PICTURE_DIGIT), math.log(MAX_PICTURE_DIGIT)
    scale = math.exp(rng.uniform(low, high)) / DIGIT_HEIGHT
    size = (max(8, round(ink.shape[1] * scale)), max(8, round(ink.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(darkness, size, interpolation=interpolation)
    picture, _ = photograph(np.asarray(resized, np.uint8), Rect(*(value * scale for value in place)), rng)
    contrast = max(MIN_CONTRAST, 150.0 * pen_darkness)
    return NumberPicture(record(picture, contrast, rng), number.symbols)


def _add_margins(number: DrawnNumber, rng: np.random.Generator) -> tuple[GrayImage, Rect]:
    """Return the ink on a sheet with margins, and where it is on it."""
    widest = 0.25 if rng.random() < TIGHT_CROPS else 1.1
    top, bottom = np.rint(DIGIT_HEIGHT * rng.uniform(0.0, min(0.9, widest), 2)).astype(int).tolist()
    left, right = np.rint(DIGIT_HEIGHT * rng.uniform(0.0, 1.6 * widest, 2)).astype(int).tolist()
    ink = cv2.copyMakeBorder(number.ink, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    height, width = number.ink.shape
    return np.asarray(ink, np.uint8), Rect(left, top, left + width, top + height)


def _draw_paper(sheet: Sheet, pen_darkness: float, rng: np.random.Generator) -> None:
    """Draw the pattern of the paper on an empty sheet, if it has one: paler than a pen of this darkness."""
    choice = rng.random()
    if choice < SECURITY_PATTERNS:
        draw_security_pattern(sheet, rng)
    elif choice < SECURITY_PATTERNS + PLAIN_PAPERS:
        _, draw_paper = [*PAPERS.values()][int(rng.integers(len(PAPERS)))]
        draw_paper(sheet, rng)
    darkest = cv2.minMaxLoc(sheet.prints)[1]
    limit = 255.0 * MAX_PATTERN_DARKNESS * pen_darkness
    if darkest > limit:
        cv2.convertScaleAbs(sheet.prints, sheet.prints, limit / darkest)


def _draw_prints(sheet: Sheet, number: DrawnNumber, rng: np.random.Generator) -> None:
    """Draw lines or cells, and at times a caption."""
    if number.cells:
        _draw_cells(sheet, number, rng)
    else:
        choice = rng.random()
        for share, draw_frame in _FRAMES:
            choice -= share
            if choice < 0:
                draw_frame(sheet, rng)
                break
    if rng.random() < CAPTIONS:
        draw_caption(sheet, rng)


def _draw_cells(sheet: Sheet, number: DrawnNumber, rng: np.random.Generator) -> None:
    """Draw a row of cells, one for each digit, with empty ones at its ends; whole boxes or combs."""
    pen = Pen(rng.uniform(0.6, 3.0), rng.uniform(60.0, 255.0))
    top = sheet.digit.top + number.top - DIGIT_HEIGHT * rng.uniform(0.0, 0.35)
    bottom = sheet.digit.top + number.bottom + DIGIT_HEIGHT * rng.uniform(0.0, 0.35)
    columns = [sheet.digit.left + column for column in number.cells]
    pitch = columns[1] - columns[0] if len(columns) > 1 else 1.2 * DIGIT_HEIGHT
    before, after = rng.integers(0, 3, 2).tolist()
    columns = [*(columns[0] - pitch * n for n in range(before, 0, -1)), *columns]
    columns += [columns[-1] + pitch * n for n in range(1, after + 1)]
    is_comb = rng.random() < 0.25
    teeth_top = bottom - (bottom - top) * rng.uniform(0.2, 1.0) if is_comb else top
    gap = 0.0 if rng.random() < 0.7 else pitch * rng.uniform(0.03, 0.15)
    lines = [
        ((column + side, teeth_top), (column + side, bottom)) for column in columns for side in {0.0, gap}
    ]
    ends = (columns[0], columns[-1] + gap)
    lines.append(((ends[0], bottom), (ends[1], bottom)))
    if not is_comb:
        lines.append(((ends[0], top), (ends[1], top)))
    sheet.draw(lines, pen)


def draw_security_pattern(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the pattern that is printed on cheques: waves, crossing lines, rings or a coarse texture."""
    for _ in range(1 if rng.random() < 0.6 else 2):
        kind = rng.random()
        if kind < 0.35:
            _draw_waves(sheet, rng)
        elif kind < 0.6:
            _draw_hatching(sheet, rng)
        elif kind < 0.75:
            _draw_rings(sheet, rng)
        else:
            _draw_texture(sheet, rng)


def _choose_pattern_pen(rng: np.random.Generator) -> Pen:
    return Pen(rng.uniform(0.7, 2.5), rng.uniform(25.0, 120.0))


def _draw_waves(sheet: Sheet, rng: np.random.Generator) -> None:
    height, width = sheet.prints.shape
    spacing = DIGIT_HEIGHT * rng.uniform(0.08, 0.3)
    x = np.arange(-8.0, width + 16.0, 6.0)
    amplitude, wavelength = spacing * rng.uniform(0.1, 1.5), DIGIT_HEIGHT * rng.uniform(0.3, 4.0)
    phase, drift = rng.uniform(0, 6.3), rng.uniform(-0.3, 0.3)
    rows = np.arange(-height * 0.3, height * 1.3, spacing)
    wave = amplitude * np.sin(2 * np.pi * x / wavelength + phase)
    lines = [
        np.column_stack((x, row + wave * (1 + drift * index % 1.0) + 0.1 * drift * (x - width / 2)))
        for index, row in enumerate(rows.tolist())
    ]
    sheet.draw(lines, _choose_pattern_pen(rng))


def _draw_hatching(sheet: Sheet, rng: np.random.Generator) -> None:
    height, width = sheet.prints.shape
    pen = _choose_pattern_pen(rng)
    angle = rng.uniform(0, np.pi)
    for direction in (angle, angle + rng.uniform(0.4, 2.7)) if rng.random() < 0.6 else (angle,):
        along = np.array((math.cos(direction), math.sin(direction)))
        across = np.array((-along[1], along[0]))
        spacing = DIGIT_HEIGHT * rng.uniform(0.08, 0.3)
        reach = math.hypot(height, width)
        offsets = np.arange(-reach / 2, reach / 2, spacing)
        middle = np.array((width, height)) / 2
        starts = middle + offsets[:, None] * across - reach / 2 * along
        sheet.draw(np.stack((starts, starts + reach * along), axis=1), pen)


def _draw_rings(sheet: Sheet, rng: np.random.Generator) -> None:
    height, width = sheet.prints.shape
    pen = _choose_pattern_pen(rng)
    turn = np.linspace(0.0, 2 * np.pi, 40)
    circle = np.column_stack((np.cos(turn), np.sin(turn)))
    spacing = DIGIT_HEIGHT * rng.uniform(0.12, 0.4)
    pitch = DIGIT_HEIGHT * rng.uniform(1.5, 4.0)
    count = int(pitch / spacing)
    for x in np.arange(rng.uniform(0, pitch), width + pitch, pitch):
        center = np.array((x, height * rng.uniform(0.0, 1.0)))
        sheet.draw([center + circle * spacing * (n + 1) for n in range(count)], pen)


def _draw_texture(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw blocks of random darkness, as a fine pattern looks in a small picture."""
    height, width = sheet.prints.shape
    block = rng.uniform(2.0, 7.0)
    shape = (max(1, round(height / block)), max(1, round(width / block)))
    grain = (rng.uniform(20.0, 90.0) * rng.random(shape)).astype(np.uint8)
    interpolation = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_LINEAR
    texture: NDArray[Any] = cv2.resize(grain, (width, height), interpolation=interpolation)
    np.maximum(sheet.prints, texture, out=sheet.prints)


def _add_neighbours(
    ink: GrayImage, place: Rect, sources: HandwritingSources, rng: np.random.Generator
) -> None:
    """Draw parts of the numbers above and below, cut by the edge of the picture, in place."""
    for is_above in (True, False):
        room = place.top if is_above else ink.shape[0] - place.bottom
        if room < 0.1 * DIGIT_HEIGHT or rng.random() < 0.4:
            continue
        other = draw_number(sources, rng).ink
        visible = room * rng.uniform(0.3, 0.9)
        top = visible - other.shape[0] if is_above else ink.shape[0] - visible
        paste_ink(ink, other, rng.uniform(-0.3, 0.7) * ink.shape[1], top)
