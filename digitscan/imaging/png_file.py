"""The chunks of a PNG: what Pillow does not check, and what it refuses though no pixel depends on it.

Specification: "Portable Network Graphics (PNG) Specification" (W3C).
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from digitscan.errors import ImageError
from digitscan.imaging.formats import MAX_IMAGE_FILE_BYTES

MAX_METADATA_BYTES = 16 << 20
"""Texts and colour profiles up to this size are read, for the orientation that they may hold."""
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
"""The whole IEND chunk: length, type and checksum."""

_SIGNATURE_BYTES = 8
_PIXEL_CHUNKS = frozenset([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"])
"""The chunks that the pixels depend on."""
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: the first column and row, and the steps to the next ones."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Channels of each colour type."""
_PIECE_BYTES = 1 << 20


def verify_checksums(file: IO[bytes]) -> None:
    """Raise ImageError if a chunk of pixel data is cut off or has a wrong checksum.

    Pillow would return wrong pixels. The file is at its start again afterwards.
    """
    for length, chunk_type in _iterate_chunks(file):
        if chunk_type != b"IDAT":
            continue
        checksum = zlib.crc32(chunk_type)
        for piece in _read_pieces(file, length):
            checksum = zlib.crc32(piece, checksum)
            length -= len(piece)
        stored = file.read(4)
        if length or len(stored) < 4:
            raise ImageError("truncated PNG")
        if checksum.to_bytes(4) != stored:
            raise ImageError("damaged PNG: its checksum is wrong")
    file.seek(0)


def remove_metadata(file: IO[bytes]) -> io.BytesIO:
    """Return a PNG with nothing but its pixels: no texts, colour profile, orientation or further frames."""
    file.seek(0)
    parts = [file.read(_SIGNATURE_BYTES)]
    for length, chunk_type in _iterate_chunks(file):
        if chunk_type in _PIXEL_CHUNKS and length <= MAX_IMAGE_FILE_BYTES:
            parts.append(struct.pack(">I", length) + chunk_type + file.read(length + 4))
    parts.append(PNG_END)
    return io.BytesIO(b"".join(parts))


def lacks_rows(file: IO[bytes]) -> bool:
    """Return whether a PNG has fewer rows than its header says: Pillow fills up with zeros."""
    file.seek(16)
    width, height, bit_depth, colour_type, _, _, is_interlaced = struct.unpack(">IIBBBBB", file.read(13))
    pixel_bits = bit_depth * _CHANNELS[colour_type]
    row_bytes: int = sum(
        rows * (1 + (columns * pixel_bits + 7) // 8)
        for columns, rows in _find_passes(width, height, is_interlaced)
        if columns
    )
    try:
        return _inflate(file, row_bytes) < row_bytes
    except zlib.error:
        return True


def _inflate(file: IO[bytes], max_bytes: int) -> int:
    """Return how many bytes the image data holds, up to `max_bytes`. Raises zlib.error."""
    inflater = zlib.decompressobj()
    size = 0
    # The last, empty piece makes zlib return what it still holds.
    for data in itertools.chain(_iterate_image_data(file), [b""]):
        while size < max_bytes and (
            inflated := inflater.decompress(data, min(max_bytes - size, _PIECE_BYTES))
        ):
            size += len(inflated)
            data = inflater.unconsumed_tail
    return size


def _find_passes(width: int, height: int, is_interlaced: bool) -> list[tuple[int, int]]:
    """Return the width and height of each pass: the whole picture, or seven parts of it."""
    if not is_interlaced:
        return [(width, height)]
    return [
        (-(-(width - column) // column_step), -(-(height - row) // row_step))
        for column, row, column_step, row_step in _PASSES
    ]


def _iterate_image_data(file: IO[bytes]) -> Iterator[bytes]:
    for length, chunk_type in _iterate_chunks(file):
        if chunk_type == b"IDAT":
            yield from _read_pieces(file, length)


def _iterate_chunks(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield the length and type of each chunk up to the last, with the file at the chunk's contents."""
    position = _SIGNATURE_BYTES
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        length, chunk_type = struct.unpack(">I4s", head)
        if chunk_type == b"IEND":
            return
        yield length, chunk_type
        position += length + 12


def _read_pieces(file: IO[bytes], length: int) -> Iterator[bytes]:
    while length and (piece := file.read(min(length, _PIECE_BYTES))):
        yield piece
        length -= len(piece)
