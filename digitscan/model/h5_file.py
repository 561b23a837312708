"""The model file: check a stranger's `.h5`, load it with Keras, save our own.

A `.h5` from the internet is taken for hostile. Its bytes are read once; those bytes are checked, first
without Keras (the HDF5 structure and the names in the configuration), then by a dry run of Keras that
allocates nothing (the sizes), and only then loaded.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError, OutputError
from digitscan.model.compiled_cache import cache_folder, store_program, write_atomically
from digitscan.model.h5_validation import check_h5, check_sizes, check_structure, first_line, opened_h5
from digitscan.model.metadata import ModelFacts
from digitscan.model.registry import Model

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GROUP = "digitscan"
LARGEST_FACTS = 60_000


def read_facts(data: bytes) -> ModelFacts | None:
    """Return the facts inside a `.h5`, None where it is a stranger's. Raises ModelError."""
    with opened_h5(data) as file:
        check_structure(file, len(data))
        if GROUP not in file:
            return None
        text = file[GROUP].attrs.get("facts")
        if not isinstance(text, bytes | str) or len(text) > LARGEST_FACTS:
            raise ModelError("the facts inside the model cannot be read")
        return ModelFacts.from_json(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)


def load_h5(data: bytes) -> Any:
    """Check a `.h5` and return its Keras model, not compiled.

    Raises ModelError. For a stranger's file as `check_h5`: in a process that may end.
    """
    check_h5(data)
    import keras
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        path = Path(folder) / "model.h5"
        path.write_bytes(data)
        try:
            # Without initial values no variable is allocated, yet each is compared with the file's weights.
            with keras.StatelessScope(initialize_variables=False):
                check_sizes(keras.models.load_model(path, compile=False, safe_mode=True))
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"Keras cannot load it ({first_line(error)})") from error
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError("some of its weights are not numbers")
    return model


def save_model(
    keras_model: Any,
    facts: ModelFacts,
    path: Path,
    programs: Path | None = None,
    samples: NDArray[np.float32] | None = None,
) -> Model:
    """Write a model as `.h5` with its facts, and its compiled program; return it ready for use.

    The program goes into the folder `programs`, by default the user's cache. `samples` are as for
    `compile_program`. The file appears whole or not at all. Raises OutputError, ModelError.
    """
    from digitscan.model.tflite_compiler import compile_program

    data = _to_h5(keras_model, facts)
    check_h5(data)
    program = compile_program(keras_model, samples, facts.input_maximum)
    digest = hashlib.sha256(data).hexdigest()
    # The program first: an interruption leaves at worst a program that nobody asks for.
    stored, program_digest = store_program(programs or cache_folder(), digest, facts, program)
    try:
        old = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else digest
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
        if programs is not None and old != digest:
            # Shipped programs are committed: those of models that are gone would pile up.
            for suffix in (".tflite", ".json"):
                (programs / f"{old}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the model {path} cannot be written: {error.strerror or error}; choose another place with -o"
        ) from error
    return Model(path, str(path), digest, facts, stored, program_digest)


def _to_h5(keras_model: Any, facts: ModelFacts) -> bytes:
    import h5py
    import numpy as np

    from digitscan.model.tflite_compiler import quiet

    with tempfile.TemporaryDirectory(prefix="digitscan-") as folder:
        path = Path(folder) / "model.h5"
        # Keras calls .h5 legacy at each save; it is the format asked for.
        with quiet():
            keras_model.save(path, include_optimizer=False)
        with h5py.File(path, "a") as file:
            # Fixed length, because a variable-length string leaves old memory in the file.
            file.create_group(GROUP).attrs["facts"] = np.bytes_(facts.to_json().encode("ascii"))
        return path.read_bytes()
