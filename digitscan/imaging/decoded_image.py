"""What is wanted of an image file, and what decoding gives."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from digitscan.imaging.formats import (
    MAX_MEGAPIXELS,
)

MIN_SHORT_SIDE = 96
"""A large JPEG is decoded at a reduced scale with at least this many pixels on its shorter side."""
MIN_SHORT_SIDE_CLOSE_UP = 384
"""The same for a second reading of an image whose digit is small."""
DAMAGE_NOTE = "damaged: part of the picture is missing"
"""The note of a picture of which the decoder could not read all."""


class DecodedImage(NamedTuple):
    """A decoded image: its pixels, and how they differ from what the file holds."""

    pixels: NDArray[Any]
    """(height, width) grayscale of any range: uint8, uint16 in native byte order, or float32."""
    notes: tuple[str, ...]
    """Short phrases on what was done, such as "rotated by EXIF"."""
    is_reduced: bool = False
    """Whether it was decoded at a reduced scale: the file holds more pixels."""
    is_damaged: bool = False
    """Whether a part of it is missing, as far as the decoder can tell. What is there instead is arbitrary."""
    is_one_of_several: bool = False
    """Whether the file holds more pictures, and nobody said which one is wanted."""

    @property
    def needs_review(self) -> bool:
        """Whether a person should look at the file, whatever is read in these pixels."""
        return self.is_damaged or self.is_one_of_several


class DecodeRequest(NamedTuple):
    """What is wanted of a file; see `decode_image`."""

    max_megapixels: float = MAX_MEGAPIXELS
    min_short_side: int = MIN_SHORT_SIDE
    page: int = 0


def note_further_pictures(decoded: DecodedImage, word: str, page: int, count: int) -> DecodedImage:
    """Return the first picture of a file with what is said where there are more, and nobody chose this."""
    if page or count < 2:
        return decoded
    return decoded._replace(notes=(*decoded.notes, f"{word} 1 of {count}"), is_one_of_several=True)
