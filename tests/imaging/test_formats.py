"""Formats are recognised by a file's first bytes, and by its suffix."""

import pytest

from digitscan.imaging.formats import detect_format, has_image_suffix, may_have_pages
from tests.support.pictures import encode_image


@pytest.mark.parametrize(
    "image_format", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "DIB", "JPEG2000", "PPM", "AVIF", "PDF"]
)
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
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypisom", None),
        (b"\xff\x4f\xff\x51\0\x2f", "JPEG2000"),
        (b"P1\n# by hand\n2 2\n", "PPM"),
        (b"P6 28 28 255\n", "PPM"),
        (b"P1 is a good mark", None),
        (b"P7\nWIDTH 28\n", None),
        (b"BM\0\0\0\0\1\0\0\0\x36\0\0\0\x28\0\0\0\x1c\0\0\0\x1c\0\0\0\1\0", "BMP"),
        (b"\x28\0\0\0\x1c\0\0\0\x1c\0\0\0\1\0\x08\0", "DIB"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"BMW and other words that begin like a bitmap", None),
        (b"BM\0\0\0\0\0\0\0\0", None),
        (b"", None),
    ],
)
def test_a_file_is_recognised_by_its_signature(head, image_format):
    assert detect_format(head) == image_format


@pytest.mark.parametrize(
    "name", [b"3.png", b"3.JPG", b"archive.tar.Tiff", b"\xff.webp", b"scan.heic", b"forms.PDF", b".png"]
)
def test_a_suffix_counts_in_upper_and_lower_case(name):
    assert has_image_suffix(name)


@pytest.mark.parametrize("name", [b"3.txt", b"3", b"png.csv", b"3.png.bak", b""])
def test_other_suffixes_are_no_images(name):
    assert not has_image_suffix(name)


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.pdf", "a", "a.scan", "a.tif\udcff"])
def test_a_tiff_a_pdf_and_a_file_of_unknown_suffix_may_have_pages(name):
    assert may_have_pages(name)


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.gif", "tif.webp"])
def test_a_file_of_another_format_has_no_pages_by_its_suffix(name):
    assert not may_have_pages(name)
