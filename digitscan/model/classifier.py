"""The answers of a model: its program run on 28x28 pictures, and what a row makes of its probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.model.metadata import UNKNOWN_ARCHITECTURE, ModelMetadata
from digitscan.prediction import Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLOSE_SECOND = 0.2


class Classifier:
    """A program, ready to run: images in, calibrated probabilities out."""

    def __init__(self, program: bytes, metadata: ModelMetadata, threads: int = 1) -> None:
        """Load a program (checked bytes, see `read_compiled`). Raises ModelError where it does not fit."""
        import numpy as np

        from digitscan.imaging.preprocess import PREPROCESS_VERSION
        from digitscan.system.stdio import silence_native_stderr

        if (
            metadata.architecture != UNKNOWN_ARCHITECTURE
            and metadata.preprocess_version != PREPROCESS_VERSION
        ):
            raise ModelError(
                f"the model learned from pictures of preprocessing version {metadata.preprocess_version}, "
                f"this digitscan has {PREPROCESS_VERSION}: train it again"
            )
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:  # where ai-edge-litert has no wheel
            from tensorflow.lite import Interpreter

        with silence_native_stderr():
            self._interpreter = Interpreter(model_content=program, num_threads=threads)
            self._interpreter.allocate_tensors()
        images, logits = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = images["index"], logits["index"]
        self._block = np.zeros(images["shape"], np.float32)
        if tuple(logits["shape"]) != (len(self._block), metadata.classes):
            raise ModelError(f"the program does not answer with {metadata.classes} classes: delete it")
        self._divisor = np.float32(255.0 / metadata.input_maximum)
        self._classes = metadata.classes
        self._temperature = metadata.temperature

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probabilities (N, classes) of images (N, 28, 28) uint8, ink bright on black.

        Always computed in blocks of the same size, the rest of the last one left as it is: so an image's
        answer is the same to the last bit in whatever company it comes.
        """
        import numpy as np

        blocks = []
        size = len(self._block)
        for start in range(0, len(images), size):
            part = images[start : start + size]
            np.divide(part[..., None], self._divisor, out=self._block[: len(part)], dtype=np.float32)
            self._interpreter.set_tensor(self._input, self._block)
            self._interpreter.invoke()
            scaled = self._interpreter.get_tensor(self._output).astype(np.float64) / self._temperature
            powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
            blocks.append((powers / powers.sum(axis=1, keepdims=True))[: len(part)])
        return np.concatenate(blocks) if blocks else np.zeros((0, self._classes), np.float64)


class Cascade:
    """A quick classifier, and one that is asked where the quick one is not sure (Viola and Jones 2001)."""

    def __init__(self, quick: Classifier, cascade_threshold: float, other: Classifier) -> None:
        """`sure` is the quick one's confidence in a digit from which its answer stands."""
        self._quick, self._cascade_threshold, self._other = quick, cascade_threshold, other

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the probabilities (N, 11) of images (N, 28, 28) uint8; see `Classifier.classify`."""
        import numpy as np

        answers = self._quick.classify(images)
        doubtful = np.flatnonzero(answers[:, :10].max(axis=1) < self._cascade_threshold)
        if doubtful.size:
            answers[doubtful] = self._other.classify(images[doubtful])
        return answers


def decide(
    probabilities: Sequence[float], metadata: ModelMetadata, min_confidence: float | None = None
) -> tuple[int | None, float | None, Status, str]:
    """Turn one image's probabilities into a row's (digit, confidence, status, note).

    `min_confidence` takes the place of the model's own `ok_confidence`.
    """
    if math.isnan(sum(probabilities)):
        return None, None, Status.ERROR, "the model gave no number"
    confidence = max(probabilities[:10])
    if metadata.classes == 11 and probabilities[10] > confidence:
        return None, None, Status.NO_DIGIT, "not like any digit"
    first = probabilities.index(confidence)
    limit = metadata.ok_confidence if min_confidence is None else min_confidence
    if limit is not None and confidence >= limit:
        return first, confidence, Status.OK, ""
    second = max((digit for digit in range(10) if digit != first), key=probabilities.__getitem__)
    if probabilities[second] >= CLOSE_SECOND:
        note = f"between {first} and {second}"
    else:
        note = "model not calibrated" if limit is None else "doubtful"
    return first, confidence, Status.REVIEW, note
