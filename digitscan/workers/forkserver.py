"""Where workers come from on Linux: one process loads what they need, once, and forks for each of them.

To load numpy, OpenCV and LiteRT takes a tenth of a second of a core; to fork takes some thousandths. The
process that forks never touches a picture. A scan starts it before all else, as a copy of itself while it has
one thread and nothing loaded, so little is imported here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from mmap import mmap

_SECONDS_TO_LOAD = 120.0
_SECONDS_TO_END = 1.0

# -P: the current folder may hold anything, and must not lend its `json.py` to the process.
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from digitscan.workers.worker import {0}; {0}()"


def python_command(function: str) -> list[str]:
    """Return the command that runs a function of `digitscan.workers.worker` in this Python."""
    module = os.path.abspath(__file__)  # noqa: PTH100  # no pathlib yet
    package = os.path.dirname(os.path.dirname(os.path.dirname(module)))  # noqa: PTH120  # the same
    return [sys.executable, "-P", "-c", _CODE.format(function), package]


def environment() -> dict[str, str]:
    """Return what processes that read files see: with one a core, threads of libraries would only fight."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ForkedProcess:
    """A worker's process, with its standard streams and the memory in which it notes what it has in hand."""

    shared_file: str | None = None
    """The memory has no name."""

    def __init__(self, number: int, stdin: IO[bytes], stdout: IO[bytes], shared: mmap) -> None:
        """Hold on to a process that nobody has waited for yet. Raises OSError."""
        import signal

        # Its number may be another process's once it is gone; the handle is its own.
        self._handle: int | None = os.pidfd_open(number)
        signal.pidfd_send_signal(self._handle, 0)  # fails here where it would when it is needed
        self.number, self.stdin, self.stdout, self.shared = number, stdin, stdout, shared

    def kill(self) -> None:
        """Kill it, whatever it does; nothing happens where it was waited for."""
        import signal

        if self._handle is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def wait(self) -> None:
        """Return when it is gone."""
        import select

        if self._handle is None:
            return
        end = select.poll()
        end.register(self._handle, select.POLLIN)
        end.poll()
        handle, self._handle = self._handle, None
        os.close(handle)


def _spawn(control: int) -> int:
    """Start a nursery in a Python of its own, its stdin that socket; return its number."""
    return os.posix_spawn(
        sys.executable,
        python_command("serve"),
        environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, control, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )


def _copy(control: int) -> int:
    """Make a nursery of a copy of this process, without the time that another Python takes to start."""
    number = os.fork()
    if number:
        return number
    try:
        os.dup2(control, 0)
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.environ.update(environment())
        package = python_command("serve")[-1]
        # The folder that this Python was started in or from may hold anything, see `_CODE`.
        if not sys.flags.safe_path and sys.path[0] != package:
            sys.path[0] = package
        from digitscan.workers.worker import serve

        serve()
    finally:
        os._exit(1)


class ForkServer:
    """The process that has loaded everything, and a socket that takes each worker's pipes to it."""

    def __init__(self, as_copy: bool = False) -> None:
        """Start it; it loads while this process goes on. Raises OSError.

        `as_copy` is for a process that has one thread, and nothing loaded that minds.
        """
        self._control, theirs = socket.socketpair()
        with theirs:
            try:
                self.number = (_copy if as_copy else _spawn)(theirs.fileno())
            except OSError:
                self._control.close()
                raise
        self._control.settimeout(_SECONDS_TO_LOAD)

    def fork(self) -> ForkedProcess:
        """Return a new worker's process. Raises OSError where there can be none, or the nursery is gone."""
        from mmap import mmap

        from digitscan.workers.protocol import CURRENT_FILE

        with contextlib.ExitStack() as on_failure, contextlib.ExitStack() as handed_over:
            tasks, stdin = os.pipe()
            handed_over.callback(os.close, tasks)
            to_worker = on_failure.enter_context(open(stdin, "wb"))  # noqa: PTH123  # a descriptor, not a path
            stdout, answers = os.pipe()
            handed_over.callback(os.close, answers)
            from_worker = on_failure.enter_context(open(stdout, "rb"))  # noqa: PTH123  # the same
            memory = os.memfd_create("digitscan-in-hand")
            handed_over.callback(os.close, memory)
            os.ftruncate(memory, CURRENT_FILE.size)
            shared = mmap(memory, CURRENT_FILE.size)
            socket.send_fds(self._control, [b"+"], [tasks, answers, memory])
            number = int.from_bytes(self._control.recv(4))
            if number == 0:
                raise OSError("no more processes can be started")
            process = ForkedProcess(number, to_worker, from_worker, shared)
            on_failure.pop_all()
            return process

    def close(self) -> None:
        """End it, and the workers that are left."""
        import signal
        import time

        self._control.close()
        end = time.monotonic() + _SECONDS_TO_END
        # Nothing is left to wait for where the ends of children are ignored.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while not os.waitpid(self.number, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    os.kill(self.number, signal.SIGKILL)
                time.sleep(0.0005)


_early: list[ForkServer] = []


@contextlib.contextmanager
def early_fork_server() -> Iterator[None]:
    """Begin to load before a scan asks for it, so that both sides load at once.

    For a process that has just started. Not under a debugger, whose prompt would be in the copy too.
    """
    if not sys.gettrace() and (fork_server := take_fork_server(as_copy=True)):
        _early.append(fork_server)
    try:
        yield
    finally:
        while _early:
            _early.pop().close()


def kill_early_fork_server() -> None:
    """Kill the one that was begun early, unless it was taken: this process is about to end."""
    import signal

    for fork_server in _early:
        with contextlib.suppress(ProcessLookupError):
            os.kill(fork_server.number, signal.SIGKILL)


def take_fork_server(as_copy: bool = False) -> ForkServer | None:
    """Return the one that was begun early, or a new one; None where there can be none."""
    if _early:
        return _early.pop()
    if sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return ForkServer(as_copy)
    return None
