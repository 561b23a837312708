"""Models as the scanner sees them: the facts, the file, its compiled program.

A model is one `.h5` file. Its program, the same network compiled for LiteRT, is a cache that stands
apart from it (`DIGEST.tflite` with `DIGEST.json`, named by the SHA-256 of the `.h5`). While the program
is there, opening a model needs `hashlib` and `json` only; what loads Keras lives in `h5` and `program`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from digitscan.errors import ModelError, UsageError
from digitscan.model.compiled_cache import (
    bundled_folder,
    find_compiled,
    read_compiled,
    store_compiled,
    user_cache_folder,
)
from digitscan.model.metadata import FAST_CNN, UNKNOWN_ARCHITECTURE, ModelMetadata

__all__ = [
    "Model",
    "ModelMetadata",
    "ResolvedModel",
    "bundled_folder",
    "load_bundled_models",
    "load_model",
    "read_compiled",
    "read_model_file",
    "resolve_model",
    "user_cache_folder",
]

BUNDLED_MODELS = ("cnn", "mlp", "cnn-fast")
DEFAULT_MODEL = Path("models/digits.h5")
MAX_MODEL_BYTES = 256 * 1024 * 1024
COMPILE_SECONDS = 300

# -P and append: a `json.py` planted in the current folder must not be imported in place of the real one.
_CHILD = "import sys; sys.path.append(sys.argv[1]); from digitscan.model.compile_worker import main; main()"


@dataclass(frozen=True)
class Model:
    """A model ready to be used: the `.h5`, what is known about it, and its compiled program."""

    path: Path
    name: str
    digest: str
    metadata: ModelMetadata
    compiled_path: Path
    compiled_digest: str
    fast_model: Model | None = None
    """One that answers in its place where it is sure."""


@dataclass(frozen=True)
class ResolvedModel:
    """Which file answers to what the user named; `notice` is a line for stderr, or empty."""

    path: Path
    name: str
    notice: str = ""


def resolve_model(named: str | Path | None = None) -> ResolvedModel:
    """Say which file is meant by a shipped model's name, a path or (None) by nothing at all.

    With None it is `models/digits.h5` of the current folder if this user made it or once named it (its
    program is in the user's cache), else the shipped `cnn`. Raises ModelError where the file is missing.
    """
    notice = ""
    if named is None:
        if os.path.isfile(DEFAULT_MODEL):
            if _is_known(DEFAULT_MODEL):
                return ResolvedModel(DEFAULT_MODEL, str(DEFAULT_MODEL))
            notice = (
                f"{DEFAULT_MODEL} is not used, because it was not made here: "
                f"if you trust it, name it once with --model {DEFAULT_MODEL}"
            )
        named = BUNDLED_MODELS[0]
    if str(named) in BUNDLED_MODELS:
        path = bundled_folder() / f"{named}.h5"
        if not path.is_file():
            raise ModelError(f"the shipped model {named!r} is missing at {path}: install digitscan again")
        return ResolvedModel(path, str(named), notice)
    path = Path(named)
    if not os.path.isfile(path):
        what = "is a folder, not a .h5 file" if os.path.isdir(path) else "does not exist"
        shipped = " or ".join(BUNDLED_MODELS)
        raise ModelError(f"the model {str(named)!r} {what}: give the path of a .h5 file, or {shipped}")
    return ResolvedModel(path, str(named))


def load_model(
    named: str | Path | None = None,
    *,
    input_maximum: float | None = None,
    sha256: str | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> Model:
    """Find a model and its program; compile the program, once, where there is none.

    `named` is as for `resolve_model`. `input_maximum` (1.0 or 255.0) tells what a stranger's model takes
    for full ink. `sha256` pins the file. `say` receives lines for the user (stderr). A model that is not
    digitscan's own is checked before anything in it is built, in a process of its own, so that
    nothing in it can end this one. Raises ModelError (missing, broken, refused) or UsageError.
    """
    resolved = resolve_model(named)
    if resolved.notice:
        say(resolved.notice)
    data = read_model_file(resolved.path)
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256.strip().lower():
        raise ModelError(f"{resolved.path} is not the pinned model: its SHA-256 is {digest}")
    found = find_compiled(digest, 1.0 if input_maximum is None else input_maximum)
    if found is None and input_maximum is not None:
        found = find_compiled(digest, 1.0)
        if found is not None and found[0].architecture == UNKNOWN_ARCHITECTURE:
            found = None
    if found is None:
        say(f"compiling {resolved.path} for this computer, once (some seconds)")
        metadata, program = _compile_in_child(resolved.path, data, input_maximum)
        path, compiled_digest = store_compiled(user_cache_folder(), digest, metadata, program)
    else:
        metadata, path, compiled_digest = found
    if input_maximum is not None and metadata.input_maximum != input_maximum:
        raise UsageError(
            f"{resolved.path} says itself that its input is 0..{metadata.input_maximum:g}: "
            "--input-range is for models that digitscan did not make, leave it out"
        )
    return Model(
        resolved.path, resolved.name, digest, metadata, path, compiled_digest, _fast_model_for(digest, say)
    )


def _fast_model_for(digest: str, say: Callable[[str], object]) -> Model | None:
    """Return the shipped quick model, if it is this one that it may answer for."""
    path = bundled_folder() / f"{FAST_CNN}.h5"
    if not path.is_file() or hashlib.sha256(read_model_file(path)).hexdigest() == digest:
        return None
    fast = load_model(FAST_CNN, say=say)
    return fast if fast.metadata.cascade_target == digest else None


def load_bundled_models() -> list[Model]:
    """Return the shipped models, those that are there, without loading any of them."""
    folder = bundled_folder()
    return [load_model(name) for name in BUNDLED_MODELS if (folder / f"{name}.h5").is_file()]


def read_model_file(path: Path) -> bytes:
    """Return the whole file. Raises ModelError where it cannot be read or is too big."""
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"{path} has {size} bytes: models of more than {MAX_MODEL_BYTES} are refused")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model {path} cannot be read: {error.strerror or error}") from error


def _is_known(path: Path) -> bool:
    # A file that nobody asked for, and that cannot be read, must not stop a scan.
    with contextlib.suppress(ModelError):
        digest = hashlib.sha256(read_model_file(path)).hexdigest()
        return bool(find_compiled(digest, 1.0) or find_compiled(digest, 255.0))
    return False


def _compile_in_child(path: Path, data: bytes, input_maximum: float | None) -> tuple[ModelMetadata, bytes]:
    import subprocess

    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() not in ("", "0", "false"):
        raise ModelError(
            "TF_USE_LEGACY_KERAS is set, and old Keras runs code out of model files: unset it, then try again"
        )
    environment = dict(os.environ) | {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    request = json.dumps({"input_maximum": input_maximum}).encode() + b"\n"
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, str(Path(__file__).resolve().parents[2])],
            input=request + data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=COMPILE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} is refused: compiling it took over {COMPILE_SECONDS} seconds") from error
    head, _, program = child.stdout.partition(b"\n")
    if child.returncode != 0 or not head:
        raise ModelError(f"{path} is broken: the process that checked it ended with {child.returncode}")
    answer = json.loads(head)
    if "refused" in answer:
        raise ModelError(f"{path} is refused: {answer['refused']}")
    if "failed" in answer:
        raise ModelError(f"{path} could not be compiled ({answer['failed']}): is TensorFlow whole here?")
    return ModelMetadata.from_json(json.dumps(answer["facts"])), program
