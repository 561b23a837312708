"""Files in, predictions out, in the same order, over supervised worker processes.

Decoding never happens in this process: a file that crashes or hangs a decoder ends one worker and
costs its own row, no other. The number of files held is bounded, however many there are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ModelError
from digitscan.prediction import ImageFile, Prediction, Status
from digitscan.system.resources import usable_cores
from digitscan.workers.supervisor import Event, ProcessFactory, Task, Worker

if TYPE_CHECKING:
    from digitscan.model.registry import Model

MAX_READ_AHEAD = 4096
"""Files whose rows may wait for an earlier one that takes long."""

_LOOK_AHEAD = 4096
_MANY_FILES = 256
_MANY_BYTES = 4 << 20
_FIRST_BYTES = 1 << 20
_FIRST_CHUNK = 16
_CHUNK_SECONDS = 0.2
_WORTH_ANOTHER_WORKER = 0.5
_QUEUED_PER_WORKER = 2
_START_SECONDS = 120.0
_IDLE_DEATHS_IN_A_ROW = 5


@dataclass(frozen=True)
class ScanOptions:
    """How to scan. None of them but the first two changes a row of a readable file.

    timeout: seconds one file may take. workers: at most so many processes (None: the usable cores).
    worker_command: what to start as a worker instead of `digitscan.workers.worker`.
    """

    min_confidence: float | None = None
    probabilities: bool = False
    max_megapixels: float = 64.0
    timeout: float = 30.0
    workers: int | None = None
    batch_size: int = 512
    worker_command: tuple[str, ...] | None = None


def scan(
    files: Iterable[ImageFile], model: Model, options: ScanOptions | None = None
) -> Generator[Prediction, None, None]:
    """Yield one prediction for every file, in order. See `predict_in_batches`."""
    with contextlib.closing(predict_in_batches(files, model, options)) as batches:
        for rows in batches:
            yield from rows


def predict_in_batches(
    files: Iterable[ImageFile], model: Model, options: ScanOptions | None = None
) -> Generator[list[Prediction], None, None]:
    """Yield the predictions that are ready, in order, as lists that are worth one write.

    `files` is consumed lazily. Raises ModelError if the workers refuse the model, DigitscanError if
    none can be kept alive. Closing the iterator ends all workers.
    """
    run = Scheduler(files, model, options or ScanOptions())
    try:
        yield from run.batches()
    finally:
        run.close()


class Chunk:
    """Consecutive files and their rows so far."""

    def __init__(self, files: list[ImageFile]) -> None:
        """Begin with no rows."""
        self.files = files
        self.rows: list[Prediction | None] = [None] * len(files)
        self.left = len(files)

    def put(self, position: int, row: Any) -> None:
        """Set the row of the file at a position."""
        digit, confidence, status, note, probabilities = row
        file = self.files[position]
        if file.notes:
            note = "; ".join((note, *file.notes) if note else file.notes)
        ten = tuple(probabilities) if probabilities else None
        self.rows[position] = Prediction(file.name, digit, confidence, _STATUS[status], note, ten)
        self.left -= 1

    def fail(self, position: int, reason: str) -> None:
        """Give the file at a position an error row."""
        self.put(position, (None, None, Status.ERROR, reason, None))


def _as_setup(model: Model) -> dict[str, str]:
    return {
        "compiled_path": str(model.compiled_path),
        "compiled_digest": model.compiled_digest,
        "metadata": model.metadata.to_json(),
    }


_STATUS = {status.value: status for status in Status}


class Scheduler:
    """Hands files to workers and collects rows in order."""

    def __init__(self, files: Iterable[ImageFile], model: Model, options: ScanOptions) -> None:
        """Begin; no process is started yet."""
        self._files = iter(files)
        self._options = options
        self._setup = {
            "model": _as_setup(model),
            "fast_model": _as_setup(model.fast_model) if model.fast_model else None,
            "min_confidence": options.min_confidence,
            "probabilities": options.probabilities,
            "max_megapixels": options.max_megapixels,
        }
        self._process_factory = ProcessFactory(options.worker_command)
        self._most_workers = options.workers or usable_cores()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._workers: list[Worker] = []
        self._ahead: deque[ImageFile] = deque()
        self._exhausted = False
        self._order: deque[Chunk] = deque()
        self._held = 0
        self._again: deque[Task] = deque()
        self._chunk_size = min(_FIRST_CHUNK, options.batch_size)
        self._seconds_per_file: float | None = None
        self._bytes_per_file = 0.0
        self._idle_deaths = 0

    def batches(self) -> Iterator[list[Prediction]]:
        """Yield the rows that are ready, in order."""
        self._look_ahead()
        self._look_at_sizes()
        self._start_worker()
        while True:
            self._look_ahead()
            self._start_more_workers()
            self._hand_out()
            ready = self._ready_rows()
            if ready:
                yield ready
                continue
            if not self._order:
                return
            self._wait()
            self._watch_the_clock()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:  # together, since each takes its time
            worker.wait()
        self._process_factory.close()

    def _start_worker(self) -> None:
        try:
            self._workers.append(Worker(self._process_factory, self._setup, self._events))
        except OSError as error:
            if not self._workers:
                raise DigitscanError(
                    f"No process to read the files can be started: {error}. "
                    "Free what it is short of (memory, processes, open files), then try again."
                ) from error
            self._most_workers = len(self._workers)

    def _look_ahead(self) -> None:
        wanted = min(_LOOK_AHEAD, MAX_READ_AHEAD - self._held) - len(self._ahead)
        if wanted > 0 and not self._exhausted:
            more = list(itertools.islice(self._files, wanted))
            self._exhausted = len(more) < wanted
            self._ahead.extend(more)

    def _start_more_workers(self) -> None:
        waiting = len(self._ahead)
        if len(self._workers) >= self._most_workers or not waiting:
            return
        if self._seconds_per_file is None:
            worth = waiting >= _MANY_FILES or waiting * self._bytes_per_file >= _MANY_BYTES
        else:
            worth = waiting >= _MANY_FILES or waiting * self._seconds_per_file > _WORTH_ANOTHER_WORKER
        if worth:
            self._start_worker()

    def _look_at_sizes(self) -> None:
        """Guess by the first files' sizes how long a file takes, until the first rows tell."""
        looked_at = list(itertools.islice(self._ahead, _FIRST_CHUNK))
        with contextlib.suppress(OSError):
            sizes = [os.stat(file.path).st_size for file in looked_at]  # noqa: PTH116  # no path objects
            self._bytes_per_file = sum(sizes) / max(1, len(sizes))
            self._chunk_size = max(1, min(self._chunk_size, int(_FIRST_BYTES / max(1, self._bytes_per_file))))

    def _hand_out(self) -> None:
        # Those with fewest tasks first, so that a short queue is shared and not hoarded by one.
        for depth in range(_QUEUED_PER_WORKER):
            for worker in self._workers:
                if len(worker.tasks) <= depth and (task := self._next_task()):
                    worker.give(task, [task.chunk.files[position].path for position in task.positions])

    def _next_task(self) -> Task | None:
        if self._again:
            return self._again.popleft()
        size = min(self._chunk_size, len(self._ahead))
        if self._exhausted:  # shared out evenly, so that none works on alone at the end
            size = min(size, max(_FIRST_CHUNK, len(self._ahead) // (2 * len(self._workers))))
            size = min(size, len(self._ahead))
        if not size:
            return None
        chunk = Chunk([self._ahead.popleft() for _ in range(size)])
        self._order.append(chunk)
        self._held += size
        return Task(chunk, range(size))

    def _ready_rows(self) -> list[Prediction]:
        ready: list[Prediction] = []
        while self._order and not self._order[0].left:
            ready.extend(row for row in self._order.popleft().rows if row is not None)
        self._held -= len(ready)
        return ready

    def _wait(self) -> None:
        try:
            event = self._events.get(timeout=0.1)
            while True:
                self._handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            pass

    def _handle(self, event: Event) -> None:
        worker, frame = event.worker, event.frame
        if worker not in self._workers:
            return
        if frame is None:
            self._replace(worker, timed_out=False)
        elif "refused" in frame:
            raise ModelError(frame["refused"])
        elif "ready" in frame:
            worker.ready = True
        else:
            task = worker.tasks.pop(frame["serial"])
            for position, row in zip(task.positions, frame["rows"], strict=True):
                task.chunk.put(position, row)
            self._idle_deaths = 0
            self._adapt(frame["seconds"] / len(task.positions))

    def _adapt(self, seconds: float) -> None:
        """Let a chunk take a fraction of a second: slow files come out soon, fast ones in full batches."""
        mean = seconds if self._seconds_per_file is None else (self._seconds_per_file + seconds) / 2
        self._seconds_per_file = mean
        # Each process finds its share in what may be held at a time, however many there are.
        share = MAX_READ_AHEAD // (_QUEUED_PER_WORKER * self._most_workers)
        most = min(self._options.batch_size, max(share, _FIRST_CHUNK))
        self._chunk_size = max(1, min(most, int(_CHUNK_SECONDS / max(mean, 1e-6))))

    def _watch_the_clock(self) -> None:
        for worker in list(self._workers):
            task, index = worker.in_hand()
            reading = task is not None and index < len(task.positions)
            if worker.seconds_on_current_file() > (self._options.timeout if reading else _START_SECONDS):
                self._replace(worker, timed_out=reading)

    def _replace(self, worker: Worker, timed_out: bool) -> None:
        """End a worker that hangs or is gone, settle or repeat what it had in hand, start another."""
        worker.kill()
        worker.wait()
        self._workers.remove(worker)
        begun, index = worker.in_hand()
        # Deaths with a file in hand end by themselves: two a file. Those before any could go on for ever.
        self._idle_deaths += begun is None
        again: list[Task] = []
        for task in worker.tasks.values():
            again += self._settle(task, index, timed_out) if task is begun else [task]
        self._again.extendleft(reversed(again))
        if self._idle_deaths > _IDLE_DEATHS_IN_A_ROW:
            raise DigitscanError(
                "The processes that read the files end as soon as they start. "
                "Free some memory, or install digitscan again."
            )
        if self._order or self._ahead or not self._exhausted:
            self._start_worker()

    def _settle(self, task: Task, index: int, timed_out: bool) -> list[Task]:
        """Return what to read again of the task that was begun; its file in hand may get its row now."""
        count = len(task.positions)
        if index >= count:
            # It died while classifying: halves, until the one that does it is alone.
            if count > 1:
                half = count // 2
                return [Task(task.chunk, task.positions[:half]), Task(task.chunk, task.positions[half:])]
            index = 0
        suspect = task.positions[index]
        rest = [position for position in task.positions if position != suspect]
        again = [Task(task.chunk, rest)] if rest else []
        if timed_out:
            task.chunk.fail(suspect, f"timed out: more than {self._options.timeout:g} seconds")
        elif task.again:
            task.chunk.fail(suspect, "crashed the decoder: the process that read it ended")
        else:
            # The worker may have been killed for no fault of this file: it gets one more chance, alone.
            again.append(Task(task.chunk, [suspect], again=True))
        return again
