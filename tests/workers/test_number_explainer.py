"""What a worker makes of pictures of numbers that a person wants to see, without the process."""

import numpy as np
import pytest
from PIL import Image

from digitscan.imaging.line_image import preprocess_line
from digitscan.model.line_reader import LineReader
from digitscan.model.number_rules import NumberRules
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.number_explainer import NumberExplainer
from digitscan.workers.number_processor import NumberProcessor
from digitscan.workers.protocol import FileLocation
from tests.workers.test_number_processor import (
    DIGIT_METADATA,
    METADATA,
    BarCounter,
    OneDigitReader,
    draw_bars,
)


@pytest.fixture
def explain(tmp_path):
    """A function that explains the files in a folder by name, with a stub classifier."""

    def explain(*names, rules=None, probability=0.999):
        reader = LineReader(BarCounter(probability), 1.0, rules or NumberRules())
        processor = NumberProcessor(
            reader, METADATA, OneDigitReader(), DIGIT_METADATA, None, True, FileDecoder()
        )
        files = [FileLocation(str(tmp_path / name)) for name in names]
        return NumberExplainer(processor, 100).process(files, lambda index: None)

    return explain


def test_a_picture_of_a_number_has_its_row_its_line_and_its_readings(explain, tmp_path):
    picture = draw_bars(2)
    picture.save(tmp_path / "a.png")
    (explained,) = explain("a.png")
    assert (explained.row.number, explained.row.status) == ("17", "ok")
    assert len(explained.row.digit_confidences) == 2
    assert explained.readings[0] == "17" and explained.probabilities[0] == explained.row.confidence
    line = preprocess_line(np.asarray(picture)).pixels
    assert np.array_equal(explained.model_input.decode(), line)
    assert max(explained.picture.decode().shape) == 100 and explained.findings is None


def test_one_digit_is_explained_as_the_model_of_single_digits_saw_it(explain, tmp_path):
    draw_bars(1).save(tmp_path / "a.png")
    (explained,) = explain("a.png")
    assert (explained.row.number, explained.row.status) == ("7", "ok")
    assert explained.readings is None and len(explained.probabilities) == 11
    assert explained.model_input.decode().shape == (28, 28)


def test_what_is_known_leaves_out_other_readings(explain, tmp_path):
    draw_bars(3).save(tmp_path / "a.png")
    (explained,) = explain("a.png", rules=NumberRules.parse("2", None), probability=0.9)
    assert {len(reading) for reading in explained.readings} <= {0, 2}


def test_a_line_without_digits_is_read_as_none(explain, tmp_path):
    draw_bars(5).save(tmp_path / "a.png")
    (explained,) = explain("a.png")
    assert explained.row.status == "no-digit" and explained.readings[0] == ""
    assert explained.model_input is not None


def test_what_has_no_line_has_its_picture_and_what_is_no_picture_only_its_row(explain, tmp_path):
    Image.new("L", (80, 40), 230).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no image")
    draw_bars(1).save(tmp_path / "a.png")
    blank, text, one = explain("blank.png", "text.png", "a.png")
    assert blank.row.note == "blank" and blank.picture is not None and blank.model_input is None
    assert text.row.status == "error" and text.picture is None
    assert one.row.number == "7"
