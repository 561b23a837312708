"""Run as `python -m digitscan`, and as the command `digitscan`."""

import contextlib
import os
import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C while starting up is 130 already."""
    try:
        from digitscan.system.stdio import forgive_stderr, open_missing

        open_missing()
        if sys.argv[1:2] == ["scan"] and not {"-h", "--help"} & {*sys.argv}:
            from digitscan.workers.forkserver import early_nursery

            try:
                with early_nursery():
                    forgive_stderr()
                    _run()
            except SystemExit as end:
                _exit_at_once(end.code)
        else:
            forgive_stderr()
            _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from digitscan.system.signals import end_at_once
    from digitscan.workers.forkserver import abandon_early_nursery

    end_at_once(abandon_early_nursery)
    from digitscan.cli import run

    run()


def _exit_at_once(code: object) -> None:
    """Exit without taking down what the system takes down as well, in a tenth of the time."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
