"""Image formats, recognised by file suffix and by signature. Standard library only.

`scanning.discovery` decides by them which files of a folder have a row, `decode` which decoder to use.
"""

from __future__ import annotations

import re

from digitscan.errors import ImageError

MAX_MEGAPIXELS = 64.0
"""Images with more pixels are not decoded, unless the user allows it."""

MAX_IMAGE_FILE_BYTES = 256 << 20
"""No more of a file is held in memory. Pictures that are small enough to be decoded hardly need so many."""

MAX_PAGES = 1000
"""More pages of a file are not read, unless the user allows it."""

# Formats that `decode` cannot read are listed too: such a file gets an error row and is not skipped.
_IMAGE_SUFFIXES = frozenset(
    b"png apng jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp "
    b"heic heif hif avif jxl jp2 j2k jpf jpx j2c jpc ppm pgm pbm pnm tga ico psd svg dng cr2 cr3 nef arw "
    b"pdf".split()
)
_PAGED_SUFFIXES = frozenset(b"tif tiff pdf".split())
# Brands of the ISO base media file format (ISO/IEC 14496-12), of which HEIC and AVIF files are two kinds.
_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])
_GENERIC_BRANDS = frozenset([b"mif1", b"msf1"])
"""Either kind: the brands behind this one tell."""
_JPEG2000_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51\0")
"""Of a JP2 file and of a bare codestream."""
_BITMAP_HEADER_SIZES = frozenset([12, 16, 40, 52, 56, 64, 108, 124])
"""Of all versions of the header that tells the size of a bitmap."""
_CLIPBOARD_HEADER_SIZES = frozenset([40, 108, 124])
"""Of those with which a bitmap begins that has no file header: a DIB."""
# Two characters may begin any text. White space, then a size or a comment, make a PBM, PGM or PPM of them.
_PNM_START = re.compile(rb"P[1-6]\s+(#|[1-9]\d*\s+(#|[1-9]))")
_UNREAD_STARTS = {
    b"\0\0\1\0": "ICO",
    b"\xff\n": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"8BPS": "PSD",
}
_TGA_START = re.compile(rb".[\0\1][\1\2\3\t\n\x0b].{13}[\x08\x0f\x10\x18\x20]", re.DOTALL)
"""A TGA has no signature: the first bytes of its header have only a few values."""


def has_image_suffix(name: bytes) -> bool:
    """Return whether a file name has an image format's suffix, in upper or lower case."""
    return name.rpartition(b".")[2].lower() in _IMAGE_SUFFIXES


def may_have_pages(path: str) -> bool:
    """Return whether a file may be of a format that has pages, by its suffix; true for an unknown one."""
    suffix = path.rpartition(".")[2].lower().encode(errors="replace")
    return suffix in _PAGED_SUFFIXES or suffix not in _IMAGE_SUFFIXES


def detect_format(head: bytes) -> str | None:
    """Return the format of a file by its first 32 bytes, named as Pillow does; None if it is no image."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if (
        head.startswith(b"BM")
        and len(head) >= 26
        and (head[6:10] == b"\0\0\0\0" or _is_bitmap_header(head[14:]))
    ):
        return "BMP"
    if _is_bitmap_header(head) and head[0] in _CLIPBOARD_HEADER_SIZES:
        return "DIB"
    if head.startswith(_JPEG2000_STARTS):
        return "JPEG2000"
    if _PNM_START.match(head):
        return "PPM"
    if head.startswith(b"%PDF-"):
        return "PDF"
    if head[4:8] == b"ftyp":
        brands = [head[start : start + 4] for start in (8, *range(16, len(head) - 3, 4))]
        if _AVIF_BRANDS.intersection(brands[:1] if brands[0] not in _GENERIC_BRANDS else brands):
            return "AVIF"
        return "HEIC" if brands[0] in _HEIC_BRANDS else None
    return None


def detect_unread_format(head: bytes) -> str | None:
    """Return the format of an image that `decode` does not read, by its first 32 bytes; None if unknown.

    Some of these signatures are so short that a file of any kind may begin with them.
    """
    for start, image_format in _UNREAD_STARTS.items():
        if head.startswith(start):
            return image_format
    return "TGA" if _TGA_START.match(head) else None


def _is_bitmap_header(header: bytes) -> bool:
    """Tell whether the header of a bitmap begins here: its size, and one plane."""
    size = int.from_bytes(header[:4], "little")
    planes = header[8:10] if size == 12 else header[12:14]
    return size in _BITMAP_HEADER_SIZES and planes == b"\1\0"


def make_size_error(pixel_count: int, max_megapixels: float) -> ImageError:
    """Return the error of an image with too many pixels."""
    megapixels = f"{pixel_count / 1e6:,.6g} megapixels"
    return ImageError(f"too large: {megapixels}, --max-megapixels is {max_megapixels:g}")
