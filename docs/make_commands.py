"""Write docs/commands.md from the commands' own `--help`: `python docs/make_commands.py [--check]`."""

import sys
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from digitscan.cli import app

COMMANDS = Path(__file__).with_name("commands.md")


def describe() -> str:
    """Return the page: the help of `digitscan` and of every command."""
    group = get_command(app)
    names: list[str] = sorted(getattr(group, "commands"))  # noqa: B009  # Typer's annotation hides it
    parts = ["# Commands\n\nMade from `--help` by `docs/make_commands.py`.\n"]
    for arguments in ([], *([name] for name in names)):
        wide = {"COLUMNS": "100", "TERMINAL_WIDTH": "100"}
        result = CliRunner().invoke(app, [*arguments, "--help"], prog_name="digitscan", env=wide)
        parts.append(f"## {' '.join(['digitscan', *arguments])}\n\n```\n{result.stdout.strip()}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page, or with --check say whether it is stale."""
    text = describe()
    if "--check" in sys.argv[1:]:
        if COMMANDS.read_text(encoding="utf-8") != text:
            sys.exit("docs/commands.md is stale: run python docs/make_commands.py")
        return
    COMMANDS.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
