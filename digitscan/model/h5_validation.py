"""The check of a stranger's `.h5`: what it may be built of, how big it may be, where its bytes may lie.

Built-in is not harmless: Keras itself has layers that run code or open files. So everything that a model
may be built of is named here, and the rest is refused, however deep in the configuration it is.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from digitscan.errors import ModelError
from digitscan.model.registry import MAX_MODEL_BYTES

if TYPE_CHECKING:
    import h5py


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_NUMBER = 1 << 20
MAX_TENSOR_ELEMENTS = 4_000_000
MAX_OBJECTS = 10_000
MAX_LAYERS = 1_000
MAX_DEPTH = 24

MODELS = frozenset({"Sequential", "Functional", "Model"})
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
ACTIVATIONS = _names(
    """
    celu elu exponential gelu hard_sigmoid hard_silu hard_swish leaky_relu linear log_softmax mish relu
    relu6 selu sigmoid silu softmax softplus softsign swish tanh
    """
)
# How the value of a configuration's key is to be read, by the end of the key.
NAMED_BY_KEY = {
    "initializer": INITIALIZERS,
    "regularizer": REGULARIZERS,
    "constraint": CONSTRAINTS,
}
PLAIN_CLASSES = frozenset({"__tuple__", "__keras_tensor__", "TensorShape"})
MODULES = _names(
    """
    keras keras.layers keras.models keras.initializers keras.regularizers keras.constraints
    keras.src.models.functional keras.src.models.sequential keras.src.engine.functional
    keras.src.engine.sequential keras.engine.functional keras.engine.sequential
    """
)


def validate_h5(data: bytes) -> None:
    """Check everything about a `.h5` that can be checked without building it.

    Raises ModelError with what is wrong, in words that go on from "... is refused: ". HDF5 is native code,
    and some damaged files make it crash or turn in circles: so this belongs into a process that may end.
    """
    with open_h5(data) as file:
        validate_structure(file, len(data))
        _check_config(_read_config(file))


@contextlib.contextmanager
def open_h5(data: bytes) -> Iterator[h5py.File]:
    """Open bytes as HDF5, read-only; whatever goes wrong inside the block is a ModelError."""
    import h5py

    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"it has more than {MAX_MODEL_BYTES} bytes")
    if data[:4] == b"PK\x03\x04":
        raise ModelError("it is a .keras file: load it in Keras and save it with model.save('model.h5')")
    if not data.startswith(b"\x89HDF\r\n\x1a\n"):
        raise ModelError("it is no HDF5 file (.h5)")
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            yield file
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the HDF5 file is broken ({first_line(error)})") from error


def validate_structure(file: h5py.File, file_bytes: int) -> None:
    """Only groups and plain datasets, each under one name, each as long as the bytes it really has."""
    import h5py

    seen: set[int] = set()
    total = 0
    waiting: list[tuple[h5py.Group, int]] = [(file, 0)]
    while waiting:
        group, depth = waiting.pop()
        _check_attributes(group, file_bytes)
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise ModelError(f"{name!r} is a link to another place")
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen or len(seen) >= MAX_OBJECTS or depth >= MAX_DEPTH:
                raise ModelError(f"{name!r} is one group or dataset too many, or the same one again")
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                _check_attributes(item, file_bytes)
                total += _check_dataset(item, name, file_bytes)
            else:
                raise ModelError(f"{name!r} is neither a group nor a dataset")
    if total > MAX_MODEL_BYTES:
        raise ModelError(f"its weights need {total} bytes")


def _check_dataset(dataset: h5py.Dataset, name: str, file_bytes: int) -> int:
    import h5py

    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise ModelError(f"the dataset {name!r} takes its values from another file")
    if properties.get_nfilters():
        raise ModelError(f"the dataset {name!r} is compressed")
    if dataset.dtype.kind not in "fiub" or dataset.shape is None:
        raise ModelError(f"the dataset {name!r} holds no numbers")
    # Python's integers: the product of declared sizes may not fit into 64 bits.
    declared = int(dataset.dtype.itemsize)
    for length in dataset.shape:
        declared *= int(length)
    stored = int(dataset.id.get_storage_size())
    if declared > stored or declared > file_bytes:
        raise ModelError(f"the dataset {name!r} declares {declared} bytes and has {min(stored, file_bytes)}")
    return declared


def _check_attributes(item: h5py.Group | h5py.Dataset, file_bytes: int) -> None:
    import h5py

    for name in item.attrs:
        attribute = h5py.h5a.open(item.id, name.encode("utf-8"))
        kind = attribute.get_type()
        plain = isinstance(kind, h5py.h5t.TypeStringID | h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID)
        several = attribute.get_space().get_simple_extent_npoints()
        if not plain or several > MAX_OBJECTS or several * kind.get_size() > file_bytes:
            raise ModelError(f"the attribute {name!r} is of a kind that Keras does not write")
        # A damaged heap shows here, or it would in Keras.
        item.attrs[name]


def _read_config(file: h5py.File) -> dict[str, Any]:
    text = file.attrs.get("model_config")
    if text is None:
        raise ModelError("it holds no network (no model_config): save the whole model, not only its weights")
    if not isinstance(text, bytes | str) or len(text) > MAX_CONFIG_BYTES:
        raise ModelError("its model_config is no text, or too long")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError("its model_config is no JSON") from error
    if not isinstance(config, dict) or config.get("class_name") not in MODELS:
        raise ModelError("its model_config is not that of a Keras Sequential or Functional model")
    return config


def _check_config(config: dict[str, Any]) -> None:
    """Every class, function and number in the configuration, at any depth, must be on a list or in bounds."""
    _check_value("layer", config, 0)
    if _count_calls(config) > MAX_LAYERS:
        raise ModelError(f"it has more than {MAX_LAYERS} layers")


def _check_value(key: str, value: Any, depth: int) -> None:
    if depth > 2 * MAX_DEPTH:
        raise ModelError("its model_config is nested too deeply")
    if isinstance(value, dict):
        if "class_name" in value:
            _check_class(key, value)
        for inner_key, inner in value.items():
            _check_value(str(inner_key), inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _check_value(key, inner, depth + 1)
    elif isinstance(value, str):
        _check_name(key, value)
    elif isinstance(value, int | float) and key != "seed" and not abs(value) <= MAX_NUMBER:
        raise ModelError(f"{key!r} is {value:.6g}, which no digit model needs")


def _check_class(key: str, value: dict[str, Any]) -> None:
    name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    config = value.get("config")
    if key.endswith("activation"):
        # A function is named by its `config`; a class here would be a layer in disguise.
        if name != "function" or module not in (None, "builtins", "keras.activations"):
            raise ModelError(f"the activation {_shown(name)} is not on the list of what is allowed")
        for function in (config, registered):
            if function is not None and str(function) not in ACTIVATIONS:
                raise ModelError(f"the activation {_shown(function)} is not on the list of what is allowed")
        return
    if key == "dtype":
        dtype = config.get("name") if isinstance(config, dict) else None
        if name not in ("DTypePolicy", "Policy") or module not in (None, "keras") or dtype != "float32":
            raise ModelError(f"its numbers are {_shown(dtype)}: needed is float32")
        return
    by_key = (names for end, names in NAMED_BY_KEY.items() if key.endswith(end))
    allowed = next(by_key, LAYERS | PLAIN_CLASSES)
    if not isinstance(name, str) or name not in allowed:
        raise ModelError(f"{_shown(name)} is not on the list of what a model may be built of")
    if (module is not None and module not in MODULES) or registered not in (None, name):
        raise ModelError(f"{_shown(name)} is not Keras's own, but {_shown(registered)} of {_shown(module)}")


def _check_name(key: str, value: str) -> None:
    """Strings that Keras looks up by name: the rest are plain words."""
    if key.endswith("activation") and value not in ACTIVATIONS:
        raise ModelError(f"the activation {_shown(value)} is not on the list of what is allowed")
    for end, names in NAMED_BY_KEY.items():
        known = {name.lower() for name in names}
        if key.endswith(end) and value.replace("_", "").lower() not in known:
            raise ModelError(f"the {end} {_shown(value)} is not on the list of what is allowed")


def _count_calls(layer: Any) -> int:
    """How many layers run, nested models counted as often as they are called."""
    if not isinstance(layer, dict):
        return 1
    config, nodes = layer.get("config"), layer.get("inbound_nodes")
    calls = max(1, len(nodes)) if isinstance(nodes, list) else 1
    inner = config.get("layers") if isinstance(config, dict) else config
    if layer.get("class_name") not in MODELS or not isinstance(inner, list):
        return calls
    return calls * sum(_count_calls(each) for each in inner)


def validate_shapes(model: Any) -> None:
    """Shapes in, out and between, of a model that has no values yet."""
    shape_in, shape_out = _shape(model, "inputs"), _shape(model, "outputs")
    if shape_in not in ((784,), (28, 28), (28, 28, 1)):
        raise ModelError(f"its input is {shape_in}: needed is (28, 28, 1), (28, 28) or (784,)")
    if shape_out not in ((10,), (11,)):
        raise ModelError(f"its output is {shape_out}: needed are 10 classes, or 11 with 'not a digit'")
    waiting = [model]
    while waiting:
        layer = waiting.pop()
        waiting.extend(getattr(layer, "layers", []))
        for node in layer._inbound_nodes:
            for tensor in node.output_tensors:
                elements = 1
                for length in tensor.shape[1:]:
                    elements *= MAX_TENSOR_ELEMENTS if length is None else int(length)
                if elements >= MAX_TENSOR_ELEMENTS or elements < 1:
                    made = tuple(tensor.shape[1:])
                    raise ModelError(f"its layer {_shown(layer.name)} makes {made} of an image")


def _shape(model: Any, end: str) -> tuple[int | None, ...] | None:
    tensors = getattr(model, end, None) or []
    return tuple(tensors[0].shape[1:]) if len(tensors) == 1 else None


def _shown(value: object) -> str:
    return repr(str(value)[:60])


def first_line(error: Exception) -> str:
    """Return an exception's kind and the beginning of its words."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
