"""Loading an `.h5` with Keras: what the dry run and the weights themselves show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from digitscan.errors import ModelError
from digitscan.model.h5_file import load_keras_model, read_metadata, to_h5_bytes
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.training.architectures import build_line
from tests.support.hostile_models import (
    Change,
    build_line_network,
    build_network,
    change_config,
    remove_weights,
    save_h5,
    set_in_first_layer,
)


@pytest.fixture(autouse=True)
def clear_keras() -> Iterator[None]:
    """Keras would allocate the variables of a dry run that was refused, gigabytes, in a later test."""
    yield
    keras.utils.clear_session()


def test_a_model_is_loaded_with_its_weights(saved_model: Model, small_cnn: Any) -> None:
    loaded = load_keras_model(saved_model.path.read_bytes())
    for actual, expected in zip(loaded.get_weights(), small_cnn.get_weights(), strict=True):
        assert np.array_equal(actual, expected)


def test_a_model_made_elsewhere_has_no_metadata(tmp_path: Path) -> None:
    assert read_metadata(save_h5(build_network(), tmp_path).read_bytes()) is None


@pytest.mark.parametrize("value", [7, " " * 60_001, "{}"])
def test_metadata_that_digitscan_did_not_write_is_refused(tmp_path: Path, value: Any) -> None:
    path = save_h5(build_network(), tmp_path)
    with h5py.File(path, "a") as file:
        file.create_group("digitscan").attrs["facts"] = value
    with pytest.raises(ModelError, match="the metadata inside the model cannot be read"):
        read_metadata(path.read_bytes())


@pytest.mark.parametrize(
    ("inner", "change", "message"),
    [
        (layers.Conv2D(2, 3), set_in_first_layer(filters=1_000_000), "Shape mismatch"),
        (
            layers.ZeroPadding2D(1),
            set_in_first_layer(padding=[[900_000, 0], [0, 0]]),
            "too large, or empty|Shape mismatch",
        ),
        (
            layers.UpSampling2D(1),
            set_in_first_layer(size=[1_000_000, 1_000_000]),
            "too large, or empty|Shape mismatch",
        ),
    ],
)
def test_a_network_that_needs_more_than_its_file_holds_is_refused_by_the_dry_run(
    tmp_path: Path, inner: Any, change: Change, message: str
) -> None:
    data = change_config(save_h5(build_network(inner), tmp_path), change)
    with pytest.raises(ModelError, match=message):
        load_keras_model(data)


def test_a_layer_with_a_huge_output_is_refused_though_all_weights_are_small(tmp_path: Path) -> None:
    network = build_network(layers.UpSampling2D(100), layers.MaxPooling2D(100))
    with pytest.raises(ModelError, match=r"makes \(2800, 2800, 1\) of an image: too large, or empty"):
        load_keras_model(save_h5(network, tmp_path).read_bytes())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_network(shape=(32, 32, 1)), r"its input is \(32, 32, 1\): needed is \(28, 28, 1\)"),
        (lambda: build_network(shape=(28, 28, 3)), r"its input is \(28, 28, 3\)"),
        (
            lambda: build_network(layers.GlobalMaxPooling2D(), shape=(None, None, 1)),
            r"its input is \(None, None, 1\)",
        ),
        (lambda: build_network(classes=26), r"its output is \(26,\): needed are 10 classes"),
        (
            lambda: keras.Sequential([keras.Input((28, 28, 1)), layers.Dense(10)]),
            r"its output is \(28, 28, 10\)",
        ),
    ],
)
def test_other_input_and_output_shapes_are_refused_with_those_that_are_needed(
    tmp_path: Path, build: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_keras_model(save_h5(build(), tmp_path).read_bytes())


def test_a_model_of_numbers_is_loaded_by_its_metadata(saved_line_model: Model) -> None:
    loaded = load_keras_model(saved_line_model.path.read_bytes())
    assert loaded.input_shape == (None, 32, None, 1)


def test_the_network_that_training_makes_for_lines_is_loaded(line_metadata: ModelMetadata) -> None:
    network = build_line()
    loaded = load_keras_model(to_h5_bytes(network, line_metadata))
    assert all(map(np.array_equal, loaded.get_weights(), network.get_weights()))


@pytest.mark.parametrize("save", [lambda model, path: model.save(path / "model.keras"), save_h5])
def test_a_model_of_numbers_without_metadata_is_refused(
    small_line_network: Any, tmp_path: Path, save: Callable[[Any, Path], Any]
) -> None:
    save(small_line_network, tmp_path)
    (path,) = tmp_path.glob("*.*")
    with pytest.raises(ModelError, match="its input is a line, and it has no metadata that says how"):
        load_keras_model(path.read_bytes())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (build_network, r"its input is \(28, 28, 1\): needed is \(32, None, 1\) to read numbers"),
        (lambda: build_line_network(width=64), r"its input is \(32, 64, 1\): needed is \(32, None, 1\)"),
        (lambda: build_line_network(classes=11), r"its output is \(1, 512, 11\) for lines of 2048 pixels"),
        (
            lambda: build_line_network(layers.MaxPooling2D((1, 2))),
            r"its output is \(1, 256, 13\) for lines of 2048 pixels: needed are 13 symbols for each 4",
        ),
        (
            lambda: build_line_network(layers.UpSampling2D((1, 500)), layers.AveragePooling2D((1, 500))),
            r"makes \(8, 256000, 8\) of an image: too large, or empty",
        ),
    ],
)
def test_a_network_that_claims_to_read_numbers_and_has_other_shapes_is_refused(
    line_metadata: ModelMetadata, build: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        load_keras_model(to_h5_bytes(build(), line_metadata))


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    network = build_network()
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    with pytest.raises(ModelError, match="some of its weights are not numbers"):
        load_keras_model(save_h5(network, tmp_path).read_bytes())


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    path = save_h5(build_network(), tmp_path)
    with h5py.File(path, "a") as file:
        remove_weights(file, tmp_path)
    with pytest.raises(ModelError, match="it cannot be loaded by Keras"):
        load_keras_model(path.read_bytes())
