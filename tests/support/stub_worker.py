"""A worker that reads no images: each file's text says what happens to the process that reads it.

"7" is answered with digit 7; "hang" never returns; "crash" ends the process; "noise" prints as a native
library would; "slow 7" takes a while. Started as: stub_worker.py FOLDER_OF_THE_PACKAGE [MARK]; where
MARK is a file that does not exist yet, the worker creates it and kills itself at the tenth file it reads.
"""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from digitscan.errors import ModelError
from digitscan.workers.worker import main


def load_processor(setup):
    if setup["model"]["compiled_path"] == "refuse":
        raise ModelError("the stub refuses this model")
    if setup["model"]["compiled_path"] == "die":
        os._exit(1)
    read = 0

    def load_image_processor(paths, in_hand):
        nonlocal read
        rows = []
        for index, path in enumerate(paths):
            in_hand(index)
            read += 1
            if len(sys.argv) > 2 and read == 10 and not Path(sys.argv[2]).exists():
                Path(sys.argv[2]).touch()
                os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
            rows.append(row(Path(path).read_text()))
        in_hand(len(paths))
        if "crash while classifying" in {Path(path).read_text() for path in paths}:
            os._exit(1)
        return rows

    return load_image_processor


def row(text):
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
        return int(text), 0.9, "ok", "", None
    return None, None, "error", text, None


main(load_processor)
