"""The cache of compiled models: damaged, outdated and untrusted entries are not used."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.model.compiled_cache import COMPILER_VERSION, find_compiled, read_compiled, store_compiled
from digitscan.model.input_comparison import InputComparison
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model, load_model
from digitscan.workers.image_processor import load_classifier
from digitscan.workers.protocol import create_image_setup


@pytest.fixture
def cached_model(saved_model: Model, compiled_paths: list[Path]) -> Model:
    """`saved_model` with its compiled form in the user's cache."""
    model = load_model(saved_model.path)
    assert compiled_paths == [model.path]
    return model


def test_an_entry_holds_the_metadata_under_its_stored_names(
    saved_model: Model, metadata: ModelMetadata
) -> None:
    entry = json.loads(saved_model.compiled_path.with_suffix(".json").read_text())
    assert sorted(entry) == ["entry_sha256", "facts", "program_sha256", "program_version"]
    assert ModelMetadata.from_json(json.dumps(entry["facts"])) == metadata
    assert entry["program_sha256"] == saved_model.compiled_digest


def test_entries_for_the_input_ranges_are_kept_apart(cache_folder: Path, metadata: ModelMetadata) -> None:
    for input_range in InputRange:
        ranged = ModelMetadata(
            architecture="unknown", classes=10, preprocess_version=1, input_range=input_range
        )
        comparison = InputComparison(dict.fromkeys(InputRange, 7), 10)
        stored = store_compiled("0" * 64, ranged, input_range.encode(), None, comparison)
        assert find_compiled("0" * 64, input_range) == stored
    assert len(list(cache_folder.iterdir())) == 8


@pytest.mark.parametrize("damage", ["compiled model", "entry", "edited", "no digest", "missing", "version"])
def test_a_damaged_or_outdated_entry_is_compiled_again(
    cached_model: Model, compiled_paths: list[Path], damage: str
) -> None:
    entry_path = cached_model.compiled_path.with_suffix(".json")
    if damage == "compiled model":
        data = bytearray(cached_model.compiled_path.read_bytes())
        data[len(data) // 2] ^= 255
        cached_model.compiled_path.write_bytes(data)
    elif damage == "entry":
        entry_path.write_text(entry_path.read_text()[:-20])
    elif damage == "edited":
        entry_path.write_text(entry_path.read_text().replace('"temperature": 1.5', '"temperature": 0.1'))
    elif damage == "no digest":  # as versions before the digest wrote it
        entry = json.loads(entry_path.read_text())
        del entry["entry_sha256"]
        entry_path.write_text(json.dumps(entry))
    elif damage == "missing":
        cached_model.compiled_path.unlink()
    else:
        current = f'"program_version": {COMPILER_VERSION}'
        entry_path.write_text(entry_path.read_text().replace(current, '"program_version": 0'))
    assert find_compiled(cached_model.digest) is None
    assert load_model(cached_model.path) == cached_model
    assert len(compiled_paths) == 2
    assert load_model(cached_model.path) == cached_model
    assert len(compiled_paths) == 2


def test_a_damaged_compiled_model_is_never_returned(cached_model: Model) -> None:
    cached_model.compiled_path.write_bytes(cached_model.compiled_path.read_bytes()[:-1])
    with pytest.raises(ModelError, match="is damaged: delete it, and it will be compiled again"):
        read_compiled(cached_model.compiled_path, cached_model.compiled_digest)
    cached_model.compiled_path.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        read_compiled(cached_model.compiled_path, cached_model.compiled_digest)


if os.name == "posix":  # other systems have no such permissions

    def test_a_cache_that_other_users_can_write_to_is_not_used(
        cached_model: Model, cache_folder: Path
    ) -> None:
        cache_folder.chmod(0o777)
        assert find_compiled(cached_model.digest) is None
        messages: list[str] = []
        model = load_model(cached_model.path, log=messages.append)
        assert "other users can write to it: take away their permission" in messages[1]
        assert model.compiled_content == cached_model.compiled_path.read_bytes()
        cache_folder.chmod(0o700)
        assert find_compiled(cached_model.digest) is not None

    @pytest.mark.parametrize("suffix", [".json", ".tflite"])
    def test_a_cached_file_that_other_users_can_write_to_is_made_again(
        cached_model: Model, suffix: str, compiled_paths: list[Path]
    ) -> None:
        path = cached_model.compiled_path.with_suffix(suffix)
        path.chmod(0o620)
        assert find_compiled(cached_model.digest) is None
        assert load_model(cached_model.path) == cached_model
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(compiled_paths) == 2

    def test_a_link_in_the_cache_is_not_followed(cached_model: Model, tmp_path: Path) -> None:
        path = cached_model.compiled_path.with_suffix(".json")
        path.rename(tmp_path / "entry.json")
        path.symlink_to(tmp_path / "entry.json")
        assert find_compiled(cached_model.digest) is None

    def test_cached_files_are_private_whatever_the_umask(cache_folder: Path, metadata: ModelMetadata) -> None:
        previous = os.umask(0)
        try:
            store_compiled("0" * 64, metadata, b"compiled")
        finally:
            os.umask(previous)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in cache_folder.iterdir()}
        assert modes == {0o600}
        assert {stat.S_IMODE(path.stat().st_mode) for path in (cache_folder, cache_folder.parent)} == {0o700}


def test_where_nothing_can_be_stored_the_model_is_used_from_memory_and_one_line_says_so(
    saved_model: Model, cache_folder: Path, compiled_paths: list[Path], images: NDArray[np.uint8]
) -> None:
    cache_folder.parent.write_text("a file in the place of the folder")
    messages: list[str] = []
    for count in (1, 2):
        model = load_model(saved_model.path, log=messages.append)
        assert len(compiled_paths) == count
    assert "cannot be stored in" in messages[1]
    assert messages[1].endswith("to one that is. Until then it is compiled at each start")
    expected = saved_model.load_classifier().classify(images)
    assert np.abs(model.load_classifier().classify(images) - expected).max() < 0.1
    assert not model.compiled_path.exists()


def test_the_workers_of_a_scan_get_a_model_that_is_not_stored(
    saved_model: Model, cache_folder: Path, compiled_paths: list[Path], images: NDArray[np.uint8]
) -> None:
    cache_folder.parent.write_text("a file in the place of the folder")
    model = load_model(saved_model.path)
    setup = json.loads(json.dumps(create_image_setup(model, None, False, 64.0)))
    classifier, _ = load_classifier(setup["model"], setup["fast_model"])
    assert np.array_equal(classifier.classify(images), model.load_classifier().classify(images))


def test_an_entry_is_not_taken_under_the_name_of_another_model(cached_model: Model) -> None:
    for path in (cached_model.compiled_path, cached_model.compiled_path.with_suffix(".json")):
        path.rename(path.with_name("0" * 64 + path.suffix))
    assert find_compiled("0" * 64) is None
