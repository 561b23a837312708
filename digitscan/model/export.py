"""Save a trained model: the `.h5` and its compiled form. Used by training."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError
from digitscan.model.compiled_cache import store_compiled, user_cache_folder
from digitscan.model.h5_file import to_h5_bytes
from digitscan.model.h5_validation import validate_h5
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def save_model(
    keras_model: Any,
    metadata: ModelMetadata,
    path: Path,
    compiled_folder: Path | None = None,
    calibration_images: NDArray[np.float32] | None = None,
    compiled: bytes | None = None,
) -> Model:
    """Write a Keras model as `.h5` with its metadata, and its compiled form; return it ready to be used.

    The compiled form goes into `compiled_folder`, by default the user's cache. `calibration_images` are as
    for `compile_model`. `compiled` is what that returned for this model; without it the model is compiled
    here. The `.h5` is replaced as a whole or not at all.

    Raises OutputError where the `.h5` cannot be written, and ModelError where the model cannot be compiled or
    its compiled form cannot be stored.
    """
    from digitscan.model.tflite_compiler import compile_model

    data = to_h5_bytes(keras_model, metadata)
    validate_h5(data)  # what we write, every digitscan must be able to load
    if compiled is None:
        compiled = compile_model(keras_model, calibration_images, metadata.input_maximum)
    digest = hashlib.sha256(data).hexdigest()
    # The compiled form first: an interruption between the two leaves at worst an unused cache entry.
    stored = store_compiled(compiled_folder or user_cache_folder(), digest, metadata, compiled)
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
