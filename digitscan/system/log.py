"""What digitscan says to its user: lines on stderr that a terminal cannot obey."""

from __future__ import annotations

import sys


def escape_control_characters(text: str) -> str:
    r"""Return the text with all that a terminal might obey (controls, bidi marks) written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def log(message: str) -> None:
    """Print a line on stderr, with all that a terminal might obey written as escapes."""
    print(escape_control_characters(message), file=sys.stderr, flush=True)
