"""Save a trained model: the `.h5`, its compiled form, and a record that it was made here, for training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError
from digitscan.model.compiled_cache import check_cache_writable, store_compiled
from digitscan.model.h5_file import to_h5_bytes
from digitscan.model.h5_validation import validate_h5
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.model.trained_models import TrainedModel, check_records_writable, record_trained_model
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def check_user_folders_writable() -> None:
    """Raise ModelError where `save_model` could not write into the user's cache and data folders.

    Training calls this at its start, so that it does not fail after hours.
    """
    check_cache_writable()
    check_records_writable()


def save_model(
    keras_model: Any,
    metadata: ModelMetadata,
    path: Path,
    compiled_folder: Path | None = None,
    calibration_images: NDArray[np.float32] | None = None,
    compiled: bytes | None = None,
    is_tested_on_mnist: bool = False,
    bundled_accuracy: float | None = None,
) -> Model:
    """Write a Keras model as `.h5` with its metadata, and its compiled form; return it ready to be used.

    The model is recorded as made here, so that a scan believes its metadata; the bundled ones need no record.

    The compiled form goes into `compiled_folder`, by default the user's cache. `calibration_images` are as
    for `compile_model`. `compiled` is what that returned for this model; without it the model is compiled
    here. `is_tested_on_mnist` says whether the test accuracy in the metadata is that on MNIST's test images;
    `bundled_accuracy` is that of the bundled model on the same images, so that a scan can choose. The `.h5`
    is replaced as a whole or not at all.

    Raises OutputError where the `.h5` cannot be written, and ModelError where the model cannot be compiled or
    its compiled form or record cannot be stored.
    """
    from digitscan.model.tflite_compiler import compile_model

    data = to_h5_bytes(keras_model, metadata)
    validate_h5(data)  # what we write, every digitscan must be able to load
    if compiled is None:
        compiled = compile_model(keras_model, calibration_images, metadata.input_maximum)
    digest = hashlib.sha256(data).hexdigest()
    # The `.h5` last: an interruption before it leaves at worst an unused cache entry and record.
    stored = store_compiled(digest, metadata, compiled, compiled_folder)
    if not stored.is_bundled:
        record_trained_model(digest, TrainedModel(metadata, is_tested_on_mnist, bundled_accuracy))
    try:
        previous_digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else digest
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
        if compiled_folder is not None and previous_digest != digest:
            # The bundled compiled models are committed: those of replaced models would accumulate.
            for suffix in (".tflite", ".json"):
                (compiled_folder / f"{previous_digest}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the model {path} cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
    return Model(path, str(path), digest, metadata, stored.path, stored.digest)
