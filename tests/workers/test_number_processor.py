"""What a worker makes of files in a scan of numbers, without the process."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from digitscan.errors import ModelError
from digitscan.imaging.decode import decode_image
from digitscan.imaging.line_image import LINE_HEIGHT, SEVERAL_LINES
from digitscan.imaging.version import LINE_PREPROCESS_VERSION, PREPROCESS_VERSION
from digitscan.model.ctc import BLANK, POINT, SYMBOL_COUNT
from digitscan.model.line_reader import LineReader
from digitscan.model.metadata import ModelMetadata
from digitscan.model.number_reading import NumberReading
from digitscan.model.number_rules import NumberRules
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.number_processor import NumberProcessor
from digitscan.workers.protocol import FileLocation, parse_worker_row

METADATA = ModelMetadata(
    architecture="line", classes=SYMBOL_COUNT, preprocess_version=LINE_PREPROCESS_VERSION, ok_confidence=0.9
)
DIGIT_METADATA = ModelMetadata(
    architecture="cnn", classes=11, preprocess_version=PREPROCESS_VERSION, ok_confidence=0.9
)
NUMBERS = {1: "7", 2: "17", 3: "007", 4: "12.5", 5: ""}
"""What the stub classifier reads in a line of so many bars."""


class BarCounter:
    """Counts the upright bars of a line, and reads the number that NUMBERS has for so many."""

    def __init__(self, probability=0.999):
        """Give the symbol of each step this probability."""
        self.probability = probability
        self.lines = []

    def classify(self, images):
        """Return the probabilities of each line."""
        self.lines += images
        return [self._read(image) for image in images]

    def _read(self, line):
        assert line.dtype == np.uint8 and line.shape[0] == LINE_HEIGHT and line.shape[1] % 4 == 0
        is_ink = np.concatenate([[False], line.max(axis=0) > 100])
        symbols = NUMBERS[int((is_ink[1:] & ~is_ink[:-1]).sum())]
        steps = [BLANK]
        for symbol in symbols:
            steps += [POINT if symbol == "." else int(symbol), BLANK]
        rest = (1 - self.probability) / (SYMBOL_COUNT - 1)
        return np.where(np.eye(SYMBOL_COUNT)[steps], self.probability, rest).astype(np.float32)


class OneDigitReader:
    """Reads one digit in every picture of one."""

    def __init__(self, digit=7, probability=0.999):
        """Give the digit this probability."""
        self.digit, self.probability = digit, probability

    def classify(self, images, conditions=None):
        """Return the probabilities of each picture."""
        rest = (1 - self.probability) / 10
        return np.where(np.eye(11)[[self.digit] * len(images)], self.probability, rest)


def draw_bars(count, height=60, width=40, ink=30, paper=230):
    """Return a picture of so many upright bars in one line, 8-bit gray."""
    image = Image.new("L", (width * (count + 1), 2 * height), paper)
    draw = ImageDraw.Draw(image)
    for index in range(count):
        left = width * (index + 1) - width // 2
        draw.rectangle((left, height // 2, left + width // 5, height // 2 + height), fill=ink)
    return image


@pytest.fixture
def create():
    """A function that returns a processor with a stub classifier."""

    def create(rules=None, probability=0.999, digit_reader=None, **settings):
        settings = {"min_confidence": None, "digit_confidence": False, **settings}
        return NumberProcessor(
            LineReader(BarCounter(probability), 1.0, rules or NumberRules()),
            METADATA,
            digit_reader or OneDigitReader(),
            DIGIT_METADATA,
            decoder=FileDecoder(max_pages=2),
            **settings,
        )

    return create


@pytest.fixture
def files(tmp_path):
    """Pictures of one to four bars, one that says nothing, and some that hold no number."""
    for count in NUMBERS:
        draw_bars(count).save(tmp_path / f"{count}.png")
    Image.new("L", (120, 60), 230).save(tmp_path / "blank.png")
    lines = Image.new("L", (200, 240), 230)
    lines.paste(draw_bars(3), (0, 0))
    lines.paste(draw_bars(3), (0, 120))
    lines.save(tmp_path / "lines.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])
    names = ["blank", "1", "broken", "2", "3", "lines", "4", "5"]
    return [FileLocation(str(tmp_path / f"{name}.png")) for name in names]


def process(processor, files):
    return processor.process(files, lambda index: None)


def test_each_file_has_one_row_in_order_with_its_number_or_why_there_is_none(create, files):
    rows = process(create(), files)
    assert [(row.number, row.status, row.note) for row in rows] == [
        (None, "no-digit", "blank"),
        ("7", "ok", ""),
        (None, "error", "truncated PNG"),
        ("17", "ok", ""),
        ("007", "ok", "in full: 007"),
        (None, "no-digit", SEVERAL_LINES),
        ("125", "ok", "with a point"),
        (None, "no-digit", "no digits"),
    ]
    assert {row.digit for row in rows} == {row.probabilities for row in rows} == {None}
    assert all((row.confidence or 0) > 0.9 for row in rows if row.number)
    assert [*map(parse_worker_row, json.loads(json.dumps(rows)))] == rows


def test_rows_do_not_depend_on_the_files_beside_them(create, files):
    together = process(create(digit_confidence=True), files)
    assert together == [process(create(digit_confidence=True), [file])[0] for file in files]
    assert process(create(digit_confidence=True), files[::-1]) == together[::-1]


def test_the_supervisor_is_told_which_file_is_decoded_and_then_which_line_is_read(create, files):
    indices = []
    create().process(files, indices.append)
    with_lines = [1, 3, 4, 6, 7]
    assert indices == [*range(len(files) + 1), *with_lines, len(files)]


def test_the_confidence_of_each_digit_is_sent_if_it_is_wanted(create, files):
    without, with_it = (process(create(digit_confidence=wanted), files) for wanted in (False, True))
    assert all(row.digit_confidences is None for row in without)
    assert [len(row.digit_confidences or ()) for row in with_it] == [len(row.number or "") for row in with_it]


def test_what_is_known_of_the_numbers_and_the_limit_for_ok_decide_on_the_status(create, files):
    def statuses(**settings):
        return [row.status for row in process(create(**settings), files) if row.number]

    assert statuses() == ["ok"] * 4
    assert statuses(rules=NumberRules.parse("2-3", None)) == ["review", "ok", "ok", "ok"]
    assert statuses(min_confidence=1.0) == ["review"] * 4
    assert statuses(probability=0.6) == ["ok", "review", "review", "review"]  # the first has one digit


@pytest.mark.parametrize("image_format", ["jpg", "png"])
def test_small_digits_in_a_large_photo_are_read_with_all_their_pixels(create, tmp_path, image_format):
    """At the scale at which a JPEG of this size is decoded first, they are ten pixels high."""
    photo = Image.new("L", (4000, 1600), 230)
    photo.paste(draw_bars(2, height=40, width=30), (2000, 700))
    path = tmp_path / f"a.{image_format}"
    photo.save(path, quality=95)
    processor = create()
    (row,) = process(processor, [FileLocation(str(path))])
    assert row.number == "17"
    (line,) = processor.reader.classifier.lines
    is_blurred = (line > 40) & (line < 200)
    assert is_blurred.mean() < 0.08  # 0.05 with all pixels, and 0.11 at the reduced scale


def test_a_large_photo_with_large_digits_is_decoded_once(create, tmp_path, monkeypatch):
    draw_bars(2, height=800, width=900).save(tmp_path / "a.jpg", quality=95)
    decoded = []

    def recording_decode(*arguments, **options):
        decoded.append(decode_image(*arguments, **options))
        return decoded[-1]

    monkeypatch.setattr("digitscan.imaging.decode.decode_image", recording_decode)
    (row,) = process(create(), [FileLocation(str(tmp_path / "a.jpg"))])
    assert row.number == "17" and [image.is_reduced for image in decoded] == [True]


def test_a_strip_that_is_much_too_long_and_one_a_pixel_high_have_a_row(create, tmp_path):
    draw_bars(400, height=60, width=50).save(tmp_path / "long.png")
    Image.new("L", (20_000, 1), 255).save(tmp_path / "thin.png")
    strip = Image.new("L", (20_000, 1), 255)
    strip.paste(0, (100, 0, 300, 1))
    strip.save(tmp_path / "thin-ink.png")
    files = [FileLocation(str(tmp_path / f"{name}.png")) for name in ("long", "thin", "thin-ink")]
    rows = process(create(), files)
    assert [row.status for row in rows[:2]] == ["no-digit"] * 2
    assert rows[0].note == "too long for one number: cut it first" and rows[1].note == "blank"
    assert rows[2].status in {"no-digit", "ok", "review"}


def test_a_number_in_one_of_several_frames_is_to_be_looked_at(create, tmp_path):
    frames = [draw_bars(2), draw_bars(1)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    (row,) = process(create(), [FileLocation(str(tmp_path / "a.gif"))])
    assert row[2:4] == ("review", "frame 1 of 2") and row.number == "17"


def test_each_page_is_read_up_to_the_last_one_that_is_allowed(create, tmp_path):
    pages = [draw_bars(count) for count in (1, 2, 3)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    files = [FileLocation(str(tmp_path / "a.tiff"), page=page) for page in (1, 2, 3)]
    rows = process(create(), files)
    assert [row.number for row in rows] == ["7", "17", None]
    assert rows[2].note == "too many pages: 3 (--max-pages is 2)"


def test_a_bug_that_one_file_meets_does_not_cost_the_others_their_rows(create, files, monkeypatch):
    from digitscan.imaging import line_image

    preprocess_line = line_image.preprocess_line

    def fail_for_two_bars(pixels):
        if pixels.shape == (120, 120):
            raise RuntimeError
        return preprocess_line(pixels)

    before = process(create(), files)
    monkeypatch.setattr(line_image, "preprocess_line", fail_for_two_bars)
    rows = process(create(), files)
    assert rows[3][2:4] == ("error", "unexpected: RuntimeError")
    assert rows[:3] + rows[4:] == before[:3] + before[4:]


def test_more_digits_than_cells_are_for_review(create, tmp_path):
    picture = Image.new("L", (220, 90), 235)
    draw = ImageDraw.Draw(picture)
    for left in (30, 80):
        draw.rectangle((left, 15, left + 50, 75), outline=60)
    draw.rectangle((60, 30, 68, 62), fill=20)
    picture.save(tmp_path / "cells.png")
    files = [FileLocation(str(tmp_path / "cells.png"))]

    class ThreeDigits(BarCounter):
        def _read(self, line):
            steps = [BLANK, 1, BLANK, 2, BLANK, 3, BLANK]
            return np.where(np.eye(SYMBOL_COUNT)[steps], 0.999, 0.0001).astype(np.float32)

    processor = create()
    object.__setattr__(processor.reader, "classifier", ThreeDigits())
    (row,) = process(processor, files)
    assert (row.number, row.status) == ("123", "review")
    assert "in a row of 2 cells" in row.note


def test_a_number_of_one_digit_is_read_by_the_model_of_single_digits(create, files):
    one_bar = files[1]
    (row,) = process(create(probability=0.6, digit_confidence=True), [one_bar])
    assert (row.number, row.status, row.digit_confidences) == ("7", "ok", [row.confidence])
    (row,) = process(create(digit_reader=OneDigitReader(1)), [one_bar])
    assert (row.number, row.status, row.note) == ("1", "review", "1 or 7")
    (row,) = process(create(digit_reader=OneDigitReader(10)), [one_bar])
    assert (row.number, row.status) == ("7", "ok")


def test_no_single_digit_is_read_where_numbers_have_more(create, files):
    (row,) = process(create(NumberRules.parse("2", None), digit_reader=OneDigitReader(1)), [files[1]])
    assert (row.number, row.status) == ("7", "review")
    assert "2 digits expected" in row.note


class _FixedReader:
    """Reads the same of every line."""

    rules = NumberRules()

    def __init__(self, **reading):
        self.reading = NumberReading(**{"number": "7", "confidence": 0.99, **reading})

    def read(self, lines):
        return [self.reading] * len(lines)


@pytest.mark.parametrize(
    ("reading", "note"),
    [
        ({"notes": ("with a minus",), "needs_review": True}, "with a minus"),
        ({"alternative": "17"}, "7 or 17"),
        ({"number": "17", "confidence": 0.5}, "7 or 17"),
        ({"notes": ("1 digit expected",), "needs_review": True}, "1 digit expected"),
    ],
)
def test_what_the_line_shows_besides_one_digit_makes_the_row_review(create, files, reading, note):
    processor = create()
    object.__setattr__(processor, "reader", _FixedReader(**reading))
    (row,) = process(processor, [files[1]])
    assert (row.number, row.status) == ("7", "review")
    assert note in row.note


def test_no_digit_is_ok_under_a_model_of_lines_that_nobody_vouches_for(create, files):
    processor = create()
    object.__setattr__(processor, "metadata", METADATA.without_claims())
    (row,) = process(processor, [files[1]])
    assert (row.number, row.status, row.note) == ("7", "review", "model not calibrated")
    object.__setattr__(processor, "min_confidence", 0.9)
    assert process(processor, [files[1]])[0].status == "ok"


def test_a_line_that_cannot_be_read_costs_its_own_row_only(create, files):
    class FailsOnWideLines(BarCounter):
        def classify(self, images):
            if images[0].shape[1] > 60:
                raise ModelError("no such width")
            return super().classify(images)

    processor = create()
    object.__setattr__(processor.reader, "classifier", FailsOnWideLines())
    statuses = [row.status for row in process(processor, files)]
    assert "error" in statuses[3:]
    assert statuses[1] == "ok"
