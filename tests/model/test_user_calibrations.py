"""The calibrations of models by this user's pictures, in the user's data folder."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from pathlib import Path

import pytest

from digitscan.errors import ModelError
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import ModelMetadata
from digitscan.model.user_calibrations import (
    Calibration,
    check_calibrations_writable,
    find_calibration,
    forget_calibrations,
    list_calibrations,
    store_calibration,
)

DIGEST = "0" * 64
CALIBRATION = Calibration("theirs.h5", 1.84, 0.9312, 1234, "2026-11-27")


def test_what_is_stored_is_found_for_that_model_and_range_alone() -> None:
    for input_range in InputRange:
        assert find_calibration(DIGEST, input_range) is None
        calibration = dataclasses.replace(CALIBRATION, model=input_range.value)
        store_calibration(DIGEST, input_range, calibration)
        assert find_calibration(DIGEST, input_range) == calibration
        assert find_calibration("1" * 64, input_range) is None


def test_all_that_can_be_read_are_listed(records_folder: Path) -> None:
    assert list_calibrations() == []
    others = [dataclasses.replace(CALIBRATION, model=name) for name in ("a.h5", "b.h5")]
    for digit, calibration in zip("21", others, strict=True):
        store_calibration(digit * 64, InputRange.BYTE, calibration)
    store_calibration(DIGEST, InputRange.ONE, CALIBRATION).write_text("damaged")
    assert list_calibrations() == others


def test_forgetting_removes_all_of_a_model_and_none_of_another() -> None:
    for input_range in (InputRange.ONE, InputRange.BYTE):
        store_calibration(DIGEST, input_range, CALIBRATION)
    store_calibration("1" * 64, InputRange.ONE, CALIBRATION)
    assert forget_calibrations(DIGEST) == 2
    assert forget_calibrations(DIGEST) == 0
    assert find_calibration(DIGEST, InputRange.ONE) is None
    assert find_calibration("1" * 64, InputRange.ONE) == CALIBRATION


def test_it_replaces_the_temperature_and_all_thresholds(metadata: ModelMetadata) -> None:
    with_fields = dataclasses.replace(metadata, field_ok_confidence=0.9, unclear_ok_confidence=0.95)
    expected = dataclasses.replace(metadata, temperature=1.84, ok_confidence=0.9312)
    assert CALIBRATION.apply(with_fields) == expected


def test_what_rows_depend_on_and_what_people_read_are_said() -> None:
    assert CALIBRATION.describe_parameters() == "temperature 1.84, ok from 0.9312"
    assert CALIBRATION.describe() == "calibrated here on 1,234 pictures, 2026-11-27"


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0},
        {"temperature": "1"},
        {"ok_confidence": 1.1},
        {"ok_confidence": None},
        {"pictures": "many"},
        {"date": "today\x1b[2J"},
        {"more": 1},
    ],
)
def test_one_that_was_edited_to_what_cannot_be_is_damaged(changes: dict[str, object]) -> None:
    path = store_calibration(DIGEST, InputRange.ONE, CALIBRATION)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=r"\.json is damaged"):
        find_calibration(DIGEST, InputRange.ONE)


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", "\xff", "[" * 100_000])
def test_a_file_that_is_no_calibration_is_damaged(text: str) -> None:
    path = store_calibration(DIGEST, InputRange.ONE, CALIBRATION)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"\.json is damaged"):
        find_calibration(DIGEST, InputRange.ONE)


def test_one_that_cannot_be_stored_is_one_sentence(records_folder: Path) -> None:
    records_folder.parent.write_text("a file in the place of the folder")
    for store in (
        check_calibrations_writable,
        lambda: store_calibration(DIGEST, InputRange.ONE, CALIBRATION),
    ):
        with pytest.raises(
            ModelError, match=r"the calibration of the model cannot be stored in .*; make that folder"
        ):
            store()


if os.name == "posix":  # other systems have no such permissions

    def test_it_is_private_and_one_that_others_can_write_to_is_not_used() -> None:
        path = store_calibration(DIGEST, InputRange.ONE, CALIBRATION)
        for entry, mode in ((path, 0o600), (path.parent, 0o700)):
            assert stat.S_IMODE(entry.stat().st_mode) == mode
            entry.chmod(mode | 0o020)
            with pytest.raises(ModelError, match="other users can write to it"):
                find_calibration(DIGEST, InputRange.ONE)
            entry.chmod(mode)
