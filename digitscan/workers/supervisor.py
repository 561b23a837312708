"""A worker process under supervision: start it, give it tasks, know which file it is reading, end it."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import queue
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from digitscan.prediction import ImageFile
from digitscan.workers.forkserver import (
    END_TIMEOUT_SECONDS,
    ForkedProcess,
    take_fork_server,
    worker_command,
    worker_environment,
)
from digitscan.workers.protocol import (
    CURRENT_FILE,
    FileLocation,
    pack_files,
    read_frame,
    write_frame,
)

# If this process was stopped or busy for longer, the time does not count against the file that is being read.
_MAX_CHECK_INTERVAL_SECONDS = 0.5

POLL_SECONDS = 0.1
"""How long an owner of workers waits for events before it looks whether one of them hangs."""

START_TIMEOUT_SECONDS = 120.0
"""How long a worker may take to load its libraries and its models."""

NO_PROCESS = (
    "No process to read the files can be started: {}. "
    "Free some memory, processes or open files, then try again."
)
"""The message of an error that ends a scan."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM})
"""The system has no more descriptors, processes or memory."""


class SpawnedProcess:
    """A worker's process that loads its libraries itself, where there is no fork server."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        descriptor, self.shared_path = tempfile.mkstemp(prefix="digitscan-current-file-")
        try:
            with open(descriptor, "r+b") as file:  # noqa: PTH123  # a descriptor
                file.write(bytes(CURRENT_FILE.size))
                file.flush()
                self.shared_memory = mmap.mmap(descriptor, CURRENT_FILE.size)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=worker_environment(),
            )
        except BaseException:  # also an interrupt: no file is left behind
            self._remove_shared_file()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self.pid, self.stdin, self.stdout = self._process.pid, self._process.stdin, self._process.stdout

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def wait(self, timeout: float = END_TIMEOUT_SECONDS) -> None:
        """Return when it has ended, or after `timeout` seconds, with its shared file removed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self._remove_shared_file()

    def _remove_shared_file(self) -> None:
        # The worker has removed it, unless it ended too early or the system keeps open files.
        with contextlib.suppress(OSError):
            os.unlink(self.shared_path)  # noqa: PTH108  # a plain name, as the worker gets it


class ProcessFactory:
    """Starts the processes of workers: forked where there is a fork server, else spawned."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Start to load what workers need, unless `command` is to be run as the worker instead."""
        self._command = command or worker_command("run_worker")
        self._fork_server = take_fork_server() if command is None else None
        self._owner_pid = os.getpid()

    @property
    def fork_server_pid(self) -> int | None:
        """The process that forks the workers, None if they are spawned."""
        return self._fork_server.pid if self._fork_server else None

    def start(self) -> ForkedProcess | SpawnedProcess:
        """Return a new process. Raises OSError."""
        if self._fork_server:
            try:
                return self._fork_server.fork()
            except OSError as error:  # it was killed, or the system forbids what it needs
                if error.errno in _EXHAUSTED:  # nothing else could be started either; its workers go on
                    raise
                self._fork_server.close()
                self._fork_server = None
        return SpawnedProcess(self._command)

    def close(self) -> None:
        """End the fork server and all that it forked. Does nothing in a forked copy of this process."""
        if self._fork_server and os.getpid() == self._owner_pid:
            self._fork_server.close()
            self._fork_server = None


@dataclass
class Task:
    """Some files of a chunk for a worker to read."""

    chunk: Any
    """What the owner collects rows in."""
    positions: Sequence[int]
    """The places of the files in the chunk."""
    is_retry: bool = False
    """Whether a worker died while it read this file, which is alone now."""


@dataclass(frozen=True)
class Event:
    """A frame that a worker sent, or its end."""

    worker: Worker
    frame: Mapping[str, Any] | None
    """None if the worker has ended."""


class Worker:
    """A worker process with two threads of this process: one sends it tasks, one receives its frames.

    Every frame, and the end of the process, becomes an Event in `events`, so that the owner waits for all its
    workers in one place and never on a pipe.
    """

    def __init__(
        self, process_factory: ProcessFactory, setup: Mapping[str, object], events: queue.SimpleQueue[Event]
    ) -> None:
        """Start the process and send it the setup, a WorkerSetup in a scan. Raises OSError."""
        self.tasks: dict[int, Task] = {}
        """The tasks without an answer, by serial number."""
        self.is_ready = False
        """Whether it has loaded the model; the owner sets this at its "ready" frame."""
        self._last_serial = 0
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._last_current_file = (0, 0)
        self._seconds_on_current_file = 0.0
        self._checked_at = time.monotonic()
        self._owner_pid = os.getpid()
        self._process = process_factory.start()
        self._outbox.put({**setup, "shared_path": self._process.shared_path})
        try:
            threading.Thread(target=self._send, args=(self._process.stdin,), daemon=True).start()
            threading.Thread(target=self._receive, args=(self._process.stdout, events), daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self.kill()
            self.wait()
            raise OSError(errno.EAGAIN, str(error)) from error

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def assign(self, task: Task, files: Sequence[FileLocation | ImageFile]) -> None:
        """Send a task; the event with its rows will have its serial number."""
        self._last_serial += 1
        self.tasks[self._last_serial] = task
        self._outbox.put([self._last_serial, pack_files(files)])

    def current_file(self) -> tuple[Task | None, int]:
        """Return the task in progress and the index of its current file; (None, 0) between tasks."""
        serial, index = CURRENT_FILE.unpack_from(self._process.shared_memory)
        return self.tasks.get(serial), index

    @property
    def is_reading(self) -> bool:
        """Whether it works on one file, and not on all of its task together or on none."""
        task, index = self.current_file()
        return task is not None and index < len(task.positions)

    def is_hanging(self, timeout: float) -> bool:
        """Return whether it is busy with one file for more than `timeout` seconds. Call this often.

        What is no work on one file, such as loading a model, may take longer.
        """
        # In this order: if it goes on to another file in between, the time starts again.
        limit = timeout if self.is_reading else START_TIMEOUT_SECONDS
        return self.seconds_on_current_file() > limit

    def seconds_on_current_file(self) -> float:
        """Return how long the current file has been the same while there is work to do. Call this often."""
        now = time.monotonic()
        current_file = CURRENT_FILE.unpack_from(self._process.shared_memory)
        if current_file != self._last_current_file or (self.is_ready and not self.tasks):
            self._last_current_file, self._seconds_on_current_file = current_file, 0.0
        else:
            self._seconds_on_current_file += min(now - self._checked_at, _MAX_CHECK_INTERVAL_SECONDS)
        self._checked_at = now
        return self._seconds_on_current_file

    def kill(self) -> None:
        """Kill the process. Like `wait`, does nothing in a forked copy of this process."""
        if os.getpid() == self._owner_pid:
            self._process.kill()
            self._outbox.put(None)

    def wait(self, timeout: float = END_TIMEOUT_SECONDS) -> None:
        """Return when the killed process has ended; after `timeout` seconds it is left behind."""
        if os.getpid() == self._owner_pid:
            self._process.wait(timeout)

    def _send(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (frame := self._outbox.get()) is not None:
                write_frame(pipe, frame)
        with contextlib.suppress(OSError):
            pipe.close()

    def _receive(self, pipe: IO[bytes], events: queue.SimpleQueue[Event]) -> None:
        try:
            with contextlib.suppress(EOFError, OSError, ValueError):
                while True:
                    events.put(Event(self, read_frame(pipe)))
        finally:
            events.put(Event(self, None))
