"""Classification: run a compiled model on preprocessed images, and turn probabilities into a row's answer.

Used by the workers of a scan, which load it without TensorFlow or Keras, and by training, which calibrates a
model on what a scan will run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from digitscan.errors import ModelError
from digitscan.imaging.condition import Condition
from digitscan.model.interpreter import CompiledNetwork, check_compatible
from digitscan.model.metadata import ModelMetadata
from digitscan.prediction import Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.imaging.preprocess import Preprocessed

MIN_CANDIDATE_CONFIDENCE = 0.9
"""From this confidence on, a candidate of preprocessing is taken before those behind it.

Of two that disagree, a first one below it was right in 3 of 45 fields drawn round validation digits.
"""
MIN_OTHER_CONFIDENCE = 0.5
"""From this confidence on, another candidate with another digit makes the row `review`."""
MIN_RUNNER_UP_PROBABILITY = 0.2
"""From this probability on, the note of a row to review names the second most likely digit."""


class Classifier:
    """A compiled model that is ready to run: images in, calibrated probabilities out."""

    def __init__(self, compiled: bytes, metadata: ModelMetadata, threads: int = 1) -> None:
        """Load a compiled model; its bytes must be verified (see `read_compiled`), or they could crash us.

        Raises ModelError where it was trained with another preprocessing version, or does not fit its
        metadata.
        """
        import numpy as np

        check_compatible(metadata)
        self._network = CompiledNetwork(compiled, threads)
        self._batch = np.zeros(self._network.input_shape, np.float32)
        if self._network.output_shape != (len(self._batch), metadata.classes):
            raise ModelError(
                f"the compiled model does not have {metadata.classes} outputs: "
                "delete it, and it will be compiled again"
            )
        self._input_range = metadata.input_range
        self._divisor = np.float32(255.0 / self._input_range.maximum)
        self._classes = metadata.classes
        self._temperature = metadata.temperature

    def classify(
        self, images: NDArray[np.uint8], conditions: Sequence[Condition] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities (N, classes) of images (N, 28, 28) uint8, bright ink on black.

        `conditions` (N,) change nothing here; see `Cascade.classify`.
        Each row sums to 1. The probabilities of an image are bit-identical whichever images are classified
        with it, because the network always runs on a full batch of the same size. The unused end of the last
        batch keeps old values, whose outputs are dropped.
        """
        import numpy as np

        probabilities = []
        batch_size = len(self._batch)
        for start in range(0, len(images), batch_size):
            chunk = self._input_range.apply_polarity(images[start : start + batch_size])
            np.divide(chunk[..., None], self._divisor, out=self._batch[: len(chunk)], dtype=np.float32)
            logits = self._network.compute_logits(self._batch).astype(np.float64) / self._temperature
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities.append((exponentials / exponentials.sum(axis=1, keepdims=True))[: len(chunk)])
        return np.concatenate(probabilities) if probabilities else np.zeros((0, self._classes), np.float64)


class Cascade:
    """A fast classifier, and an accurate one for the images of which the fast one is not confident.

    After Viola and Jones, "Rapid object detection using a boosted cascade of simple features" (2001): most
    images are easy, so a cheap model answers those, and an expensive one only the rest.
    """

    def __init__(self, fast: Classifier, threshold: float, accurate: Classifier) -> None:
        """Combine two classifiers; the answer of `fast` counts from the confidence `threshold` (0..1) on."""
        self._fast, self._threshold, self._accurate = fast, threshold, accurate

    def classify(
        self, images: NDArray[np.uint8], conditions: Sequence[Condition] | None = None
    ) -> NDArray[np.float64]:
        """Return the probabilities (N, 11) of images (N, 28, 28) uint8; see `Classifier.classify`.

        Only the fast model's confidence in a digit counts: what it takes for no digit, the accurate one sees,
        and so it does what is `unclear` by the images' `conditions`, of which the fast one is too sure.
        """
        import numpy as np

        probabilities = self._fast.classify(images)
        confidences = probabilities[:, :10].max(axis=1)
        if conditions is not None:
            confidences[[condition is Condition.UNCLEAR for condition in conditions]] = 0.0
        uncertain = np.flatnonzero(confidences < self._threshold)
        if uncertain.size:
            probabilities[uncertain] = self._accurate.classify(images[uncertain])
        return probabilities


class ClassifiedImage(NamedTuple):
    """The candidate of an image that the classifier chose, and the probability of each class."""

    preprocessed: Preprocessed
    probabilities: list[float]


def classify_preprocessed(
    classifier: Classifier | Cascade, results: Sequence[Preprocessed]
) -> list[ClassifiedImage]:
    """Return the probabilities of each result, which must have `pixels`, and which candidate they are of.

    Where a result has alternatives, the first candidate that is confidently a digit is chosen: preprocessing
    puts what keeps most of the ink first. If there is none, it is the one most likely a digit. Where another
    candidate is more likely than not another digit, the chosen one needs review.
    """
    import numpy as np

    from digitscan.imaging.preprocess import list_candidates

    if not results:
        return []
    groups = [list_candidates(result) for result in results]
    candidates = [candidate for group in groups for candidate in group]
    pixels = np.stack([np.asarray(candidate.pixels) for candidate in candidates])
    conditions = [candidate.condition for candidate in candidates]
    rows = iter(classifier.classify(pixels, conditions).tolist())
    return [
        _choose_candidate([ClassifiedImage(candidate, next(rows)) for candidate in group]) for group in groups
    ]


def _choose_candidate(candidates: list[ClassifiedImage]) -> ClassifiedImage:
    if len(candidates) == 1:
        return candidates[0]
    confidences = [max(candidate.probabilities[:10]) for candidate in candidates]
    confident = (i for i, confidence in enumerate(confidences) if confidence >= MIN_CANDIDATE_CONFIDENCE)
    chosen = candidates[next(confident, confidences.index(max(confidences)))]
    digit = _most_likely_digit(chosen)
    for candidate, confidence in zip(candidates, confidences, strict=True):
        other = _most_likely_digit(candidate)
        if other != digit and confidence >= MIN_OTHER_CONFIDENCE:
            notes = (*chosen.preprocessed.notes, f"may also be {other}")
            preprocessed = chosen.preprocessed._replace(notes=notes, needs_review=True)
            return ClassifiedImage(preprocessed, chosen.probabilities)
    return chosen


def _most_likely_digit(image: ClassifiedImage) -> int:
    digits = image.probabilities[:10]
    return digits.index(max(digits))


class Decision(NamedTuple):
    """What a row says of an image; the fields are those of `Prediction`."""

    digit: int | None
    confidence: float | None
    status: Status
    note: str


def decide(
    probabilities: Sequence[float],
    metadata: ModelMetadata,
    min_confidence: float | None = None,
    condition: Condition = Condition.CLEAN,
) -> Decision:
    """Turn one image's probabilities, 10 or 11 of them, into a row's digit, confidence, status and note.

    A row is `ok` from the confidence `min_confidence` on or, where that is None, from the model's own limit
    on, which may differ by the image's condition.
    """
    if math.isnan(sum(probabilities)):
        return Decision(None, None, Status.ERROR, "the model gave no number")
    confidence = max(probabilities[:10])
    if metadata.classes == 11 and probabilities[10] > confidence:
        return Decision(None, None, Status.NO_DIGIT, "not like any digit")
    digit = probabilities.index(confidence)
    limit = metadata.ok_limit(condition) if min_confidence is None else min_confidence
    if limit is not None and confidence >= limit:
        return Decision(digit, confidence, Status.OK, "")
    runner_up = max((other for other in range(10) if other != digit), key=probabilities.__getitem__)
    if probabilities[runner_up] >= MIN_RUNNER_UP_PROBABILITY:
        note = f"between {digit} and {runner_up}"
    else:
        note = "model not calibrated" if limit is None else "doubtful"
    return Decision(digit, confidence, Status.REVIEW, note)
