"""The pages of a file that holds several pictures: how many there are, and where each one is.

The directories of a TIFF and the pages of a PDF are pages. The pictures of an animation, and of a JPEG with
further ones (MPO), are frames: their number counts only where the user wants all of them.
"""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any, cast

from digitscan.errors import ImageError
from digitscan.imaging.formats import MAX_IMAGE_FILE_BYTES, detect_format
from digitscan.imaging.jpeg_file import iterate_segments
from digitscan.imaging.pdf_file import count_pdf_pages
from digitscan.imaging.pillow_file import count_frames, limit_pixels, open_image
from digitscan.imaging.tiff_file import find_pages
from digitscan.system.files import open_regular_file

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.MpoImagePlugin import MpoImageFile

_MPO_ENTRIES, _MPO_ATTRIBUTE, _MPO_TYPE, _MPO_SIZE = 0xB002, "Attribute", "MPType", "Size"
"""Where Pillow keeps what an MPO says of its pictures."""
_MPO_THUMBNAIL = "Large Thumbnail"
_GAIN_MAPS = (b"ns.adobe.com/hdr-gain-map/", b"apple.com/HDRGainMap/", b"urn:iso:std:iso:ts:21496:-1")
"""In the header of a picture that only tells how bright another one is on a better screen; phones add it."""


def count_pages(path: str, dir_fd: int | None, frames: bool, max_megapixels: float) -> int:
    """Return how many pages a file has, with `frames` also frames; 1 for one that cannot be read.

    The path begins in the open folder `dir_fd`, or in the current folder.
    """
    try:
        with io.BufferedReader(open_regular_file(path, dir_fd=dir_fd)) as file:
            return _count_pages(file, frames, max_megapixels)
    except Exception:  # whoever reads it will say why
        return 1


def _count_pages(file: IO[bytes], frames: bool, max_megapixels: float) -> int:
    """Return the same of an open file. Raises ImageError, and what Pillow raises for a damaged file."""
    image_format = detect_format(file.read(32))
    if image_format == "TIFF":
        return max(1, len(find_pages(file)))
    if image_format == "PDF":
        return count_pdf_pages(file)
    if image_format is None or not frames:
        return 1
    with limit_pixels(max_megapixels):
        return count_pictures(open_image(file, image_format), file)


def count_pictures(image: PillowImage, file: IO[bytes]) -> int:
    """Return how many pictures an open image has, without those that are copies of others."""
    return len(find_mpo_pictures(image, file)) if image.format == "MPO" else count_frames(image)


def cut_mpo_picture(file: IO[bytes], page: int) -> bytes:
    """Return one of the pictures of an MPO, the first of which is 1, as a JPEG. Raises ImageError."""
    image = open_image(file, "JPEG")
    pictures = find_mpo_pictures(image, file) if image.format == "MPO" else [(0, MAX_IMAGE_FILE_BYTES)]
    check_page(page, len(pictures))
    offset, size = pictures[page - 1]
    file.seek(offset)
    return file.read(min(size, MAX_IMAGE_FILE_BYTES))


def find_mpo_pictures(image: PillowImage, file: IO[bytes]) -> list[tuple[int, int]]:
    """Return the offset and the size of each picture of an MPO, without thumbnails and gain maps."""
    mpo = cast("MpoImageFile", image)
    entries: list[dict[str, Any]] = (mpo.mpinfo or {})[_MPO_ENTRIES]
    pictures = []
    for index, entry in enumerate(entries):
        try:
            mpo.seek(index)
        except Exception:  # it is listed, and is not there
            break
        size = entry[_MPO_SIZE]
        if index == 0 or not _is_copy(entry, file, mpo.offset, size):
            pictures.append((mpo.offset, size))
    mpo.seek(0)
    return pictures


def _is_copy(entry: dict[str, Any], file: IO[bytes], offset: int, size: int) -> bool:
    """Tell whether a picture of an MPO is a thumbnail or a gain map of another one."""
    if str(entry[_MPO_ATTRIBUTE][_MPO_TYPE]).startswith(_MPO_THUMBNAIL):
        return True
    file.seek(offset)
    data = file.read(min(size, MAX_IMAGE_FILE_BYTES))
    header_end = max((end for _, _, end in iterate_segments(data)), default=0)
    return any(name in data[:header_end] for name in _GAIN_MAPS)


def check_page(page: int, count: int) -> None:
    """Raise ImageError if a file of `count` pages has no such page; 0 is any file's first."""
    if page > max(1, count):
        raise ImageError(f"no page {page}: the file has {count}")
