"""Decode a folder of images with Pillow in several processes: `python -m benchmarks.decode FOLDER PROCESSES`.

`benchmarks.speed` compares scans with it: no reader that decodes the same files with Pillow can be faster.
"""

from __future__ import annotations

import multiprocessing
import os
import sys

from PIL import Image

MAX_CHUNK_SIZE = 256


def decode(paths: list[str]) -> int:
    """Decode files at full size; return how many."""
    for path in paths:
        with Image.open(path) as image:
            image.load()
    return len(paths)


def main() -> None:
    """Decode every file of a folder and print how many there were."""
    folder, process_count = sys.argv[1], int(sys.argv[2])
    paths = sorted(entry.path for entry in os.scandir(folder))
    # Chunks so small that all processes are busy until the end.
    size = max(1, min(MAX_CHUNK_SIZE, len(paths) // (8 * process_count)))
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    with multiprocessing.get_context("fork").Pool(process_count) as pool:
        print(sum(pool.imap_unordered(decode, chunks)))


if __name__ == "__main__":
    main()
