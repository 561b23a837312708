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
QUICK = "quick"
"""The architecture that answers in another one's place where it is sure."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a reader must know about a model; stored as JSON in the `.h5` itself.

    `classes` is 10, or 11 where the last one means "not a digit". `input_maximum` is the value of full
    ink, 1.0 or 255.0. `ok_confidence` is the confidence from which a row is `ok`; None means that the
    model is not calibrated, and every row is `review` unless the user gives a limit. `answers_for` is the
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
    answers_for: str | None = None
    sure: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the facts as one line of JSON, the same for the same facts."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelFacts:
        """Read facts back. Raises ModelError where they are not what `to_json` writes."""
        try:
            values = json.loads(text)
            values["input_shape"] = tuple(values["input_shape"])
            facts = cls(**values)
            sound = (
                facts.format_version == FORMAT_VERSION
                and isinstance(facts.architecture, str)
                and re.fullmatch(r"[\w.-]{1,40}", facts.architecture) is not None
                and facts.classes in (10, 11)
                and isinstance(facts.preprocess_version, int)
                and facts.input_shape in ((784,), (28, 28), (28, 28, 1))
                and facts.input_maximum in (1.0, 255.0)
                and 0.01 <= facts.temperature <= 100.0
                and (facts.ok_confidence is None or 0.0 <= facts.ok_confidence <= 1.0)
                and (
                    facts.answers_for is None or re.fullmatch(r"[0-9a-f]{64}", facts.answers_for) is not None
                )
                and (facts.sure is None or 0.5 <= facts.sure <= 1.0)
                and (facts.answers_for is None) == (facts.sure is None)
                and isinstance(facts.training, dict)
                and isinstance(facts.scores, dict)
            )
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(f"the facts inside the model cannot be read ({type(error).__name__})") from error
        if not sound:
            raise ModelError("the facts inside the model are not those of this version of digitscan")
        return facts
