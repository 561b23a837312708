"""Valid and damaged image files of every format, made from a seed: the same files every time."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from digitscan.training.data.sources import load_data

SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
    "PPM": ".ppm",
}
"""The suffix of each format, by Pillow's name for it."""

EXIF_ORIENTATION = 0x0112

# Pillow's mode and the options of `Image.save`.
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
    "AVIF": [("L", {}), ("RGB", {}), ("RGBA", {})],
    "JPEG2000": [("L", {}), ("RGB", {}), ("I;16", {})],
    "PPM": [("L", {}), ("RGB", {}), ("1", {})],
    "WEBP": [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {"lossless": True})],
}
_SIDES = (20, 28, 28, 64, 200)


def make_valid_file(image_format: str, random: Random) -> bytes:
    """Return a digit as a file of this format, in one of its modes, sizes and compressions."""
    digits = load_digits()
    side = random.choice(_SIDES)
    image = Image.fromarray(255 - digits[random.randrange(len(digits))]).resize((side, side))
    mode, options = random.choice(_VARIANTS[image_format])
    if image_format in {"PNG", "JPEG", "WEBP"} and random.random() < 0.3:
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = random.randrange(1, 9)
        options = options | {"exif": exif}
    file = io.BytesIO()
    image.convert(mode).save(file, image_format, **options)
    return file.getvalue()


def valid_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of valid files, the formats in turn."""
    random = Random(seed)
    for index in range(count):
        image_format = list(SUFFIXES)[index % len(SUFFIXES)]
        yield f"{index:05d}-valid{SUFFIXES[image_format]}", make_valid_file(image_format, random)


def damaged_files(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of damaged files, the formats and kinds of damage in turn."""
    random = Random(seed)
    for index in range(count):
        image_format = list(SUFFIXES)[index % len(SUFFIXES)]
        damage = DAMAGES[index // len(SUFFIXES) % len(DAMAGES)]
        suffix = random.choice(list(SUFFIXES.values())) if damage is misname else SUFFIXES[image_format]
        name = f"{index:05d}-{damage.__name__}{suffix}"
        yield name, damage(make_valid_file(image_format, random), image_format, random)


def damaged_jpegs(seed: int, count: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the digit, a baseline JPEG of it, and that with 1 to 512 bytes of its scan lost or zeroed."""
    random, mnist = Random(seed), load_data()
    for _ in range(count):
        index, side = random.randrange(len(mnist.x_test)), random.choice((28, 64, 112, 200, 400))
        image = Image.fromarray(255 - mnist.x_test[index]).resize((side, side))
        file = io.BytesIO()
        image.convert(random.choice(("L", "RGB"))).save(file, "JPEG", quality=random.choice((60, 75, 90)))
        data = file.getvalue()
        scan = data.index(b"\xff\xda")
        # Behind the header of the scan, and before the marker of the end.
        start = random.randrange(scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big"), len(data) - 3)
        length = min(random.choice((1, 4, 16, 64, 512)), len(data) - 2 - start)
        replacement = random.choice((b"", bytes(length)))
        damaged = data[:start] + replacement + data[start + length :]
        yield int(mnist.y_test[index]), data, damaged


@cache
def load_digits() -> NDArray[np.uint8]:
    """Return 500 of MNIST's test images, (500, 28, 28), light ink on black."""
    return load_data().x_test[:500]


# --- kinds of damage --------------------------------------------------------------------------------


def flip_bits(data: bytes, image_format: str, random: Random) -> bytes:
    """Flip up to 20 bits; half of the time only in the header, where they do the most damage."""
    damaged = bytearray(data)
    end = min(len(data), random.choice((64, len(data))))
    for _ in range(random.choice((1, 1, 3, 20))):
        damaged[random.randrange(end)] ^= 1 << random.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, image_format: str, random: Random) -> bytes:
    """Keep the beginning of the file."""
    return data[: random.randrange(1, len(data))]


def change_declared_size(data: bytes, image_format: str, random: Random) -> bytes:
    """Declare another width, height or both; the checksum of a PNG's header stays valid."""
    damaged = bytearray(data)
    fields = find_size_fields(data, image_format)
    for offset, layout in random.sample(fields, random.randint(1, len(fields))):
        maximum = (1 << 8 * struct.calcsize(layout)) - 1
        value = random.choice((0, 1, 29, 300, 5000, 30_000, 65_535, 1 << 24, maximum // 2, maximum))
        struct.pack_into(layout, damaged, offset, min(value, maximum))
    if image_format == "PNG":
        struct.pack_into(">I", damaged, 29, zlib.crc32(damaged[12:29]))
    return bytes(damaged)


def swap_chunks(data: bytes, image_format: str, random: Random) -> bytes:
    """Swap two chunks of the format, or two blocks of bytes."""
    chunks = _split_chunks(data, image_format) if random.random() < 0.6 else []
    if len(chunks) < 3:
        size = max(2, len(data) // random.choice((4, 16, 64)))
        chunks = [data[start : start + size] for start in range(0, len(data), size)]
    first, second = random.sample(range(1, len(chunks)), 2) if len(chunks) > 2 else (0, len(chunks) - 1)
    chunks[first], chunks[second] = chunks[second], chunks[first]
    return b"".join(chunks)


def insert_noise(data: bytes, image_format: str, random: Random) -> bytes:
    """Overwrite the file with random bytes, from the start or from a later point, or 16 bytes alone."""
    start = random.choice((0, 8, 16, 40, len(data) // 2))
    end = random.choice((len(data), start + 16))
    return data[:start] + random.randbytes(max(0, end - start)) + data[end:]


def lose_bytes(data: bytes, image_format: str, random: Random) -> bytes:
    """Leave out up to 512 bytes of the second half, or write zeros over them, as a bad disk or copy does."""
    start = random.randrange(len(data) // 2, len(data))
    end = start + random.choice((1, 16, 64, 512))
    return data[:start] + bytes(random.choice((0, len(data[start:end])))) + data[end:]


def misname(data: bytes, image_format: str, random: Random) -> bytes:
    """Keep the image, whose suffix will be a random one, or replace it with a file of another type."""
    other_types = (
        b"I am a text.\n",
        b"%PDF-1.7\n%\xe2\xe3",
        b"PK\x03\x04" + data,
        b"\0\0\0\x18ftypheic" + data,
    )
    return random.choice((data, data, *other_types))


def erase(data: bytes, image_format: str, random: Random) -> bytes:
    """Return no bytes, or zeros only, which a crash of the system may leave."""
    return random.choice((b"", bytes(len(data))))


Damage = Callable[[bytes, str, Random], bytes]
"""(contents of a valid file, its format, a source of randomness) -> damaged contents."""

CORRUPTIONS: tuple[Damage, ...] = (
    flip_bits,
    truncate,
    change_declared_size,
    swap_chunks,
    insert_noise,
    lose_bytes,
)
"""Those that leave something of the format, and can be applied to one file again and again."""

DAMAGES: tuple[Damage, ...] = (*CORRUPTIONS, misname, erase)


# --- where things are in a file ---------------------------------------------------------------------


def find_size_fields(data: bytes | bytearray, image_format: str) -> list[tuple[int, str]]:
    """Return the offsets of the fields that declare the width and height, with their `struct` layouts."""
    if image_format == "PNG":
        return [(16, ">I"), (20, ">I")]
    if image_format == "BMP":
        return [(18, "<I"), (22, "<I")]
    if image_format == "GIF":
        frame = data.index(b",\0\0\0\0")
        return [(6, "<H"), (8, "<H"), (frame + 5, "<H"), (frame + 7, "<H")]
    if image_format == "JPEG":
        start_of_frame = min(
            offset for marker in (b"\xff\xc0", b"\xff\xc2") if (offset := data.find(marker)) >= 0
        )
        return [(start_of_frame + 5, ">H"), (start_of_frame + 7, ">H")]
    if image_format == "WEBP":
        return [{b"VP8X": (24, "<I"), b"VP8L": (21, "<I")}.get(bytes(data[12:16]), (26, "<I"))]
    if image_format == "PPM":
        return [(3, ">H"), (6, ">H")]  # characters of the two numbers
    if image_format in {"AVIF", "JPEG2000"}:
        start = data.index({"AVIF": b"ispe\0\0\0\0", "JPEG2000": b"ihdr"}[image_format])
        start += 8 if image_format == "AVIF" else 4
        return [(start, ">I"), (start + 4, ">I")]
    directory = struct.unpack_from("<I", data, 4)[0]
    entries = range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", data, directory)[0], 12)
    # ImageWidth, ImageLength, StripOffsets, RowsPerStrip, StripByteCounts.
    size_tags = {256, 257, 273, 278, 279}
    return [(entry + 8, "<I") for entry in entries if struct.unpack_from("<H", data, entry)[0] in size_tags]


def _split_chunks(data: bytes, image_format: str) -> list[bytes]:
    """Return the header and the chunks of a PNG or WebP, or a JPEG's segments; [] for other formats.

    The compressed data of a JPEG is one segment, up to the end of the file.
    """
    starts = []
    offset = {"PNG": 8, "WEBP": 12, "JPEG": 2}.get(image_format, len(data))
    while offset + 8 <= len(data):
        starts.append(offset)
        if image_format == "PNG":
            offset += 12 + struct.unpack_from(">I", data, offset)[0]
        elif image_format == "WEBP":
            length = struct.unpack_from("<I", data, offset + 4)[0]
            offset += 8 + length + length % 2
        elif data[offset + 1] == 0xDA:
            break
        else:
            offset += 2 + struct.unpack_from(">H", data, offset + 2)[0]
    return [data[a:b] for a, b in zip([0, *starts], [*starts, len(data)], strict=True)] if starts else []
