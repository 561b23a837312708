"""The metadata of a model: what is stored, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest

from digitscan.errors import ModelError
from digitscan.model.ctc import SYMBOL_COUNT
from digitscan.model.h5_file import read_metadata
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import LINE_CLASSES, LINE_INPUT_SHAPE, ModelMetadata, Reads
from digitscan.model.model_files import resolve_model

# As the first version wrote it for its fast model, which it called "quick".
OLD_TEXT = (
    '{"answers_for": "a420d0229d45cc363abc2ea3afd3b012ef4cda857d32e2390bc156e4fd1a9b56", '
    '"architecture": "quick", "classes": 11, "format_version": 1, "input_maximum": 1.0, '
    '"input_shape": [28, 28, 1], "ok_confidence": 0.9473, "preprocess_version": 2, '
    '"scores": {"test accuracy": 0.9949}, "sure": 0.9855, "temperature": 0.5972, "training": {"seed": 1}}'
)


LINE = ModelMetadata(
    architecture="line",
    classes=LINE_CLASSES,
    preprocess_version=3,
    reads=Reads.NUMBERS,
    input_shape=LINE_INPUT_SHAPE,
    ok_confidence=0.9,
)


def test_metadata_is_read_back_as_it_was_written(metadata: ModelMetadata) -> None:
    fast = dataclasses.replace(
        metadata, architecture="cnn-fast", cascade_target="0" * 64, cascade_threshold=0.9
    )
    grouped = dataclasses.replace(metadata, field_ok_confidence=0.97, unclear_ok_confidence=0.98)
    for written in (metadata, fast, grouped, LINE):
        assert ModelMetadata.from_json(written.to_json()) == written


def test_metadata_of_the_first_version_is_read_and_written_with_its_names() -> None:
    metadata = ModelMetadata.from_json(OLD_TEXT)
    assert metadata.architecture == "cnn-fast"
    assert metadata.cascade_target == "a420d0229d45cc363abc2ea3afd3b012ef4cda857d32e2390bc156e4fd1a9b56"
    assert metadata.cascade_threshold == 0.9855
    assert metadata.to_json() == OLD_TEXT


def test_the_bundled_fast_model_names_the_bundled_cnn_as_its_target() -> None:
    fast = read_metadata(resolve_model("cnn-fast").path.read_bytes())
    assert fast is not None
    assert fast.architecture == "cnn-fast"
    assert fast.cascade_target == hashlib.sha256(resolve_model("cnn").path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format_version": 99}, "format_version"),
        ({"architecture": "a b\x1b[2J"}, "architecture"),
        ({"architecture": 7}, "architecture"),
        ({"classes": 12}, "classes"),
        ({"classes": "ten"}, "classes"),
        ({"preprocess_version": "2"}, "preprocess_version"),
        ({"preprocess_version": True}, "preprocess_version"),
        ({"input_shape": [28, 29]}, "input_shape"),
        ({"input_maximum": 7}, "input_maximum"),
        ({"input_inverted": "yes"}, "input_maximum"),
        ({"temperature": 0}, "temperature"),
        ({"ok_confidence": 2}, "ok_confidence"),
        ({"ok_confidence": 0.9, "field_ok_confidence": 0.8}, "field_ok_confidence"),
        ({"unclear_ok_confidence": 2}, "unclear_ok_confidence"),
        ({"answers_for": "../cnn", "sure": 0.9}, "cascade_target"),
        ({"answers_for": "0" * 64, "sure": 0.1}, "cascade_threshold"),
        ({"answers_for": "0" * 64}, "cascade_threshold"),
        ({"sure": 0.9}, "cascade_threshold"),
        ({"training": []}, "training"),
        ({"scores": "good"}, "scores"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_name_of_its_field(
    metadata: ModelMetadata, changes: dict[str, Any], field: str
) -> None:
    text = json.dumps(json.loads(metadata.to_json()) | changes)
    with pytest.raises(ModelError, match=f"is not valid for this version of digitscan: {field}$"):
        ModelMetadata.from_json(text)


def test_metadata_that_says_nothing_of_it_is_that_of_a_model_of_digits() -> None:
    assert ModelMetadata.from_json(OLD_TEXT).reads is Reads.DIGITS
    assert LINE.without_claims().reads is Reads.NUMBERS


def test_the_classes_of_a_model_of_numbers_are_the_symbols_of_ctc() -> None:
    assert LINE_CLASSES == SYMBOL_COUNT


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reads": "words"}, "reads, classes, input_shape"),
        ({"reads": ["numbers"]}, "reads, classes, input_shape"),
        ({"reads": "digits"}, "classes, input_shape"),
        ({"classes": 11}, "classes"),
        ({"input_shape": [28, 28, 1]}, "input_shape"),
        ({"input_shape": [32, 128, 1]}, "input_shape"),
        ({"input_maximum": 255.0}, "input_maximum"),
    ],
)
def test_a_model_of_numbers_has_the_shapes_of_lines_and_no_model_of_digits_has_them(
    changes: dict[str, Any], field: str
) -> None:
    text = json.dumps(json.loads(LINE.to_json()) | changes)
    with pytest.raises(ModelError, match=f"is not valid for this version of digitscan: {field}$"):
        ModelMetadata.from_json(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": None},
        {"architecture": []},
        {"input_shape": 28},
        {"more": 1},
        {"training": {"seconds": float("nan")}},
        # The names that code uses are not stored names.
        {"cascade_target": "0" * 64, "cascade_threshold": 0.9},
    ],
)
def test_unknown_fields_and_wrong_types_are_refused(metadata: ModelMetadata, changes: dict[str, Any]) -> None:
    text = json.dumps(json.loads(metadata.to_json()) | changes)
    with pytest.raises(ModelError, match="the metadata inside the model cannot be read"):
        ModelMetadata.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"architecture": "cnn"}', "[" * 100_000])
def test_a_text_that_is_not_metadata_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="the metadata inside the model cannot be read"):
        ModelMetadata.from_json(text)


@pytest.mark.parametrize("input_range", InputRange)
def test_each_input_range_is_stored_and_read(metadata: ModelMetadata, input_range: InputRange) -> None:
    ranged = dataclasses.replace(metadata, input_range=input_range)
    assert ModelMetadata.from_json(ranged.to_json()) == ranged
    assert ("input_inverted" in ranged.to_stored()) == input_range.is_inverted
