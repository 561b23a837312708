"""A `.keras` file is read as an `.h5` is, and refused for the same reasons."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.model import keras_zip
from digitscan.model.h5_file import load_keras_model, read_metadata, validate_model_file
from digitscan.model.registry import load_model
from tests.support import hostile_models
from tests.support.hostile_models import (
    Attack,
    attack_zip,
    build_network,
    change_zip,
    change_zip_config,
    set_in_first_layer,
)


def to_keras_bytes(keras_model: Any, folder: Path) -> bytes:
    """Return the content of a model's `.keras` file."""
    path = folder / "untrusted.keras"
    keras_model.save(path)
    return path.read_bytes()


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A `.keras` file with all that training leaves in one: an optimizer, a loss of the user's own."""

    def own_loss(labels: Any, outputs: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(labels, outputs)

    network = build_network(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(0.2))
    network.compile("adam", own_loss, metrics=["accuracy"])
    network.fit(np.ones((8, 28, 28, 1)), np.zeros(8), verbose=0)
    path = tmp_path / "trained.keras"
    network.save(path)
    return path


def test_a_keras_file_answers_as_in_keras(
    trained: Path, images: NDArray[np.uint8], compiled_paths: list[Path]
) -> None:
    model = load_model(trained)
    network = keras.models.load_model(trained, compile=False)
    expected = network.predict(images[..., None] / np.float32(255), verbose=0)
    assert np.abs(model.load_classifier().classify(images) - expected).max() < 0.02
    assert (model.metadata.architecture, model.metadata.ok_confidence) == ("unknown", None)
    assert compiled_paths == [trained]


def test_a_keras_file_has_no_metadata_of_ours(trained: Path) -> None:
    assert read_metadata(trained.read_bytes()) is None


def test_another_zip_is_not_called_a_keras_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"weights")
    with pytest.raises(ModelError, match=r"it is a zip file, but not a Keras model \(\.keras\)"):
        validate_model_file(buffer.getvalue())


def test_a_file_truncated_at_any_length_is_refused_in_one_line(trained: Path) -> None:
    data = trained.read_bytes()
    for length in [*range(4, 100, 9), *range(100, len(data), len(data) // 40), len(data) - 1]:
        with pytest.raises(ModelError, match=r"the \.keras file is broken") as caught:
            validate_model_file(data[:length])
        assert "\n" not in str(caught.value)


def test_a_member_that_is_too_large_is_refused_before_it_is_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"")
        archive.writestr("config.json", bytes(50_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *arguments: pytest.fail("it was decompressed"))
    with pytest.raises(ModelError, match=r"its config\.json has 50000000 bytes, more than 4194304"):
        validate_model_file(buffer.getvalue())


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    data = to_keras_bytes(build_network(), tmp_path)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("config.json").file_size.to_bytes(4, "little")
    assert data.count(size) >= 2
    with pytest.raises(ModelError, match=r"the \.keras file is broken"):
        validate_model_file(data.replace(size, (100).to_bytes(4, "little")))


@pytest.mark.parametrize("name", ["assets/vocabulary.txt", "../../escaped", "/etc/passwd"])
def test_a_file_that_a_digit_model_does_not_need_is_refused(tmp_path: Path, name: str) -> None:
    data = change_zip(to_keras_bytes(build_network(), tmp_path), **{name: b"content"})
    with pytest.raises(ModelError, match="it holds files that a digit model does not need"):
        validate_model_file(data)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(to_keras_bytes(build_network(), tmp_path))
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", b"{}")
    with pytest.raises(ModelError, match="it holds files that a digit model does not need"):
        validate_model_file(buffer.getvalue())


@pytest.mark.parametrize("compression", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_compression_that_can_ask_for_much_memory_is_refused(tmp_path: Path, compression: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, bytes(1000))
    with pytest.raises(ModelError, match="is compressed in a way that Keras does not use"):
        validate_model_file(buffer.getvalue())


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (hostile_models.add_external_link, "'other' is a link to another place"),
        (hostile_models.add_virtual_dataset, "'values' takes its values from another file"),
        (hostile_models.add_external_dataset, "'values' takes its values from another file"),
        (hostile_models.add_huge_dataset, "'values' declares 4000000000000 bytes and has 0"),
        (hostile_models.add_compressed_dataset, "'values' is compressed"),
    ],
)
def test_the_weights_are_checked_as_an_h5_is(tmp_path: Path, attack: Attack, message: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["values"] = np.zeros(4, "f4")
    data = attack_zip(to_keras_bytes(build_network(), tmp_path), attack, tmp_path)
    with pytest.raises(ModelError, match=message):
        validate_model_file(data)


def test_a_network_that_needs_more_than_its_file_holds_is_refused_by_the_dry_run(tmp_path: Path) -> None:
    network = build_network(layers.Conv2D(2, 3))
    data = change_zip_config(to_keras_bytes(network, tmp_path), set_in_first_layer(filters=1_000_000))
    with pytest.raises(ModelError, match="it cannot be loaded by Keras"):
        load_keras_model(data)
    keras.utils.clear_session()


def test_a_keras_file_that_is_too_large_is_refused(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_zip, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(ModelError, match="it has more than 1000 bytes"):
        validate_model_file(trained.read_bytes())
