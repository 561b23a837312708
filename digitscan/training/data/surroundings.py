"""What is in a picture of a field beside its print and its digit: neighbours, the paper, the light.

`printed_fields` uses it. `add_neighbours` draws pieces of other digits and letters that the edge of the
picture cuts; `photograph` returns the picture of dark ink on paper in some light.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.types import GrayImage
from digitscan.training.data.form_sheet import Rect

LIGHT_GRID_SIZE = 16
"""Smooth light is computed at this many points a side and interpolated between them."""
MIN_CONTRAST = 22.0
"""Gray levels between the digit and the paper in even light. With less, people cannot read it either."""
NOISE_SPREAD = 74.0
"""The standard deviation of bytes that are all equally likely."""

LIGHTS = ("gradient", "vignette", "lamp", "shadow", "crease", "edge of paper", "bar")
"""The names of what `photograph` adds to even light."""

_GRID = np.linspace(0.0, 1.0, LIGHT_GRID_SIZE, dtype=np.float32)


def resize_ink(glyph: GrayImage, width: float, height: float) -> GrayImage:
    """Return the image of ink in another size, at least 1x1, with edges as sharp as the ones of a pen."""
    size = (max(1, round(width)), max(1, round(height)))
    is_enlarged = size[1] > glyph.shape[0]
    resized = cv2.resize(glyph, size, interpolation=cv2.INTER_CUBIC if is_enlarged else cv2.INTER_AREA)
    scale = size[1] / glyph.shape[0]
    if scale < 1.5:
        return resized
    gain = min(4.0, 0.8 * scale)
    # The edge is where the ink has half of its darkness: there the slope becomes `gain` times as steep.
    return cv2.convertScaleAbs(cv2.subtract(resized, round(128 - 128 / gain)), alpha=gain)


def paste_ink(ink: GrayImage, glyph: GrayImage, left: float, top: float) -> None:
    """Draw the image of ink onto a larger one, in place, as far as it lies inside."""
    x, y = round(left), round(top)
    glyph = glyph[max(0, -y) :, max(0, -x) :]
    area = ink[max(0, y) :, max(0, x) :][: glyph.shape[0], : glyph.shape[1]]
    if area.size:
        np.maximum(area, glyph[: area.shape[0], : area.shape[1]], out=area)


def add_neighbours(
    ink: GrayImage,
    digit: Rect,
    glyphs: Sequence[NDArray[Any]],
    max_visible: float,
    rng: np.random.Generator,
) -> None:
    """Draw pieces of one to three other digits or letters, cut by the edges of the picture, in place.

    `ink` is (height, width) uint8, light on black. `digit` is where its digit is. A piece may touch
    the digit. The other digits and letters are taken from the arrays `glyphs`, (N, 28, 28) uint8 each.
    At most the share `max_visible` of each, 0 to 1, lies inside the picture.
    """
    sides = rng.random(4) < (0.55, 0.45, 0.15, 0.15)  # left, right, top, bottom
    if not sides.any():
        sides[int(rng.integers(2))] = True
    for side in np.flatnonzero(sides).tolist():
        array = glyphs[int(rng.integers(len(glyphs)))]
        glyph = crop_to_ink(array[int(rng.integers(len(array)))])
        size = digit.height * rng.uniform(0.8, 1.25)
        piece = resize_ink(glyph, size * glyph.shape[1] / glyph.shape[0] * rng.uniform(0.8, 1.2), size)
        paste_ink(ink, piece, *_place_neighbour(side, piece.shape, ink.shape, digit, max_visible, rng))


def crop_to_ink(glyph: NDArray[Any]) -> NDArray[Any]:
    """Return the part of an image of ink that has any, or a black pixel."""
    left, top, width, height = cv2.boundingRect(cv2.threshold(glyph, 40, 255, cv2.THRESH_BINARY)[1])
    return glyph[top : top + max(1, height), left : left + max(1, width)]


def _place_neighbour(
    side: int,
    piece: tuple[int, ...],
    sheet: tuple[int, ...],
    digit: Rect,
    max_visible: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the left and top of a neighbour of the digit at the left, right, top or bottom.

    The edge of the sheet cuts it, and it covers at most a little of the digit.
    """
    is_vertical = side >= 2
    axis = 0 if is_vertical else 1
    length, extent = piece[axis], sheet[axis]
    first, last = (digit.top, digit.bottom) if is_vertical else (digit.left, digit.right)
    is_before = side in (0, 2)
    free = first if is_before else extent - last
    overlap = digit.height * rng.uniform(-0.3, 0.06)
    longest = length * (min(0.45, max_visible) if is_vertical else max_visible)
    visible = longest * (1.0 if rng.random() < 0.4 else rng.uniform(0.06, 1.0))  # often next to the digit
    visible = min(visible, free + overlap)
    visible = max(visible, 0.04 * digit.height)
    along = visible - length if is_before else extent - visible
    if is_vertical:
        return digit.left + digit.width * rng.uniform(-1.0, 1.0), along
    return along, digit.top + digit.height * rng.normal(0.0, 0.08)


def photograph(darkness: GrayImage, digit: Rect, rng: np.random.Generator) -> tuple[GrayImage, list[str]]:
    """Return the picture of dark ink on paper, (height, width) uint8, and which of LIGHTS it has.

    `darkness` is (height, width) uint8, 0 for paper to 255 for black. `digit` stays on the paper.
    """
    paper = 255.0 - 150.0 * rng.random() ** 2
    picture = cv2.convertScaleAbs(darkness, alpha=-paper / 255.0, beta=paper)
    light, lights = _draw_smooth_light(darkness.shape, rng)
    for name, probability, draw_light in _LOCAL_LIGHTS:
        if rng.random() < probability:
            lights.append(name)
            light = (
                draw_light(darkness.shape, rng) if light is None else light * draw_light(darkness.shape, rng)
            )
    if light is not None:
        picture = cv2.multiply(picture, light, dtype=cv2.CV_8U)
    for name, probability in (("edge of paper", 0.09), ("bar", 0.04)):
        if rng.random() < probability:
            table = _find_table(picture.shape, digit, name == "bar", rng)
            if table is not None:
                lights.append(name)
                dark = name == "edge of paper" and rng.random() < 0.85
                tone = np.float32(rng.uniform(0.0, 110.0 if dark else 255.0))
                picture = (picture + table * (tone - picture)).astype(np.uint8)
    return picture, lights


def _draw_smooth_light(
    shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.float32] | None, list[str]]:
    """Return a factor for every pixel's brightness, or None for even light, and what changes it."""
    names = []
    light: NDArray[Any] = np.ones((LIGHT_GRID_SIZE, LIGHT_GRID_SIZE), np.float32)
    if rng.random() < 0.28:
        names.append("gradient")
        slope_x, slope_y = rng.normal(0.0, 0.25, 2).tolist()
        light += slope_x * (_GRID - 0.5) + slope_y * (_GRID[:, None] - 0.5)
        np.clip(light, 0.35, 1.5, out=light)
    if rng.random() < 0.09:
        names.append("vignette")
        depth, center_x, center_y = rng.uniform((0.2, 0.4, 0.4), (0.9, 0.6, 0.6)).tolist()
        squares = (_GRID - center_x) ** 2 + (_GRID[:, None] - center_y) ** 2
        light *= 1.0 - depth * np.minimum(1.0, 2.0 * squares) ** (1.0 if rng.random() < 0.5 else 2.0)
    if rng.random() < 0.07:
        names.append("lamp")
        strength, center_x, center_y, radius = rng.uniform((0.2, 0, 0, 0.15), (1.0, 1, 1, 0.6)).tolist()
        squares = (_GRID - center_x) ** 2 + (_GRID[:, None] - center_y) ** 2
        light *= (1.0 + strength * np.exp(squares / (-2.0 * radius * radius))) / (1.0 + 0.6 * strength)
    if not names:
        return None, names
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(light.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)), names


def _draw_shadow(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a factor for every pixel's brightness: a shadow with a straight or round edge."""
    side = max(shape)
    center = rng.uniform(0.1, 0.9, 2) * shape[::-1]
    softness = side * (rng.uniform(0.005, 0.03) if rng.random() < 0.5 else rng.uniform(0.03, 0.5))
    if rng.random() < 0.7:
        distance = _measure_distance(shape, center, rng.uniform(0.0, 2 * np.pi))
    else:
        radius, angle = side * rng.uniform(0.3, 1.5), rng.uniform(0.0, 2 * np.pi)
        middle = center + radius * np.array((math.cos(angle), math.sin(angle)))
        squares = np.add.outer((np.arange(shape[0]) - middle[1]) ** 2, (np.arange(shape[1]) - middle[0]) ** 2)
        distance = np.sqrt(squares.astype(np.float32)) - np.float32(radius)
    depth = rng.uniform(0.12, 0.65)
    shadow: NDArray[np.float32] = np.clip(distance / np.float32(softness) + 0.5, 0.0, 1.0)
    return np.float32(1.0) - np.float32(depth) * shadow


def _draw_crease(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a factor for every pixel's brightness: a fold, a dark stripe beside a light one."""
    center = rng.uniform(0.0, 1.0, 2) * shape[::-1]
    width = max(0.7, max(shape) * rng.uniform(0.005, 0.04))
    distance = _measure_distance(shape, center, rng.uniform(0.0, 2 * np.pi)) / np.float32(width)
    depth = np.float32(rng.uniform(0.05, 0.3))
    return 1.0 + depth * distance * np.exp(-0.5 * distance * distance)


_LOCAL_LIGHTS = (("shadow", 0.17, _draw_shadow), ("crease", 0.04, _draw_crease))


def _measure_distance(shape: tuple[int, ...], point: Any, angle: float) -> NDArray[np.float32]:
    """Return for every pixel its distance from the line through a point, whose normal is at `angle`.

    It is negative on the side that the normal points away from.
    """
    rows = ((np.arange(shape[0]) - point[1]) * math.sin(angle)).astype(np.float32)
    columns = ((np.arange(shape[1]) - point[0]) * math.cos(angle)).astype(np.float32)
    distance: NDArray[np.float32] = np.add.outer(rows, columns)
    return distance


def _find_table(
    shape: tuple[int, ...], digit: Rect, is_bar: bool, rng: np.random.Generator
) -> NDArray[np.float32] | None:
    """Return what share, 0 to 1, of each pixel is beyond the edge of the paper, or None without room for it.

    That is one side of the picture, or two that meet in a corner of the paper. A bar, as in a screenshot, is
    level.
    """
    height, width = shape
    angle = int(rng.integers(4)) * np.pi / 2
    if not is_bar:
        angle += rng.normal(0.0, 0.04) if rng.random() < 0.75 else rng.uniform(-0.8, 0.8)
    softness = np.float32(0.5 if is_bar else rng.uniform(0.6, 3.0))
    corners = Rect(0, 0, width, height).corners
    table: NDArray[np.float32] | None = None
    for edge in range(2 if not is_bar and rng.random() < 0.35 else 1):
        direction = angle + edge * np.pi / 2
        normal = np.array((math.cos(direction), math.sin(direction)))
        digit_end, picture_end = (digit.corners @ normal).max(), (corners @ normal).max()
        room = picture_end - digit_end
        if room < 0.06 * max(height, width):
            continue
        distance = digit_end + rng.uniform(0.25, 0.97) * room
        beyond = np.clip(_measure_distance(shape, distance * normal, direction) / softness, 0.0, 1.0)
        table = beyond if table is None else np.maximum(table, beyond)
    return table


def record(picture: GrayImage, contrast: float, rng: np.random.Generator) -> GrayImage:
    """Return the picture as a camera or scanner stores it: blur, noise and JPEG artefacts, at times inverted.

    `contrast` is the difference of the digit from the paper in gray levels. The noise's standard deviation is
    at most a sixth of it.
    """
    height, width = picture.shape
    if rng.random() < 0.3:
        sigma = rng.uniform(0.3, 0.4 + 0.008 * max(height, width))
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    if rng.random() < 0.6:
        level = min(contrast / 6, 12.0) * rng.random() ** 2
        noise = np.frombuffer(rng.bytes(height * width), np.uint8).reshape(height, width)
        if rng.random() < 0.4:
            noise, level = (
                np.asarray(cv2.blur(noise, (3, 3)), np.uint8),
                2.0 * level,
            )  # grain of more than one pixel
        gain = level / NOISE_SPREAD
        picture = np.asarray(cv2.addWeighted(picture, 1.0, noise, gain, -127.5 * gain), np.uint8)
    if rng.random() < 0.25:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))])
        picture = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)
    return 255 - picture if rng.random() < 0.07 else picture
