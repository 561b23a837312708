"""A small model, saved once for all tests of this package, and folders in the place of the user's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model import (
    compile_worker,
    compiled_cache,
    model_files,
    registry,
    tflite_compiler,
    trained_models,
    user_calibrations,
)
from digitscan.model.export import save_model
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import ModelMetadata
from digitscan.model.registry import Model
from digitscan.training.data.sources import load_data
from tests.support import line_models
from tests.support.hostile_models import build_line_network, build_network


@pytest.fixture(scope="session")
def metadata() -> ModelMetadata:
    return ModelMetadata(
        architecture="cnn",
        classes=11,
        preprocess_version=PREPROCESS_VERSION,
        temperature=1.5,
        ok_confidence=0.8,
        training={"epochs": 3, "seed": 0},
        scores={"test_accuracy": 0.99},
    )


@pytest.fixture(scope="session")
def images() -> NDArray[np.uint8]:
    """300 images of MNIST, (300, 28, 28)."""
    return load_data().x_test[:300]


@pytest.fixture(scope="session")
def calibration_images(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Fewer than the bundled ones, to compile faster: (100, 28, 28, 1) in 0..1."""
    return images[:100, ..., None].astype(np.float32) / np.float32(255)


@pytest.fixture(scope="session")
def small_cnn() -> Any:
    """A Keras model with random weights that begins as the bundled CNNs do."""
    keras.utils.set_random_seed(7)
    return build_network(
        layers.Conv2D(8, 5, strides=2, padding="same", use_bias=False, name="convolution"),
        layers.BatchNormalization(name="normalization"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(name="pooling"),
    )


@pytest.fixture(scope="session")
def saved_model(
    small_cnn: Any,
    metadata: ModelMetadata,
    calibration_images: NDArray[np.float32],
    tmp_path_factory: pytest.TempPathFactory,
) -> Model:
    """`small_cnn`, saved; its compiled form is in no cache folder, and it is a stranger's in the tests."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_models, "user_data_folder", lambda: folder / "data")
        return save_model(small_cnn, metadata, folder / "small.h5", folder / "programs", calibration_images)


@pytest.fixture(scope="session")
def line_metadata() -> ModelMetadata:
    return replace(line_models.METADATA, ok_confidence=0.8)


@pytest.fixture(scope="session")
def small_line_network() -> Any:
    """A Keras model of numbers with random weights, which reads digits in most lines, though wrong ones."""
    keras.utils.set_random_seed(3)
    network = build_line_network()
    kernel, bias = network.layers[-1].get_weights()
    bias[:10] += 2.0
    network.layers[-1].set_weights([kernel * 3.0, bias])
    return network


@pytest.fixture(scope="session")
def saved_line_model(
    small_line_network: Any, line_metadata: ModelMetadata, tmp_path_factory: pytest.TempPathFactory
) -> Model:
    """`small_line_network`, saved as `saved_model` is."""
    folder = tmp_path_factory.mktemp("saved line")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained_models, "user_data_folder", lambda: folder / "data")
        return save_model(small_line_network, line_metadata, folder / "small.h5", folder / "programs")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache of compiled models during a test; the folder does not exist yet."""
    folder = tmp_path / "cache" / "programs"
    monkeypatch.setattr(compiled_cache, "user_cache_folder", lambda: folder.parent)
    return folder


@pytest.fixture(autouse=True)
def records_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's records of trained models during a test, beside the calibrations; it does not exist yet."""
    folder = tmp_path / "data" / "models"
    for module in (trained_models, user_calibrations):
        monkeypatch.setattr(module, "user_data_folder", lambda: folder.parent)
    return folder


@pytest.fixture
def bundled_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in the place of that of the bundled models."""
    folder = tmp_path / "bundled"
    (folder / "programs").mkdir(parents=True)
    for module in (compiled_cache, model_files, registry):
        monkeypatch.setattr(module, "bundled_folder", lambda: folder)
    return folder


@pytest.fixture
def compiled_paths(monkeypatch: pytest.MonkeyPatch, calibration_images: NDArray[np.float32]) -> list[Path]:
    """Compile in this process, which has loaded Keras already; the list grows with each compiled file."""
    paths: list[Path] = []

    def compile_in_this_process(
        path: Path, data: bytes, input_range: InputRange | None
    ) -> compile_worker.Compilation:
        paths.append(path)
        return compile_worker.check_and_compile(data, input_range)

    monkeypatch.setattr(compile_worker, "compile_in_child_process", compile_in_this_process)
    monkeypatch.setattr(
        tflite_compiler,
        "load_calibration_images",
        lambda input_range: calibration_images * np.float32(input_range.maximum),
    )
    return paths
