"""What Ctrl-C and SIGTERM do, wherever they come."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.command import PACKAGE_FOLDER

if os.name == "posix":
    # A signal that comes while an object is taken down: what it raises there is lost.
    CODE = """
import os, signal, sys
from digitscan.system.signals import defer_signals, exit_on_signal, raise_on_signal

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))

exit_on_signal(lambda: print("ends", flush=True))
try:
    with raise_on_signal():
        {0}
except (KeyboardInterrupt, SystemExit) as error:
    print(repr(error))
{1}
print("goes on")
"""

    def run_with(number, inside, after, ignored=()):
        def prepare():
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_IGN if each in ignored else signal.SIG_DFL)

        done = subprocess.run(
            [sys.executable, "-P", "-c", CODE.format(inside, after), str(int(number))],
            env={**os.environ, "PYTHONPATH": str(PACKAGE_FOLDER)},
            preexec_fn=prepare,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_where_nothing_is_to_be_undone_it_ends_at_once_wherever_the_signal_comes(number):
        assert run_with(number, "pass", "Deaf()") == (128 + number, ["ends"], "")

    @pytest.mark.parametrize(
        ("number", "error"), [(signal.SIGINT, "KeyboardInterrupt()"), (signal.SIGTERM, "SystemExit(143)")]
    )
    def test_where_something_is_to_be_undone_it_is_an_exception_once(number, error):
        kill = f"os.kill(os.getpid(), {int(number)})"
        assert run_with(number, kill, "") == (0, [error, "goes on"], "")
        assert run_with(number, kill, kill) == (128 + number, [error, "ends"], "")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_what_the_caller_ignores_stays_ignored(number):
        """As Ctrl-C is by the jobs that a shell starts in the background."""
        kill = f"os.kill(os.getpid(), {int(number)})"
        assert run_with(number, kill, kill, ignored=[number]) == (0, ["goes on"], "")

    @pytest.mark.parametrize(
        ("number", "error"), [(signal.SIGINT, "KeyboardInterrupt()"), (signal.SIGTERM, "SystemExit(143)")]
    )
    def test_what_is_held_waits_for_the_end_and_a_second_one_does_not(number, error):
        held = """with defer_signals():
            Deaf()
            print("imported")
        print("lost")"""
        assert run_with(number, held, "") == (0, ["imported", error, "goes on"], "")
        failing = held.replace("Deaf()", "Deaf(); 1 / 0")
        assert run_with(number, failing, "") == (0, [error, "goes on"], "")
        twice = held.replace("Deaf()", f"Deaf(); os.kill(os.getpid(), {int(number)})")
        assert run_with(number, twice, "") == (0, [error, "goes on"], "")
