"""A network's first convolutions on blocks of pixels: the same sums in a third of the time or less.

Processors multiply many channels at once, and a picture has one. As blocks of 4x4 pixels it has 16 (space to
depth), and a convolution that leaves out every other place makes four of its channels out of each: one for
each place in a block of 2x2 (Shi et al. 2016, whose way back, depth to space, follows). The weights are the
network's own, and nought where a block holds more than the kernel covers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXELS = 4
"""Pixels along a side of a block: two convolutions with strides of 2 make one place of it."""

_STRIDES = {
    "strides": (2, 2),
    "padding": "same",
    "dilation_rate": (1, 1),
    "groups": 1,
    "data_format": "channels_last",
    "activation": "linear",
}
_PLAIN_RELU = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}


@dataclass(frozen=True)
class Stem:
    """The first layers of a network in blocks, and the tensor of the Keras model that they arrive at.

    `run` takes float32 (N, 28, 28, 1).
    """

    run: Callable[[Any], Any]
    end: Any


def space_to_depth_stem(keras_model: Any) -> Stem | None:
    """Return how to compute what a network begins with in blocks; None where it begins otherwise.

    It must begin with one or two of: a convolution with strides of 2 that keeps the edges ("same"), batch
    normalization, ReLU; each with no other layer after it than the next. No layer is used twice.
    """
    import numpy as np
    import tensorflow as tf

    (image,) = keras_model.inputs
    if tuple(image.shape[1:]) != (28, 28, 1) or not _uses_each_layer_once(keras_model):
        return None
    first = _next_stride(keras_model, image)
    if first is None:
        return None
    second = _next_stride(keras_model, first.end)
    kernel = space_to_depth_kernel(first.kernel, 28, PIXELS)
    bias = np.tile(first.bias, (PIXELS // 2) ** 2)

    def run(values: Any) -> Any:
        blocks = tf.nn.space_to_depth(values, PIXELS)
        values = tf.nn.relu(tf.nn.conv2d(blocks, kernel, 1, "SAME") + bias)
        if second is None:
            return tf.nn.depth_to_space(values, PIXELS // 2)
        return tf.nn.relu(tf.nn.conv2d(values, next_kernel, 1, "SAME") + second.bias)

    next_kernel = None if second is None else space_to_depth_kernel(second.kernel, 14, PIXELS // 2)
    return Stem(run, first.end if second is None else second.end)


def space_to_depth_kernel(kernel: NDArray[np.float32], size: int, block: int) -> NDArray[np.float32]:
    """Return the kernel that convolves blocks as `kernel` convolves the picture they are made of.

    `kernel` is (K, K, from, to), for strides of 2 over (size, size) with "same" edges, `block` the pixels
    along a side of a block. The result is for strides of 1 with "same" edges, (B, B, block**2 * from,
    (block / 2)**2 * to), channels in the order of space to depth.
    """
    import numpy as np

    across, _, channels, filters = kernel.shape
    before = max(0, (size // 2 - 1) * 2 + across - size) // 2
    places = block // 2
    taps = 1
    # Blocks of zeros stand before the first one, half of them rounded down, as "same" has it.
    while (start := (taps - 1) // 2 * block - before) < 0 or start + 2 * (places - 1) + across > taps * block:
        taps += 1
    blocks = np.zeros((taps * block, taps * block, channels, places, places, filters), np.float32)
    for down in range(places):
        for right in range(places):
            top, left = start + 2 * down, start + 2 * right
            blocks[top : top + across, left : left + across, :, down, right] = kernel
    parted = blocks.reshape(taps, block, taps, block, channels, -1).transpose(0, 2, 1, 3, 4, 5)
    return np.ascontiguousarray(parted.reshape(taps, taps, block * block * channels, -1))


@dataclass(frozen=True)
class _Stride:
    """A convolution with its batch normalization folded in, and the tensor of the ReLU behind it."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    end: Any


def _next_stride(keras_model: Any, tensor: Any) -> _Stride | None:
    import numpy as np
    from keras import layers

    found: list[Any] = []
    for kind in (layers.Conv2D, layers.BatchNormalization, layers.ReLU):
        after = [layer for layer in keras_model.layers if _takes(layer, tensor)]
        if len(after) != 1 or type(after[0]) is not kind:
            return None
        found.append(after[0])
        tensor = after[0].output
    convolution, normalization, relu = found
    height, width = convolution.kernel_size
    understood = (
        height == width
        and _has(convolution, _STRIDES)
        and normalization.axis in (-1, 3)
        and _has(relu, _PLAIN_RELU)
        and all(tensor is not output for output in keras_model.outputs)
    )
    if not understood:
        return None
    mean, variance = np.asarray(normalization.moving_mean), np.asarray(normalization.moving_variance)
    scale = 1.0 / np.sqrt(variance + normalization.epsilon)
    scale = scale * np.asarray(normalization.gamma) if normalization.scale else scale
    bias = -mean + (np.asarray(convolution.bias) if convolution.use_bias else 0.0)
    bias = bias * scale + (np.asarray(normalization.beta) if normalization.center else 0.0)
    kernel = np.asarray(convolution.kernel) * scale
    return _Stride(kernel.astype(np.float32), bias.astype(np.float32), tensor)


def _uses_each_layer_once(keras_model: Any) -> bool:
    """Tell whether a layer's output is one tensor, and the model can be cut there."""
    return all(len(layer.get("inbound_nodes", ())) <= 1 for layer in keras_model.get_config()["layers"])


def _has(layer: Any, settings: Mapping[str, Any]) -> bool:
    config = layer.get_config()
    given = {name: tuple(value) if isinstance(value := config[name], list) else value for name in settings}
    return given == settings


def _takes(layer: Any, tensor: Any) -> bool:
    """Tell whether a layer's input is, or holds, the tensor."""
    import keras

    return any(
        given is tensor for node in layer._inbound_nodes for given in keras.tree.flatten(node.input_tensors)
    )
