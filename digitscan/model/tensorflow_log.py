"""Suppress the log output of TensorFlow, Keras and the LiteRT converter."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence_tensorflow() -> Iterator[None]:
    """Hide what TensorFlow, Keras and the converter print, which is of no use to a user.

    Their Python code logs through absl and `warnings`; their C++ code writes to file descriptor 2. Since
    TensorFlow 2.19 the variable TF_CPP_MIN_LOG_LEVEL alone no longer hides the latter. Exceptions pass.
    """
    from absl import logging

    from digitscan.system.stdio import silence_native_stderr

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with silence_native_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
