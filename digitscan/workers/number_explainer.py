"""What a worker does with pictures of numbers that a person wants to see: rows, and what led to them."""

from __future__ import annotations

from dataclasses import dataclass

from digitscan.workers.explainer import EncodedImage, ExplainedRow, reduce_picture
from digitscan.workers.image_processor import (
    ProcessFiles,
    SetCurrent,
    describe_error,
    make_error_row,
    make_no_digit_row,
)
from digitscan.workers.number_processor import NumberProcessor, create_number_processor
from digitscan.workers.protocol import ExplainNumberSetup, FileLocation


@dataclass(frozen=True)
class NumberExplainer:
    """Turns files into explained rows of numbers."""

    processor: NumberProcessor
    picture_side: int
    """Pixels on the longer side of the picture that is sent, at most."""

    def process(self, files: list[FileLocation], set_current: SetCurrent) -> list[ExplainedRow]:
        """Return one explained row for each file, in order; see `ImageProcessor.process`."""
        rows = []
        for index, file in enumerate(files):
            set_current(index)
            try:
                rows.append(self._explain(file))
            except Exception as error:
                rows.append(ExplainedRow(make_error_row(describe_error(error))))
        return rows

    def _explain(self, file: FileLocation) -> ExplainedRow:
        """Return the row that a scan gives, and what led to it. Raises what `read_line` does."""
        image, line_file = self.processor.read_line(0, file)
        picture = EncodedImage.of(reduce_picture(image.pixels, self.picture_side))
        line = line_file.line
        if line.pixels is None:
            return ExplainedRow(make_no_digit_row(line, image.notes), picture=picture)
        (answer,) = self.processor.answer([line_file])
        if answer.digit is not None:
            pixels = answer.digit.preprocessed.pixels
            assert pixels is not None  # only candidates with pixels are classified
            return ExplainedRow(
                answer.row, answer.digit.probabilities, picture, model_input=EncodedImage.of(pixels)
            )
        likely = answer.reading.likely
        return ExplainedRow(
            answer.row,
            [probability for _, probability in likely],
            picture,
            model_input=EncodedImage.of(line.pixels),
            readings=[number for number, _ in likely],
        )


def load_number_explainer(setup: ExplainNumberSetup) -> ProcessFiles:
    """Load the model that the supervisor names and return what explains files. Raises ModelError."""
    return NumberExplainer(create_number_processor(setup), setup["picture_side"]).process
