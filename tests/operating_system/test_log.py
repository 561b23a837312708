"""Messages on stderr: escaped, and on a terminal divided between words."""

import contextlib
import fcntl
import os
import pty
import struct
import termios

from digitscan.system.log import log


def log_to_terminal(message):
    """Return the lines of a terminal of 40 columns to which a message was logged."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with os.fdopen(writer, "w") as terminal, contextlib.redirect_stderr(terminal):
        log(message)
        lines = os.read(reader, 10_000).decode().splitlines()
    os.close(reader)
    return lines


def test_a_line_on_a_terminal_is_divided_between_words():
    assert log_to_terminal("Training mlp on 55,000 images, validating on 5,000 more, for 14 epochs.") == [
        "Training mlp on 55,000 images,",
        "validating on 5,000 more, for 14 epochs.",
    ]


def test_a_path_that_is_longer_than_a_line_stays_whole():
    """It can be copied."""
    path = "models/" + "a" * 60 + ".h5"
    assert path in log_to_terminal(f"Model: {path}")


def test_elsewhere_a_message_is_one_line(capsys):
    message = "word " * 50 + "end"
    log(message)
    assert capsys.readouterr().err == message + "\n"
