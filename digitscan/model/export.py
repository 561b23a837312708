"""Save a trained model: the `.h5`, its compiled form, and a record that it was made here, for training."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError, OutputError
from digitscan.model.compiled_cache import (
    CompiledModel,
    check_cache_writable,
    keep_in_memory,
    store_compiled,
)
from digitscan.model.h5_file import to_h5_bytes
from digitscan.model.h5_validation import validate_h5
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.model.trained_models import TrainedModel, check_records_writable, record_trained_model
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def find_unwritable_folders() -> list[str]:
    """Return what `save_model` could not write into the user's cache and data folders, and what to do.

    Training calls this at its start, because a record cannot be made later.
    """
    problems = []
    for check in (check_cache_writable, check_records_writable):
        try:
            check()
        except ModelError as error:
            problems.append(str(error))
    return problems


def save_model(
    keras_model: Any,
    metadata: ModelMetadata,
    path: Path,
    compiled_folder: Path | None = None,
    calibration_images: NDArray[np.float32] | None = None,
    compiled: bytes | None = None,
    is_tested_on_mnist: bool = False,
    bundled_accuracy: float | None = None,
    log: Callable[[str], object] = lambda message: None,
) -> Model:
    """Write a Keras model as `.h5` with its metadata, and its compiled form; return it ready to be used.

    The model is recorded as made here, so that a scan believes its metadata; the bundled ones need no record.

    The compiled form goes into `compiled_folder`, by default the user's cache. `calibration_images` are as
    for `compile_model`. `compiled` is what that returned for this model; without it the model is compiled
    here. `is_tested_on_mnist` says whether the test accuracy in the metadata is that on MNIST's test images;
    `bundled_accuracy` is that of the bundled model on the same images, so that a scan can choose. The `.h5`
    is replaced as a whole or not at all. It is written also where the user's folders cannot be: `log` is
    called with lines that say so.

    Raises OutputError where the `.h5` cannot be written, and ModelError where the model cannot be compiled or
    its compiled form cannot be stored in `compiled_folder`.
    """
    from digitscan.model.tflite_compiler import compile_model

    data = to_h5_bytes(keras_model, metadata)
    validate_h5(data)  # what we write, every digitscan must be able to load
    if compiled is None:
        compiled = compile_model(keras_model, calibration_images, metadata.input_range)
    digest = hashlib.sha256(data).hexdigest()
    # The `.h5` last: an interruption before it leaves at worst an unused cache entry and record.
    stored = _store_compiled(digest, metadata, compiled, compiled_folder, log)
    if not stored.is_bundled:
        try:
            record_trained_model(digest, TrainedModel(metadata, is_tested_on_mnist, bundled_accuracy))
        except ModelError as error:
            log(f"{error}. To have its rows ok, scan with --model {path} --model-sha256 {digest}")
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
    return Model(path, str(path), digest, metadata, stored.path, stored.digest, stored.content)


def _store_compiled(
    digest: str,
    metadata: ModelMetadata,
    compiled: bytes,
    folder: Path | None,
    log: Callable[[str], object],
) -> CompiledModel:
    try:
        return store_compiled(digest, metadata, compiled, folder)
    except ModelError as error:
        if folder is not None:
            raise
        log(f"{error}. Until then it is compiled at each start")
        return keep_in_memory(digest, metadata, compiled)
