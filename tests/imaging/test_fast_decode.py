"""The fast path of decoding returns what Pillow returns, or leaves the file to Pillow."""

import io
import struct
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.decoded_image import MIN_SHORT_SIDE
from digitscan.imaging.fast_decode import decode_complete_jpeg, decode_plain_png
from digitscan.imaging.formats import MAX_MEGAPIXELS
from tests.support.pictures import digit_picture, encode_image, make_png_chunk

JPEG_OPTIONS = st.fixed_dictionaries(
    {
        "quality": st.integers(60, 95),
        "progressive": st.booleans(),
        "optimize": st.booleans(),
        "restart_marker_blocks": st.sampled_from([0, 3]),
        "subsampling": st.sampled_from([0, 1, 2]),
    }
)


def decode_png_fast(data):
    return decode_plain_png(data, MAX_MEGAPIXELS)


def decode_jpeg_fast(data):
    """Return what `decode_image` takes without Pillow; None for a file for which it needs Pillow."""
    decoded = decode_complete_jpeg(data, MAX_MEGAPIXELS, MIN_SHORT_SIDE)
    return decoded if decoded is not None and decoded.is_plain and decoded.shows_all_ink else None


def decode_with_pillow(data):
    """Return what `decode_image` does without the fast path; None for a file that it refuses."""
    fast_functions = ("decode_plain_png", "decode_complete_jpeg")
    no_fast_path = dict.fromkeys(fast_functions, lambda *_: None)
    with mock.patch.multiple("digitscan.imaging.decode", **no_fast_path):
        try:
            return decode_image(data)
        except ImageError:
            return None


def insert_chunk(png, chunk_type, contents):
    """Return the PNG with a chunk behind its header."""
    return png[:33] + make_png_chunk(chunk_type, contents) + png[33:]


def change_byte(data, first, draw):
    """Return the data with one byte changed, at `first` or behind it."""
    changed = bytearray(data)
    changed[draw(st.integers(first, len(data) - 1))] ^= draw(st.integers(1, 255))
    return bytes(changed)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60)), elements=st.integers(0, 255)),
    st.integers(0, 9),
)
def test_gray_pngs_are_decoded_without_pillow_to_their_pixels(pixels, compress_level):
    data = encode_image(Image.fromarray(pixels), "PNG", compress_level=compress_level)
    assert np.array_equal(decode_png_fast(data), pixels)
    assert np.array_equal(decode_image(data).pixels, pixels)


@example(192, 195, "L", {})
@given(st.integers(1, 500), st.integers(1, 500), st.sampled_from(["L", "RGB"]), JPEG_OPTIONS)
def test_jpegs_are_decoded_as_pillow_does_at_the_same_scale(width, height, mode, options):
    picture = digit_picture(500).resize((width, height)).convert(mode)
    data = encode_image(picture, "JPEG", **options)
    with Image.open(io.BytesIO(data)) as expected:
        factor = next(f for f in (8, 4, 2, 1) if f == 1 or min(width, height) >= f * MIN_SHORT_SIDE)
        expected.draft("L", (width // factor, height // factor))
        pixels = np.asarray(expected.convert("L"))
    assert np.array_equal(decode_image(data).pixels, pixels)
    decoded = decode_jpeg_fast(data)
    if decoded is not None:  # colours of little contrast are left to Pillow
        assert np.array_equal(decoded.pixels, pixels)
        assert decoded.is_reduced == (decoded.pixels.shape != (height, width))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [28, 200, 1200])
@pytest.mark.parametrize("progressive", [False, True])
def test_ordinary_jpegs_take_the_fast_path(mode, size, progressive):
    data = encode_image(digit_picture(size).convert(mode), "JPEG", progressive=progressive)
    assert decode_jpeg_fast(data) is not None


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_in_a_png_leaves_it_to_pillow_or_changes_nothing(data):
    original = encode_image(digit_picture(28), "PNG")
    changed = change_byte(original, 16, data.draw)
    pixels = decode_png_fast(changed)
    assert pixels is None or np.array_equal(pixels, decode_with_pillow(changed).pixels)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(["L", "RGB"]), st.sampled_from([0, 3]), st.sampled_from([b"", b"profile"]))
def test_a_changed_byte_in_a_jpeg_gives_what_pillow_makes_of_it(
    data, mode, restart_marker_blocks, icc_profile
):
    """Neither library notices every changed byte, but what Pillow refuses is not read with half an image."""
    picture = digit_picture(60).convert(mode)
    original = encode_image(
        picture, "JPEG", restart_marker_blocks=restart_marker_blocks, icc_profile=icc_profile
    )
    changed = change_byte(original, 3, data.draw)
    decoded = decode_complete_jpeg(changed, MAX_MEGAPIXELS, MIN_SHORT_SIDE)
    if decoded is not None and decoded.shows_all_ink:
        expected = decode_with_pillow(changed)
        assert expected is not None
        assert np.array_equal(decoded.pixels, expected.pixels)
        assert decoded.is_reduced == expected.is_reduced
        assert decoded.is_damaged >= expected.is_damaged


@pytest.mark.parametrize(
    "marker", [b"\xff\x01", b"\xff\xbe", b"\xff\xc4", b"\xff\xd8", b"\xff\xda", b"\xff\xf3"]
)
def test_a_jpeg_with_a_foreign_marker_in_its_scan_is_left_to_pillow(picture, marker):
    """OpenCV fills such an image with gray from there on."""
    data = encode_image(picture, "JPEG")
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    assert decode_jpeg_fast(data) is not None
    assert decode_jpeg_fast(data[:middle] + marker + data[middle + 2 :]) is None


def encode_with_exif(picture, image_format):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode_image(picture, image_format, exif=exif)


@pytest.mark.parametrize(
    "encode",
    [
        lambda picture: encode_image(picture.convert("RGB"), "PNG"),
        lambda picture: encode_image(picture.convert("LA"), "PNG"),
        lambda picture: encode_image(picture.convert("P"), "PNG"),
        lambda picture: encode_image(picture.convert("1"), "PNG"),
        lambda picture: encode_image(picture.convert("I;16"), "PNG"),
        lambda picture: encode_image(picture, "PNG", transparency=255),
        lambda picture: encode_image(picture, "PNG", save_all=True, append_images=[picture.rotate(9)]),
        lambda picture: encode_with_exif(picture, "PNG"),
        lambda picture: encode_image(picture, "PNG")[:-1],
        lambda picture: encode_image(picture, "PNG")[:-12],
        lambda picture: encode_image(picture.resize((257, 256)), "PNG"),
        lambda picture: insert_chunk(encode_image(picture, "PNG"), b"iCCP", b"name\0\0"),
    ],
    ids=[
        "colour",
        "alpha",
        "palette",
        "one bit",
        "16 bits",
        "a transparent gray",
        "animation",
        "EXIF",
        "last byte missing",
        "last chunk missing",
        "large",
        "colour profile",
    ],
)
def test_pngs_that_are_not_plain_are_left_to_pillow(picture, encode):
    assert decode_png_fast(encode_image(picture, "PNG")) is not None
    assert decode_png_fast(encode(picture)) is None


@pytest.mark.parametrize(
    "encode",
    [
        lambda picture: encode_image(picture.convert("CMYK"), "JPEG"),
        lambda picture: encode_with_exif(picture, "JPEG"),
        lambda picture: encode_image(picture, "JPEG", icc_profile=b"profile"),
        lambda picture: encode_image(picture.point(lambda value: 100 + value // 4).convert("RGB"), "JPEG"),
        lambda picture: encode_image(picture, "JPEG")[:-2],
        lambda picture: encode_image(picture, "JPEG") + b"\0",
    ],
    ids=["CMYK", "EXIF", "colour profile", "colours of little contrast", "end missing", "trailing byte"],
)
def test_jpegs_that_are_not_plain_are_left_to_pillow(picture, encode):
    assert decode_jpeg_fast(encode_image(picture, "JPEG")) is not None
    assert decode_jpeg_fast(encode(picture)) is None


@pytest.mark.parametrize(
    ("chunk_type", "contents"),
    [
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"pHYs", struct.pack(">IIB", 3780, 3780, 1)),
        (b"sRGB", b"\0"),
        (b"tEXt", b"Comment\0a seven"),
        (b"tIME", struct.pack(">HBBBBB", 2024, 2, 29, 12, 0, 0)),
        (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
        (b"bKGD", struct.pack(">H", 7)),
    ],
)
def test_metadata_that_changes_no_pixel_keeps_a_png_on_the_fast_path(picture, chunk_type, contents):
    data = insert_chunk(encode_image(picture, "PNG"), chunk_type, contents)
    assert np.array_equal(decode_png_fast(data), np.asarray(picture))
    assert np.array_equal(decode_with_pillow(data).pixels, np.asarray(picture))


def test_an_orientation_in_a_png_text_of_imagemagick_is_applied(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    payload = exif.tobytes()
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(payload):8}\n{payload.hex()}\n")
    data = encode_image(picture, "PNG", pnginfo=info)
    assert decode_png_fast(data) is None
    assert decode_image(data).notes == ("rotated by EXIF",)


@pytest.mark.parametrize("length", range(2, 40))
def test_a_jpeg_header_that_is_cut_anywhere_is_left_to_pillow(picture, length):
    """An end marker behind the cut makes it look complete."""
    data = encode_image(picture, "JPEG")
    frame = data.index(b"\xff\xc0")
    header = b"\xff\xd8" + data[frame : frame + length] + b"\xff\xd9"
    assert decode_jpeg_fast(header) is None
    with pytest.raises(ImageError):
        decode_image(header)
