"""What a worker does with images that a person wants to see: rows, and the pictures that explain them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.prediction import Status
from digitscan.system.resources import limit_memory
from digitscan.workers.image_processor import (
    BASE_MEMORY_BYTES,
    MEMORY_BYTES_PER_PIXEL,
    ProcessFiles,
    SetCurrent,
    describe_error,
    load_classifier,
    make_error_row,
    make_no_digit_row,
    make_row,
)
from digitscan.workers.preprocessor import read_image
from digitscan.workers.protocol import ExplainSetup, FileLocation, WorkerRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.imaging.decoded_image import DecodedImage
    from digitscan.imaging.preprocess import Preprocessed
    from digitscan.imaging.types import GrayImage
    from digitscan.model.classifier import Cascade, ClassifiedImage, Classifier
    from digitscan.model.metadata import ModelMetadata


class EncodedImage(NamedTuple):
    """A uint8 image as JSON has it."""

    width: int
    height: int
    pixels: str
    """In base64."""

    @classmethod
    def of(cls, image: GrayImage) -> EncodedImage:
        """Return an image (H, W) uint8 as JSON has it."""
        height, width = image.shape
        return cls(width, height, base64.b64encode(image.tobytes()).decode())

    def decode(self) -> NDArray[np.uint8]:
        """Return the image. Raises TypeError or ValueError if this is none: a worker may send anything."""
        import numpy as np

        return np.frombuffer(base64.b64decode(self.pixels), np.uint8).reshape(self.height, self.width)


class ExplainedRow(NamedTuple):
    """A row, and what led to it."""

    row: WorkerRow
    probabilities: list[float] | None = None
    """Of the ten digits and, if the model has that class, of "not a digit"; of a line, of the `readings`.
    None if it was not classified."""
    picture: EncodedImage | None = None
    """The picture as it was decoded, gray, reduced if it is large."""
    findings: EncodedImage | None = None
    """What each part of it was taken for; see `imaging.findings`."""
    model_input: EncodedImage | None = None
    """What the model saw: 28x28, or a line of digits."""
    readings: list[str] | None = None
    """The likely readings of a line of digits, "" for no digits; None of a single digit."""


class _ReadImage(NamedTuple):
    """An image that was decoded and preprocessed, and the index of its file."""

    file_index: int
    image: DecodedImage
    picture: EncodedImage
    result: Preprocessed


@dataclass(frozen=True)
class Explainer:
    """Turns files into explained rows."""

    classifier: Classifier | Cascade
    metadata: ModelMetadata
    setup: ExplainSetup

    def process(self, files: list[FileLocation], set_current: SetCurrent) -> list[ExplainedRow]:
        """Return one explained row for each file, in order; see `ImageProcessor.process`."""
        from digitscan.model.classifier import classify_preprocessed

        rows: dict[int, ExplainedRow] = {}
        classified: list[_ReadImage] = []
        for index, file in enumerate(files):
            set_current(index)
            try:
                read = self._read(index, file)
            except Exception as error:
                rows[index] = ExplainedRow(make_error_row(describe_error(error)))
                continue
            if read.result.pixels is None:
                row = make_no_digit_row(read.result, read.image.notes)
                rows[index] = ExplainedRow(row, None, read.picture, self._find(read.image, read.result))
            else:
                classified.append(read)
        set_current(len(files))
        # Together, because the network always runs on a full batch.
        answers = classify_preprocessed(self.classifier, [read.result for read in classified])
        for read, answer in zip(classified, answers, strict=True):
            rows[read.file_index] = self._explain(read, answer)
        return [rows[index] for index in range(len(files))]

    def _read(self, index: int, file: FileLocation) -> _ReadImage:
        image, result = read_image(file, self.setup["max_megapixels"])
        picture = EncodedImage.of(reduce_picture(image.pixels, self.setup["picture_side"]))
        return _ReadImage(index, image, picture, result)

    def _explain(self, read: _ReadImage, answer: ClassifiedImage) -> ExplainedRow:
        image, chosen = read.image, answer.preprocessed
        row = make_row(answer, image.notes, image.needs_review, self.metadata, self.setup["min_confidence"])
        assert chosen.pixels is not None  # only candidates with pixels are classified
        model_input = EncodedImage.of(chosen.pixels)
        probabilities = None if row.status is Status.ERROR else answer.probabilities  # not numbers
        return ExplainedRow(row, probabilities, read.picture, self._find(image, chosen), model_input)

    def _find(self, image: DecodedImage, result: Preprocessed) -> EncodedImage | None:
        """Return the findings in an image, if they are asked for."""
        if not self.setup["findings"]:
            return None
        from digitscan.imaging.findings import find_ink

        try:
            return EncodedImage.of(find_ink(image.pixels, result))
        except Exception:  # a bug in what only explains must not cost the row
            return None


def load_explainer(setup: ExplainSetup) -> ProcessFiles:
    """Load the models that the supervisor names and return what explains files. Raises ModelError."""
    import cv2

    limit_memory(BASE_MEMORY_BYTES + int(MEMORY_BYTES_PER_PIXEL * 1e6 * setup["max_megapixels"]))
    cv2.setNumThreads(1)
    classifier, metadata = load_classifier(setup["model"], setup["fast_model"])
    return Explainer(classifier, metadata, setup).process


def reduce_picture(pixels: NDArray[Any], max_side: int) -> GrayImage:
    """Return the picture as uint8, with a longer side of at most `max_side`."""
    import cv2
    import numpy as np

    from digitscan.imaging.normalize import to_uint8

    gray = to_uint8(pixels)
    scale = max_side / max(gray.shape)
    if scale >= 1.0:
        return gray
    height, width = (max(1, round(side * scale)) for side in gray.shape)
    return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
