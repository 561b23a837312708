"""Read and write the model file, an `.h5` in Keras's HDF5 format with our metadata in a group of its own.

A `.keras` file is read too; it has no metadata of ours. A file is loaded in three steps, each of which may
refuse it: its bytes are validated without Keras (see `h5_validation` and `keras_zip`); then a dry run of
Keras, which allocates nothing, shows the sizes of all layers; only then the network is built.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from digitscan.errors import ModelError
from digitscan.model.config_validation import summarize_error, validate_shapes
from digitscan.model.h5_validation import open_h5, read_config, validate_h5, validate_structure
from digitscan.model.keras_zip import is_zip, read_keras_zip, write_keras_zip
from digitscan.model.metadata import ModelMetadata, Reads
from digitscan.model.tensorflow_log import silence_tensorflow

METADATA_GROUP = "digitscan"
METADATA_ATTRIBUTE = "facts"  # a stored name, which never changes
MAX_METADATA_BYTES = 60_000
"""Below the 64 KiB that HDF5 allows an attribute by default; ours have less than one."""


def validate_model_file(data: bytes) -> None:
    """Check all of an `.h5` or `.keras` file that can be checked without Keras; as `validate_h5` does."""
    if is_zip(data):
        read_keras_zip(data)
    else:
        validate_h5(data)


def read_metadata(data: bytes) -> ModelMetadata | None:
    """Return the metadata inside a model, None where there is none. Raises ModelError if it is invalid."""
    if is_zip(data):
        return None
    with open_h5(data) as file:
        validate_structure(file, len(data))
        if METADATA_GROUP not in file:
            return None
        text = file[METADATA_GROUP].attrs.get(METADATA_ATTRIBUTE)
        if not isinstance(text, bytes | str) or len(text) > MAX_METADATA_BYTES:
            raise ModelError("the metadata inside the model cannot be read")
        return ModelMetadata.from_json(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def load_keras_model(data: bytes) -> Any:
    """Validate an `.h5` or `.keras` file and return its Keras model, not compiled for training.

    It reads single digits, but for one whose metadata says that it reads numbers. Raises ModelError. An
    untrusted file can crash this process, see `validate_h5`.
    """
    validate_model_file(data)
    metadata = read_metadata(data)
    reads = Reads.DIGITS if metadata is None else metadata.reads
    import keras
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        try:
            path = _write_copy(data, Path(folder))
            # The dry run: no variable is allocated, but shapes are compared with those of the file's weights.
            with keras.StatelessScope(initialize_variables=False):
                validate_shapes(keras.models.load_model(path, compile=False, safe_mode=True), reads)
            keras_model = keras.models.load_model(path, compile=False, safe_mode=True)
        except ModelError:
            raise
        except Exception as error:
            # The .keras files of Keras 2 name some weights otherwise; its .h5 files do not.
            hint = ": save it there as .h5" if is_zip(data) else ""
            raise ModelError(
                f"saved by Keras {_read_keras_version(data)}, it cannot be loaded by Keras "
                f"{keras.__version__} ({summarize_error(error)}){hint}"
            ) from error
    if not all(np.isfinite(weights).all() for weights in keras_model.get_weights()):
        raise ModelError("some of its weights are not numbers")
    return keras_model


def _read_keras_version(data: bytes) -> str:
    """Return the version of Keras that wrote a validated model file, or an unknown one."""
    if is_zip(data):
        version = read_keras_zip(data).keras_version
    else:
        with open_h5(data) as file:
            version = file.attrs.get("keras_version", "")
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else str(version)
    return text if re.fullmatch(r"[\w.+-]{1,20}", text) else "of an unknown version"


def _write_copy(data: bytes, folder: Path) -> Path:
    """Write a validated model file as today's Keras can load it; return its path."""
    if is_zip(data):
        path = folder / "model.keras"
        path.write_bytes(write_keras_zip(read_keras_zip(data)))
        return path
    import h5py

    path = folder / "model.h5"
    path.write_bytes(data)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(read_config(file))
    return path


def to_h5_bytes(keras_model: Any, metadata: ModelMetadata) -> bytes:
    """Return the bytes of an `.h5` that holds a Keras model and its metadata.

    Equal weights and metadata give equal bytes: the format has no time stamps.
    """
    import h5py
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        path = Path(folder) / "model.h5"
        # Keras warns at each save that `.h5` is a legacy format.
        with silence_tensorflow():
            keras_model.save(path, include_optimizer=False)
        with h5py.File(path, "a") as file:
            # A string of fixed length: one of variable length writes uninitialized memory into the file.
            text = np.bytes_(metadata.to_json().encode("ascii"))
            file.create_group(METADATA_GROUP).attrs[METADATA_ATTRIBUTE] = text
        return path.read_bytes()
