"""Characters drawn from stroke skeletons: hands that MNIST never saw, and letters and signs to refuse.

A skeleton is text: two digits a point (x then y, 0 to 9 from the upper left), a space between points, a
slash between strokes; a point given twice is a corner, others are rounded (Chaikin 1974). Each drawing
moves every point a little, so one skeleton stands for many hands.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DIGITS: dict[int, tuple[str, ...]] = {
    0: (
        "40 12 05 17 49 77 85 72 40",
        "50 21 05 28 49 77 74 72 50 30",
        "40 12 17 49 77 72 40/72 17",
        "40 12 17 49 77 72 40/80 09",
        "60 31 16 29 58 73 61 20",
        "30 12 06 28 58 75 72 50",
    ),
    1: (
        "40 49",
        "13 40 40 49",
        "13 40 40 49/19 79",
        "05 40 40 49",
        "06 50 50 59",
        "14 32 40 40 49",
        "22 40 40 49/19 69",
        "60 29",
        "08 40 40 49",
        "09 50 50 39",
        "07 50 50 29/19 59",
        "08 50 50 59",
        "04 30 30 39/09 69",
        "16 50 50 39",
        "25 40 51 39",
        "07 30 50 41 29/09 58",
        "05 43 61 50 32 27 38 68",
        "16 44 61 50 41 26 39 59",
        "07 50 50 48 58 77",
        "15 50 50 38 48 66",
        "08 50 50 49 69 77",
        "04 40 40 38 49 67",
        "24 50 50 49 59",
    ),
    2: (
        "12 30 61 64 18 18 78",
        "12 30 61 64 28 17 38 79",
        "11 60 73 19 19 79",
        "10 50 63 19 19 79",
        "03 20 50 63 37 09 16 48 89",
        "22 40 62 53 27 07 16 47 79",
        "12 40 62 44 17 08 05 26 78",
        "22 20 50 52 34 16 18 26 69",
        "02 00 60 62 19 19 69",
    ),
    3: (
        "11 40 72 54 34 34 64 77 49 18",
        "10 70 70 44 44 74 77 49 18",
        "10 60 72 44 64 77 49 08",
        "11 40 62 53 24 53 76 59 18",
        "10 50 62 44 54 76 59 09",
        "00 60 60 33 33 65 58 08",
        "21 40 52 44 64 67 39 27",
    ),
    4: (
        "10 05 05 75/50 59",
        "20 15 15 85/62 69",
        "50 06 06 76/50 59",
        "40 05 05 75/43 39",
        "30 05 05 85/53 49",
        "60 06 06 86/60 49",
        "20 14 36 74/71 59",
        "50 06 06 86 86 63 50/53 59",
        "12 14 26 54 63 61/62 59",
        "50 13 06 16 64 64 58",
        "60 22 06 26 73 73 59 49",
        "40 05 06 55 53 53 49",
        "20 05 16 44 53/53 49",
        "50 07 07 87/50 59",
        "40 13 06 46 64/64 48",
        "60 13 16 54 52/53 59",
        "50 22 15 35 64 63/64 59 48",
        "60 06 06 66/65 59",
        "20 04 16 57 74 62 41 39",
        "10 05 26 66 83 61 40 49",
        "30 05 06 66 84 61 41 39",
        "20 05 17 47 65 62 40 49",
        "50 05 06 35 54 54 59",
        "60 06 35 54 64 59",
        "40 24 06 07 35 64 64 59/54 84",
        "40 05 06 35 65/64 59 69",
        "50 13 05 17 45 75/64 58",
        "30 06 06 76/54 49 69",
    ),
    5: (
        "70 20 20 14 14 53 76 59 18",
        "20 14 14 53 76 59 18/20 70",
        "20 14 44 66 58 28 08/20 80",
        "60 20 20 25 25 54 77 59 19",
        "21 15 53 66 48 18/21 71",
        "80 20 24 63 67 38",
        "70 20 24 44 65 58 08",
        "60 30 15 44 66 48 08/30 80",
    ),
    6: (
        "60 22 16 39 68 75 45 17",
        "50 23 17 39 68 65 35 17",
        "30 14 17 39 68 65 35 16",
        "70 32 06 18 59 77 65 36 17",
        "60 30 05 28 58 76 45 26",
        "50 12 06 29 57 55 25",
    ),
    7: (
        "00 70 70 39",
        "00 70 70 39/25 75",
        "00 80 80 29/15 65",
        "02 00 00 70 70 29",
        "02 00 00 70 70 39/24 74",
        "10 70 44 39",
        "00 70 70 45 39/15 65",
        "12 10 60 70 39/24 65",
        "02 11 61 70 45 29/05 75",
        "13 10 30 51 70 29/25 66",
        "13 11 70 70 39/24 64",
        "02 20 61 70 36 29/15 74",
        "10 60 60 28/16 86",
        "03 10 32 61 80 49/16 76",
        "04 22 42 70 49/16 86",
        "02 11 32 70 58 39/25 75",
        "01 20 70 60 29/06 76",
        "02 00 70 70 29/16 86",
    ),
    8: (
        "61 30 12 44 77 49 17 44 72 61",
        "50 22 34 66 58 38 16 44 72 50",
        "71 40 12 34 66 58 39 17 35 63 72",
        "40 12 44 72 40/44 17 49 77 44",
        "80 50 12 44 67 49 17 44 80",
        "61 30 12 33 63 67 39 07 15 33 61",
    ),
    9: (
        "62 40 12 24 53 61 61 69",
        "71 40 13 35 63 71 67 49 18",
        "71 40 13 35 71 71 58 29",
        "70 40 13 35 64 71 71 79",
        "61 30 12 24 54 62 58 49",
        "60 30 13 34 62 60 60 58 39 18",
        "50 20 03 34 62 50/62 58 29 07",
        "60 30 12 23 53 60 62 57 38 07",
        "71 31 13 34 71 72 57 28 07 16",
        "72 41 22 34 63 71 65 59 28",
        "61 31 12 33 52 61 64 57 29 08",
        "60 20 12 34 63 61/63 56 38 18",
        "61 30 12 24 44 62 61 45 66 57 38 08",
        "60 31 12 23 43 61 60 54 65 67 48 28 17",
        "61 40 12 14 35 53 61 62 67 49 18 07",
        "70 30 12 24 53 71 44 65 58 28 07",
        "50 20 12 24 44 52 50 55 67 48 18 09",
        "30 11 13 34 54 62 40 30/54 66 58 28 08",
        "71 50 21 13 34 64 72 50/64 68 39 08 07",
        "60 30 21 22 42 61 44 66 58 39 18",
        "50 20 12 23 43 51 43 45 67 59 29 07",
        "50 20 11 22 42 51 50 42 44 65 68 39 08",
        "40 11 03 25 54 62 40/35 39",
        "40 12 13 34 53 52 40/44 48 38",
        "50 21 23 44 62 50/44 46 66 57 39 18",
    ),
}
"""Digits as they are drawn round the world, several a digit."""

NON_DIGITS: tuple[str, ...] = (
    "09 30 30 69/15 55",  # A
    "08 40 40 88/26 66",
    "61 30 05 39 68",  # C
    "72 40 04 18 59 88",
    "10 19/10 50 75 49 19",  # D
    "10 19/00 50 83 76 49 09",
    "70 10 10 19 19 79/15 55",  # E
    "61 30 12 24 44 24 06 28 59 78",
    "70 10 10 19/15 55",  # F
    "61 30 05 39 68 65 65 45",  # G
    "71 40 04 18 49 77 75 75 45 45/75 79",
    "10 19/70 79/15 75",  # H
    "30 80/60 67 49 27 16",  # J
    "10 19/70 15 15 79",  # K
    "20 29 29 79",  # L
    "09 10 10 45 45 80 80 89",  # M
    "09 00 00 79 79 70",  # N
    "10 19/10 60 73 45 15",  # P
    "40 12 17 49 77 72 40/56 89",  # Q
    "10 19/10 60 73 45 15 15 79",  # R
    "00 80/40 49",  # T
    "00 07 39 67 70/70 79",  # U
    "00 06 39 69 76 70",
    "00 39 39 70",  # V
    "00 29 29 43 43 69 69 90",  # W
    "00 79/70 09",  # X
    "00 34 34 70/34 39",  # Y
    "63 33 15 38 56 63 63 68 79",  # a
    "62 32 05 28 68",  # c
    "60 69/64 35 17 39 67",  # d
    "15 65 63 32 15 28 59 78",  # e
    "60 41 39/14 64",  # f
    "70 50 32 38 19/15 65",
    "40 41/44 49",  # i
    "41 41/34 44 44 49/29 69",
    "50 51/54 58 39 18",  # j
    "10 19/15 43 65 69",  # h
    "20 29/64 26 26 69",  # k
    "14 19/15 34 45 49/45 64 75 79",  # m
    "14 19/15 44 65 69",  # n
    "13 19/14 43 65 47 16",  # p
    "24 29/25 44 64",  # r
    "40 47 59 68/13 73",  # t
    "03 07 28 57 63/63 69",  # u
    "03 38 38 73",  # v
    "03 28 28 44 44 68 68 83",  # w
    "13 69/63 19",  # x
    "03 36 36/73 36 09",  # y
    "41 48/05 75",  # plus
    "03 73/06 76",  # equals
    "20 19/60 59/03 83/06 86",  # number sign
    "02 30 61 63 45 46/48 49",  # question mark
    "41 48/12 77/17 72",  # asterisk
    "78 33 21 40 62 14 07 29 59 85",  # ampersand
    "65 44 35 47 66 63 66 87 85 72 40 04 18 49 78",  # at
    "80 09/10 02 23 32 10/77 66 68 89 88 77",  # percent
    "72 40 12 44 76 48 07/40 49",  # dollar
    "10 75 75 19",  # greater
    "05 39 39 80",  # tick
    "20 22/60 62/06 29 69 86",  # faces
    "20 22/60 62/08 36 66 88",
    "31 33/61 63/25 48 75/40 04 18 49 88 84 40",
    "33 34/53 54/35 46 55/40 12 05 18 49 78 85 72 40",
    "23 33/63 73/26 47 76/50 21 04 18 49 79 95 81 50",
    "32 33/62 63/37 46 67/50 21 04 18 49 79 95 81 50",
    "32 33/62 63/36 66/50 21 04 18 49 79 95 81 50",
    "22 77/72 27/40 12 05 18 49 78 85 72 40",  # rings with things in them
    "41 48/05 84/40 12 05 18 49 78 85 72 40",
    "63 44 35 46 66/50 21 04 18 49 79 95 81 50",
    "10 80 80 88 88 18 18 10",  # square
    "40 09 09 89 89 40",  # triangle
    "40 19 19 83 83 03 03 79 79 40",  # star
    "42 20 03 49 49 83 60 42",  # heart
    "45 55 46 34 43 63 67 38 14 31 71 86 59 19",  # spiral
    "02 23 14 35 26 47 38 59",  # zigzags
    "00 29 29 41 41 69 69 81",
    "10 80 12 82 14 84 16 86 18 88",
    "05 22 48 62 85",  # wave
    "00 09/40 49/80 89",  # bars
    "05 85",
    "02 22/62 82/48 68/15 25/55 65",  # dashes
    "40 80 85 45 40/10 15 45",
)
"""Letters and signs that are no digit; none that a digit may look like (o, l, s, z, b, g, q and theirs)."""


def draw_digit(label: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return (28, 28) uint8, ink bright on black: the digit in some hand."""
    return _draw(DIGITS[label][int(random.integers(len(DIGITS[label])))], random)


def draw_non_digit(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return (28, 28) uint8, ink bright on black: a letter or a sign."""
    return _draw(NON_DIGITS[int(random.integers(len(NON_DIGITS)))], random)


def draw_stroke(picture: NDArray[np.uint8], ends: Any, width: int, random: np.random.Generator) -> None:
    """Draw a slightly bent stroke of `width` pixels between two (x, y) points onto a picture."""
    (x0, y0), (x1, y1) = ends
    bend = random.normal(0.0, 0.06)
    middle = (
        (x0 + x1) / 2 + bend * (y1 - y0),
        (y0 + y1) / 2 - bend * (x1 - x0),
    )
    t = np.linspace(0.0, 1.0, 7)[:, None]
    curve = (1 - t) ** 2 * [x0, y0] + 2 * t * (1 - t) * np.asarray(middle) + t**2 * [x1, y1]
    points = np.rint(curve * 16).astype(np.int32)
    cv2.polylines(picture, [points], False, 255, max(1, width), cv2.LINE_AA, 4)


def _draw(skeleton: str, random: np.random.Generator) -> NDArray[np.uint8]:
    drawn = np.zeros((28, 28), np.uint8)
    # A thick pen would fill what stands in a ring.
    width = 1 if skeleton.count("/") >= 2 else int(random.choice((1, 1, 1, 2, 2, 3)))
    loose = random.uniform(0.1, 0.6)
    stretch = np.array((random.uniform(1.2, 2.1), 2.1))
    for stroke in _parse(skeleton):
        moved = stroke + random.normal(0.0, loose, stroke.shape)
        if len(stroke) > 2:
            # The copies of a corner move together.
            same = np.flatnonzero((stroke[1:] == stroke[:-1]).all(axis=1)) + 1
            moved[same] = moved[same - 1]
        points = (moved - 4.5) * stretch + 13.5
        for _ in range(3 if len(points) > 2 else 0):
            points = _round_off(points)
        cv2.polylines(drawn, [np.rint(points * 16).astype(np.int32)], False, 255, width, cv2.LINE_AA, 4)
    return drawn


@lru_cache(maxsize=256)
def _parse(skeleton: str) -> tuple[NDArray[np.float64], ...]:
    return tuple(
        np.array([(int(point[0]), int(point[1])) for point in stroke.split()], np.float64)
        for stroke in skeleton.split("/")
    )


def _round_off(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut every corner (Chaikin), the ends kept."""
    before, after = points[:-1], points[1:]
    cut = np.empty((2 * len(before), 2))
    cut[0::2] = 0.75 * before + 0.25 * after
    cut[1::2] = 0.25 * before + 0.75 * after
    return np.concatenate((points[:1], cut, points[-1:]))
