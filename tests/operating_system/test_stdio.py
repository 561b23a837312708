"""The process's own streams: only results on stdout, and no native message where none is wanted."""

import os
import subprocess
import sys

from digitscan.system.log import escape_control_characters
from tests.support.command import PACKAGE_FOLDER


def run(program, **more):
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE_FOLDER)!r})\n{program}"],
        capture_output=True,
        timeout=60,
        **more,
    )


def test_what_anything_else_prints_to_stdout_lands_on_stderr():
    done = run(
        "import os\n"
        "from digitscan.system.stdio import reserve_stdout\n"
        "real = reserve_stdout()\n"
        "print('python', flush=True); os.write(1, b'native\\n'); os.system('echo child')\n"
        "real.write(b'row\\n')\n"
    )
    assert done.stdout == b"row\n"
    assert [line.strip() for line in done.stderr.splitlines()] == [b"python", b"native", b"child"]


def test_native_messages_are_silenced_while_pythons_own_still_appear():
    done = run(
        "import os, sys\n"
        "from digitscan.system.stdio import silence_native_stderr\n"
        "with silence_native_stderr():\n"
        "    os.write(2, b'native\\n'); print('python', file=sys.stderr)\n"
        "os.write(2, b'after\\n'); print('after', file=sys.stderr)\n"
    )
    assert [line.strip() for line in done.stderr.splitlines()] == [b"python", b"after", b"after"]


def test_silence_ends_with_an_exception_too():
    done = run(
        "import os, sys\n"
        "from digitscan.system.stdio import silence_native_stderr\n"
        "try:\n"
        "    with silence_native_stderr():\n"
        "        raise ValueError\n"
        "except ValueError:\n"
        "    os.write(2, b'after\\n')\n"
    )
    assert done.stderr.strip() == b"after"


def test_a_terminal_gets_nothing_to_obey():
    assert escape_control_characters("a\x1b[2Jb\n\u202ec\udcff") == "a\\x1b[2Jb\\n\\u202ec\\udcff"
    assert escape_control_characters("Größe ٣ 7️.png".replace("\ufe0f", "")) == "Größe ٣ 7.png"


if os.name == "posix":

    def test_closed_streams_are_replaced_so_that_no_file_takes_their_place(tmp_path):
        program = (
            "import os\n"
            "from digitscan.system.stdio import open_missing_streams\n"
            "open_missing_streams()\n"
            "file = open('out', 'w'); assert file.fileno() > 2, file.fileno()\n"
            "print('lost'); print('lost', file=sys.stderr)\n"
        )
        start = f"import sys; sys.path.insert(0, {str(PACKAGE_FOLDER)!r})\n{program}"
        command = '"$1" -c "$2" <&- >&- 2>&-'
        done = subprocess.run(["sh", "-c", command, "sh", sys.executable, start], cwd=tmp_path, timeout=60)
        assert done.returncode == 0
        assert (tmp_path / "out").read_text() == ""
