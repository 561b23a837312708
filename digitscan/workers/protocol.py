"""How a supervisor and its workers talk: frames of JSON, and a little shared memory."""

from __future__ import annotations

import json
import struct
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


Row = tuple[int | None, float | None, str, str, list[float] | None]
"""digit, confidence, status, note, probabilities: a Prediction but for its path."""


CURRENT_FILE = struct.Struct("<II")
"""The shared memory: serial number of the task, index of the file in it (their count: classifying)."""


_LENGTH = struct.Struct(">I")


_LONGEST_FRAME = 1 << 28


def write_frame(file: IO[bytes], content: Any) -> None:
    """Write one JSON value as a frame and flush it."""
    data = json.dumps(content, separators=(",", ":")).encode()
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """Return the next frame's JSON value. Raises EOFError where the stream ends, ValueError if it is none."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _LONGEST_FRAME:
        raise ValueError("no frame")
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return json.loads(data)
