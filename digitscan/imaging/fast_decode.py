"""Decode plain PNG and JPEG files with OpenCV: a second implementation, for speed.

The first one is Pillow's, in `decode`, and the tests hold the pixels of the two equal on many files, whole
and damaged. On one core the fast path takes a quarter of Pillow's time for a 28x28 PNG, and all of it for
256x256, so larger PNGs are left to Pillow; a third to a half for a 200x200 JPEG, and nine tenths for one of
2000x2000. A scan of plain files does not import Pillow either.

OpenCV returns half an image for an incomplete file, and no error. So a file takes the fast path only if it is
surely complete and has nothing that Pillow would treat in another way:

- an 8-bit gray PNG without transparency, interlacing or EXIF, with all checksums right and all rows there;
- a gray JPEG, or one in colour whose luminance has full contrast, of Huffman-coded 8-bit samples, without
  EXIF or colour profile, with no foreign marker in its scans and the end marker as its last bytes.

For any other PNG `decode` uses Pillow, and for a JPEG that is not complete. For a complete one that has EXIF,
a colour profile, something behind its end, or little contrast, it uses Pillow for these and for the colours,
and OpenCV for the luminance.
Specifications: "Portable Network Graphics (PNG) Specification" (W3C) and ITU-T T.81 (JPEG).
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.damage import decode_jpeg, has_erased_bytes
from digitscan.imaging.jpeg_file import (
    APPLICATION_SEGMENTS,
    COMMENT,
    END_OF_IMAGE,
    HUFFMAN_TABLES,
    PROGRESSIVE_FRAME,
    START_OF_SCAN,
)
from digitscan.imaging.png_file import PNG_END

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
"""A PNG's signature, and the length and type of its first chunk."""
JPEG_START = b"\xff\xd8\xff"
"""A JPEG's first marker, start of image, and the first byte of the next one."""

_MAX_PNG_PIXELS = 1 << 16
"""A PNG is inflated twice, once to check that it is complete. For larger ones, Pillow is faster."""
_PNG_GRAY_8 = b"\x08\x00\x00\x00\x00"
"""The end of an IHDR chunk: bit depth 8, gray, no interlacing."""
_PNG_IGNORED_CHUNKS = frozenset([b"IHDR", b"gAMA", b"pHYs", b"sRGB", b"tEXt", b"tIME", b"cHRM", b"bKGD"])
"""Chunks that do not change the pixels that Pillow returns."""
_PNG_EXIF_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
"""Keywords of texts in which Pillow finds an EXIF orientation; ImageMagick writes such texts."""
_PNG_MAX_FILTER = 4
"""The largest filter type, which is the first byte of each row."""

_JPEG_START_OF_FRAME = frozenset([0xC0, 0xC1, PROGRESSIVE_FRAME])
"""Markers of baseline, extended sequential and progressive frames with Huffman coding."""
_JPEG_PLAIN_MARKERS = _JPEG_START_OF_FRAME | {
    START_OF_SCAN,
    HUFFMAN_TABLES,
    COMMENT,
    APPLICATION_SEGMENTS[0],  # JFIF header
    0xDB,  # DQT: quantization tables
    0xDD,  # DRI: restart interval
}
_JPEG_METADATA_MARKERS = frozenset(APPLICATION_SEGMENTS[1:])
_JPEG_HEADER_BYTES = 10
"""Bytes of a frame header up to its number of components; a complete file has as many from each marker on."""
_JPEG_FOREIGN_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")
"""A marker in the data of a scan that is no restart marker. A data byte of 255 is followed by a 0."""
_JPEG_FOREIGN_MARKER_PROGRESSIVE = re.compile(rb"\xff[^\x00\xd0-\xd7\xc4\xda]")
"""The same for several scans: each begins with its own marker, and Huffman tables may precede it."""
_FULL_CONTRAST = 154
"""Gray levels. No channel has clearly more contrast, as `decode` defines it: 1.5 * 154 + 24 = 255."""


class DecodedJpeg(NamedTuple):
    """A decoded JPEG: its luminance, and how that differs from what the file holds."""

    pixels: NDArray[Any]
    """(height, width) uint8."""
    is_reduced: bool
    """Whether it was decoded at a reduced scale."""
    is_damaged: bool
    """Whether the decoder tells that a part of it is missing."""
    shows_all_ink: bool
    """Whether the file has no colours, or none that may show more than the luminance."""
    is_plain: bool
    """Whether there is nothing else in the file that Pillow would look at."""


class _JpegLayout(NamedTuple):
    width: int
    height: int
    component_count: int
    is_progressive: bool
    data_start: int
    """Where the first scan's marker is."""
    data_end: int
    """Where the end marker is."""
    is_plain: bool


def decode_plain_png(data: bytes, max_megapixels: float) -> NDArray[Any] | None:
    """Return the pixels of a complete 8-bit gray PNG, (height, width) uint8; None for any other file.

    `data` begins with `PNG_START`.
    """
    if data[24:29] != _PNG_GRAY_8:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    if not 0 < width * height <= min(_MAX_PNG_PIXELS, max_megapixels * 1e6):
        return None
    compressed = _join_image_data(data)
    if compressed is None or not _has_all_rows(compressed, width, height):
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels if pixels is not None and pixels.shape == (height, width) else None


def _join_image_data(data: bytes) -> bytes | None:
    """Return the contents of a PNG's IDAT chunks; None if a chunk is damaged, or may change the pixels."""
    position, compressed = 8, b""
    while not data.startswith(PNG_END, position):
        if position + 12 > len(data):
            return None
        length, chunk_type = struct.unpack_from(">I4s", data, position)
        end = position + 8 + length
        if end + 4 > len(data) or zlib.crc32(data[position + 4 : end]).to_bytes(4) != data[end : end + 4]:
            return None
        if chunk_type == b"IDAT":
            compressed += data[position + 8 : end]
        elif chunk_type not in _PNG_IGNORED_CHUNKS or data.startswith(_PNG_EXIF_TEXTS, position + 8):
            return None
        position = end + 4
    return compressed


def _has_all_rows(compressed: bytes, width: int, height: int) -> bool:
    """Tell whether a PNG's image data is complete: a filter type and 8-bit pixels for each row, no more."""
    size = height * (width + 1)
    inflater = zlib.decompressobj()
    try:
        rows = inflater.decompress(compressed, size + 1)
    except zlib.error:
        return False
    return len(rows) == size and inflater.eof and max(rows[:: width + 1]) <= _PNG_MAX_FILTER


def decode_complete_jpeg(data: bytes, max_megapixels: float, min_short_side: int) -> DecodedJpeg | None:
    """Return the luminance of a JPEG whose scans are complete, whatever else is in it; else None.

    `data` begins with `JPEG_START`. A large image is decoded at the smallest scale of 1/2, 1/4 and 1/8 whose
    shorter side is still at least `min_short_side` pixels. EXIF orientation is not applied.
    """
    layout = _find_layout(data)
    if layout is None:
        return None
    width, height, component_count, is_progressive, data_start, data_end, is_plain = layout
    if component_count not in {1, 3} or not 0 < width * height <= max_megapixels * 1e6:
        return None
    flags = _choose_scale(min(width, height) // min_short_side) | cv2.IMREAD_IGNORE_ORIENTATION
    pixels, is_damaged = decode_jpeg(data, flags)
    if pixels is None or pixels.ndim != 2:
        return None
    shows_all_ink = component_count == 1
    if not shows_all_ink:
        darkest, brightest, _, _ = cv2.minMaxLoc(pixels)
        shows_all_ink = has_full_contrast(int(darkest), int(brightest))
    if not (is_damaged or is_progressive):
        is_damaged = has_erased_bytes(data, data_start, data_end)
    return DecodedJpeg(pixels, pixels.shape != (height, width), is_damaged, shows_all_ink, is_plain)


def _find_layout(data: bytes) -> _JpegLayout | None:
    """Return where the parts of a JPEG are; None if it is incomplete or not of a known kind.

    `iterate_segments` would pass over bytes between two segments, and would take twice the time.
    """
    position = 2
    frame: tuple[int, int, int, bool] | None = None
    is_plain = True
    while position + _JPEG_HEADER_BYTES <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker not in _JPEG_PLAIN_MARKERS:
            if marker not in _JPEG_METADATA_MARKERS:
                return None
            is_plain = False
        elif marker == START_OF_SCAN:
            if frame is None:
                return None
            end = _find_end_of_image(data, position + 2, frame[3])
            return (
                None if end is None else _JpegLayout(*frame, position, end, is_plain and end + 2 == len(data))
            )
        elif marker in _JPEG_START_OF_FRAME:
            if frame is not None or data[position + 4] != 8:
                return None
            height, width, component_count = struct.unpack_from(">HHB", data, position + 5)
            frame = width, height, component_count, marker == PROGRESSIVE_FRAME
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None


def _find_end_of_image(data: bytes, start: int, is_progressive: bool) -> int | None:
    """Return where the end marker is; None if another one precedes it.

    Damage makes such markers in the scans: Pillow refuses the file, OpenCV fills it with gray.
    """
    marker = _JPEG_FOREIGN_MARKER_PROGRESSIVE if is_progressive else _JPEG_FOREIGN_MARKER
    match = marker.search(data, start)
    return match.start() if match is not None and match[0][1] == END_OF_IMAGE else None


def _choose_scale(factor: int) -> int:
    """Return OpenCV's flag for decoding at the smallest scale that is at least 1 / `factor`."""
    if factor >= 8:
        return cv2.IMREAD_REDUCED_GRAYSCALE_8
    if factor >= 4:
        return cv2.IMREAD_REDUCED_GRAYSCALE_4
    return cv2.IMREAD_REDUCED_GRAYSCALE_2 if factor >= 2 else cv2.IMREAD_GRAYSCALE


def has_full_contrast(low: int, high: int) -> bool:
    """Tell whether luminance from `low` to `high` has so much contrast that colours cannot show more."""
    return high - low >= _FULL_CONTRAST
