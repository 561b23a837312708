"""The model file: check a stranger's `.h5`, load it with Keras, save our own.

A `.h5` from the internet is taken for hostile. Its bytes are read once; those bytes are checked, first
without Keras (the HDF5 structure and the names in the configuration), then by a dry run of Keras that
allocates nothing (the sizes), and only then loaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError
from digitscan.model.h5_validation import (
    first_line,
    open_h5,
    validate_h5,
    validate_shapes,
    validate_structure,
)
from digitscan.model.metadata import ModelMetadata

if TYPE_CHECKING:
    pass
from digitscan.model.tensorflow_log import silence_tensorflow

GROUP = "digitscan"


MAX_METADATA_BYTES = 60_000


def read_metadata(data: bytes) -> ModelMetadata | None:
    """Return the facts inside a `.h5`, None where it is a stranger's. Raises ModelError."""
    with open_h5(data) as file:
        validate_structure(file, len(data))
        if GROUP not in file:
            return None
        text = file[GROUP].attrs.get("facts")
        if not isinstance(text, bytes | str) or len(text) > MAX_METADATA_BYTES:
            raise ModelError("the facts inside the model cannot be read")
        return ModelMetadata.from_json(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def load_keras_model(data: bytes) -> Any:
    """Check a `.h5` and return its Keras model, not compiled.

    Raises ModelError. For a stranger's file as `validate_h5`: in a process that may end.
    """
    validate_h5(data)
    import keras
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        path = Path(folder) / "model.h5"
        path.write_bytes(data)
        try:
            # Without initial values no variable is allocated, yet each is compared with the file's weights.
            with keras.StatelessScope(initialize_variables=False):
                validate_shapes(keras.models.load_model(path, compile=False, safe_mode=True))
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"Keras cannot load it ({first_line(error)})") from error
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError("some of its weights are not numbers")
    return model


def to_h5_bytes(keras_model: Any, metadata: ModelMetadata) -> bytes:
    """Return the bytes of a `.h5` that holds a Keras model and its metadata."""
    import h5py
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        path = Path(folder) / "model.h5"
        # Keras calls .h5 legacy at each save; it is the format asked for.
        with silence_tensorflow():
            keras_model.save(path, include_optimizer=False)
        with h5py.File(path, "a") as file:
            # Fixed length, because a variable-length string leaves old memory in the file.
            file.create_group(GROUP).attrs["facts"] = np.bytes_(metadata.to_json().encode("ascii"))
        return path.read_bytes()
