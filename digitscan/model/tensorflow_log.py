"""Keep TensorFlow, Keras and the converter quiet."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence_tensorflow() -> Iterator[None]:
    """Keep TensorFlow, Keras and the converter from saying what is no use to a user."""
    from absl import logging

    from digitscan.system.stdio import silence_native_stderr

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        with silence_native_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
