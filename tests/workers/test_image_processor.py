"""What a worker makes of files, without the process."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from digitscan.imaging.decode import decode_image
from digitscan.imaging.preprocess import PREPROCESS_VERSION, preprocess
from digitscan.model.metadata import ModelMetadata
from digitscan.workers.image_processor import MAX_BUFFERED_PIXELS, ImageProcessor
from tests.support.command import run_code
from tests.support.pictures import digit_picture

METADATA = ModelMetadata(
    architecture="cnn", classes=11, preprocess_version=PREPROCESS_VERSION, temperature=1.0, ok_confidence=0.9
)


class _RecordingClassifier:
    """Answers 7 to everything, and keeps the pictures it was given."""

    def __init__(self):
        self.images = []

    def classify(self, images):
        self.images.extend(images)
        return np.eye(11)[[7] * len(images)]


@pytest.fixture
def processor():
    return ImageProcessor(_RecordingClassifier(), METADATA, None, False, 64.0)


def test_a_digit_that_is_small_in_a_large_jpeg_is_decoded_again_at_a_larger_scale(processor, tmp_path):
    """The reduced scale is enough for a digit that fills its frame; of this one it would leave six pixels."""
    frame = Image.new("L", (1600, 1600), 255)
    frame.paste(digit_picture(100), (300, 900))
    frame.save(tmp_path / "a.jpg", quality=90)
    frame.save(tmp_path / "a.png")
    (row,) = processor.process([str(tmp_path / "a.jpg")], lambda index: None)
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

    def recording_decode(*arguments):
        decoded.append(decode_image(*arguments))
        return decoded[-1]

    monkeypatch.setattr("digitscan.imaging.decode.decode_image", recording_decode)
    (row,) = processor.process([str(tmp_path / "a.jpg")], lambda index: None)
    assert row[:4] == (7, 1.0, "ok", "small in its frame")
    assert [picture.is_reduced for picture in decoded] == [True]


def test_rows_are_the_same_however_many_pictures_are_buffered(processor, tmp_path):
    """Large and small ones, broken ones and blank ones, in any order."""
    side = round(MAX_BUFFERED_PIXELS**0.5)
    for index, (size, kind) in enumerate(
        [(28, "png"), (side, "png"), (40, "jpg"), (side, "bmp"), (28, "png")]
    ):
        digit_picture(size).save(tmp_path / f"{index}.{kind}")
    (tmp_path / "x.png").write_bytes(b"broken")
    Image.new("L", (50, 50), 200).save(tmp_path / "y.png")
    paths = sorted(str(path) for path in tmp_path.iterdir())
    indices = []
    rows = processor.process(paths, indices.append)
    assert rows == [processor.process([path], lambda index: None)[0] for path in paths]
    assert [row[2] for row in rows] == ["ok"] * 5 + ["error", "no-digit"]
    assert set(indices) == set(range(len(paths) + 1)) and indices[-1] == len(paths)


def test_text_that_libraries_print_while_they_load_is_no_answer():
    code = (
        "from digitscan.workers.worker import answer_tasks\n"
        "answer_tasks(preload=lambda: print('loaded', flush=True))"
    )
    done = run_code(code, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"loaded\n")
