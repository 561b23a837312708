"""The fork server: one process that loads numpy, OpenCV and LiteRT once, and forks every worker. Linux.

Loading the libraries takes a tenth of a second of a core, forking some milliseconds. The fork server itself
never decodes a picture. The command starts it before anything else, as a copy of itself while it has one
thread and has loaded nothing, so that both load at the same time; so little is imported here. The idea is
that of `multiprocessing.forkserver`, which cannot be used: it needs a guard in the caller's script.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from digitscan.system.child_python import find_package_parent, python_command

if TYPE_CHECKING:
    from mmap import mmap

_FORK_TIMEOUT_SECONDS = 120.0
"""The libraries may be loaded from a slow disk before the first fork is answered."""
END_TIMEOUT_SECONDS = 1.0
"""How long to wait for a killed process. One that the system keeps in a read, as from a server that is gone,
cannot be killed: it is left behind, and ends when the read does."""

_WORKER_MODULE = "digitscan.workers.worker"


def worker_command(function: str) -> list[str]:
    """Return the command that runs a function of `digitscan.workers.worker` in a new Python."""
    return python_command(_WORKER_MODULE, function)


def worker_environment() -> dict[str, str]:
    """Return the environment of workers: with one for each core, libraries need no threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class ForkedProcess:
    """A worker's process that was forked, with its pipes and the memory that it shares."""

    shared_path: str | None = None
    """The shared memory has no name."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes], shared_memory: mmap) -> None:
        """Open a pidfd for a child of the fork server that is not reaped yet. Raises OSError."""
        # A pid may be given to another process once its own is gone; a pidfd stays with its process.
        self._pidfd: int | None = os.pidfd_open(pid)
        # A system that forbids this must fail now and not when a worker hangs.
        signal.pidfd_send_signal(self._pidfd, 0)
        self.pid, self.stdin, self.stdout, self.shared_memory = pid, stdin, stdout, shared_memory

    def kill(self) -> None:
        """Kill it. Does nothing after `wait`."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, timeout: float = END_TIMEOUT_SECONDS) -> None:
        """Return when it has ended, or after `timeout` seconds: then it is left behind."""
        if self._pidfd is None:
            return
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.poll(1000 * timeout)
        pidfd, self._pidfd = self._pidfd, None
        os.close(pidfd)


class ForkServer:
    """The process that has loaded the libraries, and the socket that carries workers' pipes to it."""

    def __init__(self, copy_self: bool = False) -> None:
        """Start it; it loads while this process goes on. Raises OSError.

        `copy_self` forks this process instead of starting a new Python, which is quicker, but only right in a
        process with one thread that has loaded nothing yet.
        """
        self._control, server_end = socket.socketpair()
        with server_end:
            try:
                self.pid = (_fork_self if copy_self else _spawn)(server_end.fileno())
            except OSError:
                self._control.close()
                raise
        self._control.settimeout(_FORK_TIMEOUT_SECONDS)

    def fork(self) -> ForkedProcess:
        """Return a new worker's process. Raises OSError if it cannot be forked or the fork server is gone."""
        from mmap import mmap

        from digitscan.workers.protocol import CURRENT_FILE

        with contextlib.ExitStack() as close_on_failure, contextlib.ExitStack() as close_always:
            task_reader, task_writer = os.pipe()
            close_always.callback(os.close, task_reader)
            stdin = close_on_failure.enter_context(open(task_writer, "wb"))  # noqa: PTH123  # a descriptor
            row_reader, row_writer = os.pipe()
            close_always.callback(os.close, row_writer)
            stdout = close_on_failure.enter_context(open(row_reader, "rb"))  # noqa: PTH123  # a descriptor
            memory = os.memfd_create("digitscan-current-file")
            close_always.callback(os.close, memory)
            os.ftruncate(memory, CURRENT_FILE.size)
            shared_memory = mmap(memory, CURRENT_FILE.size)
            socket.send_fds(self._control, [b"+"], [task_reader, row_writer, memory])
            pid = int.from_bytes(self._control.recv(4))
            if pid == 0:
                raise OSError(errno.EAGAIN, "no more processes can be started")
            process = ForkedProcess(pid, stdin, stdout, shared_memory)
            close_on_failure.pop_all()
            return process

    def close(self) -> None:
        """End it and the workers that are left, and wait until it is gone."""
        self._control.close()
        deadline = time.monotonic() + END_TIMEOUT_SECONDS
        # A caller that ignores SIGCHLD leaves no child to wait for.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while not os.waitpid(self.pid, os.WNOHANG)[0]:
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(0.0005)


def _spawn(control: int) -> int:
    """Start a fork server in a new Python, with the socket `control` as its stdin; return its pid."""
    return os.posix_spawn(
        sys.executable,
        worker_command("run_fork_server"),
        worker_environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, control, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )


def _fork_self(control: int) -> int:
    """Turn a copy of this process into a fork server, without the time that a new Python takes to start."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(control, 0)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.environ.update(worker_environment())
        package_parent = find_package_parent()
        # The folder that this Python was started in may hold anything, see `child_python`.
        if not sys.flags.safe_path and sys.path[0] != package_parent:
            sys.path[0] = package_parent
        from digitscan.workers.worker import run_fork_server

        run_fork_server()
    finally:
        os._exit(1)


_early_servers: list[ForkServer] = []


@contextlib.contextmanager
def early_fork_server() -> Iterator[None]:
    """Start a fork server before the scan asks for it, so that both processes load at the same time.

    For a command that has just started. Not under a debugger, whose prompt the copy would have too.
    """
    if not sys.gettrace() and (fork_server := take_fork_server(copy_self=True)):
        _early_servers.append(fork_server)
    try:
        yield
    finally:
        while _early_servers:
            _early_servers.pop().close()


def kill_early_fork_server() -> None:
    """Kill the fork server that was started early, unless a scan took it: this process is about to end."""
    for fork_server in _early_servers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(fork_server.pid, signal.SIGKILL)


def take_fork_server(copy_self: bool = False) -> ForkServer | None:
    """Return the fork server that was started early, or a new one; None where the system has none."""
    if _early_servers:
        return _early_servers.pop()
    if sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return ForkServer(copy_self)
    return None
