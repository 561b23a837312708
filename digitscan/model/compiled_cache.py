"""The compiled models on disk: a cache of what `tflite_compiler` makes, as `.pyc` files are of Python.

Each compiled model is two files: `DIGEST.tflite`, where DIGEST is the SHA-256 of the `.h5`, and
`DIGEST.json` with the metadata, the SHA-256 of the `.tflite`, how well a model without metadata of its own
reads in each input range, and one SHA-256 of all this together. Those of the bundled models come with
digitscan; all others are in the user's cache folder, where only this user can write (see `private_files`).
Used by `registry` and `export`; the workers of a scan use `read_compiled`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.errors import ModelError
from digitscan.model.input_comparison import InputComparison
from digitscan.model.input_range import InputRange
from digitscan.model.metadata import ModelMetadata
from digitscan.model.private_files import (
    check_writable,
    explain_os_errors,
    read_private_file,
    user_cache_folder,
    write_private_file,
)
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPILER_VERSION = 3
"""Raise it when the compiler makes something else of the same `.h5`: older entries are then ignored."""


class CompiledModel(NamedTuple):
    """A compiled model, on disk if it could be stored there."""

    metadata: ModelMetadata
    path: Path
    """The `.tflite` file."""
    digest: str
    """The SHA-256 of that file, in hexadecimal."""
    content: bytes | None = None
    """The content of that file where it could not be written; else None."""
    input_comparison: InputComparison | None = None
    """How well a model without metadata of its own reads in each input range; else None."""

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with digitscan, as its `.h5` does then."""
        return self.path.parent == bundled_folder() / "programs"


def bundled_folder() -> Path:
    """Return the folder of the bundled models: in the installed package, or beside it in a source tree."""
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    installed = package / "models"
    return installed if installed.is_dir() else package.parent / "models"


def user_compiled_folder() -> Path:
    """Return the user's folder of compiled models, which need not exist. Raises ModelError without a home."""
    return user_cache_folder() / "programs"


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


def store_compiled(
    digest: str,
    metadata: ModelMetadata,
    compiled: bytes,
    folder: Path | None = None,
    input_comparison: InputComparison | None = None,
) -> CompiledModel:
    """Write a compiled model, by default into the user's cache; `digest` is the SHA-256 of its `.h5`.

    Raises ModelError where the folder cannot be written, or is a cache that other users own or can write to.
    """
    stem = _file_stem(digest, metadata.input_range)
    compiled_digest = hashlib.sha256(compiled).hexdigest()
    entry: dict[str, Any] = {  # the keys are stored names, which never change
        "facts": metadata.to_stored(),
        "program_sha256": compiled_digest,
        "program_version": COMPILER_VERSION,
    }
    if input_comparison:
        entry["input_comparison"] = input_comparison.to_stored()
    entry["entry_sha256"] = _digest_entry(stem, entry)
    text = json.dumps(entry, sort_keys=True, indent=1) + "\n"
    target = folder or user_compiled_folder()
    write: Callable[[Path, bytes], None] = write_atomic if folder else write_private_file
    with explain_os_errors("the compiled model", target, "XDG_CACHE_HOME"):
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        write(target / f"{stem}.tflite", compiled)
        # Written last: a `.tflite` without it does not count, so an interruption leaves no partial entry.
        write(target / f"{stem}.json", text.encode("ascii"))
    path = target / f"{stem}.tflite"
    return CompiledModel(metadata, path, compiled_digest, input_comparison=input_comparison)


def keep_in_memory(
    digest: str,
    metadata: ModelMetadata,
    compiled: bytes,
    input_comparison: InputComparison | None = None,
) -> CompiledModel:
    """Return a compiled model that could not be stored; `digest` is the SHA-256 of its `.h5`."""
    from pathlib import Path

    name = f"{_file_stem(digest, metadata.input_range)}.tflite"
    compiled_digest = hashlib.sha256(compiled).hexdigest()
    return CompiledModel(metadata, Path(name), compiled_digest, compiled, input_comparison)


def check_cache_writable() -> None:
    """Raise ModelError where a compiled model could not be stored in the user's cache."""
    folder = user_compiled_folder()
    with explain_os_errors("the compiled model", folder, "XDG_CACHE_HOME"):
        check_writable(folder)


def find_compiled(digest: str, input_range: InputRange = InputRange.ONE) -> CompiledModel | None:
    """Return the undamaged compiled model of the `.h5` with this SHA-256, None if there is none.

    `input_range` is the one that it was compiled for.
    """
    stem = _file_stem(digest, input_range)
    # The bundled folder first: then a scan with a bundled model need not import platformdirs.
    compiled = _load_entry(bundled_folder() / "programs", stem, is_bundled=True)
    if compiled is None:
        try:
            folder = user_compiled_folder()
        except ModelError:  # without a home folder there is no cache
            return None
        compiled = _load_entry(folder, stem, is_bundled=False)
    return compiled


def _load_entry(folder: Path, stem: str, is_bundled: bool) -> CompiledModel | None:
    """Return a compiled model, None if it is missing, damaged, of another version or not private."""
    path = folder / f"{stem}.tflite"
    try:
        if is_bundled:
            text, compiled = path.with_suffix(".json").read_bytes(), path.read_bytes()
        else:
            text, compiled = read_private_file(path.with_suffix(".json")), read_private_file(path)
        entry = json.loads(text)
        # The bundled entries of earlier versions have no digest, and need none: they are part of the program.
        has_digest = not is_bundled or "entry_sha256" in entry
        if (
            entry["program_version"] != COMPILER_VERSION
            or entry["program_sha256"] != hashlib.sha256(compiled).hexdigest()
            or (has_digest and entry["entry_sha256"] != _digest_entry(stem, entry))
        ):
            return None
        metadata = ModelMetadata.from_stored(entry["facts"])
        comparison = None
        if metadata.has_unknown_input_range:
            # Earlier versions stored none: then the model is compiled again.
            comparison = InputComparison.from_stored(entry["input_comparison"])
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
    return CompiledModel(metadata, path, entry["program_sha256"], input_comparison=comparison)


def _digest_entry(stem: str, entry: dict[str, Any]) -> str:
    """Return the SHA-256 of an entry's name and of all that it says, without that digest itself."""
    values = {name: value for name, value in entry.items() if name != "entry_sha256"}
    return hashlib.sha256(json.dumps([stem, values], sort_keys=True).encode()).hexdigest()


def _file_stem(digest: str, input_range: InputRange) -> str:
    """Return the name of an entry; an `.h5` can be compiled for several ranges of its input."""
    return f"{digest}{input_range.file_suffix}"
