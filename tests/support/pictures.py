"""Pictures of digits that tests scan."""

import io
import struct
import zlib
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw

from digitscan.imaging.preprocess import Preprocessed


def digit_picture(size: int = 64) -> Image.Image:
    """Return a seven, black on white, as an 8-bit gray square with sides of `size` pixels."""
    image = Image.new("L", (size, size), 255)
    points = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]
    ImageDraw.Draw(image).line([(x * size, y * size) for x, y in points], fill=0, width=size // 10)
    return image


def make_many_pictures(folder: Path, count: int) -> Path:
    """Make a folder of so many pictures of a seven, which are links to one file; return its path."""
    folder.mkdir()
    first = folder / "00000.png"
    digit_picture().save(first)
    for number in range(1, count):
        (folder / f"{number:05d}.png").hardlink_to(first)
    return folder


def draw_five(size: int = 100, pen_width: float = 5, scale: float = 1.0) -> np.ndarray:
    """Return a five, 255 on 0, as (size, size) uint8; `pen_width` is in percent of the size."""
    points = np.array([(65, 20), (35, 20), (33, 47), (52, 43), (66, 55), (62, 72), (48, 80), (32, 73)])
    scaled = np.rint(((points - 50) * scale + 50) * size / 100 * 16).astype(np.int32)
    image = np.zeros((size, size), np.uint8)
    cv2.polylines(image, [scaled], False, 255, max(1, round(pen_width * size / 100)), cv2.LINE_AA, 4)
    return image


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    """Return the correlation of two images, -1 to 1, at the best of nine offsets of up to a pixel."""
    framed = cv2.copyMakeBorder(first, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return float(cv2.matchTemplate(framed, second, cv2.TM_CCOEFF_NORMED).max())


def are_equal(first: Preprocessed | None, second: Preprocessed | None) -> bool:
    """Return whether two results of preprocessing, or their alternatives, are the same."""
    if first is None or second is None:
        return first is second
    return (
        first._replace(pixels=None, alternative=None) == second._replace(pixels=None, alternative=None)
        and np.asarray(first.pixels).dtype == np.asarray(second.pixels).dtype
        and np.array_equal(np.asarray(first.pixels), np.asarray(second.pixels))
        and are_equal(first.alternative, second.alternative)
    )


def encode_image(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Return the contents of an image file that Pillow writes."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def make_png_chunk(chunk_type: bytes, contents: bytes) -> bytes:
    """Return a chunk of a PNG file with its length and its checksum."""
    checksum = zlib.crc32(chunk_type + contents)
    return struct.pack(">I", len(contents)) + chunk_type + contents + struct.pack(">I", checksum)


def make_pages(count: int) -> list[Image.Image]:
    """Return pictures of the digit that differ in their width: by it a page is known."""
    pages = []
    for number in range(1, count + 1):
        page = Image.new("L", (64 + number, 64), 255)
        page.paste(digit_picture(), (0, 0))
        pages.append(page)
    return pages


def encode_pages(pages: list[Image.Image], image_format: str, **options: object) -> bytes:
    """Return the contents of a file of several pages or frames that Pillow writes."""
    return encode_image(pages[0], image_format, save_all=True, append_images=pages[1:], **options)


def make_tiff(
    directories: list[dict[int, tuple[int, bytes]]], order: str = "<", loops: bool = False
) -> bytes:
    """Return a TIFF with these directories: for each tag its type and the bytes of its values.

    Values of more than four bytes are stored before the directory. With `loops`, the last directory names the
    first as the next one.
    """
    sizes = {1: 1, 3: 2, 4: 4}
    data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link, first = 4, 0
    for directory in directories:
        entries = []
        for tag, (kind, values) in sorted(directory.items()):
            count = len(values) // sizes[kind]
            if len(values) > 4:
                offset = len(data)
                data += values
                values = struct.pack(order + "I", offset)
            entries.append(struct.pack(order + "HHI", tag, kind, count) + values.ljust(4, b"\0"))
        start = len(data)
        first = first or start
        struct.pack_into(order + "I", data, link, start)
        data += struct.pack(order + "H", len(entries)) + b"".join(entries)
        link = len(data)
        data += bytes(4)
    if loops:
        struct.pack_into(order + "I", data, link, first)
    return bytes(data)


def make_samples_tiff(
    samples: np.ndarray, sample_format: int = 1, order: Literal["<", ">"] = "<", compress: bool = False
) -> bytes:
    """Return a TIFF of samples (height, width) or, with alpha, (height, width, 2), in one strip."""
    height, width, channels = (*samples.shape, 1)[:3]
    stored = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    strip = zlib.compress(stored) if compress else stored
    longs = {256: width, 257: height, 273: 8, 278: height, 279: len(strip)}
    bits = 8 * samples.dtype.itemsize
    shorts = {
        258: [bits] * channels,
        259: [8 if compress else 1],
        262: [1],
        277: [channels],
        339: [sample_format] * channels,
        **({338: [2]} if channels == 2 else {}),
    }
    tags = {tag: (4, struct.pack(order + "I", value)) for tag, value in longs.items()}
    tags |= {tag: (3, struct.pack(f"{order}{len(each)}H", *each)) for tag, each in shorts.items()}
    # The strip stands where the values of a first tag would: behind the header.
    return make_tiff([{0: (1, strip), **tags}], order)
