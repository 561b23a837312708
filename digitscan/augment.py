"""Training images as users' pictures differ from MNIST: other hands, pens, papers and cameras.

Each function takes a picture with ink bright on black and returns another; `picture_of` strings them
together and `non_digit` makes what is not a digit. What comes out is a picture, not yet what the model
sees: it goes through `preprocess` like a user's. Seeded per image, so that the number of processes that
share the work changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.hands import Hands, load_hands
from digitscan.parts import Gray
from digitscan.preprocess import preprocess
from digitscan.strokes import draw_digit, draw_other

NOT_A_DIGIT = 10

Random = np.random.Generator


@dataclass(frozen=True)
class Augmentation:
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


def slanted(images: Gray, indices: NDArray[Any], seed: int) -> Gray:
    """Return what the model sees, (len(indices), 28, 28) uint8, of digits slightly turned and slanted."""
    seen = np.zeros((len(indices), 28, 28), np.uint8)
    for place, index in enumerate(indices.tolist()):
        random = np.random.default_rng((seed, index))
        turn, slant, wide, tall = (random.standard_normal(4) * (0.07, 0.1, 0.07, 0.07)).tolist()
        forward = np.array([[1.0 + wide, slant - turn], [turn, 1.0 + tall]])
        shift = 13.5 - forward @ (13.5, 13.5)
        changed = cv2.warpAffine(images[index], np.column_stack((forward, shift)), (28, 28))
        pixels = preprocess(changed).pixels
        if pixels is not None:
            seen[place] = pixels
    return seen


def augmented(
    images: Gray,
    labels: NDArray[np.uint8],
    indices: NDArray[Any],
    seed: int,
    what: Augmentation | None = None,
    learning: bool = True,
) -> Gray:
    """Return what the model sees, (len(indices), 28, 28) uint8, of one changed picture for each index.

    `images` is (N, 28, 28) uint8 with `labels` (N,) uint8; an index of N or more asks for a picture that
    is not a digit. The fonts are those to learn from, or those for validation. A picture is made again
    until `preprocess` finds something in it that is still itself: nothing is learned from a label that
    the picture has lost.
    """
    what = what or Augmentation()
    hands = load_hands(learning)
    seen = np.zeros((len(indices), 28, 28), np.uint8)
    for place, index in enumerate(indices.tolist()):
        random = np.random.default_rng((seed, index))
        for _ in range(8):
            strength, filmed = 1.0, what.pens_and_cameras
            if index >= len(images):
                digit, filmed = non_digit(images, labels, random, what, hands), 1.0
            elif random.random() < what.gentle:
                digit, strength, filmed = images[index], GENTLY, 0.0
            else:
                digit = other_hand(images[index], int(labels[index]), random, what, hands)
            drawn = bend(digit, random, strength) if random.random() < what.bent else digit
            pixels = preprocess(drawn).pixels
            if random.random() < filmed:
                plain, pixels = pixels, preprocess(picture_of(drawn, random)).pixels
                if plain is not None and pixels is not None:
                    pixels = pixels if likeness(plain, pixels) >= STILL_ITSELF else None
            if pixels is not None:
                seen[place] = pixels
                break
    return seen


def likeness(first: Gray, second: Gray) -> float:
    """Return the correlation, -1 to 1, of two pictures that are blurred a little."""
    one, two = (cv2.GaussianBlur(picture, (5, 5), 1.2).astype(np.float32) for picture in (first, second))
    return float(cv2.matchTemplate(one, two, cv2.TM_CCOEFF_NORMED)[0, 0])


def other_hand(digit: Gray, label: int, random: Random, what: Augmentation, hands: Hands) -> Gray:
    """Return the digit of another hand: from a skeleton, from a font, or with a stroke that MNIST lacks."""
    source = random.random()
    if source < what.skeletons:
        return draw_digit(label, random)
    if source < what.skeletons + what.fonts:
        return _any_of(hands.digits[label], random)
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
        _stroke(changed, ends, min(width, 2), random)
    else:
        row = top + height * random.uniform(0.4, 0.62)
        near = columns[np.abs(rows - row) <= 1]
        middle = float(near.mean()) if near.size else (left + right) / 2
        reach = random.uniform(3.0, 7.0)
        tilt = random.uniform(-1.5, 1.5)
        ends = ((middle - reach, row + tilt), (middle + reach * random.uniform(0.7, 1.1), row - tilt))
        _stroke(changed, ends, min(width, 3), random)
    return changed


def _any_of(pictures: NDArray[Any], random: Random) -> Gray:
    return np.asarray(pictures[int(random.integers(len(pictures)))])


def _flag(
    digit: Gray, top: int, height: int, ink: tuple[NDArray[Any], NDArray[Any]], width: int, random: Random
) -> None:
    rows, columns = ink
    head = (float(columns[rows <= top + 1].mean()), top + 0.7)
    length = height * random.uniform(0.2, 0.95)
    angle = np.deg2rad(random.uniform(15.0, 75.0))
    end = (head[0] - length * np.sin(angle), head[1] + length * np.cos(angle))
    _stroke(digit, (head, end), width, random)
    if random.random() < 0.3:
        bottom = int(rows.max())
        base = float(columns[rows >= bottom - 1].mean())
        reach = height * random.uniform(0.15, 0.35)
        _stroke(digit, ((base - reach, bottom - 0.5), (base + reach, bottom - 0.5)), width, random)


def _stroke(digit: Gray, ends: Any, width: int, random: Random) -> None:
    """Draw a slightly bent stroke between two (x, y) points."""
    (x0, y0), (x1, y1) = ends
    bend = random.normal(0.0, 0.06)
    middle = ((x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0))
    t = np.linspace(0.0, 1.0, 7)[:, None]
    curve = (1 - t) ** 2 * [x0, y0] + 2 * t * (1 - t) * np.asarray(middle) + t**2 * [x1, y1]
    points = np.rint(curve * 16).astype(np.int32)
    cv2.polylines(digit, [points], False, 255, max(1, width), cv2.LINE_AA, 4)


def picture_of(drawn: Gray, random: Random) -> Gray:
    """Return a picture of what was drawn: with another pen, cut, at another resolution, by a camera."""
    drawn = change_pen(drawn, random)
    if random.random() < 0.15:
        drawn = break_strokes(drawn, random)
    if random.random() < 0.12:
        drawn = cut_at_border(drawn, random)
    if random.random() < 0.35:
        drawn = lower_resolution(drawn, random)
    return photograph(drawn, random) if random.random() < 0.5 else drawn


def bend(digit: Gray, random: Random, strength: float = 1.0) -> Gray:
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


def change_pen(drawn: Gray, random: Random) -> Gray:
    """Return the strokes thinner or thicker by up to some pixels of the 64x64 canvas."""
    choice = random.random()
    if choice < 0.35:
        return cv2.erode(drawn, _disc(int(random.integers(2, 4))))
    if choice < 0.65:
        return cv2.dilate(drawn, _disc(int(random.integers(2, 5))))
    return drawn


def _disc(across: int) -> Gray:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)), np.uint8)


def break_strokes(drawn: Gray, random: Random) -> Gray:
    """Return the ink with a thin gap or two, as a dry pen or a bad threshold leaves."""
    broken = drawn.copy()
    for _ in range(int(random.integers(1, 4))):
        middle = random.uniform(12, 52, 2)
        angle = random.uniform(0, np.pi)
        step = np.array([np.cos(angle), np.sin(angle)]) * random.uniform(4, 14)
        start, end = np.rint(middle - step).astype(int), np.rint(middle + step).astype(int)
        cv2.line(broken, start.tolist(), end.tolist(), 0, int(random.integers(1, 4)))
    return broken


def cut_at_border(drawn: Gray, random: Random, most: float = 1 / 12) -> Gray:
    """Return the picture cropped close to the digit, up to the share `most` of it lost at one side."""
    left, top, width, height = cv2.boundingRect(cv2.threshold(drawn, 100, 255, cv2.THRESH_BINARY)[1])
    if min(width, height) < 6:
        return drawn
    cuts = [0, 0, 0, 0]
    side = int(random.integers(4))
    cuts[side] = int(random.uniform(0.0, most) * (width if side % 2 else height))
    return drawn[top + cuts[0] : top + height - cuts[2], left + cuts[1] : left + width - cuts[3]]


def lower_resolution(drawn: Gray, random: Random) -> Gray:
    """Return the picture at a low resolution, grey or black and white."""
    height, width = drawn.shape
    scale = random.uniform(15.0, 30.0) / max(height, width)
    size = (max(4, round(width * scale)), max(4, round(height * scale)))
    if random.random() < 0.25:
        # Forms that are stretched to a square box, as old number tables are.
        drawn = cut_at_border(drawn, random, most=0.0)
        size = (max(8, round(max(size) * random.uniform(0.6, 1.0))), max(size))
    if random.random() < 0.25:
        return cv2.resize(drawn, size, interpolation=cv2.INTER_NEAREST)  # breaks thin strokes into dots
    small = cv2.resize(drawn, size, interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        return cv2.threshold(small, int(random.integers(60, 150)), 255, cv2.THRESH_BINARY)[1]
    return small


def photograph(drawn: Gray, random: Random) -> Gray:
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


def non_digit(
    images: Gray, labels: NDArray[np.uint8], random: Random, what: Augmentation, hands: Hands
) -> Gray:
    """Return a (28, 28) picture that is no digit: letters, strokes drawn at random, or MNIST's pieces."""
    if random.random() < what.letters:
        return _any_of(hands.letters, random)
    kind = random.random()
    if kind < 0.5:
        return draw_other(random)
    if kind < 0.65:
        return _scribble(random)
    first = images[int(random.integers(len(images)))]
    if kind < 0.79:
        return _side_by_side(first, images[int(random.integers(len(images)))], random)
    if kind < 0.83:
        return _halves(first, images[int(random.integers(len(images)))], random)
    if kind < 0.88:
        crossed: Gray = first.copy()
        for _ in range(int(random.integers(2, 6))):
            points = random.uniform(3.0, 25.0, (2, 2))
            _stroke(crossed, points, int(random.integers(1, 4)), random)
        return crossed
    if kind < 0.94:
        return _mirrored(images, labels, random)
    return _texture(random)


def _scribble(random: Random) -> Gray:
    drawn = np.zeros((28, 28), np.uint8)
    width = int(random.integers(1, 4))
    for _ in range(int(random.integers(1, 5))):
        count = int(random.integers(2, 9))
        if random.random() < 0.5:
            points = random.uniform(4.0, 24.0, (count, 2))
        else:
            points = np.cumsum(random.normal(0.0, 4.5, (count, 2)), axis=0)
            points += 14.0 - points.mean(axis=0)
        if random.random() < 0.6 and count > 2:
            t = np.linspace(0.0, count - 1.0, 8 * count)
            points = np.stack([np.interp(t, np.arange(count), points[:, k]) for k in (0, 1)], axis=1)
            kernel = np.ones(7) / 7
            padded = np.pad(points, ((3, 3), (0, 0)), mode="edge")
            points = np.stack([np.convolve(padded[:, k], kernel, "valid") for k in (0, 1)], axis=1)
        closed = random.random() < 0.2
        cv2.polylines(drawn, [np.rint(points * 16).astype(np.int32)], closed, 255, width, cv2.LINE_AA, 4)
    return drawn


def _side_by_side(first: Gray, second: Gray, random: Random) -> Gray:
    """Two digits, touching or apart, in one frame."""
    halves = [cv2.resize(_cropped(part), (13, 22), interpolation=cv2.INTER_AREA) for part in (first, second)]
    pair = np.zeros((28, 28), np.uint8)
    overlap = int(random.integers(0, 3))
    for place, half in enumerate(halves):
        left = overlap if place == 0 else 15 - overlap
        rise = int(random.integers(0, 6))
        area = pair[rise : rise + 22, left : left + 13]
        np.maximum(area, half, out=area)
    return pair


def _cropped(digit: Gray) -> Gray:
    left, top, width, height = cv2.boundingRect(digit)
    return digit[top : top + max(height, 1), left : left + max(width, 1)]


def _halves(first: Gray, second: Gray, random: Random) -> Gray:
    """Glue the upper part of one digit to the lower part of another, which is turned."""
    turned = np.ascontiguousarray(np.rot90(second, int(random.integers(1, 4))))
    line = int(random.integers(10, 18))
    glued = np.concatenate((first[:line], turned[line:]))
    return np.ascontiguousarray(glued.T if random.random() < 0.5 else glued)


def _mirrored(images: Gray, labels: NDArray[np.uint8], random: Random) -> Gray:
    """Mirror a digit or lay it on its side, of those that are no digit then."""
    for _ in range(20):
        index = int(random.integers(len(images)))
        if labels[index] in (3, 4, 7, 9):
            break
    digit = images[index]
    if labels[index] in (3, 4) and random.random() < 0.5:
        return np.ascontiguousarray(np.rot90(digit, 1 if random.random() < 0.5 else 3))
    return np.ascontiguousarray(digit[:, ::-1])


def _texture(random: Random) -> Gray:
    """Blobs and grain, as a threshold makes of a photo."""
    cells = int(random.integers(3, 12))
    field = random.uniform(0.0, 255.0, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(field, (28, 28), interpolation=cv2.INTER_CUBIC)
    limit = float(np.quantile(smooth, random.uniform(0.4, 0.8)))
    return np.asarray(np.where(smooth > limit, 255, 0), np.uint8)
