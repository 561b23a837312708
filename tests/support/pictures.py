"""Pictures of digits that tests scan."""

import io
import struct
import zlib
from pathlib import Path

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
