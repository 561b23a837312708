"""What a reader must know about a model, as it is stored inside the `.h5` and beside its program."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from digitscan.errors import ModelError

FORMAT_VERSION = 1
UNKNOWN_ARCHITECTURE = "unknown"
FAST_CNN = "cnn-fast"
"""The architecture that answers for the CNN where it is confident enough."""

# Files written by older versions, and the bundled models, must stay readable, so stored names never change.
_STORED_NAMES = {"cascade_target": "answers_for", "cascade_threshold": "sure"}
_STORED_ARCHITECTURES = {FAST_CNN: "quick"}
_FIELD_NAMES = {stored: name for name, stored in _STORED_NAMES.items()}
_ARCHITECTURES = {stored: name for name, stored in _STORED_ARCHITECTURES.items()}


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a reader must know about a model; stored as JSON in the `.h5` itself.

    `classes` is 10, or 11 where the last one means "not a digit". `input_maximum` is the value of full
    ink, 1.0 or 255.0. `ok_confidence` is the confidence from which a row is `ok`; None means that the
    model is not calibrated, and every row is `review` unless the user gives a limit. `cascade_target` is the
    SHA-256 of the `.h5` in whose place a quick model may answer, from the confidence `sure` on.
    """

    architecture: str
    classes: int
    preprocess_version: int
    format_version: int = FORMAT_VERSION
    input_shape: tuple[int, ...] = (28, 28, 1)
    input_maximum: float = 1.0
    temperature: float = 1.0
    ok_confidence: float | None = None
    cascade_target: str | None = None
    cascade_threshold: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the facts as one line of JSON, the same for the same facts."""
        values = dataclasses.asdict(self)
        values["architecture"] = _STORED_ARCHITECTURES.get(self.architecture, self.architecture)
        stored = {_STORED_NAMES.get(name, name): value for name, value in values.items()}
        return json.dumps(stored, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelMetadata:
        """Read facts back. Raises ModelError where they are not what `to_json` writes."""
        try:
            stored = json.loads(text)
            values = {_FIELD_NAMES.get(name, name): value for name, value in stored.items()}
            values["architecture"] = _ARCHITECTURES.get(values["architecture"], values["architecture"])
            values["input_shape"] = tuple(values["input_shape"])
            metadata = cls(**values)
            sound = (
                metadata.format_version == FORMAT_VERSION
                and isinstance(metadata.architecture, str)
                and re.fullmatch(r"[\w.-]{1,40}", metadata.architecture) is not None
                and metadata.classes in (10, 11)
                and isinstance(metadata.preprocess_version, int)
                and metadata.input_shape in ((784,), (28, 28), (28, 28, 1))
                and metadata.input_maximum in (1.0, 255.0)
                and 0.01 <= metadata.temperature <= 100.0
                and (metadata.ok_confidence is None or 0.0 <= metadata.ok_confidence <= 1.0)
                and (
                    metadata.cascade_target is None
                    or re.fullmatch(r"[0-9a-f]{64}", metadata.cascade_target) is not None
                )
                and (metadata.cascade_threshold is None or 0.5 <= metadata.cascade_threshold <= 1.0)
                and (metadata.cascade_target is None) == (metadata.cascade_threshold is None)
                and isinstance(metadata.training, dict)
                and isinstance(metadata.scores, dict)
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"the facts inside the model cannot be read ({type(error).__name__})") from error
        if not sound:
            raise ModelError("the facts inside the model are not those of this version of digitscan")
        return metadata
