"""Compile a Keras model for LiteRT, the runtime that a scan uses in place of TensorFlow.

Convolutions run in int8 (post-training quantization with calibration images), because they take nearly all of
the time. All else stays float32 (see `float_operations`): it takes almost no time, and int8 would cost right
answers. First convolutions with strides are rewritten, see `space_to_depth`.

No compiled model is returned that reads worse than the Keras model: its answers are compared (see
`keras_comparison`), and where too many differ, the whole network is compiled in float32.

Used by `compile_worker` and `export`, and by training, which calibrates the compiled model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.float_operations import find_float_operations
from digitscan.model.input_range import InputRange
from digitscan.model.keras_comparison import measure_disagreement, measure_line_disagreement
from digitscan.model.known_images import (
    compose_known_lines,
    load_calibration_images,
    load_calibration_lines,
    load_known_digits,
)
from digitscan.model.metadata import LINE_INPUT_SHAPE
from digitscan.model.space_to_depth import build_space_to_depth_stem
from digitscan.model.tensorflow_log import silence_tensorflow
from digitscan.system.signals import defer_signals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH_SIZE = 8
"""The images of one run of a compiled model of digits; a fixed size keeps an image's answer bit-identical.

Where the CNN reads only the few images that the fast model leaves, larger runs are mostly filled up for
nothing: with 16, a scan of small images took a tenth longer.
"""
LOGIT_CHECK_COUNT = 64
"""How many images `_check_logits` compares."""
MAX_DISAGREEMENT = 0.01
"""The share of the bundled calibration images for which a compiled model may give another answer than Keras.

The bundled models differ in none; untrained ones, whose answers are close to each other, in a few.
"""


def compile_model(
    keras_model: Any,
    calibration_images: NDArray[np.float32] | None = None,
    input_range: InputRange = InputRange.ONE,
    *,
    quantizes: bool = True,
) -> bytes:
    """Return a Keras model of digits or numbers compiled for LiteRT, the content of a `.tflite` file.

    The compiled model takes float32 (BATCH_SIZE, 28, 28, 1) in the input range and gives float32 logits
    (BATCH_SIZE, classes), whatever the Keras model's input shape and last activation are. One of numbers
    takes one line, (1, 32, W, 1) of any width, and gives (1, 1, W/4, LINE_CLASSES).

    `calibration_images`, float32 (N, 28, 28, 1), or (N, 32, W, 1) for numbers, in the same range, tell how
    large the values between the layers get; by default they are the bundled ones. Without `quantizes`,
    nothing becomes int8. The same weights and images give the same bytes on one machine.

    Raises ModelError where the model does not end as a classifier does, cannot be converted, or gives other
    answers than in Keras even in float32.
    """
    if calibration_images is not None:
        images = calibration_images
    elif _takes_lines(keras_model):
        images = load_calibration_lines()
    else:
        images = load_calibration_images(input_range)
    # Inside the converter an exception that a signal raises is lost, or looks like a fault of the model.
    with silence_tensorflow(), defer_signals():
        try:
            _check_logits(keras_model, images)
            return _compile_as_in_keras(keras_model, images if quantizes else None, input_range)
        except DigitscanError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise ModelError(
                f"it cannot be compiled for LiteRT ({type(error).__name__}: {lines[0][:160]})"
            ) from error


def _compile_as_in_keras(
    keras_model: Any, images: NDArray[np.float32] | None, input_range: InputRange
) -> bytes:
    """Return a model with convolutions in int8 if it answers as in Keras, else one of float32.

    Without `images`, which show the range of each layer's values, int8 is not tried. Raises ModelError where
    the one of float32 does not answer as in Keras either.
    """
    network = _freeze_network(keras_model)
    in_float = bytes(_create_converter(network).convert())
    float_operations = find_float_operations(in_float)
    if images is not None and float_operations is not None:
        # An operation that cannot be quantized, or not be run so, is no reason to refuse the model.
        with contextlib.suppress(Exception):
            batches = _create_batches(images, input_range, 1 if _takes_lines(keras_model) else BATCH_SIZE)
            compiled = _quantize(network, batches, float_operations)
            if _compare_with_keras(keras_model, compiled, input_range)[0] <= MAX_DISAGREEMENT:
                return compiled
    disagreement, count = _compare_with_keras(keras_model, in_float, input_range)
    if disagreement > MAX_DISAGREEMENT:
        raise ModelError(
            f"compiled for LiteRT, it gives other answers than in Keras for {disagreement:.1%} of "
            f"{count} images of digits"
        )
    return in_float


def _takes_lines(keras_model: Any) -> bool:
    return tuple(keras_model.inputs[0].shape[1:]) == LINE_INPUT_SHAPE


def _compare_with_keras(keras_model: Any, compiled: bytes, input_range: InputRange) -> tuple[float, int]:
    """Return for which share of known images a compiled model answers otherwise, and how many they are."""
    if _takes_lines(keras_model):
        lines, _ = compose_known_lines()
        return measure_line_disagreement(keras_model, compiled, lines), len(lines)
    digits, _ = load_known_digits()
    return measure_disagreement(keras_model, compiled, digits, input_range), len(digits)


def compute_logits(keras_model: Any, images: Any, tensor: Any = None) -> Any:
    """Return the logits (..., classes) of a Keras model for images of its own input shape, as a tensor.

    A softmax at the end is left out, whether it is a layer or an activation. For sigmoids at the end the
    logits are their logarithms, whose softmax is the sigmoids divided by their sum. `tensor` is the tensor of
    the model to compute, by default its output.

    Raises ModelError for an end whose logits are not known, such as a ReLU.
    """
    import keras
    import tensorflow as tf

    layers = keras.layers
    tensor = keras_model.outputs[0] if tensor is None else tensor
    history = tensor._keras_history
    last = history.operation
    last_input = (last._inbound_nodes[history.node_index].input_tensors or [None])[0]
    if isinstance(last, layers.Dropout | layers.GaussianDropout | layers.GaussianNoise):
        return compute_logits(keras_model, images, last_input)
    if isinstance(last, layers.Flatten | layers.Reshape) and last_input.shape == tensor.shape:
        return compute_logits(keras_model, images, last_input)
    if isinstance(last, layers.Softmax) and last.axis in (-1, 1):
        return _compute_tensor(keras_model, last_input, images)
    if isinstance(last, keras.Model):
        return compute_logits(last, _compute_tensor(keras_model, last_input, images))
    if isinstance(last, layers.Dense):
        values = tf.matmul(_compute_tensor(keras_model, last_input, images), last.kernel)
        values = tf.nn.bias_add(values, last.bias) if last.use_bias else values
    elif isinstance(last, layers.Conv2D) and _takes_lines(keras_model):
        values = last.convolution_op(_compute_tensor(keras_model, last_input, images), last.kernel)
        values = tf.nn.bias_add(values, last.bias) if last.use_bias else values
    elif isinstance(last, layers.Activation):
        values = _compute_tensor(keras_model, last_input, images)
    elif isinstance(last, layers.ReLU | layers.ELU | layers.LeakyReLU | layers.PReLU):
        raise ModelError(f"it ends in {type(last).__name__}, not in softmax, sigmoid or logits")
    else:
        return _compute_tensor(keras_model, tensor, images)
    activation = keras.activations.serialize(last.activation)
    if activation == "sigmoid":
        # The logarithm of the sigmoid. The converter makes log(1 + exp(-x)) of TensorFlow's own, which
        # overflows for the large negative values that a network gives whose input is 0..255.
        return tf.minimum(values, 0.0) - tf.math.log(1.0 + tf.exp(-tf.abs(values)))
    if activation in ("linear", "softmax", "log_softmax"):
        return values
    raise ModelError(f"it ends in the activation {activation!r}, not in softmax, sigmoid or logits")


def _compute_tensor(keras_model: Any, tensor: Any, images: Any) -> Any:
    """Return the value that one of the model's inner tensors has for some images."""
    import keras

    if tensor is keras_model.inputs[0]:
        return images
    return keras.Model(keras_model.inputs, tensor, name="network")(images, training=False)


def _check_logits(keras_model: Any, calibration_images: NDArray[np.float32]) -> None:
    """Check that `compute_logits` is right: where the model gives probabilities, it must be their softmax."""
    import numpy as np
    import tensorflow as tf

    images = tf.constant(calibration_images[:LOGIT_CHECK_COUNT])
    if not _takes_lines(keras_model):
        images = tf.reshape(images, (-1, *keras_model.inputs[0].shape[1:]))
    outputs = np.asarray(keras_model(images, training=False))
    logits = compute_logits(keras_model, images)
    are_probabilities = (outputs >= 0.0).all() and np.allclose(outputs.sum(axis=-1), 1.0, atol=1e-3)
    if are_probabilities and not np.allclose(tf.nn.softmax(logits), outputs, atol=1e-3):
        raise ModelError(
            "how its probabilities are computed from logits is not understood: end it in a softmax"
        )


def _create_batches(
    images: NDArray[np.float32], input_range: InputRange, batch_size: int
) -> NDArray[np.float32]:
    """Return images (N, ...) as (batches, batch_size, ...); the first images fill up the last batch."""
    import numpy as np

    batch_count = -(-len(images) // batch_size)
    batches = np.resize(np.asarray(images, np.float32), (batch_count, batch_size, *images.shape[1:]))
    # The converter must see the full range of the input.
    batches[0, 0, 0, :2, 0] = 0.0, input_range.maximum
    return batches


def _freeze_network(keras_model: Any) -> Any:
    """Return the function to compile with its variables as constants: those of Keras 3 cannot be followed."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    concrete_function = tf.function(_build_network(keras_model), autograph=False).get_concrete_function(
        tf.TensorSpec(_get_batch_shape(keras_model), tf.float32)
    )
    return convert_variables_to_constants_v2(concrete_function)


def _get_batch_shape(keras_model: Any) -> tuple[int | None, ...]:
    """Return the shape of the input of a compiled model."""
    return (1, *LINE_INPUT_SHAPE) if _takes_lines(keras_model) else (BATCH_SIZE, 28, 28, 1)


def _create_converter(network: Any) -> Any:
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_concrete_functions([network])


def _quantize(network: Any, batches: NDArray[np.float32], float_operations: list[str]) -> bytes:
    """Return the network in int8, but for the named operations.

    `batches` of images show the converter the range of each layer's values.
    """
    import tensorflow as tf

    def representative_dataset() -> Iterator[list[NDArray[np.float32]]]:
        for batch in batches:
            yield [batch]

    converter = _create_converter(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representative_dataset
    # TensorFlow's way to keep some operations in float32.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=float_operations),
    )
    return bytes(debugger.get_nondebug_quantized_model())


def _build_network(keras_model: Any) -> Callable[[Any], Any]:
    """Return the function to compile: from a batch of images, of `_get_batch_shape`, to its logits."""
    import keras
    import tensorflow as tf

    shape = tuple(keras_model.inputs[0].shape[1:])
    stem = build_space_to_depth_stem(keras_model)
    rest = keras.Model(stem.output, keras_model.outputs) if stem else keras_model

    # The names of the function and its argument are written into the compiled model, so they are kept.
    def network(values: Any) -> Any:
        if stem:
            return compute_logits(rest, stem.compute(values))
        if shape not in ((28, 28, 1), LINE_INPUT_SHAPE):
            values = tf.reshape(values, (BATCH_SIZE, *shape))
        return compute_logits(keras_model, values)

    return network


def replace_output_bias(
    compiled: bytes, old_bias: NDArray[np.float32], new_bias: NDArray[np.float32]
) -> bytes:
    """Return a compiled model with another bias, float32 (classes,), in its last Dense layer.

    That layer stays float32, so the result is, byte for byte, what compiling the changed Keras model gives.
    Raises ModelError where `old_bias` is not found exactly once.
    """
    old, new = old_bias.astype("<f4").tobytes(), new_bias.astype("<f4").tobytes()
    if len(old) != len(new) or compiled.count(old) != 1:
        raise ModelError("the bias of the last layer is not found in the compiled model")
    return compiled.replace(old, new)
