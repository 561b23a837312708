"""Save a trained model: the `.h5` and its compiled form."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError
from digitscan.model.compiled_cache import store_compiled, user_cache_folder
from digitscan.model.h5_validation import validate_h5
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
from digitscan.model.h5_file import to_h5_bytes


def save_model(
    keras_model: Any,
    metadata: ModelMetadata,
    path: Path,
    programs: Path | None = None,
    samples: NDArray[np.float32] | None = None,
) -> Model:
    """Write a model as `.h5` with its facts, and its compiled program; return it ready for use.

    The program goes into the folder `programs`, by default the user's cache. `samples` are as for
    `compile_model`. The file appears whole or not at all. Raises OutputError, ModelError.
    """
    from digitscan.model.tflite_compiler import compile_model

    data = to_h5_bytes(keras_model, metadata)
    validate_h5(data)
    program = compile_model(keras_model, samples, metadata.input_maximum)
    digest = hashlib.sha256(data).hexdigest()
    # The program first: an interruption leaves at worst a program that nobody asks for.
    stored, compiled_digest = store_compiled(programs or user_cache_folder(), digest, metadata, program)
    try:
        old = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else digest
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
        if programs is not None and old != digest:
            # Shipped programs are committed: those of models that are gone would pile up.
            for suffix in (".tflite", ".json"):
                (programs / f"{old}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the model {path} cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
    return Model(path, str(path), digest, metadata, stored, compiled_digest)
