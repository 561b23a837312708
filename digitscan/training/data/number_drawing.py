"""Numbers in handwriting, composed of single digits, for the network that reads lines.

`number_paper` puts them on paper. All digits of a number are in one hand where the source knows its writers:
pen strokes and fonts. Digits stand apart, touch or overlap, on a baseline that wanders; between them may be
points and dashes, and before or after them what belongs to amounts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.model.ctc import MINUS, POINT
from digitscan.training.data.augment import AugmentationConfig, vary_handwriting
from digitscan.training.data.datasets import Dataset
from digitscan.training.data.degrade import change_stroke_width
from digitscan.training.data.distort import distort
from digitscan.training.data.font_glyphs import FontGlyphs, choose_glyph
from digitscan.training.data.pen_strokes import DIGIT_PEN_WIDTHS, PenStrokes, draw_character
from digitscan.training.data.stroke_glyphs import draw_digit, draw_non_digit, draw_polyline
from digitscan.training.data.surroundings import crop_to_ink, paste_ink, resize_ink

DIGIT_HEIGHT = 40
"""Pixels from top to bottom of most digits of a drawing."""
CANVAS_MARGIN = 40
"""Pixels of a drawing above and below the digits: for a baseline that wanders, and for the slant."""
MAX_DIGITS = 12
"""Digits of the longest number; longer lines are read by the same columns."""
LENGTH_SHARES = (0.0, 0.1, 0.16, 0.16, 0.16, 0.14, 0.1, 0.06, 0.04, 0.03, 0.02, 0.02, 0.01)
"""The share of the numbers that have 0, 1, 2, ... digits."""
MAX_OVERLAPPING = 8
"""Longer numbers do not overlap: nobody could read them."""
MIXED_HANDS = 0.12
"""The share of the numbers whose digits are of many hands: harder than any, as stamps and corrections are."""
GROUPED = 0.22
"""The share of the numbers of three digits or more with points between groups, as in 1.250."""
MIN_INK, MIN_INK_PIXELS = 120, 40
"""Strokes are not made thinner where fewer pixels would have so much ink: they would be invisible."""
MIN_DARKEST = 190.0
"""The darkest pixel of each digit has this value, of 255, or more: one pen wrote all of a number."""
MIN_GLYPH_INK = 80
"""Pixels of a glyph that are brighter count when it is placed beside another."""
MAX_SLANT = 0.45
"""The largest horizontal shift of a stroke, as a share of its height, by which a whole number is slanted."""

_NEAR_ROWS = np.ones((9, 1), np.uint8)


@dataclass(frozen=True)
class HandwritingSources:
    """What the digits of one split are taken from."""

    digits: Dataset
    """Such as MNIST's."""
    indices: tuple[NDArray[np.int64], ...]
    """For each digit 0 to 9, the indices of its images in `digits`."""
    font_glyphs: FontGlyphs
    pen_strokes: PenStrokes | None = None
    """Only those of writers who wrote all ten digits are used."""

    @classmethod
    def of(
        cls, digits: Dataset, font_glyphs: FontGlyphs, pen_strokes: PenStrokes | None
    ) -> HandwritingSources:
        """Return the sources, with the indices of each digit."""
        indices = tuple(np.flatnonzero(digits.labels == label) for label in range(10))
        usable = pen_strokes if pen_strokes is not None and pen_strokes.hands else None
        return cls(digits, indices, font_glyphs, usable)


class DrawnNumber(NamedTuple):
    """A number, or something else that is written in its place."""

    ink: GrayImage
    """(height, width) uint8, 0 for paper to 255 for ink, cropped to its ink."""
    symbols: tuple[int, ...]
    """What a reader should find, in order: 0 to 9, POINT and MINUS. Empty for words and scribbles."""
    top: int
    bottom: int
    """Rows of `ink` between which the digits stand, about."""
    cells: tuple[float, ...] = ()
    """Columns of `ink` at which a row of cells has its lines; empty for a number written freely."""


_DrawDigit = Callable[[int, np.random.Generator], GrayImage]
"""Returns a digit in one hand, light ink on black."""


class _Spacing(NamedTuple):
    """How the digits of a number follow each other, as shares of their height."""

    gap: float
    """Between the nearest points of two digits; negative where they overlap."""
    variation: float
    pitch: float | None = None
    """From the middle of a digit to that of the next, in a row of cells."""


def draw_number(sources: HandwritingSources, rng: np.random.Generator) -> DrawnNumber:
    """Return a random number of one to MAX_DIGITS digits."""
    length = int(rng.choice(len(LENGTH_SHARES), p=LENGTH_SHARES))
    digits = _choose_digits(length, rng)
    spacing = _choose_spacing(length, rng)
    symbols = digits if spacing.pitch is not None else _add_separators(digits, rng)
    hands = [_choose_hand(sources, rng)]
    is_mixed = rng.random() < MIXED_HANDS
    glyphs = []
    for symbol in symbols:
        if is_mixed and symbol < 10:
            hands = [_choose_hand(sources, rng)]
        glyphs.append(_draw_symbol(symbol, hands[0], rng))
    return _finish(*_join(symbols, glyphs, spacing, rng), tuple(symbols), rng)


def draw_word(sources: HandwritingSources, rng: np.random.Generator) -> DrawnNumber:
    """Return letters or signs in place of a number: a word, a signature or a scribble."""
    kind = rng.random()
    count = int(rng.integers(1, 8))
    glyphs = []
    for _ in range(count):
        if sources.pen_strokes is not None and sources.pen_strokes.non_digits and kind < 0.5:
            group = sources.pen_strokes.non_digits[int(rng.integers(len(sources.pen_strokes.non_digits)))]
            index = int(group[int(rng.integers(len(group)))])
            letter = draw_character(sources.pen_strokes, index, (2, 3, 3, 4), rng)
        elif kind < 0.75:
            letter = choose_glyph(sources.font_glyphs.letters, rng)
        else:
            letter = draw_non_digit(rng)
        glyphs.append(_scale_glyph(letter, DIGIT_HEIGHT * rng.uniform(0.6, 1.0)))
    if rng.random() < 0.15:
        glyphs = [_draw_scribble(rng)]
    spacing = _Spacing(rng.uniform(-0.15, 0.3), 0.05)
    return _finish(*_join([0] * len(glyphs), glyphs, spacing, rng), (), rng)


def _choose_digits(length: int, rng: np.random.Generator) -> list[int]:
    """Return random digits: at times one of them repeats, or zeros end the number, as in amounts."""
    digits: list[int] = rng.integers(0, 10, length).tolist()
    choice = rng.random()
    if length > 1 and choice < 0.15:
        start = int(rng.integers(0, length - 1))
        count = min(int(rng.integers(2, 4)), length - start)
        digits[start : start + count] = [digits[start]] * count
    elif length > 2 and choice < 0.25:
        count = int(rng.integers(1, length))
        digits[-count:] = [0] * count
    return digits


def _choose_spacing(length: int, rng: np.random.Generator) -> _Spacing:
    """Return how digits follow each other: in cells, overlapping, touching or apart. Long ones are apart."""
    choice = rng.random()
    if choice < 0.12:
        return _Spacing(0.0, 0.0, rng.uniform(0.75, 1.6))
    if length > MAX_OVERLAPPING:
        choice = max(choice, 0.3)
    low, high = (-0.17, -0.01) if choice < 0.3 else (-0.04, 0.1) if choice < 0.6 else (0.08, 0.5)
    return _Spacing(rng.uniform(low, high), rng.uniform(0.0, 0.1))


def _add_separators(digits: list[int], rng: np.random.Generator) -> list[int]:
    """Return the symbols of a number with points between its groups, a minus before it or dashes after it."""
    symbols = [*digits]
    choice = rng.random()
    if len(digits) > 2 and choice < GROUPED:
        size = 3 if rng.random() < 0.75 else int(rng.integers(1, len(digits)))
        symbol = POINT if rng.random() < 0.8 else MINUS
        places = range(len(digits) - size, 0, -size)
        for place in places if rng.random() < 0.7 else [*places][:1]:
            symbols.insert(place, symbol)
    if rng.random() < 0.04:
        symbols.insert(0, MINUS)
    if rng.random() < 0.1:
        symbols.append(POINT)
    if rng.random() < 0.08:
        symbols.append(MINUS)
    return symbols


def _choose_hand(sources: HandwritingSources, rng: np.random.Generator) -> _DrawDigit:
    """Return what draws digits of one writer, one font or, of MNIST, of many writers."""
    choice = rng.random()
    pens = sources.pen_strokes
    if pens is not None and choice < 0.35:
        hand = pens.hands[int(rng.integers(len(pens.hands)))]
        width = (int(rng.choice(DIGIT_PEN_WIDTHS)),)

        def draw_with_pen(label: int, rng: np.random.Generator) -> GrayImage:
            characters = hand[label]
            return draw_character(pens, int(characters[int(rng.integers(len(characters)))]), width, rng)

        return draw_with_pen
    strength = rng.uniform(0.0, 0.7)
    config = AugmentationConfig()

    def draw_from_images(label: int, rng: np.random.Generator) -> GrayImage:
        indices = sources.indices[label]
        image = sources.digits.images[int(indices[int(rng.integers(len(indices)))])]
        varied = vary_handwriting(image, label, rng, config, sources.font_glyphs)
        return distort(varied, rng, strength)

    def draw_from_font(label: int, rng: np.random.Generator) -> GrayImage:
        glyphs = sources.font_glyphs.digits[label]
        return distort(glyphs[font % len(glyphs)], rng, strength)

    def draw_skeleton(label: int, rng: np.random.Generator) -> GrayImage:
        return distort(draw_digit(label, rng), rng, strength)

    if choice < 0.8:
        return draw_from_images
    font = int(rng.integers(1 << 16))
    return draw_from_font if choice < 0.92 else draw_skeleton


def _draw_symbol(symbol: int, draw_digit_in_hand: _DrawDigit, rng: np.random.Generator) -> GrayImage:
    """Return the ink of a symbol, cropped to it, in the size that it has in a line."""
    if symbol == POINT:
        return _draw_point(rng)
    if symbol == MINUS:
        return _draw_dashes(rng)
    height = DIGIT_HEIGHT * min(1.3, max(0.75, rng.normal(1.0, 0.07)))
    glyph = _scale_glyph(draw_digit_in_hand(symbol, rng), height)
    darkest = cv2.minMaxLoc(glyph)[1]
    if darkest >= MIN_DARKEST:
        return glyph
    return np.asarray(cv2.convertScaleAbs(glyph, alpha=MIN_DARKEST / max(1.0, darkest)), np.uint8)


def _scale_glyph(glyph: GrayImage, height: float) -> GrayImage:
    """Return a glyph, cropped to its ink, in this height. What is flat is scaled by its width instead."""
    ink = crop_to_ink(glyph)
    scale = height / max(ink.shape[0], 0.6 * ink.shape[1], 1)
    return resize_ink(ink, max(2.0, ink.shape[1] * scale), max(2.0, ink.shape[0] * scale))


def _draw_point(rng: np.random.Generator) -> GrayImage:
    """Return a point, or a comma."""
    size = max(3, round(DIGIT_HEIGHT * rng.uniform(0.07, 0.17)))
    image = np.zeros((4 * size, 3 * size), np.uint8)
    center = np.array([1.5 * size, 1.5 * size])
    length = rng.uniform(0.0, 0.6) if rng.random() < 0.7 else rng.uniform(0.8, 2.2)
    end = center + size * length * np.array([rng.normal(-0.3, 0.2), 1.0])
    draw_polyline(image, np.stack((center, end)), max(2, round(0.8 * size)))
    return np.asarray(crop_to_ink(image), np.uint8)


def _draw_dashes(rng: np.random.Generator) -> GrayImage:
    """Return a dash, or two above each other as amounts end with."""
    width, thickness = round(DIGIT_HEIGHT * rng.uniform(0.25, 0.7)), int(rng.integers(2, 6))
    image = np.zeros((DIGIT_HEIGHT, width + 8), np.uint8)
    for row in (0.5,) if rng.random() < 0.75 else (0.4, 0.65):
        tilt = rng.normal(0.0, 2.0, 2)
        points = np.array([[4.0, row * DIGIT_HEIGHT + tilt[0]], [4.0 + width, row * DIGIT_HEIGHT + tilt[1]]])
        draw_polyline(image, points, thickness)
    return np.asarray(crop_to_ink(image), np.uint8)


def _draw_scribble(rng: np.random.Generator) -> GrayImage:
    """Return a line that runs to and fro, as a signature or a crossed-out number."""
    width = int(rng.integers(40, 200))
    count = int(rng.integers(4, 24))
    image = np.zeros((DIGIT_HEIGHT + 8, width + 8), np.uint8)
    across = np.sort(rng.uniform(4, width + 4, count)) + rng.normal(0.0, 6.0, count)
    points = np.stack((across, rng.uniform(4, DIGIT_HEIGHT + 4, count)), axis=1)
    draw_polyline(image, points, int(rng.integers(1, 5)))
    return np.asarray(crop_to_ink(image), np.uint8)


def _join(
    symbols: list[int], glyphs: list[GrayImage], spacing: _Spacing, rng: np.random.Generator
) -> tuple[GrayImage, tuple[float, ...]]:
    """Return the glyphs in a row on a canvas, and where a row of cells has its lines."""
    width = sum(glyph.shape[1] for glyph in glyphs)
    pitch = (spacing.pitch or 0.0) * DIGIT_HEIGHT
    room = round(max(width * 1.2, pitch * len(glyphs)) + 0.7 * DIGIT_HEIGHT * (len(glyphs) + 2))
    canvas = np.zeros((DIGIT_HEIGHT + 2 * CANVAS_MARGIN, room), np.uint8)
    slope, wander = rng.normal(0.0, 0.04), rng.uniform(0.0, 0.07) * DIGIT_HEIGHT
    shift, ends, lines = 0.0, _RightEnds(canvas.shape[0]), [float(DIGIT_HEIGHT)]
    for index, (symbol, glyph) in enumerate(zip(symbols, glyphs, strict=True)):
        shift = 0.8 * shift + rng.normal(0.0, wander)
        top = round(CANVAS_MARGIN + DIGIT_HEIGHT - glyph.shape[0] + shift)
        if symbol == MINUS:
            top = round(CANVAS_MARGIN + DIGIT_HEIGHT * rng.uniform(0.35, 0.65) - glyph.shape[0] / 2 + shift)
        elif symbol == POINT:
            top += round(DIGIT_HEIGHT * rng.uniform(-0.03, 0.12))
        elif glyph.shape[0] < 0.8 * DIGIT_HEIGHT:  # flat or small: anywhere between top and bottom
            top -= round((DIGIT_HEIGHT - glyph.shape[0]) * rng.random())
        gap = DIGIT_HEIGHT * (spacing.gap + rng.normal(0.0, spacing.variation))
        if symbol >= 10:
            gap = max(gap, DIGIT_HEIGHT * rng.uniform(0.02, 0.12))
        left = ends.place(glyph, top, gap)
        if pitch:
            middle = DIGIT_HEIGHT + (index + 0.5) * pitch
            left = round(middle - glyph.shape[1] / 2 + rng.normal(0.0, 0.06) * pitch)
            lines.append(lines[0] + (index + 1) * pitch)
        top += round(slope * (left - DIGIT_HEIGHT))
        top = min(canvas.shape[0] - glyph.shape[0], max(0, top))
        paste_ink(canvas, glyph, left, top)
        ends.add(glyph, top, left)
    return canvas, tuple(lines) if pitch else ()


class _RightEnds:
    """The right end of the ink in each row of a canvas, by which the next glyph is placed."""

    def __init__(self, height: int) -> None:
        self._ends = np.full(height, -1.0e9, np.float32)
        self._right = float(DIGIT_HEIGHT)

    def place(self, glyph: GrayImage, top: int, gap: float) -> int:
        """Return the left of a glyph whose ink comes as near as `gap` pixels to the ink before it."""
        is_ink = glyph > MIN_GLYPH_INK
        starts = np.where(is_ink.any(axis=1), is_ink.argmax(axis=1), 1.0e9)
        rows = slice(max(0, top), max(0, top) + len(starts))
        # Rows above and below count too: strokes touch at an angle.
        near = cv2.dilate(self._ends[rows, None], _NEAR_ROWS)[:, 0]
        left = float((near - starts[: len(near)]).max()) + 1.0 + gap
        lowest: float = self._right - min(0.75 * glyph.shape[1], 0.9 * DIGIT_HEIGHT)
        return round(max(left, lowest))

    def add(self, glyph: GrayImage, top: int, left: int) -> None:
        """Count the ink of a glyph that was placed."""
        is_ink = glyph > MIN_GLYPH_INK
        has_ink = is_ink.any(axis=1)
        last = left + glyph.shape[1] - 1 - is_ink[:, ::-1].argmax(axis=1)
        rows = slice(max(0, top), max(0, top) + len(last))
        self._ends[rows] = np.where(has_ink, np.maximum(self._ends[rows], last), self._ends[rows])
        self._right = float(left + glyph.shape[1])


def _finish(
    canvas: GrayImage, lines: tuple[float, ...], symbols: tuple[int, ...], rng: np.random.Generator
) -> DrawnNumber:
    """Return the number slanted as a whole, in one pen, and cropped to its ink."""
    slant = 0.0 if lines else min(MAX_SLANT, max(-MAX_SLANT, rng.normal(0.08, 0.16)))
    height, width = canvas.shape
    matrix = np.array([[1.0, -slant, slant * height / 2], [0.0, 1.0, 0.0]])
    slanted = cv2.warpAffine(canvas, matrix, (width, height)) if abs(slant) > 0.02 else canvas
    ink = change_stroke_width(np.asarray(slanted, np.uint8), rng)
    if np.count_nonzero(ink > MIN_INK) < MIN_INK_PIXELS:  # thin strokes, eroded away
        ink = np.asarray(slanted, np.uint8)
    left, top, ink_width, ink_height = cv2.boundingRect(cv2.threshold(ink, 40, 255, cv2.THRESH_BINARY)[1])
    cropped: NDArray[Any] = ink[top : top + max(1, ink_height), left : left + max(1, ink_width)]
    first, last = CANVAS_MARGIN - top, CANVAS_MARGIN + DIGIT_HEIGHT - top
    return DrawnNumber(cropped, symbols, first, last, tuple(line - left for line in lines))
