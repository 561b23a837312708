"""A worker that decodes no images for a training: the text of each file says what the worker does with it.

    digit          answers with a picture
    hang           never returns
    crash          ends the process
    garbage        answers with something else than a picture
    anything else  is the reason why the file has no digit

Started as `stub_preprocess_worker.py PACKAGE_FOLDER [MARKER]`. If the file MARKER does not exist, the worker
creates it and kills itself at the first file that it reads.
"""

import base64
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from digitscan.workers.image_processor import ProcessFiles, SetCurrent
from digitscan.workers.preprocessor import PreprocessedRow
from digitscan.workers.protocol import FileLocation
from digitscan.workers.worker import answer_tasks


def load_processor(setup: object) -> ProcessFiles:
    """Stands in for `load_preprocessor`."""
    return process_files


def process_files(files: list[FileLocation], set_current: SetCurrent) -> list[PreprocessedRow]:
    """Do what the texts of the files say; return their rows."""
    rows = []
    for index, file in enumerate(files):
        set_current(index)
        if len(sys.argv) > 2 and not Path(sys.argv[2]).exists():
            Path(sys.argv[2]).touch()
            os._exit(1)
        text = Path(file.path).read_text()
        if text == "hang":
            time.sleep(600)
        if text == "crash":
            os._exit(1)
        if text == "digit":
            rows.append(PreprocessedRow(base64.b64encode(bytes(784)).decode(), ""))
        elif text == "garbage":
            rows.append(PreprocessedRow("!", ""))
        else:
            rows.append(PreprocessedRow(None, text))
    return rows


if __name__ == "__main__":
    answer_tasks(load_processor)
