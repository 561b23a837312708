"""What a worker makes of files, without the process."""

import io
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from digitscan.imaging.decode import decode_image
from digitscan.imaging.preprocess import preprocess
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.metadata import ModelMetadata
from digitscan.prediction import Folder
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.image_processor import MAX_BUFFERED_PIXELS, ImageProcessor
from digitscan.workers.protocol import CURRENT_FILE, FileLocation, read_frame, write_frame
from tests.imaging.drawing import INK, draw_box, draw_line, draw_strokes, make_paper, write
from tests.support.command import run_code
from tests.support.pictures import digit_picture, encode_image

METADATA = ModelMetadata(
    architecture="cnn", classes=11, preprocess_version=PREPROCESS_VERSION, temperature=1.0, ok_confidence=0.9
)


class _RecordingClassifier:
    """Answers 7 to everything, and keeps the pictures it was given."""

    def __init__(self):
        self.images = []

    def classify(self, images, conditions=None):
        self.images.extend(images)
        return np.eye(11)[[7] * len(images)]


class _InkWidthClassifier:
    """Takes images with ink of some widths, in pixels, for a 7, and others for no digit."""

    def __init__(self, widths):
        self.widths = widths

    def classify(self, images, conditions=None):
        widths = [cv2.boundingRect((image > 64).astype(np.uint8))[2] for image in images]
        return np.eye(11)[[7 if width in self.widths else 10 for width in widths]]


WIDE, NARROW = range(18, 29), range(1, 18)
"""Widths of the ink of a digit with a line from edge to edge below it, and of the digit alone."""


@pytest.fixture
def processor():
    return ImageProcessor(_RecordingClassifier(), METADATA, None, False, FileDecoder())


def test_a_digit_that_is_small_in_a_large_jpeg_is_decoded_again_at_a_larger_scale(processor, tmp_path):
    """The reduced scale is enough for a digit that fills its frame; of this one it would leave six pixels."""
    frame = Image.new("L", (1600, 1600), 255)
    frame.paste(digit_picture(100), (300, 900))
    frame.save(tmp_path / "a.jpg", quality=90)
    frame.save(tmp_path / "a.png")
    (row,) = processor.process([FileLocation(str(tmp_path / "a.jpg"))], lambda index: None)
    assert row[:4] == (7, 1.0, "ok", "small in its frame")
    whole = preprocess(decode_image(tmp_path / "a.png").pixels).pixels
    coarse = preprocess(decode_image(tmp_path / "a.jpg").pixels).pixels
    closer = processor.classifier.images[0]

    def correlation(pixels):
        return np.corrcoef(pixels.ravel(), whole.ravel())[0, 1]

    assert correlation(closer) > 0.94 > 0.92 > correlation(coarse)


def test_a_digit_that_is_large_enough_at_the_reduced_scale_is_decoded_once(processor, tmp_path, monkeypatch):
    frame = Image.new("L", (1200, 900), 255)
    frame.paste(digit_picture(450), (300, 200))
    frame.save(tmp_path / "a.jpg", quality=90)
    decoded = []

    def recording_decode(*arguments, **options):
        decoded.append(decode_image(*arguments, **options))
        return decoded[-1]

    monkeypatch.setattr("digitscan.imaging.decode.decode_image", recording_decode)
    (row,) = processor.process([FileLocation(str(tmp_path / "a.jpg"))], lambda index: None)
    assert row[:4] == (7, 1.0, "ok", "small in its frame")
    assert [picture.is_reduced for picture in decoded] == [True]


def test_a_digit_in_a_damaged_picture_is_review_at_best(processor, tmp_path):
    """The network may be sure of what it sees, but a part of the picture is not what was written."""
    whole = encode_image(digit_picture(100), "JPEG")
    last = len(whole) - 2 - 40
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "damaged.jpg").write_bytes(whole[:last] + whole[-2:])
    files = [FileLocation(str(tmp_path / name)) for name in ("whole.jpg", "damaged.jpg")]
    rows = processor.process(files, lambda index: None)
    assert [row[:4] for row in rows] == [
        (7, 1.0, "ok", ""),
        (7, 1.0, "review", "damaged: part of the picture is missing"),
    ]


def test_a_folder_that_was_swapped_for_a_link_is_not_followed(processor, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    digit_picture().save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "sub").symlink_to(tmp_path / "elsewhere")
    root = str(tmp_path / "images")
    files = [FileLocation("a.png", Folder(root, "sub")), FileLocation("a.png", Folder(root, "gone"))]
    rows = processor.process(files, lambda index: None)
    assert [row.note for row in rows] == ["its folder was replaced by a link or a file", "no longer there"]
    # The path that was given may be a link.
    (row,) = processor.process([FileLocation("a.png", Folder(f"{root}/sub"))], lambda index: None)
    assert row.digit == 7


def write_seven():
    """Return a page of 100x120 with a seven of 60 pixels in its middle."""
    return write(make_paper(100, 120), draw_strokes("7"))


def draw_point(page):
    return cv2.circle(page.copy(), (26, 76), 5, INK, -1, cv2.LINE_AA)


def draw_minus(page):
    return draw_line(page, (8, 50), (26, 50), 5, INK)


def draw_second_digit(page):
    return write(page, draw_strokes("2", 18, 4), 15, 94)


def draw_rule(page):
    """Return the page with a line from edge to edge on which its digit stands."""
    return draw_line(page, (0, 80), (119, 80), 2)


def save(page, folder):
    """Save a page in a folder and return its path."""
    path = folder / "page.png"
    Image.fromarray(page).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("page", "status", "note"),
    [
        (write_seven(), "ok", ""),
        (draw_point(write_seven()), "review", "point left out"),
        (draw_minus(write_seven()), "review", "minus left out"),
        (draw_second_digit(write_seven()), "review", "second digit left out"),
        (write(make_paper(100), draw_strokes("2"), 56), "review", "cut by the edge"),
        (draw_box(write_seven()), "ok", "box removed"),
    ],
    ids=["alone", "point", "minus", "second digit", "cut", "box"],
)
def test_what_is_beside_a_digit_is_named_and_reviewed_and_a_box_is_only_named(
    processor, tmp_path, page, status, note
):
    (row,) = processor.process([FileLocation(save(page, tmp_path))], lambda index: None)
    assert row[:4] == (7, 1.0, status, note)


@pytest.mark.parametrize(
    ("widths", "expected"),
    [
        (WIDE, (7, 1.0, "ok", "")),
        (NARROW, (7, 1.0, "review", "line removed")),
        ([], (None, None, "no-digit", "not like any digit")),
    ],
    ids=["with its line", "without its line", "neither"],
)
def test_a_digit_on_a_line_is_read_with_or_without_it_as_the_classifier_likes(tmp_path, widths, expected):
    processor = ImageProcessor(_InkWidthClassifier(widths), METADATA, None, False, FileDecoder())
    (row,) = processor.process([FileLocation(save(draw_rule(write_seven()), tmp_path))], lambda index: None)
    assert row[:4] == expected


def test_rows_are_the_same_however_many_pictures_are_buffered(processor, tmp_path):
    """Large and small ones, broken ones and blank ones, in any order."""
    side = round(MAX_BUFFERED_PIXELS**0.5)
    for index, (size, kind) in enumerate(
        [(28, "png"), (side, "png"), (40, "jpg"), (side, "bmp"), (28, "png")]
    ):
        digit_picture(size).save(tmp_path / f"{index}.{kind}")
    (tmp_path / "x.png").write_bytes(b"broken")
    Image.new("L", (50, 50), 200).save(tmp_path / "y.png")
    files = [FileLocation(str(path)) for path in sorted(tmp_path.iterdir())]
    indices = []
    rows = processor.process(files, indices.append)
    assert rows == [processor.process([file], lambda index: None)[0] for file in files]
    assert [row[2] for row in rows] == ["ok"] * 5 + ["error", "no-digit"]
    assert set(indices) == set(range(len(files) + 1)) and indices[-1] == len(files)


def test_text_that_libraries_print_while_they_load_is_no_answer(tmp_path):
    (tmp_path / "shared").write_bytes(bytes(CURRENT_FILE.size))
    setup = io.BytesIO()
    write_frame(setup, {"shared_path": str(tmp_path / "shared")})
    code = """
from digitscan.errors import ModelError
from digitscan.workers.worker import answer_tasks
def load_processor(setup):
    print("loaded", flush=True)
    raise ModelError("not this one")
answer_tasks(load_processor)
"""
    stdin, supervisors_end = os.pipe()  # it stays open: a worker whose supervisor is gone ends at once
    os.write(supervisors_end, setup.getvalue())
    done = run_code(code, stdin=stdin)
    os.close(stdin)
    os.close(supervisors_end)
    assert (done.returncode, done.stderr) == (0, b"loaded\n")
    assert read_frame(io.BytesIO(done.stdout)) == {"refused": "not this one"}
