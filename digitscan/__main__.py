"""Run as `python -m digitscan`, and as the command `digitscan`."""

import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C while starting up is 130 already."""
    try:
        from digitscan.streams import forgive_stderr, open_missing

        open_missing()
        forgive_stderr()
        if sys.argv[1:2] == ["scan"] and not {"-h", "--help"} & {*sys.argv}:
            from digitscan.supervise import early_worker

            with early_worker():
                _run()
        else:
            _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from digitscan.cli import run

    run()


if __name__ == "__main__":
    main()
