"""What a worker does with a chunk of files in a scan of numbers: read the line of digits in each of them.

Where a line holds one digit, the model of single digits reads it, as in a scan without `--numbers`.

Whatever is wrong with one file stays in that file's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from digitscan.csv_cells import note_leading_zeros
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
    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.line_reader import LineReader
    from digitscan.model.metadata import ModelMetadata
    from digitscan.model.number_reading import NumberReading

MAX_DIGIT_LINE_WIDTH = 48
"""Pixels of the widest line that may hold one digit alone: it is as wide as high, with its margins."""
MIN_LINE_CONFIDENCE = 0.9
"""Where several digits are read with less confidence, one that is clear in the same picture is taken."""
_FULL_SCALE = 1 << 16
"""No JPEG has so many pixels on a side: where so many are asked for, it is not decoded at a reduced scale."""


class _LineFile(NamedTuple):
    """A picture with a line in it: the index of its file, what its decoder said, and the line."""

    file_index: int
    notes: tuple[str, ...]
    needs_review: bool
    line: LineImage
    digit: Preprocessed | None
    """The same picture preprocessed as that of one digit, if the line is no wider than one may be."""


class _DigitAnswer(NamedTuple):
    """What the model of single digits says of a picture."""

    row: WorkerRow
    is_clear: bool
    """Whether nothing but the digit is in the picture."""


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
        lines: list[_LineFile] = []
        for index, file in enumerate(files):
            set_current(index)
            try:
                image, line, digit = self._read_line(file)
            except Exception as error:
                rows[index] = make_error_row(describe_error(error))
                continue
            if line.pixels is None:
                rows[index] = make_no_digit_row(line, image.notes)
            else:
                needs_review = image.needs_review or line.needs_review
                lines.append(_LineFile(index, image.notes, needs_review, line, digit))
        set_current(len(files))
        digits = self._read_digits(lines)
        pixels = [each.line.pixels for each in lines if each.line.pixels is not None]
        for each, reading in zip(lines, self.reader.read(pixels), strict=True):
            rows[each.file_index] = self._make_row(each, reading, digits.get(each.file_index))
        return rows

    def _read_line(self, file: FileLocation) -> tuple[DecodedImage, LineImage, Preprocessed | None]:
        """Return the picture of a file, the line in it, and the digit if it may be of one.

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
        is_narrow = line.pixels is not None and line.pixels.shape[1] <= MAX_DIGIT_LINE_WIDTH
        may_be_digit = is_narrow and self.reader.rules.allows_length(1)
        return image, line, preprocess(image.pixels) if may_be_digit else None

    def _read_digits(self, lines: Sequence[_LineFile]) -> dict[int, _DigitAnswer]:
        """Return what the model of single digits says of the pictures that may be of one, by file."""
        from digitscan.imaging.condition import Condition
        from digitscan.model.classifier import classify_preprocessed

        files = [each for each in lines if each.digit is not None and each.digit.pixels is not None]
        results = [each.digit for each in files if each.digit is not None]
        answers = classify_preprocessed(self.digit_classifier, results)
        return {
            file.file_index: _DigitAnswer(
                make_row(answer, file.notes, file.needs_review, self.digit_metadata, self.min_confidence),
                answer.preprocessed.condition is Condition.CLEAN,
            )
            for file, answer in zip(files, answers, strict=True)
        }

    def _make_row(self, file: _LineFile, reading: NumberReading, digit: _DigitAnswer | None) -> WorkerRow:
        from digitscan.imaging.segment import SEVERAL_DIGITS
        from digitscan.model.number_reading import decide_number

        needs_review = file.needs_review
        if digit is not None and self._is_of_one_digit(reading, digit):
            return self._make_digit_row(digit.row, reading.number)
        if len(reading.number) == 1 and file.digit is not None and file.digit.rejection == SEVERAL_DIGITS:
            needs_review = True
        # Each cell is for one digit: more of them were read where a line was taken for a digit.
        needs_review |= 0 < file.line.cell_count < len(reading.number)
        decision = decide_number(reading, self.metadata, self.min_confidence, needs_review)
        zeros = note_leading_zeros(decision.number or "")
        notes = (decision.note, *file.notes, *file.line.notes, *reading.notes, *zeros)
        return WorkerRow(
            None,
            decision.confidence,
            decision.status,
            "; ".join(filter(None, notes)),
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

    def _make_digit_row(self, row: WorkerRow, read_in_line: str) -> WorkerRow:
        """Return the row of a number of one digit. Another number in the line makes it `review`."""
        number = str(row.digit)
        status, note = row.status, row.note
        if read_in_line not in (number, "") and status == Status.OK:
            status, note = Status.REVIEW, "; ".join(filter(None, (f"{number} or {read_in_line}", note)))
        confidences = [row.confidence or 0.0] if self.digit_confidence else None
        return WorkerRow(None, row.confidence, status, note, None, number, confidences)


def load_number_processor(setup: NumberSetup) -> ProcessFiles:
    """Load the model that the supervisor names and return what reads numbers in files. Raises ModelError."""
    from digitscan.model.line_classifier import LineClassifier
    from digitscan.model.line_reader import LineReader

    prepare_process(setup["max_megapixels"])
    compiled, metadata = read_model(setup["model"])
    processor = NumberProcessor(
        LineReader(
            LineClassifier(compiled, metadata), metadata.temperature, NumberRules.from_stored(setup["rules"])
        ),
        metadata,
        *load_classifier(setup["digit_model"], setup["fast_model"]),
        setup["min_confidence"],
        setup["digit_confidence"],
        FileDecoder(setup["max_megapixels"], setup["max_pages"]),
    )
    return processor.process
