"""Measure how long users wait: `python -m benchmarks.speed [--ccexam COMMAND] [--rounds N] [--files COUNT]`.

Whole commands are timed from outside, in turn, in several rounds. A ratio is the median of the rounds'
ratios, which a machine that changes its speed does not move. A rate is the slope between two folders, so that
start-up is left out. The first round does not count, so that files come from the page cache: the disk is not
measured. Prints Markdown. Linux only.
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
from benchmarks.pictures import make_jpegs, make_links, make_pngs
from digitscan.model.model_files import resolve_model
from digitscan.system.resources import count_usable_cores
from tests.support.processes import measure_command, median_ratio, time_command, time_in_turn

ROUNDS = 5

TimedCommand = Callable[[], float]
"""Runs a command once and returns its seconds."""


class Commands:
    """The commands that are timed. Scans write their rows to new files in `scratch`."""

    def __init__(self, scratch: Path) -> None:
        """Use an existing folder."""
        self._scratch, self._indices = scratch, itertools.count()

    def scan_command(self, folder: Path) -> tuple[list[str], Path]:
        """Return the command line of a scan and the new file that it writes."""
        output = self._scratch / f"rows-{next(self._indices)}.csv"
        command = [sys.executable, "-m", "digitscan", "scan", str(folder), "--model", "cnn", "--quiet"]
        return [*command, "-o", str(output)], output

    def scan(self, folder: Path) -> TimedCommand:
        """Scan a folder into a new file."""
        return lambda: time_command(self.scan_command(folder)[0])

    def module(self, name: str, *arguments: str) -> TimedCommand:
        """Run `python -m NAME ARGUMENTS`."""
        return lambda: time_command([sys.executable, "-m", name, *arguments])

    def decode(self, folder: Path) -> TimedCommand:
        """Decode a folder with Pillow in as many processes as a scan has."""
        return self.module("benchmarks.decode", str(folder), str(count_usable_cores()))

    def keras_script(self, folder: Path, mode: str) -> TimedCommand:
        """Read a folder with Keras and the bundled MLP; `mode` is "one" or "batch"."""
        return self.module("benchmarks.keras_script", str(resolve_model("mlp").path), str(folder), mode)


def print_row(name: str, ours: str, other: str, comparison: str) -> None:
    """Print a line of the table at once."""
    print(f"| {name} | {ours} | {other} | {comparison} |", flush=True)


def print_help(commands: Commands, rounds: int) -> None:
    """Print how much longer `--help` takes than starting Python."""
    seconds = time_in_turn(
        {
            "help": commands.module("digitscan", "--help"),
            "pass": lambda: time_command([sys.executable, "-c", "pass"]),
        },
        3 * rounds,
    )
    ours, bare = median(seconds["help"]), median(seconds["pass"])
    print_row("`--help`, against `python -c pass`", f"{ours:.2f} s", f"{bare:.2f} s", f"+{ours - bare:.2f} s")


def print_whole_command(name: str, ours: TimedCommand, other: TimedCommand, rounds: int) -> None:
    """Print how much faster one whole command is than another."""
    seconds = time_in_turn({"ours": ours, "other": other}, rounds)
    print_row(
        name,
        f"{median(seconds['ours']):.2f} s",
        f"{median(seconds['other']):.2f} s",
        f"{median_ratio(seconds['other'], seconds['ours']):.1f} x faster",
    )


def print_rate(name: str, few: Path, many: Path, commands: Commands, rounds: int) -> None:
    """Print the images per second of a scan and of decoding alone, without start-up."""
    file_count = _count_files(many) - _count_files(few)
    seconds = time_in_turn(
        {
            "scan few": commands.scan(few),
            "decode few": commands.decode(few),
            "scan many": commands.scan(many),
            "decode many": commands.decode(many),
        },
        rounds,
    )

    def seconds_per_image(command: str) -> float:
        return (median(seconds[f"{command} many"]) - median(seconds[f"{command} few"])) / file_count

    print_row(
        name,
        f"{1 / seconds_per_image('scan'):,.0f} images/s",
        f"{1 / seconds_per_image('decode'):,.0f} images/s",
        f"{seconds_per_image('decode') / seconds_per_image('scan'):.2f}",
    )


def print_growth(tiny: Path, few: Path, many: Path, commands: Commands, rounds: int) -> None:
    """Print how memory and time grow from a small folder to a huge one, and when its first row is written.

    The time for a tiny folder is subtracted as start-up.
    """
    start_up = median(commands.scan(tiny)() for _ in range(9))
    seconds = time_in_turn({"few": commands.scan(few), "many": commands.scan(many)}, rounds)
    few_count, many_count = _count_files(few), _count_files(many)
    few_measured, many_measured = (measure_command(*commands.scan_command(folder)) for folder in (few, many))
    span = f"{few_count:,} -> {many_count:,} files"
    print_row(
        f"peak memory, all processes, {span}",
        f"{many_measured.peak_megabytes:.0f} MB",
        f"{few_measured.peak_megabytes:.0f} MB",
        f"{many_measured.peak_megabytes / few_measured.peak_megabytes:.2f}",
    )
    few_microseconds = 1e6 * (median(seconds["few"]) - start_up) / few_count
    many_microseconds = 1e6 * (median(seconds["many"]) - start_up) / many_count
    print_row(
        f"time per image after start-up, {span}",
        f"{many_microseconds:.0f} us",
        f"{few_microseconds:.0f} us",
        f"{many_microseconds / few_microseconds:.2f}",
    )
    first_row = f"{many_measured.seconds_to_first_row:.2f} s"
    print_row(f"first row on disk, {many_count:,} files", first_row, "", "")


def _count_files(folder: Path) -> int:
    return sum(1 for _ in os.scandir(folder))


def print_jpegs(scratch: Path, commands: Commands, rounds: int) -> None:
    """Print the rates for small and large JPEGs, gray and colour, and the time for 200 large ones."""
    for kind in ("gray", "colour"):
        few = make_jpegs(scratch / f"{kind}-jpegs", 2_000, 200, 200, kind)
        many = make_jpegs(scratch / f"many-{kind}-jpegs", 10_000, 200, 200, kind)
        print_rate(f"{kind} JPEGs of 200x200, against decoding alone", few, many, commands, rounds)
        few = make_jpegs(scratch / f"large-{kind}", 200, 1200, 900, kind)
        many = make_jpegs(scratch / f"many-large-{kind}", 1_000, 1200, 900, kind)
        name = f"{kind} JPEGs of 1200x900, against decoding alone at full size"
        print_rate(name, few, many, commands, rounds)
        name = f"200 {kind} JPEGs of 1200x900, the whole process"
        print_whole_command(name, commands.scan(few), commands.decode(few), rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ccexam", type=Path, help="path of `ccexam-infer`, after `pip install ccexam`")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--files", type=int, default=300_000, help="files in the huge folder")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
    print(f"{count_usable_cores()} cores, {machine}\n")
    print("| | digitscan | the other | ratio |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="digitscan-speed-") as name:
        scratch = Path(name)
        # pip compiles what it installs; a checkout may have no byte code.
        compileall.compile_dir(Path(digitscan.__file__).parent, quiet=1)
        commands = Commands(scratch)
        ten, pngs = make_pngs(scratch / "ten", 10), make_pngs(scratch / "pngs", 10_000)
        print_help(commands, rounds)
        keras_one, keras_batch = commands.keras_script(ten, "one"), commands.keras_script(pngs, "batch")
        print_whole_command("10 images, against a Keras script", commands.scan(ten), keras_one, rounds)
        many = make_pngs(scratch / "many-pngs", 50_000)
        print_rate("28x28 PNGs, against decoding alone", pngs, many, commands, rounds)
        print_jpegs(scratch, commands, rounds)
        title = "10,000 PNGs, against a Keras script with one batch"
        print_whole_command(title, commands.scan(pngs), keras_batch, rounds)
        if arguments.ccexam:
            ccexam = [str(arguments.ccexam), "--model", "mnist", "--input", str(pngs)]
            title = "10,000 PNGs, against `ccexam`"
            print_whole_command(title, commands.scan(pngs), lambda: time_command(ccexam), rounds)
        huge = make_links(scratch / "huge", arguments.files, pngs)
        print_growth(ten, pngs, huge, commands, min(rounds, 3))


if __name__ == "__main__":
    main()
