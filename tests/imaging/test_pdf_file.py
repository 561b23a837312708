"""The pages of a PDF become pictures that digits can be read in."""

import io
import sys

import numpy as np
import pytest

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.pdf_file import count_pdf_pages
from tests.support.pictures import digit_picture, encode_pages, make_pages


def make_pdf(content, width=200, height=100, more=b""):
    """Return a PDF of one page, of a size in points, with a content stream."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents 4 0 R%s>>" % (width, height, more),
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
    ]
    data = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return (
        data
        + b"xref\n0 5\n0000000000 65535 f \n%strailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (table, len(data))
    )


LEFT_HALF = b"0 0 100 100 re f"
"""Fills the left half of a page of 200x100 with black."""


def test_each_page_is_drawn():
    data = encode_pages(make_pages(3), "PDF", resolution=72)
    assert count_pdf_pages(io.BytesIO(data)) == 3
    for number in range(1, 4):
        height, width = decode_image(data, page=number).pixels.shape
        assert width / height == pytest.approx((64 + number) / 64, abs=0.01)
    with pytest.raises(ImageError, match="no page 4: the PDF has 3"):
        decode_image(data, page=4)


def test_what_is_drawn_is_where_it_belongs():
    pixels = decode_image(make_pdf(LEFT_HALF)).pixels
    middle = pixels.shape[1] // 2
    assert pixels[:, : middle - 2].max() == 0 and pixels[:, middle + 2 :].min() == 255


def test_a_page_that_is_turned_is_drawn_upright():
    pixels = decode_image(make_pdf(LEFT_HALF, more=b"/Rotate 90")).pixels
    middle = pixels.shape[0] // 2
    assert pixels[: middle - 2].max() == 0 and pixels[middle + 2 :].min() == 255


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(200, 300, (834, 556)), (20, 30, (576, 384)), (14_000, 14_000, (2000, 2000))],
    ids=["200 dots per inch", "a small page is enlarged", "a large one is reduced"],
)
def test_the_size_of_the_picture_suits_the_page(width, height, shape):
    pixels = decode_image(make_pdf(b"", width, height)).pixels
    assert np.allclose(pixels.shape, shape, atol=1)


def test_no_page_has_more_pixels_than_are_allowed():
    pixels = decode_image(make_pdf(b"", 600, 800), max_megapixels=0.05).pixels
    assert 45_000 < pixels.size < 51_500


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"%PDF-1.7 and nothing else", "damaged PDF: it cannot be opened"),
        (make_pdf(LEFT_HALF)[:150], "damaged PDF: it cannot be opened"),
        (
            make_pdf(LEFT_HALF).replace(b"/Kids[3 0 R]/Count 1", b"/Kids[]/Count 0     "),
            "damaged PDF: it cannot be opened",
        ),
    ],
)
def test_a_pdf_without_a_page_says_why(data, message):
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert str(caught.value) == message


def test_a_pdf_with_a_password_says_so():
    data = make_pdf(LEFT_HALF).replace(
        b"trailer<<",
        b"trailer<</ID[<00><00>]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<%s>/U<%s>>>"
        % (b"11" * 32, b"22" * 32),
    )
    with pytest.raises(ImageError, match="locked PDF: save it without its password"):
        decode_image(data)


def test_without_the_library_the_note_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ImageError) as caught:
        decode_image(make_pdf(LEFT_HALF))
    assert str(caught.value) == "a PDF needs pypdfium2: pip install 'digitscan[pdf]'"


def test_without_the_library_for_heic_the_note_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError) as caught:
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50))
    assert str(caught.value) == "HEIC needs pillow-heif: pip install 'digitscan[heic]'"


def test_a_digit_is_seen_in_a_page():
    data = encode_pages([digit_picture(), digit_picture()], "PDF", resolution=72)
    decoded = decode_image(data, page=2)
    assert decoded.notes == () and decoded.pixels.min() < 30 and decoded.pixels.max() == 255
