"""Draw docs/summary.svg, a terminal that scans the examples: `python docs/make_summary.py`.

The commands really run, on a copy of the examples: the picture shows what they print, not what they should
print. Run it again whenever the summary or the rows change.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = ROOT / "docs" / "summary.svg"
COLUMNS = 68
COMMANDS = ("digitscan scan examples", "head -n 6 predictions.csv", "tail -n 4 predictions.csv")
DIGITSCAN = (sys.executable, "-m", "digitscan")
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, Liberation Mono, monospace"


def run_in_terminal(command: str, folder: Path) -> str:
    """Return what a command prints to a terminal of COLUMNS columns, with its escape codes."""
    arguments = command.split()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    if arguments[0] == "digitscan":
        # Without -o, the rows would go to a stdout that is a pipe. The summary goes to stderr.
        done = subprocess.run(
            [*DIGITSCAN, *arguments[1:]],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        if done.returncode not in (0, 3):  # 3: examples/trouble holds files that cannot be read
            sys.exit(f"{command} failed:\n{done.stderr}")
        return done.stderr
    return subprocess.run(arguments, cwd=folder, check=True, capture_output=True, encoding="utf-8").stdout


def draw_terminal(folder: Path) -> str:
    """Return the SVG of a terminal in which COMMANDS were run in this folder, one after the other."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    for command in COMMANDS:
        prompt = Text("$ ", style="green").append(command, style="bold bright_white")
        console.print(prompt)
        output = Text.from_ansi(run_in_terminal(command, folder).rstrip("\n"))
        console.print(output)
        console.print()
    svg = console.export_svg(title="digitscan", unique_id="summary")
    # Rich names a font on another server, which GitHub does not load: take what the reader's system has.
    svg = re.sub(r"\s*@font-face \{.*?\}\n", "\n", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", FONTS)


def main() -> None:
    """Scan a copy of the examples and write the picture."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(ROOT / "examples", Path(scratch) / "examples")
        SUMMARY.write_text(draw_terminal(Path(scratch)), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
