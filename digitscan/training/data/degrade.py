"""Pictures of what a hand drew: with another pen, cut, at another resolution, by a camera.

Each function takes a picture with ink bright on black and returns another; `degrade` strings them
together.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage

Random = np.random.Generator


def degrade(drawn: GrayImage, random: Random) -> GrayImage:
    """Return a picture of what was drawn: with another pen, cut, at another resolution, by a camera."""
    drawn = change_stroke_width(drawn, random)
    if random.random() < 0.15:
        drawn = break_strokes(drawn, random)
    if random.random() < 0.12:
        drawn = crop_at_border(drawn, random)
    if random.random() < 0.35:
        drawn = reduce_resolution(drawn, random)
    return simulate_camera(drawn, random) if random.random() < 0.5 else drawn


def change_stroke_width(drawn: GrayImage, random: Random) -> GrayImage:
    """Return the strokes thinner or thicker by up to some pixels of the 64x64 canvas."""
    choice = random.random()
    if choice < 0.35:
        return cv2.erode(drawn, _disc(int(random.integers(2, 4))))
    if choice < 0.65:
        return cv2.dilate(drawn, _disc(int(random.integers(2, 5))))
    return drawn


def _disc(across: int) -> GrayImage:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)), np.uint8)


def break_strokes(drawn: GrayImage, random: Random) -> GrayImage:
    """Return the ink with a thin gap or two, as a dry pen or a bad threshold leaves."""
    broken = drawn.copy()
    for _ in range(int(random.integers(1, 4))):
        middle = random.uniform(12, 52, 2)
        angle = random.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * random.uniform(4, 14)
        start, end = np.rint(middle - step).astype(int), np.rint(middle + step).astype(int)
        cv2.line(broken, start.tolist(), end.tolist(), 0, int(random.integers(1, 4)))
    return broken


def crop_at_border(drawn: GrayImage, random: Random, most: float = 1 / 12) -> GrayImage:
    """Return the picture cropped close to the digit, up to the share `most` of it lost at one side."""
    left, top, width, height = cv2.boundingRect(cv2.threshold(drawn, 100, 255, cv2.THRESH_BINARY)[1])
    if min(width, height) < 6:
        return drawn
    cuts = [0, 0, 0, 0]
    side = int(random.integers(4))
    cuts[side] = int(random.uniform(0.0, most) * (width if side % 2 else height))
    return drawn[top + cuts[0] : top + height - cuts[2], left + cuts[1] : left + width - cuts[3]]


def reduce_resolution(drawn: GrayImage, random: Random) -> GrayImage:
    """Return the picture at a low resolution, grey or black and white."""
    height, width = drawn.shape
    scale = random.uniform(15.0, 30.0) / max(height, width)
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    if random.random() < 0.25:
        # Forms that are stretched to a square box, as old number tables are.
        drawn = crop_at_border(drawn, random, most=0.0)
        size = (max(8, round(max(size) * random.uniform(0.6, 1.0))), max(size))
    if random.random() < 0.25:
        return cv2.resize(drawn, size, interpolation=cv2.INTER_NEAREST)  # breaks thin strokes into dots
    small = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        return cv2.threshold(small, int(random.integers(60, 150)), 255, cv2.THRESH_BINARY)[1]
    return small


def simulate_camera(drawn: GrayImage, random: Random) -> GrayImage:
    """Return ink on paper under a lamp: margin, grain, uneven light, blur, low contrast, JPEG."""
    height, width = drawn.shape
    top, bottom, left, right = random.integers(0, max(2, height // 3), 4).tolist()
    framed = np.pad(drawn, ((top, bottom), (left, right)))
    height, width = framed.shape
    if random.random() < 0.5:
        framed = cv2.GaussianBlur(framed, (0, 0), random.uniform(0.4, 0.02 * height + 0.5))
    paper = random.uniform(120.0, 255.0)
    contrast = random.uniform(0.2, 0.95)
    light: NDArray[Any] = np.ones((height, width), np.float32)
    if random.random() < 0.7:
        corners = (1.0 + random.uniform(-0.25, 0.25, (2, 2))).astype(np.float32)
        light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    picture = paper * light * (1.0 - contrast / 255.0 * framed)
    grain = random.uniform(0.0, 0.07) * contrast * paper * random.random()
    noise = random.standard_normal((height, width), np.float32) * np.float32(grain)
    if random.random() < 0.5:
        noise = 2.0 * cv2.blur(noise, (3, 3))
    bright = np.clip(picture + noise, 0.0, 255.0).astype(np.uint8)
    if random.random() < 0.25:
        _, data = cv2.imencode(".jpg", bright, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 90))])
        bright = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return 255 - bright if random.random() < 0.15 else bright
