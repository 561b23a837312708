"""A trial of terminals: no name of a file may reach one as something that it obeys."""

from __future__ import annotations

import contextlib
import os
import pty
import re

from tests.stress.harness import Report, ScanRunner
from tests.support.command import Argument
from tests.support.crafted_files import HOSTILE_NAMES
from tests.support.pictures import digit_picture

_PICTURES = 14
_OWN_CODES = re.compile(r"\x1b\[[0-9;]*[mKA]|\r|\n")
"""What digitscan itself sends: colours, erasing a line, a line up, the ends of lines."""


def show_names_on_terminal(runner: ScanRunner, report: Report) -> None:
    """Scan and train on a terminal, with escape sequences in the names of files that cannot be read."""
    folder = runner.new_path("names") / "data"
    (folder / "7").mkdir(parents=True)
    for index in range(_PICTURES):
        digit_picture(28 + index).save(folder / "7" / f"{index}.png")
    for hostile_name in HOSTILE_NAMES:
        (folder / "7" / os.fsdecode(hostile_name)).write_bytes(b"no image")
    commands: list[tuple[str, list[Argument]]] = [
        ("scan", ["scan", folder, "-o", "-"]),
        ("scan into a file", ["scan", folder, "-o", runner.new_path("rows.csv")]),
        (
            "train",
            ["train", "--arch", "mlp", "--data", folder, "--epochs", "1", "-o", runner.new_path("a.h5")],
        ),
    ]
    losses = []
    for name, (subcommand, *arguments) in commands:
        text = _run_on_terminal(runner, str(subcommand), arguments)
        controls = {letter for letter in _OWN_CODES.sub("", text) if not letter.isprintable()}
        losses += [f"{name}: {letter!r} on the terminal" for letter in sorted(controls)]
        if "escape.png" not in text and name != "scan into a file":
            losses.append(f"{name}: the name is not shown: {text}")
    summary = "every control character escaped"
    report.add(
        f"names on a terminal: {len(commands)} commands", f"{len(HOSTILE_NAMES)} names", losses, summary
    )


def _run_on_terminal(runner: ScanRunner, subcommand: str, arguments: list[Argument]) -> str:
    """Run a command with a terminal as all of its standard streams; return what the terminal got."""
    terminal, its_end = pty.openpty()
    process = runner.start(*arguments, subcommand=subcommand, stdin=its_end, stdout=its_end, stderr=its_end)
    os.close(its_end)
    output = b""
    with contextlib.suppress(OSError):  # no process has the terminal open any more
        while data := os.read(terminal, 1 << 16):
            output += data
    os.close(terminal)
    process.wait()
    return output.decode(errors="replace")
