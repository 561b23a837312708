"""Open files with Pillow: one named format at a time, within a limit of pixels, and count their frames."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import IO, TYPE_CHECKING

from digitscan.errors import ImageError
from digitscan.imaging.formats import make_size_error

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# Pillow registers some formats itself; for these it would import all of its plugins.
_PLUGINS = {
    "AVIF": "AvifImagePlugin",
    "JPEG2000": "Jpeg2KImagePlugin",
    "TIFF": "TiffImagePlugin",
    "WEBP": "WebPImagePlugin",
}
_OPTIONAL_CODECS = {"AVIF": "avif", "JPEG2000": "jpg_2000"}
"""What a Pillow that was not built for distribution may lack, as `PIL.features` names it."""
_HEIC_PILLOW_NAME = "HEIF"


@contextlib.contextmanager
def limit_pixels(max_megapixels: float) -> Iterator[None]:
    """Let Pillow refuse larger pictures while the block runs; raise its refusal as ImageError."""
    from PIL import Image

    limit_before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
        try:
            yield
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            pixel_count = re.search(r"\d+", str(error))
            raise make_size_error(int(pixel_count[0]) if pixel_count else 0, max_megapixels) from None
        except MemoryError:
            raise ImageError("too large: not enough memory to decode it") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit_before


def open_image(file: IO[bytes], image_format: str) -> PillowImage:
    """Return a file as Pillow opens it, of a format as `detect_format` names it; nothing is decoded yet.

    Raises ImageError where a library for the format is missing, and what Pillow raises for a damaged file.
    """
    from PIL import Image

    if image_format == "HEIC":
        _register_heic()
    elif image_format in _PLUGINS:
        import_module(f"PIL.{_PLUGINS[image_format]}")
    if image_format in _OPTIONAL_CODECS:
        from PIL import features

        if not features.check(_OPTIONAL_CODECS[image_format]):
            raise ImageError(f"{image_format} is not read by this Pillow: install one from pip")
    file.seek(0)
    pillow_name = _HEIC_PILLOW_NAME if image_format == "HEIC" else image_format
    return Image.open(file, formats=(pillow_name,))


def _register_heic() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ImageError("HEIC needs pillow-heif: pip install 'digitscan[heic]'") from None
    register_heif_opener(thumbnails=False)


def count_frames(image: PillowImage) -> int:
    """Return how many frames an open image has: 1 unless it is animated or a collection."""
    try:
        return max(1, int(getattr(image, "n_frames", 1)))
    except Exception:  # the first frame can be read; those behind it may be broken
        return 1
