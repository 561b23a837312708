"""Hand files to supervised workers and return their predictions in the order of the files.

Untrusted files are never decoded in this process: a file that crashes or hangs its decoder ends one worker
and costs its own row, no other. The number of files in flight is bounded, however many there are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.prediction import ImageFile, Prediction, Status
from digitscan.scanning.config import ScanConfig
from digitscan.system.folders import join_path
from digitscan.system.resources import count_usable_cores
from digitscan.workers.protocol import (
    NO_ROW,
    ImageSetup,
    NumberSetup,
    WorkerRow,
    create_image_setup,
    create_number_setup,
    is_plain_row,
    parse_worker_row,
)
from digitscan.workers.supervisor import ProcessFactory, Task
from digitscan.workers.worker_pool import QUEUED_TASKS_PER_WORKER, WorkerPool

if TYPE_CHECKING:
    from digitscan.model.registry import Model

MAX_IN_FLIGHT = 4096
"""Files that are being read, or whose rows wait for those of an earlier file."""

_FIRST_CHUNK_SIZE = 16
_FIRST_CHUNK_BYTES = 1 << 20
"""The first chunk is small, so that the first rows come soon."""
_MIN_SHARE = 16
"""Files: a chunk is not limited to fewer, however many workers share the files."""
_TARGET_CHUNK_SECONDS = 0.2
# Another worker takes some 10 ms to start: it is worth that for so many files, bytes or seconds of work.
_MIN_FILES_FOR_WORKER = 256
_MIN_BYTES_FOR_WORKER = 4 << 20
_MIN_SECONDS_FOR_WORKER = 0.5

_FILES_PER_TAKE = 64
_MAX_BUFFERED_CHARACTERS = 1 << 23
"""The most characters in the names of all files in flight: in a deep tree each may have a million."""

_STATUSES = {status.value: status for status in Status}


def predict(
    files: Iterable[ImageFile],
    model: Model,
    config: ScanConfig,
    process_factory: ProcessFactory,
) -> Generator[Prediction, None, None]:
    """Yield one prediction for each file, in order. Takes and raises what `Scheduler` does."""
    with Scheduler(files, model, config, process_factory) as scheduler:
        for batch in scheduler.batches():
            yield from batch


class Scheduler(WorkerPool):
    """Reads files with worker processes. A context manager: leaving it ends all workers."""

    def __init__(
        self,
        files: Iterable[ImageFile],
        model: Model,
        config: ScanConfig,
        process_factory: ProcessFactory,
    ) -> None:
        """Take the files, which are consumed lazily. No worker is started yet.

        `process_factory` starts the workers, and the caller closes it.
        """
        self._config = config
        super().__init__(
            _create_setup(model, config),
            config.timeout,
            config.workers or count_usable_cores(),
            process_factory,
        )
        self._files = iter(files)
        self._model = model
        self._waiting: deque[ImageFile] = deque()
        self._files_exhausted = False
        self._chunks: deque[_Chunk] = deque()
        self._in_flight = 0
        self._characters = 0
        self._chunk_size = min(_FIRST_CHUNK_SIZE, self._config.chunk_size)
        self._seconds_per_file: float | None = None
        self._bytes_per_file = 0.0

    @property
    def worker_pids(self) -> list[int]:
        """The processes that read files now."""
        return [worker.pid for worker in self._workers]

    def batches(self) -> Iterator[list[Prediction]]:
        """Yield the predictions that are ready, in order, in lists that are each worth one write.

        Raises ModelError if the workers refuse the model, DigitscanError if no worker can be kept alive.
        """
        self._take_files()
        self._measure_first_files()
        self._start_worker()
        while True:
            self._take_files()
            self._start_more_workers()
            self._assign_tasks()
            ready = self._pop_ready_rows()
            if ready:
                yield ready
                continue
            if not self._chunks:
                return
            self._wait_for_events()
            self._replace_hanging_workers()

    def _take_files(self) -> None:
        free = MAX_IN_FLIGHT - self._in_flight - len(self._waiting)
        while free > 0 and not self._files_exhausted and self._characters < _MAX_BUFFERED_CHARACTERS:
            files = list(itertools.islice(self._files, min(free, _FILES_PER_TAKE)))
            self._files_exhausted = len(files) < min(free, _FILES_PER_TAKE)
            self._waiting.extend(files)
            self._characters += sum(len(file.name) for file in files)
            free -= len(files)

    def _measure_first_files(self) -> None:
        """Measure the bytes of the first files, whose time is not known yet.

        They decide about the size of the first chunk, and about more workers until the first rows arrive.
        """
        first_files = list(itertools.islice(self._waiting, _FIRST_CHUNK_SIZE))
        with contextlib.suppress(OSError):
            sizes = [_size_in_bytes(file) for file in first_files]
            self._bytes_per_file = sum(sizes) / max(1, len(sizes))
            files_in_bytes = int(_FIRST_CHUNK_BYTES / max(1, self._bytes_per_file))
            self._chunk_size = max(1, min(self._chunk_size, files_in_bytes))

    def _start_more_workers(self) -> None:
        """Start one more worker if the files that wait are worth its start."""
        waiting = len(self._waiting)
        if len(self._workers) >= self._max_workers or not waiting:
            return
        if self._seconds_per_file is None:
            is_much_work = waiting * self._bytes_per_file >= _MIN_BYTES_FOR_WORKER
        else:
            is_much_work = waiting * self._seconds_per_file > _MIN_SECONDS_FOR_WORKER
        if waiting >= _MIN_FILES_FOR_WORKER or is_much_work:
            self._start_worker()

    def _next_task(self) -> Task | None:
        waiting = len(self._waiting)
        size = min(self._chunk_size, waiting)
        if self._files_exhausted:  # the last files are shared evenly, so that no worker is alone at the end
            size = min(size, max(_MIN_SHARE, waiting // (2 * len(self._workers))))
        if not size:
            return None
        chunk = _Chunk([self._waiting.popleft() for _ in range(size)])
        self._chunks.append(chunk)
        self._in_flight += size
        return Task(chunk, range(size))

    def _pop_ready_rows(self) -> list[Prediction]:
        """Return the rows of all chunks that are complete and have no incomplete one before them."""
        ready: list[Prediction] = []
        while self._chunks and not self._chunks[0].missing:
            ready += filter(None, self._chunks.popleft().rows)
        self._in_flight -= len(ready)
        self._characters -= sum(len(row.path) for row in ready)
        return ready

    def _has_work(self) -> bool:
        return bool(self._chunks or self._waiting or not self._files_exhausted)

    def _list_files(self, task: Task) -> list[ImageFile]:
        return [task.chunk.files[position] for position in task.positions]

    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        for position, row in zip(task.positions, rows, strict=True):
            task.chunk.set_row(position, row)
        self._adapt_chunk_size(seconds / len(task.positions))

    def _set_error(self, task: Task, position: int, reason: str) -> None:
        task.chunk.set_row(position, WorkerRow(None, None, Status.ERROR, reason, None))

    def _adapt_chunk_size(self, seconds_per_file: float) -> None:
        """Let a chunk take a fraction of a second: slow files come out soon, fast ones in long chunks."""
        previous = self._seconds_per_file
        mean = seconds_per_file if previous is None else (previous + seconds_per_file) / 2
        self._seconds_per_file = mean
        # Each worker must find its share in what may be in flight, however many workers there are.
        share = MAX_IN_FLIGHT // (QUEUED_TASKS_PER_WORKER * self._max_workers)
        maximum = min(self._config.chunk_size, max(share, _MIN_SHARE))
        self._chunk_size = max(1, min(maximum, int(_TARGET_CHUNK_SECONDS / max(mean, 1e-6))))

    def _explain_idle_deaths(self) -> DigitscanError:
        if self._model.is_bundled or self._has_had_ready_worker:
            return super()._explain_idle_deaths()
        path = self._model.compiled_path
        is_stored = self._model.compiled_content is None
        again = f"delete its compiled form {path}, which is then made again, " if is_stored else ""
        return ModelError(
            f"the processes that read the files end while they load the model {self._model.path}: free "
            f"some memory, {again}or give another --model"
        )


class _Chunk:
    """Consecutive files and the rows that have arrived."""

    def __init__(self, files: list[ImageFile]) -> None:
        self.files = files
        self.rows: list[Prediction | None] = [None] * len(files)
        self.missing = len(files)

    def set_row(self, position: int, row: Sequence[Any]) -> None:
        """Set the row of a file from the values of a WorkerRow, which come out of JSON as a list."""
        checked = row if len(row) == 7 and is_plain_row(row) else _check_row(row)
        digit, confidence, status, note, probabilities, number, digit_confidences = checked
        file = self.files[position]
        if file.notes:
            note = "; ".join((note, *file.notes) if note else file.notes)
        ten = tuple(probabilities) if probabilities else None
        each = tuple(digit_confidences) if digit_confidences else None
        status = _STATUSES[status]
        self.rows[position] = Prediction(file.name, digit, confidence, status, note, ten, number, each)
        self.missing -= 1


def _create_setup(model: Model, config: ScanConfig) -> ImageSetup | NumberSetup:
    """Return what the workers of a scan must know."""
    limits = config.max_megapixels, config.max_pages
    if config.numbers:
        return create_number_setup(
            model, config.number_rules, config.min_confidence, config.digit_confidence, *limits
        )
    return create_image_setup(model, config.min_confidence, config.probabilities, *limits)


def _check_row(row: Sequence[Any]) -> WorkerRow:
    """Return the row, or an error: a picture that has taken over a worker may send anything."""
    try:
        return parse_worker_row(row)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return WorkerRow(None, None, Status.ERROR, NO_ROW, None)


def _size_in_bytes(file: ImageFile) -> int:
    """Return the size of a file, or of a link. Raises OSError."""
    path = join_path(file.folder, file.path) if file.folder else file.path
    return os.lstat(path).st_size  # a link may lead to a server that does not answer
