"""Decode an image of one known format with Pillow, with what Pillow alone does not see or refuses.

It opens files in `pillow_file`. What it raises becomes an ImageError with a short phrase.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitscan.errors import ImageError
from digitscan.imaging.damage import is_damaged_jpeg, is_damaged_tiff
from digitscan.imaging.fast_decode import (
    DecodedJpeg,
    has_full_contrast,
)
from digitscan.imaging.formats import (
    MAX_IMAGE_FILE_BYTES,
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
from digitscan.imaging.pages import check_page, count_pictures
from digitscan.imaging.pillow_file import limit_pixels, open_image
from digitscan.imaging.png_file import MAX_METADATA_BYTES, lacks_rows, remove_metadata
from digitscan.imaging.tiff_samples import describe_unread_kind, read_samples
from digitscan.system.native_stderr import call_with_native_stderr

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

from digitscan.imaging.decoded_image import (
    DAMAGE_NOTE,
    DecodedImage,
    DecodeRequest,
    note_further_pictures,
)


def decode_with_pillow(
    file: IO[bytes], image_format: str, request: DecodeRequest, luminance: DecodedJpeg | None = None
) -> DecodedImage:
    """Decode with Pillow, and raise all its errors as ImageError.

    `luminance` is what OpenCV has decoded of a JPEG.
    """
    with translate_pillow_errors(file, image_format, request.max_megapixels):
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
def translate_pillow_errors(file: IO[bytes], image_format: str, max_megapixels: float) -> Iterator[None]:
    """Raise whatever Pillow raises as ImageError."""
    with limit_pixels(max_megapixels):
        from PIL.Image import DecompressionBombError, DecompressionBombWarning

        try:
            yield
        except (ImageError, MemoryError, DecompressionBombError, DecompressionBombWarning):
            raise
        except Exception as error:
            raise ImageError(_describe_damage(file, image_format, error)) from error


def _load_odd_png(file: IO[bytes], request: DecodeRequest) -> DecodedImage | None:
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
    file: IO[bytes], image_format: str, request: DecodeRequest, luminance: DecodedJpeg | None = None
) -> DecodedImage:
    """Return an image in one channel and upright.

    The luminance of a JPEG is taken as it is, unless its colours may show more.
    """
    notes: list[str] = []
    image = open_image(file, image_format)
    check_size(image.size, request.max_megapixels)
    if request.page > 1 and image_format != "TIFF":
        check_page(request.page, count_pictures(image, file))
        image.seek(request.page - 1)
        check_size(image.size, request.max_megapixels)
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
        notes.insert(0, DAMAGE_NOTE)
    decoded = DecodedImage(pixels, tuple(notes), is_reduced, is_damaged)
    if request.page or image_format == "TIFF":
        return decoded
    return note_further_pictures(decoded, "frame", request.page, count_pictures(image, file))


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


def check_size(size: tuple[int, int], max_megapixels: float) -> None:
    """Raise ImageError for a width and height of more pixels than are allowed."""
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise make_size_error(width * height, max_megapixels)


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
