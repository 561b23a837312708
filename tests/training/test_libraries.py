"""Training has the settings of Keras that its networks need, whatever the user or the caller has chosen."""

import os

import keras
import pytest

from digitscan.errors import UsageError
from digitscan.training.libraries import import_training_libraries, set_training_environment


def read_settings():
    config = keras.config
    return config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy().name


@pytest.fixture
def other_settings():
    """Settings with which no network of ours can be trained, as a `keras.json` or a caller makes them."""
    before = read_settings()
    settings = ("channels_first", "float64", 1e-3, "mixed_float16")
    for settings_now in (settings, before):
        keras.config.set_image_data_format(settings_now[0])
        keras.config.set_floatx(settings_now[1])
        keras.config.set_epsilon(settings_now[2])
        keras.config.set_dtype_policy(settings_now[3])
        if settings_now is settings:
            yield settings


def test_settings_of_the_caller_do_not_reach_the_training_and_come_back_afterwards(other_settings):
    with import_training_libraries():
        assert read_settings() == ("channels_last", "float32", 1e-7, "float32")
    assert read_settings() == other_settings


def test_a_caller_with_another_backend_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    message = "set KERAS_BACKEND=tensorflow before anything imports Keras"
    with pytest.raises(UsageError, match=message), import_training_libraries():
        pass


def test_the_environment_is_set_for_the_training_and_restored(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    with set_training_environment():
        assert os.environ["KERAS_BACKEND"] == "tensorflow"
        assert os.environ["PYTHONSAFEPATH"] == "1"
        assert "TF_USE_LEGACY_KERAS" not in os.environ
    assert dict(os.environ) == before
