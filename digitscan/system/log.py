"""Messages to the user on stderr. File names in them cannot control the terminal."""

from __future__ import annotations

import sys


def escape_control_characters(text: str) -> str:
    r"""Return the text with every unprintable character, such as ESC or a line break, as an escape (`\x1b`).

    A file name may hold escape sequences that clear the screen, or bidirectional marks that disguise it.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def log(message: str) -> None:
    """Print one line on stderr, with control characters escaped."""
    print(escape_control_characters(message), file=sys.stderr, flush=True)
