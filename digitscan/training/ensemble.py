"""An ensemble of trained networks as one network, whose logits are the mean of its members'.

Such a mean makes fewer errors than any of its members, and is surer where they agree (Lakshminarayanan et
al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles"). The mean of logits,
unlike that of probabilities, is again a single dense layer with softmax: so an ensemble is calibrated, saved,
compiled and taught from like any other network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from digitscan.errors import ModelError, UsageError
from digitscan.model.h5_file import load_keras_model
from digitscan.model.input_range import InputRange
from digitscan.model.model_files import read_model_file
from digitscan.model.registry import Model, load_model


def load_members(names: Sequence[str], class_count: int) -> tuple[Model, ...]:
    """Return the models of an ensemble with `class_count` classes; `names` are bundled models or paths.

    Raises UsageError for a model with other classes or another input, ModelError for one that cannot be used.
    """
    members = tuple(load_model(name, uses_calibration=False) for name in names)
    for name, member in zip(names, members, strict=True):
        metadata = member.metadata
        takes = (metadata.input_shape, metadata.input_range)
        if metadata.classes != class_count or takes != ((28, 28, 1), InputRange.ONE):
            raise UsageError(
                f"{name} cannot be in this ensemble, whose networks take (28, 28, 1) in 0..1 and have "
                f"{class_count} classes: name another model with --ensemble, or another --arch"
            )
    return members


def build_ensemble(members: Sequence[Model]) -> Any:
    """Return the ensemble of some models as a Keras model.

    Raises ModelError where one cannot be read, or does not end in a dense layer with softmax.
    """
    networks = [load_keras_model(read_model_file(member.path)) for member in members]
    for member, network in zip(members, networks, strict=True):
        check_ends_in_softmax(network, member.path)
    return average_networks(networks)


def check_ends_in_softmax(network: Any, path: Path) -> None:
    """Raise ModelError unless the last layer of a Keras model is dense with softmax."""
    layer = network.layers[-1]
    if type(layer).__name__ != "Dense" or layer.get_config()["activation"] != "softmax":
        raise ModelError(f"{path} does not end in a dense layer with softmax: digitscan cannot change it")


def average_networks(members: Sequence[Any]) -> Any:
    """Return a network whose logits are the mean of the members' logits.

    All take the same input and end in a dense layer with softmax and the same number of classes. The
    network shares the members' layers.
    """
    import keras
    from keras import layers

    inputs = keras.Input(members[0].input_shape[1:])
    extractors = [extractor for member in members for extractor in _list_extractors(member)]
    # Each has a name of its own: a .h5 keeps the layers of a nested network under its name.
    features = [
        keras.Model(extractor.inputs[0], extractor.outputs[0], name=f"member_{index}")(inputs)
        for index, extractor in enumerate(extractors, start=1)
    ]
    output_layers = [member.layers[-1] for member in members]
    kernels, biases = zip(*(layer.get_weights() for layer in output_layers), strict=True)
    output_layer = layers.Dense(len(biases[0]), activation="softmax", name="mean")
    ensemble = keras.Model(inputs, output_layer(layers.Concatenate()(features)), name="ensemble")
    output_layer.set_weights([np.concatenate(kernels) / len(members), np.mean(biases, axis=0)])
    return ensemble


def _list_extractors(network: Any) -> list[Any]:
    """Return the networks that give the input of a network's last layer: several for an ensemble."""
    import keras

    _, *members, last_hidden, last = network.layers
    if members and all(isinstance(member, keras.Model) for member in members):
        return [keras.Model(network.inputs, features) for features in last_hidden.input]
    return [keras.Model(network.inputs, last.input)]
