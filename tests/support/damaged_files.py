"""Files that a scan must survive, made from a seed: damaged ones, crafted ones, and names that are traps."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitscan.training.data.sources import load_data

SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif", "WEBP": ".webp"}

_VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "PNG": [(mode, {}) for mode in ("L", "L", "RGB", "P", "1", "I;16", "LA", "RGBA")],
    "JPEG": [("L", {}), ("RGB", {}), ("RGB", {"progressive": True}), ("CMYK", {})],
    "BMP": [("L", {}), ("RGB", {}), ("P", {}), ("1", {})],
    "GIF": [("L", {}), ("P", {}), ("P", {"transparency": 0})],
    "TIFF": [
        ("L", {}),
        ("L", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}),
        ("RGB", {"compression": "jpeg"}),
        ("1", {"compression": "group4"}),
        ("I;16", {}),
        ("F", {}),
    ],
    "WEBP": [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})],
}
_SIZES = (20, 28, 28, 64, 200)

NAMES = (
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
"""Names that mean something to a CSV, a terminal, a shell, rich or an encoding; the last has 255 bytes."""


def sound_file(kind: str, random: Random) -> bytes:
    """Return a digit as a file of this format, in one of the ways that there are."""
    digits = _digits()
    side = random.choice(_SIZES)
    gray = Image.fromarray(255 - digits[random.randrange(len(digits))]).resize((side, side))
    mode, options = random.choice(_VARIANTS[kind])
    exif = Image.Exif()
    if kind in {"PNG", "JPEG", "WEBP"} and random.random() < 0.3:
        exif[0x0112] = random.randrange(1, 9)
        options = options | {"exif": exif}
    file = io.BytesIO()
    gray.convert(mode).save(file, kind, **options)
    return file.getvalue()


def sound_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of files that are as they should be, each format in turn."""
    random = Random(seed)
    for number in range(count):
        kind = list(SUFFIXES)[number % len(SUFFIXES)]
        yield f"{number:05d}-sound{SUFFIXES[kind]}", sound_file(kind, random)


def damaged_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of damaged files, each format and each damage in turn."""
    random = Random(seed)
    for number in range(count):
        kind = list(SUFFIXES)[number % len(SUFFIXES)]
        damage = DAMAGES[number // len(SUFFIXES) % len(DAMAGES)]
        suffix = random.choice(list(SUFFIXES.values())) if damage is misnamed else SUFFIXES[kind]
        name = f"{number:05d}-{damage.__name__}{suffix}"
        yield name, damage(sound_file(kind, random), kind, random)


@cache
def _digits() -> NDArray[np.uint8]:
    return load_data().x_test[:500]


def bits_flipped(data: bytes, kind: str, random: Random) -> bytes:
    """Flip a few bits; half of the time only in the header, where they do most."""
    changed = bytearray(data)
    end = min(len(data), random.choice((64, len(data))))
    for _ in range(random.choice((1, 1, 3, 20))):
        changed[random.randrange(end)] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut_short(data: bytes, kind: str, random: Random) -> bytes:
    """Keep the beginning."""
    return data[: random.randrange(1, len(data))]


def size_raised(data: bytes, kind: str, random: Random) -> bytes:
    """Declare another width, height or both, checksums made right."""
    changed = bytearray(data)
    places = _size_fields(data, kind)
    for place, form in random.sample(places, random.randint(1, len(places))):
        most = (1 << 8 * struct.calcsize(form)) - 1
        value = random.choice((0, 1, 29, 300, 5000, 30_000, 65_535, 1 << 24, most // 2, most))
        struct.pack_into(form, changed, place, min(value, most))
    if kind == "PNG":
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def blocks_swapped(data: bytes, kind: str, random: Random) -> bytes:
    """Swap two of the format's own chunks, or two blocks of bytes."""
    parts = _chunks(data, kind) if random.random() < 0.6 else []
    if len(parts) < 3:
        step = max(2, len(data) // random.choice((4, 16, 64)))
        parts = [data[at : at + step] for at in range(0, len(data), step)]
    first, second = random.sample(range(1, len(parts)), 2) if len(parts) > 2 else (0, len(parts) - 1)
    parts[first], parts[second] = parts[second], parts[first]
    return b"".join(parts)


def random_bytes(data: bytes, kind: str, random: Random) -> bytes:
    """Noise from some point on: at once, after the first bytes, or in the middle alone."""
    start = random.choice((0, 8, 16, 40, len(data) // 2))
    end = random.choice((len(data), start + 16))
    return data[:start] + random.randbytes(max(0, end - start)) + data[end:]


def misnamed(data: bytes, kind: str, random: Random) -> bytes:
    """Leave the picture as it is (its name will lie), or put something else under the name."""
    others = (b"I am a text.\n", b"%PDF-1.7\n%\xe2\xe3", b"PK\x03\x04" + data, b"\0\0\0\x18ftypheic" + data)
    return random.choice((data, data, *others))


def emptied(data: bytes, kind: str, random: Random) -> bytes:
    """Nothing is left, or zeros alone, as after a crash of the system."""
    return random.choice((b"", bytes(len(data))))


Damage = Callable[[bytes, str, Random], bytes]
DAMAGES: tuple[Damage, ...] = (
    bits_flipped,
    cut_short,
    size_raised,
    blocks_swapped,
    random_bytes,
    misnamed,
    emptied,
)


def _size_fields(data: bytes | bytearray, kind: str) -> list[tuple[int, str]]:
    """Return where the width and height stand, and in what form."""
    if kind == "PNG":
        return [(16, ">I"), (20, ">I")]
    if kind == "BMP":
        return [(18, "<I"), (22, "<I")]
    if kind == "GIF":
        frame = data.index(b",\0\0\0\0")
        return [(6, "<H"), (8, "<H"), (frame + 5, "<H"), (frame + 7, "<H")]
    if kind == "JPEG":
        at = min(place for marker in (b"\xff\xc0", b"\xff\xc2") if (place := data.find(marker)) >= 0)
        return [(at + 5, ">H"), (at + 7, ">H")]
    if kind == "WEBP":
        return [{b"VP8X": (24, "<I"), b"VP8L": (21, "<I")}.get(bytes(data[12:16]), (26, "<I"))]
    directory = struct.unpack_from("<I", data, 4)[0]
    entries = range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0], 12)
    # Width, height, strip offsets, rows a strip, bytes a strip.
    wanted = {256, 257, 273, 278, 279}
    return [(entry + 8, "<I") for entry in entries if struct.unpack_from("<H", data, entry)[0] in wanted]


def _chunks(data: bytes, kind: str) -> list[bytes]:
    """Return the header and the chunks of a PNG, WebP or JPEG (there its scan is one); else nothing."""
    starts = []
    at = {"PNG": 8, "WEBP": 12, "JPEG": 2}.get(kind, len(data))
    while at + 8 <= len(data):
        starts.append(at)
        if kind == "PNG":
            at += 12 + struct.unpack_from(">I", data, at)[0]
        elif kind == "WEBP":
            length = struct.unpack_from("<I", data, at + 4)[0]
            at += 8 + length + length % 2
        elif data[at + 1] == 0xDA:
            break
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return [data[a:b] for a, b in zip([0, *starts], [*starts, len(data)], strict=True)] if starts else []


@dataclass(frozen=True)
class Crafted:
    """A file made to be trouble, and what its row must be: an error whose note begins so, or none."""

    name: str
    data: bytes
    error: str | None = None
    notes: str = ""


def crafted_files() -> Iterator[Crafted]:
    """Yield the crafted files. The largest that may be opened hold 64 megapixels each."""
    digit = Image.fromarray(255 - _digits()[0]).resize((64, 64))

    def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        image.save(file, kind, **options)
        return file.getvalue()

    too_large = "too large: "
    yield Crafted("bomb-declared.png", png(60_000, 60_000, bytes(9)), too_large)
    yield Crafted("bomb-real.png", png(20_000, 20_000, bytes(20_000 * 20_001)), too_large)
    yield Crafted("bomb-65000x65000.png", png(65_000, 65_000, bytes(9), depth=1), too_large)
    yield Crafted("bomb-unannounced.png", png(28, 28, bytes(100_000_000)))
    bomb = zlib.compress(bytes(200_000_000))
    text = png_chunk(b"zTXt", b"Comment\0\0" + bomb)
    yield Crafted("bomb-in-text.png", png(28, 28, bytes(28 * 29), before=text), "damaged PNG: ")
    profile = png_chunk(b"iCCP", b"profile\0\0" + bomb)
    yield Crafted("bomb-in-profile.png", png(28, 28, bytes(28 * 29), before=profile), "damaged PNG: ")
    for kind, image in (("TIFF", Image.new("L", (9000, 9000))), ("WEBP", Image.new("L", (16_383, 4000)))):
        options = {"compression": "tiff_adobe_deflate"} if kind == "TIFF" else {"lossless": True}
        yield Crafted(f"bomb{SUFFIXES[kind]}", saved(image, kind, **options), too_large)
    gif = bytearray(saved(digit, "GIF"))
    for place, form in _size_fields(gif, "GIF"):
        struct.pack_into(form, gif, place, 65_535)
    yield Crafted("bomb.gif", bytes(gif), too_large)
    jpeg = bytearray(saved(digit, "JPEG"))
    for place, form in _size_fields(jpeg, "JPEG"):
        struct.pack_into(form, jpeg, place, 65_500)
    yield Crafted("bomb.jpg", bytes(jpeg), too_large)
    bmp = bytearray(saved(digit, "BMP"))
    for place, form in _size_fields(bmp, "BMP"):
        struct.pack_into(form, bmp, place, 100_000)
    yield Crafted("bomb.bmp", bytes(bmp), too_large)

    yield Crafted("just-below.png", png(8000, 8000, bytes(8000 * 8001)))
    yield Crafted("just-below-rgba.png", png(8000, 8000, bytes(8000 * 32_001), color=6))
    yield Crafted("just-below-16-bit.png", png(8000, 8000, bytes(8000 * 16_001), depth=16), notes="16-bit")
    whole = Image.new("F", (8000, 8000))
    yield Crafted(
        "just-below-float.tif", saved(whole, "TIFF", compression="tiff_adobe_deflate"), notes="32-bit"
    )
    yield Crafted("just-below.jpg", saved(Image.new("RGB", (8000, 8000)), "JPEG"))
    yield Crafted("just-below.webp", saved(Image.new("RGB", (8000, 8000)), "WEBP", lossless=True))

    for width, height in ((1, 1), (1, 30_000), (30_000, 1), (65_000, 3), (3, 65_000)):
        for kind in ("PNG", "JPEG", "BMP", "GIF", "TIFF"):
            image = Image.new("L", (width, height), 255)
            yield Crafted(f"{width}x{height}{SUFFIXES[kind]}", saved(image, kind))
    many = [digit.rotate(angle) for angle in range(3, 300, 3)]
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        data = saved(digit, kind, save_all=True, append_images=many)
        yield Crafted(f"frames{SUFFIXES[kind]}", data, notes="frame 1 of 100")
    for mode, kind in (("CMYK", "JPEG"), ("1", "PNG"), ("1", "BMP"), ("CMYK", "TIFF"), ("LAB", "TIFF")):
        image = digit.convert("RGB").convert(mode) if mode != "LAB" else Image.new("LAB", (64, 64))
        yield Crafted(f"mode-{mode}{SUFFIXES[kind]}", saved(image, kind))
    palette = digit.convert("P")
    yield Crafted("palette-transparent.png", saved(palette, "PNG", transparency=bytes(range(256))))
    for number, value in enumerate((np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45)):
        floats = np.asarray(digit, np.float32).copy()
        floats[:20] = value
        yield Crafted(f"float-{number}.tif", saved(Image.fromarray(floats), "TIFF"), notes="32-bit")
        floats[:] = value
        yield Crafted(f"float-all-{number}.tif", saved(Image.fromarray(floats), "TIFF"), notes="32-bit")
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    yield Crafted("exif-64k.jpg", saved(digit, "JPEG", exif=exif))
    exif[0x010E] = "x" * 30_000_000
    for kind in ("PNG", "WEBP"):
        yield Crafted(f"exif-30-mb{SUFFIXES[kind]}", saved(digit, kind, exif=exif))
    loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x8769, 4, 1, 8, 8)
    yield Crafted("exif-loop.jpg", saved(digit, "JPEG", exif=loop))
    for orientation in (*range(1, 9), 0, 9, 65_535):
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            exif = Image.Exif()
            exif[0x0112] = orientation
            notes = "rotated by EXIF" if 2 <= orientation <= 8 else ""
            data = saved(digit, kind, exif=exif)
            yield Crafted(f"exif-{orientation}{SUFFIXES[kind]}", data, notes=notes)
    # A directory of pages that leads back to the first one.
    tiff = bytearray(saved(digit, "TIFF"))
    (directory,) = struct.unpack_from("<I", tiff, 4)
    (entries,) = struct.unpack_from("<H", tiff, directory)
    struct.pack_into("<I", tiff, directory + 2 + 12 * entries, directory)
    yield Crafted("pages-in-a-circle.tif", bytes(tiff))


def endless_files() -> Iterator[tuple[str, bytes, int]]:
    """Yield names, beginnings and sizes of files that hold little and have gigabytes of nothing."""
    size = 8 << 30
    head = b"RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\0\0\0\0\x1b\0\0\x1b\0\0"
    yield "endless.webp", head, size
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0))
    yield "endless.png", b"\x89PNG\r\n\x1a\n" + header + b"\x7f\xff\xff\xf0tEXt", size
    tags = ((256, 4, 1, 28), (257, 4, 1, 28), (273, 4, 0x3FFFFFC0, 100), (34675, 7, 0xFFFFFF00, 100))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    yield "endless.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4), size
    yield "endless.jpg", b"\xff\xd8" + b"\xff\xe1\xff\xff" + b"Exif\0\0", size
    yield "endless.gif", b"GIF89a\x1c\0\x1c\0\0\0\0,", size
    yield "endless.bmp", b"BM" + bytes(8) + struct.pack("<IIiiHH", 54, 40, 28, 28, 1, 8) + bytes(24), size


def png(width: int, height: int, lines: bytes, depth: int = 8, color: int = 0, before: bytes = b"") -> bytes:
    """Return a PNG that declares a size and holds these lines, whether they fit it or not."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(lines, 1))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + before + pixels + png_chunk(b"IEND", b"")


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
