"""Compiled models answer as Keras does, whatever the input shape and the end of the network."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.errors import ExitCode, ModelError
from digitscan.model import tflite_compiler
from digitscan.model.classifier import Classifier
from digitscan.model.input_range import InputRange
from digitscan.model.known_images import CALIBRATION_IMAGES, load_calibration_images
from digitscan.model.line_classifier import LineClassifier
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import load_model
from digitscan.model.tflite_compiler import compile_model, replace_output_bias
from digitscan.training.architectures import build_line
from tests.support.hostile_models import build_line_network, build_network, change_config, save_h5

CALIBRATION_SCRIPT = Path(__file__).parents[2] / "docs" / "make_calibration_images.py"


def normalize(values: NDArray[Any]) -> NDArray[Any]:
    shares: NDArray[Any] = values / values.sum(axis=1, keepdims=True)
    return shares


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    return normalize(np.exp(values - values.max(axis=1, keepdims=True)))


def unchanged(values: NDArray[Any]) -> NDArray[Any]:
    return values


def build_nested() -> Any:
    return keras.Sequential([keras.Input((28, 28, 1)), layers.Rescaling(2.0), build_network()])


def build_residual() -> Any:
    image = keras.Input((28, 28, 1))
    values = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    total = layers.Add()([values, layers.DepthwiseConv2D(3, padding="same")(values)])
    return keras.Model(image, layers.Dense(10, "softmax")(layers.GlobalAveragePooling2D()(total)))


@pytest.mark.parametrize(
    ("build", "to_probabilities"),
    [
        (lambda: build_network(end="softmax"), unchanged),
        (lambda: build_network(end="linear"), softmax),
        (lambda: build_network(end="sigmoid"), normalize),
        (lambda: keras.Sequential([build_network(end="linear"), layers.Softmax()]), unchanged),
        (lambda: keras.Sequential([build_network(end="linear"), layers.Activation("softmax")]), unchanged),
        (lambda: keras.Sequential([build_network(end="softmax"), layers.Dropout(0.5)]), unchanged),
        (lambda: build_network(shape=(784,), classes=10), unchanged),
        (lambda: build_network(layers.Dense(16, "relu"), shape=(28, 28), classes=10), unchanged),
        (lambda: build_network(layers.Conv2D(4, 3), layers.GlobalMaxPooling2D()), unchanged),
        (build_nested, unchanged),
        (build_residual, unchanged),
    ],
    ids=[
        "softmax activation",
        "logits",
        "sigmoids",
        "softmax layer",
        "activation layer",
        "dropout at the end",
        "flat input",
        "input without channel",
        "pooled",
        "nested",
        "residual",
    ],
)
def test_a_model_made_elsewhere_answers_as_in_keras_and_is_not_calibrated(
    build: Callable[[], Any],
    to_probabilities: Callable[[NDArray[Any]], NDArray[Any]],
    tmp_path: Path,
    images: NDArray[np.uint8],
    compiled_paths: list[Path],
) -> None:
    keras.utils.set_random_seed(5)
    model = load_model(save_h5(build(), tmp_path))
    loaded = keras.models.load_model(model.path)
    inputs = (images / np.float32(255)).reshape(-1, *loaded.input_shape[1:])
    expected = to_probabilities(loaded.predict(inputs, verbose=0))
    assert np.abs(model.load_classifier().classify(images) - expected).max() < 0.02
    assert model.metadata.ok_confidence is None
    assert model.metadata.architecture == "unknown"


@pytest.mark.parametrize("input_range", InputRange)
def test_a_model_that_ends_in_sigmoids_reads_as_in_keras(
    input_range: InputRange, images: NDArray[np.uint8]
) -> None:
    # As training leaves them: most sigmoids are far below 1, so that int8 took the best ones for equal.
    keras.utils.set_random_seed(1)
    network = build_network(layers.Flatten(), layers.Dense(50, "relu"), end="sigmoid", classes=10)
    kernel, _ = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel * 10, np.full(10, -20.0)])
    expected = network.predict(
        input_range.apply_polarity(images)[..., None] / np.float32(255 / input_range.maximum), verbose=0
    )
    compiled = compile_model(network, input_range=input_range)
    metadata = ModelMetadata(
        architecture="unknown", classes=10, preprocess_version=1, input_range=input_range
    )
    answers = Classifier(compiled, metadata).classify(images).argmax(axis=1)
    assert (expected[np.arange(len(images)), answers] == expected.max(axis=1)).all()


def test_a_model_of_numbers_is_compiled_for_lines_of_any_width(line_metadata: ModelMetadata) -> None:
    keras.utils.set_random_seed(4)
    network = build_line_network(layers.Conv2D(8, 3, padding="same", activation="relu"))
    compiled = compile_model(network)
    # Int8 weights, so that the file is smaller than the float32 one.
    assert len(compiled) < len(compile_model(network, quantizes=False))
    classifier = LineClassifier(compiled, line_metadata)
    for width in (64, 512):
        lines = np.random.default_rng(width).integers(0, 256, (2, 32, width)).astype(np.uint8)
        expected = np.asarray(network(lines[..., None] / np.float32(255), training=False))[:, 0]
        assert np.abs(np.stack(classifier.classify(list(lines))) - expected).max() < 0.05


def test_the_network_that_training_makes_for_lines_is_compiled_in_int8(line_metadata: ModelMetadata) -> None:
    keras.utils.set_random_seed(0)
    network = build_line()
    compiled = compile_model(network)
    assert len(compiled) < network.count_params() * 2
    line = np.random.default_rng(0).integers(0, 256, (32, 128)).astype(np.uint8)
    expected = np.asarray(network(line[None, ..., None] / np.float32(255), training=False))[0, 0]
    (actual,) = LineClassifier(compiled, line_metadata).classify([line])
    assert np.abs(actual - expected).max() < 0.05


@pytest.fixture
def another_network() -> Any:
    """A network that reads every image as 4."""
    network = build_network(layers.Conv2D(2, 3))
    kernel, bias = network.layers[-1].get_weights()
    network.layers[-1].set_weights([kernel, bias + np.eye(11)[4] * 100])
    return network


def test_a_model_that_int8_makes_read_otherwise_is_compiled_in_float(
    another_network: Any, monkeypatch: pytest.MonkeyPatch, calibration_images: NDArray[np.float32]
) -> None:
    network = build_network(layers.Conv2D(2, 3))
    wrong = compile_model(another_network, calibration_images)
    monkeypatch.setattr(tflite_compiler, "_quantize", lambda *arguments: wrong)
    in_float = compile_model(network, calibration_images, quantizes=False)
    assert compile_model(network, calibration_images) == in_float


def test_a_model_that_cannot_be_quantized_is_compiled_in_float(
    monkeypatch: pytest.MonkeyPatch, calibration_images: NDArray[np.float32]
) -> None:
    def fail(*arguments: object) -> bytes:
        raise RuntimeError("failed to quantize")

    network = build_network(layers.Conv2D(2, 3))
    in_float = compile_model(network, calibration_images, quantizes=False)
    monkeypatch.setattr(tflite_compiler, "_quantize", fail)
    assert compile_model(network, calibration_images) == in_float


def test_a_model_that_reads_otherwise_even_in_float_is_refused_with_the_share(
    another_network: Any, monkeypatch: pytest.MonkeyPatch, calibration_images: NDArray[np.float32]
) -> None:
    freeze_network = tflite_compiler._freeze_network
    monkeypatch.setattr(tflite_compiler, "_freeze_network", lambda _: freeze_network(another_network))
    network = build_network(layers.Conv2D(2, 3))
    answers = network.predict(load_calibration_images(InputRange.ONE), verbose=0).argmax(axis=1)
    share = f"{np.mean(answers != 4):.1%}"
    with pytest.raises(ModelError, match=rf"other answers than in Keras for {share} of 500 images") as caught:
        compile_model(network, calibration_images)
    assert caught.value.exit_code == ExitCode.MODEL


@pytest.mark.parametrize("is_late_version", [False, True], ids=["2.4", "2.13"])
def test_a_file_of_keras_2_is_read_though_its_configuration_is_spelled_otherwise(
    tmp_path: Path, images: NDArray[np.uint8], compiled_paths: list[Path], is_late_version: bool
) -> None:
    path = save_h5(build_network(layers.Conv2D(2, 3, name="first"), layers.BatchNormalization()), tmp_path)
    expected = keras.models.load_model(path).predict(images[..., None] / np.float32(255), verbose=0)
    shapes = [(28, 28, 1), (28, 28, 1), (26, 26, 2), (26, 26, 2), (1352,)]

    def change_to_keras_2(config: dict[str, Any]) -> None:
        for layer, shape in zip(config["config"]["layers"], shapes, strict=True):
            inner = layer["config"]
            inner["dtype"] = "float32"
            if is_late_version:
                layer |= {"module": "keras.layers", "registered_name": None}
                layer["build_config"] = {"input_shape": [None, *shape]}
            if layer["class_name"] == "InputLayer":
                inner["batch_input_shape"] = inner.pop("batch_shape")
                inner.pop("optional", None)
            if layer["class_name"] == "BatchNormalization" and not is_late_version:
                inner["axis"] = [3]

    change_config(path, change_to_keras_2)
    assert np.abs(load_model(path).load_classifier().classify(images) - expected).max() < 0.02


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: build_network(end="relu"), "it ends in the activation 'relu'"),
        (lambda: keras.Sequential([build_network(end="linear"), layers.ReLU()]), "it ends in ReLU"),
        (
            lambda: keras.Sequential(
                [keras.Input((28, 28, 1)), layers.Conv2D(10, 28), layers.Softmax(), layers.Flatten()]
            ),
            "how its probabilities are computed from logits is not understood: end it in a softmax",
        ),
    ],
)
def test_an_end_that_gives_no_probabilities_is_refused(
    build: Callable[[], Any], message: str, calibration_images: NDArray[np.float32]
) -> None:
    with pytest.raises(ModelError, match=message):
        compile_model(build(), calibration_images)


def test_a_layer_that_is_called_twice_can_be_compiled(calibration_images: NDArray[np.float32]) -> None:
    image, relu = keras.Input((28, 28, 1)), layers.ReLU()
    values = relu(layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(image)))
    values = relu(layers.Conv2D(4, 3)(values))
    assert compile_model(keras.Model(image, layers.Dense(10)(layers.Flatten()(values))), calibration_images)


def test_replacing_the_output_bias_gives_the_bytes_of_compiling_again(
    calibration_images: NDArray[np.float32],
) -> None:
    keras.utils.set_random_seed(2)
    network = build_network(layers.Conv2D(4, 3, strides=2))
    kernel, bias = network.layers[-1].get_weights()
    bias += np.linspace(-1, 1, len(bias), dtype=np.float32)
    network.layers[-1].set_weights([kernel, bias])
    compiled = compile_model(network, calibration_images)
    new_bias = bias.copy()
    new_bias[10] -= 2.5
    network.layers[-1].set_weights([kernel, new_bias])
    assert replace_output_bias(compiled, bias, new_bias) == compile_model(network, calibration_images)


def test_a_bias_that_is_not_in_the_compiled_model_cannot_be_replaced() -> None:
    bias = np.ones(11, np.float32)
    for compiled in (b"", bias.tobytes() * 2):
        with pytest.raises(ModelError, match="the bias of the last layer is not found"):
            replace_output_bias(compiled, bias, bias)


def test_the_bundled_calibration_images_are_those_that_the_script_makes() -> None:
    spec = importlib.util.spec_from_file_location(CALIBRATION_SCRIPT.stem, CALIBRATION_SCRIPT)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PATH == CALIBRATION_IMAGES
    with np.load(CALIBRATION_IMAGES) as file:
        stored = file["images"], file["labels"]
    made = script.make_images()
    assert all(map(np.array_equal, stored, made)), f"run python docs/{CALIBRATION_SCRIPT.name}"


@pytest.mark.parametrize("input_range", InputRange)
def test_calibration_images_fill_the_range_of_the_input(input_range: InputRange) -> None:
    images = load_calibration_images(input_range)
    assert (images.shape, images.dtype) == ((500, 28, 28, 1), np.float32)
    assert (images.min(), images.max()) == (0.0, input_range.maximum)
