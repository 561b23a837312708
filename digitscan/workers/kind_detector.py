"""Ask a supervised process what kinds of files there are, see `file_kinds`."""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Sequence

from digitscan.errors import DigitscanError
from digitscan.workers.file_kinds import FileKind
from digitscan.workers.protocol import FileLocation, WorkerSetup
from digitscan.workers.supervisor import NO_PROCESS, POLL_SECONDS, Event, ProcessFactory, Task, Worker

_MAX_IDLE_DEATHS = 5
"""Processes that end in a row with no file to blame, before the walk gives up."""


class KindDetector:
    """Tells the kinds of files. Its process is started when it is first asked."""

    def __init__(self, process_factory: ProcessFactory, timeout: float) -> None:
        """Take what starts the process, and the seconds that one file may take."""
        self._process_factory = process_factory
        self._timeout = timeout
        self._worker: Worker | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._idle_deaths = 0

    def detect(self, files: Sequence[FileLocation]) -> list[FileKind]:
        """Return the kind of each file; UNREADABLE for one that blocks, or ends the process.

        Raises DigitscanError if no process can be started or kept alive.
        """
        kinds: list[FileKind] = []
        while len(kinds) < len(files):
            rest = files[len(kinds) :]
            answer, current = self._ask(rest)
            if answer is None and current is not None:
                before, _ = self._ask(rest[:current]) if current else ([], None)
                answer = [*(before or [FileKind.UNREADABLE] * current), FileKind.UNREADABLE]
            kinds += answer or []
        return kinds

    def close(self) -> None:
        """End the process."""
        worker, self._worker = self._worker, None
        if worker:
            worker.kill()
            worker.wait()

    def _ask(self, files: Sequence[FileLocation]) -> tuple[list[FileKind] | None, int | None]:
        """Return the kinds, None if the process failed; and at which file it did, None if at no file."""
        worker = self._worker = self._worker or self._start()
        worker.assign(Task(None, range(len(files))), files)
        while True:
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=POLL_SECONDS)
                if event.worker is not worker:  # it was replaced
                    continue
                if event.frame is None:
                    break
                worker.is_ready = True
                if "rows" in event.frame:
                    del worker.tasks[event.frame["serial"]]
                    self._idle_deaths = 0
                    return [FileKind(value) for value in event.frame["rows"]], None
            if worker.is_hanging(self._timeout):
                break
        self.close()
        task, index = worker.current_file()
        self._idle_deaths += task is None
        if self._idle_deaths > _MAX_IDLE_DEATHS:
            raise DigitscanError(
                "The process that looks for images among the files ends as soon as it starts. "
                "Free some memory, or install digitscan again."
            )
        return None, min(index, len(files) - 1) if task else None

    def _start(self) -> Worker:
        setup = WorkerSetup(does="detect kinds", shared_path=None)
        try:
            return Worker(self._process_factory, setup, self._events)
        except OSError as error:
            raise DigitscanError(NO_PROCESS.format(error)) from error
