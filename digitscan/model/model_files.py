"""Which file a model's name, a path or neither stands for, and what it holds.

Without a name, a model of the current folder is only taken if this user trained it and it is not much worse
than the bundled one: what somebody has put there must not read unasked. Neither NumPy nor Keras is loaded.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from digitscan.errors import ModelError
from digitscan.model.compiled_cache import bundled_folder, find_compiled
from digitscan.model.metadata import FAST_CNN, MAX_MODEL_BYTES, ModelMetadata, Reads
from digitscan.model.trained_models import find_trained_model

LINE_MODEL = "line"
"""The name of the bundled model that reads numbers."""
BUNDLED_MODELS = ("cnn", "mlp", FAST_CNN, LINE_MODEL)
"""The names of the models that come with digitscan; the first is the default for single digits."""
DEFAULT_PATH = Path("models/digits.h5")
"""Where `digitscan train` writes its model by default, and where a scan looks for it."""
MAX_ACCURACY_LOSS = 0.005
"""By how much a model's accuracy may be below the bundled one's where it is preferred unasked."""
_FORMER_NAMES = {"quick": FAST_CNN}


@dataclass(frozen=True)
class ResolvedModel:
    """The file that a model's name or path stands for."""

    path: Path
    name: str
    """What to call the model in messages."""
    message: str = ""
    """A line for the user about this choice, or empty."""
    data: bytes | None = None
    """The content of the file, if the choice depended on it."""

    @property
    def is_bundled(self) -> bool:
        """Whether it is a model that comes with digitscan."""
        return self.name in BUNDLED_MODELS


def resolve_model(name_or_path: str | Path | None = None, reads: Reads = Reads.DIGITS) -> ResolvedModel:
    """Return the file that `load_model` would load. Raises ModelError if it is missing.

    `models/digits.h5` is the default for single digits only if this user trained it, so that a file planted
    in the current folder is not used unasked, and only if it is not much worse than the bundled model.
    """
    if name_or_path is not None:
        return resolve_name(str(name_or_path), reads=reads)
    if reads is Reads.NUMBERS:
        return resolve_name(LINE_MODEL)
    message = ""
    if os.path.isfile(DEFAULT_PATH):
        # A file that nobody named and that cannot be read must not end a scan.
        try:
            data = read_model_file(DEFAULT_PATH)
            message = _find_objection(hashlib.sha256(data).hexdigest())
        except ModelError as error:
            message = f"not used: {error}"
        if not message:
            return ResolvedModel(DEFAULT_PATH, str(DEFAULT_PATH), data=data)
    return resolve_name(BUNDLED_MODELS[0], message)


def resolve_name(name: str, message: str = "", reads: Reads = Reads.DIGITS) -> ResolvedModel:
    """Return the file of a bundled model's name or a path. Raises ModelError if it is missing."""
    if name in _FORMER_NAMES:
        raise ModelError(f"the bundled model {name!r} is called {_FORMER_NAMES[name]!r} now: give that name")
    if name in BUNDLED_MODELS:
        path = bundled_folder() / f"{name}.h5"
        if not path.is_file():
            raise ModelError(f"the bundled model {name!r} is missing at {path}: install digitscan again")
        return ResolvedModel(path, name, message)
    if not os.path.isfile(name):
        problem = "is a folder, not a model file" if os.path.isdir(name) else "does not exist"
        names = (LINE_MODEL,) if reads is Reads.NUMBERS else BUNDLED_MODELS[:-1]
        bundled = " or ".join(names)
        raise ModelError(f"the model {name!r} {problem}: give the path of a .h5 or .keras file, or {bundled}")
    return ResolvedModel(Path(name), name)


def _find_objection(digest: str) -> str:
    """Return why the model at `DEFAULT_PATH`, with this SHA-256, is not used unasked; empty if it is."""
    trained = find_trained_model(digest)
    if trained is None:
        return (
            f"{DEFAULT_PATH} is not used, because there is no record that you trained it: if you did, with "
            "an earlier version of digitscan, or if you trust it, train it again, or name it with "
            f"--model {DEFAULT_PATH} --model-sha256 {digest}"
        )
    if trained.metadata.reads is Reads.NUMBERS:
        return f"{DEFAULT_PATH} is not used, because it reads numbers, not single digits"
    if not trained.metadata.is_compatible:
        return f"not used: {describe_incompatible(DEFAULT_PATH, trained.metadata)}"
    accuracy = _get_test_accuracy(trained.metadata)
    bundled_accuracy = trained.bundled_accuracy
    if bundled_accuracy is None and trained.is_tested_on_mnist:
        bundled_accuracy = _get_bundled_test_accuracy()
    if accuracy is None or bundled_accuracy is None or accuracy >= bundled_accuracy - MAX_ACCURACY_LOSS:
        return ""
    return (
        f"{DEFAULT_PATH} is not used, because it reads {accuracy:.2%} of its test images right, and the "
        f"bundled {BUNDLED_MODELS[0]} {bundled_accuracy:.2%}: to use it, name it with --model {DEFAULT_PATH}"
    )


def _get_bundled_test_accuracy() -> float | None:
    """Return the accuracy of the default bundled model on MNIST's test images, None if it is not there."""
    path = bundled_folder() / f"{BUNDLED_MODELS[0]}.h5"
    if not path.is_file():
        return None
    compiled = find_compiled(hashlib.sha256(read_model_file(path)).hexdigest())
    return _get_test_accuracy(compiled.metadata) if compiled and compiled.is_bundled else None


def _get_test_accuracy(metadata: ModelMetadata) -> float | None:
    accuracy = metadata.scores.get("test accuracy")
    return accuracy if isinstance(accuracy, float) else None


def read_model_file(path: Path) -> bytes:
    """Return the content of a model file. Raises ModelError where it cannot be read or is too large."""
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{path} has {size} bytes: models of more than {MAX_MODEL_BYTES} are refused")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror or error}") from error


def describe_incompatible(path: Path, metadata: ModelMetadata) -> str:
    """Return why a model cannot be used, and the command that trains it again."""
    data = metadata.training.get("data", "MNIST")
    source = "" if data == "MNIST" else " --data (the images that it learned from)"
    return (
        f"{path} was trained with preprocessing version {metadata.preprocess_version}, "
        f"and this digitscan has version {metadata.current_version}: train it again with "
        f"digitscan train --arch {metadata.architecture}{source} -o {path} --overwrite"
    )
