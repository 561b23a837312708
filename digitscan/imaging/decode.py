"""Decode one image file into a grayscale array, or say in a short phrase why it cannot be read.

Image files are untrusted and may be made to crash a decoder, so a scan calls this in its worker
processes only. Plain PNG and JPEG files take a fast path (`fast_decode`); all others are read by Pillow,
which is imported when it is first needed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
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
from digitscan.imaging.formats import MAX_IMAGE_FILE_BYTES, MAX_MEGAPIXELS, detect_format
from digitscan.imaging.grayscale import (
    apply_exif_orientation,
    find_range,
    is_turned,
    may_be_turned,
    to_pixels,
)
from digitscan.imaging.jpeg_file import is_header_cut
from digitscan.imaging.png_file import MAX_METADATA_BYTES, lacks_rows, remove_metadata, verify_checksums
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


def decode_image(
    source: Path | str | bytes,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_short_side: int = MIN_SHORT_SIDE,
    dir_fd: int | None = None,
) -> DecodedImage:
    """Decode a file, given by its path, or the contents of a file, given as bytes.

    `dir_fd` is an open folder in which the path begins, instead of the current folder.

    The format is recognised by content, not by suffix: PNG, JPEG (and MPO), BMP, GIF, TIFF and WebP. Of
    several frames, the first is decoded. EXIF orientation is applied. Transparent parts are filled with black
    or white, whichever keeps the ink visible. 16 bits are kept. Colour becomes luminance, or the channel with
    the most contrast, if that is clearly more. A large JPEG is decoded at a reduced scale whose shorter side
    is at least `min_short_side` pixels. Where the decoder tells that a part is missing, the result says so.

    Raises ImageError with a short phrase: the reason, and after a colon what may differ between files.
    """
    if isinstance(source, bytes):
        return _decode_bytes(source, max_megapixels, min_short_side)
    try:
        contents = read_regular_file(os.fspath(source), _MAX_BUFFERED_BYTES, dir_fd)
        if isinstance(contents, bytes):
            return _decode_bytes(contents, max_megapixels, min_short_side)
        with io.BufferedReader(contents) as file:
            return _decode_file(file, max_megapixels, min_short_side)
    except OSError as error:
        raise ImageError(describe_os_error(error)) from None


def _decode_bytes(data: bytes, max_megapixels: float, min_short_side: int) -> DecodedImage:
    if data.startswith(PNG_START):
        pixels = decode_plain_png(data, max_megapixels)
        if pixels is not None:
            return DecodedImage(pixels, ())
    elif data.startswith(JPEG_START):
        luminance = decode_complete_jpeg(data, max_megapixels, min_short_side)
        if luminance is not None and luminance.is_plain and luminance.shows_all_ink:
            notes = (_DAMAGE_NOTE,) if luminance.is_damaged else ()
            return DecodedImage(luminance.pixels, notes, luminance.is_reduced, luminance.is_damaged)
        return _decode_with_pillow(io.BytesIO(data), "JPEG", max_megapixels, min_short_side, luminance)
    return _decode_file(io.BytesIO(data), max_megapixels, min_short_side)


def _decode_file(file: IO[bytes], max_megapixels: float, min_short_side: int) -> DecodedImage:
    """Check what Pillow does not check, then decode with Pillow."""
    head = file.read(32)
    file.seek(0)
    image_format = detect_format(head)
    if image_format is None:
        raise ImageError(_describe_unknown_content(head))
    if image_format in {"HEIC", "AVIF"}:
        raise ImageError(f"{image_format} is not supported: convert it to PNG or JPEG")
    luminance = None
    if image_format == "JPEG":
        luminance = decode_complete_jpeg(file.read(MAX_IMAGE_FILE_BYTES), max_megapixels, min_short_side)
    elif image_format == "PNG":
        verify_checksums(file)
    elif image_format == "WEBP":
        # Pillow allocates memory for the whole image before its own check of the size.
        _check_size(_parse_webp_size(head), max_megapixels)
    return _decode_with_pillow(file, image_format, max_megapixels, min_short_side, luminance)


def _decode_with_pillow(
    file: IO[bytes],
    image_format: str,
    max_megapixels: float,
    min_short_side: int,
    luminance: DecodedJpeg | None,
) -> DecodedImage:
    """Decode with Pillow's limit set to `max_megapixels`, and all its errors as ImageError.

    `luminance` is what OpenCV has decoded of a JPEG.
    """
    from PIL import Image

    limit_before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
        try:
            # Pillow registers the other formats itself, but for these two it would import all of its plugins.
            if image_format == "TIFF":
                from PIL import TiffImagePlugin  # noqa: F401  # the import registers the format
            elif image_format == "WEBP":
                from PIL import WebPImagePlugin  # noqa: F401  # the import registers the format
            return _load_grayscale(file, image_format, max_megapixels, min_short_side, luminance)
        except ImageError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            pixel_count = re.search(r"\d+", str(error))
            raise _make_size_error(int(pixel_count[0]) if pixel_count else 0, max_megapixels) from None
        except MemoryError:
            raise ImageError("too large: not enough memory to decode it") from None
        except Exception as error:
            if image_format == "PNG" and (decoded := _load_odd_png(file, max_megapixels)):
                return decoded
            raise ImageError(_describe_damage(file, image_format, error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit_before


def _load_odd_png(file: IO[bytes], max_megapixels: float) -> DecodedImage | None:
    """Return a PNG that Pillow refuses for its metadata: they are very large or damaged. Else None.

    The first try accepts large ones, because they may hold an orientation. The second leaves them out.
    """
    from PIL import PngImagePlugin

    limit_before = PngImagePlugin.MAX_TEXT_CHUNK
    try:
        PngImagePlugin.MAX_TEXT_CHUNK = MAX_METADATA_BYTES
        with contextlib.suppress(Exception):
            return _load_grayscale(file, "PNG", max_megapixels)
        with contextlib.suppress(Exception):
            return _load_grayscale(remove_metadata(file), "PNG", max_megapixels)
    finally:
        PngImagePlugin.MAX_TEXT_CHUNK = limit_before
    return None


def _load_grayscale(
    file: IO[bytes],
    image_format: str,
    max_megapixels: float,
    min_short_side: int = MIN_SHORT_SIDE,
    luminance: DecodedJpeg | None = None,
) -> DecodedImage:
    """Return an image in one channel and upright.

    The luminance of a JPEG is taken as it is, unless its colours may show more.
    """
    from PIL import Image

    notes: list[str] = []
    file.seek(0)
    image: PillowImage = Image.open(file, formats=(image_format,))
    _check_size(image.size, max_megapixels)
    size = image.size
    # Pillow turns a TIFF while it loads it, and forgets the orientation.
    is_turned_tiff = image_format == "TIFF" and is_turned(image)
    if luminance is not None and luminance.shows_all_ink:
        pixels, is_reduced = luminance.pixels, luminance.is_reduced
    else:
        if image_format == "JPEG":
            image = _load_jpeg(image, file, min_short_side, luminance is not None)
        else:
            # libtiff prints; whoever decodes the next file must not take its messages for theirs.
            call_with_native_stderr(image.load)
        pixels, is_reduced = to_pixels(image, notes), image_format == "JPEG" and image.size != size
    is_damaged = _is_damaged(image, file, pixels) if luminance is None else luminance.is_damaged
    if is_turned_tiff:
        notes.append("rotated by EXIF")
    elif image_format != "TIFF" and may_be_turned(image):
        pixels = apply_exif_orientation(image, pixels, notes)
    frame_count = _count_frames(image)
    if frame_count > 1:
        notes.append(f"frame 1 of {frame_count}")
    if is_damaged:
        notes.insert(0, _DAMAGE_NOTE)
    return DecodedImage(pixels, tuple(notes), is_reduced, is_damaged)


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


def _count_frames(image: PillowImage) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is decoded; those behind it may be broken
        return 1


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise _make_size_error(width * height, max_megapixels)


def _make_size_error(pixel_count: int, max_megapixels: float) -> ImageError:
    megapixels = f"{pixel_count / 1e6:,.6g} megapixels"
    return ImageError(f"too large: {megapixels}, --max-megapixels is {max_megapixels:g}")


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
    if head.startswith(b"%PDF"):
        return "not an image: a PDF"
    is_printable = all(byte in b"\t\r\n" or byte >= 32 for byte in head)
    # The last bytes may be half of a character.
    if is_printable and path_to_text(head[:29])[1]:
        return "not an image: text"
    return "not an image: unknown content"


def _describe_damage(file: IO[bytes], image_format: str, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"truncated {image_format}"
    if image_format == "JPEG":
        file.seek(0)
        if is_header_cut(file.read(MAX_IMAGE_FILE_BYTES)):
            return "truncated JPEG"
    if isinstance(error, UnidentifiedImageError):
        return f"damaged {image_format}: its header cannot be read"
    return f"damaged {image_format}: its pixels cannot be decoded"
