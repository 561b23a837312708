"""Bring an image that Pillow has loaded into one channel, and upright. `decode` calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from digitscan.imaging.fast_decode import has_full_contrast

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_EXIF_KEYS = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
"""Where Pillow keeps the metadata that may hold an orientation."""
_ORIENTATION_TAG = 0x0112
_TURNED_ORIENTATIONS = range(2, 9)
_MIN_OPAQUE_ALPHA = 200
_BITMAPS = frozenset(["BMP", "DIB"])
_FORMATS_OF_16_BITS = frozenset(["JPEG2000", "PPM"])
"""Pillow holds their 16 bits in 32."""


def to_pixels(image: PillowImage, notes: list[str]) -> NDArray[Any]:
    """Return a loaded image in one channel; append to `notes` what was done."""
    pixels = np.asarray(_convert_to_one_channel(image, notes))
    if pixels.dtype == np.int32:
        return pixels.astype(np.float32)
    if pixels.dtype in (np.uint8, np.float32):
        return pixels
    return pixels.astype(np.uint16, copy=False)


def _convert_to_one_channel(image: PillowImage, notes: list[str]) -> PillowImage:
    """Return the image in one channel, of 8 bits unless it has more; append to `notes` what was done."""
    if image.mode.startswith("I;16"):
        notes.append("16-bit")
        return image
    if image.mode in {"I", "F"}:
        notes.append("16-bit" if image.format in _FORMATS_OF_16_BITS else "32-bit")
        return image
    if image.format in _BITMAPS and image.mode == "RGBA" and not find_range(image.getchannel("A"))[1]:
        image = image.convert("RGB")  # the fourth byte is unused, and not alpha: nothing would be visible
    if image.has_transparency_data:
        image = _flatten_transparency(image.convert("RGBA"), notes)
    if image.mode in {"1", "L"}:
        return image.convert("L")
    return _choose_channel(image if image.mode == "RGB" else image.convert("RGB"), notes)


def _choose_channel(image: PillowImage, notes: list[str]) -> PillowImage:
    """Return an RGB image's luminance, or the channel that has clearly more contrast, if there is one."""
    gray = image.convert("L")
    low, high = find_range(gray)
    if has_full_contrast(low, high):
        return gray
    ranges = [find_range(channel) for channel in image.split()]
    contrasts = [channel_high - channel_low for channel_low, channel_high in ranges]
    best = max(range(3), key=contrasts.__getitem__)
    if contrasts[best] <= 1.5 * (high - low) + 24:
        return gray
    notes.append(f"read from its {('red', 'green', 'blue')[best]} channel")
    return image.getchannel(best)


def find_range(gray: PillowImage) -> tuple[int, int]:
    """Return the darkest and the brightest value."""
    low, high = gray.getextrema()
    assert isinstance(low, int | float) and isinstance(high, int | float)
    return int(low), int(high)


def _flatten_transparency(image: PillowImage, notes: list[str]) -> PillowImage:
    """Return an RGBA image as RGB on white or black paper, whichever keeps the ink visible.

    If the opaque part has both ink and paper, the rest becomes like that paper; if it is all of one
    brightness, it is ink, and the rest becomes unlike it.
    """
    from PIL import Image

    alpha = image.getchannel("A")
    if find_range(alpha)[0] == 255:
        return image.convert("RGB")
    notes.append("transparent")
    opaque = np.asarray(image.convert("RGB").convert("L"))[np.asarray(alpha) >= _MIN_OPAQUE_ALPHA]
    paper = 255
    if opaque.size:
        dark, median, light = np.percentile(opaque, (5, 50, 95))
        has_paper = light - dark > 80
        paper = 255 if (median >= 128) == has_paper else 0
    flat = Image.new("RGB", image.size, (paper, paper, paper))
    flat.paste(image, mask=alpha)
    return flat


def is_turned(image: PillowImage) -> bool:
    """Tell whether a loaded or unloaded image has an EXIF orientation other than upright."""
    return image.getexif().get(_ORIENTATION_TAG, 1) in _TURNED_ORIENTATIONS


def may_be_turned(image: PillowImage) -> bool:
    """Tell whether an image has metadata in which an orientation may be."""
    return any(key in image.info for key in _EXIF_KEYS)


def apply_exif_orientation(image: PillowImage, pixels: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """Return the pixels upright, by the image's EXIF orientation (CIPA DC-008, tag 274)."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken metadata makes no image unreadable
        return pixels
    if orientation not in _TURNED_ORIENTATIONS:
        return pixels
    notes.append("rotated by EXIF")
    if orientation in {5, 6, 7, 8}:
        pixels = pixels.T
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels
