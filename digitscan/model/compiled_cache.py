"""Compiled programs on disk: `DIGEST.tflite` and `DIGEST.json`, DIGEST being the SHA-256 of the `.h5`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelMetadata

if TYPE_CHECKING:
    from pathlib import Path
from digitscan.system.files import write_atomic

PROGRAM_VERSION = 2


def bundled_folder() -> Path:
    """Return the folder of the shipped models: in the package, or beside it in a source tree."""
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def user_cache_folder() -> Path:
    """Return the user's own folder of compiled programs, which need not exist yet."""
    from pathlib import Path

    import platformdirs

    return Path(platformdirs.user_cache_dir("digitscan", appauthor=False)) / "programs"


def read_compiled(path: Path | str, digest: str) -> bytes:
    """Return a program's bytes. Raises ModelError where they are not those of the SHA-256 `digest`."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # what reads files loads no pathlib, which takes its time
            program = file.read()
    except OSError as error:
        raise ModelError(f"the program {path} cannot be read: {error.strerror or error}") from error
    # A damaged program can crash the interpreter, so it is never run.
    if hashlib.sha256(program).hexdigest() != digest:
        raise ModelError(f"the program {path} is damaged: delete it, and it will be compiled again")
    return program


def store_compiled(folder: Path, digest: str, metadata: ModelMetadata, program: bytes) -> tuple[Path, str]:
    """Put a program into a folder of programs; return its path and its SHA-256. Raises ModelError."""
    stem = _stem(digest, metadata.input_maximum)
    compiled_digest = hashlib.sha256(program).hexdigest()
    record = {
        "facts": json.loads(metadata.to_json()),
        "program_sha256": compiled_digest,
        "program_version": PROGRAM_VERSION,
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder == user_cache_folder() and not _is_private(folder):
            raise ModelError(
                f"others may write into {folder}, so no program is kept there: make it yours alone"
            )
        write_atomic(folder / f"{stem}.tflite", program)
        # Written last: a program counts only once this file names its digest.
        text = json.dumps(record, sort_keys=True, indent=1) + "\n"
        write_atomic(folder / f"{stem}.json", text.encode("ascii"))
    except OSError as error:
        raise ModelError(
            f"the compiled model cannot be stored in {folder}: {error.strerror or error}; "
            "make that folder writable"
        ) from error
    return folder / f"{stem}.tflite", compiled_digest


def _is_private(folder: Path) -> bool:
    """Tell whether only this user can put programs there (where the system tells owners apart)."""
    if os.name != "posix":
        return True
    state = folder.stat()
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def _stem(digest: str, input_maximum: float) -> str:
    return digest if input_maximum == 1.0 else f"{digest}-{input_maximum:g}"


def find_compiled(digest: str, input_maximum: float = 1.0) -> tuple[ModelMetadata, Path, str] | None:
    """Return (facts, path, SHA-256) of the whole and undamaged program of a model, if there is one."""
    stem = _stem(digest, input_maximum)
    folders: tuple[Callable[[], Path], ...] = (lambda: bundled_folder() / "programs", user_cache_folder)
    # The cache is asked second: a shipped model's program is found without importing platformdirs.
    for find_folder in folders:
        folder = find_folder()
        manifest_path = folder / f"{stem}.json"
        try:
            if find_folder is user_cache_folder and not _is_private(folder):
                continue
            record = json.loads(manifest_path.read_bytes())
            if record["program_version"] != PROGRAM_VERSION:
                continue
            metadata = ModelMetadata.from_json(json.dumps(record["facts"]))
            program = manifest_path.with_suffix(".tflite")
            read_compiled(program, record["program_sha256"])
            return metadata, program, record["program_sha256"]
        except (OSError, ValueError, KeyError, TypeError, ModelError):
            continue
    return None
