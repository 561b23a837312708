"""Every format decodes to the same picture, and every damaged file to an error in words."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from digitscan.errors import ImageError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.decoded_image import MIN_SHORT_SIDE
from tests.support.pictures import digit_picture, encode_image, make_png_chunk


def make_colour_picture(ink, paper):
    """Return the digit in one colour on another."""
    mask = ImageOps.invert(digit_picture())
    image = Image.new("RGB", mask.size, paper)
    image.paste(Image.new("RGB", mask.size, ink), mask=mask)
    return image


def compute_contrast(pixels):
    return int(pixels.max()) - int(pixels.min())


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
        ("DIB", {}),
    ],
)
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_every_lossless_format_and_mode_gives_the_same_picture(picture, image_format, options, mode):
    black_and_white = picture.point(lambda value: 255 * (value > 127))
    decoded = decode_image(encode_image(black_and_white.convert(mode), image_format, **options))
    assert decoded.pixels.dtype == np.uint8
    assert np.array_equal(decoded.pixels, np.asarray(black_and_white))
    assert decoded.notes == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_of_every_mode_give_nearly_the_same_picture(picture, mode):
    decoded = decode_image(encode_image(picture.convert(mode), "JPEG", quality=95))
    assert np.abs(decoded.pixels.astype(int) - np.asarray(picture)).mean() < 2


def test_the_format_is_recognised_by_content_and_not_by_suffix(picture, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode_image(picture, "PNG"))
    assert np.array_equal(decode_image(path).pixels, np.asarray(picture))


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_in_the_data_of_a_png_is_an_error_or_changes_nothing(data):
    original = encode_image(digit_picture(28), "PNG")
    damaged = bytearray(original)
    damaged[data.draw(st.integers(41, len(original) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        pixels = decode_image(bytes(damaged)).pixels
    except ImageError:
        return
    assert np.array_equal(pixels, decode_image(original).pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_applied_once(picture, image_format, orientation):
    gray = picture.convert("L").resize((48, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = encode_image(gray, image_format)
    rotated = decode_image(encode_image(gray, image_format, exif=exif))
    upright = Image.fromarray(decode_image(plain).pixels)
    upright.getexif()[0x0112] = orientation
    assert np.abs(rotated.pixels.astype(int) - np.asarray(ImageOps.exif_transpose(upright))).max() <= 1
    assert rotated.notes == (("rotated by EXIF",) if orientation > 1 else ())


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(image_format):
    pixels = np.linspace(1000, 3000, 400).reshape(20, 20).astype(np.uint16)
    decoded = decode_image(encode_image(Image.fromarray(pixels), image_format))
    assert decoded.pixels.dtype == np.uint16
    assert np.array_equal(decoded.pixels, pixels)
    assert decoded.notes == ("16-bit",)


def test_a_big_endian_tiff_of_sixteen_bits_is_returned_in_native_byte_order():
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    data = encode_image(Image.fromarray(pixels), "TIFF", big_endian=True)
    decoded = decode_image(data)
    assert decoded.pixels.dtype == np.dtype("=u2")
    assert np.array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiffs_of_32_bits_become_floats(dtype):
    pixels = (np.arange(400).reshape(20, 20) * 1000).astype(dtype)
    decoded = decode_image(encode_image(Image.fromarray(pixels), "TIFF"))
    assert (decoded.pixels.dtype, decoded.notes) == (np.float32, ("32-bit",))
    assert np.array_equal(decoded.pixels, pixels)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (60, 255), (200, 0)])
@pytest.mark.parametrize(
    ("mode", "image_format"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")]
)
def test_transparent_paper_is_filled_so_that_the_ink_stays_visible(picture, ink, paper, mode, image_format):
    image = Image.new("L", picture.size, ink).convert(mode)
    image.putalpha(ImageOps.invert(picture))
    decoded = decode_image(encode_image(image, image_format))
    assert decoded.notes == ("transparent",)
    assert decoded.pixels[0, 0] == paper
    assert compute_contrast(decoded.pixels) > 150


def test_a_transparent_palette_colour_is_transparent(picture):
    image = ImageOps.invert(picture).convert("P")
    decoded = decode_image(encode_image(image, "GIF", transparency=0))
    assert decoded.notes == ("transparent",)
    assert compute_contrast(decoded.pixels) > 150


@pytest.mark.parametrize(("paper", "ink"), [(240, 10), (20, 230)])
def test_transparent_corners_of_a_card_are_filled_like_the_card(picture, paper, ink):
    card = Image.new("L", picture.size, paper)
    card.paste(Image.new("L", picture.size, ink), mask=ImageOps.invert(picture))
    card = card.convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 5, 5))
    card.putalpha(alpha)
    corner = int(decode_image(encode_image(card, "PNG")).pixels[0, 0])
    assert abs(corner - paper) < 40


def test_an_alpha_channel_without_transparency_gives_no_note(picture):
    decoded = decode_image(encode_image(picture.convert("RGBA"), "PNG"))
    assert np.array_equal(decoded.pixels, np.asarray(picture))
    assert decoded.notes == ()


@pytest.mark.parametrize(
    ("ink", "paper", "channel"),
    [
        ((255, 235, 60), (255, 255, 255), "blue"),
        ((0, 0, 200), (0, 0, 0), "blue"),
        ((230, 40, 40), (60, 115, 60), "red"),
    ],
)
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_ink_as_bright_as_its_paper_is_read_from_the_channel_with_most_contrast(
    ink, paper, channel, image_format
):
    image = make_colour_picture(ink, paper)
    assert compute_contrast(np.asarray(image.convert("L"))) < 60
    decoded = decode_image(encode_image(image, image_format))
    assert compute_contrast(decoded.pixels) > 150
    assert decoded.notes == (f"read from its {channel} channel",)


@pytest.mark.parametrize(("ink", "paper"), [((200, 0, 0), (255, 255, 255)), ((20, 40, 160), (250, 245, 230))])
def test_ordinary_coloured_ink_is_read_from_its_luminance(ink, paper):
    image = make_colour_picture(ink, paper)
    decoded = decode_image(encode_image(image, "PNG"))
    assert np.array_equal(decoded.pixels, np.asarray(image.convert("L")))
    assert decoded.notes == ()


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_decoded_and_their_number_noted(picture, image_format):
    others = [picture.rotate(90), picture.rotate(180)]
    options = {"lossless": True} if image_format == "WEBP" else {}
    decoded = decode_image(
        encode_image(picture, image_format, save_all=True, append_images=others, **options)
    )
    assert np.array_equal(decoded.pixels, np.asarray(picture))
    assert decoded.notes == ("page 1 of 3" if image_format == "TIFF" else "frame 1 of 3",)


def test_the_first_picture_of_an_mpo_is_decoded(picture):
    decoded = decode_image(encode_image(picture, "MPO", save_all=True, append_images=[picture.rotate(90)]))
    assert compute_contrast(decoded.pixels) > 200
    assert decoded.notes == ("frame 1 of 2",)


@pytest.mark.parametrize(
    ("size", "expected"), [((1200, 900), (150, 113)), ((400, 200), (200, 100)), ((400, 191), (400, 191))]
)
def test_a_large_jpeg_is_decoded_at_a_reduced_scale(size, expected):
    decoded = decode_image(encode_image(digit_picture(200).resize(size), "JPEG"))
    assert decoded.pixels.shape == expected[::-1]
    assert min(decoded.pixels.shape) >= min(MIN_SHORT_SIDE, *size)
    assert decoded.is_reduced == (size != expected)


@pytest.mark.parametrize("variant", [{}, {"progressive": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
@pytest.mark.parametrize("end", [b"", b"\xff", b"\xff\xd9"])
def test_a_jpeg_that_is_cut_in_its_header_is_truncated(picture, variant, end):
    whole = encode_image(picture.convert("RGB"), "JPEG", **variant)
    for length in range(3, whole.index(b"\xff\xda")):
        with pytest.raises(ImageError) as caught:
            decode_image(whole[:length] + end)
        assert str(caught.value) == "truncated JPEG", length


@pytest.mark.parametrize("missing", range(1, 25))
def test_a_png_that_lacks_the_end_of_its_data_is_truncated_whatever_follows(missing):
    """What follows takes the place of the data, up to the end of the file, where no checksum is left."""
    data = encode_image(digit_picture(), "PNG")
    length = len(zlib.compress(b"")) + missing
    for cut in (data[:-12][:-length], data[: -20 - missing] + data[-20:]):
        with pytest.raises(ImageError, match=r"^(truncated PNG|damaged PNG: its checksum is wrong)$"):
            decode_image(cut)


def test_a_file_that_is_read_in_small_pieces_is_decoded_alike(picture, tmp_path, monkeypatch):
    """Network file systems may return less than was asked for, before the end of the file."""
    paths = [tmp_path / name for name in ("a.png", "a.jpg", "a.bmp")]
    for path in paths:
        picture.save(path)
    expected = [decode_image(path).pixels for path in paths]
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 100)))
    for path, pixels in zip(paths, expected, strict=True):
        assert np.array_equal(decode_image(path).pixels, pixels)


def metadata_chunks():
    text, colour_profile = b"x" * (2 << 20), bytes(2 << 20)
    return {
        "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text),
        "compressed XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)),
        "30 MB of compressed text": (b"zTXt", b"Comment\0\0" + zlib.compress(text * 15)),
        "ICC": (b"iCCP", b"name\0\0" + zlib.compress(colour_profile)),
        "empty colour profile": (b"iCCP", b""),
        "short time": (b"tIME", b"\0"),
        "short resolution": (b"pHYs", b"\0"),
        "damaged EXIF": (b"eXIf", b"II"),
        "short animation": (b"acTL", b"\0"),
    }


@pytest.mark.parametrize("kind", metadata_chunks())
def test_large_or_damaged_metadata_makes_no_png_unreadable(picture, kind):
    data = encode_image(picture.convert("RGB"), "PNG")
    decoded = decode_image(data[:33] + make_png_chunk(*metadata_chunks()[kind]) + data[33:])
    assert np.array_equal(decoded.pixels, np.asarray(picture))
    assert decoded.notes == ()


def test_a_wrong_checksum_of_metadata_makes_no_png_unreadable(picture):
    data = encode_image(picture.convert("RGB"), "PNG")
    text = make_png_chunk(b"tEXt", b"Comment\0text")
    assert np.array_equal(decode_image(data[:33] + text[:-1] + b"?" + data[33:]).pixels, np.asarray(picture))


def test_the_orientation_in_two_megabytes_of_xmp_is_applied(picture):
    xmp = b'<x tiff:Orientation="6"/>' + b" " * (2 << 20)
    chunk = make_png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp))
    data = encode_image(picture.convert("RGB"), "PNG")
    decoded = decode_image(data[:33] + chunk + data[33:])
    assert decoded.notes == ("rotated by EXIF",)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_an_error_and_never_half_a_picture(picture, image_format):
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    whole = encode_image(noise, image_format)
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
        with pytest.raises(ImageError, match=r"truncated|damaged|not an image"):
            decode_image(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty file"),
        (b"I am a text, whatever my name says.", "not an image: text"),
        ("Größe: grüße".encode(), "not an image: text"),
        (bytes(range(5, 200)), "not an image: unknown content"),
        (b"%PDF-1.7\n%\xe2\xe3", "damaged PDF: it cannot be opened"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "damaged HEIC: its header cannot be read"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "damaged AVIF: its header cannot be read"),
        (b"\0\0\1\0\1\0\x10\x10" + bytes(30), "ICO is not supported: convert it to PNG or JPEG"),
        (b"\xff\nX\x14\x10" + bytes(30), "JPEG XL is not supported: convert it to PNG or JPEG"),
        (
            bytes(2) + b"\2" + bytes(9) + b"\x1c\0\x1c\0\x18\0" + b"?" * 30,
            "TGA is not supported: convert it to PNG or JPEG",
        ),
        (b"\x89PNG\r\n\x1a\n" + b"?" * 30, "damaged PNG: its header cannot be read"),
    ],
)
def test_an_unreadable_file_is_an_error_that_says_why(data, message):
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert str(caught.value) == message


def declare_png(width, height, depth=8, colour_type=0):
    """Return a PNG of nine bytes of pixels whose header declares another size."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(9))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(make_png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize(
    "data",
    [
        declare_png(60000, 60000),
        declare_png(9000, 9000, colour_type=2),
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    ],
)
def test_a_small_file_that_declares_a_huge_picture_is_refused_before_it_is_decoded(data):
    with pytest.raises(ImageError, match=r"^too large: .*--max-megapixels"):
        decode_image(data)


def test_the_limit_of_megapixels_can_be_changed(picture):
    data = encode_image(picture.resize((200, 100)), "PNG")
    assert decode_image(data, max_megapixels=0.02).pixels.shape == (100, 200)
    with pytest.raises(ImageError, match=r"0\.02 megapixels, --max-megapixels is 0\.01"):
        decode_image(data, max_megapixels=0.01)


def test_decoding_leaves_pillows_own_limits_unchanged(picture):
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    decode_image(encode_image(picture, "GIF"))
    with pytest.raises(ImageError):
        decode_image(declare_png(60000, 60000))
    assert before == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK)


def test_broken_exif_does_not_make_a_picture_unreadable(picture):
    data = encode_image(picture, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert compute_contrast(decode_image(data).pixels) > 200


def test_an_image_of_one_pixel_is_decoded():
    assert decode_image(encode_image(Image.new("L", (1, 1), 7), "PNG")).pixels.tolist() == [[7]]


def test_a_file_that_has_vanished_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no longer there"):
        decode_image(tmp_path / "gone.png")


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(ImageError, match=r"not a file: a folder|no permission"):
        decode_image(tmp_path)


def test_a_file_larger_than_the_buffer_is_decoded_alike(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3000, 3000), np.uint8)
    path = tmp_path / "large.bmp"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(decode_image(path).pixels, pixels)


if hasattr(os, "mkfifo"):

    def test_a_named_pipe_is_an_error_at_once(tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="not a file: a pipe, socket or device"):
            decode_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("image_format", ["AVIF", "HEIF"])
def test_the_formats_of_phones_give_nearly_the_same_picture(picture, image_format):
    import pillow_heif

    pillow_heif.register_heif_opener()
    decoded = decode_image(encode_image(picture, image_format, quality=95))
    assert np.abs(decoded.pixels.astype(int) - np.asarray(picture)).mean() < 3


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_orientation_of_an_avif_is_applied_once(picture, orientation):
    def encode(image_format, **options):
        exif = Image.Exif()  # which the encoder of AVIF changes
        exif[0x0112] = orientation
        return encode_image(picture, image_format, exif=exif, **options)

    decoded, expected = decode_image(encode("AVIF", quality=100)), decode_image(encode("PNG"))
    assert decoded.notes == ("rotated by EXIF",)
    assert np.abs(decoded.pixels.astype(int) - expected.pixels).mean() < 3


def test_the_sixteen_bits_of_a_pgm_are_kept():
    pixels = np.arange(0, 60_000, 600, np.uint16).reshape(10, 10)
    decoded = decode_image(b"P5 10 10 65535\n" + pixels.astype(">u2").tobytes())
    assert np.array_equal(decoded.pixels, pixels) and decoded.notes == ("16-bit",)


def test_plain_bitmaps_in_text_are_read():
    decoded = decode_image(b"P1\n# written by hand\n3 2\n0 1 0\n1 0 1\n")
    assert decoded.pixels.tolist() == [[255, 0, 255], [0, 255, 0]]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("image_format", ["JPEG2000", "PPM"])
def test_jpeg_2000_and_pnm_give_the_same_picture(picture, image_format, mode):
    assert np.array_equal(
        decode_image(encode_image(picture.convert(mode), image_format)).pixels, np.asarray(picture)
    )


def make_bitmap_with_alpha(gray, alpha):
    """Return a BMP of 32 bits whose header says that the fourth byte is alpha."""
    height, width = gray.shape
    pixels = np.dstack([gray, gray, gray, alpha])[::-1].astype(np.uint8).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 56, width, height, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def test_a_bitmap_whose_alpha_is_zero_everywhere_is_opaque(picture):
    """Programs leave the fourth byte unused, though the header calls it alpha."""
    gray = np.asarray(picture)
    decoded = decode_image(make_bitmap_with_alpha(gray, np.zeros_like(gray)))
    assert np.array_equal(decoded.pixels, gray) and decoded.notes == ()


def test_a_bitmap_with_some_alpha_is_transparent(picture):
    gray = np.asarray(picture)
    assert decode_image(make_bitmap_with_alpha(gray, 255 - gray)).notes == ("transparent",)
