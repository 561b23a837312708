"""Ask a supervised process what kinds of files there are, see `file_kinds`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from digitscan.errors import DigitscanError
from digitscan.workers.file_kinds import FileKind
from digitscan.workers.protocol import FileLocation, WorkerSetup
from digitscan.workers.supervisor import ProcessFactory, Task
from digitscan.workers.worker_pool import WorkerPool

_KINDS = {kind.value: kind for kind in FileKind}


class KindDetector(WorkerPool):
    """Tells the kinds of files with one worker, which is started when there is a file to ask about."""

    def __init__(self, process_factory: ProcessFactory, timeout: float) -> None:
        """Take what starts the worker, and the seconds that one file may take."""
        setup = WorkerSetup(does="detect kinds", shared_path=None)
        super().__init__(setup, timeout, 1, process_factory)
        self._files: Sequence[FileLocation] = ()
        self._kinds: dict[int, FileKind] = {}
        self._waiting: Task | None = None

    def detect(self, files: Sequence[FileLocation]) -> list[FileKind]:
        """Return the kind of each file; UNREADABLE for one that blocks, or ends the worker.

        Raises DigitscanError if no worker can be started or kept alive.
        """
        self._files, self._kinds = files, {}
        self._waiting = Task(None, range(len(files)))
        while self._has_work():
            if not self._workers:
                self._start_worker()
            self._assign_tasks()
            self._wait_for_events()
            self._replace_hanging_workers()
        return [self._kinds[index] for index in range(len(files))]

    def _has_work(self) -> bool:
        return len(self._kinds) < len(self._files)

    def _next_task(self) -> Task | None:
        task, self._waiting = self._waiting, None
        return task

    def _list_files(self, task: Task) -> list[FileLocation]:
        return [self._files[index] for index in task.positions]

    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        self._kinds.update(zip(task.positions, map(_KINDS.__getitem__, rows), strict=True))

    def _set_error(self, task: Task, position: int, reason: str) -> None:
        self._kinds[position] = FileKind.UNREADABLE

    def _explain_idle_deaths(self) -> DigitscanError:
        return DigitscanError(
            "The process that looks for images among the files ends as soon as it starts. "
            "Free some memory, or install digitscan again."
        )
