"""What the process that reads files makes of them, without the process."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from digitscan.imaging.decode import decode_image
from digitscan.imaging.preprocess import PREPROCESS_VERSION, preprocess
from digitscan.model.metadata import ModelMetadata
from digitscan.workers.image_processor import MAX_BUFFERED_PIXELS, ImageProcessor
from digitscan.workers.protocol import read_frame
from tests.support.command import PACKAGE_FOLDER
from tests.support.pictures import digit_picture

FACTS = ModelMetadata(
    architecture="cnn", classes=11, preprocess_version=PREPROCESS_VERSION, temperature=1.0, ok_confidence=0.9
)


class _Watcher:
    """Answers 7 to everything, and keeps what it was shown."""

    def __init__(self):
        self.shown = []

    def classify(self, images):
        self.shown.extend(images)
        return np.eye(11)[[7] * len(images)]


@pytest.fixture
def reader():
    return ImageProcessor(_Watcher(), FACTS, None, False, 64.0)


def test_a_digit_that_is_small_in_a_large_jpeg_is_looked_at_closer(reader, tmp_path):
    """The reduced scale that is enough for one that fills its frame would leave six pixels of it."""
    frame = Image.new("L", (1600, 1600), 255)
    frame.paste(digit_picture(100), (300, 900))
    frame.save(tmp_path / "a.jpg", quality=90)
    frame.save(tmp_path / "a.png")
    (row,) = reader.read([str(tmp_path / "a.jpg")], lambda index: None)
    assert row[:4] == (7, 1.0, "ok", "small in its frame")
    whole = preprocess(decode_image(tmp_path / "a.png").pixels).pixels
    coarse = preprocess(decode_image(tmp_path / "a.jpg").pixels).pixels
    shown = reader.classifier.shown[0]

    def correlation(one):
        return np.corrcoef(one.ravel(), whole.ravel())[0, 1]

    assert correlation(shown) > 0.94 > 0.92 > correlation(coarse)


def test_a_digit_that_is_large_enough_in_the_reduced_picture_is_opened_once(reader, tmp_path, monkeypatch):
    frame = Image.new("L", (1200, 900), 255)
    frame.paste(digit_picture(450), (300, 200))
    frame.save(tmp_path / "a.jpg", quality=90)
    opened = []

    def watched(*arguments):
        opened.append(decode_image(*arguments))
        return opened[-1]

    monkeypatch.setattr("digitscan.imaging.decode.decode_image", watched)
    (row,) = reader.read([str(tmp_path / "a.jpg")], lambda index: None)
    assert row[:4] == (7, 1.0, "ok", "small in its frame")
    assert [picture.reduced for picture in opened] == [True]


def test_rows_are_the_same_however_many_pictures_are_held_at_once(reader, tmp_path):
    """Large and small ones, broken ones and blank ones, in any order."""
    side = round(MAX_BUFFERED_PIXELS**0.5)
    for place, (size, kind) in enumerate(
        [(28, "png"), (side, "png"), (40, "jpg"), (side, "bmp"), (28, "png")]
    ):
        digit_picture(size).save(tmp_path / f"{place}.{kind}")
    (tmp_path / "x.png").write_bytes(b"broken")
    Image.new("L", (50, 50), 200).save(tmp_path / "y.png")
    paths = sorted(str(path) for path in tmp_path.iterdir())
    touched = []
    together = reader.read(paths, touched.append)
    assert together == [reader.read([path], lambda index: None)[0] for path in paths]
    assert [row[2] for row in together] == ["ok"] * 5 + ["error", "no-digit"]
    assert set(touched) == set(range(len(paths) + 1)) and touched[-1] == len(paths)


def test_what_libraries_print_while_they_are_loaded_is_no_answer():
    code = "from digitscan.workers.worker import main; main(prepare=lambda: print('loaded', flush=True))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"" and done.stderr == b"loaded\n"


def test_a_frame_longer_than_any_of_ours_is_none():
    with pytest.raises(ValueError, match="no frame"):
        read_frame(io.BytesIO(b"word" + bytes(100)))
