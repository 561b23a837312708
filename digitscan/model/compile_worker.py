"""Check and compile a model file in a child process, and try the result in another.

A model file, an `.h5` or `.keras`, may come from anybody. HDF5, TensorFlow and the LiteRT converter are
native code: a damaged or hostile file can make them crash, loop for ever or take all memory. In a child
process that ends the child alone, and becomes a ModelError. The child also keeps TensorFlow out of the
process of a scan.

The parent writes one line of JSON and the model file to the child's stdin:

    {"input_range": null or for example "0..255", "quantizes": true or false}

The child answers on stdout with one line of JSON, followed by the compiled model if there is one:

    {"metadata": {...}, "input_comparison": {...} or null}
    or {"refused": "why the file cannot be used"} or {"failed": "an unexpected error"}

The second child gets the metadata and the compiled model in the same way, and runs it once as the processes
of a scan would. A network can be valid and yet end or block every process that runs it, and a scan could not
tell that from a picture that does.

Quantization has crashed the converter, and quantized models their readers. Where a child is ended by a
signal, both run once more, and the model is compiled in float32.
"""

from __future__ import annotations

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from digitscan.errors import DigitscanError, ModelError
from digitscan.model.input_comparison import InputComparison, compare_input_ranges
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import UNKNOWN_ARCHITECTURE, ModelMetadata, Reads
from digitscan.system.child_python import exit_with_parent, python_command
from digitscan.system.resources import limit_memory
from digitscan.system.temporary import find_temporary_folder

MAX_CHECK_SECONDS = 30
"""The time limit for HDF5 to read the file; damaged files can make it loop for ever."""
MAX_COMPILE_SECONDS = 300
"""The time limit for the whole child process."""
MAX_MEMORY_BYTES = 8 << 30
"""The child's limit on memory (Linux): a network that needs more fails, and does not fill the machine."""

MAX_TRIAL_SECONDS = 60
"""The time limit for starting a process and running one batch of images."""
MAX_TRIAL_MEMORY_BYTES = 2 << 30
"""The trial's limit on memory (Linux), which the processes of a scan have for all but the pictures."""
_SETTINGS_BYTES = 1 << 20
"""Space for what libraries write beside the model."""


class Compilation(NamedTuple):
    """What comes of a model file."""

    metadata: ModelMetadata
    compiled: bytes
    """The content of the `.tflite` file."""
    input_comparison: InputComparison | None
    """How well it reads in each input range, if the file does not say which it was made for."""


def compile_in_child_process(path: Path, data: bytes, input_range: InputRange | None) -> Compilation:
    """Return the metadata and the compiled model of an untrusted file, which is checked first.

    `data` is the content of the file; `path` is only named in errors. `input_range` is that of a
    file that does not say it, by default 0..1. Raises ModelError where the file is refused.
    """
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() not in ("", "0", "false"):
        raise ModelError(
            "TF_USE_LEGACY_KERAS is set, and old Keras runs code out of model files: unset it, then try again"
        )
    try:
        return _compile_and_try(path, data, input_range, quantizes=True)
    except _CrashError:
        return _compile_and_try(path, data, input_range, quantizes=False)


class _CrashError(ModelError):
    """A child process crashed in native code."""


def _compile_and_try(path: Path, data: bytes, input_range: InputRange | None, quantizes: bool) -> Compilation:
    """Return what `compile_in_child_process` does. Raises _CrashError where a child process crashes."""
    request = json.dumps({"input_range": input_range, "quantizes": quantizes}).encode() + b"\n"
    child = _run_child("main", request + data, MAX_COMPILE_SECONDS, f"{path} is refused: compiling it")
    line, _, compiled = child.stdout.partition(b"\n")
    if child.returncode != 0 or not line:
        raise _create_error(child, f"{path} is broken: the process that checked it")
    answer = json.loads(line)
    if "refused" in answer:
        raise ModelError(f"{path} is refused: {answer['refused']}")
    if "failed" in answer:
        raise ModelError(
            f"{path} could not be compiled ({answer['failed']}): is TensorFlow installed completely?"
        )
    metadata = ModelMetadata.from_json(json.dumps(answer["metadata"]))
    _try_in_child_process(path, metadata, compiled)
    stored = answer["input_comparison"]
    comparison = None if stored is None else InputComparison.from_stored(stored)
    return Compilation(metadata, compiled, comparison)


def _create_error(child: subprocess.CompletedProcess[bytes], what: str) -> ModelError:
    """Return the error for a child process that failed; `what` names the process."""
    # A signal has a negative number; an exception of Windows has one that no program gives.
    has_crashed = not 0 <= child.returncode < 256
    return (_CrashError if has_crashed else ModelError)(f"{what} ended with {child.returncode}")


def _try_in_child_process(path: Path, metadata: ModelMetadata, compiled: bytes) -> None:
    """Run a compiled model once. Raises ModelError where that ends or blocks the process."""
    request = metadata.without_claims().to_json().encode() + b"\n"
    what = f"{path} is refused: reading a few images with it"
    child = _run_child("run_trial", request + compiled, MAX_TRIAL_SECONDS, what)
    if child.returncode != 0:
        raise _create_error(child, f"{path} is refused: the process that read a few images with it")


def _run_child(function: str, data: bytes, timeout: float, what: str) -> subprocess.CompletedProcess[bytes]:
    """Run a function of this module in a child process with `data` on its stdin.

    It runs in a temporary folder, which is removed when it has ended, however that happened: a child that is
    killed leaves its copy of the model behind. Keras and matplotlib read and write their settings there, not
    in the home folder, where Keras may be set up for another order of the dimensions. Raises ModelError
    after `timeout` seconds, which begins with `what`.
    """
    # Keras may be set up for another backend; a GPU is of no use here, and starting it takes seconds.
    settings = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with _make_temporary_folder(len(data)) as folder:
        settings |= dict.fromkeys(("TMPDIR", "KERAS_HOME", "MPLCONFIGDIR"), folder)
        try:
            return subprocess.run(
                python_command(__name__, function),
                input=data,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **settings},
                cwd=folder,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{what} took over {timeout} seconds") from error


def _make_temporary_folder(model_bytes: int) -> tempfile.TemporaryDirectory[str]:
    """Return a new folder with space for copies of a model. Raises ModelError where there is none."""
    try:
        parent = find_temporary_folder(2 * model_bytes + _SETTINGS_BYTES)
        return tempfile.TemporaryDirectory(prefix="digitscan-", dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise ModelError(f"no model can be compiled: {error.strerror or error}") from error


def main() -> None:
    """Run the child process: check and compile the model file on stdin, answer on stdout."""
    exit_with_parent()
    stdout = os.fdopen(os.dup(1), "wb")
    # From here on native code that prints to stdout prints to stderr, and leaves the answer whole.
    os.dup2(2, 1)
    limit_memory(MAX_MEMORY_BYTES)
    # A timer of another kind would not run while native code holds Python's global lock.
    faulthandler.dump_traceback_later(MAX_CHECK_SECONDS, exit=True)
    request = json.loads(sys.stdin.buffer.readline())
    answer: dict[str, Any]
    compiled = b""
    try:
        metadata, compiled, comparison = check_and_compile(
            sys.stdin.buffer.read(),
            None if request["input_range"] is None else InputRange(request["input_range"]),
            _extend_time_limit,
            quantizes=request["quantizes"],
        )
        answer = {
            "metadata": json.loads(metadata.to_json()),
            "input_comparison": comparison and comparison.to_stored(),
        }
    except DigitscanError as error:
        answer = {"refused": str(error)}
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    stdout.write(json.dumps(answer).encode("ascii") + b"\n" + compiled)
    stdout.close()


def _extend_time_limit() -> None:
    # The parent has this limit too, but on Windows a child outlives a parent that is killed.
    faulthandler.dump_traceback_later(MAX_COMPILE_SECONDS, exit=True)


def run_trial() -> None:
    """Run the second child process: load the compiled model on stdin, and run it on a few images."""
    import numpy as np

    from digitscan.model.classifier import Classifier
    from digitscan.model.line_classifier import BLOCK_WIDTHS, LineClassifier

    exit_with_parent()
    faulthandler.dump_traceback_later(MAX_TRIAL_SECONDS, exit=True)
    metadata = ModelMetadata.from_json(sys.stdin.buffer.readline().decode())
    limit_memory(MAX_TRIAL_MEMORY_BYTES)
    compiled = sys.stdin.buffer.read()
    pixels = np.arange(32 * BLOCK_WIDTHS[-1], dtype=np.uint8)
    if metadata.reads is Reads.NUMBERS:
        lines = pixels.reshape(32, -1)
        LineClassifier(compiled, metadata).classify([lines[:, :100], lines])
    else:
        Classifier(compiled, metadata).classify(pixels[: 2 * 28 * 28].reshape(2, 28, 28))


def check_and_compile(
    data: bytes,
    input_range: InputRange | None,
    after_check: Callable[[], object] = lambda: None,
    *,
    quantizes: bool = True,
) -> Compilation:
    """Return what `compile_in_child_process` does, in this process.

    `input_range` is as for `compile_in_child_process`; `after_check` is called when HDF5 has read the file;
    `quantizes` is as for `compile_model`. Raises ModelError where the file is refused.
    """
    from digitscan.model.h5_file import load_keras_model, read_metadata, validate_model_file
    from digitscan.model.known_images import load_known_digits
    from digitscan.model.tflite_compiler import compile_model

    validate_model_file(data)
    metadata = read_metadata(data)
    after_check()
    keras_model = load_keras_model(data)
    input_shape = tuple(keras_model.inputs[0].shape[1:])
    classes = int(keras_model.outputs[0].shape[-1])
    if metadata is None:
        from digitscan.imaging.version import PREPROCESS_VERSION

        metadata = ModelMetadata(
            architecture=UNKNOWN_ARCHITECTURE,
            classes=classes,
            preprocess_version=PREPROCESS_VERSION,
            input_shape=input_shape,
            input_range=input_range or InputRange.ONE,
        )
    elif (metadata.classes, metadata.input_shape) != (classes, input_shape):
        raise ModelError("the metadata inside the model does not fit its network")
    compiled = compile_model(keras_model, None, metadata.input_range, quantizes=quantizes)
    comparison = None
    if metadata.has_unknown_input_range:
        comparison = compare_input_ranges(keras_model, *load_known_digits())
    return Compilation(metadata, compiled, comparison)
