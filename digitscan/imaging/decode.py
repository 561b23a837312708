"""Open one image file safely into a grayscale array.

This decodes a stranger's bytes, so a scan does it in worker processes, never in its own.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from digitscan.errors import ImageError
from digitscan.imaging.fast_decode import (
    JPEG_START,
    PNG_START,
    decode_plain_jpeg,
    decode_plain_png,
    has_full_contrast,
)
from digitscan.imaging.formats import detect_format
from digitscan.prediction import path_to_text
from digitscan.system.files import describe_os_error, read_regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image as PillowImage

MAX_MEGAPIXELS = 64.0
MIN_SHORT_SIDE = 96
"""A large JPEG is decoded at a reduced scale whose shorter side is at least this."""
MIN_SHORT_SIDE_CLOSE_UP = 384
"""The same for a closer look at a digit that is small in its frame."""

_READ_WHOLE = 8 << 20
_EXIF_KEYS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture: (height, width) grayscale uint8, uint16 or float32, and what was done to it.

    `reduced` tells that the file holds more pixels.
    """

    pixels: NDArray[Any]
    notes: tuple[str, ...]
    reduced: bool = False


def decode_image(
    source: Path | str | bytes,
    max_megapixels: float = MAX_MEGAPIXELS,
    min_short_side: int = MIN_SHORT_SIDE,
) -> DecodedImage:
    """Decode a file, or a file's bytes, into (height, width) grayscale.

    The format is told by content. PNG, JPEG (and MPO), BMP, GIF, TIFF and WebP are read, the first
    frame of several. EXIF orientation is applied, transparency flattened onto black or white,
    whichever keeps the ink visible, 16-bit depth kept. Colour becomes luminance, unless one channel
    has clearly more contrast. A large JPEG is decoded at a reduced scale whose shorter side is at
    least `min_short_side` pixels.

    Returns pixels as uint8, uint16 (native order) or float32. Raises ImageError with a short phrase:
    the reason, and after a colon what differs from file to file.
    """
    if isinstance(source, bytes):
        return _open_bytes(source, max_megapixels, min_short_side)
    try:
        data = read_regular_file(os.fspath(source), _READ_WHOLE)
        if isinstance(data, bytes):
            return _open_bytes(data, max_megapixels, min_short_side)
        with io.BufferedReader(data) as file:
            return _decode(file, max_megapixels, min_short_side)
    except OSError as error:
        raise ImageError(describe_os_error(error)) from None


def _open_bytes(data: bytes, max_megapixels: float, min_short_side: int) -> DecodedImage:
    if data.startswith(PNG_START):
        pixels = decode_plain_png(data, max_megapixels)
        if pixels is not None:
            return DecodedImage(pixels, ())
    elif data.startswith(JPEG_START):
        decoded = decode_plain_jpeg(data, max_megapixels, min_short_side)
        if decoded is not None:
            return DecodedImage(decoded[0], (), decoded[1])
    return _decode(io.BytesIO(data), max_megapixels, min_short_side)


def _check_png_data(file: IO[bytes]) -> None:
    """Compare the checksums of the pixel data, which Pillow does not, and would show other pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            break
        if kind != b"IDAT":
            file.seek(length + 4, io.SEEK_CUR)
            continue
        checksum = zlib.crc32(kind)
        while length and (part := file.read(min(length, 1 << 20))):
            checksum = zlib.crc32(part, checksum)
            length -= len(part)
        stored = file.read(4)
        if len(stored) == 4 and checksum.to_bytes(4) != stored:
            raise ImageError("damaged PNG: its checksum is wrong")
    file.seek(0)


def _decode(file: IO[bytes], max_megapixels: float, min_short_side: int) -> DecodedImage:
    head = file.read(32)
    file.seek(0)
    kind = detect_format(head)
    if kind is None:
        raise ImageError(_no_image(head))
    if kind in {"HEIC", "AVIF"}:
        raise ImageError(f"{kind} is not read: convert it to PNG or JPEG")
    if kind == "PNG":
        _check_png_data(file)
    elif kind == "WEBP":
        # Pillow allocates a WebP's whole canvas before its own size check.
        _check_size(_webp_size(head), max_megapixels)

    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
        try:
            if kind == "TIFF":
                from PIL import TiffImagePlugin  # noqa: F401  # registers the format without loading all others
            elif kind == "WEBP":
                from PIL import WebPImagePlugin  # noqa: F401  # the same
            return _read(file, kind, max_megapixels, min_short_side)
        except ImageError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            pixels = re.search(r"\d+", str(error))
            raise _too_large(int(pixels[0]) if pixels else 0, max_megapixels) from None
        except MemoryError:
            raise ImageError("too large: not enough memory to decode it") from None
        except Exception as error:
            raise ImageError(_damage(kind, error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _read(file: IO[bytes], kind: str, max_megapixels: float, min_short_side: int) -> DecodedImage:
    import numpy as np
    from PIL import Image

    notes: list[str] = []
    image = Image.open(file, formats=(kind,))
    _check_size(image.size, max_megapixels)
    turned = kind == "TIFF" and image.getexif().get(0x0112, 1) in range(2, 9)
    coloured = image.mode not in {"1", "L"}
    size = image.size
    if kind == "JPEG":
        _draft(image, "L", min_short_side)
    image.load()
    if kind == "JPEG" and coloured and image.mode == "L" and not _has_contrast(image):
        file.seek(0)
        image = Image.open(file, formats=(kind,))
        _draft(image, image.mode, min_short_side)
        image.load()
    reduced = kind == "JPEG" and image.size != size
    pixels = np.asarray(_one_channel(image, notes))
    if pixels.dtype == np.int32:
        pixels = pixels.astype(np.float32)
    elif pixels.dtype != np.uint8 and pixels.dtype != np.float32:
        pixels = pixels.astype(np.uint16, copy=False)
    if kind == "TIFF":
        # Pillow has turned it already while loading.
        notes += ["rotated by EXIF"] if turned else []
    elif any(key in image.info for key in _EXIF_KEYS):
        pixels = _turned_by_exif(image, pixels, notes)
    frames = _frames(image)
    if frames > 1:
        notes.append(f"frame 1 of {frames}")
    return DecodedImage(pixels, tuple(notes), reduced)


def _draft(image: PillowImage.Image, mode: str, min_short_side: int) -> None:
    """Ask the JPEG decoder for a smaller scale, which costs a fraction of the time."""
    scale = min_short_side / min(image.size)
    if scale < 1:
        image.draft(mode, (round(image.width * scale), round(image.height * scale)))
    else:
        image.draft(mode, image.size)


def _one_channel(image: PillowImage.Image, notes: list[str]) -> PillowImage.Image:
    if image.mode.startswith("I;16"):
        notes.append("16-bit")
        return image
    if image.mode in {"I", "F"}:
        notes.append("32-bit")
        return image
    if image.has_transparency_data:
        image = _flattened(image.convert("RGBA"), notes)
    if image.mode in {"1", "L"}:
        return image.convert("L")
    colour = image if image.mode == "RGB" else image.convert("RGB")
    gray = colour.convert("L")
    if _has_contrast(gray):
        return gray
    low, high = _extent(gray)
    extents = [_extent(channel) for channel in colour.split()]
    spans = [channel_high - channel_low for channel_low, channel_high in extents]
    best = max(range(3), key=spans.__getitem__)
    if spans[best] <= 1.5 * (high - low) + 24:
        return gray
    notes.append(f"read by its {('red', 'green', 'blue')[best]}")
    return colour.getchannel(best)


def _extent(gray: PillowImage.Image) -> tuple[int, int]:
    low, high = gray.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    return int(low), int(high)


def _has_contrast(gray: PillowImage.Image) -> bool:
    """Whether luminance spans so much that no channel could have clearly more: 1.5 * 154 + 24 = 255."""
    return has_full_contrast(*_extent(gray))


def _flattened(image: PillowImage.Image, notes: list[str]) -> PillowImage.Image:
    """Lay the visible part onto white or black: like its paper, or where it is all ink, unlike the ink."""
    import numpy as np
    from PIL import Image

    alpha = image.getchannel("A")
    if _extent(alpha)[0] == 255:
        return image.convert("RGB")
    notes.append("transparent")
    visible = np.asarray(image.convert("RGB").convert("L"))[np.asarray(alpha) >= 200]
    paper = 255
    if visible.size:
        dark, middle, light = np.percentile(visible, (5, 50, 95))
        shows_paper = light - dark > 80
        paper = 255 if (middle >= 128) == shows_paper else 0
    flat = Image.new("RGB", image.size, (paper, paper, paper))
    flat.paste(image, mask=alpha)
    return flat


def _turned_by_exif(image: PillowImage.Image, pixels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # a picture with broken metadata is still a picture
        return pixels
    if orientation not in range(2, 9):
        return pixels
    notes.append("rotated by EXIF")
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.T
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels


def _frames(image: PillowImage.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame was read; what follows may be broken
        return 1


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise _too_large(width * height, max_megapixels)


def _too_large(pixels: int, max_megapixels: float) -> ImageError:
    return ImageError(f"too large: {pixels / 1e6:,.6g} megapixels, --max-megapixels is {max_megapixels:g}")


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _no_image(head: bytes) -> str:
    if not head:
        return "empty file"
    if head.startswith(b"%PDF"):
        return "not an image: a PDF"
    if all(byte in b"\t\r\n" or byte >= 32 for byte in head) and path_to_text(head[:29])[1]:
        return "not an image: text"
    return "not an image: unknown content"


def _damage(kind: str, error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return f"damaged {kind}: its header cannot be read"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return f"cut short {kind}: its end is missing"
    return f"damaged {kind}: its pixels cannot be decoded"
