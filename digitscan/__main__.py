"""The entry point of `python -m digitscan` and of the command `digitscan`."""

import contextlib
import os
import sys
from collections.abc import Callable


def main() -> None:
    """Run the command line and exit with its code.

    Everything is imported in here, so that Ctrl-C while Python still imports is exit code 130 and no
    traceback.
    """
    try:
        from digitscan.system.stdio import ignore_stderr_errors, open_missing_streams, wait_for_stdout

        open_missing_streams()
        if sys.argv[1:2] == ["scan"] and not {"-h", "--help"} & {*sys.argv}:
            # Not for other commands: what this imports takes some milliseconds.
            from digitscan.workers.forkserver import early_fork_server, kill_early_fork_server

            try:
                with early_fork_server():
                    ignore_stderr_errors()
                    wait_for_stdout()
                    _run_command_line(kill_early_fork_server)
            except SystemExit as exit_request:
                _exit_at_once(exit_request.code)
        else:
            ignore_stderr_errors()
            wait_for_stdout()
            _run_command_line(lambda: None)
    except KeyboardInterrupt:
        sys.exit(130)


def _run_command_line(before_exit: Callable[[], None]) -> None:
    """Run the command line; a signal that nothing else handles calls `before_exit` and ends the process."""
    from digitscan.system.signals import exit_on_signal

    exit_on_signal(before_exit)
    from digitscan.cli import main as run_command

    run_command()


def _exit_at_once(code: object) -> None:
    """Exit without Python's own clean-up, which takes ten times as long and which the system does anyway."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
