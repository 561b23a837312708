"""The process that reads files for a scan: opens, preprocesses and classifies, a chunk at a time.

Started by `supervise`, and told what to do in frames on stdin: 4 bytes of length, then JSON. Frames,
never pickle: a worker that a picture has taken over could answer with nothing but rows. Which file is
in hand stands in a little shared memory, so that the supervisor knows it even when this process is gone.
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
from typing import IO, TYPE_CHECKING, Any

from digitscan.errors import DigitscanError

if TYPE_CHECKING:
    pass
from digitscan.workers.image_processor import ProcessFiles, load, load_image_processor
from digitscan.workers.protocol import CURRENT_FILE, read_frame, write_frame

_DESCRIPTORS = 1 << 12


def work() -> None:
    """Load what reading files takes, then answer."""
    main(prepare=load)


def main(
    load_processor: Callable[[dict[str, Any]], ProcessFiles] = load_image_processor,
    shared: mmap.mmap | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Answer frames on stdin with frames on stdout until stdin closes.

    `load_processor` gets the first frame and returns what turns paths into rows. `shared` is where to note
    what is in hand, else the first frame names a file for it. `prepare` is called when
    nothing prints to the real stdout any more.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    answers = open(os.dup(1), "wb")  # noqa: SIM115, PTH123  # the process's own stdout, for all its life
    os.dup2(2, 1)
    requests = open(os.dup(0), "rb")  # noqa: SIM115, PTH123  # the same
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    prepare()
    try:
        setup = read_frame(requests)
    except EOFError:  # started early, and no scan came
        return
    in_hand = shared or _open_shared(setup["in_hand"])
    threading.Thread(target=_receive, args=(requests, tasks), daemon=True).start()
    try:
        read = load_processor(setup)
    except DigitscanError as error:
        write_frame(answers, {"refused": str(error)})
        return
    write_frame(answers, {"ready": os.getpid()})
    while True:
        serial, paths = tasks.get()
        start = time.perf_counter()
        rows = read(paths, partial(CURRENT_FILE.pack_into, in_hand, 0, serial))
        write_frame(answers, {"serial": serial, "seconds": time.perf_counter() - start, "rows": rows})


def _open_shared(name: str) -> mmap.mmap:
    with open(name, "r+b") as file:  # noqa: PTH123  # a plain name, before pathlib is needed
        shared = mmap.mmap(file.fileno(), CURRENT_FILE.size)
    with contextlib.suppress(OSError):  # both sides have it open: so even a killed scan leaves no file behind
        os.unlink(name)  # noqa: PTH108  # the same
    return shared


def serve() -> None:
    """Load what reading files takes, then fork a worker at each word on stdin, a socket, until it closes.

    With each word come the worker's stdin, its stdout and the memory it shares; the answer is its process
    number in four bytes, 0 where there can be none. When the socket closes, the workers that are left end.
    """
    import gc
    import socket

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in `main`
    # Whoever ignores the end of their children leaves that to us: a number must stay its child's.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _close_all_but_standard_streams()  # what others left open is not for strangers' pictures
    load()
    gc.freeze()
    workers: set[int] = set()
    with socket.socket(fileno=os.dup(0)) as control:
        while True:
            word, given, _, _ = socket.recv_fds(control, 1, 3)
            if not word:
                break
            _forget_the_dead(workers)
            child = None
            with contextlib.suppress(OSError):
                child = os.fork()
            if child == 0:
                control.close()
                stdin, stdout, memory = given
                os.dup2(stdin, 0)
                os.dup2(stdout, 1)
                shared = mmap.mmap(memory, CURRENT_FILE.size)
                for descriptor in given:
                    os.close(descriptor)
                main(shared=shared)
                os._exit(0)
            for descriptor in given:
                os.close(descriptor)
            if child:
                workers.add(child)
            with contextlib.suppress(BrokenPipeError):  # the scan is gone: the next word is its end
                control.sendall((child or 0).to_bytes(4))
    _forget_the_dead(workers)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    os._exit(0)  # to take down all that was loaded would take as long as to load it


def _close_all_but_standard_streams() -> None:
    # A container may allow a billion descriptors, and not every system closes a range in one call.
    try:
        open_ones = [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208  # no pathlib yet
    except OSError:
        open_ones = [*range(min(os.sysconf("SC_OPEN_MAX"), _DESCRIPTORS))]
    for number in open_ones:
        if number > 2:
            with contextlib.suppress(OSError):
                os.close(number)


def _forget_the_dead(workers: set[int]) -> None:
    # Only now: while one was not waited for its number was its own, and the supervisor could take hold of it.
    with contextlib.suppress(ChildProcessError):
        while number := os.waitpid(-1, os.WNOHANG)[0]:
            workers.discard(number)


def _receive(requests: IO[bytes], tasks: queue.SimpleQueue[Any]) -> None:
    """Read tasks ahead; when the supervisor is gone, end at once, even if a decoder hangs."""
    try:
        while True:
            tasks.put(read_frame(requests))
    except (EOFError, ValueError, OSError):
        os._exit(0)
