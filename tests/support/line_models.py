"""A model of numbers with random weights: which digits it finds is chance, but always the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from digitscan.imaging.version import LINE_PREPROCESS_VERSION
from digitscan.model.metadata import LINE_CLASSES, LINE_INPUT_SHAPE, ModelMetadata, Reads

METADATA = ModelMetadata(
    architecture="line",
    classes=LINE_CLASSES,
    preprocess_version=LINE_PREPROCESS_VERSION,
    reads=Reads.NUMBERS,
    input_shape=LINE_INPUT_SHAPE,
    ok_confidence=0.02,
)


@contextlib.contextmanager
def provide_line_model(folder: Path) -> Iterator[Path]:
    """Yield the path of a model of numbers that this user has trained; its compiled form is in the folder."""
    import keras

    from digitscan.model.export import save_model
    from tests.support.hostile_models import build_line_network

    keras.utils.set_random_seed(3)
    network: Any = build_line_network()
    kernel, bias = network.layers[-1].get_weights()
    bias[:10] += 1.0
    network.layers[-1].set_weights([kernel * 4.0, bias])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        save_model(network, METADATA, folder / "line.h5")
        yield folder / "line.h5"
