"""Other readers of digits on the same pictures, each as its own documentation uses it.

- ccexam 1.0.0, `ccexam-infer --model NAME`, with the weights it ships. Its models saw MNIST and USPS, light
  ink on dark, and SVHN's colour photographs; it never inverts and has no option to. So the first two are
  also run with pictures of light paper inverted for them: a courtesy, not what its documentation does.
- digit-recognizer-py 0.1.0, `digit-recognizer FILE`, with the weights it ships and its default
  `invert="auto"`, which inverts a picture whose border is light.
- the system's Tesseract, `--psm 10` (one character) and a whitelist of digits. It expects dark ink on light
  paper, and its own default tries a line inverted where it reads badly. Nothing is enlarged or padded.

A model is loaded once a run, not once a picture; no answer depends on that. One thread each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

DIGITS = frozenset("0123456789")

_WITH = ("torch==2.13.0", "torchvision==0.28.0", "pillow==13.0.0", "numpy==2.4.6")

_TORCH = """
import torch
try:
    import torchvision
except RuntimeError:
    # PyPI's torchvision beside a torch without CUDA lacks two operators, which no peer calls.
    for name in ("nms", "qnms"):
        torch.library.define("torchvision::" + name, "(Tensor dets, Tensor scores, float limit) -> Tensor")
"""

_CCEXAM = """
from ccexam.inference import InferenceFactory
read = InferenceFactory.create({model!r}, device="cpu").predict
"""

_INVERT = """
from PIL import Image, ImageOps, ImageStat
as_it_is = read
def read(path):
    with Image.open(path) as picture:
        gray = picture.convert("L")
    return as_it_is(ImageOps.invert(gray) if ImageStat.Stat(gray).median[0] > 127 else gray)
"""

_DIGIT_RECOGNIZER = """
from digit_recognizer import DigitRecognizer
read = DigitRecognizer(device="cpu").predict
"""

_TESSERACT = """
import shutil, subprocess, sys
if shutil.which("tesseract") is None:
    sys.exit("tesseract is not installed")
def read(path):
    command = ["tesseract", path, "stdout", "--psm", "10", "-c", "tessedit_char_whitelist=0123456789"]
    return "".join(subprocess.run(command, capture_output=True, text=True, timeout=50).stdout.split())
"""

# The empty line says that the peer has started. A picture that takes a minute ends the process.
_LOOP = """
import faulthandler, sys
print(flush=True)
for line in sys.stdin:
    path = line.rstrip("\\n")
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        digit = read(path)
    except Exception:
        digit = ""
    print(path, digit, sep="\\t", flush=True)
faulthandler.cancel_dump_traceback_later()
"""


@dataclass(frozen=True)
class Peer:
    """Another reader: pip's requirements, none for this Python, and a script to run beside them.

    The script prints an empty line once it has started, then reads a path a line from stdin and prints
    `path<TAB>answer` for each as soon as it has it.
    """

    name: str
    requirements: tuple[str, ...]
    script: str


def _ccexam(model: str, invert: bool) -> Peer:
    name = f"ccexam {model}" + (", light paper inverted" if invert else "")
    script = _TORCH + _CCEXAM.format(model=model) + (_INVERT if invert else "") + _LOOP
    return Peer(name, ("ccexam==1.0.0", *_WITH), script)


TESSERACT = Peer("Tesseract", (), _TESSERACT + _LOOP)
PEERS: tuple[Peer, ...] = (
    _ccexam("mnist", invert=False),
    _ccexam("usps", invert=False),
    _ccexam("svhn", invert=False),
    _ccexam("mnist", invert=True),
    _ccexam("usps", invert=True),
    Peer("digit-recognizer-py", ("digit-recognizer-py==0.1.0", *_WITH), _TORCH + _DIGIT_RECOGNIZER + _LOOP),
    TESSERACT,
)


def peers_here() -> list[Peer]:
    """Return the peers without those that need what is not installed; a line on stderr names those."""
    if shutil.which("tesseract"):
        return list(PEERS)
    print("tesseract is not installed: left out", file=sys.stderr)
    return [peer for peer in PEERS if peer is not TESSERACT]


def _python_of(peer: Peer, folder: Path) -> Path:
    """Return the Python of the peer's environment, made in the folder where it is not there yet.

    Peers with the same requirements share one. Raises CalledProcessError where pip cannot install them.
    """
    if not peer.requirements:
        return Path(sys.executable)
    place = folder.absolute() / peer.requirements[0]
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    # Written last: an environment without it is not whole.
    installed, wanted = place / "installed.txt", "\n".join(peer.requirements)
    if not (installed.is_file() and installed.read_text(encoding="utf-8") == wanted):
        venv.create(place, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.requirements], check=True)
        installed.write_text(wanted, encoding="utf-8")
    return python


def _answers(peer: Peer, python: Path, paths: list[Path]) -> list[str]:
    """Return what the peer answered for the first of the paths, as far as its process came.

    Raises RuntimeError where the peer does not start: that is no picture's fault.
    """
    run = subprocess.run(
        [python, "-I", "-X", "utf8", "-c", peer.script],
        input="".join(f"{path.absolute()}\n" for path in paths),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"},
        check=False,
    )
    if not run.stdout:
        raise RuntimeError(f"{peer.name} does not start: exit code {run.returncode}")
    return [line.rpartition("\t")[2] for line in run.stdout.split("\n") if "\t" in line]


def read_with(peer: Peer, paths: list[Path], folder: Path) -> dict[Path, str]:
    """Return each path's digit, "" where the peer gave none, gave several or failed on the picture.

    The peer's environment is made in the folder, or reused. A picture that ends the peer's process costs
    its own row: the next picture starts another. Raises CalledProcessError where pip cannot install the
    peer and RuntimeError where it does not start.
    """
    digits = dict.fromkeys(paths, "")
    # A path is a line.
    waiting = [path for path in digits if len(str(path).splitlines()) == 1]
    while waiting:
        answers = _answers(peer, _python_of(peer, folder), waiting)
        digits.update((path, digit) for path, digit in zip(waiting, answers, strict=False) if digit in DIGITS)
        waiting = waiting[len(answers) + 1 :]
    return digits
