"""What a worker does with the images of a training: decode and preprocess, without classifying them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, NamedTuple

from digitscan.imaging.formats import MAX_MEGAPIXELS
from digitscan.system.resources import limit_memory
from digitscan.workers.image_processor import (
    BASE_MEMORY_BYTES,
    MEMORY_BYTES_PER_PIXEL,
    ProcessFiles,
    SetCurrent,
    describe_error,
)
from digitscan.workers.protocol import FileLocation

if TYPE_CHECKING:
    from digitscan.imaging.decoded_image import DecodedImage
    from digitscan.imaging.preprocess import Preprocessed


class PreprocessedRow(NamedTuple):
    """What became of one file."""

    pixels: str | None
    """The 28x28 pixels, uint8, in base64; None if there is no digit or the file cannot be read."""
    reason: str
    """Why there are no pixels; else empty."""


def load_preprocessor() -> ProcessFiles:
    """Return what reads files. The memory of this process is limited as that of a scan's worker."""
    import cv2

    limit_memory(BASE_MEMORY_BYTES + int(MEMORY_BYTES_PER_PIXEL * 1e6 * MAX_MEGAPIXELS))
    cv2.setNumThreads(1)
    return _preprocess_files


def _preprocess_files(files: list[FileLocation], set_current: SetCurrent) -> list[PreprocessedRow]:
    rows = []
    for index, file in enumerate(files):
        set_current(index)
        try:
            _, result = read_image(file)
        except Exception as error:
            rows.append(PreprocessedRow(None, describe_error(error)))
            continue
        if result.pixels is None:
            rows.append(PreprocessedRow(None, result.rejection or "no digit"))
        else:
            rows.append(PreprocessedRow(base64.b64encode(result.pixels.tobytes()).decode(), ""))
    return rows


def read_image(
    file: FileLocation, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[DecodedImage, Preprocessed]:
    """Return an image, and what a scan sees in it. Raises ImageError, and whatever a bug raises.

    The path of the file must not be in a `folder`.

    A large JPEG is decoded at a reduced scale first, and again at a larger one if its digit is small.
    """
    from digitscan.imaging.decode import decode_image
    from digitscan.imaging.decoded_image import MIN_SHORT_SIDE_CLOSE_UP
    from digitscan.imaging.preprocess import MIN_DIGIT_SIZE, preprocess

    image = decode_image(file.path, max_megapixels, page=file.page)
    result = preprocess(image.pixels)
    if image.is_reduced and 0 < result.digit_size < MIN_DIGIT_SIZE:
        close_up = decode_image(file.path, max_megapixels, MIN_SHORT_SIDE_CLOSE_UP, page=file.page)
        image = image._replace(pixels=close_up.pixels)
        result = preprocess(image.pixels)
    return image, result
