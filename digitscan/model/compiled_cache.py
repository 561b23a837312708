"""The compiled models on disk: a cache of what `tflite_compiler` makes, as `.pyc` files are of Python.

Each compiled model is two files: `DIGEST.tflite`, where DIGEST is the SHA-256 of the `.h5`, and
`DIGEST.json` with the metadata and the SHA-256 of the `.tflite`. Those of the bundled models come with
digitscan; all others are in the user's cache folder. Used by `registry` and `export`; the workers of a scan
use `read_compiled`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelMetadata
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

COMPILER_VERSION = 2
"""Raise it when the compiler makes something else of the same `.h5`: older entries are then ignored."""


class CompiledModel(NamedTuple):
    """A compiled model on disk."""

    metadata: ModelMetadata
    path: Path
    """The `.tflite` file."""
    digest: str
    """The SHA-256 of that file, in hexadecimal."""


def bundled_folder() -> Path:
    """Return the folder of the bundled models: in the installed package, or beside it in a source tree."""
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_cache_folder() -> Path:
    """Return the user's own folder of compiled models, which need not exist yet."""
    from pathlib import Path

    import platformdirs

    return Path(platformdirs.user_cache_dir("digitscan", appauthor=False)) / "programs"


def read_compiled(path: Path | str, digest: str) -> bytes:
    """Return the bytes of a compiled model. Raises ModelError where their SHA-256 is not `digest`.

    A damaged file must never be run: it can crash the interpreter, which is native code.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a worker does not import pathlib, to start sooner
            compiled = file.read()
    except OSError as error:
        raise ModelError(f"the compiled model {path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(compiled).hexdigest() != digest:
        raise ModelError(f"the compiled model {path} is damaged: delete it, and it will be compiled again")
    return compiled


def store_compiled(folder: Path, digest: str, metadata: ModelMetadata, compiled: bytes) -> CompiledModel:
    """Write a compiled model into a folder; `digest` is the SHA-256 of its `.h5`.

    Raises ModelError where the folder cannot be written, or is a cache that other users can write to.
    """
    stem = _file_stem(digest, metadata.input_maximum)
    compiled_digest = hashlib.sha256(compiled).hexdigest()
    entry = {  # the keys are stored names, which never change
        "facts": json.loads(metadata.to_json()),
        "program_sha256": compiled_digest,
        "program_version": COMPILER_VERSION,
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder == user_cache_folder() and not _is_private(folder):
            raise ModelError(
                f"other users can write to {folder}, so no compiled model is stored there: "
                "take away their permission"
            )
        write_atomic(folder / f"{stem}.tflite", compiled)
        # Written last: a `.tflite` without it does not count, so an interruption leaves no partial entry.
        text = json.dumps(entry, sort_keys=True, indent=1) + "\n"
        write_atomic(folder / f"{stem}.json", text.encode("ascii"))
    except OSError as error:
        raise ModelError(
            f"the compiled model cannot be stored in {folder}: {error.strerror or error}; "
            "make that folder writable"
        ) from error
    return CompiledModel(metadata, folder / f"{stem}.tflite", compiled_digest)


def find_compiled(digest: str, input_maximum: float = 1.0) -> CompiledModel | None:
    """Return the undamaged compiled model of the `.h5` with this SHA-256, None if there is none.

    `input_maximum` is the one that it was compiled for.
    """
    stem = _file_stem(digest, input_maximum)
    # The bundled folder first: then a scan with a bundled model need not import platformdirs.
    compiled = _load_entry(bundled_folder() / "programs", stem)
    if compiled is None:
        folder = user_cache_folder()
        with contextlib.suppress(OSError):  # the cache folder does not exist yet
            if _is_private(folder):
                compiled = _load_entry(folder, stem)
    return compiled


def _load_entry(folder: Path, stem: str) -> CompiledModel | None:
    """Return a compiled model, None if it is missing, damaged or of another compiler version."""
    try:
        entry = json.loads((folder / f"{stem}.json").read_bytes())
        if entry["program_version"] != COMPILER_VERSION:
            return None
        metadata = ModelMetadata.from_json(json.dumps(entry["facts"]))
        path, compiled_digest = folder / f"{stem}.tflite", entry["program_sha256"]
        read_compiled(path, compiled_digest)
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
    return CompiledModel(metadata, path, compiled_digest)


def _file_stem(digest: str, input_maximum: float) -> str:
    """Return the name of an entry; an `.h5` can be compiled for inputs of 0..1 and of 0..255."""
    return digest if input_maximum == 1.0 else f"{digest}-{input_maximum:g}"


def _is_private(folder: Path) -> bool:
    """Tell whether only this user can write to a folder; where the system has no such owners, always.

    Whoever can write to the cache could put a compiled model there, which is run unchecked.
    """
    if os.name != "posix":
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022
