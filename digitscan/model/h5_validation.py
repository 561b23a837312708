"""Validate an untrusted `.h5`: what it is built of, how large it is, and where its data is stored.

Every `.h5` is untrusted: it may have been made to attack whoever opens it, even where it claims to be one of
ours. Opening one with plain Keras has run code (a `Lambda` layer; CVE-2025-9905), read other files (external
HDF5 storage; CVE-2026-1669) and exhausted the memory (a dataset that declares terabytes; CVE-2026-0897).
Layers that are built into Keras are no safer. So this module works with allow-lists: what a digit model may
be built of is named here, and everything else is refused, at any depth of the configuration.

Used by `h5_file` before Keras opens a file, and by `export` after one was written.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError
from digitscan.model.metadata import MAX_MODEL_BYTES

if TYPE_CHECKING:
    import h5py

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
MAX_OBJECTS = 10_000
"""Limit on groups and datasets, and on the values of an attribute: reading more takes too long."""
MAX_GROUP_DEPTH = 24
"""Limit on groups within groups; Keras writes a few levels."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MODELS = frozenset({"Sequential", "Functional", "Model"})
# Not among them, above all: Lambda and TorchModuleWrapper, which run code; TFSMLayer and StringLookup, which
# open other files; and wrappers such as TimeDistributed, which a digit model does not need.
LAYERS = MODELS | _names(
    """
    Activation Add Average AveragePooling2D BatchNormalization Concatenate Conv2D Cropping2D Dense
    DepthwiseConv2D Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling2D
    GlobalMaxPooling2D InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Multiply Normalization
    PReLU Permute ReLU Rescaling Reshape SeparableConv2D Softmax SpatialDropout2D Subtract UpSampling2D
    ZeroPadding2D
    """
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


def validate_h5(data: bytes) -> None:
    """Check all of an `.h5` that can be checked without Keras.

    Raises ModelError, whose message continues "FILE is refused: ". HDF5 is native code, and some damaged
    files make it crash or loop for ever: call this only in a process that may end that way.
    """
    with open_h5(data) as file:
        validate_structure(file, len(data))
        _check_config(_read_config(file))


@contextlib.contextmanager
def open_h5(data: bytes) -> Iterator[h5py.File]:
    """Open bytes as HDF5, read-only; any exception inside the block becomes a ModelError."""
    import h5py

    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"it has more than {MAX_MODEL_BYTES} bytes")
    if data[:4] == b"PK\x03\x04":
        raise ModelError("it is a .keras file: load it in Keras and save it with model.save('model.h5')")
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ModelError("it is not an HDF5 file (.h5)")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the HDF5 file is broken ({summarize_error(error)})") from error


def validate_structure(file: h5py.File, file_bytes: int) -> None:
    """Check that a file holds nothing but groups and plain datasets, whose data is in the file itself.

    `file_bytes` is the size of the file. Raises ModelError.
    """
    import h5py

    addresses: set[int] = set()
    weights_bytes = 0
    pending: list[tuple[h5py.Group, int]] = [(file, 0)]
    while pending:
        group, depth = pending.pop()
        _check_attributes(group, file_bytes)
        for name in group:
            # Soft and external links lead elsewhere; a second hard link can make a loop.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{name!r} is a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses:
                raise ModelError(f"{name!r} is another name of the same group or dataset")
            addresses.add(address)
            if len(addresses) > MAX_OBJECTS:
                raise ModelError(f"it has more than {MAX_OBJECTS} groups and datasets")
            if depth >= MAX_GROUP_DEPTH:
                raise ModelError(f"its groups are nested more than {MAX_GROUP_DEPTH} deep")
            if isinstance(item, h5py.Group):
                pending.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_attributes(item, file_bytes)
                weights_bytes += _check_dataset(item, name, file_bytes)
            else:
                raise ModelError(f"{name!r} is neither a group nor a dataset")
    if weights_bytes > MAX_MODEL_BYTES:
        raise ModelError(f"its weights have {weights_bytes} bytes, more than {MAX_MODEL_BYTES}")


def _check_dataset(dataset: h5py.Dataset, name: str, file_bytes: int) -> int:
    """Check that a dataset holds plain numbers that are all in the file; return their size in bytes."""
    import h5py

    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ModelError(f"the dataset {name!r} takes its values from another file")
    if properties.get_nfilters():  # a few compressed bytes can be gigabytes
        raise ModelError(f"the dataset {name!r} is compressed")
    if dataset.dtype.kind not in "fiub" or dataset.shape is None:
        raise ModelError(f"the dataset {name!r} holds no numbers")
    # In Python's integers, because the product of declared lengths may not fit into 64 bits.
    declared_bytes = int(dataset.dtype.itemsize)
    for length in dataset.shape:
        declared_bytes *= int(length)
    stored_bytes = min(int(dataset.id.get_storage_size()), file_bytes)
    if declared_bytes > stored_bytes:
        raise ModelError(f"the dataset {name!r} declares {declared_bytes} bytes and has {stored_bytes}")
    return declared_bytes


def _check_attributes(item: h5py.Group | h5py.Dataset, file_bytes: int) -> None:
    """Check that attributes are texts and numbers of no more bytes than the file has."""
    import h5py

    for name in item.attrs:
        attribute = h5py.h5a.open(item.id, name.encode("utf-8"))
        datatype = attribute.get_type()
        is_plain = isinstance(datatype, h5py.h5t.TypeStringID | h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
        value_count = attribute.get_space().get_simple_extent_npoints()
        if not is_plain or value_count > MAX_OBJECTS or value_count * datatype.get_size() > file_bytes:
            raise ModelError(f"the attribute {name!r} is of a kind that Keras does not write")
        item.attrs[name]  # reading it raises here, not in Keras, if the file is damaged at this place


def _read_config(file: h5py.File) -> dict[str, Any]:
    """Return the configuration from which Keras would build the network."""
    text = file.attrs.get("model_config")
    if text is None:
        raise ModelError("it holds no network (no model_config): save the whole model, not only its weights")
    if not isinstance(text, bytes | str) or len(text) > MAX_CONFIG_BYTES:
        raise ModelError("its model_config is not a text, or is too long")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("its model_config is not JSON") from error
    if not isinstance(config, dict) or config.get("class_name") not in MODELS:
        raise ModelError("its model_config is not that of a Keras Sequential or Functional model")
    return config


def _check_config(config: dict[str, Any]) -> None:
    """Check every class, function and number of a configuration, at any depth, and how much it would run."""
    _check_value("layer", config, 0)
    if _count_layer_calls(config) > MAX_LAYERS:
        raise ModelError(f"it has more than {MAX_LAYERS} layers")


def _check_value(key: str, value: Any, depth: int) -> None:
    """Check a value of the configuration and all values inside; those of a list share the list's key."""
    if depth > MAX_CONFIG_DEPTH:
        raise ModelError("its model_config is nested too deeply")
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
    # Seeds are large and harmless. Written so that NaN is refused too.
    elif isinstance(value, int | float) and key != "seed" and not abs(value) <= MAX_CONFIG_NUMBER:
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
        raise ModelError(f"{_quote(name)} is not on the list of what a model may be built of")
    if (module is not None and module not in MODULES) or registered not in (None, name):
        raise ModelError(f"{_quote(name)} is not Keras's own, but {_quote(registered)} of {_quote(module)}")


def _check_activation_function(value: dict[str, Any]) -> None:
    """Check a function that is serialized as an object; a class in its place would be a layer in disguise."""
    name, module = value["class_name"], value.get("module")
    if name != "function" or module not in (None, "builtins", "keras.activations"):
        raise ModelError(f"the activation {_quote(name)} is not on the list of what is allowed")
    for function in (value.get("config"), value.get("registered_name")):
        if function is not None and str(function) not in ACTIVATIONS:
            raise ModelError(f"the activation {_quote(function)} is not on the list of what is allowed")


def _check_dtype_policy(value: dict[str, Any]) -> None:
    config = value.get("config")
    dtype = config.get("name") if isinstance(config, dict) else None
    is_policy = value["class_name"] in ("DTypePolicy", "Policy") and value.get("module") in (None, "keras")
    if not is_policy or dtype != "float32":
        raise ModelError(f"its numbers are {_quote(dtype)}: needed is float32")


def _check_name(key: str, value: str) -> None:
    """Check a text that Keras would look up as a name; all other texts are plain data."""
    if key.endswith("activation") and value not in ACTIVATIONS:
        raise ModelError(f"the activation {_quote(value)} is not on the list of what is allowed")
    for suffix, names in NAMES_BY_KEY_SUFFIX.items():
        # Keras takes both spellings, GlorotUniform and glorot_uniform.
        allowed = {name.lower() for name in names}
        if key.endswith(suffix) and value.replace("_", "").lower() not in allowed:
            raise ModelError(f"the {suffix} {_quote(value)} is not on the list of what is allowed")


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


def validate_shapes(keras_model: Any) -> None:
    """Check the shapes of a Keras model, which need not have weights yet. Raises ModelError.

    Needed is one input, (28, 28, 1), (28, 28) or (784,), and one output of 10 or 11 classes. Between them no
    tensor may be larger than `MAX_TENSOR_ELEMENTS`.
    """
    input_shape, output_shape = _get_shape(keras_model, "inputs"), _get_shape(keras_model, "outputs")
    if input_shape not in ((784,), (28, 28), (28, 28, 1)):
        raise ModelError(f"its input is {input_shape}: needed is (28, 28, 1), (28, 28) or (784,)")
    if output_shape not in ((10,), (11,)):
        raise ModelError(f"its output is {output_shape}: needed are 10 classes, or 11 with 'not a digit'")
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
        raise ModelError(f"its layer {_quote(layer_name)} makes {shape} of an image: too large, or empty")


def _quote(value: object) -> str:
    """Return a value from the file in quotes, shortened, with control characters escaped."""
    return repr(str(value)[:60])


def summarize_error(error: Exception) -> str:
    """Return an exception's class and the first line of its message, shortened."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
