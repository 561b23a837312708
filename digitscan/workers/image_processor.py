"""Files in, rows out: opens, preprocesses and classifies, a chunk at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from digitscan.errors import ImageError
from digitscan.prediction import Status
from digitscan.system.resources import limit_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.imaging.decode import DecodedImage
    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.metadata import ModelMetadata
from digitscan.workers.protocol import Row

BASE_MEMORY_BYTES = 2 << 30


MEMORY_BYTES_PER_PIXEL = 32
"""A process may use so much, and so much more for each pixel that a file may have: several times its need."""


MAX_BUFFERED_PIXELS = 1 << 20
"""Opened pictures of so many pixels are looked at before more are opened."""


ProcessFiles = Callable[[list[str], Callable[[int], object]], list[Row]]
"""Paths, and what to call with the index of each before it is opened -> their rows, in order."""


@dataclass(frozen=True)
class ImageProcessor:
    """What turns files into rows; whatever is wrong with one file stays in that file's row."""

    classifier: Classifier | Cascade
    metadata: ModelMetadata
    min_confidence: float | None
    probabilities: bool
    max_megapixels: float

    def read(self, paths: list[str], in_hand: Callable[[int], object]) -> list[Row]:
        """Return one row for each path, in order, calling `in_hand` with each index before it is opened."""
        from digitscan.imaging.decode import decode_image

        rows: list[Row] = [_failed("")] * len(paths)
        seen: list[tuple[int, NDArray[np.uint8], str]] = []
        opened: list[tuple[int, DecodedImage]] = []
        held = 0
        for index, path in enumerate(paths):
            in_hand(index)
            try:
                picture = decode_image(path, self.max_megapixels)
            except Exception as error:
                rows[index] = _failed(_reason(error))
                continue
            opened.append((index, picture))
            held += picture.pixels.size
            # Several are opened, then looked at: the processor keeps the code of one step at hand.
            if held > MAX_BUFFERED_PIXELS:
                self._look_at(paths, opened, rows, seen, in_hand)
                opened, held = [], 0
        self._look_at(paths, opened, rows, seen, in_hand)
        in_hand(len(paths))
        self._classify(rows, seen)
        return rows

    def _look_at(
        self,
        paths: list[str],
        opened: list[tuple[int, DecodedImage]],
        rows: list[Row],
        seen: list[tuple[int, NDArray[np.uint8], str]],
        in_hand: Callable[[int], object],
    ) -> None:
        """Preprocess: what may be a digit goes to `seen` with its notes, the rest has its row."""
        from digitscan.imaging.decode import MIN_SHORT_SIDE_CLOSE_UP, decode_image
        from digitscan.imaging.preprocess import SMALL_DIGIT, preprocess
        from digitscan.imaging.preprocess_batch import is_batchable, preprocess_batch

        in_hand(len(paths))  # none alone: if this ends the process, the supervisor tries parts of them
        small = {index: picture.pixels for index, picture in opened if is_batchable(picture.pixels)}
        done = dict(zip(small, preprocess_batch(list(small.values())), strict=True))
        for index, picture in opened:
            looked = done.get(index)
            try:
                if looked is None:
                    in_hand(index)
                    looked = preprocess(picture.pixels)
                if picture.reduced and 0 < looked.digit_size < SMALL_DIGIT:
                    closer = decode_image(paths[index], self.max_megapixels, MIN_SHORT_SIDE_CLOSE_UP)
                    looked = preprocess(closer.pixels)
            except Exception as error:
                rows[index] = _failed(_reason(error))
                continue
            notes = (*picture.notes, *looked.notes)
            if looked.pixels is None:
                note = "; ".join((looked.rejection or "no digit", *notes))
                rows[index] = (None, None, Status.NO_DIGIT, note, None)
            else:
                seen.append((index, looked.pixels, "; ".join(notes)))

    def _classify(self, rows: list[Row], seen: list[tuple[int, NDArray[np.uint8], str]]) -> None:
        import numpy as np

        from digitscan.model.classifier import decide

        if not seen:
            return
        answers = self.classifier.classify(np.stack([pixels for _, pixels, _ in seen])).tolist()
        for (index, _, done), answer in zip(seen, answers, strict=True):
            digit, confidence, status, note = decide(answer, self.metadata, self.min_confidence)
            note = f"{note}; {done}" if note and done else note or done
            ten = [round(p, 6) for p in answer[:10]] if self.probabilities else None
            rows[index] = (digit, confidence, status, note, ten)


def _failed(reason: str) -> Row:
    return None, None, Status.ERROR, reason, None


def _reason(error: Exception) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "too large: not enough memory to read it"
    return f"unexpected: {type(error).__name__}"  # a bug met by one file must not cost the others their rows


def load_image_processor(setup: dict[str, Any]) -> ProcessFiles:
    """Make ready to read files with the program that the supervisor names. Raises ModelError."""
    import cv2

    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.compiled_cache import read_compiled
    from digitscan.model.metadata import ModelMetadata

    def ready(model: dict[str, str]) -> tuple[Classifier, ModelMetadata]:
        metadata = ModelMetadata.from_json(model["metadata"])
        return Classifier(read_compiled(model["compiled_path"], model["compiled_digest"]), metadata), metadata

    limit_memory(BASE_MEMORY_BYTES + int(MEMORY_BYTES_PER_PIXEL * 1e6 * setup["max_megapixels"]))
    # One process a core: threads of the libraries would only fight each other.
    cv2.setNumThreads(1)
    classifier: Classifier | Cascade
    classifier, metadata = ready(setup["model"])
    if setup["fast_model"]:
        quick, its_facts = ready(setup["fast_model"])
        assert its_facts.cascade_threshold is not None
        classifier = Cascade(quick, its_facts.cascade_threshold, classifier)
    reader = ImageProcessor(
        classifier, metadata, setup["min_confidence"], setup["probabilities"], setup["max_megapixels"]
    )
    return reader.read


def load() -> None:
    """Import what reading files takes; the first frame is not there yet."""
    import cv2  # noqa: F401  # each is needed later
    import numpy as np  # noqa: F401

    from digitscan.imaging import decode, preprocess_batch  # noqa: F401
    from digitscan.model import classifier, compiled_cache  # noqa: F401

    with contextlib.suppress(ImportError):  # there is another where this has no wheel
        import ai_edge_litert.interpreter  # noqa: F401
