"""How long a user waits: `python -m benchmarks.speed [--ccexam COMMAND] [--rounds N] [--files COUNT]`.

Whole commands, timed from outside, in turn and in several rounds; a ratio is the median of the rounds'
ratios, which a drift of the machine's speed does not move. A rate is the slope between two folders, so that
start-up is left out. The first round does not count, so the files come out of the page cache: what is
measured is not the disk but what a reader adds to it. Prints Markdown. Linux.
"""

from __future__ import annotations

import argparse
import compileall
import itertools
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import digitscan
from benchmarks.pictures import make_jpegs, make_many, make_pngs
from digitscan.model.registry import resolve_model
from digitscan.system.resources import usable_cores
from tests.support.processes import in_turn, ratio, run, run_and_watch

ROUNDS = 5
Command = Callable[[], float]


class Commands:
    """What is timed; each returns a function that runs the command once and returns its seconds."""

    def __init__(self, scratch: Path) -> None:
        """Let scans write their rows into `scratch`."""
        self._scratch, self._numbers = scratch, itertools.count()

    def scan_words(self, folder: Path) -> tuple[list[str], Path]:
        """Return a scan's words, and the new file that it writes."""
        output = self._scratch / f"rows-{next(self._numbers)}.csv"
        words = [sys.executable, "-m", "digitscan", "scan", str(folder), "--model", "cnn", "--quiet"]
        return [*words, "-o", str(output)], output

    def scan(self, folder: Path) -> Command:
        """Scan a folder into a new file."""
        return lambda: run(self.scan_words(folder)[0])

    def module(self, *words: str) -> Command:
        """Run `python -m WORDS`."""
        return lambda: run([sys.executable, "-m", *words])

    def decode(self, folder: Path) -> Command:
        """Decode a folder with Pillow in as many processes as a scan has."""
        return self.module("benchmarks.decode", str(folder), str(usable_cores()))

    def keras_script(self, folder: Path, how: str) -> Command:
        """Read a folder with Keras and the shipped MLP."""
        return self.module("benchmarks.keras_script", str(resolve_model("mlp").path), str(folder), how)


def print_row(what: str, ours: str, other: str, times: str) -> None:
    """Print a line of the table at once."""
    print(f"| {what} | {ours} | {other} | {times} |", flush=True)


def print_help(commands: Commands, generator: int) -> None:
    """Print what `--help` takes more than Python itself."""
    taken = in_turn(
        {
            "help": commands.module("digitscan", "--help"),
            "pass": lambda: run([sys.executable, "-c", "pass"]),
        },
        3 * generator,
    )
    ours, bare = median(taken["help"]), median(taken["pass"])
    print_row("`--help`, against `python -c pass`", f"{ours:.2f} s", f"{bare:.2f} s", f"+{ours - bare:.2f} s")


def print_whole(what: str, ours: Command, other: Command, generator: int) -> None:
    """Print how much faster one whole command is than another."""
    taken = in_turn({"ours": ours, "other": other}, generator)
    times = ratio(taken["other"], taken["ours"])
    print_row(what, _seconds(taken["ours"]), _seconds(taken["other"]), f"{times:.1f} x faster")


def _seconds(taken: list[float]) -> str:
    return f"{median(taken):.2f} s"


def print_rate(what: str, few: Path, many: Path, commands: Commands, generator: int) -> None:
    """Print images/s of a scan and of decoding alone, start-up left out."""
    files = sum(1 for _ in os.scandir(many)) - sum(1 for _ in os.scandir(few))
    taken = in_turn(
        {
            "scan few": commands.scan(few),
            "decode few": commands.decode(few),
            "scan many": commands.scan(many),
            "decode many": commands.decode(many),
        },
        generator,
    )

    def slope(name: str) -> float:
        return (median(taken[f"{name} many"]) - median(taken[f"{name} few"])) / files

    print_row(
        what,
        f"{1 / slope('scan'):,.0f} images/s",
        f"{1 / slope('decode'):,.0f} images/s",
        f"{slope('decode') / slope('scan'):.2f}",
    )


def print_growth(tiny: Path, few: Path, many: Path, commands: Commands, generator: int) -> None:
    """Print how memory and time grow from a small folder to a huge one, and when the first row is there.

    Start-up, which is left out, is what a tiny folder takes.
    """
    start_up = median(commands.scan(tiny)() for _ in range(9))
    taken = in_turn({"few": commands.scan(few), "many": commands.scan(many)}, generator)
    files = [sum(1 for _ in os.scandir(folder)) for folder in (few, many)]
    small, large = (run_and_watch(*commands.scan_words(folder)) for folder in (few, many))
    span = f"{files[0]:,} -> {files[1]:,} files"
    print_row(
        f"peak memory, all processes, {span}",
        f"{large.peak_megabytes:.0f} MB",
        f"{small.peak_megabytes:.0f} MB",
        f"{large.peak_megabytes / small.peak_megabytes:.2f}",
    )
    each = [
        1e6 * (median(seconds) - start_up) / count
        for seconds, count in zip(taken.values(), files, strict=True)
    ]
    print_row(
        f"time an image after start-up, {span}",
        f"{each[1]:.0f} us",
        f"{each[0]:.0f} us",
        f"{each[1] / each[0]:.2f}",
    )
    print_row(f"first row on disk, {files[1]:,} files", f"{large.seconds_to_first_row:.2f} s", "", "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ccexam", type=Path, help="`ccexam-infer`, where `pip install ccexam` put it")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--files", type=int, default=300_000, help="names in the huge folder")
    arguments = parser.parse_args()
    generator = arguments.generator
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    print(f"{usable_cores()} cores, {machine}\n")
    print("| | digitscan | the other | ratio |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="digitscan-speed-") as name:
        scratch = Path(name)
        # As installed: a checkout may have no byte code.
        compileall.compile_dir(Path(digitscan.__file__).parent, quiet=1)
        commands = Commands(scratch)
        ten, pngs = make_pngs(scratch / "ten", 10), make_pngs(scratch / "pngs", 10_000)
        print_help(commands, generator)
        keras_one = commands.keras_script(ten, "one")
        print_whole("10 images, against a Keras script", commands.scan(ten), keras_one, generator)
        many = make_pngs(scratch / "many-pngs", 50_000)
        print_rate("28x28 PNGs, against decoding alone", pngs, many, commands, generator)
        for kind in ("gray", "colour"):
            few = make_jpegs(scratch / f"{kind}-jpegs", 2_000, 200, 200, kind)
            many = make_jpegs(scratch / f"many-{kind}-jpegs", 10_000, 200, 200, kind)
            print_rate(f"{kind} JPEGs of 200x200, against decoding alone", few, many, commands, generator)
            few = make_jpegs(scratch / f"large-{kind}", 200, 1200, 900, kind)
            many = make_jpegs(scratch / f"many-large-{kind}", 1_000, 1200, 900, kind)
            what = f"{kind} JPEGs of 1200x900, against decoding alone at full size"
            print_rate(what, few, many, commands, generator)
            print_whole(
                f"200 {kind} JPEGs of 1200x900, the whole process",
                commands.scan(few),
                commands.decode(few),
                generator,
            )
        print_whole(
            "10,000 PNGs, against a Keras script with one batch",
            commands.scan(pngs),
            commands.keras_script(pngs, "batch"),
            generator,
        )
        if arguments.ccexam:
            words = [str(arguments.ccexam), "--model", "mnist", "--input", str(pngs)]
            what = "10,000 PNGs, against `ccexam`"
            print_whole(what, commands.scan(pngs), lambda: run(words), generator)
        huge = make_many(scratch / "huge", arguments.files, pngs)
        print_growth(ten, pngs, huge, commands, min(generator, 3))


if __name__ == "__main__":
    main()
