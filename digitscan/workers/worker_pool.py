"""Share the files of a job among supervised workers, and find out which file to blame if one of them fails.

A scan and a training on a folder are such jobs: `scanning.scheduler` and `training.data.image_folders`.
"""

from __future__ import annotations

import contextlib
import queue
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Self

from digitscan.errors import DigitscanError, ModelError
from digitscan.prediction import ImageFile
from digitscan.system.resources import count_free_descriptors
from digitscan.workers.forkserver import END_TIMEOUT_SECONDS
from digitscan.workers.protocol import FileLocation
from digitscan.workers.supervisor import NO_PROCESS, POLL_SECONDS, Event, ProcessFactory, Task, Worker

QUEUED_TASKS_PER_WORKER = 2
"""One that a worker works on, and one that waits in its pipe."""
MAX_IDLE_DEATHS = 5
"""Workers that end in a row with no file to blame, before the job gives up."""

_DESCRIPTORS_PER_WORKER = 4
"""Two pipes, the shared memory and a pidfd."""
_RESERVED_DESCRIPTORS = 48
"""For the files and folders that are open meanwhile, and for the start of a worker."""


class WorkerPool(ABC):
    """Workers that do a job. A context manager: leaving it ends all of them.

    A subclass is the job: it says what is to be done next, and takes the rows. Its loop calls
    `_start_worker`, `_assign_tasks`, `_wait_for_events` and `_replace_hanging_workers`.
    """

    def __init__(
        self,
        setup: Mapping[str, object],
        timeout: float,
        max_workers: int,
        process_factory: ProcessFactory,
    ) -> None:
        """Start no worker yet.

        `setup` is what each worker gets first; `timeout` is the seconds that one file may take. There are
        fewer workers than `max_workers` where there are too few descriptors for them. The caller closes the
        `process_factory`.
        """
        self._setup = setup
        self._timeout = timeout
        self._max_workers = _count_possible_workers(max_workers)
        self._process_factory = process_factory
        self._workers: list[Worker] = []
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._retries: deque[Task] = deque()
        self._idle_deaths = 0
        self._has_had_ready_worker = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End all workers."""
        self.close()

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.kill()
        deadline = time.monotonic() + END_TIMEOUT_SECONDS
        for worker in self._workers:  # all are killed first, because each takes its time to end
            worker.wait(max(0.0, deadline - time.monotonic()))
        self._workers.clear()

    @abstractmethod
    def _has_work(self) -> bool:
        """Tell whether a worker that has ended is to be replaced."""

    @abstractmethod
    def _next_task(self) -> Task | None:
        """Return the next task, None if there is none now."""

    @abstractmethod
    def _list_files(self, task: Task) -> Sequence[FileLocation | ImageFile]:
        """Return the files of a task."""

    @abstractmethod
    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        """Take the rows of a task's files, as JSON has them, and the time that they took."""

    @abstractmethod
    def _set_error(self, task: Task, position: int, reason: str) -> None:
        """Take the reason why one file of a task has no row."""

    def _explain_idle_deaths(self) -> DigitscanError:
        """Return the error that ends the job when workers end again and again with no file to blame."""
        return DigitscanError(
            "The processes that read the files end as soon as they start. "
            "Free some memory, or install digitscan again."
        )

    def _start_worker(self) -> None:
        """Start one more worker. Raises DigitscanError if there is none and none can be started."""
        try:
            self._workers.append(Worker(self._process_factory, self._setup, self._events))
        except OSError as error:
            if not self._workers:
                raise DigitscanError(NO_PROCESS.format(error)) from error
            self._max_workers = len(self._workers)

    def _assign_tasks(self) -> None:
        # Workers with the fewest tasks first, so that they share a short queue.
        for queued in range(QUEUED_TASKS_PER_WORKER):
            for worker in self._workers:
                if len(worker.tasks) > queued:
                    continue
                task = self._retries.popleft() if self._retries else self._next_task()
                if task:
                    worker.assign(task, self._list_files(task))

    def _wait_for_events(self) -> None:
        with contextlib.suppress(queue.Empty):
            event = self._events.get(timeout=POLL_SECONDS)
            while True:
                self._handle(event)
                event = self._events.get_nowait()

    def _handle(self, event: Event) -> None:
        worker, frame = event.worker, event.frame
        if worker not in self._workers:  # it was replaced
            return
        if frame is None:
            self._replace(worker, timed_out=False)
        elif "refused" in frame:
            raise ModelError(frame["refused"])
        elif "ready" in frame:
            worker.is_ready = self._has_had_ready_worker = True
        else:
            task = worker.tasks.pop(frame["serial"])
            self._idle_deaths = 0
            self._set_rows(task, frame["rows"], frame["seconds"])

    def _replace_hanging_workers(self) -> None:
        for worker in list(self._workers):
            if worker.is_hanging(self._timeout):
                self._replace(worker, timed_out=worker.is_reading)

    def _replace(self, worker: Worker, timed_out: bool) -> None:
        """End a worker that hangs or has died, decide about its tasks, and start another."""
        worker.kill()
        worker.wait()
        self._workers.remove(worker)
        current_task, index = worker.current_file()
        # Deaths with a current file are at most two for each file. Deaths without one could go on for ever.
        self._idle_deaths += current_task is None
        retries: list[Task] = []
        for task in worker.tasks.values():
            retries += self._split_failed_task(task, index, timed_out) if task is current_task else [task]
        self._retries.extendleft(reversed(retries))
        if self._idle_deaths > MAX_IDLE_DEATHS:
            raise self._explain_idle_deaths()
        if self._has_work():
            self._start_worker()

    def _split_failed_task(self, task: Task, index: int, timed_out: bool) -> list[Task]:
        """Return the tasks that read the files of a failed one again; its current file may get its error."""
        count = len(task.positions)
        if index >= count:
            # It died while it worked on all files together: try halves, until the file to blame is alone.
            if count > 1:
                half = count // 2
                return [Task(task.chunk, task.positions[:half]), Task(task.chunk, task.positions[half:])]
            index = 0
        suspect = task.positions[index]
        others = [position for position in task.positions if position != suspect]
        retries = [Task(task.chunk, others)] if others else []
        if timed_out:
            self._set_error(task, suspect, f"timed out: more than {self._timeout:g} seconds")
        elif task.is_retry:
            self._set_error(task, suspect, "crashed the decoder: the process that read it ended")
        else:
            # The worker may have been killed from outside: the file gets a second chance, alone.
            retries.append(Task(task.chunk, [suspect], is_retry=True))
        return retries


def _count_possible_workers(wanted: int) -> int:
    """Return how many workers there may be: each takes some of the files that this process may open."""
    free = count_free_descriptors() - _RESERVED_DESCRIPTORS
    return max(1, min(wanted, free // _DESCRIPTORS_PER_WORKER))
