"""What the network of a model may be built of, in an `.h5` and in a `.keras` file: all else is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

from digitscan.errors import ModelError
from digitscan.model.h5_file import validate_model_file
from tests.support import hostile_models
from tests.support.hostile_models import (
    Change,
    build_lambda,
    build_network,
    change_config,
    save_h5,
    set_first_layer,
    set_in_first_layer,
)

Save = Callable[[Any, Path, Change], bytes]


def save_as_h5(keras_model: Any, folder: Path, change: Change) -> bytes:
    return change_config(save_h5(keras_model, folder), change)


def save_as_keras(keras_model: Any, folder: Path, change: Change) -> bytes:
    keras_model.save(folder / "model.keras")
    return hostile_models.change_zip_config((folder / "model.keras").read_bytes(), change)


@pytest.fixture(params=[save_as_h5, save_as_keras])
def save(request: pytest.FixtureRequest) -> Save:
    """A function that saves a model with its configuration changed; it returns the bytes of the file."""
    function: Save = request.param
    return function


@pytest.mark.parametrize("place", ["alone", "in a Sequential", "in a Functional"])
def test_a_lambda_is_refused_wherever_it_is(tmp_path: Path, place: str, save: Save) -> None:
    inner: Any = build_lambda(tmp_path / "proof")
    if place == "in a Sequential":
        inner = keras.Sequential([keras.Input((28, 28, 1)), inner])
    elif place == "in a Functional":
        image = keras.Input((28, 28, 1))
        inner = keras.Model(image, inner(image))
    data = save(build_network(inner), tmp_path, lambda config: None)
    with pytest.raises(ModelError, match="'Lambda' is not on the list of what a model may be built of"):
        validate_model_file(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_first_layer(class_name="TFSMLayer"), "'TFSMLayer' is not on the list"),
        (set_first_layer(class_name="StringLookup"), "'StringLookup' is not on the list"),
        (set_first_layer(class_name="TorchModuleWrapper"), "'TorchModuleWrapper' is not on the list"),
        (set_first_layer(class_name="Mine>Conv2D"), "'Mine>Conv2D' is not on the list"),
        (set_first_layer(class_name=["Conv2D"]), "is not on the list"),
        (set_first_layer(registered_name="Mine>Conv2D"), "is not Keras's own"),
        (set_first_layer(module="os"), "is not Keras's own"),
        (set_first_layer(module="keras.src.layers.core"), "is not Keras's own"),
        (set_in_first_layer(activation="deserialize"), "the activation 'deserialize' is not on the list"),
        (set_in_first_layer(activation={"class_name": "Lambda", "config": {}}), "the activation 'Lambda'"),
        (
            set_in_first_layer(activation={"class_name": "function", "module": "builtins", "config": "eval"}),
            "the activation 'eval'",
        ),
        (set_in_first_layer(kernel_initializer="mine"), "the initializer 'mine' is not on the list"),
        (
            set_in_first_layer(kernel_initializer={"class_name": "Dense", "config": {}}),
            "'Dense' is not on the list",
        ),
        (
            set_in_first_layer(kernel_regularizer={"class_name": "Mine", "config": {}}),
            "'Mine' is not on the list",
        ),
        (
            set_in_first_layer(kernel_constraint=[{"class_name": "__lambda__"}]),
            "'__lambda__' is not on the list",
        ),
        (
            set_in_first_layer(anything={"deeper": [{"class_name": "TypeSpec"}]}),
            "'TypeSpec' is not on the list",
        ),
        (
            set_in_first_layer(dtype={"class_name": "DTypePolicy", "config": {"name": "int8"}}),
            "needed is float32",
        ),
        (set_in_first_layer(filters=10**10), "'filters' is 1e"),
        (set_in_first_layer(padding=[[10**10, 0], [0, 0]]), "'padding' is 1e"),
        (set_in_first_layer(kernel_size=[float("nan"), 3]), "'kernel_size' is nan"),
        (lambda config: config.update(class_name="Mine"), "is not that of a Keras Sequential"),
        (hostile_models.nest_deeply, "nested too deeply"),
        (hostile_models.call_often, "more than 1000 layers"),
    ],
)
def test_what_is_on_no_list_or_out_of_bounds_is_refused_by_name(
    tmp_path: Path, change: Change, message: str, save: Save
) -> None:
    data = save(build_network(layers.Conv2D(2, 3)), tmp_path, change)
    with pytest.raises(ModelError, match=message):
        validate_model_file(data)
