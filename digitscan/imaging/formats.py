"""Image formats, told by suffix and by a file's first bytes. Standard library only."""

from __future__ import annotations

_SUFFIXES = frozenset(
    b"png apng jpg jpeg jpe jfif mpo bmp dib gif tif tiff webp "
    b"heic heif avif jxl jp2 j2k ppm pgm pbm pnm tga ico psd svg dng cr2 cr3 nef arw".split()
)


def has_image_suffix(name: bytes) -> bool:
    """Return whether a file name ends like an image's, in any case."""
    return name.rpartition(b".")[2].lower() in _SUFFIXES


def detect_format(head: bytes) -> str | None:
    """Return the format that a file's first 32 bytes announce, by Pillow's name; None if no image's."""
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
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and len(head) >= 26:
        return "BMP"
    if head[4:8] == b"ftyp" and head[8:12] in {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"}:
        return "HEIC"
    if head[4:8] == b"ftyp" and head[8:12] in {b"avif", b"avis"}:
        return "AVIF"
    return None
