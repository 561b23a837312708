"""Tell whether a part of a picture is missing: decoders fill it with something, and raise no error.

- libjpeg prints a warning to stderr. OpenCV lets it; Pillow silences it, so its JPEGs are decoded here again.
- libtiff prints likewise for fax data. Of deflated data it does not read the checksum.

What no decoder notices remains unseen: a changed byte where the data has no checksum and stays decodable, as
in JPEG, lossy WebP, GIF and BMP. `png_file` does the same for PNG. Specifications: ITU-T T.81
(JPEG) and "TIFF Revision 6.0" with Adobe's technical notes.
"""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.formats import MAX_IMAGE_FILE_BYTES
from digitscan.imaging.jpeg_file import (
    APPLICATION_SEGMENTS,
    COMMENT,
    HUFFMAN_TABLES,
    PROGRESSIVE_FRAME,
    START_OF_SCAN,
    iterate_segments,
)
from digitscan.system.native_stderr import call_with_native_stderr

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

_LOST_JPEG_DATA = re.compile(
    rb"[Pp]remature end|bad Huffman code|bad arithmetic code|found marker|Inconsistent progression"
)
"""Warnings of libjpeg that tell of lost data."""
_JPEG_METADATA = frozenset([*APPLICATION_SEGMENTS, COMMENT])
_JPEG_SEQUENTIAL_SCAN = b"\x00\x3f\x00"
"""The end of a scan's header if it is not progressive: all coefficients, in full precision."""
_JPEG_END_OF_DATA = re.compile(rb"(\xff[\xd0-\xd7\xd9])")
"""Restart markers and the end of the image."""
_ERASED_BYTES = bytes(16)
"""No more than 4 zeros together are in sound scans whose tables give a blank block other bits."""

_TIFF_COMPRESSION, _TIFF_JPEG_TABLES = 259, 347
_TIFF_OFFSETS_AND_COUNTS = ((273, 279), (324, 325))
"""Tags of strips and of tiles."""
_TIFF_JPEG = 7
_TIFF_FAX = frozenset([2, 3, 4])
TIFF_DEFLATE = frozenset([8, 32946])
"""Values of the tag that names the compression."""
_LOST_FAX_DATA = re.compile(rb"Fax\w+: (Premature EOL|Bad code word|Line length mismatch|Uncompressed data)")
_MAX_FAX_ROWS = 1 << 16
"""libtiff may print a line for each row."""
_MAX_BYTES_PER_PIXEL = 32
"""Four samples of 64 bits."""
_MAX_TILE_BYTES = 64 << 20
"""What tiles may have beyond the edges of a picture."""
_CHUNK_BYTES = 1 << 20


# --- JPEG -------------------------------------------------------------------------------------------


def decode_jpeg(data: bytes, flags: int) -> tuple[NDArray[Any] | None, bool]:
    """Decode with OpenCV; return the pixels, or None, and whether it says that a part of them is missing."""
    pixels, warning = _call_opencv(data, flags)
    return pixels, bool(warning) and _is_warning_of_loss(warning, data)


def is_damaged_jpeg(data: bytes) -> bool:
    """Return whether a part of a JPEG is missing, as far as the decoder can tell."""
    return decode_jpeg(data, cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)[1]


def _call_opencv(data: bytes, flags: int) -> tuple[NDArray[Any] | None, bytes]:
    """Return the pixels, or None if the image cannot be decoded, and what was printed."""
    try:
        return call_with_native_stderr(cv2.imdecode, np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None, b""


def _is_warning_of_loss(warning: bytes, data: bytes) -> bool:
    """Tell whether there is a warning of lost data. libjpeg prints only the first warning of an image."""
    return _LOST_JPEG_DATA.search(warning) is not None or _has_warning(_remove_harmless_oddities(data))


def _has_warning(data: bytes) -> bool:
    return bool(_call_opencv(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)[1])


def _remove_harmless_oddities(data: bytes) -> bytes:
    """Return a JPEG without what sound files have, and what libjpeg warns of all the same.

    That is metadata of unknown versions, bytes between the segments of the header, a sequential scan with
    another range of coefficients, and zeros that fill the data of a scan up: cameras write all of them. Other
    bytes that are left over at the end of a scan mean that the decoder has lost its place.
    """
    parts = [data[:2]]
    is_progressive = False
    for marker, start, end in iterate_segments(data):
        if marker == START_OF_SCAN:
            header = data[start:end]
            parts.append(header if is_progressive else header[:-3] + _JPEG_SEQUENTIAL_SCAN)
            parts.extend(_remove_zero_padding(data[end:]))
            break
        is_progressive |= marker == PROGRESSIVE_FRAME
        if marker not in _JPEG_METADATA:
            parts.append(data[start:end])
    return b"".join(parts)


def _remove_zero_padding(scans: bytes) -> Iterator[bytes]:
    """Yield the restart and end markers of scans, and the pieces between them, without zeros at their end."""
    for piece in _JPEG_END_OF_DATA.split(scans):
        unpadded = piece.rstrip(b"\0")
        # A data byte of 255 is followed by a 0.
        yield unpadded + b"\0" if unpadded.endswith(b"\xff") and len(unpadded) < len(piece) else unpadded


def has_erased_bytes(data: bytes, start: int, end: int) -> bool:
    """Tell whether zeros were written over a part of a sequential scan, which begins and ends there.

    A decoder reads zeros as some noise and goes on. Lost sectors of a disk and lost blocks of a transfer
    become zeros.
    """
    if data.find(_ERASED_BYTES, start, end) < 0 or _codes_blank_blocks_as_zeros(data):
        return False
    # Cameras fill up with zeros what the decoder does not read.
    pieces = _remove_zero_padding(data[start:end])
    return any(_ERASED_BYTES in piece for piece in pieces) or _has_warning(_remove_harmless_oddities(data))


def _codes_blank_blocks_as_zeros(data: bytes) -> bool:
    """Tell whether in each of a JPEG's AC tables the shortest code, which is all zeros, ends a block."""
    for marker, start, end in iterate_segments(data):
        position = start + 4
        while marker == HUFFMAN_TABLES and position + 17 < end:
            is_for_ac = data[position] >> 4 == 1
            if is_for_ac and data[position + 17] != 0:
                return False
            position += 17 + sum(data[position + 1 : position + 17])
    return True


# --- TIFF -------------------------------------------------------------------------------------------


def is_damaged_tiff(image: PillowImage, file: IO[bytes]) -> bool:
    """Return whether a part of a TIFF that Pillow has loaded without an error is missing."""
    tags = cast("TiffImageFile", image).tag_v2
    compression = tags.get(_TIFF_COMPRESSION)
    # Tags of another type than theirs are Pillow's concern.
    with contextlib.suppress(OSError, ValueError, TypeError, OverflowError):
        if compression == _TIFF_JPEG:
            tables = bytes(tags.get(_TIFF_JPEG_TABLES, b""))
            # The tables are a JPEG without a picture: their end and the strip's beginning make way.
            strips = (tables[:-2] + strip[2:] if tables else strip for strip in read_strips(tags, file))
            return any(is_damaged_jpeg(strip) for strip in strips)
        if compression in TIFF_DEFLATE:
            return _has_damaged_deflate_data(read_strips(tags, file), image.width * image.height)
        if compression in _TIFF_FAX and image.height <= _MAX_FAX_ROWS:
            file.seek(0)
            _, warnings = _call_opencv(file.read(MAX_IMAGE_FILE_BYTES), cv2.IMREAD_GRAYSCALE)
            return bool(_LOST_FAX_DATA.search(warnings))
    return False


def read_strips(tags: ImageFileDirectory_v2, file: IO[bytes]) -> Iterator[bytes]:
    """Yield the compressed strips or tiles of a TIFF, up to the limit of a file's size."""
    budget = MAX_IMAGE_FILE_BYTES
    for offsets_tag, counts_tag in _TIFF_OFFSETS_AND_COUNTS:
        for offset, count in zip(tags.get(offsets_tag, ()), tags.get(counts_tag, ()), strict=False):
            file.seek(offset)
            strip = file.read(min(count, budget))
            budget -= len(strip)
            if len(strip) == count:
                yield strip


def _has_damaged_deflate_data(strips: Iterable[bytes], pixel_count: int) -> bool:
    """Tell whether the data of a strip is incomplete or has a wrong checksum. libtiff does not read it."""
    budget = _MAX_BYTES_PER_PIXEL * pixel_count + _MAX_TILE_BYTES
    for strip in strips:
        inflater = zlib.decompressobj()
        data = strip
        while not inflater.eof:
            try:
                inflated = inflater.decompress(data, _CHUNK_BYTES)
            except zlib.error:
                return True
            data = inflater.unconsumed_tail
            budget -= len(inflated)
            if budget < 0:  # more than there can be in a picture of this size
                return False
            if not inflated and not data:
                return True
    return False
