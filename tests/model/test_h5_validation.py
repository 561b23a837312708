"""What an `.h5` may hold: everything else is refused before Keras sees any of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from digitscan.errors import ModelError
from digitscan.model import h5_validation
from digitscan.model.h5_validation import validate_h5
from digitscan.model.registry import Model
from tests.support import hostile_models
from tests.support.hostile_models import (
    Attack,
    build_network,
    save_h5,
)


def test_a_model_of_our_own_is_valid(saved_model: Model) -> None:
    validate_h5(saved_model.path.read_bytes())


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (hostile_models.add_soft_link, "'again' is a link to another place"),
        (hostile_models.add_external_link, "'other' is a link to another place"),
        (hostile_models.add_hard_link_loop, "'loop' is another name of the same group or dataset"),
        (hostile_models.add_virtual_dataset, "'values' takes its values from another file"),
        (hostile_models.add_external_dataset, "'values' takes its values from another file"),
        (hostile_models.add_huge_dataset, "'values' declares 4000000000000 bytes and has 0"),
        (
            hostile_models.add_dataset_beyond_64_bits,
            "'values' declares 73786976294838206464 bytes and has 0",
        ),
        (hostile_models.add_compressed_dataset, "'values' is compressed"),
        (hostile_models.add_text_dataset, "'values' holds no numbers"),
        (hostile_models.add_object_reference, "'ref' is of a kind that Keras does not write"),
        (hostile_models.remove_config, "it holds no network"),
        (hostile_models.break_config, "is not JSON"),
    ],
)
def test_structures_that_keras_does_not_write_are_refused(
    tmp_path: Path, attack: Attack, message: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros(4, "f4")
    path = save_h5(build_network(), tmp_path)
    with h5py.File(path, "a") as file:
        attack(file, tmp_path)
    with pytest.raises(ModelError, match=message):
        validate_h5(path.read_bytes())


def test_groups_that_are_too_many_or_too_deep_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h5_validation, "MAX_OBJECTS", 50)
    for name, count, message in (
        ("group", 51, "it has more than 50 groups and datasets"),
        ("group/" * 30, 1, "its groups are nested more than 24 deep"),
    ):
        path = save_h5(build_network(), tmp_path)
        with h5py.File(path, "a") as file:
            for index in range(count):
                file.create_group(f"{name}{index}")
        with pytest.raises(ModelError, match=message):
            validate_h5(path.read_bytes())


def test_a_file_truncated_at_any_length_is_refused_in_one_line(tmp_path: Path) -> None:
    data = save_h5(build_network(), tmp_path).read_bytes()
    for length in [*range(0, 100, 9), *range(100, len(data), len(data) // 40), len(data) - 1]:
        with pytest.raises(ModelError, match=r"it is not an HDF5 file|the HDF5 file is broken") as caught:
            validate_h5(data[:length])
        assert "\n" not in str(caught.value)


def test_other_kinds_of_files_are_refused_with_what_to_do(tmp_path: Path, small_cnn: Any) -> None:
    small_cnn.save_weights(tmp_path / "only.weights.h5")
    for data, message in (
        ((tmp_path / "only.weights.h5").read_bytes(), "save the whole model, not only its weights"),
        (np.random.default_rng(0).bytes(5000), "it is not an HDF5 file"),
        (b"", "it is not an HDF5 file"),
    ):
        with pytest.raises(ModelError, match=message):
            validate_h5(data)
