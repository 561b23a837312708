"""What SIGINT (Ctrl-C) and SIGTERM do."""

import os
import signal

import pytest

from tests.support.command import run_code

if os.name == "posix":
    # `Destroyed` sends the signal from `__del__`, where Python ignores the exception of a signal handler.
    PROGRAM = """
import os, signal, sys
from digitscan.system.signals import defer_signals, exit_on_signal, raise_on_signal

class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))

exit_on_signal(lambda: print("exits", flush=True))
try:
    with raise_on_signal():
        {inside}
except (KeyboardInterrupt, SystemExit) as error:
    print(repr(error))
{after}
print("continues")
"""

    SIGNALS = [signal.SIGINT, signal.SIGTERM]
    SIGNALS_AND_EXCEPTIONS = [
        (signal.SIGINT, "KeyboardInterrupt()"),
        (signal.SIGTERM, "SystemExit(143)"),
    ]

    def run_program(signum, inside="pass", after="", ignored=()):
        """Run the program with code in the block that raises on signals, and code after the block."""

        def set_inherited_actions():
            for inherited in SIGNALS:
                signal.signal(inherited, signal.SIG_IGN if inherited in ignored else signal.SIG_DFL)

        code = PROGRAM.format(inside=inside, after=after)
        done = run_code(code, str(int(signum)), preexec_fn=set_inherited_actions)
        return done.returncode, done.stdout.decode().splitlines(), done.stderr

    def kill_self(signum):
        return f"os.kill(os.getpid(), {int(signum)})"

    @pytest.mark.parametrize("signum", SIGNALS)
    def test_outside_of_the_block_a_signal_ends_the_process_at_once(signum):
        assert run_program(signum, after="Destroyed()") == (128 + signum, ["exits"], b"")

    @pytest.mark.parametrize(("signum", "exception"), SIGNALS_AND_EXCEPTIONS)
    def test_inside_of_the_block_a_signal_is_an_exception(signum, exception):
        kill = kill_self(signum)
        assert run_program(signum, inside=kill) == (0, [exception, "continues"], b"")
        assert run_program(signum, inside=kill, after=kill) == (128 + signum, [exception, "exits"], b"")

    @pytest.mark.parametrize("signum", SIGNALS)
    def test_a_signal_that_the_caller_ignores_stays_ignored(signum):
        """A shell ignores Ctrl-C in the jobs that it starts in the background."""
        kill = kill_self(signum)
        assert run_program(signum, inside=kill, after=kill, ignored=[signum]) == (0, ["continues"], b"")

    @pytest.mark.parametrize(("signum", "exception"), SIGNALS_AND_EXCEPTIONS)
    def test_a_deferred_signal_waits_for_the_end_of_the_block_and_a_second_one_does_not(signum, exception):
        deferred = """with defer_signals():
            Destroyed()
            print("finished")
        print("not reached")"""
        assert run_program(signum, inside=deferred) == (0, ["finished", exception, "continues"], b"")
        failing = deferred.replace("Destroyed()", "Destroyed(); 1 / 0")
        assert run_program(signum, inside=failing) == (0, [exception, "continues"], b"")
        twice = deferred.replace("Destroyed()", f"Destroyed(); {kill_self(signum)}")
        assert run_program(signum, inside=twice) == (0, [exception, "continues"], b"")
