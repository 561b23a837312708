"""Run as `python -m digitscan`, and as the command `digitscan`."""

import sys


def main() -> None:
    """Run the command line and exit with its code; Ctrl-C while starting up is 130 already."""
    try:
        from digitscan.cli import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
