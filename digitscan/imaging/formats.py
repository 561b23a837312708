"""Image formats, recognised by file suffix and by signature. Standard library only.

`scanning.discovery` decides by them which files of a folder have a row, `decode` which decoder to use.
"""

from __future__ import annotations

MAX_MEGAPIXELS = 64.0
"""Images with more pixels are not decoded, unless the user allows it."""

MAX_IMAGE_FILE_BYTES = 256 << 20
"""No more of a file is held in memory. Pictures that are small enough to be decoded hardly need so many."""

# Formats that `decode` cannot read are listed too: such a file gets an error row and is not skipped.
_IMAGE_SUFFIXES = frozenset(
    b"png apng jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp "
    b"heic heif avif jxl jp2 j2k ppm pgm pbm pnm tga ico psd svg dng cr2 cr3 nef arw".split()
)
# Brands of the ISO base media file format (ISO/IEC 14496-12), of which HEIC and AVIF files are two kinds.
_HEIC_BRANDS = frozenset([b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"])
_AVIF_BRANDS = frozenset([b"avif", b"avis"])


def has_image_suffix(name: bytes) -> bool:
    """Return whether a file name has an image format's suffix, in upper or lower case."""
    return name.rpartition(b".")[2].lower() in _IMAGE_SUFFIXES


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
    # Two letters may begin any text: the reserved fields of a BMP's header, which are 0, are checked too.
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and len(head) >= 26:
        return "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return "HEIC"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return "AVIF"
    return None
