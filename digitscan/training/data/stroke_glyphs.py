"""Digits, letters and signs drawn from stroke skeletons: variants that MNIST lacks, and negatives.

`augment` draws digits in the writing styles of other countries, `negatives` draws letters and signs. The
skeletons are in `data/stroke_glyphs.json`; `data/README.md` describes the format. Each drawing moves every
point by a random distance and rounds the strokes (Chaikin 1974), so one skeleton gives many variants.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.imaging.types import GrayImage

STROKE_GLYPHS_PATH = Path(__file__).resolve().parents[2] / "data" / "stroke_glyphs.json"
GRID_CENTER = 4.5
"""The centre of the 10x10 grid of a skeleton's points."""
CORNER_CUTS = 3
"""How often a stroke's corners are cut to round it."""
SUBPIXEL_BITS = 4
"""OpenCV draws at coordinates in 1/16 of a pixel."""

DIGIT_LIKE_LETTERS = frozenset("BIOSZbgloqsz")
"""Letters that may look like a digit even where they are written with care: never a non-digit."""
WRITTEN_NON_DIGITS = frozenset("ACEFHKLMNPRTVWXcdehkmpvwx#*+<@[")
"""Letters and signs that look like no digit as people write them: the non-digits of `pen_files`.

Not in it, besides DIGIT_LIKE_LETTERS, are what hands make a digit of though a skeleton is none: D (0), G (6),
J (5), Q (2, 9), U (0, 4), Y (4), a (9), f (8), i and j without their dot (1), n (1, 7), r (5), t (1), u (4),
y (4, 9), $ and % that lost strokes (5, 0), & (8), > (7), ? (2, 7), ^ (1), { and } (3), the other brackets
and the strokes of punctuation (1). Neither are dots, bars and waves, in which preprocessing finds nothing.
"""

Skeleton = tuple[NDArray[np.float64], ...]
"""The strokes of a glyph: for each, its points (N, 2) as x and y, 0 to 9 from the upper left corner."""


@dataclass(frozen=True)
class StrokeGlyphs:
    """All skeletons. Random draws choose them by index, so a new order changes every training run.

    `digits` has the skeletons of each digit 0 to 9. `non_digits` are letters and signs, without the letters
    that may look like a digit: DIGIT_LIKE_LETTERS.
    """

    digits: tuple[tuple[Skeleton, ...], ...]
    non_digits: tuple[Skeleton, ...]


@lru_cache(maxsize=1)
def load_stroke_glyphs() -> StrokeGlyphs:
    """Return the bundled skeletons."""
    data = json.loads(STROKE_GLYPHS_PATH.read_text(encoding="utf-8"))
    return StrokeGlyphs(
        digits=tuple(
            tuple(_parse_skeleton(strokes) for strokes in data["digits"][str(digit)]) for digit in range(10)
        ),
        non_digits=tuple(_parse_skeleton(glyph["strokes"]) for glyph in data["non_digits"]),
    )


def _parse_skeleton(strokes: str) -> Skeleton:
    """Return the skeleton of its text: `40 49/19 79` is a stroke from (4, 0) to (4, 9) and a second one."""
    return tuple(
        np.array([(int(point[0]), int(point[1])) for point in stroke.split()], np.float64)
        for stroke in strokes.split("/")
    )


def draw_digit(label: int, rng: np.random.Generator) -> GrayImage:
    """Return a random drawing of a digit, (28, 28) uint8, light ink on black."""
    skeletons = load_stroke_glyphs().digits[label]
    return _draw_skeleton(skeletons[int(rng.integers(len(skeletons)))], rng)


def draw_non_digit(rng: np.random.Generator) -> GrayImage:
    """Return a random drawing of a letter or a sign, (28, 28) uint8, light ink on black."""
    skeletons = load_stroke_glyphs().non_digits
    return _draw_skeleton(skeletons[int(rng.integers(len(skeletons)))], rng)


def draw_stroke(image: GrayImage, ends: ArrayLike, width: int, rng: np.random.Generator) -> None:
    """Draw a slightly curved stroke onto an image, in place.

    `ends` are its two end points (2, 2), x and y in pixels; a `width` below 1 pixel is drawn as 1.
    """
    (x0, y0), (x1, y1) = np.asarray(ends, np.float64)
    curvature = rng.normal(0.0, 0.06)
    control_point = np.array(((x0 + x1) / 2 + curvature * (y1 - y0), (y0 + y1) / 2 - curvature * (x1 - x0)))
    t = np.linspace(0.0, 1.0, 7)[:, None]
    bezier_curve = (1 - t) ** 2 * [x0, y0] + 2 * t * (1 - t) * control_point + t**2 * [x1, y1]
    draw_polyline(image, bezier_curve, max(1, width))


def draw_polyline(image: GrayImage, points: NDArray[Any], width: int, is_closed: bool = False) -> None:
    """Draw lines of `width` pixels through points (N, 2), x and y in pixels, onto an image, in place."""
    fixed_point = np.rint(points * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.polylines(image, [fixed_point], is_closed, 255, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _draw_skeleton(skeleton: Skeleton, rng: np.random.Generator) -> GrayImage:
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    # Thick strokes would fill a small shape inside another, as in a face: three strokes or more stay thin.
    width = 1 if len(skeleton) >= 3 else int(rng.choice((1, 1, 1, 2, 2, 3)))
    jitter = rng.uniform(0.1, 0.6)
    scale = np.array((rng.uniform(1.2, 2.1), 2.1))
    for stroke in skeleton:
        moved = stroke + rng.normal(0.0, jitter, stroke.shape)
        if len(stroke) > 2:
            # The two copies of a point that is a corner must move together.
            copies = np.flatnonzero((stroke[1:] == stroke[:-1]).all(axis=1)) + 1
            moved[copies] = moved[copies - 1]
        points = (moved - GRID_CENTER) * scale + (IMAGE_SIZE - 1) / 2
        if len(points) > 2:
            for _ in range(CORNER_CUTS):
                points = _cut_corners(points)
        draw_polyline(image, points, width)
    return image


def _cut_corners(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points (M, 2) of a line with every corner cut (Chaikin 1974). Its two ends stay."""
    starts, ends = points[:-1], points[1:]
    cut = np.empty((2 * len(starts), 2))
    cut[0::2] = 0.75 * starts + 0.25 * ends
    cut[1::2] = 0.25 * starts + 0.75 * ends
    return np.concatenate((points[:1], cut, points[-1:]))
