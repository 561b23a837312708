"""Messages to the user on stderr. File names in them cannot control the terminal."""

from __future__ import annotations

import os
import sys
import textwrap

MIN_WIDTH = 20
"""Columns of the narrowest terminal for which lines are divided; others do it themselves."""


def escape_control_characters(text: str) -> str:
    r"""Return the text with every unprintable character, such as ESC or a line break, as an escape (`\x1b`).

    A file name may hold escape sequences that clear the screen, or bidirectional marks that disguise it.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun in the singular or plural.

    >>> format_count(1, "image"), format_count(2000, "image")
    ('1 image', '2,000 images')
    """
    return f"{count:,} {noun}" + "s" * (count != 1)


def log(message: str) -> None:
    """Print one line on stderr, with control characters escaped; a terminal's lines end between words."""
    print(_wrap(escape_control_characters(message)), file=sys.stderr, flush=True)


def _wrap(text: str) -> str:
    """Return the text in lines as wide as the terminal of stderr; as it is where there is none."""
    try:
        if not sys.stderr.isatty():
            return text
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return text
    lines = textwrap.wrap(text, max(width, MIN_WIDTH), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)
