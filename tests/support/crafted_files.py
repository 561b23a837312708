"""Files and file names made by hand to cause trouble: decompression bombs, odd sizes, hostile names."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from tests.support.damaged_files import EXIF_ORIENTATION, SUFFIXES, find_size_fields, load_digits

HOSTILE_NAMES = (
    b"new\nline.png",
    b"a\ttab.png",
    b"carriage\rreturn.png",
    b'quote".png',
    b"'apostrophe.png",
    b"comma,semicolon;.png",
    b"=1+1.png",
    b"back\\slash.png",
    b"not utf-8 \xff\xfe\\.png",
    b"cut utf-8 \xe2\x82.png",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467.png".encode(),
    "right to left \u202egnp.exe\u202c \u05d0\u0663.png".encode(),
    "line \u2028 separator \u0085.png".encode(),
    b"[red]markup[bold] [link=x]y[blink].png",
    b"\x1b[2J\x1b]0;title\x07escape.png",
    b"\x01\x02\x7f\x08 controls.png",
    b" blanks .png",
    b"-o.png",
    b"%s {0} $(touch x) `x`.png",
    b"n" * 251 + b".png",
)
"""Names with a meaning to a CSV, a terminal, a shell, Rich or an encoding; the last has 255 bytes."""

EXIF_IMAGE_DESCRIPTION = 0x010E
TOO_LARGE = "too large: "


@dataclass(frozen=True)
class CraftedFile:
    """A file and what its row must be.

    error: how the note of its error begins, or None if it can be read. note: what else the note contains.
    """

    name: str
    data: bytes
    error: str | None = None
    note: str = ""


def crafted_files() -> Iterator[CraftedFile]:
    """Yield all crafted files. The largest that can be read have 64 megapixels each."""
    yield from _bombs()
    yield from _files_just_below_the_limit()
    yield from _extreme_shapes()
    yield from _files_with_many_frames()
    yield from _unusual_modes()
    yield from _float_images()
    yield from _exif_files()
    yield _tiff_with_a_loop()
    yield from _cut_headers()


def _bombs() -> Iterator[CraftedFile]:
    """Yield files that are small and declare or decompress to far more than an image may have."""
    yield CraftedFile("bomb-declared.png", make_png(60_000, 60_000, bytes(9)), TOO_LARGE)
    yield CraftedFile("bomb-real.png", make_png(20_000, 20_000, bytes(20_000 * 20_001)), TOO_LARGE)
    yield CraftedFile("bomb-65000x65000.png", make_png(65_000, 65_000, bytes(9), depth=1), TOO_LARGE)
    yield CraftedFile("bomb-undeclared.png", make_png(28, 28, bytes(100_000_000)))
    compressed = zlib.compress(bytes(200_000_000))
    for name, chunk in (
        ("text", make_png_chunk(b"zTXt", b"Comment\0\0" + compressed)),
        ("profile", make_png_chunk(b"iCCP", b"profile\0\0" + compressed)),
    ):
        data = make_png(28, 28, bytes(28 * 29), extra_chunk=chunk)
        # Read without them: no pixel depends on metadata.
        yield CraftedFile(f"bomb-in-{name}.png", data, note="blank")
    tiff = _save(Image.new("L", (9000, 9000)), "TIFF", compression="tiff_adobe_deflate")
    yield CraftedFile("bomb.tif", tiff, TOO_LARGE)
    webp = _save(Image.new("L", (16_383, 4000)), "WEBP", lossless=True)
    yield CraftedFile("bomb.webp", webp, TOO_LARGE)
    for image_format, side in (("GIF", 65_535), ("JPEG", 65_500), ("BMP", 100_000)):
        bomb = bytearray(_save(_digit(), image_format))
        for offset, layout in find_size_fields(bomb, image_format):
            struct.pack_into(layout, bomb, offset, side)
        yield CraftedFile(f"bomb{SUFFIXES[image_format]}", bytes(bomb), TOO_LARGE)


def _files_just_below_the_limit() -> Iterator[CraftedFile]:
    """Yield files of 64 megapixels, as many as are allowed."""
    side = 8000
    yield CraftedFile("just-below.png", make_png(side, side, bytes(side * (side + 1))))
    rgba = make_png(side, side, bytes(side * (4 * side + 1)), color_type=6)
    yield CraftedFile("just-below-rgba.png", rgba)
    deep = make_png(side, side, bytes(side * (2 * side + 1)), depth=16)
    yield CraftedFile("just-below-16-bit.png", deep, note="16-bit")
    floats = _save(Image.new("F", (side, side)), "TIFF", compression="tiff_adobe_deflate")
    yield CraftedFile("just-below-float.tif", floats, note="32-bit")
    colour = Image.new("RGB", (side, side))
    yield CraftedFile("just-below.jpg", _save(colour, "JPEG"))
    yield CraftedFile("just-below.webp", _save(colour, "WEBP", lossless=True))


def _extreme_shapes() -> Iterator[CraftedFile]:
    for width, height in ((1, 1), (1, 30_000), (30_000, 1), (65_000, 3), (3, 65_000)):
        for image_format in ("PNG", "JPEG", "BMP", "GIF", "TIFF"):
            image = Image.new("L", (width, height), 255)
            yield CraftedFile(f"{width}x{height}{SUFFIXES[image_format]}", _save(image, image_format))


def _files_with_many_frames() -> Iterator[CraftedFile]:
    digit = _digit()
    more_frames = [digit.rotate(angle) for angle in range(3, 300, 3)]
    for image_format in ("GIF", "TIFF", "WEBP", "PNG"):
        data = _save(digit, image_format, save_all=True, append_images=more_frames)
        note = "" if image_format == "TIFF" else "frame 1 of 100"
        yield CraftedFile(f"frames{SUFFIXES[image_format]}", data, note=note)


def _unusual_modes() -> Iterator[CraftedFile]:
    digit = _digit()
    for mode, image_format in (
        ("CMYK", "JPEG"),
        ("1", "PNG"),
        ("1", "BMP"),
        ("CMYK", "TIFF"),
        ("LAB", "TIFF"),
    ):
        image = digit.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", digit.size)
        yield CraftedFile(f"mode-{mode}{SUFFIXES[image_format]}", _save(image, image_format))
    palette = _save(digit.convert("P"), "PNG", transparency=bytes(range(256)))
    yield CraftedFile("palette-transparent.png", palette)


def _float_images() -> Iterator[CraftedFile]:
    """Yield float TIFFs in which some or all pixels are not finite, huge or denormal."""
    for index, value in enumerate((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45)):
        pixels = np.asarray(_digit(), np.float32).copy()
        pixels[:20] = value
        yield CraftedFile(f"float-{index}.tif", _save(Image.fromarray(pixels), "TIFF"), note="32-bit")
        pixels[:] = value
        yield CraftedFile(f"float-all-{index}.tif", _save(Image.fromarray(pixels), "TIFF"), note="32-bit")


def _exif_files() -> Iterator[CraftedFile]:
    """Yield files with huge EXIF data, a directory that contains itself, and every orientation."""
    digit = _digit()
    exif = Image.Exif()
    exif[EXIF_IMAGE_DESCRIPTION] = "x" * 60_000
    yield CraftedFile("exif-64k.jpg", _save(digit, "JPEG", exif=exif))
    exif[EXIF_IMAGE_DESCRIPTION] = "x" * 30_000_000
    for image_format in ("PNG", "WEBP"):
        data = _save(digit, image_format, exif=exif)
        yield CraftedFile(f"exif-30-mb{SUFFIXES[image_format]}", data)
    loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    yield CraftedFile("exif-loop.jpg", _save(digit, "JPEG", exif=loop))
    for orientation in (*range(1, 9), 0, 9, 65_535):
        for image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
            exif = Image.Exif()
            exif[EXIF_ORIENTATION] = orientation
            data = _save(digit, image_format, exif=exif)
            note = "rotated by EXIF" if 2 <= orientation <= 8 else ""
            yield CraftedFile(f"exif-{orientation}{SUFFIXES[image_format]}", data, note=note)


def _tiff_with_a_loop() -> CraftedFile:
    """Return a TIFF whose page says that the next page is the same one."""
    data = bytearray(_save(_digit(), "TIFF"))
    (directory,) = struct.unpack_from("<I", data, 4)
    (entry_count,) = struct.unpack_from("<H", data, directory)
    struct.pack_into("<I", data, directory + 2 + 12 * entry_count, directory)
    return CraftedFile("pages-loop.tif", bytes(data))


def _cut_headers() -> Iterator[CraftedFile]:
    """Yield JPEGs that end in their header, in each of its segments and between them."""
    data = _save(_digit(), "JPEG")
    for length in range(3, data.index(b"\xff\xda"), 20):
        yield CraftedFile(f"cut-at-{length}.jpg", data[:length], "truncated JPEG")


def sparse_files() -> Iterator[tuple[str, bytes, int]]:
    """Yield the names, first bytes and sizes of files of 8 GB that are empty behind their first bytes.

    As sparse files they take no space on the disk, so anyone can make and send them.
    """
    size = 8 << 30
    head = b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\0\0\0\0\x1b\0\0\x1b\0\0"
    yield "sparse.webp", head, size
    header = make_png_chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
    yield "sparse.png", b"\x89PNG\r\n\x1a\n" + header + b"\x7f\xff\xff\xf0tEXt", size
    tags = ((256, 4, 1, 28), (257, 4, 1, 28), (273, 4, 0x3FFFFFC0, 100), (34675, 7, 0xFFFFFF00, 100))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    yield "sparse.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4), size
    yield "sparse.jpg", b"\xff\xd8" + b"\xff\xe1\xff\xff" + b"Exif\0\0", size
    yield "sparse.gif", b"GIF89a\x1c\0\x1c\0\0\0\0,", size
    yield "sparse.pdf", b"%PDF-1.7\n", size
    yield "sparse.avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", size
    yield "sparse.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", size
    yield "sparse.pgm", b"P5 28 28 255\n", size
    yield "sparse.heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", size
    yield "sparse.bmp", b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 28, 28, 1, 8) + bytes(24), size


def make_png(
    width: int, height: int, lines: bytes, depth: int = 8, color_type: int = 0, extra_chunk: bytes = b""
) -> bytes:
    """Return a PNG that declares this size and holds these lines of pixels, whether they fit it or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    pixels = make_png_chunk(b"IDAT", zlib.compress(lines, 1))
    end = make_png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + make_png_chunk(b"IHDR", header) + extra_chunk + pixels + end


def make_png_chunk(chunk_type: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG: length, type, data and checksum."""
    checksum = struct.pack(">I", zlib.crc32(chunk_type + data))
    return struct.pack(">I", len(data)) + chunk_type + data + checksum


def _digit() -> Image.Image:
    """Return a digit of 64x64 pixels, dark on white."""
    return Image.fromarray(255 - load_digits()[0]).resize((64, 64))


def _save(image: Image.Image, image_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()
