"""What native code prints is returned to the caller, and the real stderr is as it was before."""

import os

import pytest

from digitscan.system.native_stderr import call_with_native_stderr
from tests.support.command import run_code


def test_what_a_function_prints_to_descriptor_2_is_returned_with_its_result(capfd):
    assert call_with_native_stderr(os.write, 2, b"a warning") == (9, b"a warning")
    assert call_with_native_stderr(len, "abc") == (3, b"")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_an_exception_passes_and_its_messages_are_not_the_next_callers(capfd):
    def fail():
        os.write(2, b"before the error")
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  # it has no message
        call_with_native_stderr(fail)
    assert call_with_native_stderr(len, "") == (0, b"")
    assert capfd.readouterr().err == ""


def test_of_very_many_messages_the_first_are_returned():
    (_, printed) = call_with_native_stderr(os.write, 2, b"first " + b"x" * (1 << 20))
    assert printed.startswith(b"first ") and len(printed) < 1 << 20


def test_a_process_without_stderr_gets_the_result_alone():
    done = run_code(
        "import os\n"
        "from digitscan.system.native_stderr import call_with_native_stderr\n"
        "os.close(2)\n"
        "print(call_with_native_stderr(len, 'abc'))\n"
    )
    assert done.stdout.strip() == b"(3, b'')"


if hasattr(os, "fork"):

    def test_a_forked_process_reads_its_own_messages_only():
        done = run_code(
            "import os\n"
            "from digitscan.system.native_stderr import call_with_native_stderr\n"
            "call_with_native_stderr(len, '')\n"
            "def parent():\n"
            "    os.write(2, b'parent ')\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n"
            "        print(call_with_native_stderr(os.write, 2, b'child'), flush=True)\n"
            "        os._exit(0)\n"
            "    os.waitpid(pid, 0)\n"
            "print(call_with_native_stderr(parent))\n"
        )
        assert [line.strip() for line in done.stdout.splitlines()] == [
            b"(5, b'child')",
            b"(None, b'parent ')",
        ]


def test_a_process_whose_messages_nobody_reads_may_keep_them_redirected():
    done = run_code(
        "import os\n"
        "from digitscan.system.native_stderr import call_with_native_stderr, keep_native_stderr\n"
        "keep_native_stderr()\n"
        "os.write(2, b'before ')\n"
        "print(call_with_native_stderr(os.write, 2, b'during')[1])\n"
        "print(call_with_native_stderr(len, '')[1])\n"
    )
    assert [line.strip() for line in done.stdout.splitlines()] == [b"b'before during'", b"b''"]
    assert done.stderr == b""
