"""Decode one image file into a grayscale array, or say in a short phrase why it cannot be read.

Image files are untrusted and may be made to crash a decoder, so a scan calls this in its worker
processes only. Plain PNG and JPEG files take a fast path (`fast_decode`); all others are read by Pillow,
which is imported when it is first needed.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import ImageError
from digitscan.imaging.damage import is_damaged_jpeg, is_damaged_tiff
from digitscan.imaging.fast_decode import (
    JPEG_START,
    PNG_START,
    DecodedJpeg,
    decode_complete_jpeg,
    decode_plain_png,
    has_full_contrast,
)
from digitscan.imaging.formats import (
    MAX_IMAGE_FILE_BYTES,
    MAX_MEGAPIXELS,
    detect_format,
    detect_unread_format,
    make_size_error,
)
from digitscan.imaging.grayscale import (
    apply_exif_orientation,
    find_range,
    is_turned,
    may_be_turned,
    to_pixels,
)
from digitscan.imaging.jpeg_file import is_header_cut
from digitscan.imaging.pages import check_page, count_pictures, cut_mpo_picture
from digitscan.imaging.pdf_file import draw_pdf_page
from digitscan.imaging.pillow_file import limit_pixels, open_image
from digitscan.imaging.png_file import MAX_METADATA_BYTES, lacks_rows, remove_metadata, verify_checksums
from digitscan.imaging.tiff_file import find_pages, select_directory
from digitscan.imaging.tiff_samples import describe_unread_kind, read_samples
from digitscan.prediction import path_to_text
from digitscan.system.files import describe_os_error, read_regular_file
from digitscan.system.native_stderr import call_with_native_stderr

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image as PillowImage

MIN_SHORT_SIDE = 96
"""A large JPEG is decoded at a reduced scale with at least this many pixels on its shorter side."""
MIN_SHORT_SIDE_CLOSE_UP = 384
"""The same for a second reading of an image whose digit is small."""

_MAX_BUFFERED_BYTES = 8 << 20
"""Larger files are read in chunks by Pillow and not held in memory."""
_DAMAGE_NOTE = "damaged: part of the picture is missing"


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


class _Request(NamedTuple):
    """What is wanted of a file; see `decode_image`."""

    max_megapixels: float = MAX_MEGAPIXELS
    min_short_side: int = MIN_SHORT_SIDE
    page: int = 0


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
    request = _Request(max_megapixels, min_short_side, page)
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


def _decode_bytes(data: bytes, request: _Request) -> DecodedImage:
    if data.startswith(PNG_START) and request.page <= 1:
        pixels = decode_plain_png(data, request.max_megapixels)
        if pixels is not None:
            return DecodedImage(pixels, ())
    elif data.startswith(JPEG_START) and request.page <= 1:
        luminance = decode_complete_jpeg(data, request.max_megapixels, request.min_short_side)
        if luminance is not None and luminance.is_plain and luminance.shows_all_ink:
            notes = (_DAMAGE_NOTE,) if luminance.is_damaged else ()
            return DecodedImage(luminance.pixels, notes, luminance.is_reduced, luminance.is_damaged)
        return _decode_with_pillow(io.BytesIO(data), "JPEG", request, luminance)
    return _decode_file(io.BytesIO(data), request)


def _decode_file(file: IO[bytes], request: _Request) -> DecodedImage:
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
        _check_size(_parse_webp_size(head), request.max_megapixels)
    return _decode_with_pillow(file, image_format, request, luminance)


def _decode_pdf(file: IO[bytes], request: _Request) -> DecodedImage:
    image, page_count = draw_pdf_page(file, request.page or 1, request.max_megapixels)
    notes: list[str] = []
    decoded = DecodedImage(to_pixels(image, notes), tuple(notes))
    return _note_further_pictures(decoded, "page", request.page, page_count)


def _decode_tiff(file: IO[bytes], request: _Request) -> DecodedImage:
    offsets = find_pages(file, request.page) if request.page else find_pages(file)
    check_page(request.page, len(offsets))
    if offsets:
        file = select_directory(file, offsets[max(request.page, 1) - 1])
    decoded = _decode_with_pillow(file, "TIFF", request)
    return _note_further_pictures(decoded, "page", request.page, len(offsets))


def _decode_further_jpeg(file: IO[bytes], request: _Request) -> DecodedImage:
    """Decode a picture behind the first of a JPEG file: of an MPO."""
    with _translate_errors(file, "JPEG", request.max_megapixels):
        data = cut_mpo_picture(file, request.page)
    return _decode_bytes(data, request._replace(page=1))


def _note_further_pictures(decoded: DecodedImage, word: str, page: int, count: int) -> DecodedImage:
    """Return the first picture of a file with what is said where there are more, and nobody chose this."""
    if page or count < 2:
        return decoded
    return decoded._replace(notes=(*decoded.notes, f"{word} 1 of {count}"), is_one_of_several=True)


def _decode_with_pillow(
    file: IO[bytes], image_format: str, request: _Request, luminance: DecodedJpeg | None = None
) -> DecodedImage:
    """Decode with Pillow, and raise all its errors as ImageError.

    `luminance` is what OpenCV has decoded of a JPEG.
    """
    with _translate_errors(file, image_format, request.max_megapixels):
        try:
            return _load_grayscale(file, image_format, request, luminance)
        except ImageError:
            raise
        except Exception:
            if image_format == "PNG" and (decoded := _load_odd_png(file, request)):
                return decoded
            if image_format == "TIFF" and (decoded := _load_odd_tiff(file, request.max_megapixels)):
                return decoded
            raise


@contextlib.contextmanager
def _translate_errors(file: IO[bytes], image_format: str, max_megapixels: float) -> Iterator[None]:
    """Raise whatever Pillow raises as ImageError."""
    with limit_pixels(max_megapixels):
        from PIL.Image import DecompressionBombError, DecompressionBombWarning

        try:
            yield
        except (ImageError, MemoryError, DecompressionBombError, DecompressionBombWarning):
            raise
        except Exception as error:
            raise ImageError(_describe_damage(file, image_format, error)) from error


def _load_odd_png(file: IO[bytes], request: _Request) -> DecodedImage | None:
    """Return a PNG that Pillow refuses for its metadata: they are very large or damaged. Else None.

    The first try accepts large ones, because they may hold an orientation. The second leaves them out.
    """
    from PIL import PngImagePlugin

    limit_before = PngImagePlugin.MAX_TEXT_CHUNK
    try:
        PngImagePlugin.MAX_TEXT_CHUNK = MAX_METADATA_BYTES
        with contextlib.suppress(Exception):
            return _load_grayscale(file, "PNG", request)
        with contextlib.suppress(Exception):
            return _load_grayscale(remove_metadata(file), "PNG", request)
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK = limit_before
    return None


def _load_odd_tiff(file: IO[bytes], max_megapixels: float) -> DecodedImage | None:
    """Return a TIFF of samples that Pillow does not know. None if nobody does. Raises ImageError."""
    from PIL import Image

    samples = read_samples(file, max_megapixels)
    if samples is None:
        return None
    bits = "16-bit" if samples.dtype == np.uint16 else "floating point"
    if samples.shape[2] == 1 or samples[..., 1].min() == samples[..., 1].max():
        return DecodedImage(np.ascontiguousarray(samples[..., 0]), (bits,))
    if samples.dtype != np.uint16:
        return None
    notes = [bits]
    image = Image.fromarray(np.ascontiguousarray(samples >> 8).astype(np.uint8), "LA")
    return DecodedImage(to_pixels(image, notes), tuple(notes))


def _load_grayscale(
    file: IO[bytes], image_format: str, request: _Request, luminance: DecodedJpeg | None = None
) -> DecodedImage:
    """Return an image in one channel and upright.

    The luminance of a JPEG is taken as it is, unless its colours may show more.
    """
    notes: list[str] = []
    image = open_image(file, image_format)
    _check_size(image.size, request.max_megapixels)
    if request.page > 1 and image_format != "TIFF":
        check_page(request.page, count_pictures(image, file))
        image.seek(request.page - 1)
        _check_size(image.size, request.max_megapixels)
    size = image.size
    # Pillow turns a TIFF while it loads it, and forgets the orientation.
    is_turned_tiff = image_format == "TIFF" and is_turned(image)
    if luminance is not None and luminance.shows_all_ink:
        pixels, is_reduced = luminance.pixels, luminance.is_reduced
    else:
        if image_format == "JPEG":
            image = _load_jpeg(image, file, request.min_short_side, luminance is not None)
        else:
            # libtiff prints; whoever decodes the next file must not take its messages for theirs.
            call_with_native_stderr(image.load)
        pixels, is_reduced = to_pixels(image, notes), image_format == "JPEG" and image.size != size
    is_damaged = _is_damaged(image, file, pixels) if luminance is None else luminance.is_damaged
    if is_turned_tiff:
        notes.append("rotated by EXIF")
    elif image_format != "TIFF" and may_be_turned(image):
        pixels = apply_exif_orientation(image, pixels, notes)
    if is_damaged:
        notes.insert(0, _DAMAGE_NOTE)
    decoded = DecodedImage(pixels, tuple(notes), is_reduced, is_damaged)
    if request.page or image_format == "TIFF":
        return decoded
    return _note_further_pictures(decoded, "frame", request.page, count_pictures(image, file))


def _load_jpeg(image: PillowImage, file: IO[bytes], min_short_side: int, needs_colours: bool) -> PillowImage:
    """Return a JPEG loaded at a reduced scale, in gray unless its colours are needed or may show more.

    Pillow raises errors for incomplete files, OpenCV does not.
    """
    from PIL import Image

    mode = image.mode
    _request_scale(image, mode if needs_colours else "L", min_short_side)
    image.load()
    if image.mode != mode and not has_full_contrast(*find_range(image)):
        file.seek(0)
        image = Image.open(file, formats=("JPEG",))
        _request_scale(image, mode, min_short_side)
        image.load()
    return image


def _request_scale(image: PillowImage, mode: str, min_short_side: int) -> None:
    """Have the JPEG decoder return `mode` at the smallest scale that is large enough, in less time."""
    short_side = min(image.size)
    wanted = min(short_side, min_short_side)
    # Rounded down: Pillow takes the scale at which neither side is smaller than asked for.
    image.draft(mode, (image.width * wanted // short_side, image.height * wanted // short_side))


def _is_damaged(image: PillowImage, file: IO[bytes], pixels: NDArray[Any]) -> bool:
    """Return whether a part of an image that Pillow has loaded is missing."""
    if image.format == "PNG":
        return _may_lack_rows(image, pixels) and lacks_rows(file)
    if image.format in {"JPEG", "MPO"}:
        file.seek(0)
        data = file.read(MAX_IMAGE_FILE_BYTES)
        return len(data) < MAX_IMAGE_FILE_BYTES and is_damaged_jpeg(data)
    return image.format == "TIFF" and is_damaged_tiff(image, file)


def _may_lack_rows(image: PillowImage, pixels: NDArray[Any]) -> bool:
    """Tell whether one of a PNG's last two rows is all zeros, as the rows that it lacks are.

    If it is interlaced, and lacks some, one of the two may be there.
    """
    rows = pixels[-2:]
    if image.mode == "P" or image.has_transparency_data:  # what a zero looks like depends on the picture
        rows = np.asarray(image.crop((0, max(image.height - 2, 0), image.width, image.height)))
    return not (rows[0].any() and rows[-1].any())


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise make_size_error(width * height, max_megapixels)


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


def _describe_damage(file: IO[bytes], image_format: str, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"truncated {image_format}"
    if image_format == "JPEG":
        file.seek(0)
        if is_header_cut(file.read(MAX_IMAGE_FILE_BYTES)):
            return "truncated JPEG"
    if (
        isinstance(error, UnidentifiedImageError)
        and image_format == "TIFF"
        and (kind := describe_unread_kind(file))
    ):
        return kind
    if isinstance(error, UnidentifiedImageError):
        return f"damaged {image_format}: its header cannot be read"
    return f"damaged {image_format}: its pixels cannot be decoded"
