"""A picture of which a part is missing is said to be damaged, and a sound one never is."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from tests.support.pictures import digit_picture, encode_image, make_png_chunk

NOTE = "damaged: part of the picture is missing"

JPEG_VARIANTS = {
    "gray": ("L", {}),
    "colour": ("RGB", {}),
    "optimized tables": ("L", {"optimize": True}),
    "full chroma": ("RGB", {"subsampling": 0}),
    "restart markers": ("L", {"restart_marker_blocks": 3}),
    "progressive": ("L", {"progressive": True}),
    "colour profile": ("L", {"icc_profile": b"profile"}),
    "CMYK": ("CMYK", {}),
}


def make_photo(size=200):
    """Return the digit with a grain, so that all parts of the picture have data."""
    noise = np.random.default_rng(1).integers(-20, 20, (size, size))
    return Image.fromarray(
        np.clip(np.asarray(digit_picture(size)) // 2 + 60 + noise, 0, 255).astype(np.uint8)
    )


def make_jpeg(variant, picture=None):
    mode, options = JPEG_VARIANTS[variant]
    return encode_image((picture or make_photo()).convert(mode), "JPEG", **options)


def find_scan(jpeg):
    """Return where the data of the first scan begins."""
    header = jpeg.index(b"\xff\xda")
    return header + 2 + int.from_bytes(jpeg[header + 2 : header + 4])


def lose_middle(data, start, share=0.3):
    """Return the data without a share of what is between `start` and the last two bytes."""
    size = len(data) - 2 - start
    first = start + int(size * (0.5 - share / 2))
    return data[:first] + data[first + int(size * share) :]


def without_harm(jpeg):
    """Return ways in which sound files differ from what libjpeg expects; it warns of each."""
    scan = find_scan(jpeg)
    frame = jpeg.index(b"\xff\xc0")
    adobe = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0\7"
    return {
        "zeros before the end": jpeg[:-2] + bytes(30) + jpeg[-2:],
        "bytes between segments": jpeg[:frame] + b"\x12\x34\x56" + jpeg[frame:],
        "unknown revision of JFIF": jpeg[:11] + b"\x09" + jpeg[12:],
        "unknown transform of Adobe": jpeg[:2] + adobe + jpeg[2:],
        "other coefficients": jpeg[: scan - 3] + b"\0\x3e\0" + jpeg[scan:],
    }


@pytest.mark.parametrize("variant", JPEG_VARIANTS)
def test_a_jpeg_that_has_lost_the_middle_of_its_data_is_damaged(variant):
    jpeg = make_jpeg(variant)
    assert not decode_image(jpeg).is_damaged
    decoded = decode_image(lose_middle(jpeg, find_scan(jpeg)))
    assert decoded.is_damaged
    assert decoded.notes[0] == NOTE


@pytest.mark.parametrize("variant", sorted(JPEG_VARIANTS.keys() - {"progressive", "optimized tables"}))
@pytest.mark.parametrize("size", [16, 64, 512])
def test_a_jpeg_with_zeros_over_a_part_of_its_data_is_damaged(variant, size):
    jpeg = make_jpeg(variant)
    middle = (find_scan(jpeg) + len(jpeg)) // 2
    assert decode_image(jpeg[:middle] + bytes(size) + jpeg[middle + size :]).is_damaged


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.sampled_from([digit_picture, make_photo, lambda size: Image.new("L", (size, size), 255)]),
    st.fixed_dictionaries(
        {
            "quality": st.integers(5, 100),
            "progressive": st.booleans(),
            "optimize": st.booleans(),
            "restart_marker_blocks": st.sampled_from([0, 1, 3]),
            "subsampling": st.sampled_from([0, 1, 2]),
        }
    ),
    st.sampled_from([b"", b"\0", bytes(1000), b"trailing bytes of a camera"]),
)
def test_a_sound_jpeg_is_never_damaged(width, height, mode, make_picture, options, trailing):
    picture = make_picture(300).resize((width, height)).convert(mode)
    decoded = decode_image(encode_image(picture, "JPEG", **options) + trailing)
    assert not decoded.is_damaged and NOTE not in decoded.notes


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_libjpeg_warns_of_in_sound_jpegs_is_no_damage_and_hides_none(mode):
    """It prints only the first warning of a file."""
    jpeg = encode_image(make_photo().convert(mode), "JPEG")
    expected = decode_image(jpeg).pixels
    for way, odd in without_harm(jpeg).items():
        decoded = decode_image(odd)
        assert not decoded.is_damaged, way
        if way != "unknown transform of Adobe":  # it tells what the colours are
            assert np.array_equal(decoded.pixels, expected), way
    damaged = lose_middle(jpeg, find_scan(jpeg))
    for way, odd in without_harm(damaged).items():
        assert decode_image(odd).is_damaged, way


def test_zeros_that_fill_up_the_data_before_restart_markers_are_no_damage():
    """Some cameras write them."""
    jpeg = make_jpeg("restart markers", digit_picture(64))
    scan = find_scan(jpeg)
    padded = jpeg[:scan] + b"".join(
        bytes([byte]) if byte != 255 or following == 0 else bytes(3) + b"\xff"
        for byte, following in zip(jpeg[scan:], jpeg[scan + 1 :] + b"\0", strict=True)
    )
    assert len(padded) > len(jpeg) + 50
    decoded = decode_image(padded)
    assert not decoded.is_damaged
    assert np.array_equal(decoded.pixels, decode_image(jpeg).pixels)


def test_zeros_up_to_the_end_of_a_jpegs_data_are_damage_if_the_decoder_needs_them():
    jpeg = make_jpeg("gray")
    middle = (find_scan(jpeg) + len(jpeg)) // 2
    assert decode_image(jpeg[:middle] + bytes(len(jpeg) - middle - 2) + jpeg[-2:]).is_damaged


def test_bytes_that_are_left_over_at_the_end_of_a_jpegs_data_mean_damage():
    """Of the data before them, less was used than there is: the decoder has lost its place."""
    jpeg = make_jpeg("gray")
    assert decode_image(jpeg[:-2] + b"left over from a scan" + jpeg[-2:]).is_damaged


def test_a_damaged_jpeg_prints_nothing(capfd):
    jpeg = make_jpeg("gray")
    decode_image(lose_middle(jpeg, find_scan(jpeg)))
    assert capfd.readouterr() == ("", "")


def test_an_exif_orientation_of_a_damaged_jpeg_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg = encode_image(make_photo().resize((200, 160)), "JPEG", exif=exif)
    decoded = decode_image(lose_middle(jpeg, find_scan(jpeg)))
    assert decoded.notes == (NOTE, "rotated by EXIF")
    assert decoded.pixels.shape == (200, 160)


# --- TIFF -------------------------------------------------------------------------------------------

TIFF_VARIANTS = {
    "JPEG, gray": ("L", {"compression": "jpeg"}),
    "JPEG, colour": ("RGB", {"compression": "jpeg"}),
    "deflate": ("L", {"compression": "tiff_adobe_deflate"}),
    "deflate, colour": ("RGB", {"compression": "tiff_deflate"}),
    "fax group 3": ("1", {"compression": "group3"}),
    "fax group 4": ("1", {"compression": "group4"}),
}


@pytest.mark.parametrize("variant", TIFF_VARIANTS)
def test_a_tiff_whose_data_is_damaged_is_damaged_or_an_error(variant):
    mode, options = TIFF_VARIANTS[variant]
    tiff = encode_image(make_photo().convert(mode), "TIFF", **options)
    decoded = decode_image(tiff)
    assert not decoded.is_damaged and decoded.notes == ()
    with Image.open(io.BytesIO(tiff)) as image:
        start, size = image.tag_v2[273][0], image.tag_v2[279][0]
    noticed = 0
    for first in range(start + size // 4, start + size // 2, max(size // 40, 1)):
        try:
            damaged = decode_image(tiff[:first] + b"\x5a" * 40 + tiff[first + 40 :])
        except ImageError:
            continue
        assert damaged.is_damaged or "JPEG" in variant, first
        noticed += damaged.is_damaged
    if "JPEG" in variant:
        assert noticed > 3


# --- PNG --------------------------------------------------------------------------------------------


def make_png(pixels, row_count, is_interlaced=False):
    """Return a gray PNG with the first rows of the pixels only; all of its checksums are right."""
    height, width = pixels.shape
    passes = [(0, 0, 1, 1)]
    if is_interlaced:
        passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    rows = [
        b"\0" + row.tobytes()
        for column, first, column_step, row_step in passes
        for row in pixels[first::row_step, column::column_step]
        if row.size
    ]
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(is_interlaced))
    data = zlib.compress(b"".join(rows[:row_count]))
    chunks = [(b"IHDR", header), (b"IDAT", data[:20]), (b"IDAT", data[20:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("shape", [(28, 28), (29, 3), (300, 301), (2, 1)])
def test_a_png_with_fewer_rows_than_it_declares_is_damaged(shape, is_interlaced):
    pixels = np.random.default_rng(1).integers(1, 256, shape).astype(np.uint8)
    whole = decode_image(make_png(pixels, None, is_interlaced))
    assert np.array_equal(whole.pixels, pixels) and not whole.is_damaged
    decoded = decode_image(make_png(pixels, -1, is_interlaced))
    assert decoded.is_damaged and decoded.notes == (NOTE,)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_sound_png_that_ends_with_black_rows_is_not_damaged(mode):
    picture = Image.new("L", (300, 300))
    picture.paste(digit_picture(200), (50, 0))
    assert not decode_image(encode_image(picture.convert(mode), "PNG")).is_damaged
