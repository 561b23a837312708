"""What a worker does with a chunk of files in a scan of numbers: read the line of digits in each of them.

Whatever is wrong with one file stays in that file's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from digitscan.csv_cells import note_leading_zeros
from digitscan.model.number_rules import NumberRules
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.image_processor import (
    ProcessFiles,
    SetCurrent,
    describe_error,
    make_error_row,
    make_no_digit_row,
    prepare_process,
    read_model,
)
from digitscan.workers.protocol import FileLocation, NumberSetup, WorkerRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.imaging.decoded_image import DecodedImage
    from digitscan.imaging.line_image import LineImage
    from digitscan.model.line_classifier import LineClassifier
    from digitscan.model.metadata import ModelMetadata

_FULL_SCALE = 1 << 16
"""No JPEG has so many pixels on a side: where so many are asked for, it is not decoded at a reduced scale."""


class _LineFile(NamedTuple):
    """A picture with a line in it: the index of its file, what its decoder said, and the line."""

    file_index: int
    notes: tuple[str, ...]
    needs_review: bool
    line: LineImage


@dataclass(frozen=True)
class NumberProcessor:
    """Turns files into rows, each with the number in its picture."""

    classifier: LineClassifier
    metadata: ModelMetadata
    rules: NumberRules
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
                image, line = self._read_line(file)
            except Exception as error:
                rows[index] = make_error_row(describe_error(error))
                continue
            if line.pixels is None:
                rows[index] = make_no_digit_row(line, image.notes)
            else:
                lines.append(_LineFile(index, image.notes, image.needs_review or line.needs_review, line))
        set_current(len(files))
        pixels = [each.line.pixels for each in lines if each.line.pixels is not None]
        for each, probabilities in zip(lines, self.classifier.classify(pixels), strict=True):
            rows[each.file_index] = self._make_row(each, probabilities)
        return rows

    def _read_line(self, file: FileLocation) -> tuple[DecodedImage, LineImage]:
        """Return the picture of a file and the line in it. Raises ImageError, and whatever a bug raises.

        A large JPEG is decoded at a reduced scale first, and in full if its digits are small.
        """
        from digitscan.imaging.decoded_image import MIN_SHORT_SIDE_CLOSE_UP
        from digitscan.imaging.line_image import LINE_HEIGHT, preprocess_line

        image = self.decoder.decode(file, MIN_SHORT_SIDE_CLOSE_UP)
        line = preprocess_line(image.pixels)
        if image.is_reduced and 0 < line.digit_size < LINE_HEIGHT:
            image = self.decoder.decode(file, _FULL_SCALE)
            line = preprocess_line(image.pixels)
        return image, line

    def _make_row(self, file: _LineFile, probabilities: NDArray[np.float32]) -> WorkerRow:
        from digitscan.model.number_reading import decide_number, read_number

        reading = read_number(probabilities, self.rules, self.metadata.temperature)
        cell_count = file.line.cell_count
        # Each cell is for one digit: more of them were read where a line was taken for a digit.
        needs_review = file.needs_review or 0 < cell_count < len(reading.number)
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


def load_number_processor(setup: NumberSetup) -> ProcessFiles:
    """Load the model that the supervisor names and return what reads numbers in files. Raises ModelError."""
    from digitscan.model.line_classifier import LineClassifier

    prepare_process(setup["max_megapixels"])
    compiled, metadata = read_model(setup["model"])
    processor = NumberProcessor(
        LineClassifier(compiled, metadata),
        metadata,
        NumberRules.from_stored(setup["rules"]),
        setup["min_confidence"],
        setup["digit_confidence"],
        FileDecoder(setup["max_megapixels"], setup["max_pages"]),
    )
    return processor.process
