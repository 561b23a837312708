"""What a worker does with a chunk of files: decode, preprocess, classify, and make a row of each.

Whatever is wrong with one file stays in that file's row.
"""

from __future__ import annotations

import binascii
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from digitscan.errors import ImageError
from digitscan.prediction import Status
from digitscan.system.resources import limit_memory
from digitscan.workers.file_decoder import FileDecoder
from digitscan.workers.protocol import FileLocation, ImageSetup, ModelSetup, WorkerRow

if TYPE_CHECKING:
    from digitscan.imaging.decoded_image import DecodedImage
    from digitscan.imaging.line_image import LineImage
    from digitscan.imaging.preprocess import Preprocessed
    from digitscan.model.classifier import Cascade, ClassifiedImage, Classifier
    from digitscan.model.metadata import ModelMetadata

BASE_MEMORY_BYTES = 2 << 30
MEMORY_BYTES_PER_PIXEL = 32
"""A worker may use the base and this for each pixel that a picture may have: several times its need."""

MAX_BUFFERED_PIXELS = 1 << 20
"""Decoded pictures are preprocessed when they have so many pixels together."""

SetCurrent = Callable[[int], object]
"""Notes the index of the file that is being read, for the supervisor."""
ProcessFiles = Callable[[list[FileLocation], SetCurrent], Sequence[object]]
"""Turns files into rows, in the same order."""


class _PreprocessedFile(NamedTuple):
    """A picture that may be a digit: the index of its file, what its decoder said, and its preprocessing."""

    file_index: int
    notes: tuple[str, ...]
    needs_review: bool
    result: Preprocessed


@dataclass(frozen=True)
class ImageProcessor:
    """Turns files into rows."""

    classifier: Classifier | Cascade
    metadata: ModelMetadata
    min_confidence: float | None
    probabilities: bool
    decoder: FileDecoder

    def process(self, files: Sequence[FileLocation], set_current: SetCurrent) -> list[WorkerRow]:
        """Return one row for each file, in order.

        `set_current` is called with the index of a file before it is read, and with the number of files
        before work on several files together.
        """
        from digitscan.imaging.decoded_image import MIN_SHORT_SIDE

        rows: list[WorkerRow] = [make_error_row("")] * len(files)
        preprocessed: list[_PreprocessedFile] = []
        decoded: list[tuple[int, DecodedImage]] = []
        buffered_pixels = 0
        for index, file in enumerate(files):
            set_current(index)
            try:
                image = self.decoder.decode(file, MIN_SHORT_SIDE)
            except Exception as error:
                rows[index] = make_error_row(describe_error(error))
                continue
            decoded.append((index, image))
            buffered_pixels += image.pixels.size
            # Several are decoded, then preprocessed: the code of one step stays in the processor's cache.
            if buffered_pixels > MAX_BUFFERED_PIXELS:
                self._preprocess(files, decoded, rows, preprocessed, set_current)
                decoded, buffered_pixels = [], 0
        self._preprocess(files, decoded, rows, preprocessed, set_current)
        set_current(len(files))
        self._classify(rows, preprocessed)
        return rows

    def _preprocess(
        self,
        files: Sequence[FileLocation],
        decoded: list[tuple[int, DecodedImage]],
        rows: list[WorkerRow],
        preprocessed: list[_PreprocessedFile],
        set_current: SetCurrent,
    ) -> None:
        """Add the pictures that may be a digit to `preprocessed`; the others get their row."""
        from digitscan.imaging.decoded_image import MIN_SHORT_SIDE_CLOSE_UP
        from digitscan.imaging.preprocess import MIN_DIGIT_SIZE, preprocess
        from digitscan.imaging.preprocess_batch import is_batchable, preprocess_batch

        # If a whole batch ends this process, the supervisor tries halves of it.
        set_current(len(files))
        small = {index: image.pixels for index, image in decoded if is_batchable(image.pixels)}
        batch_results = dict(zip(small, preprocess_batch(list(small.values())), strict=True))
        for index, image in decoded:
            result = batch_results.get(index)
            try:
                if result is None:
                    set_current(index)
                    result = preprocess(image.pixels)
                if image.is_reduced and 0 < result.digit_size < MIN_DIGIT_SIZE:
                    close_up = self.decoder.decode(files[index], MIN_SHORT_SIDE_CLOSE_UP)
                    result = preprocess(close_up.pixels)
            except Exception as error:
                rows[index] = make_error_row(describe_error(error))
                continue
            if result.pixels is None:
                rows[index] = make_no_digit_row(result, image.notes)
            else:
                preprocessed.append(_PreprocessedFile(index, image.notes, image.needs_review, result))

    def _classify(self, rows: list[WorkerRow], preprocessed: list[_PreprocessedFile]) -> None:
        """Set the rows of the preprocessed files."""
        from digitscan.model.classifier import classify_preprocessed

        answers = classify_preprocessed(self.classifier, [file.result for file in preprocessed])
        for file, answer in zip(preprocessed, answers, strict=True):
            row = make_row(answer, file.notes, file.needs_review, self.metadata, self.min_confidence)
            rows[file.file_index] = (
                row._replace(probabilities=[round(p, 6) for p in answer.probabilities[:10]])
                if self.probabilities
                else row
            )


def load_image_processor(setup: ImageSetup) -> ProcessFiles:
    """Load the models that the supervisor names and return what reads files. Raises ModelError."""
    prepare_process(setup["max_megapixels"])
    classifier, metadata = load_classifier(setup["model"], setup["fast_model"])
    processor = ImageProcessor(
        classifier,
        metadata,
        setup["min_confidence"],
        setup["probabilities"],
        FileDecoder(setup["max_megapixels"], setup["max_pages"]),
    )
    return processor.process


def prepare_process(max_megapixels: float) -> None:
    """Limit what this process may use, and keep what libraries print, before it decodes files of a scan."""
    import cv2

    from digitscan.system.native_stderr import keep_native_stderr

    limit_memory(BASE_MEMORY_BYTES + int(MEMORY_BYTES_PER_PIXEL * 1e6 * max_megapixels))
    # There is one worker for each core: more threads would only compete for them.
    cv2.setNumThreads(1)
    keep_native_stderr()


def load_classifier(
    model: ModelSetup, fast_model: ModelSetup | None
) -> tuple[Classifier | Cascade, ModelMetadata]:
    """Return what the images are classified with, and the metadata of its model. Raises ModelError."""
    from digitscan.model.classifier import Cascade

    classifier, metadata = _load_single_classifier(model)
    if not fast_model:
        return classifier, metadata
    fast, fast_metadata = _load_single_classifier(fast_model)
    assert fast_metadata.cascade_threshold is not None
    return Cascade(fast, fast_metadata.cascade_threshold, classifier), metadata


def _load_single_classifier(setup: ModelSetup) -> tuple[Classifier, ModelMetadata]:
    from digitscan.model.classifier import Classifier

    compiled, metadata = read_model(setup)
    return Classifier(compiled, metadata), metadata


def read_model(setup: ModelSetup) -> tuple[bytes, ModelMetadata]:
    """Return the compiled model that the supervisor names, and its metadata. Raises ModelError."""
    from digitscan.model.compiled_cache import read_compiled
    from digitscan.model.metadata import ModelMetadata

    metadata = ModelMetadata.from_json(setup["metadata"])
    content = setup["compiled_content"]
    if content is not None:
        return binascii.a2b_base64(content), metadata
    return read_compiled(setup["compiled_path"], setup["compiled_digest"]), metadata


def preload_libraries() -> None:
    """Import what reading files needs, while the supervisor still looks for the files."""
    import cv2  # noqa: F401  # imported for later
    import numpy as np  # noqa: F401

    from digitscan.imaging import decode, preprocess_batch  # noqa: F401
    from digitscan.model import classifier, compiled_cache  # noqa: F401

    # Some systems have no wheel of it; `Classifier` uses another interpreter there.
    with contextlib.suppress(ImportError):
        import ai_edge_litert.interpreter  # noqa: F401


def make_row(
    answer: ClassifiedImage,
    decode_notes: tuple[str, ...],
    needs_review: bool,
    metadata: ModelMetadata,
    min_confidence: float | None,
) -> WorkerRow:
    """Return the row of a classified image; `decode_notes` and `needs_review` are of its DecodedImage."""
    from digitscan.model.classifier import decide

    result, probabilities = answer
    digit, confidence, status, note = decide(probabilities, metadata, min_confidence, result.condition)
    if (result.needs_review or needs_review) and status is Status.OK:
        status = Status.REVIEW
    notes = (note, *decode_notes, *result.notes) if note else (*decode_notes, *result.notes)
    return WorkerRow(digit, confidence, status, "; ".join(notes), None)


def make_no_digit_row(result: Preprocessed | LineImage, decode_notes: tuple[str, ...]) -> WorkerRow:
    """Return the row of an image in which preprocessing found no digit."""
    note = "; ".join((result.rejection or "no digit", *decode_notes, *result.notes))
    return WorkerRow(None, None, Status.NO_DIGIT, note, None)


def make_error_row(note: str) -> WorkerRow:
    """Return the row of a file that could not be read; the note says why."""
    return WorkerRow(None, None, Status.ERROR, note, None)


def describe_error(error: Exception) -> str:
    """Return why a file could not be read, as a short phrase for its row."""
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "too large: not enough memory to read it"
    # A bug that one file meets must not cost the others their rows.
    return f"unexpected: {type(error).__name__}"
