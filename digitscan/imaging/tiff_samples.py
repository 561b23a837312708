"""Read TIFFs of plain samples that Pillow does not know: 16 or 64 bits of a float, 16-bit gray with alpha.

Programs for measuring and for science write them, mostly without compression. Of what is read neither here
nor by Pillow, `describe_unread_kind` says what it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import ImageError
from digitscan.imaging.damage import TIFF_DEFLATE, read_strips
from digitscan.imaging.formats import make_size_error
from digitscan.imaging.tiff_file import COMPRESSION, read_first_directory

_WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _PREDICTOR, _TILE_OFFSETS, _SAMPLE_FORMAT = (
    256, 257, 258, 262, 277, 284, 317, 324, 339
)  # fmt: skip
_UNCOMPRESSED = 1
_GRAY = (0, 1)
_SAMPLE_KINDS = {1: "u", 2: "i", 3: "f"}
"""NumPy's letter for each sample format: unsigned, signed, float."""
_NAMES_OF_UNREAD_COMPRESSIONS = {33003: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 50002: "JPEG XL"}
"""By the value of their tag. No decoder of ours knows them."""


def read_samples(file: IO[bytes], max_megapixels: float) -> NDArray[Any] | None:
    """Return the gray samples of a TIFF's first directory, (height, width, 1 or 2), the second one alpha.

    They are float32 or uint16. None for any kind of TIFF but those that the module's docstring names. Raises
    ImageError if it is too large, or a part of it is missing.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    directory = read_first_directory(file)
    if directory is None:
        return None
    file.seek(0)
    header = file.read(8)
    tags = ImageFileDirectory_v2(header + file.read(8) if b"+" in header[2:4] else header)  # as in a BigTIFF
    file.seek(directory.offset)
    tags.load(file)
    width, height, samples = tags.get(_WIDTH, 0), tags.get(_LENGTH, 0), tags.get(_SAMPLES, 1)
    dtype = _find_dtype(tags)
    compression = tags.get(COMPRESSION, _UNCOMPRESSED)
    is_plain = (
        (compression == _UNCOMPRESSED or compression in TIFF_DEFLATE)
        and tags.get(_PHOTOMETRIC) in _GRAY
        and samples in (1, 2)
        and (tags.get(_PLANAR, 1) == 1 or samples == 1)
        and tags.get(_PREDICTOR, 1) == 1
        and _TILE_OFFSETS not in tags
    )
    if dtype is None or not is_plain or not width * height > 0:
        return None
    if width * height > max_megapixels * 1e6:
        raise make_size_error(width * height, max_megapixels)
    size = width * height * samples * dtype.itemsize
    data = b"".join(_inflate(read_strips(tags, file), compression in TIFF_DEFLATE, size))
    if len(data) < size:
        raise ImageError("truncated TIFF")
    array = np.frombuffer(data, dtype, width * height * samples).reshape(height, width, samples)
    return array.astype(np.float32 if dtype.kind == "f" else np.uint16)


def _find_dtype(tags: Any) -> np.dtype[Any] | None:
    """Return the type of the samples if it is one that this module reads."""
    bits, kinds = set(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (1,)))
    order = "<" if tags.prefix == b"II" else ">"
    if len(bits) != 1 or len(kinds) != 1:
        return None
    name = f"{_SAMPLE_KINDS.get(kinds.pop(), '?')}{bits.pop() // 8}"
    return np.dtype(order + name) if name in {"u2", "f2", "f4", "f8"} else None


def _inflate(strips: Iterator[bytes], is_deflated: bool, max_bytes: int) -> Iterator[bytes]:
    """Yield the samples of the strips, no more than `max_bytes`. Raises ImageError for damaged ones."""
    for strip in strips:
        if is_deflated:
            try:
                strip = zlib.decompressobj().decompress(strip, max(1, max_bytes))
            except zlib.error:
                raise ImageError("damaged TIFF: its pixels cannot be decoded") from None
        yield strip
        max_bytes -= len(strip)


def describe_unread_kind(file: IO[bytes]) -> str | None:
    """Return what kind of TIFF this is, as a short phrase, if it looks whole and no decoder knows it.

    None if its first directory is no sound one.
    """
    directory = read_first_directory(file)
    if directory is None or not all(directory.get(tag) for tag in (_WIDTH, _LENGTH)):
        return None
    compression = _NAMES_OF_UNREAD_COMPRESSIONS.get(directory.get(COMPRESSION, _UNCOMPRESSED))
    kind = f"{compression} compression" if compression else "samples of this kind"
    return f"TIFF with {kind} is not supported: convert it to PNG or JPEG"
