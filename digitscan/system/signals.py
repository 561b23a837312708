"""What Ctrl-C and SIGTERM do: end the command at once or, where there is something to undo, as an exception.

An exception that comes while Python imports a module can be swallowed, or turn into another one.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from digitscan.errors import TERMINATED

if TYPE_CHECKING:
    from types import FrameType

    Handler = Callable[[int, FrameType | None], Any] | int | None


def exit_on_signal(first: Callable[[], object]) -> None:
    """From now on let them call `first` and end this process, with exit code 130 or 143."""

    def end(number: int, frame: object) -> NoReturn:
        first()
        os._exit(128 + number)

    _handle(end, end)


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Let them raise KeyboardInterrupt, and SystemExit with exit code 143, inside."""
    before = _handle(signal.default_int_handler, _terminate)
    try:
        yield
    finally:
        _handle(*before)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Let them wait until the end, where their exception would be lost; a second one does not wait."""
    came: list[int] = []

    def hold(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            _handle(*before)
            signal.raise_signal(number)

    before = _handle(hold, hold)
    try:
        yield
    finally:
        _handle(*before)
        if len(came) == 1:
            signal.raise_signal(came[0])


def _handle(interrupted: Handler, terminated: Handler) -> tuple[Handler, Handler]:
    """Set both, but for what our caller ignores, or handles itself; return what was set before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(ValueError):  # signals can be set in the main thread only
        for number, handler, old in zip(
            (signal.SIGINT, signal.SIGTERM), (interrupted, terminated), before, strict=True
        ):
            if old not in (signal.SIG_IGN, None):
                signal.signal(number, handler)
    return before


def _terminate(number: int, frame: object) -> NoReturn:
    raise SystemExit(TERMINATED)
