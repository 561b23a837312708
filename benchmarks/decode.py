"""Decoding alone, in several processes: the time that no reader of the same files can beat with Pillow.

python -m benchmarks.decode FOLDER PROCESSES
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from PIL import Image

MOST_AT_ONCE = 256


def decode(paths: list[str]) -> int:
    """Open and decode the files, at full size; return how many."""
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths)


def main() -> None:
    """Decode every file of a folder and print how many there were."""
    folder, process_factory = sys.argv[1], int(sys.argv[2])
    paths = sorted(entry.path for entry in os.scandir(folder))
    # Small enough at the end that all processes are busy all the time.
    size = max(1, min(MOST_AT_ONCE, len(paths) // (8 * process_factory)))
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    with multiprocessing.get_context("fork").Pool(process_factory) as pool:
        print(sum(pool.imap_unordered(decode, chunks)))


if __name__ == "__main__":
    main()
