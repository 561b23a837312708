"""Opening: every format gives the same picture, and every damage is a sentence."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from digitscan.errors import ImageError
from digitscan.imaging.decode import MIN_SHORT_SIDE, decode_image
from tests.support.pictures import digit_picture


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def ink_like(color, paper, size=64):
    """The digit in one colour on another."""
    mask = ImageOps.invert(digit_picture(size))
    image = Image.new("RGB", mask.size, paper)
    image.paste(Image.new("RGB", mask.size, color), mask=mask)
    return image


def contrast(pixels):
    return int(pixels.max()) - int(pixels.min())


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_every_lossless_format_and_mode_gives_the_same_picture(picture, kind, options, mode):
    black_and_white = picture.point(lambda value: 255 * (value > 127))
    opened = decode_image(encoded(black_and_white.convert(mode), kind, **options))
    assert opened.pixels.dtype == np.uint8
    assert np.array_equal(opened.pixels, np.asarray(black_and_white))
    assert opened.notes == ()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_gives_nearly_the_same_picture(picture, mode):
    opened = decode_image(encoded(picture.convert(mode), "JPEG", quality=95))
    assert np.abs(opened.pixels.astype(int) - np.asarray(picture)).mean() < 2


def test_the_format_is_told_by_content_and_not_by_suffix(picture, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture, "PNG"))
    assert np.array_equal(decode_image(path).pixels, np.asarray(picture))


@settings(deadline=None)
@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.sampled_from(["L", "RGB"]),
    st.booleans(),
    st.integers(60, 95),
)
def test_jpegs_are_decoded_as_pillow_does(width, height, mode, progressive, quality):
    picture = digit_picture(500).resize((width, height)).convert(mode)
    data = encoded(picture, "JPEG", quality=quality, progressive=progressive)
    with Image.open(io.BytesIO(data)) as expected:
        scale = min(1.0, MIN_SHORT_SIDE / min(expected.size))
        expected.draft("L", (round(scale * width), round(scale * height)))
        assert np.array_equal(decode_image(data).pixels, np.asarray(expected.convert("L")))


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.booleans())
def test_gray_pngs_are_decoded_as_pillow_does(pixels, optimize):
    data = encoded(Image.fromarray(pixels), "PNG", optimize=optimize)
    assert np.array_equal(decode_image(data).pixels, pixels)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_in_a_gray_png_is_noticed_or_changes_nothing(data):
    whole = encoded(digit_picture(28), "PNG")
    place = data.draw(st.integers(41, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        pixels = decode_image(bytes(damaged)).pixels
    except ImageError:
        return
    assert np.array_equal(pixels, decode_image(whole).pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_applied_once(picture, kind, orientation):
    gray = picture.convert("L").resize((48, 64))
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = encoded(gray, kind)
    turned = decode_image(encoded(gray, kind, exif=exif))
    upright = Image.fromarray(decode_image(plain).pixels)
    upright.getexif()[0x0112] = orientation
    assert np.abs(turned.pixels.astype(int) - np.asarray(ImageOps.exif_transpose(upright))).max() <= 1
    assert turned.notes == (("rotated by EXIF",) if orientation > 1 else ())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_kept(kind):
    pixels = np.linspace(1000, 3000, 400).reshape(20, 20).astype(np.uint16)
    opened = decode_image(encoded(Image.fromarray(pixels), kind))
    assert opened.pixels.dtype == np.uint16
    assert np.array_equal(opened.pixels, pixels)
    assert opened.notes == ("16-bit",)


def test_big_endian_sixteen_bit_tiff_comes_in_native_order():
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20)
    data = encoded(Image.fromarray(pixels), "TIFF", big_endian=True)
    opened = decode_image(data)
    assert opened.pixels.dtype == np.dtype("=u2")
    assert np.array_equal(opened.pixels, pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiffs_of_large_or_broken_numbers_are_floats(dtype):
    pixels = (np.arange(400).reshape(20, 20) * 1000).astype(dtype)
    opened = decode_image(encoded(Image.fromarray(pixels), "TIFF"))
    assert (opened.pixels.dtype, opened.notes) == (np.float32, ("32-bit",))
    assert np.array_equal(opened.pixels, pixels)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (60, 255), (200, 0)])
@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")]
)
def test_transparent_paper_becomes_the_colour_that_keeps_the_ink_visible(picture, ink, paper, mode, kind):
    image = Image.new("L", picture.size, ink).convert(mode)
    image.putalpha(ImageOps.invert(picture))
    opened = decode_image(encoded(image, kind))
    assert opened.notes == ("transparent",)
    assert opened.pixels[0, 0] == paper
    assert contrast(opened.pixels) > 150


def test_a_transparent_palette_colour_is_transparent(picture):
    image = ImageOps.invert(picture).convert("P")
    opened = decode_image(encoded(image, "GIF", transparency=0))
    assert opened.notes == ("transparent",)
    assert contrast(opened.pixels) > 150


@pytest.mark.parametrize(("paper", "ink"), [(240, 10), (20, 230)])
def test_a_card_with_transparent_corners_is_laid_on_its_own_colour(picture, paper, ink):
    card = Image.new("L", picture.size, paper)
    card.paste(Image.new("L", picture.size, ink), mask=ImageOps.invert(picture))
    card = card.convert("RGBA")
    alpha = Image.new("L", picture.size, 255)
    alpha.paste(0, (0, 0, 5, 5))
    card.putalpha(alpha)
    corner = int(decode_image(encoded(card, "PNG")).pixels[0, 0])
    assert abs(corner - paper) < 40


def test_a_picture_that_is_not_transparent_anywhere_says_nothing_of_it(picture):
    opened = decode_image(encoded(picture.convert("RGBA"), "PNG"))
    assert np.array_equal(opened.pixels, np.asarray(picture))
    assert opened.notes == ()


@pytest.mark.parametrize(
    ("ink", "paper"),
    [((255, 235, 60), (255, 255, 255)), ((0, 0, 200), (0, 0, 0)), ((230, 40, 40), (60, 115, 60))],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_ink_that_is_as_bright_as_its_paper_is_seen_by_its_colour(ink, paper, kind):
    image = ink_like(ink, paper)
    assert contrast(np.asarray(image.convert("L"))) < 60
    opened = decode_image(encoded(image, kind))
    assert contrast(opened.pixels) > 150
    assert opened.notes[0].startswith("read by its ")


@pytest.mark.parametrize(("ink", "paper"), [((200, 0, 0), (255, 255, 255)), ((20, 40, 160), (250, 245, 230))])
def test_ordinary_coloured_ink_is_read_by_its_brightness(ink, paper):
    image = ink_like(ink, paper)
    opened = decode_image(encoded(image, "PNG"))
    assert np.array_equal(opened.pixels, np.asarray(image.convert("L")))
    assert opened.notes == ()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_read_and_the_others_said(picture, kind):
    others = [picture.rotate(90), picture.rotate(180)]
    options = {"lossless": True} if kind == "WEBP" else {}
    opened = decode_image(encoded(picture, kind, save_all=True, append_images=others, **options))
    assert np.array_equal(opened.pixels, np.asarray(picture))
    assert opened.notes == ("frame 1 of 3",)


def test_the_first_picture_of_an_mpo_is_read(picture):
    opened = decode_image(encoded(picture, "MPO", save_all=True, append_images=[picture.rotate(90)]))
    assert contrast(opened.pixels) > 200
    assert opened.notes == ("frame 1 of 2",)


@pytest.mark.parametrize(
    ("size", "expected"), [((1200, 900), (150, 113)), ((400, 200), (200, 100)), ((400, 191), (400, 191))]
)
def test_a_large_jpeg_is_decoded_at_a_reduced_scale(size, expected):
    opened = decode_image(encoded(digit_picture(200).resize(size), "JPEG"))
    assert opened.pixels.shape == expected[::-1]
    assert min(opened.pixels.shape) >= min(MIN_SHORT_SIDE, *size)
    assert opened.reduced == (size != expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_file_cut_short_anywhere_is_a_sentence_and_never_half_a_picture(picture, kind):
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    whole = encoded(noise, kind)
    for share in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9):
        with pytest.raises(ImageError, match=r"cut short|damaged|not an image"):
            decode_image(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"I am a text, whatever my name says.", "not an image: text"),
        ("Größe: grüße".encode(), "not an image: text"),
        (bytes(range(5, 200)), "not an image: unknown content"),
        (b"%PDF-1.7\n%\xe2\xe3", "not an image: a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not read: convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "AVIF is not read: convert it to PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"?" * 30, "damaged PNG: its header cannot be read"),
    ],
)
def test_what_is_no_image_is_said_in_words(data, words):
    with pytest.raises(ImageError) as caught:
        decode_image(data)
    assert str(caught.value) == words


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, depth=8, color=0):
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(9)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "data",
    [
        png_of(60000, 60000),
        png_of(9000, 9000, color=2),
        b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0",
    ],
)
def test_a_small_file_that_declares_a_huge_picture_is_refused_before_it_is_decoded(data):
    with pytest.raises(ImageError, match=r"^too large: .*--max-megapixels"):
        decode_image(data)


def test_the_limit_of_megapixels_is_the_users(picture):
    data = encoded(picture.resize((200, 100)), "PNG")
    assert decode_image(data, max_megapixels=0.02).pixels.shape == (100, 200)
    with pytest.raises(ImageError, match=r"0\.02 megapixels, --max-megapixels is 0\.01"):
        decode_image(data, max_megapixels=0.01)


def test_opening_leaves_pillows_own_limit_as_it_was(picture):
    before = Image.MAX_IMAGE_PIXELS
    decode_image(encoded(picture, "GIF"))
    with pytest.raises(ImageError):
        decode_image(png_of(60000, 60000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_picture_with_broken_exif_is_still_a_picture(picture):
    data = encoded(picture, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert contrast(decode_image(data).pixels) > 200


def test_one_pixel_is_a_picture():
    assert decode_image(encoded(Image.new("L", (1, 1), 7), "PNG")).pixels.tolist() == [[7]]


def test_a_file_that_has_vanished_is_said(tmp_path):
    with pytest.raises(ImageError, match="no longer there"):
        decode_image(tmp_path / "gone.png")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ImageError, match=r"not a file: a folder|no permission"):
        decode_image(tmp_path)


def test_a_large_file_is_read_in_parts_and_gives_the_same(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (3000, 3000), np.uint8)
    path = tmp_path / "large.bmp"
    Image.fromarray(pixels).save(path)
    assert np.array_equal(decode_image(path).pixels, pixels)


if hasattr(os, "mkfifo"):

    def test_a_named_pipe_is_refused_without_waiting_for_it(tmp_path):
        os.mkfifo(tmp_path / "pipe.png")
        with pytest.raises(ImageError, match="not a file: a pipe, socket or device"):
            decode_image(tmp_path / "pipe.png")
