"""Compiled programs on disk: `DIGEST.tflite` and `DIGEST.json`, DIGEST being the SHA-256 of the `.h5`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from digitscan.errors import ModelError
from digitscan.model.metadata import ModelFacts

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM_VERSION = 2


def shipped_folder() -> Path:
    """Return the folder of the shipped models: in the package, or beside it in a source tree."""
    from pathlib import Path

    package = Path(__file__).resolve().parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def cache_folder() -> Path:
    """Return the user's own folder of compiled programs, which need not exist yet."""
    from pathlib import Path

    import platformdirs

    return Path(platformdirs.user_cache_dir("digitscan", appauthor=False)) / "programs"


def read_program(path: Path | str, digest: str) -> bytes:
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


def store_program(folder: Path, digest: str, facts: ModelFacts, program: bytes) -> tuple[Path, str]:
    """Put a program into a folder of programs; return its path and its SHA-256. Raises ModelError."""
    stem = _stem(digest, facts.input_maximum)
    program_digest = hashlib.sha256(program).hexdigest()
    record = {
        "facts": json.loads(facts.to_json()),
        "program_sha256": program_digest,
        "program_version": PROGRAM_VERSION,
    }
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder == cache_folder() and not _is_private(folder):
            raise ModelError(
                f"others may write into {folder}, so no program is kept there: make it yours alone"
            )
        write_atomically(folder / f"{stem}.tflite", program)
        # Written last: a program counts only once this file names its digest.
        text = json.dumps(record, sort_keys=True, indent=1) + "\n"
        write_atomically(folder / f"{stem}.json", text.encode("ascii"))
    except OSError as error:
        raise ModelError(
            f"the compiled model cannot be stored in {folder}: {error.strerror or error}; "
            "make that folder writable"
        ) from error
    return folder / f"{stem}.tflite", program_digest


def write_atomically(path: Path, data: bytes, before: Callable[[], object] = lambda: None) -> None:
    """Write beside, flush to the disk, call `before`, replace: never half a file under the name.

    Raises OSError.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        before()
        beside.replace(path)
        _keep_names(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _keep_names(folder: Path) -> None:
    """Make what was renamed safe against a loss of power, where the system can."""
    with contextlib.suppress(OSError, AttributeError):  # Windows opens no folder
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _is_private(folder: Path) -> bool:
    """Tell whether only this user can put programs there (where the system tells owners apart)."""
    if os.name != "posix":
        return True
    state = folder.stat()
    return state.st_uid == os.geteuid() and not state.st_mode & 0o022


def _stem(digest: str, input_maximum: float) -> str:
    return digest if input_maximum == 1.0 else f"{digest}-{input_maximum:g}"


def find_program(digest: str, input_maximum: float = 1.0) -> tuple[ModelFacts, Path, str] | None:
    """Return (facts, path, SHA-256) of the whole and undamaged program of a model, if there is one."""
    stem = _stem(digest, input_maximum)
    folders: tuple[Callable[[], Path], ...] = (lambda: shipped_folder() / "programs", cache_folder)
    # The cache is asked second: a shipped model's program is found without importing platformdirs.
    for find_folder in folders:
        folder = find_folder()
        record_path = folder / f"{stem}.json"
        try:
            if find_folder is cache_folder and not _is_private(folder):
                continue
            record = json.loads(record_path.read_bytes())
            if record["program_version"] != PROGRAM_VERSION:
                continue
            facts = ModelFacts.from_json(json.dumps(record["facts"]))
            program = record_path.with_suffix(".tflite")
            read_program(program, record["program_sha256"])
            return facts, program, record["program_sha256"]
        except (OSError, ValueError, KeyError, TypeError, ModelError):
            continue
    return None
