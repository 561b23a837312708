"""Saving a trained model as `.h5` with its metadata and its compiled form."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from digitscan.errors import OutputError
from digitscan.model import tflite_compiler
from digitscan.model.export import find_unwritable_folders, save_model
from digitscan.model.h5_file import read_metadata
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.model.trained_models import TrainedModel, find_trained_model


def test_plain_keras_loads_a_saved_model(
    saved_model: Model, small_cnn: Any, calibration_images: NDArray[np.float32]
) -> None:
    loaded = keras.models.load_model(saved_model.path)
    expected = small_cnn.predict(calibration_images, verbose=0)
    assert np.array_equal(loaded.predict(calibration_images, verbose=0), expected)


def test_the_metadata_is_inside_the_file(saved_model: Model, metadata: ModelMetadata) -> None:
    assert read_metadata(saved_model.path.read_bytes()) == metadata


def test_the_same_weights_and_metadata_make_the_same_files(
    saved_model: Model,
    small_cnn: Any,
    metadata: ModelMetadata,
    calibration_images: NDArray[np.float32],
    tmp_path: Path,
    cache_folder: Path,
) -> None:
    """There are no time stamps and no uninitialized memory in them."""
    again = save_model(small_cnn, metadata, tmp_path / "again.h5", None, calibration_images)
    assert again.path.read_bytes() == saved_model.path.read_bytes()
    assert (again.digest, again.compiled_digest) == (saved_model.digest, saved_model.compiled_digest)
    assert again.compiled_path.parent == cache_folder


def test_a_compiled_form_that_is_given_is_stored_without_compiling_again(
    saved_model: Model,
    small_cnn: Any,
    metadata: ModelMetadata,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(tflite_compiler, "_quantize")
    compiled = saved_model.compiled_path.read_bytes()
    model = save_model(small_cnn, metadata, tmp_path / "again.h5", compiled=compiled)
    assert model.compiled_path.read_bytes() == compiled


def test_a_model_that_cannot_be_written_leaves_the_old_file_whole(
    small_cnn: Any, metadata: ModelMetadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digits.h5"
    path.write_bytes(b"old")

    def fail_as_a_full_disk_does(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("digitscan.model.private_files.write_atomic", lambda *arguments, **options: None)
    monkeypatch.setattr("os.fsync", fail_as_a_full_disk_does)
    with pytest.raises(
        OutputError, match=r"cannot be written: No space left on device; choose another place"
    ):
        save_model(small_cnn, metadata, path, compiled=b"")
    assert path.read_bytes() == b"old"
    assert not [entry for entry in tmp_path.iterdir() if entry.suffix == ".part"]


def test_the_compiled_form_of_a_model_that_is_replaced_is_removed_from_its_folder(
    small_cnn: Any, metadata: ModelMetadata, tmp_path: Path
) -> None:
    for epochs in (1, 2):
        trained = dataclasses.replace(metadata, training={"epochs": epochs})
        model = save_model(
            small_cnn, trained, tmp_path / "cnn.h5", tmp_path / "programs", compiled=b"compiled"
        )
    names = {path.name for path in (tmp_path / "programs").iterdir()}
    assert names == {f"{model.digest}.tflite", f"{model.digest}.json"}


def test_a_saved_model_is_recorded_as_made_here_unless_it_is_bundled(
    small_cnn: Any, metadata: ModelMetadata, tmp_path: Path, bundled_folder: Path
) -> None:
    path, programs = bundled_folder / "cnn.h5", bundled_folder / "programs"
    bundled = save_model(small_cnn, metadata, path, programs, compiled=b"compiled")
    assert find_trained_model(bundled.digest) is None
    own = save_model(small_cnn, metadata, tmp_path / "own.h5", compiled=b"compiled", is_tested_on_mnist=True)
    assert find_trained_model(own.digest) == TrainedModel(metadata, is_tested_on_mnist=True)


def test_a_model_is_saved_also_where_nothing_can_be_stored_in_the_folders_of_the_user(
    small_cnn: Any, metadata: ModelMetadata, tmp_path: Path, cache_folder: Path, records_folder: Path
) -> None:
    for folder in (cache_folder.parent, records_folder.parent):
        folder.write_text("a file in the place of the folder")
    messages: list[str] = []
    path = tmp_path / "own.h5"
    model = save_model(small_cnn, metadata, path, compiled=b"compiled", log=messages.append)
    assert read_metadata(path.read_bytes()) == metadata
    assert model.read_compiled() == b"compiled"
    assert messages[0].endswith("Until then it is compiled at each start")
    assert messages[1].endswith(f"scan with --model {path} --model-sha256 {model.digest}")


def test_before_training_the_folders_that_it_will_need_are_tried(
    cache_folder: Path, records_folder: Path
) -> None:
    assert find_unwritable_folders() == []
    for folder in (cache_folder, records_folder):
        assert list(folder.iterdir()) == []
        folder.rmdir()
        folder.write_text("a file in the place of the folder")
        (problem,) = find_unwritable_folders()
        assert f"cannot be stored in {folder}: " in problem
        folder.unlink()
