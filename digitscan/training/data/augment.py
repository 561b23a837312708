"""Training images as users' pictures differ from MNIST: other hands, pens, papers and cameras.

A digit is taken in another hand or as it is, bent, drawn and photographed anew by `cameras`; what is no
digit comes from `non_digits`. The picture then goes through `preprocess` like a user's. Seeded per image,
so that the number of processes that share the work changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.preprocess_batch import preprocess_batch
from digitscan.imaging.types import GrayImage
from digitscan.training.data.degrade import degrade
from digitscan.training.data.font_glyphs import FontGlyphs, load_font_glyphs, random_glyph
from digitscan.training.data.negatives import draw_negative
from digitscan.training.data.stroke_glyphs import draw_digit, draw_stroke

NOT_A_DIGIT = 10

Random = np.random.Generator


@dataclass(frozen=True)
class AugmentationConfig:
    """What is changed, and in which share of the pictures."""

    added_strokes: float = 1.0
    """Of the 1s that a flag, of the 0s that a slash and of the 7s that a bar may be drawn on."""
    skeletons: float = 0.2
    """Of the digits, those that are drawn from stroke skeletons instead of taken from MNIST."""
    fonts: float = 0.08
    """Of the digits, those that are taken from handwriting fonts."""
    non_digits: float = 0.3
    """Pictures of no digit for each digit."""
    letters: float = 0.25
    """Of the pictures of no digit, the letters taken from handwriting fonts."""
    bent: float = 1.0
    """Rotated, slanted, stretched and elastically bent."""
    pens_and_cameras: float = 0.7
    """Of the digits, those drawn with another pen, cut, at another resolution, photographed."""
    gentle: float = 0.4
    """Of the digits, MNIST's own that are bent a little and nothing else: its fine differences stay."""


GENTLY = 0.65
"""How much less than others the gentle ones are bent."""
STILL_ITSELF = 0.75
"""How much a picture must stay like what it was before pen and camera."""
CANVAS = 64
"""Side of the square, in pixels, that hands and pens are drawn on."""


def slant_images(images: GrayImage, indices: NDArray[Any], seed: int) -> GrayImage:
    """Return what the model sees, (len(indices), 28, 28) uint8, of digits slightly turned and slanted."""
    seen = np.zeros((len(indices), 28, 28), np.uint8)
    changed = []
    for index in indices.tolist():
        random = np.random.default_rng((seed, index))
        turn, slant, wide, tall = (random.standard_normal(4) * (0.07, 0.1, 0.07, 0.07)).tolist()
        forward = np.array([[1.0 + wide, slant - turn], [turn, 1.0 + tall]])
        shift = 13.5 - forward @ (13.5, 13.5)
        changed.append(cv2.warpAffine(images[index], np.column_stack((forward, shift)), (28, 28)))
    for place, looked in enumerate(preprocess_batch(changed)):
        if looked.pixels is not None:
            seen[place] = looked.pixels
    return seen


def augment_images(
    images: GrayImage,
    labels: NDArray[np.uint8],
    indices: NDArray[Any],
    seed: int,
    what: AugmentationConfig | None = None,
    learning: bool = True,
) -> GrayImage:
    """Return what the model sees, (len(indices), 28, 28) uint8, of one changed picture for each index.

    `images` is (N, 28, 28) uint8 with `labels` (N,) uint8; an index of N or more asks for a picture that
    is not a digit. The fonts are those to learn from, or those for validation. A picture is made again
    until `preprocess` finds something in it that is still itself: nothing is learned from a label that
    the picture has lost.
    """
    what = what or AugmentationConfig()
    font_glyphs = load_font_glyphs(learning)
    seen = np.zeros((len(indices), 28, 28), np.uint8)
    for place, index in enumerate(indices.tolist()):
        random = np.random.default_rng((seed, index))
        for _ in range(8):
            strength, filmed = 1.0, what.pens_and_cameras
            if index >= len(images):
                digit, filmed = draw_negative(images, labels, random, what.letters, font_glyphs), 1.0
            elif random.random() < what.gentle:
                digit, strength, filmed = images[index], GENTLY, 0.0
            else:
                digit = vary_handwriting(images[index], int(labels[index]), random, what, font_glyphs)
            drawn = distort_elastically(digit, random, strength) if random.random() < what.bent else digit
            pixels = preprocess(drawn).pixels
            if random.random() < filmed:
                plain, pixels = pixels, preprocess(degrade(drawn, random)).pixels
                if plain is not None and pixels is not None:
                    pixels = pixels if correlation(plain, pixels) >= STILL_ITSELF else None
            if pixels is not None:
                seen[place] = pixels
                break
    return seen


def correlation(first: GrayImage, second: GrayImage) -> float:
    """Return the correlation, -1 to 1, of two pictures that are blurred a little."""
    one, two = (cv2.GaussianBlur(picture, (5, 5), 1.2).astype(np.float32) for picture in (first, second))
    return float(cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED)[0, 0])


def vary_handwriting(
    digit: GrayImage, label: int, random: Random, what: AugmentationConfig, font_glyphs: FontGlyphs
) -> GrayImage:
    """Return the digit of another hand: from a skeleton, from a font, or with a stroke that MNIST lacks."""
    source = random.random()
    if source < what.skeletons:
        return draw_digit(label, random)
    if source < what.skeletons + what.fonts:
        return random_glyph(font_glyphs.digits[label], random)
    chance = what.added_strokes * (0.5 if label == 1 else 0.25)
    if label not in (0, 1, 7) or random.random() > chance:
        return digit
    rows, columns = np.nonzero(digit > 100)
    if rows.size < 10:
        return digit
    changed = digit.copy()
    top, bottom = int(rows.min()), int(rows.max())
    left, right = int(columns.min()), int(columns.max())
    height = bottom - top
    width = max(1, round(rows.size / max(height, right - left, 1) * random.uniform(0.7, 1.0)))
    width = min(width, 4)
    if label == 1:
        _flag(changed, top, height, (rows, columns), width, random)
    elif label == 0:
        inset = random.uniform(-0.15, 0.3)
        ends = (
            (right - inset * (right - left), top + inset * height),
            (left + inset * (right - left), bottom - inset * height),
        )
        draw_stroke(changed, ends, min(width, 2), random)
    else:
        row = top + height * random.uniform(0.4, 0.62)
        near = columns[np.abs(rows - row) <= 1]
        middle = float(near.mean()) if near.size else (left + right) / 2
        reach = random.uniform(3.0, 7.0)
        tilt = random.uniform(-1.5, 1.5)
        ends = ((middle - reach, row + tilt), (middle + reach * random.uniform(0.7, 1.1), row - tilt))
        draw_stroke(changed, ends, min(width, 3), random)
    return changed


def _flag(
    digit: GrayImage,
    top: int,
    height: int,
    ink: tuple[NDArray[Any], NDArray[Any]],
    width: int,
    random: Random,
) -> None:
    rows, columns = ink
    head = (float(columns[rows <= top + 1].mean()), top + 0.7)
    length = height * random.uniform(0.2, 0.95)
    angle = np.deg2rad(random.uniform(15.0, 75.0))
    end = (head[0] - length * np.sin(angle), head[1] + length * np.cos(angle))
    draw_stroke(digit, (head, end), width, random)
    if random.random() < 0.3:
        bottom = int(rows.max())
        base = float(columns[rows >= bottom - 1].mean())
        reach = height * random.uniform(0.15, 0.35)
        draw_stroke(digit, ((base - reach, bottom - 0.5), (base + reach, bottom - 0.5)), width, random)


def distort_elastically(digit: GrayImage, random: Random, strength: float = 1.0) -> GrayImage:
    """Return the digit on a 64x64 canvas: rotated, slanted, stretched and elastically bent (Simard 2003)."""
    angle = np.deg2rad(strength * np.clip(random.normal(0.0, 6.0), -16.0, 16.0))
    shear = strength * np.clip(random.normal(0.0, 0.15), -0.4, 0.4)
    scale = random.uniform(1.7, 2.2)
    stretch = np.exp(strength * random.normal(0.0, 0.1))
    cosine, sine = np.cos(angle), np.sin(angle)
    forward = np.array([[cosine, -sine], [sine, cosine]]) @ np.array([[1.0, shear], [0.0, 1.0]])
    forward = forward @ np.diag([scale * stretch, scale / stretch])
    inverse = np.linalg.inv(forward)
    shift = 13.5 - inverse @ [(CANVAS - 1) / 2, (CANVAS - 1) / 2]
    maps = _GRID @ inverse.T.astype(np.float32) + shift.astype(np.float32)
    cells = int(random.integers(3, 7))
    moved = strength * random.uniform(0.2, 1.1) * 4.0 / cells
    field = random.normal(0.0, moved, (cells, cells, 2)).astype(np.float32)
    maps += cv2.resize(field, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    return cv2.remap(digit, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)


_GRID = np.stack(np.meshgrid(np.arange(CANVAS), np.arange(CANVAS)), axis=-1).astype(np.float32)
