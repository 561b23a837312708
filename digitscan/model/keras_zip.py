"""Read and validate a `.keras` file, the format of Keras 3: a zip of a configuration and an HDF5 file.

What it holds goes through the same checks as an `.h5`. Keras is never given the zip itself, but a new one
that holds only what was checked.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, NamedTuple

from digitscan.errors import ModelError
from digitscan.model.config_validation import MAX_CONFIG_BYTES, parse_config, summarize_error
from digitscan.model.h5_validation import open_h5, validate_structure
from digitscan.model.metadata import MAX_MODEL_BYTES

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
# The largest sizes: what is declared larger is not decompressed.
_MAX_BYTES = {_CONFIG: MAX_CONFIG_BYTES, _METADATA: MAX_CONFIG_BYTES, _WEIGHTS: MAX_MODEL_BYTES}
# Not LZMA, for whose decompression a file can ask for gigabytes of memory.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class KerasZip(NamedTuple):
    """What a `.keras` file holds."""

    config: dict[str, Any]
    """The configuration from which Keras 3 builds the network."""
    weights: bytes
    """The content of an HDF5 file."""
    keras_version: str
    """The version of Keras that wrote the file, as it says itself; empty where it does not."""


def is_zip(data: bytes) -> bool:
    """Return whether data is a zip, perhaps a `.keras` file; no `.h5` is one."""
    return data.startswith(b"PK\x03\x04")


def read_keras_zip(data: bytes) -> KerasZip:
    """Return what a `.keras` file holds, checked.

    Raises ModelError, whose message continues "FILE is refused: ". As with an `.h5`, native code reads the
    weights: call this only in a process that may crash.
    """
    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"it has more than {MAX_MODEL_BYTES} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if _CONFIG not in members or _WEIGHTS not in members:
                raise ModelError("it is a zip file, but not a Keras model (.keras)")
            if len(archive.infolist()) > len(members) or not members.keys() <= _MAX_BYTES.keys():
                raise ModelError("it holds files that a digit model does not need")
            for name, info in members.items():
                if info.file_size > _MAX_BYTES[name]:
                    raise ModelError(f"its {name} has {info.file_size} bytes, more than {_MAX_BYTES[name]}")
                if info.compress_type not in _COMPRESSIONS:
                    raise ModelError(f"its {name} is compressed in a way that Keras does not use")
            metadata = archive.read(_METADATA) if _METADATA in members else b"{}"
            contents = KerasZip(
                parse_config(archive.read(_CONFIG)), archive.read(_WEIGHTS), _parse_keras_version(metadata)
            )
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the .keras file is broken ({summarize_error(error)})") from error
    with open_h5(contents.weights) as file:
        validate_structure(file, len(contents.weights))
    return contents


def _parse_keras_version(metadata: bytes) -> str:
    values = json.loads(metadata)
    version = values.get("keras_version") if isinstance(values, dict) else None
    return version if isinstance(version, str) else ""


def write_keras_zip(contents: KerasZip) -> bytes:
    """Return a `.keras` file that holds these contents."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(_METADATA, json.dumps({"keras_version": contents.keras_version}))
        archive.writestr(_CONFIG, json.dumps(contents.config))
        archive.writestr(_WEIGHTS, contents.weights)
    return buffer.getvalue()
