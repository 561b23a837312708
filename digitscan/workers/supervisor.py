"""One worker process under supervision: start it, feed it, know the file it has in hand, end it."""

from __future__ import annotations

import contextlib
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

from digitscan.workers.forkserver import ForkedProcess, environment, python_command, take_fork_server
from digitscan.workers.protocol import CURRENT_FILE, read_frame, write_frame

# A look that comes late (a stopped process, a full pipe) must not be held against the file in hand.
_LONGEST_LOOK = 0.5


class SpawnedProcess:
    """A worker's process that loads everything itself; else as one that was forked.

    `shared_file` is the name of what it shares, a small file.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises OSError."""
        number, self.shared_file = tempfile.mkstemp(prefix="digitscan-in-hand-")
        try:
            with open(number, "r+b") as file:  # noqa: PTH123  # a descriptor, not a path
                file.write(bytes(CURRENT_FILE.size))
                file.flush()
                self.shared = mmap.mmap(number, CURRENT_FILE.size)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
            )
        except BaseException:  # also where it is interrupted: nothing is left behind
            self._remove_shared_file()
            raise
        assert self._process.stdin is not None and self._process.stdout is not None
        self.number, self.stdin, self.stdout = self._process.pid, self._process.stdin, self._process.stdout

    def kill(self) -> None:
        """Kill it, whatever it does."""
        self._process.kill()

    def wait(self) -> None:
        """Return when it is gone, and its small file too."""
        self._process.wait()
        self._remove_shared_file()

    def _remove_shared_file(self) -> None:
        # The worker has done it, unless it never came so far or the system keeps open files.
        with contextlib.suppress(OSError):
            os.unlink(self.shared_file)  # noqa: PTH108  # a plain name, as the worker gets it


class ProcessFactory:
    """Starts workers' processes: forked where there can be a nursery, else spawned."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        """Begin to load what workers need, unless it is another command that they run."""
        self._command = command or python_command("work")
        self._fork_server = take_fork_server() if command is None else None

    def start(self) -> ForkedProcess | SpawnedProcess:
        """Return a new process. Raises OSError."""
        if self._fork_server:
            try:
                return self._fork_server.fork()
            except OSError:  # it is gone, or this system has less than it needs
                self._fork_server.close()
                self._fork_server = None
        return SpawnedProcess(self._command)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._fork_server:
            self._fork_server.close()


@dataclass
class Task:
    """Some paths to read. `positions` say where their rows belong, `again` that it was in hand at a death."""

    chunk: Any
    positions: Sequence[int]
    again: bool = False


@dataclass(frozen=True)
class Event:
    """Something a worker said, or (frame is None) that it is gone."""

    worker: Worker
    frame: Mapping[str, Any] | None


class Worker:
    """A worker process with its two threads: one feeds it, one listens.

    Every frame it answers, and its end, become an Event in `events`, so the owner waits in one place
    and never on a pipe.
    """

    def __init__(
        self, process_factory: ProcessFactory, setup: Mapping[str, Any], events: queue.SimpleQueue[Event]
    ) -> None:
        """Start the process. Raises OSError."""
        self.tasks: dict[int, Task] = {}
        self.ready = False
        self._serial = 0
        self._feed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._seen = (0, 0)
        self._seconds = 0.0
        self._looked = time.monotonic()
        self._process = process_factory.start()
        self._feed.put({**setup, "in_hand": self._process.shared_file})
        try:
            threading.Thread(target=self._send, args=(self._process.stdin,), daemon=True).start()
            threading.Thread(target=self._listen, args=(self._process.stdout, events), daemon=True).start()
        except RuntimeError as error:
            self.kill()
            self.wait()
            raise OSError(str(error)) from error

    def give(self, task: Task, paths: Sequence[str]) -> None:
        """Hand over a task; its answer will be an event whose frame has its serial number."""
        self._serial += 1
        self.tasks[self._serial] = task
        self._feed.put([self._serial, paths])

    def in_hand(self) -> tuple[Task | None, int]:
        """Return the task begun and the index of its file in hand; (None, 0) between tasks."""
        serial, index = CURRENT_FILE.unpack_from(self._process.shared)
        return self.tasks.get(serial), index

    def seconds_on_current_file(self) -> float:
        """Return how long it has been seen at the same spot with work to do; call this often."""
        now = time.monotonic()
        seen = CURRENT_FILE.unpack_from(self._process.shared)
        if seen != self._seen or (self.ready and not self.tasks):
            self._seen, self._seconds = seen, 0.0
        else:
            self._seconds += min(now - self._looked, _LONGEST_LOOK)
        self._looked = now
        return self._seconds

    def kill(self) -> None:
        """End the process now, whatever it does."""
        self._process.kill()
        self._feed.put(None)

    def wait(self) -> None:
        """Return when the killed process is gone; nothing is left behind."""
        self._process.wait()

    def _send(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (frame := self._feed.get()) is not None:
                write_frame(pipe, frame)
        with contextlib.suppress(OSError):
            pipe.close()

    def _listen(self, pipe: IO[bytes], events: queue.SimpleQueue[Event]) -> None:
        try:
            with contextlib.suppress(EOFError, OSError, ValueError):
                while True:
                    events.put(Event(self, read_frame(pipe)))
        finally:
            events.put(Event(self, None))
