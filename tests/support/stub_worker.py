"""A worker that decodes no images: the text of each file says what the worker does with it.

    7                         answers with digit 7
    slow 7                    does so after a twentieth of a second
    noise                     prints to stdout as a native library would, and answers with digit 3
    hang                      never returns
    crash                     ends the process
    crash while classifying   ends the process when all files of its task are read
    anything else             is the note of a row with status "error"

Each line of a text is a page of its file.

Asked to read numbers, it answers with the whole text where that begins with a digit or with `=`.

Asked for the kinds of files, it takes a digit for an image and other texts for something else. Asked how
many pages files have, it counts the lines, and does what the first one says.

Started as `stub_worker.py PACKAGE_FOLDER [MARKER]`. If the file MARKER does not exist, the worker creates it
and kills itself at the tenth file that it reads.
"""

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from digitscan.errors import ModelError
from digitscan.workers.file_kinds import FileKind
from digitscan.workers.image_processor import ProcessFiles, SetCurrent
from digitscan.workers.protocol import FileLocation, ImageSetup, WorkerRow
from digitscan.workers.worker import answer_tasks

KILLED_AT_FILE = 10


def load_processor(setup: ImageSetup) -> ProcessFiles:
    """Stands in for `load_image_processor`; the path of the compiled model may say what goes wrong."""
    if setup["does"] == "detect kinds":
        return detect_kinds
    if setup["does"] == "count pages":
        return count_pages
    if setup["does"] == "read numbers":
        return process_numbers
    if setup["model"]["compiled_path"] == "refuse":
        raise ModelError("the stub refuses this model")
    if setup["model"]["compiled_path"] == "die":
        os._exit(1)
    return process_files


def process_files(files: Sequence[FileLocation], set_current: SetCurrent) -> list[WorkerRow]:
    """Do what the texts of the files say; return their rows."""
    texts = []
    rows = []
    for text in read_texts(files, set_current):
        texts.append(text)
        rows.append(process_file(text))
    set_current(len(files))
    if "crash while classifying" in texts:
        os._exit(1)
    return rows


def process_numbers(files: Sequence[FileLocation], set_current: SetCurrent) -> list[WorkerRow]:
    """Stands in for the method of a NumberProcessor; the confidence of each digit is 0.5."""
    rows = []
    for text in read_texts(files, set_current):
        if text.startswith((*"0123456789=",)):
            rows.append(WorkerRow(None, 0.9, "ok", "", None, text, [0.5] * len(text)))
        else:
            rows.append(process_file(text))
    set_current(len(files))
    return rows


def detect_kinds(files: Sequence[FileLocation], set_current: SetCurrent) -> list[FileKind]:
    """Stands in for the function of that name; returns the kinds of files by their text."""
    rows = map(process_file, read_texts(files, set_current))
    return [FileKind.OTHER if row.digit is None else FileKind.IMAGE for row in rows]


def count_pages(files: Sequence[FileLocation], set_current: SetCurrent) -> list[int]:
    """Stands in for the function that counts the pages of files."""
    counts = []
    for text in read_texts(files, set_current):
        process_file(text.partition("\n")[0])
        counts.append(text.count("\n") + 1)
    return counts


read_numbers = itertools.count(1)


def read_texts(files: Sequence[FileLocation], set_current: SetCurrent) -> Iterator[str]:
    """Yield the texts of the files, one when the one before it is done."""
    for index, file in enumerate(files):
        set_current(index)
        is_killed = next(read_numbers) == KILLED_AT_FILE
        if is_killed and len(sys.argv) > 2 and not Path(sys.argv[2]).exists():
            Path(sys.argv[2]).touch()
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        text = Path(file.path).read_text()
        yield text.split("\n")[file.page - 1] if file.page else text


def process_file(text: str) -> WorkerRow:
    """Do what the text of a file says; return its row."""
    if text == "hang":
        time.sleep(3600)
    if text == "crash":
        os._exit(1)
    if text == "noise":
        os.write(1, b"a native library says hello\n")
        text = "3"
    if text.startswith("slow"):
        time.sleep(0.05)
        text = text.split()[1]
    if text.isdigit():
        return WorkerRow(int(text), 0.9, "ok", "", None)
    return WorkerRow(None, None, "error", text, None)


answer_tasks(load_processor)
