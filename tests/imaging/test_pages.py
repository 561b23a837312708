"""Each page and each frame of a file is decoded as if it were alone, and their number is known before."""

import io

import numpy as np
import pytest
from PIL import Image

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.pages import count_pages
from tests.support.pictures import digit_picture, encode_image, encode_pages, make_pages

NUMBERS = range(1, 4)


def make_frames(count):
    """Pictures of one size that differ in the brightness of their paper."""
    return [digit_picture().point(lambda value, n=n: value - 9 * n if value else 0) for n in range(count)]


def count(tmp_path, data, frames=False):
    (tmp_path / "file").write_bytes(data)
    return count_pages(str(tmp_path / "file"), None, frames, 64.0)


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}, {"big_tiff": True}],
    ids=["plain", "LZW", "deflate", "BigTIFF"],
)
def test_each_page_of_a_tiff_is_decoded_as_if_it_were_alone(tmp_path, options):
    pages = make_pages(3)
    data = encode_pages(pages, "TIFF", **options)
    assert count(tmp_path, data) == 3
    for number in NUMBERS:
        decoded = decode_image(data, page=number)
        assert np.array_equal(decoded.pixels, np.asarray(pages[number - 1]))
        assert decoded.notes == () and not decoded.needs_review


def test_a_page_of_a_tiff_that_is_larger_than_the_buffer_is_decoded_alike(tmp_path, monkeypatch):
    data = encode_pages(make_pages(3), "TIFF", compression="tiff_lzw")
    expected = decode_image(data, page=3).pixels
    (tmp_path / "a.tif").write_bytes(data)
    monkeypatch.setattr("digitscan.imaging.decode._MAX_BUFFERED_BYTES", 100)
    assert np.array_equal(decode_image(tmp_path / "a.tif", page=3).pixels, expected)


def test_a_fax_page_and_a_jpeg_page_are_decoded_behind_others():
    fax = [page.convert("1") for page in make_pages(2)]
    assert decode_image(encode_pages(fax, "TIFF", compression="group4"), page=2).pixels.shape == (64, 66)
    jpeg = encode_pages(make_pages(2), "TIFF", compression="jpeg")
    assert decode_image(jpeg, page=2).pixels.shape == (64, 66)


def test_a_damaged_page_is_an_error_and_the_others_are_as_they_were():
    pages = make_pages(3)
    data = bytearray(encode_pages(pages, "TIFF", compression="tiff_adobe_deflate"))
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        (offset,) = image.tag_v2[273]
    data[offset : offset + 40] = b"\x5a" * 40
    with pytest.raises(ImageError, match="damaged TIFF: its pixels cannot be decoded"):
        decode_image(bytes(data), page=2)
    for number in (1, 3):
        assert np.array_equal(decode_image(bytes(data), page=number).pixels, np.asarray(pages[number - 1]))


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_each_frame_of_an_animation_is_decoded(tmp_path, image_format):
    frames = make_frames(3)
    options = {"HEIF": {"quality": 100}, "AVIF": {"quality": 100}}.get(image_format, {"lossless": True})
    if image_format == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    data = encode_pages(frames, image_format, **options)
    assert (count(tmp_path, data), count(tmp_path, data, frames=True)) == (1, 3)
    for number in NUMBERS:
        decoded = decode_image(data, page=number)
        assert abs(int(decoded.pixels[0, 0]) - (255 - 9 * (number - 1))) <= 2
        assert decoded.notes == ()
    with pytest.raises(ImageError, match="no page 4: the file has 3"):
        decode_image(data, page=4)


def test_each_picture_of_an_mpo_is_decoded(tmp_path):
    data = encode_pages([*make_pages(2), make_pages(3)[2].convert("RGB")], "MPO")
    assert (count(tmp_path, data), count(tmp_path, data, frames=True)) == (1, 3)
    shapes = [decode_image(data, page=number).pixels.shape for number in NUMBERS]
    assert shapes == [(64, 65), (64, 66), (64, 67)]
    with pytest.raises(ImageError, match="no page 4: the file has 3"):
        decode_image(data, page=4)


def test_a_gain_map_that_a_phone_adds_to_a_photo_is_no_picture(tmp_path):
    gain_map = digit_picture(32)
    gain_map.encoderinfo = {"xmp": b'<x xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"/>'}
    data = encode_pages([digit_picture(), gain_map], "MPO")
    assert count(tmp_path, data, frames=True) == 1
    assert decode_image(data).notes == ()


@pytest.mark.parametrize(
    ("image_format", "note"),
    [("TIFF", "page 1 of 3"), ("PDF", "page 1 of 3"), ("GIF", "frame 1 of 3"), ("MPO", "frame 1 of 3")],
)
def test_the_first_of_several_needs_review_where_nobody_chose_it(image_format, note):
    decoded = decode_image(encode_pages(make_frames(3), image_format))
    assert decoded.notes == (note,) and decoded.needs_review and not decoded.is_damaged


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP", "TIFF", "PPM"])
def test_a_file_of_one_picture_has_one_page(tmp_path, image_format):
    data = encode_image(digit_picture(), image_format)
    assert (count(tmp_path, data), count(tmp_path, data, frames=True)) == (1, 1)
    assert np.array_equal(decode_image(data, page=1).pixels, decode_image(data).pixels)
    with pytest.raises(ImageError, match="no page 2: the file has 1"):
        decode_image(data, page=2)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"%PDF-1.7", b"GIF89a", b"some text"])
def test_a_file_that_cannot_be_read_has_one_page(tmp_path, data):
    assert count(tmp_path, data, frames=True) == 1
    assert count_pages(str(tmp_path / "missing"), None, False, 64.0) == 1
