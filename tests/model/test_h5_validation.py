"""What an `.h5` may hold: everything else is refused before Keras sees any of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from digitscan.errors import ModelError
from digitscan.model import h5_validation
from digitscan.model.h5_validation import validate_h5
from digitscan.model.registry import Model
from tests.support import hostile_models
from tests.support.hostile_models import (
    Attack,
    Change,
    build_lambda,
    build_network,
    change_config,
    save_h5,
    set_first_layer,
    set_in_first_layer,
)


def test_a_model_of_our_own_is_valid(saved_model: Model) -> None:
    validate_h5(saved_model.path.read_bytes())


@pytest.mark.parametrize("place", ["alone", "in a Sequential", "in a Functional"])
def test_a_lambda_is_refused_wherever_it_is(tmp_path: Path, place: str) -> None:
    inner: Any = build_lambda(tmp_path / "proof")
    if place == "in a Sequential":
        inner = keras.Sequential([keras.Input((28, 28, 1)), inner])
    elif place == "in a Functional":
        image = keras.Input((28, 28, 1))
        inner = keras.Model(image, inner(image))
    data = save_h5(build_network(inner), tmp_path).read_bytes()
    with pytest.raises(ModelError, match="'Lambda' is not on the list of what a model may be built of"):
        validate_h5(data)


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
    tmp_path: Path, change: Change, message: str
) -> None:
    data = change_config(save_h5(build_network(layers.Conv2D(2, 3)), tmp_path), change)
    with pytest.raises(ModelError, match=message):
        validate_h5(data)


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
    small_cnn.save(tmp_path / "model.keras")
    small_cnn.save_weights(tmp_path / "only.weights.h5")
    for data, message in (
        ((tmp_path / "model.keras").read_bytes(), r"it is a \.keras file: load it in Keras and save it"),
        ((tmp_path / "only.weights.h5").read_bytes(), "save the whole model, not only its weights"),
        (np.random.default_rng(0).bytes(5000), "it is not an HDF5 file"),
        (b"", "it is not an HDF5 file"),
    ):
        with pytest.raises(ModelError, match=message):
            validate_h5(data)
