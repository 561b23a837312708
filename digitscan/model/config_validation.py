"""Validate the configuration of an untrusted model: what the network is built of, and how large it is.

Every model file is untrusted: it may have been made to attack whoever opens it, even where it claims to be
one of ours. Opening one with plain Keras has run code (a `Lambda` layer; CVE-2025-9905), and layers that are
built into Keras are no safer. So this module works with allow-lists: what a digit model may be built of is
named here, and everything else is refused, at any depth of the configuration.

Used by `h5_validation` and `keras_zip` before Keras sees a file, and by `h5_file` in the dry run.
"""

from __future__ import annotations

import json
from typing import Any

from digitscan.errors import ModelError
from digitscan.model.legacy_config import KERAS_1_CLASSES, update_legacy_config
from digitscan.model.line_classifier import BLOCK_WIDTHS, PIXELS_PER_STEP
from digitscan.model.metadata import DIGIT_INPUT_SHAPES, LINE_CLASSES, LINE_INPUT_SHAPE, Reads

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""Limit on the JSON that describes the network: parsing a longer one takes too much memory."""
MAX_CONFIG_NUMBER = 1 << 20
"""Limit on each number in the configuration: 10^10 filters or rows of padding would exhaust the memory."""
MAX_CONFIG_DEPTH = 48
"""Limit on nesting in the configuration: Keras reads it recursively and would exhaust Python's stack."""
MAX_LAYERS = 1_000
"""Limit on the calls of layers: models that call models can make a small file run for years."""
MAX_TENSOR_ELEMENTS = 4_000_000
"""Limit on a layer's output for one image: layers without weights, such as `UpSampling2D`, make any size."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODELS = frozenset({"Sequential", "Functional", "Model"})
# Not among them, above all: Lambda and TorchModuleWrapper, which run code; TFSMLayer and StringLookup, which
# open other files; and wrappers such as TimeDistributed, which a digit model does not need.
LAYERS = (
    MODELS
    | KERAS_1_CLASSES.keys()
    | _names(
        """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense
    DepthwiseConv2D Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling2D
    GlobalMaxPooling2D InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Multiply Normalization
    PReLU Permute ReLU Rescaling Reshape SeparableConv2D Softmax SpatialDropout2D Subtract UpSampling2D
    ZeroPadding2D
    """
    )
)
INITIALIZERS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform Ones RandomNormal
    RandomUniform TruncatedNormal VarianceScaling Zeros
    """
)
REGULARIZERS = frozenset({"L1", "L2", "L1L2"})
CONSTRAINTS = frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"})
# Activations are looked up by name among Keras's functions, `deserialize` and others included.
ACTIVATIONS = _names(
    """
    celu elu exponential gelu hard_sigmoid hard_silu hard_swish leaky_relu linear log_softmax mish relu
    relu6 selu sigmoid silu softmax softplus softsign swish tanh
    """
)
# Which list a value is looked up in, by the end of its key (kernel_initializer, bias_initializer, ...).
NAMES_BY_KEY_SUFFIX = {
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
}
LARGE_NUMBERS = frozenset({"seed", "shared_object_id"})  # harmless whatever they are
# What Keras writes as a class although it is plain data.
DATA_CLASSES = frozenset({"__tuple__", "__keras_tensor__", "TensorShape"})
# From any other module a class would be imported. The last six are those of older Keras versions.
MODULES = _names(
    """
    keras keras.layers keras.models keras.initializers keras.regularizers keras.constraints
    keras.src.models.functional keras.src.models.sequential keras.src.engine.functional
    keras.src.engine.sequential keras.engine.functional keras.engine.sequential
    """
)


def parse_config(text: object) -> dict[str, Any]:
    """Return the configuration from which Keras 3 builds a network, checked. `text` is its JSON.

    Raises ModelError, whose message continues "FILE is refused: ".
    """
    if not isinstance(text, bytes | str) or len(text) > MAX_CONFIG_BYTES:
        raise ModelError("its configuration is not a text, or is too long")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("its configuration is not JSON") from error
    if not isinstance(config, dict) or config.get("class_name") not in MODELS:
        raise ModelError("its configuration is not that of a Keras Sequential or Functional model")
    # How the model was trained: we load without that, and it may name any loss or metric of the user's own.
    config.pop("compile_config", None)
    _check_config(config)
    updated = update_legacy_config(config)
    _check_config(updated)
    return updated


def _check_config(config: dict[str, Any]) -> None:
    """Check every class, function and number of a configuration, at any depth, and how much it would run."""
    _check_value("layer", config, 0)
    if _count_layer_calls(config) > MAX_LAYERS:
        raise ModelError(f"it has more than {MAX_LAYERS} layers")


def _check_value(key: str, value: Any, depth: int) -> None:
    """Check a value of the configuration and all values inside; those of a list share the list's key."""
    if depth > MAX_CONFIG_DEPTH:
        raise ModelError("its configuration is nested too deeply")
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(key, value)
        for inner_key, inner_value in value.items():
            _check_value(str(inner_key), inner_value, depth + 1)
    elif isinstance(value, list):
        for inner_value in value:
            _check_value(key, inner_value, depth + 1)
    elif isinstance(value, str):
        _check_name(key, value)
    # Written so that NaN is refused too.
    elif isinstance(value, int | float) and key not in LARGE_NUMBERS and not abs(value) <= MAX_CONFIG_NUMBER:
        raise ModelError(f"{key!r} is {value:.6g}, which no digit model needs")


def _check_class(key: str, value: dict[str, Any]) -> None:
    """Check a serialized object: a layer, or what a layer has under a key such as `kernel_initializer`."""
    if key.endswith("activation"):
        _check_activation_function(value)
        return
    if key == "dtype":
        _check_dtype_policy(value)
        return
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    matching = (names for suffix, names in NAMES_BY_KEY_SUFFIX.items() if key.endswith(suffix))
    if not isinstance(name, str) or name not in next(matching, LAYERS | DATA_CLASSES):
        raise ModelError(f"{quote(name)} is not on the list of what a model may be built of")
    if (module is not None and module not in MODULES) or registered not in (None, name):
        raise ModelError(f"{quote(name)} is not Keras's own, but {quote(registered)} of {quote(module)}")


def _check_activation_function(value: dict[str, Any]) -> None:
    """Check a function that is serialized as an object; a class in its place would be a layer in disguise."""
    name, module = value["class_name"], value.get("module")
    if name != "function" or module not in (None, "builtins", "keras.activations"):
        raise ModelError(f"the activation {quote(name)} is not on the list of what is allowed")
    for function in (value.get("config"), value.get("registered_name")):
        if function is not None and str(function) not in ACTIVATIONS:
            raise ModelError(f"the activation {quote(function)} is not on the list of what is allowed")


def _check_dtype_policy(value: dict[str, Any]) -> None:
    config = value.get("config")
    dtype = config.get("name") if isinstance(config, dict) else None
    is_policy = value["class_name"] in ("DTypePolicy", "Policy") and value.get("module") in (None, "keras")
    if not is_policy or dtype != "float32":
        raise ModelError(f"its numbers are {quote(dtype)}: needed is float32")


def _check_name(key: str, value: str) -> None:
    """Check a text that Keras would look up as a name; all other texts are plain data."""
    if key.endswith("activation") and value not in ACTIVATIONS:
        raise ModelError(f"the activation {quote(value)} is not on the list of what is allowed")
    for suffix, names in NAMES_BY_KEY_SUFFIX.items():
        # Keras takes both spellings, GlorotUniform and glorot_uniform.
        allowed = {name.lower() for name in names}
        if key.endswith(suffix) and value.replace("_", "").lower() not in allowed:
            raise ModelError(f"the {suffix} {quote(value)} is not on the list of what is allowed")


def _count_layer_calls(layer: Any) -> int:
    """Return how many layers run; those of a nested model count as often as that is called."""
    if not isinstance(layer, dict):
        return 1
    config, nodes = layer.get("config"), layer.get("inbound_nodes")
    call_count = max(1, len(nodes)) if isinstance(nodes, list) else 1
    # In files of old Keras versions, the configuration of a Sequential is the list of its layers.
    inner_layers = config.get("layers") if isinstance(config, dict) else config
    if layer.get("class_name") not in MODELS or not isinstance(inner_layers, list):
        return call_count
    return call_count * sum(_count_layer_calls(inner) for inner in inner_layers)


def validate_shapes(keras_model: Any, reads: Reads = Reads.DIGITS) -> None:
    """Check the shapes of a Keras model, which need not have weights yet. Raises ModelError.

    A model that reads single digits needs one input, (28, 28, 1), (28, 28) or (784,), and one output of 10 or
    11 classes; one that reads numbers those of `LINE_INPUT_SHAPE` and `LINE_CLASSES`. Between them no tensor
    may be larger than `MAX_TENSOR_ELEMENTS`, for the longest block of a line too.
    """
    input_shape, output_shape = _get_shape(keras_model, "inputs"), _get_shape(keras_model, "outputs")
    if reads is Reads.NUMBERS:
        if input_shape != LINE_INPUT_SHAPE:
            raise ModelError(f"its input is {input_shape}: needed is {LINE_INPUT_SHAPE} to read numbers")
        _validate_tensors(_set_width(keras_model, BLOCK_WIDTHS[-1]))
        return
    if input_shape == LINE_INPUT_SHAPE:
        raise ModelError("its input is a line, and it has no metadata that says how to read numbers with it")
    if input_shape not in DIGIT_INPUT_SHAPES:
        raise ModelError(f"its input is {input_shape}: needed is (28, 28, 1), (28, 28) or (784,)")
    if output_shape not in ((10,), (11,)):
        raise ModelError(f"its output is {output_shape}: needed are 10 classes, or 11 with 'not a digit'")
    _validate_tensors(keras_model)


def _set_width(keras_model: Any, width: int) -> Any:
    """Return a copy, with other weights, of a model that reads numbers, for lines of one width.

    Of a line of any width, the sizes of tensors are not known. Raises ModelError where there is not one step
    of `LINE_CLASSES` symbols for each 4 pixels.
    """
    import keras

    height, _, channels = LINE_INPUT_SHAPE
    copy = keras.models.clone_model(keras_model, input_tensors=keras.Input((height, width, channels)))
    output_shape = _get_shape(copy, "outputs")
    if output_shape != (1, width // PIXELS_PER_STEP, LINE_CLASSES):
        raise ModelError(
            f"its output is {output_shape} for lines of {width} pixels: needed are {LINE_CLASSES} symbols "
            f"for each {PIXELS_PER_STEP}"
        )
    return copy


def _validate_tensors(keras_model: Any) -> None:
    """Check the sizes of all that the layers of a Keras model make, at any depth. Raises ModelError."""
    pending = [keras_model]
    while pending:
        layer = pending.pop()
        pending.extend(getattr(layer, "layers", []))
        for node in layer._inbound_nodes:
            for tensor in node.output_tensors:
                _check_tensor_size(layer.name, tuple(tensor.shape[1:]))


def _get_shape(keras_model: Any, attribute: str) -> tuple[int | None, ...] | None:
    """Return the shape of a model's input or output, without the batch; None if there is not just one."""
    tensors = getattr(keras_model, attribute, None) or []
    return tuple(tensors[0].shape[1:]) if len(tensors) == 1 else None


def _check_tensor_size(layer_name: str, shape: tuple[int | None, ...]) -> None:
    element_count = 1
    for length in shape:
        element_count *= MAX_TENSOR_ELEMENTS if length is None else int(length)
    if not 1 <= element_count < MAX_TENSOR_ELEMENTS:
        raise ModelError(f"its layer {quote(layer_name)} makes {shape} of an image: too large, or empty")


def quote(value: object) -> str:
    """Return a value from the file in quotes, shortened, with control characters escaped."""
    return repr(str(value)[:60])


def summarize_error(error: Exception) -> str:
    """Return an exception's class and the first line of its message, shortened."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
