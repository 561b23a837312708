"""Other digit readers on the same images, each used as its documentation says.

- ccexam 1.0.0, `ccexam-infer --model NAME`, with the weights it comes with. Its models were trained on MNIST
  and USPS, light ink on dark, and on SVHN's colour photographs. It never inverts an image and has no option
  to do so. So the first two also run with images of light paper inverted for them, which its documentation
  does not do.
- digit-recognizer-py 0.1.0, `digit-recognizer FILE`, with the weights it comes with and its default
  `invert="auto"`, which inverts an image with a light border.
- The system's Tesseract, `--psm 10` (one character; for whole numbers `--psm 7`, one line) and a whitelist of
  digits. It expects dark ink on light
  paper, and by default tries a line inverted if it reads badly. Nothing is enlarged or padded.

A model is loaded once a run, not once an image; no answer depends on that. Each uses one thread.
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

_TORCH_REQUIREMENTS = ("torch==2.13.0", "torchvision==0.28.0", "pillow==13.0.0", "numpy==2.4.6")

_TORCH = """
import torch
try:
    import torchvision
except RuntimeError:
    # PyPI's torchvision with a torch without CUDA lacks two operators, which no peer calls.
    for name in ("nms", "qnms"):
        torch.library.define("torchvision::" + name, "(Tensor dets, Tensor scores, float limit) -> Tensor")
"""

_CCEXAM = """
from ccexam.inference import InferenceFactory
read = InferenceFactory.create({model!r}, device="cpu").predict
"""

_INVERT = """
from PIL import Image, ImageOps, ImageStat
read_original = read
def read(path):
    with Image.open(path) as image:
        gray = image.convert("L")
    return read_original(ImageOps.invert(gray) if ImageStat.Stat(gray).median[0] > 127 else gray)
"""

_DIGIT_RECOGNIZER = """
from digit_recognizer import DigitRecognizer
read = DigitRecognizer(device="cpu").predict
"""

_TESSERACT_TEMPLATE = """
import shutil, subprocess, sys
if shutil.which("tesseract") is None:
    sys.exit("tesseract is not installed")
def read(path):
    command = ["tesseract", path, "stdout", "--psm", "{mode}", "-c", "tessedit_char_whitelist=0123456789"]
    return "".join(subprocess.run(command, capture_output=True, text=True, timeout=50).stdout.split())
"""

# The empty line reports that the peer has started. An image that takes a minute ends the process.
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
    """Another digit reader.

    requirements: what pip installs for it; if empty, it runs in this Python. script: prints an empty line
    when it has started, then reads one path a line from stdin and prints `path<TAB>answer` for it at once.
    """

    name: str
    requirements: tuple[str, ...]
    script: str


def _ccexam(model: str, invert: bool) -> Peer:
    name = f"ccexam {model}" + (", light paper inverted" if invert else "")
    script = _TORCH + _CCEXAM.format(model=model) + (_INVERT if invert else "") + _LOOP
    return Peer(name, ("ccexam==1.0.0", *_TORCH_REQUIREMENTS), script)


_RAPIDOCR = """
import cv2
from rapidocr import RapidOCR
engine = RapidOCR(params={"Global.use_det": False, "Global.use_cls": False, "Global.log_level": "critical"})
def read(path):
    texts = engine(cv2.imread(path)).txts or ()
    return "".join(character for character in "".join(texts) if character.isdigit())
"""


def _tesseract(mode: int) -> str:
    """Return the script that reads with a page segmentation mode: 10 is one character, 7 one line."""
    return _TESSERACT_TEMPLATE.replace("{mode}", str(mode)) + _LOOP


TESSERACT = Peer("Tesseract", (), _tesseract(10))
NUMBER_PEERS = (
    Peer("Tesseract", (), _tesseract(7)),
    Peer("RapidOCR, recogniser alone", ("rapidocr==3.4.2", "onnxruntime==1.23.2"), _RAPIDOCR + _LOOP),
)
"""Readers of whole numbers: of one line, with digits alone where they can be told so."""
PEERS: tuple[Peer, ...] = (
    _ccexam("mnist", invert=False),
    _ccexam("usps", invert=False),
    _ccexam("svhn", invert=False),
    _ccexam("mnist", invert=True),
    _ccexam("usps", invert=True),
    Peer(
        "digit-recognizer-py",
        ("digit-recognizer-py==0.1.0", *_TORCH_REQUIREMENTS),
        _TORCH + _DIGIT_RECOGNIZER + _LOOP,
    ),
    TESSERACT,
)


def find_available_peers() -> list[Peer]:
    """Return the peers that can run on this machine; a line on stderr names those that cannot."""
    if shutil.which("tesseract"):
        return list(PEERS)
    print("tesseract is not installed: left out", file=sys.stderr)
    return [peer for peer in PEERS if peer is not TESSERACT]


def _prepare_environment(peer: Peer, folder: Path) -> Path:
    """Return the Python of the peer's environment, which is made in the folder if it does not exist yet.

    Peers with the same first requirement share one. Raises CalledProcessError if pip cannot install them.
    """
    if not peer.requirements:
        return Path(sys.executable)
    environment = folder.absolute() / peer.requirements[0]
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    # Written last: without it, or with other requirements in it, the environment is made anew.
    installed, requirements = environment / "installed.txt", "\n".join(peer.requirements)
    if not (installed.is_file() and installed.read_text(encoding="utf-8") == requirements):
        venv.create(environment, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *peer.requirements], check=True)
        installed.write_text(requirements, encoding="utf-8")
    return python


def _run_peer(peer: Peer, python: Path, paths: list[Path]) -> list[str]:
    """Return the peer's answers for the paths, fewer than those if an image has ended its process.

    Raises RuntimeError if the peer does not start, which is no image's fault.
    """
    done = subprocess.run(
        [python, "-I", "-X", "utf8", "-c", peer.script],
        input="".join(f"{path.absolute()}\n" for path in paths),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="surrogateescape",
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"},
        check=False,
    )
    if not done.stdout:
        raise RuntimeError(f"{peer.name} does not start: exit code {done.returncode}")
    return [line.rpartition("\t")[2] for line in done.stdout.split("\n") if "\t" in line]


def read_digits(peer: Peer, paths: list[Path], folder: Path) -> dict[Path, str]:
    """Return each path's digit, "" if the peer gave none or several; else as `read_texts`."""
    texts = read_texts(peer, paths, folder)
    return {path: text if text in DIGITS else "" for path, text in texts.items()}


def read_texts(peer: Peer, paths: list[Path], folder: Path) -> dict[Path, str]:
    """Return what a peer read in each path, "" if it gave nothing or failed on the image.

    The peer's environment is made in the folder, or reused. An image that ends the peer's process costs only
    its own answer: the next one starts another process. Raises CalledProcessError if pip cannot install the
    peer, RuntimeError if it does not start.
    """
    texts = dict.fromkeys(paths, "")
    # The peer reads one path a line, so a path with a line break cannot be sent to it.
    remaining = [path for path in texts if len(str(path).splitlines()) == 1]
    while remaining:
        answers = _run_peer(peer, _prepare_environment(peer, folder), remaining)
        for path, answer in zip(remaining, answers, strict=False):
            texts[path] = answer
        remaining = remaining[len(answers) + 1 :]
    return texts
