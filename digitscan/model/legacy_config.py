"""Rewrite the configuration of a model that Keras 1 or 2 wrote as Keras 3 understands it.

- Up to Keras 2.3, a Sequential model had no InputLayer: the shape was in its first layer. Keras 3 would build
  the model with shapes that its weights do not fit.
- Up to Keras 2.2.2, the configuration of a Sequential model was the list of its layers alone.
- Keras 1 had other names for a class and for most arguments.
- Keras 2 named models by modules that are no more, and wrote some arguments that Keras 3 does not take.
"""

from __future__ import annotations

from typing import Any

KERAS_1_CLASSES = {"Convolution2D": "Conv2D"}
_KERAS_1_ARGUMENTS = {
    "bias": "use_bias",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "subsample": "strides",
}
_KERAS_1_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_SEPARABLE_CONVOLUTIONS = frozenset({"DepthwiseConv2D", "SeparableConv2D"})
# Keras 2 wrote what all convolutions have; these have it for each of their two steps.
_SEPARABLE_UNUSED = frozenset({"kernel_constraint", "kernel_initializer", "kernel_regularizer"})
# They mattered in training alone, or say what is said elsewhere too.
_KERAS_1_UNUSED = frozenset(
    {
        "W_constraint",
        "W_learning_rate_multiplier",
        "W_regularizer",
        "b_constraint",
        "b_learning_rate_multiplier",
        "b_regularizer",
        "beta_init",
        "gamma_init",
        "init",
        "input_dim",
        "input_dtype",
        "input_length",
        "mode",
    }
)


def update_legacy_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return a model's configuration as Keras 3 understands it; that of Keras 3 comes back as it is.

    `config` must be checked before (see `config_validation`), because it is read recursively; and again after
    it, because what had another name then was not checked.
    """
    inner = config.get("config")
    if isinstance(inner, list):
        inner = {"name": "sequential", "layers": inner}
    if not isinstance(inner, dict):
        return config
    if str(config.get("module", "")).startswith(("keras.src.engine", "keras.engine")):
        is_functional = config.get("class_name") == "Functional"
        config = {**config, "module": "keras.src.models.functional" if is_functional else "keras"}
    layers = inner.get("layers")
    if not isinstance(layers, list):
        return _update_keras_2_layer(_update_keras_1_layer({**config, "config": inner}))
    layers = [update_legacy_config(layer) if isinstance(layer, dict) else layer for layer in layers]
    if config.get("class_name") == "Sequential":
        layers = _move_input_shape(layers)
    return {**config, "config": {**inner, "layers": layers}}


def _move_input_shape(layers: list[Any]) -> list[Any]:
    """Return the layers of a Sequential model with the input shape of the first one in an InputLayer."""
    first = layers[0] if layers and isinstance(layers[0], dict) else {}
    values = first.get("config")
    if not isinstance(values, dict) or not isinstance(values.get("batch_input_shape"), list):
        return layers
    if first.get("class_name") == "InputLayer":
        # The shape is in the next layer too, where Keras 2.4 to 2.15 left it.
        return [first, *map(_drop_input_shape, layers[1:])]
    name = f"{values.get('name')}_input"
    input_values = {"batch_shape": values["batch_input_shape"], "dtype": "float32", "name": name}
    return [{"class_name": "InputLayer", "config": input_values}, *map(_drop_input_shape, layers)]


def _drop_input_shape(layer: Any) -> Any:
    values = layer.get("config") if isinstance(layer, dict) else None
    if not isinstance(values, dict):
        return layer
    return {**layer, "config": {key: item for key, item in values.items() if key != "batch_input_shape"}}


def _update_keras_1_layer(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer with the names of today, if it has names of Keras 1."""
    values = layer["config"]
    if not (_KERAS_1_ARGUMENTS.keys() | _KERAS_1_UNUSED) & values.keys():
        return layer
    updated = {
        _KERAS_1_ARGUMENTS.get(key, key): value
        for key, value in values.items()
        if key not in _KERAS_1_UNUSED and key not in ("nb_row", "nb_col")
    }
    if "nb_row" in values:
        updated["kernel_size"] = [values["nb_row"], values.get("nb_col")]
    if "dim_ordering" in values:
        updated["data_format"] = _KERAS_1_DATA_FORMATS.get(str(values["dim_ordering"]))
    name = str(layer.get("class_name"))
    return {**layer, "class_name": KERAS_1_CLASSES.get(name, name), "config": updated}


def _update_keras_2_layer(layer: dict[str, Any]) -> dict[str, Any]:
    """Return a layer without the arguments, and the spelling of one, that Keras 3 does not take."""
    values, name = dict(layer["config"]), str(layer.get("class_name"))
    if name in _SEPARABLE_CONVOLUTIONS:
        values = {key: value for key, value in values.items() if key not in _SEPARABLE_UNUSED}
        if values.get("groups") == 1:
            del values["groups"]
    axis = values.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        values["axis"] = axis[0]
    return {**layer, "config": values}
