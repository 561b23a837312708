"""Load models, and decide whose metadata is believed; `model_files` finds their files.

A `.h5` may come from anybody, and its metadata may claim that all its answers are sure. So the metadata is
believed only of a bundled model, of one that this user trained (see `trained_models`), and of one that the
user pins by its digest. The rows of any other model are `review`, unless the user gives a limit. What the
user's own labelled pictures have shown of a model (see `user_calibrations`) counts before all that.

A model is one file, an `.h5` or `.keras`. Its compiled form, the same network compiled for LiteRT, is in a
cache apart from it (see `compiled_cache`). While it is there, loading a model only reads files and computes
SHA-256 digests. This module and what it imports at the top must load neither NumPy nor Keras, to keep the
start of a scan short.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from digitscan.errors import ModelError, UsageError
from digitscan.model.compiled_cache import (
    CompiledModel,
    bundled_folder,
    find_compiled,
    keep_in_memory,
    read_compiled,
    store_compiled,
)
from digitscan.model.input_comparison import InputComparison
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import FAST_CNN, UNKNOWN_ARCHITECTURE, ModelMetadata, Reads
from digitscan.model.model_files import (
    BUNDLED_MODELS,
    LINE_MODEL,
    ResolvedModel,
    describe_incompatible,
    read_model_file,
    resolve_model,
    resolve_name,
)
from digitscan.model.trained_models import find_trained_model
from digitscan.model.user_calibrations import Calibration, find_calibration

if TYPE_CHECKING:
    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.line_classifier import LineClassifier


class ModelKindError(ModelError):
    """A model reads single digits where numbers are wanted, or the other way round."""


@dataclass(frozen=True)
class Model:
    """A model that is ready to be used; `load_model` returns it."""

    path: Path
    """The `.h5` or `.keras` file."""
    name: str
    """What to call it in messages: the name of a bundled model, else the path as it was given."""
    digest: str
    """The SHA-256 of that file, in lower-case hexadecimal."""
    metadata: ModelMetadata
    """What is known of the model, for example its classes and from which confidence a row is `ok`."""
    compiled_path: Path
    """The compiled model, a `.tflite` file."""
    compiled_digest: str
    """The SHA-256 of that file; `read_compiled` verifies it before anything is run."""
    compiled_content: bytes | None = None
    """The content of that file where it could not be written; else None."""
    fast_model: Model | None = None
    """A smaller model that answers in this one's place where it is confident enough, if there is one."""
    digit_model: Model | None = None
    """Of a model that reads numbers: the one that reads those of one digit."""
    input_comparison: InputComparison | None = None
    """How well a model without metadata of its own reads in each input range; else None."""
    calibration: Calibration | None = None
    """The user's own calibration, which the metadata then holds; else None."""

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with digitscan."""
        return self.name in BUNDLED_MODELS

    def read_compiled(self) -> bytes:
        """Return the content of the compiled model. Raises ModelError where it is missing or damaged."""
        if self.compiled_content is not None:
            return self.compiled_content
        return read_compiled(self.compiled_path, self.compiled_digest)

    def load_classifier(self) -> Classifier | Cascade:
        """Return what a scan classifies images with: a `Cascade` where there is a fast model.

        Raises ModelError where a compiled model is missing or damaged, or where the model reads numbers or
        was trained with another version of preprocessing.

        >>> import numpy as np
        >>> classifier = load_model("mlp").load_classifier()
        >>> classifier.classify(np.zeros((5, 28, 28), np.uint8)).shape
        (5, 10)
        """
        from digitscan.model.classifier import Cascade

        self.check_reads(Reads.DIGITS)
        classifier = _load_single_classifier(self)
        if self.fast_model is None:
            return classifier
        threshold = self.fast_model.metadata.cascade_threshold
        assert threshold is not None  # valid metadata with a cascade target has a threshold
        return Cascade(_load_single_classifier(self.fast_model), threshold, classifier)

    def load_line_classifier(self) -> LineClassifier:
        """Return what a scan of numbers classifies lines with.

        Raises ModelError as `load_classifier` does, and where the model reads single digits.
        """
        from digitscan.model.line_classifier import LineClassifier

        self.check_reads(Reads.NUMBERS)
        return LineClassifier(self.read_compiled(), self.metadata)

    def check_reads(self, reads: Reads) -> None:
        """Raise ModelKindError where the model does not read what is wanted: single digits, or numbers."""
        if self.metadata.reads is reads:
            return
        if reads is Reads.NUMBERS:
            raise ModelKindError(
                f"{self.name} reads single digits: leave out --numbers, or give a model of numbers such as "
                f"{LINE_MODEL}"
            )
        raise ModelKindError(
            f"{self.name} reads numbers: give --numbers, or a model of single digits such as "
            f"{BUNDLED_MODELS[0]}"
        )


def load_model(
    name_or_path: str | Path | None = None,
    *,
    input_range: InputRange | str | None = None,
    sha256: str | None = None,
    uses_calibration: bool = True,
    numbers: bool = False,
    log: Callable[[str], object] = lambda message: None,
) -> Model:
    """Return a model that is ready to be used, compiling it first where that has not been done yet.

    `name_or_path` is the name of a bundled model ("cnn", "mlp", "cnn-fast"), the path of a `.h5` or `.keras`
    file, or None: then it is `models/digits.h5` of the current folder if this user trained it, else "cnn".
    With `numbers` it is a model that reads numbers, by default the bundled "line".
    `input_range`, such as "0..255", is that of a model that digitscan did not make; by default "0..1".
    `sha256` is the digest that the file must have; whoever gives it vouches for what the model says about
    itself. Without `uses_calibration`, a calibration by the user's pictures is left out; training does so, in
    order to depend on its own arguments alone. `log` is called with lines for the user.

    Compiling takes some seconds, once for each file; or each time, where the result cannot be stored. It
    happens in a child process, which checks the file before it builds anything from it: it may come from
    anybody.

    Raises ModelError if the model is missing, broken, refused or not the one that `sha256` names;
    ModelKindError if it reads single digits where numbers are wanted, or the other way round; UsageError for
    an `input_range` that there is not, or that contradicts what the model says about itself.

    >>> import digitscan
    >>> model = digitscan.load_model("mlp")
    >>> model.metadata.classes, model.metadata.input_shape
    (10, (28, 28, 1))
    """
    reads = Reads.NUMBERS if numbers else Reads.DIGITS
    resolved = resolve_model(name_or_path, reads)
    if resolved.message:
        log(resolved.message)
    given_range = None if input_range is None else InputRange.parse(input_range)
    model = _load_resolved(resolved, given_range, sha256, uses_calibration, log)
    model.check_reads(reads)
    if numbers:
        # Bundled, whatever the user has trained: what is known of the numbers' confidences includes it.
        return dataclasses.replace(model, digit_model=load_model(BUNDLED_MODELS[0], uses_calibration=False))
    if model.calibration:
        return model  # the answers of a fast model would not be calibrated
    if model.name == FAST_CNN or not (bundled_folder() / f"{FAST_CNN}.h5").is_file():
        return model
    fast_model = _load_resolved(resolve_name(FAST_CNN), None, None, False, log)
    is_made_for_it = fast_model.metadata.cascade_target == model.digest
    return dataclasses.replace(model, fast_model=fast_model) if is_made_for_it else model


def _load_resolved(
    resolved: ResolvedModel,
    input_range: InputRange | None,
    sha256: str | None,
    uses_calibration: bool,
    log: Callable[[str], object],
) -> Model:
    """Return what `load_model` does, without a fast model."""
    data = read_model_file(resolved.path) if resolved.data is None else resolved.data
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256.strip().lower():
        raise ModelError(f"{resolved.path} is not the pinned model: its SHA-256 is {digest}")
    compiled = _find_compiled_for(digest, input_range)
    if compiled is None:
        compiled = _compile(resolved.path, data, digest, input_range, log)
    if input_range is not None and compiled.metadata.input_range != input_range:
        raise UsageError(
            f"the metadata of {resolved.path} says that its input is {compiled.metadata.input_range}: "
            "--input-range is for models that digitscan did not make, leave it out"
        )
    if not compiled.metadata.is_compatible:
        raise ModelError(describe_incompatible(resolved.path, compiled.metadata))
    is_believed = sha256 is not None or resolved.is_bundled or compiled.is_bundled
    metadata = compiled.metadata
    calibration = _find_calibration(resolved.path, digest, metadata, log) if uses_calibration else None
    if not is_believed:
        # That no row can be `ok` would not be true of a calibrated model.
        log_claims = (lambda message: None) if calibration else log
        metadata = _check_claims(metadata, resolved.path, digest, log_claims)
    if calibration:
        metadata = calibration.apply(metadata)
    comparison = compiled.input_comparison
    if comparison and comparison.find_better(metadata.input_range):
        log(f"{resolved.path}: {comparison.describe(metadata.input_range)}")
    return Model(
        resolved.path,
        resolved.name,
        digest,
        metadata,
        compiled.path,
        compiled.digest,
        compiled.content,
        input_comparison=comparison,
        calibration=calibration,
    )


def _find_calibration(
    path: Path, digest: str, metadata: ModelMetadata, log: Callable[[str], object]
) -> Calibration | None:
    """Return the user's calibration of a model, None if there is none that can be used."""
    try:
        return find_calibration(digest, metadata.input_range)
    except ModelError as error:
        log(f"your calibration of {path} is not used: {error}. Calibrate again, or remove it with --forget")
        return None


def _compile(
    path: Path, data: bytes, digest: str, input_range: InputRange | None, log: Callable[[str], object]
) -> CompiledModel:
    """Compile a model file into the cache, or into memory where that cannot be. Raises ModelError."""
    from digitscan.model.compile_worker import compile_in_child_process

    log(f"compiling {path} for this computer, once (some seconds)")
    metadata, compiled, comparison = compile_in_child_process(path, data, input_range)
    try:
        return store_compiled(digest, metadata, compiled, input_comparison=comparison)
    except ModelError as error:
        log(f"{error}. Until then it is compiled at each start")
        return keep_in_memory(digest, metadata, compiled, comparison)


def load_bundled_models() -> list[Model]:
    """Return the bundled models; those whose files are missing are left out."""
    folder = bundled_folder()
    names = [name for name in BUNDLED_MODELS if (folder / f"{name}.h5").is_file()]
    return [load_model(name, numbers=name == LINE_MODEL) for name in names]


def _find_compiled_for(digest: str, input_range: InputRange | None) -> CompiledModel | None:
    """Return the compiled form of a model for an input range, None if there is none."""
    if input_range is None:
        return find_compiled(digest)
    compiled = find_compiled(digest, input_range)
    if compiled is None:
        # A model of digitscan is compiled for its own range, 0..1, whatever was asked for.
        compiled = find_compiled(digest)
        if compiled is not None and compiled.metadata.architecture == UNKNOWN_ARCHITECTURE:
            return None
    return compiled


def _check_claims(
    claimed: ModelMetadata, path: Path, digest: str, log: Callable[[str], object]
) -> ModelMetadata:
    """Return the metadata of a model that is neither bundled nor pinned: its record's, or no claims."""
    trained = find_trained_model(digest)
    if trained is not None:
        return trained.metadata
    if claimed.ok_confidence is not None:
        log(
            f"the calibration of {path} is not used, and its rows are review, because there is no record "
            "that you trained it: if you did, with an earlier version of digitscan, or if you trust it, "
            f"train it again, or pin it with --model-sha256 {digest}"
        )
    return claimed.without_claims()


def _load_single_classifier(model: Model) -> Classifier:
    from digitscan.model.classifier import Classifier

    return Classifier(model.read_compiled(), model.metadata)
