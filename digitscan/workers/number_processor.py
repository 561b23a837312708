"""What a worker does with a chunk of files in a scan of numbers: read the line of digits in each of them.

Where a line holds one digit, the model of single digits reads it, as in a scan without `--numbers`.

Whatever is wrong with one file stays in that file's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from digitscan.csv_cells import note_whole_number
from digitscan.model.number_rules import NumberRules
from digitscan.prediction import Status
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.image_processor import (
    ProcessFiles,
    SetCurrent,
    describe_error,
    load_classifier,
    make_error_row,
    make_no_digit_row,
    make_row,
    prepare_process,
    read_model,
)
from digitscan.workers.protocol import FileLocation, NumberSetup, WorkerRow

if TYPE_CHECKING:
    from digitscan.imaging.decoded_image import DecodedImage
    from digitscan.imaging.line_image import LineImage
    from digitscan.imaging.preprocess import Preprocessed
    from digitscan.model.classifier import Cascade, ClassifiedImage, Classifier
    from digitscan.model.line_reader import LineReader
    from digitscan.model.metadata import ModelMetadata
    from digitscan.model.number_reading import NumberReading

MAX_DIGIT_LINE_WIDTH = 48
"""Pixels of the widest line that may hold one digit alone: it is as wide as high, with its margins."""
MAX_DIGIT_ASPECT = 1.2
"""The width of the widest picture, as a share of its height, that may show one digit alone."""
MIN_LINE_CONFIDENCE = 0.9
"""Where several digits are read with less confidence, one that is clear in the same picture is taken."""
MAY_BE_SEVERAL = "may be several digits"
"""The note of a number of one digit in whose picture preprocessing sees several."""
_FULL_SCALE = 1 << 16
"""No JPEG has so many pixels on a side: where so many are asked for, it is not decoded at a reduced scale."""


class LineFile(NamedTuple):
    """A picture with a line in it: the index of its file, what its decoder said, and the line."""

    file_index: int
    notes: tuple[str, ...]
    needs_review: bool
    line: LineImage
    digit: Preprocessed | None
    """The same picture preprocessed as that of one digit, if the line or the picture is as narrow as one."""


class _DigitAnswer(NamedTuple):
    """What the model of single digits says of a picture."""

    row: WorkerRow
    answer: ClassifiedImage

    @property
    def is_clear(self) -> bool:
        """Whether nothing but the digit is in the picture."""
        from digitscan.imaging.condition import Condition

        return self.answer.preprocessed.condition is Condition.CLEAN


class NumberAnswer(NamedTuple):
    """The row of a picture with a line in it, and what led to it."""

    row: WorkerRow
    reading: NumberReading
    """What was read in the line."""
    digit: ClassifiedImage | None
    """What the model of single digits said, where it decided; else None."""


@dataclass(frozen=True)
class NumberProcessor:
    """Turns files into rows, each with the number in its picture."""

    reader: LineReader
    metadata: ModelMetadata
    digit_classifier: Classifier | Cascade
    digit_metadata: ModelMetadata
    min_confidence: float | None
    digit_confidence: bool
    decoder: FileDecoder

    def process(self, files: Sequence[FileLocation], set_current: SetCurrent) -> list[WorkerRow]:
        """Return one row for each file, in order; see `ImageProcessor.process`."""
        rows: list[WorkerRow] = [make_error_row("")] * len(files)
        lines: list[LineFile] = []
        for index, file in enumerate(files):
            set_current(index)
            try:
                image, line_file = self.read_line(index, file)
            except Exception as error:
                rows[index] = make_error_row(describe_error(error))
                continue
            if line_file.line.pixels is None:
                rows[index] = make_no_digit_row(line_file.line, image.notes)
            else:
                lines.append(line_file)
        set_current(len(files))
        digits = self._read_digits(lines)
        for each in lines:
            # One at a time, so that a line that takes too long is found and costs only its own row.
            set_current(each.file_index)
            try:
                rows[each.file_index] = self._read_and_answer(each, digits.get(each.file_index)).row
            except Exception as error:
                rows[each.file_index] = make_error_row(describe_error(error))
        set_current(len(files))
        return rows

    def answer(self, lines: Sequence[LineFile]) -> list[NumberAnswer]:
        """Return the row of each picture, which must have a line, and what led to it."""
        digits = self._read_digits(lines)
        return [self._read_and_answer(each, digits.get(each.file_index)) for each in lines]

    def _read_and_answer(self, file: LineFile, digit: _DigitAnswer | None) -> NumberAnswer:
        assert file.line.pixels is not None  # the caller leaves out those without a line
        (reading,) = self.reader.read([file.line.pixels])
        return self._answer(file, reading, digit)

    def read_line(self, index: int, file: FileLocation) -> tuple[DecodedImage, LineFile]:
        """Return the picture of a file, and what is in it: a line, or also a digit if it may be of one.

        A large JPEG is decoded at a reduced scale first, and in full if its digits are small. Raises
        ImageError, and whatever a bug raises.
        """
        from digitscan.imaging.decoded_image import MIN_SHORT_SIDE_CLOSE_UP
        from digitscan.imaging.line_image import LINE_HEIGHT, preprocess_line
        from digitscan.imaging.preprocess import preprocess

        image = self.decoder.decode(file, MIN_SHORT_SIDE_CLOSE_UP)
        line = preprocess_line(image.pixels)
        if image.is_reduced and 0 < line.digit_size < LINE_HEIGHT:
            image = self.decoder.decode(file, _FULL_SCALE)
            line = preprocess_line(image.pixels)
        height, width = image.pixels.shape
        # A picture that ends at its digit's ink gives a wide line where a long stroke was taken for a print.
        is_narrow = line.pixels is not None and (
            line.pixels.shape[1] <= MAX_DIGIT_LINE_WIDTH or width <= MAX_DIGIT_ASPECT * height
        )
        may_be_digit = is_narrow and self.reader.rules.allows_length(1)
        digit = preprocess(image.pixels) if may_be_digit else None
        return image, LineFile(index, image.notes, image.needs_review or line.needs_review, line, digit)

    def _read_digits(self, lines: Sequence[LineFile]) -> dict[int, _DigitAnswer]:
        """Return what the model of single digits says of the pictures that may be of one, by file."""
        from digitscan.model.classifier import classify_preprocessed

        files = [each for each in lines if each.digit is not None and each.digit.pixels is not None]
        results = [each.digit for each in files if each.digit is not None]
        answers = classify_preprocessed(self.digit_classifier, results)
        return {
            file.file_index: _DigitAnswer(
                make_row(answer, file.notes, file.needs_review, self.digit_metadata, self.min_confidence),
                answer,
            )
            for file, answer in zip(files, answers, strict=True)
        }

    def _answer(self, file: LineFile, reading: NumberReading, digit: _DigitAnswer | None) -> NumberAnswer:
        if digit is not None and self._is_of_one_digit(reading, digit):
            return NumberAnswer(self._make_digit_row(file, digit.row, reading), reading, digit.answer)
        return NumberAnswer(self._make_row(file, reading), reading, None)

    def _make_row(self, file: LineFile, reading: NumberReading) -> WorkerRow:
        from digitscan.imaging.segment import SEVERAL_DIGITS
        from digitscan.model.number_reading import decide_number

        is_of_several = (
            len(reading.number) == 1 and file.digit is not None and file.digit.rejection == SEVERAL_DIGITS
        )
        # Each cell is for one digit: more of them were read where a line was taken for a digit.
        has_too_many = 0 < file.line.cell_count < len(reading.number)
        needs_review = file.needs_review or is_of_several or has_too_many
        decision = decide_number(reading, self.metadata, self.min_confidence, needs_review)
        notes = (
            decision.note,
            MAY_BE_SEVERAL if is_of_several else "",
            *file.notes,
            *file.line.notes,
            *reading.notes,
            *note_whole_number(decision.number or ""),
        )
        return WorkerRow(
            None,
            decision.confidence,
            decision.status,
            join_notes(notes),
            None,
            decision.number,
            [*reading.digit_confidences] if self.digit_confidence and decision.number else None,
        )

    def _is_of_one_digit(self, reading: NumberReading, digit: _DigitAnswer) -> bool:
        """Tell whether the model of single digits decides: it reads them better than that of lines."""
        if digit.row.digit is None or not self.reader.rules.passes_check(str(digit.row.digit)):
            return False
        if len(reading.number) <= 1:
            return True
        is_sure = digit.row.status == Status.OK and digit.is_clear
        return is_sure and reading.confidence < MIN_LINE_CONFIDENCE

    def _make_digit_row(self, file: LineFile, row: WorkerRow, reading: NumberReading) -> WorkerRow:
        """Return the row of a number of one digit.

        What the line shows besides makes it `review`: another number, a minus, a length that is not expected.
        So does a model of lines that nobody vouches for: it decides which pictures are of one digit.
        """
        number = str(row.digit)
        others = dict.fromkeys(other for other in (reading.number, reading.alternative) if other)
        others.pop(number, None)
        is_trusted = self.metadata.ok_confidence is not None or self.min_confidence is not None
        status = row.status
        if status == Status.OK and (others or reading.needs_review or not is_trusted):
            status = Status.REVIEW
        notes = (
            " or ".join((number, *others)) if others else "",
            row.note,
            *file.line.notes,
            *reading.notes,
            "" if is_trusted else "model not calibrated",
        )
        confidences = [row.confidence or 0.0] if self.digit_confidence else None
        return WorkerRow(None, row.confidence, status, join_notes(notes), None, number, confidences)


def join_notes(notes: Iterable[str]) -> str:
    """Return notes as the cell of a row: each once, without empty ones."""
    return "; ".join(dict.fromkeys(filter(None, notes)))


def load_number_processor(setup: NumberSetup) -> ProcessFiles:
    """Return what reads numbers in files, as the supervisor has set it up. Raises ModelError."""
    return create_number_processor(setup).process


def create_number_processor(setup: NumberSetup) -> NumberProcessor:
    """Return the processor that the supervisor describes, with its models loaded. Raises ModelError."""
    from digitscan.model.line_classifier import LineClassifier
    from digitscan.model.line_reader import LineReader

    prepare_process(setup["max_megapixels"])
    compiled, metadata = read_model(setup["model"])
    return NumberProcessor(
        LineReader(
            LineClassifier(compiled, metadata), metadata.temperature, NumberRules.from_stored(setup["rules"])
        ),
        metadata,
        *load_classifier(setup["digit_model"], setup["fast_model"]),
        setup["min_confidence"],
        setup["digit_confidence"],
        FileDecoder(setup["max_megapixels"], setup["max_pages"]),
    )
