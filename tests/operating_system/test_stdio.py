"""The standard streams: nothing but results on stdout, and no unwanted messages of native libraries."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from digitscan.system.log import escape_control_characters
from digitscan.system.stdio import BlockingWriter
from tests.support.command import run_code, run_shell


def stripped_lines(stream):
    return [line.strip() for line in stream.splitlines()]


def test_other_output_to_stdout_goes_to_stderr():
    done = run_code(
        "import os\n"
        "from digitscan.system.stdio import reserve_stdout\n"
        "real_stdout = reserve_stdout()\n"
        "print('python', flush=True); os.write(1, b'native\\n'); os.system('echo child')\n"
        "real_stdout.write(b'row\\n')\n"
    )
    assert done.stdout == b"row\n"
    assert stripped_lines(done.stderr) == [b"python", b"native", b"child"]


def test_native_messages_are_silenced_and_pythons_own_still_appear():
    done = run_code(
        "import os, sys\n"
        "from digitscan.system.stdio import silence_native_stderr\n"
        "with silence_native_stderr():\n"
        "    os.write(2, b'native\\n'); print('python', file=sys.stderr)\n"
        "os.write(2, b'native after\\n'); print('python after', file=sys.stderr)\n"
    )
    assert stripped_lines(done.stderr) == [b"python", b"native after", b"python after"]


def test_silence_ends_with_an_exception_too():
    done = run_code(
        "import os\n"
        "from digitscan.system.stdio import silence_native_stderr\n"
        "try:\n"
        "    with silence_native_stderr():\n"
        "        raise ValueError\n"
        "except ValueError:\n"
        "    os.write(2, b'native after\\n')\n"
    )
    assert stripped_lines(done.stderr) == [b"native after"]


def test_control_characters_are_escaped_and_printable_ones_are_not():
    assert escape_control_characters("a\x1b[2Jb\n\u202ec\udcff") == "a\\x1b[2Jb\\n\\u202ec\\udcff"
    assert escape_control_characters("Größe ٣ 7.png") == "Größe ٣ 7.png"


if os.name == "posix":

    def test_no_file_gets_the_descriptor_of_a_closed_standard_stream(tmp_path):
        code = (
            "import sys\n"
            "from digitscan.system.stdio import open_missing_streams\n"
            "open_missing_streams()\n"
            "file = open('out', 'w'); assert file.fileno() > 2, file.fileno()\n"
            "print('lost'); print('lost', file=sys.stderr)\n"
        )
        done = run_shell('python -c "$1" <&- >&- 2>&-', code, cwd=tmp_path)
        assert done.returncode == 0
        assert (tmp_path / "out").read_text() == ""


if os.name == "posix":
    LINES = b"".join(b"%06d a row of a CSV\n" % index for index in range(20_000))

    def read_slowly(descriptor):
        """Read a pipe to its end, with pauses in which it is full."""
        parts = []
        while part := os.read(descriptor, 50_000):
            parts.append(part)
            time.sleep(0.005)
        return b"".join(parts)

    def test_rows_are_whole_on_a_pipe_that_another_process_has_made_non_blocking():
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with ThreadPoolExecutor() as pool, BlockingWriter(writer, "wb") as file:
            received = pool.submit(read_slowly, reader)
            rest = memoryview(LINES)
            while rest:
                rest = rest[file.write(rest) :]
            file.close()
            assert received.result() == LINES
        os.close(reader)

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_text_is_whole_on_a_stream_that_another_process_has_made_non_blocking(stream):
        code = (
            "import sys\n"
            "from digitscan.system.stdio import ignore_stderr_errors, wait_for_stdout\n"
            "ignore_stderr_errors(); wait_for_stdout()\n"
            "for index in range(20_000):\n"
            "    print(f'{index:06} a row of a CSV', file=getattr(sys, sys.argv[1]))\n"
        )
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with ThreadPoolExecutor() as pool:
            received = pool.submit(read_slowly, reader)
            done = run_code(code, stream, **{stream: writer})
            os.close(writer)
            assert done.returncode == 0 and received.result() == LINES
        os.close(reader)

    class NotReady(io.FileIO):
        """A file that takes nothing now."""

        def write(self, data):
            """Take nothing, as a non-blocking file says it."""

    class NotReadyWriter(BlockingWriter, NotReady):
        """As our writer sees such a file."""

    def test_a_regular_file_that_takes_nothing_is_an_error(tmp_path):
        """As EAGAIN from a FUSE file system: there is nothing to wait for."""
        with NotReadyWriter(tmp_path / "file", "wb") as file, pytest.raises(BlockingIOError):
            file.write(b"row\n")
