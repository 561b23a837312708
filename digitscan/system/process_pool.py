"""A pool of Python processes that run our own functions.

`concurrent.futures.ProcessPoolExecutor` is not used, because its processes and its resource tracker import
from the current folder, it needs semaphores in `/dev/shm`, a process that dies while it starts leaves its
callers waiting for ever, and its processes outlive a parent that was killed.

Functions, arguments and results are pickled, so only our own functions may run in these processes, and none
that decodes files of others: for those there is `digitscan.workers`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import IO, Any, NamedTuple, TypeVar

from digitscan.system.child_python import SAFE_PATH, python_command

MAX_ATTEMPTS = 3
"""How many processes may end while they run the same task, before the task fails."""

_LENGTH = struct.Struct(">Q")
_Result = TypeVar("_Result")


class PoolError(Exception):
    """A task has no result, because the processes that ran it ended, or none could be started."""


class _Task(NamedTuple):
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class ProcessPool:
    """A context manager: leaving it ends the processes and cancels what is left to do.

    A process is started when there is a task for it. If one ends, another runs its task again.
    """

    def __init__(
        self,
        process_count: int,
        initializer: Callable[..., object] | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> None:
        """Start no more than `process_count` processes; each calls `initializer` before its first task."""
        self._first_call = (initializer, arguments) if initializer else None
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[_PoolProcess] = set()
        self._is_closed = False
        self._threads = [threading.Thread(target=self._run_tasks, daemon=True) for _ in range(process_count)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> ProcessPool:
        """Return the pool itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes."""
        self.close()

    @property
    def pids(self) -> list[int]:
        """The processes that run now."""
        with self._lock:
            return [process.pid for process in self._processes]

    def submit(self, function: Callable[..., _Result], *arguments: Any) -> Future[_Result]:
        """Return the future result of a function call.

        The result raises what the function raised, and PoolError where the function could not be run.
        """
        future: Future[_Result] = Future()
        self._tasks.put(_Task(future, function, arguments))
        return future

    def close(self) -> None:
        """End the processes at once, also those that run a task; cancel the tasks that are left."""
        with self._lock:
            self._is_closed = True
            for process in self._processes:
                process.kill()
        with contextlib.suppress(queue.Empty):
            while task := self._tasks.get_nowait():
                task.future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _run_tasks(self) -> None:
        """Run tasks in one process after another; the work of a thread."""
        if hasattr(signal, "pthread_sigmask"):
            # Inherited by the processes: a terminal sends Ctrl-C to them too, and only the parent handles it.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process: _PoolProcess | None = None
        while task := self._tasks.get():
            if task.future.set_running_or_notify_cancel():
                process = self._run(task, process)
        if process:
            self._end(process)

    def _run(self, task: _Task, process: _PoolProcess | None) -> _PoolProcess | None:
        """Run a task and set its result; return the process that can run the next one, if there is one."""
        reason = ""
        for _ in range(MAX_ATTEMPTS):
            try:
                process = process or self._start_process()
                is_result, value = process.call(task.function, task.arguments)
            except (OSError, EOFError) as error:
                reason = self._end(process) if process else f"no process can be started: {error}"
                process = None
            except Exception as error:  # such as what cannot be pickled: the caller must not wait for ever
                task.future.set_exception(error)
                if process:
                    self._end(process)
                return None
            else:
                (task.future.set_result if is_result else task.future.set_exception)(value)
                return process
            if self._is_closed:
                break
        task.future.set_exception(PoolError(reason))
        return None

    def _start_process(self) -> _PoolProcess:
        """Return a new process. Raises OSError, EOFError where it ends at once."""
        with self._lock:
            if self._is_closed:
                raise OSError("the pool is closed")
            process = _PoolProcess()
            self._processes.add(process)
        if self._first_call:
            try:
                is_result, value = process.call(*self._first_call)
            except (OSError, EOFError) as error:
                raise OSError(self._end(process)) from error
            if not is_result:
                self._end(process)
                raise value
        return process

    def _end(self, process: _PoolProcess) -> str:
        """End a process, if it has not ended by itself, and say how it ended."""
        with self._lock:
            self._processes.discard(process)
        return process.end()


class _PoolProcess:
    """One process, and the pipes to it."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._process = subprocess.Popen(
            python_command(__name__, "run_pool_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **SAFE_PATH},
        )
        self.pid = self._process.pid

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Return True and the result of a call in the process, or False and the exception that it raised.

        Raises OSError or EOFError if the process ends.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        _write_bytes(self._process.stdin, _to_pickle((function, arguments)))
        is_result, value = pickle.loads(_read_bytes(self._process.stdout))
        return is_result, value

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()

    def end(self) -> str:
        """Return how it ended, after it was killed if it had not; close the pipes."""
        # One that closed its pipe is about to end; its own exit code says more than that of a kill.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0.1)
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        return f"a process was killed by signal {-code}" if code < 0 else f"a process ended with code {code}"


def run_pool_process() -> None:
    """Run the calls that come on stdin, answer on stdout, and exit when the parent has ended."""
    answers = open(os.dup(1), "wb")  # noqa: SIM115, PTH123  # this process's real stdout, as long as it lives
    os.dup2(2, 1)  # what libraries print to stdout must not come between the answers
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive_calls, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        try:
            function, arguments = pickle.loads(calls.get())
            answer = _to_pickle((True, function(*arguments)))
        except Exception as error:
            error.add_note(f"In a process of the pool:\n{traceback.format_exc()}")
            answer = _to_pickle((False, error))
        _write_bytes(answers, answer)


def _receive_calls(file: IO[bytes], calls: queue.SimpleQueue[bytes]) -> None:
    """Read calls ahead of the work. When the parent is gone, exit at once, even in the middle of a call."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            calls.put(_read_bytes(file))
    os._exit(0)


def _to_pickle(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _write_bytes(file: IO[bytes], data: bytes) -> None:
    """Write bytes as a frame: their length, then the bytes."""
    file.write(_LENGTH.pack(len(data)))
    file.write(data)
    file.flush()


def _read_bytes(file: IO[bytes]) -> bytes:
    """Return the bytes of the next frame. Raises EOFError where the stream ends."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return data
