"""The protocol between a supervisor and its worker processes.

Messages are frames on the worker's stdin and stdout: 4 bytes of length, big-endian, then one JSON value. JSON
and not pickle, because a picture that takes over its decoder must not be able to run code in the supervisor:
all that a worker can send is rows.

    supervisor -> worker   a WorkerSetup, once; then tasks [serial, [path, ...]]
    worker -> supervisor   {"ready": pid} or {"refused": message}; then for each task
                           {"serial": serial, "seconds": seconds, "rows": [WorkerRow, ...]}

The file that a worker is reading is noted in shared memory, so that the supervisor still knows it when the
worker has crashed.
"""

from __future__ import annotations

import json
import struct
from typing import IO, Any, NamedTuple, TypedDict

CURRENT_FILE = struct.Struct("<II")
"""The shared memory: the serial number of the task, and the index of the file in it.

An index equal to the number of files says that the worker works on all of them together.
"""

_LENGTH = struct.Struct(">I")
_MAX_FRAME_BYTES = 1 << 28


class WorkerRow(NamedTuple):
    """One row as a worker sends it: a Prediction without its path."""

    digit: int | None
    confidence: float | None
    status: str
    note: str
    probabilities: list[float] | None


class ModelSetup(TypedDict):
    """A model as a worker loads it."""

    compiled_path: str
    compiled_digest: str
    metadata: str
    """As JSON."""


class WorkerSetup(TypedDict):
    """All that a worker must know before its first task."""

    model: ModelSetup
    fast_model: ModelSetup | None
    min_confidence: float | None
    probabilities: bool
    max_megapixels: float
    shared_path: str | None
    """The file to map as shared memory; None for a forked worker, which has that already."""


def write_frame(file: IO[bytes], content: Any) -> None:
    """Write one JSON value as a frame and flush it. Raises OSError."""
    data = json.dumps(content, separators=(",", ":")).encode()
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """Return the JSON value of the next frame.

    Raises EOFError at the end of the stream, ValueError for something that is no frame.
    """
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _MAX_FRAME_BYTES:
        raise ValueError("not a frame: it is longer than any of ours")
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return json.loads(data)
