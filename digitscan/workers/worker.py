"""The process that reads files for a scan: opens, preprocesses and classifies, a chunk at a time.

Started by `supervise`, and told what to do in frames on stdin: 4 bytes of length, then JSON. Frames,
never pickle: a worker that a picture has taken over could answer with nothing but rows. Which file is
in hand stands in a little shared memory, so that the supervisor knows it even when this process is gone.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import signal
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from digitscan.errors import DigitscanError, ImageError
from digitscan.scanning.output.csv_format import Status
from digitscan.system.resources import limit_memory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from digitscan.imaging.decode import OpenedImage
    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.metadata import ModelFacts

Row = tuple[int | None, float | None, str, str, list[float] | None]
"""digit, confidence, status, note, probabilities: a Prediction but for its path."""

IN_HAND = struct.Struct("<II")
"""The shared memory: serial number of the task, index of the file in it (their count: classifying)."""

MEMORY = 2 << 30
MEMORY_A_PIXEL = 32
"""A process may use so much, and so much more for each pixel that a file may have: several times its need."""

HELD_PIXELS = 1 << 20
"""Opened pictures of so many pixels are looked at before more are opened."""

ReadFiles = Callable[[list[str], Callable[[int], object]], list[Row]]
"""Paths, and what to call with the index of each before it is opened -> their rows, in order."""

_LENGTH = struct.Struct(">I")
_LONGEST_FRAME = 1 << 28
_DESCRIPTORS = 1 << 12


def write_frame(file: IO[bytes], content: Any) -> None:
    """Write one JSON value as a frame and flush it."""
    data = json.dumps(content, separators=(",", ":")).encode()
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """Return the next frame's JSON value. Raises EOFError where the stream ends, ValueError if it is none."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _LONGEST_FRAME:
        raise ValueError("no frame")
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return json.loads(data)


@dataclass(frozen=True)
class Reader:
    """What turns files into rows; whatever is wrong with one file stays in that file's row."""

    classifier: Classifier | Cascade
    facts: ModelFacts
    min_confidence: float | None
    probabilities: bool
    max_megapixels: float

    def read(self, paths: list[str], in_hand: Callable[[int], object]) -> list[Row]:
        """Return one row for each path, in order, calling `in_hand` with each index before it is opened."""
        from digitscan.imaging.decode import open_image

        rows: list[Row] = [_failed("")] * len(paths)
        seen: list[tuple[int, NDArray[np.uint8], str]] = []
        opened: list[tuple[int, OpenedImage]] = []
        held = 0
        for index, path in enumerate(paths):
            in_hand(index)
            try:
                picture = open_image(path, self.max_megapixels)
            except Exception as error:
                rows[index] = _failed(_reason(error))
                continue
            opened.append((index, picture))
            held += picture.pixels.size
            # Several are opened, then looked at: the processor keeps the code of one step at hand.
            if held > HELD_PIXELS:
                self._look_at(paths, opened, rows, seen, in_hand)
                opened, held = [], 0
        self._look_at(paths, opened, rows, seen, in_hand)
        in_hand(len(paths))
        self._classify(rows, seen)
        return rows

    def _look_at(
        self,
        paths: list[str],
        opened: list[tuple[int, OpenedImage]],
        rows: list[Row],
        seen: list[tuple[int, NDArray[np.uint8], str]],
        in_hand: Callable[[int], object],
    ) -> None:
        """Preprocess: what may be a digit goes to `seen` with its notes, the rest has its row."""
        from digitscan.imaging.decode import SHORT_SIDE_CLOSE, open_image
        from digitscan.imaging.preprocess import SMALL_DIGIT, preprocess
        from digitscan.imaging.preprocess_batch import is_small, preprocess_together

        in_hand(len(paths))  # none alone: if this ends the process, the supervisor tries parts of them
        small = {index: picture.pixels for index, picture in opened if is_small(picture.pixels)}
        done = dict(zip(small, preprocess_together(list(small.values())), strict=True))
        for index, picture in opened:
            looked = done.get(index)
            try:
                if looked is None:
                    in_hand(index)
                    looked = preprocess(picture.pixels)
                if picture.reduced and 0 < looked.digit_side < SMALL_DIGIT:
                    closer = open_image(paths[index], self.max_megapixels, SHORT_SIDE_CLOSE)
                    looked = preprocess(closer.pixels)
            except Exception as error:
                rows[index] = _failed(_reason(error))
                continue
            notes = (*picture.notes, *looked.notes)
            if looked.pixels is None:
                note = "; ".join((looked.refusal or "no digit", *notes))
                rows[index] = (None, None, Status.NO_DIGIT, note, None)
            else:
                seen.append((index, looked.pixels, "; ".join(notes)))

    def _classify(self, rows: list[Row], seen: list[tuple[int, NDArray[np.uint8], str]]) -> None:
        import numpy as np

        from digitscan.model.classifier import decide

        if not seen:
            return
        answers = self.classifier.classify(np.stack([pixels for _, pixels, _ in seen])).tolist()
        for (index, _, done), answer in zip(seen, answers, strict=True):
            digit, confidence, status, note = decide(answer, self.facts, self.min_confidence)
            note = f"{note}; {done}" if note and done else note or done
            ten = [round(p, 6) for p in answer[:10]] if self.probabilities else None
            rows[index] = (digit, confidence, status, note, ten)


def _failed(reason: str) -> Row:
    return None, None, Status.ERROR, reason, None


def _reason(error: Exception) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "too large: not enough memory to read it"
    return f"unexpected: {type(error).__name__}"  # a bug met by one file must not cost the others their rows


def read_files(setup: dict[str, Any]) -> ReadFiles:
    """Make ready to read files with the program that the supervisor names. Raises ModelError."""
    import cv2

    from digitscan.model.classifier import Cascade, Classifier
    from digitscan.model.compiled_cache import read_program
    from digitscan.model.metadata import ModelFacts

    def ready(model: dict[str, str]) -> tuple[Classifier, ModelFacts]:
        facts = ModelFacts.from_json(model["facts"])
        return Classifier(read_program(model["program"], model["program_digest"]), facts), facts

    limit_memory(MEMORY + int(MEMORY_A_PIXEL * 1e6 * setup["max_megapixels"]))
    # One process a core: threads of the libraries would only fight each other.
    cv2.setNumThreads(1)
    classifier: Classifier | Cascade
    classifier, facts = ready(setup["model"])
    if setup["quick"]:
        quick, its_facts = ready(setup["quick"])
        assert its_facts.sure is not None
        classifier = Cascade(quick, its_facts.sure, classifier)
    reader = Reader(
        classifier, facts, setup["min_confidence"], setup["probabilities"], setup["max_megapixels"]
    )
    return reader.read


def load() -> None:
    """Import what reading files takes; the first frame is not there yet."""
    import cv2  # noqa: F401  # each is needed later
    import numpy as np  # noqa: F401

    from digitscan.imaging import decode, preprocess_batch  # noqa: F401
    from digitscan.model import classifier, compiled_cache  # noqa: F401

    with contextlib.suppress(ImportError):  # there is another where this has no wheel
        import ai_edge_litert.interpreter  # noqa: F401


def work() -> None:
    """Load what reading files takes, then answer."""
    main(prepare=load)


def main(
    make_ready: Callable[[dict[str, Any]], ReadFiles] = read_files,
    shared: mmap.mmap | None = None,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Answer frames on stdin with frames on stdout until stdin closes.

    `make_ready` gets the first frame and returns what turns paths into rows. `shared` is where to note what
    is in hand, else the first frame names a file for it. `prepare` is called when
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
        read = make_ready(setup)
    except DigitscanError as error:
        write_frame(answers, {"refused": str(error)})
        return
    write_frame(answers, {"ready": os.getpid()})
    while True:
        serial, paths = tasks.get()
        start = time.perf_counter()
        rows = read(paths, partial(IN_HAND.pack_into, in_hand, 0, serial))
        write_frame(answers, {"serial": serial, "seconds": time.perf_counter() - start, "rows": rows})


def _open_shared(name: str) -> mmap.mmap:
    with open(name, "r+b") as file:  # noqa: PTH123  # a plain name, before pathlib is needed
        shared = mmap.mmap(file.fileno(), IN_HAND.size)
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
                shared = mmap.mmap(memory, IN_HAND.size)
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
