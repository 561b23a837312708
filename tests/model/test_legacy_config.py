"""Models of old Keras versions answer as they did, though Keras 3 alone cannot load them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers
from numpy.typing import NDArray

from digitscan.errors import ModelError
from digitscan.model.h5_file import load_keras_model
from digitscan.model.legacy_config import update_legacy_config
from tests.support.hostile_models import build_network, change_config, save_h5

Layer = dict[str, Any]


def build_digits_network() -> Any:
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, (3, 5), activation="relu", name="first"),
            layers.BatchNormalization(name="normalization"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.MaxPooling2D(2, name="pooling"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, activation="softmax", name="last"),
        ]
    )


def move_input_shape(config: dict[str, Any]) -> None:
    """Change a configuration to how Keras 2.3 wrote it: without InputLayer, modules and build shapes."""
    first, *rest = config["config"]["layers"]
    rest[0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]
    config["config"]["layers"] = rest
    for layer in rest:
        for key in ("module", "registered_name", "build_config"):
            layer.pop(key, None)
        layer["config"].pop("quantization_config", None)
        layer["config"]["dtype"] = "float32"
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["axis"] = [3]
        if layer["class_name"] == "DepthwiseConv2D":
            layer["config"] |= {"groups": 1, "kernel_initializer": "glorot_uniform"}


def list_layers(config: dict[str, Any]) -> None:
    """Change a configuration to how Keras 2.2.2 wrote it."""
    move_input_shape(config)
    config["config"] = config["config"]["layers"]


@pytest.mark.parametrize("change", [move_input_shape, list_layers], ids=["2.3", "2.2.2"])
def test_a_sequential_model_of_keras_2_without_an_input_layer_answers_as_it_did(
    change: Callable[[dict[str, Any]], None], tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    network = build_digits_network()
    loaded = load_keras_model(change_config(save_h5(network, tmp_path), change))
    inputs = images[..., None] / np.float32(255)
    assert np.allclose(loaded.predict(inputs, verbose=0), network.predict(inputs, verbose=0), atol=1e-6)


def test_a_sequential_model_inside_another_gets_its_input_layer_too(
    tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    network = keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(2.0), build_digits_network()])

    def change(config: dict[str, Any]) -> None:
        move_input_shape(config["config"]["layers"][2])
        move_input_shape(config)

    loaded = load_keras_model(change_config(save_h5(network, tmp_path), change))
    inputs = images[..., None] / np.float32(255)
    assert np.allclose(loaded.predict(inputs, verbose=0), network.predict(inputs, verbose=0), atol=1e-6)


def test_a_model_whose_modules_keras_3_has_moved_is_loaded(tmp_path: Path) -> None:
    image = keras.Input((28, 28, 1))
    network = keras.Model(image, layers.Dense(10)(layers.Flatten()(image)))

    def change(config: dict[str, Any]) -> None:
        config |= {"module": "keras.src.engine.functional", "registered_name": "Functional"}

    assert len(load_keras_model(change_config(save_h5(network, tmp_path), change)).get_weights()) == 2


def test_the_error_names_the_version_of_keras_that_saved_the_file(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["argument_of_keras_9"] = 1

    data = change_config(save_h5(build_network(layers.Conv2D(2, 3)), tmp_path), change)
    message = rf"saved by Keras {keras.__version__}, it cannot be loaded by Keras {keras.__version__} \("
    with pytest.raises(ModelError, match=message):
        load_keras_model(data)


def to_keras_1(layer: Layer) -> Layer:
    """Return a layer, as Keras 3 describes it, in the words of Keras 1."""
    common = {"name": layer["config"]["name"], "trainable": True}
    values = layer["config"]
    kernel = {"init": "glorot_uniform", "W_regularizer": None, "b_constraint": None, "bias": True}
    match layer["class_name"]:
        case "Conv2D":
            rows, columns = values["kernel_size"]
            size = {"nb_filter": values["filters"], "nb_row": rows, "nb_col": columns}
            rest = {"subsample": [1, 1], "border_mode": "valid", "dim_ordering": "tf", "activation": "relu"}
            arguments = {**kernel, **size, **rest, "input_dtype": "float32"}
            return {"class_name": "Convolution2D", "config": {**common, **arguments}}
        case "BatchNormalization":
            arguments = {"epsilon": values["epsilon"], "mode": 0, "axis": -1, "momentum": 0.99}
        case "MaxPooling2D":
            arguments = {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid", "dim_ordering": "tf"}
        case "Dropout":
            arguments = {"p": values["rate"]}
        case "Dense":
            arguments = {**kernel, "output_dim": values["units"], "input_dim": None, "activation": "softmax"}
        case _:
            arguments = {}
    return {"class_name": layer["class_name"], "config": {**common, **arguments}}


def test_a_model_of_keras_1_answers_as_it_did(tmp_path: Path, images: NDArray[np.uint8]) -> None:
    modern = build_digits_network()
    network = keras.Sequential([keras.Input((28, 28, 1))])
    for layer in modern.layers:
        if layer.name != "depthwise":  # there was none in Keras 1
            network.add(type(layer).from_config(layer.get_config()))

    def change(config: dict[str, Any]) -> None:
        first, *rest = config["config"]["layers"]
        config["config"] = [to_keras_1(layer) for layer in rest]
        config["config"][0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]

    loaded = load_keras_model(change_config(save_h5(network, tmp_path), change))
    inputs = images[..., None] / np.float32(255)
    assert np.allclose(loaded.predict(inputs, verbose=0), network.predict(inputs, verbose=0), atol=1e-6)


def test_a_name_that_keras_1_had_hides_nothing_from_the_checks(tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1]["config"]["nb_filter"] = 10**10

    data = change_config(save_h5(build_network(layers.Conv2D(2, 3)), tmp_path), change)
    with pytest.raises(ModelError, match="'nb_filter' is 1e"):
        load_keras_model(data)


keys = [
    "class_name",
    "config",
    "layers",
    "name",
    "module",
    "batch_input_shape",
    "axis",
    "groups",
    "nb_row",
    "p",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(keys), inner, max_size=5),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"class_name": st.sampled_from(["Sequential", "Model"]), "config": json_values}))
def test_any_configuration_is_updated_to_one_that_needs_no_more_changes(config: dict[str, Any]) -> None:
    updated = update_legacy_config(config)
    assert update_legacy_config(updated) == updated
