"""Python processes that are started with nothing of the current folder on their import path.

A folder of data may come from anybody. A `json.py` in it must not be imported in place of Python's own, by
no process that is started there: neither ours (`python_command`) nor one that a library starts, such as the
resource tracker of `multiprocessing` (`set_environment` with SAFE_PATH).
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""The environment in which every Python keeps the current folder off its import path."""
PARENT_POLL_SECONDS = 1.0

_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import {function}; {function}()"


def python_command(module: str, function: str) -> list[str]:
    """Return the command that runs a function of one of our modules in a new Python."""
    return [sys.executable, "-P", "-c", _CODE.format(module=module, function=function), find_package_parent()]


def find_package_parent() -> str:
    """Return the folder that holds the package."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120  # pathlib would slow down the start


@contextlib.contextmanager
def set_environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables in the block, for libraries and for processes that are started in it.

    None removes a variable. Afterwards all of them are as they were before.
    """
    previous = {name: os.environ.get(name) for name in variables}
    _update_environment(variables)
    try:
        yield
    finally:
        _update_environment(previous)


def _update_environment(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def exit_with_parent() -> None:
    """Let this process exit soon after its parent has ended, even if that was killed.

    For a process that reads nothing more from its parent, and so would not notice. Called at its start; a
    thread then asks once a second. POSIX only: elsewhere nothing happens.
    """
    if os.name == "posix":
        threading.Thread(target=_wait_for_parent, args=(os.getppid(),), daemon=True).start()


def _wait_for_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(1)
