"""Import Keras, TensorFlow and what else a training run needs, with settings that nobody else chooses.

Keras obeys a `keras.json` in the user's home and the variable KERAS_BACKEND: our networks work with one
backend and one order of channels only.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from digitscan.errors import UsageError
from digitscan.system.child_python import SAFE_PATH, set_environment
from digitscan.system.signals import defer_signals

_ENVIRONMENT: dict[str, str | None] = {
    **SAFE_PATH,
    "KERAS_BACKEND": "tensorflow",
    # Keras reads `keras.json` there, and writes one if there is none.
    "KERAS_HOME": os.devnull,
    "TF_USE_LEGACY_KERAS": None,
}


@contextlib.contextmanager
def set_training_environment() -> Iterator[None]:
    """Set the environment variables in the block that Keras, and each Python that is started, obeys."""
    with set_environment(_ENVIRONMENT):
        yield


@contextlib.contextmanager
def import_training_libraries() -> Iterator[None]:
    """Import what the block needs, and pin Keras's settings in it. Raises UsageError for another backend.

    The imports take seconds, in which an exception that a signal raises may be swallowed by the import or
    become another error: of 14 SIGTERMs, 3 were lost. So signals are deferred meanwhile.
    """
    with defer_signals(), _hide_matplotlib():
        import h5py  # noqa: F401  # used later
        import keras
        import tensorflow as tf
        from tensorflow.python.framework import convert_to_constants  # noqa: F401  # used later

        _ = tf.lite.TFLiteConverter  # TensorFlow imports it at the first access
        with contextlib.suppress(ImportError):  # without a wheel for this system, TensorFlow's own is used
            import ai_edge_litert.interpreter  # noqa: F401  # used later
    if keras.config.backend() != "tensorflow":  # whoever calls us has imported Keras before
        raise UsageError(
            f"Keras runs with the backend {keras.config.backend()} here, and training needs tensorflow: "
            "set KERAS_BACKEND=tensorflow before anything imports Keras"
        )
    config = keras.config
    previous = config.image_data_format(), config.floatx(), config.epsilon(), config.dtype_policy()
    _set_keras("channels_last", "float32", 1e-7, "float32")
    try:
        yield
    finally:
        _set_keras(*previous)


@contextlib.contextmanager
def _hide_matplotlib() -> Iterator[None]:
    """Make imports of matplotlib fail in the block, unless it is loaded already.

    Keras imports it for two functions that draw pictures, and does without it where it is missing. But
    matplotlib reads a `matplotlibrc` in the current folder, and waits for ever if that is a named pipe.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    sys.modules["matplotlib"] = None  # type: ignore[assignment]  # how an import is made to fail
    try:
        yield
    finally:
        del sys.modules["matplotlib"]


def _set_keras(image_data_format: str, floatx: str, epsilon: float, dtype_policy: object) -> None:
    import keras

    keras.config.set_image_data_format(image_data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_dtype_policy(dtype_policy)
