"""TIFFs of samples that Pillow does not know are read; others are not called damaged."""

import struct

import numpy as np
import pytest

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from tests.support.pictures import digit_picture, encode_image, make_samples_tiff

FLOAT = 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_16_and_64_bits_are_read(dtype, compress, order):
    gray = np.asarray(digit_picture(), np.float64) / 256
    decoded = decode_image(make_samples_tiff(gray.astype(dtype), FLOAT, order, compress))
    assert decoded.pixels.dtype == np.float32 and decoded.notes == ("floating point",)
    assert np.array_equal(decoded.pixels, gray.astype(np.float32))
    assert not decoded.needs_review


def test_sixteen_bits_of_gray_with_an_opaque_alpha_are_kept():
    gray = np.asarray(digit_picture(), np.uint16) * 257
    decoded = decode_image(make_samples_tiff(np.dstack([gray, np.full_like(gray, 65535)])))
    assert np.array_equal(decoded.pixels, gray) and decoded.notes == ("16-bit",)


def test_what_is_transparent_in_sixteen_bits_of_gray_is_filled():
    gray = np.asarray(digit_picture(), np.uint16) * 257
    decoded = decode_image(make_samples_tiff(np.dstack([np.zeros_like(gray), 65535 - gray])))
    assert decoded.notes == ("16-bit", "transparent")
    assert (decoded.pixels.min(), decoded.pixels.max()) == (0, 255)


@pytest.mark.parametrize("compress", [False, True])
def test_a_strip_that_is_cut_off_is_an_error(compress):
    whole = make_samples_tiff(np.asarray(digit_picture(), np.float64), FLOAT, compress=compress)
    # The length of the strip says less than the size of the picture.
    length = struct.unpack_from("<I", whole, whole.index(struct.pack("<HHI", 279, 4, 1)) + 8)[0]
    shorter = whole.replace(
        struct.pack("<HHII", 279, 4, 1, length), struct.pack("<HHII", 279, 4, 1, length // 2)
    )
    with pytest.raises(ImageError, match="truncated TIFF"):
        decode_image(shorter)


def test_a_huge_size_is_refused_before_memory_is_taken():
    data = make_samples_tiff(np.zeros((10, 10), np.float64), FLOAT)
    size = struct.pack("<HHII", 256, 4, 1, 10)
    with pytest.raises(ImageError, match="too large: 1,000 megapixels"):
        decode_image(data.replace(size, struct.pack("<HHII", 256, 4, 1, 100_000_000)))


def set_short(data, tag, value):
    """Return a little-endian TIFF with another value of a tag that has one short."""
    start = data.index(struct.pack("<HHI", tag, 3, 1)) + 8
    return data[:start] + struct.pack("<H", value) + data[start + 2 :]


def test_a_compression_that_no_decoder_of_ours_knows_is_named():
    data = encode_image(digit_picture(), "TIFF")
    for compression, name in ((34712, "JPEG 2000"), (50002, "JPEG XL"), (34887, "LERC")):
        with pytest.raises(ImageError) as caught:
            decode_image(set_short(data, 259, compression))
        expected = f"TIFF with {name} compression is not supported: convert it to PNG or JPEG"
        assert str(caught.value) == expected


def test_samples_of_a_kind_that_nobody_reads_are_not_called_damaged():
    data = set_short(encode_image(digit_picture(), "TIFF"), 258, 24)
    with pytest.raises(ImageError, match="TIFF with samples of this kind is not supported: convert"):
        decode_image(data)
