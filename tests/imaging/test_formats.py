"""Formats are recognised by a file's first bytes, and by its suffix."""

import pytest

from digitscan.imaging.formats import detect_format, has_image_suffix
from tests.support.pictures import encode_image


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_every_format_that_can_be_read_is_recognised(picture, image_format):
    assert detect_format(encode_image(picture, image_format)[:32]) == image_format


@pytest.mark.parametrize(
    ("head", "image_format"),
    [
        (b"GIF87a", "GIF"),
        (b"MM\0*", "TIFF"),
        (b"II+\0", "TIFF"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"\0\0\0\x18ftypisom", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"BMW and other words that begin like a bitmap", None),
        (b"BM\0\0\0\0\0\0\0\0", None),
        (b"", None),
    ],
)
def test_a_file_is_recognised_by_its_signature(head, image_format):
    assert detect_format(head) == image_format


@pytest.mark.parametrize(
    "name", [b"3.png", b"3.JPG", b"archive.tar.Tiff", b"\xff.webp", b"scan.heic", b".png"]
)
def test_a_suffix_counts_in_upper_and_lower_case(name):
    assert has_image_suffix(name)


@pytest.mark.parametrize("name", [b"3.txt", b"3", b"png.csv", b"3.png.bak", b""])
def test_other_suffixes_are_no_images(name):
    assert not has_image_suffix(name)
