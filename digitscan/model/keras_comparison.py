"""Compare a compiled model with the Keras model that it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import (
    LINE_CLASSES,
    LINE_INPUT_SHAPE,
    UNKNOWN_ARCHITECTURE,
    ModelMetadata,
    Reads,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KERAS_BATCH_SIZE = 50


def measure_disagreement(
    keras_model: Any,
    compiled: bytes,
    images: NDArray[np.uint8],
    input_range: InputRange = InputRange.ONE,
) -> float:
    """Return for which share, 0 to 1, of images (N, 28, 28) uint8 a compiled model gives another answer.

    The compiled model runs as in a scan. Its answer is another one where Keras finds it less likely than its
    own; so where Keras finds two classes equally likely, either will do. Images for which Keras computes no
    number are left out. Raises ModelError where the compiled model cannot be run.
    """
    import numpy as np

    from digitscan.model.classifier import Classifier

    outputs = run_keras(keras_model, images, input_range)
    metadata = ModelMetadata(
        architecture=UNKNOWN_ARCHITECTURE,
        classes=outputs.shape[1],
        preprocess_version=PREPROCESS_VERSION,
        input_range=input_range,
    )
    probabilities = Classifier(compiled, metadata).classify(images)
    answers = probabilities.argmax(axis=1)
    best = outputs.max(axis=1)
    differs = (outputs[np.arange(len(answers)), answers] < best) | np.isnan(probabilities).any(axis=1)
    return float(differs[~np.isnan(best)].sum()) / len(images)


def measure_line_disagreement(keras_model: Any, compiled: bytes, lines: NDArray[np.uint8]) -> float:
    """Return of which share, 0 to 1, of lines (N, 32, W) uint8 a compiled model reads another number.

    The compiled model runs as in a scan. Its number is another one where Keras finds it less likely than its
    own; both are those of the best path (see `ctc`). Raises ModelError where it cannot be run.
    """
    import numpy as np

    from digitscan.model.line_classifier import LineClassifier

    inputs = lines[..., None] / np.float32(255.0)
    expected = np.concatenate(
        [
            np.asarray(keras_model(inputs[start : start + _KERAS_BATCH_SIZE], training=False))[:, 0]
            for start in range(0, len(inputs), _KERAS_BATCH_SIZE)
        ]
    )
    metadata = ModelMetadata(
        architecture=UNKNOWN_ARCHITECTURE,
        classes=LINE_CLASSES,
        preprocess_version=PREPROCESS_VERSION,
        reads=Reads.NUMBERS,
        input_shape=LINE_INPUT_SHAPE,
    )
    actual = LineClassifier(compiled, metadata).classify(list(lines))
    differs = [_reads_otherwise(*each) for each in zip(expected, actual, strict=True)]
    return sum(differs) / len(lines)


def _reads_otherwise(of_keras: NDArray[np.float32], of_compiled: NDArray[np.float32]) -> bool:
    """Tell whether the number of a compiled model is another than that of Keras, and less likely in Keras.

    Both are given by the probabilities (T, 13) of a line's symbols.
    """
    import numpy as np

    from digitscan.model.ctc import compute_probabilities, find_best_path, merge_separators

    if np.isnan(of_compiled).any():
        return True
    steps = merge_separators(of_keras)
    numbers = [find_best_path(merge_separators(of_compiled)), find_best_path(steps)]
    probability, of_best = compute_probabilities(steps, numbers)
    return bool(probability < of_best)


def run_keras(keras_model: Any, images: NDArray[np.uint8], input_range: InputRange) -> NDArray[np.float32]:
    """Return the outputs (N, classes) of a Keras model for images (N, 28, 28) uint8, light ink on black.

    The model has one of the input shapes of digit models.
    """
    import numpy as np

    shape = keras_model.inputs[0].shape[1:]
    inputs = input_range.apply_polarity(images).reshape(-1, *shape) / np.float32(255.0 / input_range.maximum)
    outputs = [
        np.asarray(keras_model(inputs[start : start + _KERAS_BATCH_SIZE], training=False))
        for start in range(0, len(inputs), _KERAS_BATCH_SIZE)
    ]
    return np.concatenate(outputs)
