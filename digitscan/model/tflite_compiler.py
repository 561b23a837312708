"""The compiler: a Keras model becomes a LiteRT program that ends in float32 logits.

Convolutions and what lies between them run in int8: that is where the time goes. Dense layers and the
program's last operation stay float32: they cost next to nothing, int8 logits would know only 256 values,
and on a network of Dense layers int8 changes one answer in a thousand. First convolutions with strides work
on blocks of pixels.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.metadata import UNKNOWN_ARCHITECTURE, ModelFacts
from digitscan.model.space_to_depth import in_blocks
from digitscan.system.resources import limit_memory
from digitscan.system.signals import held

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SAMPLES = 500
BATCH = 16
CHECK_SECONDS = 30
MOST_MEMORY = 8 << 30


def compile_program(
    keras_model: Any, samples: NDArray[np.float32] | None = None, input_maximum: float = 1.0
) -> bytes:
    """Compile a Keras model of digits for LiteRT.

    The program takes blocks of float32 (BATCH, 28, 28, 1) in 0..`input_maximum` and gives float32 logits
    (BATCH, classes), whatever the model's own input shape and last activation. `samples`, float32
    (N, 28, 28, 1) in the same range, tell how big the values between layers get; by default 500
    preprocessed training images.
    Raises ModelError where the model does not end as a classifier does, or cannot be converted.
    """
    images = _training_samples(input_maximum) if samples is None else samples
    with quiet(), held():  # the converter may lose what a signal raises, or take it for a fault of the model
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep TensorFlow, Keras and the converter from saying what is no use to a user."""
    from absl import logging

    from digitscan.system.stdio import silence_native_messages

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with silence_native_messages(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)


def logits_of(keras_model: Any, images: Any, tensor: Any = None) -> Any:
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
        return logits_of(keras_model, images, before)
    if isinstance(last, layers.Flatten | layers.Reshape) and before.shape == tensor.shape:
        return logits_of(keras_model, images, before)
    if isinstance(last, layers.Softmax) and last.axis in (-1, 1):
        return _run(keras_model, before, images)
    if isinstance(last, keras.Model):
        return logits_of(last, _run(keras_model, before, images))
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
    logits = logits_of(keras_model, images)
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

    beginning = in_blocks(keras_model)
    rest = keras.Model(beginning.end, keras_model.outputs) if beginning else keras_model

    def network(values: Any) -> Any:
        if beginning:
            return logits_of(rest, beginning.run(values))
        return logits_of(keras_model, tf.reshape(values, (BATCH, *shape)) if shape != (28, 28, 1) else values)

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


def _training_samples(input_maximum: float) -> NDArray[np.float32]:
    import numpy as np

    from digitscan.imaging.preprocess import preprocess
    from digitscan.training.data.sources import load_mnist

    seen = [preprocess(image).pixels for image in load_mnist(None).x_train[:SAMPLES]]
    pixels = np.stack([image for image in seen if image is not None])[..., None]
    return (pixels.astype(np.float32) * np.float32(input_maximum / 255.0)).astype(np.float32)


def main() -> None:
    """Check and compile one `.h5` from stdin in a process of its own; see `model._compile_in_child`."""
    answers = os.fdopen(os.dup(1), "wb")
    # Native code prints where it likes; the answer must stay whole.
    os.dup2(2, 1)
    limit_memory(MOST_MEMORY)
    # The only clock that runs while native code holds the interpreter.
    faulthandler.dump_traceback_later(CHECK_SECONDS, exit=True)
    request = json.loads(sys.stdin.buffer.readline())
    program = b""
    answer: dict[str, Any]
    try:
        facts, program = _check_and_compile(sys.stdin.buffer.read(), request["input_maximum"])
        answer = {"facts": json.loads(facts.to_json())}
    except DigitscanError as error:
        answer = {"refused": str(error)}
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(answer).encode("ascii") + b"\n" + program)
    answers.close()


def _check_and_compile(data: bytes, input_maximum: float | None) -> tuple[ModelFacts, bytes]:
    from digitscan.model.h5_file import load_h5, read_facts
    from digitscan.model.h5_validation import check_h5

    check_h5(data)
    facts = read_facts(data)
    faulthandler.cancel_dump_traceback_later()
    model = load_h5(data)
    shape, classes = tuple(model.inputs[0].shape[1:]), int(model.outputs[0].shape[-1])
    if facts is None:
        from digitscan.imaging.preprocess import PREPROCESS_VERSION

        facts = ModelFacts(
            architecture=UNKNOWN_ARCHITECTURE,
            classes=classes,
            preprocess_version=PREPROCESS_VERSION,
            input_shape=shape,
            input_maximum=1.0 if input_maximum is None else input_maximum,
        )
    elif (facts.classes, facts.input_shape) != (classes, shape):
        raise ModelError("the facts inside the model do not fit its network")
    return facts, compile_program(model, None, facts.input_maximum)
