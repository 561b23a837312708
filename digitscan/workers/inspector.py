"""Ask one supervised process about files, and wait for its answers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from digitscan.errors import DigitscanError
from digitscan.prediction import ImageFile
from digitscan.workers.protocol import FileLocation
from digitscan.workers.supervisor import ProcessFactory, Task
from digitscan.workers.worker_pool import WorkerPool

Answer = TypeVar("Answer")


class Inspector(WorkerPool, Generic[Answer]):
    """Answers questions about files with one worker, which is started when there is a file to ask about."""

    def __init__(self, setup: Mapping[str, object], process_factory: ProcessFactory, timeout: float) -> None:
        """Take what starts the worker, and the seconds that one file may take."""
        super().__init__(setup, timeout, 1, process_factory)
        self._files: Sequence[FileLocation | ImageFile] = ()
        self._answers: dict[int, Answer] = {}
        self._waiting: Task | None = None

    def ask(self, files: Sequence[FileLocation | ImageFile]) -> list[Answer]:
        """Return the answer for each file. Raises DigitscanError if no worker can be kept alive."""
        self._files, self._answers = files, {}
        self._waiting = Task(None, range(len(files)))
        while self._has_work():
            if not self._workers:
                self._start_worker()
            self._assign_tasks()
            self._wait_for_events()
            self._replace_hanging_workers()
        return [self._answers[index] for index in range(len(files))]

    @abstractmethod
    def _parse(self, value: Any) -> Answer:
        """Return an answer of a worker, as JSON has it. A file may have taken over the worker."""

    @abstractmethod
    def _answer_for_failure(self) -> Answer:
        """Return the answer for a file that blocks, or ends the worker."""

    def _has_work(self) -> bool:
        return len(self._answers) < len(self._files)

    def _next_task(self) -> Task | None:
        task, self._waiting = self._waiting, None
        return task

    def _list_files(self, task: Task) -> list[FileLocation | ImageFile]:
        return [self._files[index] for index in task.positions]

    def _set_rows(self, task: Task, rows: Sequence[Any], seconds: float) -> None:
        self._answers.update(zip(task.positions, map(self._parse, rows), strict=True))

    def _set_error(self, task: Task, position: int, reason: str) -> None:
        self._answers[position] = self._answer_for_failure()

    def _explain_idle_deaths(self) -> DigitscanError:
        return DigitscanError(
            "The process that looks for images among the files ends as soon as it starts. "
            "Free some memory, or install digitscan again."
        )
