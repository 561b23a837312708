"""Metadata of a model: what a reader must know to use its `.h5`.

It is stored as JSON in two places: inside the `.h5` itself (see `h5_file`) and beside the compiled model (see
`compiled_cache`), so that a scan reads it without opening the `.h5`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from digitscan.errors import ModelError
from digitscan.imaging.condition import Condition
from digitscan.imaging.version import COMPATIBLE_VERSIONS, LINE_PREPROCESS_VERSION, PREPROCESS_VERSION
from digitscan.model.input_range import InputRange

FORMAT_VERSION = 1
"""The version of the stored form. Raise it when older code would misread what newer code writes."""
MAX_MODEL_BYTES = 256 * 1024 * 1024
"""A larger `.h5` is refused before it is read, because the whole file is held in memory."""
UNKNOWN_ARCHITECTURE = "unknown"
"""The architecture of a model that came without metadata, or whose metadata is not believed."""
FAST_CNN = "cnn-fast"
"""The architecture of the small network that answers in the CNN's place where it is confident enough."""
LINE = "line"
"""The architecture of the network that reads numbers."""

DIGIT_INPUT_SHAPES = ((28, 28, 1), (28, 28), (784,))
"""The inputs that a model of single digits may have."""
LINE_INPUT_SHAPE = (32, None, 1)
"""The input of a model that reads numbers: a line of 32 pixels' height and any width."""
LINE_CLASSES = 13
"""The outputs of a model that reads numbers, at each step: the symbols of `ctc`."""

# Some fields and architectures are stored under the names that they had at first. Stored names never change,
# so that the bundled models keep their digests and older files stay readable.
_STORED_FIELDS = {"cascade_target": "answers_for", "cascade_threshold": "sure"}
_STORED_ARCHITECTURES = {FAST_CNN: "quick"}
_CONDITION_LIMITS = ("field_ok_confidence", "unclear_ok_confidence")
_ARCHITECTURES = {stored: name for name, stored in _STORED_ARCHITECTURES.items()}


class Reads(StrEnum):
    """What a model reads in a picture."""

    DIGITS = "digits"
    """One digit, in an image of 28x28 pixels."""
    NUMBERS = "numbers"
    """The digits of a number, in a line."""


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a reader must know to use a model."""

    architecture: str
    """The network: "cnn", "cnn-fast", "mlp" or "line"; "unknown" for a model without metadata that is
    believed."""
    classes: int
    """How many outputs the network has: 10 digits, or 11 where the last one means "not a digit"; of a model
    that reads numbers `LINE_CLASSES`."""
    preprocess_version: int
    """The `PREPROCESS_VERSION` of the training images, see `COMPATIBLE_VERSIONS`; of a model that reads
    numbers `LINE_PREPROCESS_VERSION`."""
    format_version: int = FORMAT_VERSION
    """The `FORMAT_VERSION` of the code that wrote the metadata."""
    reads: Reads = Reads.DIGITS
    """Whether it reads single digits or numbers."""
    input_shape: tuple[int | None, ...] = (28, 28, 1)
    """The shape of one image as the network takes it: (28, 28, 1), (28, 28) or (784,); of a model that reads
    numbers `LINE_INPUT_SHAPE`."""
    input_range: InputRange = InputRange.ONE
    """Which values no ink and full ink have in the input."""
    temperature: float = 1.0
    """What the logits are divided by before the softmax, 0.01 to 100; it calibrates the probabilities."""
    ok_confidence: float | None = None
    """The confidence, 0 to 1, from which a row is `ok`. None: the model is not calibrated, and every row is
    `review` unless the user gives a limit."""
    field_ok_confidence: float | None = None
    """The same for images of the condition `field`; None: `ok_confidence`."""
    unclear_ok_confidence: float | None = None
    """The same for images of the condition `unclear`; None: `ok_confidence`."""
    cascade_target: str | None = None
    """The SHA-256 of the `.h5` in whose place this fast model may answer; None for all other models."""
    cascade_threshold: float | None = None
    """The confidence, 0.5 to 1, from which a fast model answers in place of its target; else None."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """How the model was trained: seed, epochs, seconds and the like. For people; code reads only `data`, for
    the command that trains a model again."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """The model's scores on test images, for people; only `resolve_model` compares two accuracies."""

    @property
    def is_compatible(self) -> bool:
        """Whether the model was trained on what preprocessing gives today.

        One without metadata was trained elsewhere, without preprocessing of any version.
        """
        if self.architecture == UNKNOWN_ARCHITECTURE:
            return True
        if self.reads is Reads.NUMBERS:
            return self.preprocess_version == LINE_PREPROCESS_VERSION
        return self.preprocess_version in COMPATIBLE_VERSIONS

    @property
    def current_version(self) -> int:
        """The version of today's preprocessing for such a model."""
        return LINE_PREPROCESS_VERSION if self.reads is Reads.NUMBERS else PREPROCESS_VERSION

    @property
    def has_unknown_input_range(self) -> bool:
        """Whether its input range is only what the user says; that of a model of numbers is always 0..1."""
        return self.architecture == UNKNOWN_ARCHITECTURE and self.reads is Reads.DIGITS

    def ok_limit(self, condition: Condition) -> float | None:
        """Return the confidence from which a row of an image is `ok`; None: the model is not calibrated."""
        limits = {
            Condition.FIELD: self.field_ok_confidence,
            Condition.UNCLEAR: self.unclear_ok_confidence,
        }
        limit = limits.get(condition)
        return self.ok_confidence if limit is None else limit

    def without_claims(self) -> ModelMetadata:
        """Return what is left of the metadata of a model that nobody vouches for.

        What the network takes and gives stays: the file was checked for that. How sure the model is and where
        it comes from are claims that anybody can write into a file.
        """
        return ModelMetadata(
            architecture=UNKNOWN_ARCHITECTURE,
            classes=self.classes,
            preprocess_version=self.preprocess_version,
            reads=self.reads,
            input_shape=self.input_shape,
            input_range=self.input_range,
        )

    def to_stored(self) -> dict[str, Any]:
        """Return the values by their stored names, as JSON holds them."""
        values = dataclasses.asdict(self)
        values["architecture"] = _STORED_ARCHITECTURES.get(self.architecture, self.architecture)
        values["input_shape"] = list(self.input_shape)
        del values["input_range"]
        values["input_maximum"] = self.input_range.maximum
        if self.input_range.is_inverted:
            values["input_inverted"] = True
        # What it was before there was the field is stored as then: equal metadata gives equal text.
        for name in _CONDITION_LIMITS:
            if values[name] is None:
                del values[name]
        if self.reads is Reads.DIGITS:
            del values["reads"]
        return {_STORED_FIELDS.get(name, name): value for name, value in values.items()}

    def to_json(self) -> str:
        """Return the metadata as one line of ASCII JSON. Equal metadata gives equal text."""
        return json.dumps(self.to_stored(), sort_keys=True, allow_nan=False)

    @classmethod
    def from_stored(cls, stored: Any) -> ModelMetadata:
        """Return the metadata of what `to_stored` returned. Raises ModelError for anything else."""
        names = {_STORED_FIELDS.get(name, name): name for name in cls.__dataclass_fields__}
        try:
            values = dict(stored)
            input_range = (values.pop("input_maximum", 1.0), values.pop("input_inverted", False))
            values = {names[name]: value for name, value in values.items()}
            values["input_range"] = InputRange.with_properties(*input_range)
            values["architecture"] = _ARCHITECTURES.get(values["architecture"], values["architecture"])
            reads = values.get("reads", Reads.DIGITS)  # metadata of earlier versions does not say it
            values["reads"] = next((each for each in Reads if each == reads), None)
            values["input_shape"] = tuple(values["input_shape"])
            metadata = cls(**values)
            invalid_fields = _find_invalid_fields(metadata)
        except (TypeError, KeyError, AttributeError) as error:
            raise _unreadable(error) from error
        if invalid_fields:
            raise ModelError(
                "the metadata inside the model is not valid for this version of digitscan: "
                + ", ".join(invalid_fields)
            )
        return metadata

    @classmethod
    def from_json(cls, text: str) -> ModelMetadata:
        """Return the metadata that `to_json` wrote. Raises ModelError for any other text."""
        try:
            stored = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _unreadable(error) from error
        return cls.from_stored(stored)


def _unreadable(error: Exception) -> ModelError:
    return ModelError(f"the metadata inside the model cannot be read ({type(error).__name__})")


def _refuse_constant(name: str) -> None:
    """Raise ValueError for NaN and the infinities, which are no JSON and could not be written again."""
    raise ValueError(f"{name} is no number")


def _find_invalid_fields(metadata: ModelMetadata) -> list[str]:
    """Return the names of the fields whose values are out of range; metadata may come from anybody.

    Raises TypeError where a value is of a type that cannot be compared.
    """
    threshold, target = metadata.cascade_threshold, metadata.cascade_target
    reads_numbers = metadata.reads is Reads.NUMBERS
    is_valid = {
        "format_version": metadata.format_version == FORMAT_VERSION,
        # Shown on terminals, so no spaces and no control characters.
        "architecture": _matches(r"[\w.-]{1,40}", metadata.architecture),
        "reads": isinstance(metadata.reads, Reads),
        "classes": metadata.classes in ((LINE_CLASSES,) if reads_numbers else (10, 11)),
        "preprocess_version": type(metadata.preprocess_version) is int,  # a bool is an int too
        "input_shape": metadata.input_shape in ((LINE_INPUT_SHAPE,) if reads_numbers else DIGIT_INPUT_SHAPES),
        "temperature": 0.01 <= metadata.temperature <= 100.0,
        "ok_confidence": metadata.ok_confidence is None or 0.0 <= metadata.ok_confidence <= 1.0,
        "input_maximum": isinstance(metadata.input_range, InputRange)
        and (metadata.input_range is InputRange.ONE or not reads_numbers),
        **{name: _is_higher_limit(metadata, getattr(metadata, name)) for name in _CONDITION_LIMITS},
        "cascade_target": target is None or _matches(r"[0-9a-f]{64}", target),
        # A fast model has both a target and a threshold, any other model neither.
        "cascade_threshold": (threshold is None) == (target is None)
        and (threshold is None or 0.5 <= threshold <= 1.0),
        "training": isinstance(metadata.training, dict),
        "scores": isinstance(metadata.scores, dict),
    }
    return [name for name, valid in is_valid.items() if not valid]


def _is_higher_limit(metadata: ModelMetadata, limit: float | None) -> bool:
    """Whether the limit of a condition is none, or a confidence not below that of clean images."""
    return limit is None or (metadata.ok_confidence or 0.0) <= limit <= 1.0


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None
