"""Run digitscan, Python code and shell scripts in processes of their own, as a user would.

Every process imports the package that is under test, whatever its current folder. `-P` keeps that folder off
the import path: a test may have put a `json.py` there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import digitscan

PACKAGE_FOLDER = Path(digitscan.__file__).resolve().parents[1]
"""The folder that the package under test is imported from."""

TIMEOUT_SECONDS = 120

Argument = str | os.PathLike[str]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with the package under test importable, and `variables` added."""
    return {**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER), **variables}


def command(*arguments: Argument) -> list[str]:
    """Return the command line that runs digitscan with these arguments."""
    return [sys.executable, "-P", "-m", "digitscan", *_to_text(arguments)]


def run(*arguments: Argument, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run digitscan to its end; return its exit code, stdout and stderr.

    `options` are those of `subprocess.run`. Raises TimeoutExpired after two minutes.
    """
    return _run(command(*arguments), options)


def run_code(code: str, *arguments: Argument, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run Python code in a fresh interpreter as `python -c` does; otherwise like `run`."""
    return _run([sys.executable, "-P", "-c", code, *_to_text(arguments)], options)


def run_shell(script: str, *arguments: Argument, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a bash script in which `digitscan` and `python` are those of this environment; like `run`."""
    functions = 'python() { "$0" -P "$@"; }; digitscan() { python -m digitscan "$@"; }\n'
    shell = ["bash", "-c", functions + script, sys.executable]
    return _run([*shell, *_to_text(arguments)], options)


def start(*arguments: Argument, **options: Any) -> subprocess.Popen[bytes]:
    """Start digitscan; its stderr is a pipe, and Ctrl-C is not ignored.

    `options` are those of `subprocess.Popen`.
    """
    if os.name == "posix":
        options.setdefault("preexec_fn", stop_ignoring_ctrl_c)
    return subprocess.Popen(
        command(*arguments), **{"env": environment(), "stderr": subprocess.PIPE, **options}
    )


def stop_ignoring_ctrl_c() -> None:
    """Give SIGINT its default action; what a shell starts in the background inherits that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _to_text(arguments: Sequence[Argument]) -> list[str]:
    return [os.fspath(argument) for argument in arguments]


def _run(command_line: Sequence[str], options: dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    defaults = {
        "env": environment(),
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "timeout": TIMEOUT_SECONDS,
    }
    return subprocess.run(command_line, **{"check": False, **defaults, **options})
