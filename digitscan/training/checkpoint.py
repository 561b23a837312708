"""What a training run needs to go on where it was interrupted: a file beside the model, replaced each epoch.

A NumPy archive of plain arrays and one JSON text: reading it runs no code. It is gone when the run ends.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import OutputError
from digitscan.system.files import write_atomic

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LARGEST = 1 << 30
_GROUPS = ("network", "optimizer", "best")
# What a damaged archive of arrays and JSON raises in its readers.
_DAMAGES = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Checkpoint:
    """A run after `epochs` epochs, `seconds` at work.

    `depends_on` is what must be the same to go on. `network` holds all variables of the network, those of
    random states too; `optimizer` those of Adam; `best` the weights of the epoch `best_epoch`, from 0.
    `history` has a number an epoch for each of its names.
    """

    depends_on: Mapping[str, Any]
    seconds: float
    best_epoch: int
    history: Mapping[str, list[float]]
    network: Sequence[NDArray[Any]]
    optimizer: Sequence[NDArray[Any]]
    best: Sequence[NDArray[Any]]

    @property
    def epochs(self) -> int:
        """How many were learned."""
        return len(next(iter(self.history.values())))


def checkpoint_path(output: Path) -> Path:
    """Return where the checkpoint of a run stands: `digits.h5` has `digits.h5.checkpoint.npz`."""
    return output.with_name(output.name + ".checkpoint.npz")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all. Raises OutputError."""
    import numpy as np

    arrays = {
        f"{group}{number}": array
        for group in _GROUPS
        for number, array in enumerate(getattr(checkpoint, group))
    }
    text = {name: getattr(checkpoint, name) for name in ("depends_on", "seconds", "best_epoch", "history")}
    file = io.BytesIO()
    np.savez(file, facts=np.frombuffer(json.dumps(text).encode(), np.uint8), **arrays)
    try:
        write_atomic(path, file.getvalue())
    except OSError as error:
        raise OutputError(f"the checkpoint {path} cannot be written: {error.strerror or error}") from error


def load_checkpoint(path: Path, depends_on: Mapping[str, Any]) -> Checkpoint:
    """Read the checkpoint of a run that depends on the same. Raises OutputError, saying what differs."""
    import numpy as np

    again = "begin anew with --overwrite, not --resume"
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large")
        with np.load(path, allow_pickle=False) as file:
            metadata = json.loads(file["facts"].tobytes())
            network, optimizer, best = (
                [file[f"{group}{number}"] for number in range(sum(_is_in(group, name) for name in file))]
                for group in _GROUPS
            )
        checkpoint = Checkpoint(network=network, optimizer=optimizer, best=best, **metadata)
        before = dict(checkpoint.depends_on)
        lengths = {len(values) for values in checkpoint.history.values()}
        if len(lengths) != 1 or not 0 <= checkpoint.best_epoch < min(lengths):
            raise ValueError("its epochs do not agree")
    except _DAMAGES as error:
        raise OutputError(f"the checkpoint {path} cannot be read ({error}): {again}") from None
    wanted = json.loads(json.dumps(depends_on))
    different = [name for name in {**wanted, **before} if before.get(name) != wanted.get(name)]
    if different:
        changes = ", ".join(
            f"{name} was {before.get(name)!r} and is {wanted.get(name)!r}" for name in different
        )
        raise OutputError(f"{path} is of another run: {changes[:300]}; give the same options, or {again}")
    return checkpoint


def _is_in(group: str, name: str) -> bool:
    return name.removeprefix(group).isdigit()
