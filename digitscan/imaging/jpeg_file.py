"""The markers of a JPEG, and the segments of its header.

Specification: ITU-T T.81 (JPEG).
"""

from __future__ import annotations

from collections.abc import Iterator

# The second byte of each marker. The first is 255.
PROGRESSIVE_FRAME = 0xC2
HUFFMAN_TABLES = 0xC4
END_OF_IMAGE = 0xD9
START_OF_SCAN = 0xDA
APPLICATION_SEGMENTS = range(0xE0, 0xF0)
"""APP0, the JFIF header, to APP15: EXIF, colour profiles, further pictures, and what cameras note."""
COMMENT = 0xFE

_BARE_MARKERS = frozenset([0x00, 0x01, *range(0xD0, 0xD9)])
"""Bytes behind 255 after which there is no length: a data byte of 255, TEM, restarts and start of image."""


def iterate_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the second byte of each marker of a header, and where its segment begins and ends.

    Ends with the first scan's header, or before a segment that the end of the data or of the image cuts off.
    Bytes between two segments are passed over, as decoders do.
    """
    position = 2
    while 0 <= (position := data.find(b"\xff", position)) < len(data) - 3:
        marker = data[position + 1]
        if marker == 0xFF:  # any number of them may precede a marker
            position += 1
        elif marker in _BARE_MARKERS:
            position += 2
        else:
            end = position + 2 + int.from_bytes(data[position + 2 : position + 4])
            if marker == END_OF_IMAGE or end > len(data):
                return
            yield marker, position, end
            if marker == START_OF_SCAN:
                return
            position = end


def is_header_cut(data: bytes) -> bool:
    """Return whether a JPEG ends before its first scan: in a segment of the header or between two."""
    position = 2
    for marker, _, end in iterate_segments(data):
        if marker == START_OF_SCAN:
            return False
        position = end
    return len(data) < position + 4 or data[position] == 0xFF
