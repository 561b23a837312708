"""Check and compile one `.h5` in a process of its own."""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.metadata import UNKNOWN_ARCHITECTURE, ModelMetadata
from digitscan.system.resources import limit_memory

if TYPE_CHECKING:
    pass
from digitscan.model.tflite_compiler import compile_model

CHECK_SECONDS = 30


MAX_MEMORY_BYTES = 8 << 30


def main() -> None:
    """Check and compile one `.h5` from stdin in a process of its own; see `model._compile_in_child`."""
    answers = os.fdopen(os.dup(1), "wb")
    # Native code prints where it likes; the answer must stay whole.
    os.dup2(2, 1)
    limit_memory(MAX_MEMORY_BYTES)
    # The only clock that runs while native code holds the interpreter.
    faulthandler.dump_traceback_later(CHECK_SECONDS, exit=True)
    request = json.loads(sys.stdin.buffer.readline())
    program = b""
    answer: dict[str, Any]
    try:
        metadata, program = check_and_compile(sys.stdin.buffer.read(), request["input_maximum"])
        answer = {"facts": json.loads(metadata.to_json())}
    except DigitscanError as error:
        answer = {"refused": str(error)}
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    answers.write(json.dumps(answer).encode("ascii") + b"\n" + program)
    answers.close()


def check_and_compile(data: bytes, input_maximum: float | None) -> tuple[ModelMetadata, bytes]:
    """Return the metadata and the compiled form of an untrusted `.h5`. Raises ModelError."""
    from digitscan.model.h5_file import load_keras_model, read_metadata
    from digitscan.model.h5_validation import validate_h5

    validate_h5(data)
    metadata = read_metadata(data)
    faulthandler.cancel_dump_traceback_later()
    model = load_keras_model(data)
    shape, classes = tuple(model.inputs[0].shape[1:]), int(model.outputs[0].shape[-1])
    if metadata is None:
        from digitscan.imaging.preprocess import PREPROCESS_VERSION

        metadata = ModelMetadata(
            architecture=UNKNOWN_ARCHITECTURE,
            classes=classes,
            preprocess_version=PREPROCESS_VERSION,
            input_shape=shape,
            input_maximum=1.0 if input_maximum is None else input_maximum,
        )
    elif (metadata.classes, metadata.input_shape) != (classes, shape):
        raise ModelError("the facts inside the model do not fit its network")
    return metadata, compile_model(model, None, metadata.input_maximum)
