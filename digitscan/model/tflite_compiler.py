"""The compiler: a Keras model becomes a LiteRT program that ends in float32 logits.

Convolutions and what lies between them run in int8: that is where the time goes. Dense layers and the
program's last operation stay float32: they cost next to nothing, int8 logits would know only 256 values,
and on a network of Dense layers int8 changes one answer in a thousand. First convolutions with strides work
on blocks of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.space_to_depth import space_to_depth_stem
from digitscan.system.signals import defer_signals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
from digitscan.model.tensorflow_log import silence_tensorflow

CALIBRATION_IMAGES = Path(__file__).resolve().parents[1] / "data" / "calibration_images.npz"


BATCH = 16


def compile_model(
    keras_model: Any, samples: NDArray[np.float32] | None = None, input_maximum: float = 1.0
) -> bytes:
    """Compile a Keras model of digits for LiteRT.

    The program takes blocks of float32 (BATCH, 28, 28, 1) in 0..`input_maximum` and gives float32 logits
    (BATCH, classes), whatever the model's own input shape and last activation. `samples`, float32
    (N, 28, 28, 1) in the same range, tell how big the values between layers get; by default 500
    preprocessed training images.
    Raises ModelError where the model does not end as a classifier does, or cannot be converted.
    """
    images = load_calibration_images(input_maximum) if samples is None else samples
    with (
        silence_tensorflow(),
        defer_signals(),
    ):  # the converter may lose what a signal raises, or take it for a fault of the model
        try:
            _check_logits(keras_model, images)
            return _convert(keras_model, images, input_maximum)
        except DigitscanError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise ModelError(
                f"it cannot be compiled for LiteRT ({type(error).__name__}: {lines[0][:160]})"
            ) from error


def compute_logits(keras_model: Any, images: Any, tensor: Any = None) -> Any:
    """Return the logits (N, classes) of a Keras model for a tensor of images of its own input shape.

    A softmax at the end is left off, as a layer or as an activation. Where sigmoids are at the end,
    log-sigmoids are the logits: the softmax of those is what Keras makes of such a model in training.
    `tensor` is the model's output unless told otherwise.
    """
    import keras
    import tensorflow as tf

    layers = keras.layers
    tensor = keras_model.outputs[0] if tensor is None else tensor
    history = tensor._keras_history
    last = history.operation
    before = (last._inbound_nodes[history.node_index].input_tensors or [None])[0]
    if isinstance(last, layers.Dropout | layers.GaussianDropout | layers.GaussianNoise):
        return compute_logits(keras_model, images, before)
    if isinstance(last, layers.Flatten | layers.Reshape) and before.shape == tensor.shape:
        return compute_logits(keras_model, images, before)
    if isinstance(last, layers.Softmax) and last.axis in (-1, 1):
        return _run(keras_model, before, images)
    if isinstance(last, keras.Model):
        return compute_logits(last, _run(keras_model, before, images))
    if isinstance(last, layers.Dense):
        values = tf.matmul(_run(keras_model, before, images), last.kernel)
        values = tf.nn.bias_add(values, last.bias) if last.use_bias else values
    elif isinstance(last, layers.Activation):
        values = _run(keras_model, before, images)
    elif isinstance(last, layers.ReLU | layers.ELU | layers.LeakyReLU | layers.PReLU):
        raise ModelError(f"it ends in {type(last).__name__}, not in softmax, sigmoid or logits")
    else:
        return _run(keras_model, tensor, images)
    activation = keras.activations.serialize(last.activation)
    if activation == "sigmoid":
        return tf.math.log_sigmoid(values)
    if activation in ("linear", "softmax", "log_softmax"):
        return values
    raise ModelError(f"it ends in the activation {activation!r}, not in softmax, sigmoid or logits")


def _check_logits(keras_model: Any, samples: NDArray[np.float32]) -> None:
    """Where the model gives probabilities, the softmax of the logits must be just those."""
    import numpy as np
    import tensorflow as tf

    images = tf.reshape(tf.constant(samples[:64]), (-1, *keras_model.inputs[0].shape[1:]))
    answers = np.asarray(keras_model(images, training=False))
    logits = compute_logits(keras_model, images)
    probable = (answers >= 0.0).all() and np.allclose(answers.sum(axis=1), 1.0, atol=1e-3)
    if probable and not np.allclose(tf.nn.softmax(logits), answers, atol=1e-3):
        raise ModelError("how it comes from logits to probabilities is not understood: end it in a softmax")


def _run(keras_model: Any, tensor: Any, images: Any) -> Any:
    """Return the value of one of the model's inner tensors."""
    import keras

    if tensor is keras_model.inputs[0]:
        return images
    return keras.Model(keras_model.inputs, tensor, name="network")(images, training=False)


def _convert(keras_model: Any, samples: NDArray[np.float32], input_maximum: float) -> bytes:
    import keras
    import numpy as np
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = tuple(keras_model.inputs[0].shape[1:])
    # Whole blocks, the first samples again at the end; and the full range of ink must be seen.
    images = np.resize(np.asarray(samples, np.float32), (-(-len(samples) // BATCH), BATCH, 28, 28, 1))
    images[0, 0, 0, :2, 0] = 0.0, input_maximum

    beginning = space_to_depth_stem(keras_model)
    rest = keras.Model(beginning.end, keras_model.outputs) if beginning else keras_model

    def network(values: Any) -> Any:
        if beginning:
            return compute_logits(rest, beginning.run(values))
        return compute_logits(
            keras_model, tf.reshape(values, (BATCH, *shape)) if shape != (28, 28, 1) else values
        )

    def representatives() -> Iterator[list[NDArray[np.float32]]]:
        for block in images:
            yield [block]

    traced = tf.function(network, autograph=False).get_concrete_function(
        tf.TensorSpec((BATCH, 28, 28, 1), tf.float32)
    )
    # The converter cannot follow Keras 3's variables, so they become constants first.
    frozen = convert_variables_to_constants_v2(traced)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = representatives
    options = tf.lite.experimental.QuantizationDebugOptions(
        denylisted_ops=["FULLY_CONNECTED"], denylisted_nodes=["Identity"]
    )
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=representatives, debug_options=options
    )
    return bytes(debugger.get_nondebug_quantized_model())


def load_calibration_images(input_maximum: float) -> NDArray[np.float32]:
    """Return the bundled calibration images, float32 (500, 28, 28, 1) in 0..`input_maximum`."""
    import numpy as np

    with np.load(CALIBRATION_IMAGES, allow_pickle=False) as file:
        images: NDArray[np.uint8] = file["images"][..., None]
    return (images.astype(np.float32) * np.float32(input_maximum / 255.0)).astype(np.float32)
