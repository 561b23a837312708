"""The record of the models that this user trained."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelMetadata
from digitscan.model.trained_models import TrainedModel, find_trained_model, record_trained_model

DIGEST = "0" * 64


@pytest.mark.parametrize("is_tested_on_mnist", [True, False])
def test_what_is_recorded_is_found_again(metadata: ModelMetadata, is_tested_on_mnist: bool) -> None:
    trained = TrainedModel(dataclasses.replace(metadata, unclear_ok_confidence=0.9), is_tested_on_mnist)
    assert find_trained_model(DIGEST) is None
    record_trained_model(DIGEST, trained)
    assert find_trained_model(DIGEST) == trained
    assert find_trained_model("1" * 64) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"facts": {}, "tested_on_mnist": true}', "7", "\xff"])
def test_a_damaged_record_is_none(metadata: ModelMetadata, records_folder: Path, text: str) -> None:
    record_trained_model(DIGEST, TrainedModel(metadata, is_tested_on_mnist=True))
    (records_folder / f"{DIGEST}.json").write_text(text, encoding="latin-1")
    assert find_trained_model(DIGEST) is None


def test_a_record_that_cannot_be_written_is_one_sentence(
    metadata: ModelMetadata, records_folder: Path
) -> None:
    records_folder.parent.write_text("a file in the place of the folder")
    with pytest.raises(ModelError, match=r"the record of the model cannot be stored in .*; make that folder"):
        record_trained_model(DIGEST, TrainedModel(metadata, is_tested_on_mnist=True))


if os.name == "posix":  # other systems have no such permissions

    def test_a_record_is_private_and_one_that_others_can_write_to_is_none(
        metadata: ModelMetadata, records_folder: Path
    ) -> None:
        record_trained_model(DIGEST, TrainedModel(metadata, is_tested_on_mnist=True))
        path = records_folder / f"{DIGEST}.json"
        for entry, mode in ((path, 0o600), (records_folder, 0o700)):
            assert stat.S_IMODE(entry.stat().st_mode) == mode
            entry.chmod(mode | 0o020)
            assert find_trained_model(DIGEST) is None
            entry.chmod(mode)
            assert find_trained_model(DIGEST) is not None
