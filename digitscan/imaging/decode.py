"""Decode one image file into a grayscale array, or say in a short phrase why it cannot be read.

Image files are untrusted and may be made to crash a decoder, so a scan calls this in its worker
processes only. Plain PNG and JPEG files take a fast path (`fast_decode`); all others are read by Pillow,
which is imported when it is first needed.
"""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING

from digitscan.errors import ImageError
from digitscan.imaging.fast_decode import (
    JPEG_START,
    PNG_START,
    decode_complete_jpeg,
    decode_plain_png,
)
from digitscan.imaging.formats import (
    MAX_IMAGE_FILE_BYTES,
    MAX_MEGAPIXELS,
    detect_format,
    detect_unread_format,
)
from digitscan.imaging.grayscale import (
    to_pixels,
)
from digitscan.imaging.pages import check_page, cut_mpo_picture
from digitscan.imaging.pdf_file import draw_pdf_page
from digitscan.imaging.png_file import verify_checksums
from digitscan.imaging.tiff_file import find_pages, select_directory
from digitscan.prediction import path_to_text
from digitscan.system.files import describe_os_error, read_regular_file

if TYPE_CHECKING:
    from pathlib import Path


from digitscan.imaging.decoded_image import (
    DAMAGE_NOTE,
    MIN_SHORT_SIDE,
    DecodedImage,
    DecodeRequest,
    note_further_pictures,
)
from digitscan.imaging.pillow_decode import check_size, decode_with_pillow, translate_pillow_errors

_MAX_BUFFERED_BYTES = 8 << 20
"""Larger files are read in chunks by Pillow and not held in memory."""


def decode_image(
    source: Path | str | bytes,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_short_side: int = MIN_SHORT_SIDE,
    dir_fd: int | None = None,
    page: int = 0,
) -> DecodedImage:
    """Decode a file, given by its path, or the contents of a file, given as bytes.

    `dir_fd` is an open folder in which the path begins, instead of the current folder. `page` is which of the
    file's pages or frames is wanted, the first of which is 1; with 0 it is the first, and if there are more,
    the result says so.

    The format is recognised by content, not by suffix: PNG, JPEG (and MPO), BMP, GIF, TIFF, WebP, JPEG 2000,
    AVIF, PBM, PGM, PPM, and with optional libraries HEIC and PDF. EXIF orientation is applied. Transparent
    parts are filled with black or white, whichever keeps the ink visible. 16 bits are kept. Colour becomes
    luminance, or the channel with the most contrast, if that is clearly more. A large JPEG is decoded at a
    reduced scale whose shorter side is at least `min_short_side` pixels. Where the decoder tells that a part
    is missing, the result says so.

    Raises ImageError with a short phrase: the reason, and after a colon what may differ between files.
    """
    request = DecodeRequest(max_megapixels, min_short_side, page)
    if isinstance(source, bytes):
        return _decode_bytes(source, request)
    try:
        contents = read_regular_file(os.fspath(source), _MAX_BUFFERED_BYTES, dir_fd)
        if isinstance(contents, bytes):
            return _decode_bytes(contents, request)
        with io.BufferedReader(contents) as file:
            return _decode_file(file, request)
    except OSError as error:
        raise ImageError(describe_os_error(error)) from None


def _decode_bytes(data: bytes, request: DecodeRequest) -> DecodedImage:
    if data.startswith(PNG_START) and request.page <= 1:
        pixels = decode_plain_png(data, request.max_megapixels)
        if pixels is not None:
            return DecodedImage(pixels, ())
    elif data.startswith(JPEG_START) and request.page <= 1:
        luminance = decode_complete_jpeg(data, request.max_megapixels, request.min_short_side)
        if luminance is not None and luminance.is_plain and luminance.shows_all_ink:
            notes = (DAMAGE_NOTE,) if luminance.is_damaged else ()
            return DecodedImage(luminance.pixels, notes, luminance.is_reduced, luminance.is_damaged)
        return decode_with_pillow(io.BytesIO(data), "JPEG", request, luminance)
    return _decode_file(io.BytesIO(data), request)


def _decode_file(file: IO[bytes], request: DecodeRequest) -> DecodedImage:
    """Check what Pillow does not check, then decode with Pillow."""
    head = file.read(32)
    file.seek(0)
    image_format = detect_format(head)
    luminance = None
    if image_format is None:
        raise ImageError(_describe_unknown_content(head))
    if image_format == "PDF":
        return _decode_pdf(file, request)
    if image_format == "TIFF":
        return _decode_tiff(file, request)
    if image_format == "JPEG" and request.page > 1:
        return _decode_further_jpeg(file, request)
    if image_format == "JPEG":
        data = file.read(MAX_IMAGE_FILE_BYTES)
        luminance = decode_complete_jpeg(data, request.max_megapixels, request.min_short_side)
    elif image_format == "PNG":
        verify_checksums(file)
    elif image_format == "WEBP":
        # Pillow allocates memory for the whole image before its own check of the size.
        check_size(_parse_webp_size(head), request.max_megapixels)
    return decode_with_pillow(file, image_format, request, luminance)


def _decode_pdf(file: IO[bytes], request: DecodeRequest) -> DecodedImage:
    image, page_count = draw_pdf_page(file, request.page or 1, request.max_megapixels)
    notes: list[str] = []
    decoded = DecodedImage(to_pixels(image, notes), tuple(notes))
    return note_further_pictures(decoded, "page", request.page, page_count)


def _decode_tiff(file: IO[bytes], request: DecodeRequest) -> DecodedImage:
    offsets = find_pages(file, request.page) if request.page else find_pages(file)
    check_page(request.page, len(offsets))
    if offsets:
        file = select_directory(file, offsets[max(request.page, 1) - 1])
    decoded = decode_with_pillow(file, "TIFF", request)
    return note_further_pictures(decoded, "page", request.page, len(offsets))


def _decode_further_jpeg(file: IO[bytes], request: DecodeRequest) -> DecodedImage:
    """Decode a picture behind the first of a JPEG file: of an MPO."""
    with translate_pillow_errors(file, "JPEG", request.max_megapixels):
        data = cut_mpo_picture(file, request.page)
    return _decode_bytes(data, request._replace(page=1))


def _parse_webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height from a WebP's first 32 bytes: an extended, lossless or lossy header."""
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _describe_unknown_content(head: bytes) -> str:
    if not head:
        return "empty file"
    is_printable = all(byte in b"\t\r\n" or byte >= 32 for byte in head)
    # The last bytes may be half of a character.
    if is_printable and path_to_text(head[:29])[1]:
        return "not an image: text"
    if unread_format := detect_unread_format(head):
        return f"{unread_format} is not supported: convert it to PNG or JPEG"
    return "not an image: unknown content"
