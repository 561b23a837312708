"""What SIGINT (Ctrl-C) and SIGTERM do: end the process at once, raise an exception, or wait.

A command starts with `exit_on_signal`. Where it has work to undo, it uses `raise_on_signal`. Inside that,
`defer_signals` protects code in which an exception from a signal handler would be lost: Python ignores it in
`__del__` and callbacks, and while a module is imported it may be swallowed or turned into another error.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from digitscan.errors import ExitCode

if TYPE_CHECKING:
    from types import FrameType

    Handler = Callable[[int, FrameType | None], Any] | int | None


def exit_on_signal(before_exit: Callable[[], object]) -> None:
    """From now on, let either signal call `before_exit` and end this process with exit code 130 or 143.

    Nothing else is cleaned up, no exception is raised and no `finally` runs.
    """

    def exit_now(signum: int, frame: object) -> NoReturn:
        before_exit()
        os._exit(128 + signum)

    _set_handlers(exit_now, exit_now)


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt and SIGTERM raise SystemExit(143) in the block."""
    previous = _set_handlers(signal.default_int_handler, _raise_system_exit)
    try:
        yield
    finally:
        _set_handlers(*previous)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Let a signal wait until the end of the block. A second signal does not wait."""
    received: list[int] = []

    def defer(signum: int, frame: object) -> None:
        received.append(signum)
        if len(received) > 1:
            _set_handlers(*previous)
            signal.raise_signal(signum)

    previous = _set_handlers(defer, defer)
    try:
        yield
    finally:
        _set_handlers(*previous)
        if len(received) == 1:
            signal.raise_signal(received[0])


def _set_handlers(on_sigint: Handler, on_sigterm: Handler) -> tuple[Handler, Handler]:
    """Set the handlers of SIGINT and SIGTERM; return the previous ones.

    An ignored signal stays ignored: a shell starts background jobs with SIGINT ignored, and expects that
    Ctrl-C does not reach them. A handler that Python did not install (None) stays as well.
    """
    previous = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for signum, handler, previous_handler in zip(
            (signal.SIGINT, signal.SIGTERM), (on_sigint, on_sigterm), previous, strict=True
        ):
            if previous_handler not in (signal.SIG_IGN, None):
                signal.signal(signum, handler)
    return previous


def _raise_system_exit(signum: int, frame: object) -> NoReturn:
    raise SystemExit(int(ExitCode.TERMINATED))
