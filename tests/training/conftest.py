"""Fixtures for the tests of training: a small data set, and a cache of their own for compiled models."""

import numpy as np
import pytest

from digitscan.training.data.sources import load_data
from tests.support.pen_strokes import make_pen_arrays
from tests.support.training_data import save_few_digits


@pytest.fixture(scope="session")
def few_digits(tmp_path_factory):
    """The path of an `.npz` with 600 training and 100 test digits of MNIST."""
    return save_few_digits(tmp_path_factory.mktemp("data") / "few.npz")


@pytest.fixture(scope="session")
def pens_path(tmp_path_factory):
    """The path of a file of pen strokes of six writers."""
    path = tmp_path_factory.mktemp("data") / "pens.npz"
    np.savez(path, **make_pen_arrays())
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    """Keep the compiled forms and the records of test models out of the user's folders."""
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp("user")))


@pytest.fixture(scope="session")
def mnist():
    """The bundled MNIST."""
    return load_data()
