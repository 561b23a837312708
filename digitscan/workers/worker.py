"""The processes that read files: the worker, and on Linux the fork server that workers are forked from.

A worker is told what to do by its supervisor, see `protocol`. It ends when its stdin closes, so none outlives
a supervisor that was killed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from digitscan.errors import DigitscanError
from digitscan.workers.file_kinds import detect_kinds
from digitscan.workers.image_processor import ProcessFiles, load_image_processor, preload_libraries
from digitscan.workers.protocol import CURRENT_FILE, read_frame, unpack_files, write_frame

_MAX_DESCRIPTORS = 1 << 12


def run_worker() -> None:
    """Be a worker that was spawned: load the libraries, then answer tasks."""
    answer_tasks()


def load_processor(setup: Any) -> ProcessFiles:
    """Return what does a worker's tasks, by the setup that the supervisor sent. Raises ModelError."""
    preload_libraries()
    if setup["does"] == "read images":
        return load_image_processor(setup)
    if setup["does"] == "detect kinds":
        return detect_kinds
    # Few scans need these, and the others start a little sooner without them.
    if setup["does"] == "count pages":
        from digitscan.workers.page_counts import load_page_counter

        return load_page_counter(setup)
    if setup["does"] == "read numbers":
        from digitscan.workers.number_processor import load_number_processor

        return load_number_processor(setup)
    if setup["does"] == "explain numbers":
        from digitscan.workers.number_explainer import load_number_explainer

        return load_number_explainer(setup)
    from digitscan.workers.explainer import load_explainer
    from digitscan.workers.preprocessor import load_preprocessor

    return load_preprocessor() if setup["does"] == "preprocess images" else load_explainer(setup)


def answer_tasks(
    load_processor: Callable[[Any], ProcessFiles] = load_processor,
    shared_memory: mmap.mmap | None = None,
) -> None:
    """Answer the frames on stdin with frames on stdout until stdin closes.

    `load_processor` gets the supervisor's setup and returns what turns files into rows. `shared_memory` is
    where the current file is noted; without it the setup names a file to map.
    """
    # Ctrl-C reaches the whole process group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = open(os.dup(1), "wb")  # noqa: SIM115, PTH123  # this process's real stdout, as long as it lives
    os.dup2(2, 1)  # what libraries print to stdout must not come between the answers
    requests = open(os.dup(0), "rb")  # noqa: SIM115, PTH123  # its stdin, likewise
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    try:
        setup = read_frame(requests)
    except EOFError:  # started ahead of a scan that never came
        return
    current_file = shared_memory or _map_shared_file(setup["shared_path"])
    threading.Thread(target=_receive_tasks, args=(requests, tasks), daemon=True).start()
    try:
        process_files = load_processor(setup)
    except DigitscanError as error:
        write_frame(answers, {"refused": str(error)})
        return
    write_frame(answers, {"ready": os.getpid()})
    while True:
        serial, packed_files = tasks.get()
        start = time.perf_counter()
        set_current = partial(CURRENT_FILE.pack_into, current_file, 0, serial)
        rows = process_files(unpack_files(packed_files), set_current)
        write_frame(answers, {"serial": serial, "seconds": time.perf_counter() - start, "rows": rows})


def _map_shared_file(path: str) -> mmap.mmap:
    with open(path, "r+b") as file:  # noqa: PTH123  # pathlib is not loaded yet
        shared_memory = mmap.mmap(file.fileno(), CURRENT_FILE.size)
    # Both sides have it open now. Without a name it is gone when they are, even if the scan is killed.
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108  # likewise
    return shared_memory


def _receive_tasks(requests: IO[bytes], tasks: queue.SimpleQueue[Any]) -> None:
    """Read tasks ahead of the work. When the supervisor is gone, exit at once, even while a decoder hangs."""
    try:
        while True:
            tasks.put(read_frame(requests))
    except (EOFError, ValueError, OSError):
        os._exit(0)


def run_fork_server() -> None:
    """Be the fork server: load the libraries, then fork a worker for each message on stdin, a socket.

    With each message come three descriptors: the worker's stdin, its stdout, and the memory that it shares.
    The answer is the worker's pid in four bytes, 0 if it could not be forked. When the socket closes, the
    workers that are left are killed.
    """
    import gc
    import socket

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in `answer_tasks`
    # A caller that ignores SIGCHLD passes that on. Then the system would reap workers, and reuse their pids.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Files that the caller left open are not for processes that decode untrusted pictures.
    _close_inherited_descriptors()
    preload_libraries()
    gc.freeze()
    worker_pids: set[int] = set()
    with socket.socket(fileno=os.dup(0)) as control:
        while True:
            message, descriptors, _, _ = socket.recv_fds(control, 1, 3)
            if not message:
                break
            _reap_workers(worker_pids)
            pid = None
            if len(descriptors) == 3:  # fewer arrive if this process may open no more
                with contextlib.suppress(OSError):
                    pid = os.fork()
            if pid == 0:
                control.close()
                _run_forked_worker(*descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            if pid:
                worker_pids.add(pid)
            with contextlib.suppress(BrokenPipeError):  # the scan is gone: the next receive says so
                control.sendall((pid or 0).to_bytes(4))
    _reap_workers(worker_pids)
    for pid in worker_pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)  # tearing down the loaded libraries would take a tenth of a second


def _run_forked_worker(stdin: int, stdout: int, memory: int) -> None:
    """Answer tasks in a process that was just forked, and exit."""
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    shared_memory = mmap.mmap(memory, CURRENT_FILE.size)
    for descriptor in (stdin, stdout, memory):
        os.close(descriptor)
    answer_tasks(shared_memory=shared_memory)
    os._exit(0)


def _close_inherited_descriptors() -> None:
    """Close all descriptors but stdin, stdout and stderr."""
    # Asked of /proc, because a container may allow a billion descriptors, too many to close one by one.
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  # no pathlib yet
    except OSError:
        descriptors = [*range(min(os.sysconf("SC_OPEN_MAX"), _MAX_DESCRIPTORS))]
    for descriptor in descriptors:
        if descriptor > 2:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _reap_workers(worker_pids: set[int]) -> None:
    """Wait for the workers that have ended.

    Only here, before the next fork: until a worker is reaped its pid is its own, and the supervisor can still
    open a pidfd for it.
    """
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            worker_pids.discard(pid)
