"""A trial of a file system whose files block whoever reads them, or return less than was asked for.

Such files are on network file systems whose server is gone or slow. Here a thread serves them through FUSE,
with the kernel's own protocol (`linux/fuse.h`). A process that waits for such an answer cannot be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode
from digitscan.prediction import Status
from digitscan.scanning.output.csv_format import CsvReader
from tests.stress.harness import Report, ScanRunner, ends_within, group_ends_soon, kill_group, wait_for_end
from tests.support.damaged_files import make_valid_file

TIMEOUT_SECONDS = 2
MAX_SECONDS_TO_GIVE_UP = 40
BYTES_PER_READ = 100
_BLOCKING_NAMES = ("blocking.png", "blocking without suffix")

_ROOT = 1
_IN_HEADER = struct.Struct("<IIQQIIIHH")
_OUT_HEADER = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _INIT = 1, 2, 3, 14, 15, 26
_OPENDIR, _READDIR, _INTERRUPT, _BATCH_FORGET = 27, 28, 36, 42
_DONE = {18, 25, 29}  # release, flush and releasedir need no work
_FOPEN_DIRECT_IO = 1  # else the kernel fills its page cache, and nobody sees a short read
_MNT_FORCE, _MNT_DETACH = 1, 2


class _SlowFiles:
    """Serves one folder of read-only files. The contents by name; None for a file that blocks."""

    def __init__(self, contents: dict[str, bytes | None], descriptor: int) -> None:
        self._names = list(contents)
        self._contents = list(contents.values())
        self._descriptor = descriptor

    def serve(self) -> None:
        """Answer requests until the folder is unmounted."""
        with contextlib.suppress(OSError):
            while request := os.read(self._descriptor, 1 << 17):
                _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(request)
                if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):  # these want no answer
                    continue
                answer = self._answer(opcode, node, request[_IN_HEADER.size :])
                if answer is not None:
                    error, data = (answer, b"") if isinstance(answer, int) else (0, answer)
                    header = _OUT_HEADER.pack(_OUT_HEADER.size + len(data), -error, unique)
                    os.write(self._descriptor, header + data)

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes | int | None:
        """Return the answer to a request, an error number, or None where the reader is to wait."""
        if opcode == _INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 16, 0, 16, 12, 1 << 16, 1, 32, 0, 0)
        if opcode == _LOOKUP:
            name = os.fsdecode(body.rstrip(b"\0"))
            if name not in self._names:
                return errno.ENOENT
            child = self._names.index(name) + _ROOT + 1
            return struct.pack("<QQQQII", child, 0, 0, 0, 0, 0) + self._attributes(child)
        if opcode == _GETATTR:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode in (_OPEN, _OPENDIR):
            return struct.pack("<QII", 0, _FOPEN_DIRECT_IO if opcode == _OPEN else 0, 0)
        if opcode in (_READ, _READDIR):
            _, offset, size = struct.unpack_from("<QQI", body)
            return self._list(offset, size) if opcode == _READDIR else self._read(node, offset, size)
        return b"" if opcode in _DONE else errno.ENOSYS

    def _attributes(self, node: int) -> bytes:
        mode, size = stat.S_IFDIR | 0o755, 0
        if node != _ROOT:
            content = self._contents[node - _ROOT - 1]
            mode, size = stat.S_IFREG | 0o644, 1000 if content is None else len(content)
        return _ATTRIBUTES.pack(node, size, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _list(self, offset: int, size: int) -> bytes:
        entries = b""
        for index, name in enumerate(self._names[offset:], offset):
            encoded = os.fsencode(name)
            entry = (
                struct.pack("<QQII", index + _ROOT + 1, index + 1, len(encoded), stat.S_IFREG >> 12) + encoded
            )
            entry += bytes(-len(entry) % 8)
            if len(entries) + len(entry) > size:
                break
            entries += entry
        return entries

    def _read(self, node: int, offset: int, size: int) -> bytes | None:
        content = self._contents[node - _ROOT - 1]
        return None if content is None else content[offset : offset + min(size, BYTES_PER_READ)]


@contextlib.contextmanager
def _mount(folder: Path, contents: dict[str, bytes | None]) -> Iterator[bool]:
    """Mount slow files at a folder; give whether that could be done: only root may."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        yield False
        return
    options = f"fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other"
    is_mounted = libc.mount(b"slow-files", os.fsencode(folder), b"fuse", 0, options.encode()) == 0
    thread = threading.Thread(target=_SlowFiles(contents, descriptor).serve, daemon=True)
    try:
        if is_mounted:
            thread.start()
        yield is_mounted
    finally:
        if is_mounted:
            # All that wait for an answer get an error.
            libc.umount2(os.fsencode(folder), _MNT_FORCE | _MNT_DETACH)
        os.close(descriptor)


def scan_slow_files(runner: ScanRunner, report: Report) -> None:
    """Scan pictures that come in small pieces, and files that never come."""
    trial = f"files that block for ever, and files that return {BYTES_PER_READ} bytes at a time"
    random, plain, folder = Random(1), runner.new_path("plain"), runner.new_path("slow")
    plain.mkdir()
    folder.mkdir()
    contents: dict[str, bytes | None] = dict.fromkeys(_BLOCKING_NAMES)
    for image_format in ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"):
        for name in (f"{image_format}.{image_format.lower()}", f"{image_format} without suffix"):
            contents[name] = make_valid_file(image_format, random)
            (plain / name).write_bytes(contents[name] or b"")
    expected = runner.scan_undisturbed(plain).splitlines()
    output = runner.new_path("rows.csv")
    with _mount(folder, contents) as is_mounted:
        if not is_mounted:
            report.add(trial, "0 files", [], "not tried: only root may mount a file system")
            return
        start = time.monotonic()
        process = runner.start(folder, "-o", output, "--timeout", str(TIMEOUT_SECONDS))
        losses = [] if ends_within(process, MAX_SECONDS_TO_GIVE_UP) else ["the scan did not end"]
        seconds = time.monotonic() - start
        kill_group(process)
    outcome = wait_for_end(process)
    losses += outcome.find_faults()
    if outcome.exit_code != ExitCode.UNREADABLE_FILES:
        losses.append(f"exit code {outcome.exit_code}: {outcome.stderr}")
    blocked = {row.path: row for row in CsvReader(output) if row.path in _BLOCKING_NAMES}
    losses += [
        name for name in _BLOCKING_NAMES if name not in blocked or blocked[name].status != Status.ERROR
    ]
    rest = [line for line in output.read_bytes().splitlines() if not line.startswith(b"blocking")]
    losses += [line.decode() for line in expected if line not in rest]
    if len(rest) != len(expected):
        losses.append(f"{len(rest)} rows, not {len(expected)}")
    if not group_ends_soon(process.pid):
        losses.append("a process is left when the file system is gone")
    summary = f"an error row for each that blocks, the scan ended after {seconds:.0f} s with `--timeout 2`"
    report.add(trial, f"{len(contents)} files", losses, summary)
