"""Checkpoints: what an interrupted training run needs to continue, in a file beside the model.

The file is replaced after each epoch and removed when the run ends. It is a NumPy archive of plain arrays and
one JSON text, so that reading it runs no code.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digitscan.errors import ImageError, OutputError
from digitscan.system.files import open_regular_file, write_atomic
from digitscan.system.signals import defer_signals
from digitscan.training.npz_file import NpzError, NpzFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHECKPOINT_BYTES = 1 << 30
START_AGAIN = "start again with --overwrite, not --resume"

_ARRAY_FIELDS = ("variables", "optimizer_variables", "best_weights")
_JSON_FIELDS = ("depends_on", "seconds", "best_epoch", "history")
# The array that holds the JSON text.
_JSON_ARRAY = "facts"
HISTORY_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run after an epoch."""

    depends_on: Mapping[str, Any]
    """What determines the weights: a run with other values cannot continue from here."""
    seconds: float
    """The time spent in training so far."""
    best_epoch: int
    """The epoch, counted from 0, with the best validation accuracy so far."""
    history: Mapping[str, list[float]]
    """`loss`, `accuracy`, `val_loss` and `val_accuracy`: one value for each epoch so far."""
    variables: Sequence[NDArray[Any]]
    """All variables of the network, also the states of its random generators (dropout)."""
    optimizer_variables: Sequence[NDArray[Any]]
    """All variables of the optimizer."""
    best_weights: Sequence[NDArray[Any]]
    """The weights of the network after the best epoch."""

    @property
    def epoch_count(self) -> int:
        """The number of epochs so far."""
        return len(next(iter(self.history.values())))


class CheckpointFile:
    """The checkpoint of one training run: read when the run is resumed, replaced after each of its epochs."""

    def __init__(self, path: Path, depends_on: Mapping[str, Any], resume: bool) -> None:
        """Read the checkpoint of an earlier, interrupted run if there is one and `resume` is true.

        `depends_on` is what determines the weights of this run. Raises OutputError where the checkpoint is
        damaged or belongs to a run with other values.
        """
        self._path, self._depends_on = path, depends_on
        self.previous = load_checkpoint(path, depends_on) if resume and os.path.lexists(path) else None
        self.is_resumable = self.previous is not None

    @property
    def first_epoch(self) -> int:
        """The epoch to start with, counted from 0."""
        return self.previous.epoch_count if self.previous else 0

    @property
    def previous_seconds(self) -> float:
        """The time that the interrupted run had spent in training."""
        return self.previous.seconds if self.previous else 0.0

    def restore(self, keras_model: Any) -> None:
        """Set a new network and its optimizer to the state of the checkpoint, if there is one.

        Raises OutputError where the checkpoint does not fit the network.
        """
        if self.previous is None:
            return
        keras_model.optimizer.build(keras_model.trainable_variables)
        variables = [*keras_model.variables, *keras_model.optimizer.variables]
        values = [*self.previous.variables, *self.previous.optimizer_variables]
        if not (_fit(values, variables) and _fit(self.previous.best_weights, keras_model.weights)):
            raise OutputError(f"the checkpoint {self._path} is damaged: {START_AGAIN}")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def save(
        self,
        keras_model: Any,
        history: Mapping[str, list[float]],
        best_weights: Sequence[NDArray[Any]],
        best_epoch: int,
        seconds: float,
    ) -> None:
        """Replace the checkpoint by the present state of the run. Raises OutputError."""
        checkpoint = Checkpoint(
            depends_on=self._depends_on,
            seconds=seconds,
            best_epoch=best_epoch,
            history=history,
            variables=[variable.numpy() for variable in keras_model.variables],
            optimizer_variables=[variable.numpy() for variable in keras_model.optimizer.variables],
            best_weights=best_weights,
        )
        with defer_signals():  # a run that is stopped now must know that there is a checkpoint
            save_checkpoint(self._path, checkpoint)
            self.is_resumable = True

    def remove(self) -> None:
        """Delete the file: the run has ended, and its model is saved. Raises OutputError."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"the model is saved, but its checkpoint {self._path} cannot be deleted: "
                f"{error.strerror or error}; delete it yourself"
            ) from error


def _fit(values: Sequence[NDArray[Any]], variables: Sequence[Any]) -> bool:
    """Return whether values have the shapes and types of Keras variables."""
    return [(value.shape, value.dtype.name) for value in values] == [
        (tuple(variable.shape), variable.dtype) for variable in variables
    ]


def checkpoint_path(output: Path) -> Path:
    """Return the path of a model's checkpoint: `digits.h5.checkpoint.npz` for `digits.h5`."""
    return output.with_name(output.name + ".checkpoint.npz")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file is replaced as a whole or not at all. Raises OutputError."""
    import numpy as np

    arrays = {
        f"{field}{index}": array
        for field in _ARRAY_FIELDS
        for index, array in enumerate(getattr(checkpoint, field))
    }
    values = {field: getattr(checkpoint, field) for field in _JSON_FIELDS}
    arrays[_JSON_ARRAY] = np.frombuffer(json.dumps(values).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    try:
        write_atomic(path, file.getvalue())
    except OSError as error:
        raise OutputError(f"the checkpoint {path} cannot be written: {error.strerror or error}") from error


def load_checkpoint(path: Path, depends_on: Mapping[str, Any]) -> Checkpoint:
    """Return the checkpoint in a file, if it belongs to a run with the same `depends_on`.

    Raises OutputError where it cannot be read, or with the values that differ.
    """
    try:
        checkpoint = _read_checkpoint(path)
        previous = dict(checkpoint.depends_on)
    except OSError as error:
        raise OutputError(
            f"the checkpoint {path} cannot be read ({error.strerror or error}): {START_AGAIN}"
        ) from None
    # What Python's JSON parser and a forged text raise.
    except (ImageError, NpzError, ValueError, TypeError, RecursionError) as error:
        raise OutputError(f"the checkpoint {path} cannot be read ({error}): {START_AGAIN}") from None
    current = json.loads(json.dumps(depends_on))  # as JSON returns it: lists for tuples
    changes = ", ".join(
        f"{name} was {previous.get(name)!r} and is {current.get(name)!r}"
        for name in {**current, **previous}
        if previous.get(name) != current.get(name)
    )
    if changes:
        raise OutputError(
            f"{path} belongs to another run: {changes[:300]}; give the same options, or {START_AGAIN}"
        )
    return checkpoint


def _read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file. Raises one of the errors that `load_checkpoint` catches."""
    with io.BufferedReader(open_regular_file(os.fspath(path))) as file:
        npz_file = NpzFile(file)
        if npz_file.unpacked_bytes > MAX_CHECKPOINT_BYTES:
            raise ValueError("too large")
        values = json.loads(npz_file.read(_JSON_ARRAY).tobytes())
        arrays: dict[str, Any] = {
            field: [npz_file.read(f"{field}{index}") for index in range(_count_arrays(npz_file.names, field))]
            for field in _ARRAY_FIELDS
        }
    checkpoint = Checkpoint(**arrays, **values)
    _check_values(checkpoint)
    return checkpoint


def _check_values(checkpoint: Checkpoint) -> None:
    """Raise ValueError or TypeError where a value is not what a training run has written."""
    import numpy as np

    columns = [checkpoint.history[name] for name in HISTORY_COLUMNS if name in checkpoint.history]
    if len(columns) != len(checkpoint.history) or len(columns) != len(HISTORY_COLUMNS):
        raise ValueError("its history has other columns")
    if not all(map(_is_number, [checkpoint.seconds, *(value for column in columns for value in column)])):
        raise ValueError("its history or its time is not made of numbers")
    epoch_counts = {len(column) for column in columns}
    best_epoch = checkpoint.best_epoch
    if len(epoch_counts) != 1 or type(best_epoch) is not int or not 0 <= best_epoch < min(epoch_counts):
        raise ValueError("its epochs do not agree")
    for array in (array for field in _ARRAY_FIELDS for array in getattr(checkpoint, field)):
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError("its weights are not numbers")


def _is_number(value: object) -> bool:
    """Return whether a value of a JSON text is a finite number; integers may have any length there."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300


def _count_arrays(names: Iterable[str], field: str) -> int:
    """Return how many of the array names belong to a field: the field's name and a number."""
    return sum(name.startswith(field) and name.removeprefix(field).isdigit() for name in names)
