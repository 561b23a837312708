"""Read a list of files with supervised workers, and wait for all of their rows.

The files may come from anybody. They are decoded as in a scan, in processes with limits on time and memory:
a file that hangs or crashes its decoder has an error in place of its row, and the others are read.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from digitscan.system.resources import count_usable_cores
from digitscan.workers.protocol import NO_ROW, FileLocation
from digitscan.workers.supervisor import ProcessFactory, Task
from digitscan.workers.worker_pool import WorkerPool

TIMEOUT_SECONDS = 30.0
"""The most time that one file may take, as in a scan."""

_MIN_FILES_FOR_WORKER = 64
"""Another worker takes a quarter of a second to start: it is worth that for so many files."""
_CHUNK_SIZE = 16
"""Files of a task."""

Row = TypeVar("Row")


def read_files(
    files: Sequence[FileLocation], setup: Mapping[str, object], parse_row: Callable[[Any], Row]
) -> list[Row | str]:
    """Return what the workers say of each file, in order: its row or, as text, why there is none.

    `setup` says what the workers do (see `protocol`). `parse_row` turns one of their rows, as JSON has it,
    into what the caller wants; it raises TypeError, ValueError, ArithmeticError or LookupError for anything
    else than a row, because a picture may have taken over the worker. Raises ModelError if the workers refuse
    the model, DigitscanError if no worker can be kept alive.
    """
    with (
        contextlib.closing(ProcessFactory()) as process_factory,
        _FileReader(files, setup, parse_row, process_factory) as reader,
    ):
        return reader.read()


class _FileReader(WorkerPool, Generic[Row]):
    """Reads files with worker processes. A context manager: leaving it ends all workers."""

    def __init__(
        self,
        files: Sequence[FileLocation],
        setup: Mapping[str, object],
        parse_row: Callable[[Any], Row],
        process_factory: ProcessFactory,
    ) -> None:
        """Take the files, and what starts the workers. No worker is started yet."""
        max_workers = min(count_usable_cores(), -(-len(files) // _MIN_FILES_FOR_WORKER))
        super().__init__(setup, TIMEOUT_SECONDS, max_workers, process_factory)
        self._files = files
        self._parse_row = parse_row
        self._rows: dict[int, Row | str] = {}
        indices = range(len(files))
        self._tasks = deque(
            Task(None, indices[start : start + _CHUNK_SIZE]) for start in indices[::_CHUNK_SIZE]
        )

    def read(self) -> list[Row | str]:
        """Return what `read_files` does."""
        while self._has_work():
            while len(self._workers) < min(self._max_workers, max(1, len(self._tasks))):
                self._start_worker()
            self._assign_tasks()
            self._wait_for_events()
            self._replace_hanging_workers()
        return [self._rows[index] for index in range(len(self._files))]

    def _has_work(self) -> bool:
        return len(self._rows) < len(self._files)

    def _next_task(self) -> Task | None:
        return self._tasks.popleft() if self._tasks else None

    def _list_files(self, task: Task) -> list[FileLocation]:
        return [self._files[index] for index in task.positions]

    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        self._rows.update(zip(task.positions, map(self._parse, rows), strict=True))

    def _set_error(self, task: Task, position: int, reason: str) -> None:
        self._rows[position] = reason

    def _parse(self, values: Any) -> Row | str:
        try:
            return self._parse_row(values)
        except (TypeError, ValueError, ArithmeticError, LookupError):
            return NO_ROW
