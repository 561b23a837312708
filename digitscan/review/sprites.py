"""Sprites: one PNG for the pictures of many rows, so that a page of 100,000 rows has 1,000 files.

Each row has a place of its own, in which its picture is left and what the model saw right of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.normalize import IMAGE_SIZE
from digitscan.review.explanation import explain_images
from digitscan.workers.protocol import FileLocation

if TYPE_CHECKING:
    from digitscan.model.registry import Model


class Place(NamedTuple):
    """The size of a row's place in a sprite, in pixels."""

    width: int
    """Of the picture."""
    height: int
    input_side: int
    """Of what the model saw, which is square; 0 if that is not shown."""


DIGIT_PLACE = Place(104, 104, IMAGE_SIZE)
NUMBER_PLACE = Place(224, 104, 0)
ROWS_PER_SPRITE = 100
COLUMNS_PER_SPRITE = 10
SPRITES_AT_A_TIME = 20
"""So many are made of pictures that are in memory at one time."""
BACKGROUND = 136
"""The gray beside a picture that is no square."""
NO_PICTURE, ONLY_PICTURE, BOTH_PICTURES = "0", "1", "2"


class Sprite(NamedTuple):
    """A PNG, and for each of its rows one character: whether there is a picture, and what the model saw."""

    png: bytes
    has_picture: str


def make_sprites(
    pictures: Sequence[FileLocation], model: Model, place: Place = DIGIT_PLACE
) -> Iterator[Sprite]:
    """Yield the sprites of the pictures in order. Raises ModelError, and DigitscanError as a scan does."""
    step = ROWS_PER_SPRITE * SPRITES_AT_A_TIME
    for start in range(0, len(pictures), step):
        part = pictures[start : start + step]
        explanations = explain_images(part, model, picture_side=place.width, findings=False)
        for first in range(0, len(explanations), ROWS_PER_SPRITE):
            shown = explanations[first : first + ROWS_PER_SPRITE]
            yield _draw([(each.picture, each.model_input) for each in shown], place)


def _draw(
    pictures: Sequence[tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]], place: Place
) -> Sprite:
    """Return the sprite of some pictures and of what the model saw of each."""
    width = place.width + place.input_side
    rows = -(-len(pictures) // COLUMNS_PER_SPRITE)
    sprite = np.full((rows * place.height, COLUMNS_PER_SPRITE * width), BACKGROUND, np.uint8)
    flags = []
    for index, (picture, model_input) in enumerate(pictures):
        top, left = (index // COLUMNS_PER_SPRITE) * place.height, (index % COLUMNS_PER_SPRITE) * width
        shows_input = model_input is not None and place.input_side > 0
        input_flag = BOTH_PICTURES if shows_input else ONLY_PICTURE
        flags.append(NO_PICTURE if picture is None else input_flag)
        if picture is not None:
            fitted = _fit(picture, place)
            y = top + (place.height - fitted.shape[0]) // 2
            x = left + (place.width - fitted.shape[1]) // 2
            sprite[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
        if model_input is not None and shows_input:
            x = left + place.width
            sprite[top : top + IMAGE_SIZE, x : x + IMAGE_SIZE] = model_input
    return Sprite(cv2.imencode(".png", sprite)[1].tobytes(), "".join(flags))


def _fit(picture: NDArray[np.uint8], place: Place) -> NDArray[np.uint8]:
    """Return the picture as large as it fits into its place; a small one is enlarged."""
    height, width = picture.shape
    scale = min(place.width / width, place.height / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=interpolation), np.uint8)
