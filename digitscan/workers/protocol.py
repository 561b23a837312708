"""The protocol between a supervisor and its worker processes.

Messages are frames on the worker's stdin and stdout: 4 bytes of length, big-endian, then one JSON value. JSON
and not pickle, because a picture that takes over its decoder must not be able to run code in the supervisor:
all that a worker can send is rows.

    supervisor -> worker   a setup, once; then tasks [serial, [[folder, page, [path, ...]], ...]], see
                           `pack_files`
    worker -> supervisor   {"ready": pid} or {"refused": message}; then for each task
                           {"serial": serial, "seconds": seconds, "rows": [a row of a file, ...]}

The file that a worker is reading is noted in shared memory, so that the supervisor still knows it when the
worker has crashed.
"""

from __future__ import annotations

import binascii
import json
import struct
from collections.abc import Iterable
from itertools import groupby, repeat
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from digitscan.imaging.formats import MAX_MEGAPIXELS, MAX_PAGES
from digitscan.prediction import Folder, ImageFile, Status, is_number

if TYPE_CHECKING:
    from digitscan.model.number_rules import NumberRules
    from digitscan.model.registry import Model

CURRENT_FILE = struct.Struct("<II")
"""The shared memory: the serial number of the task, and the index of the file in it.

An index equal to the number of files says that the worker works on all of them together.
"""

NO_ROW = "crashed the decoder: the process that read it gave no answer of ours"
"""The note of a file for which a worker has sent something that is no row."""

_UNREAD = frozenset({Status.NO_DIGIT.value, Status.ERROR.value})
_LENGTH = struct.Struct(">I")
_MAX_FRAME_BYTES = 1 << 29  # a setup may hold a compiled model, and that MAX_MODEL_BYTES


class FileLocation(NamedTuple):
    """A file as a worker opens it."""

    path: str
    """The path from the current folder, or the name in `folder`."""
    folder: Folder | None = None
    page: int = 0
    """Which of its pages, as in ImageFile."""


class WorkerRow(NamedTuple):
    """One row as a worker sends it: a Prediction without its path."""

    digit: int | None
    confidence: float | None
    status: str
    note: str
    probabilities: list[float] | None
    number: str | None = None
    digit_confidences: list[float] | None = None


def parse_worker_row(values: Any) -> WorkerRow:
    """Return the row that a worker sent, checked: a picture may have taken it over.

    Raises TypeError, ValueError, ArithmeticError or LookupError for anything else.
    """
    digit, confidence, status, note, probabilities, number, digit_confidences = values
    if digit is not None and digit not in range(10):
        raise ValueError("no digit")
    if number is not None:
        is_read = confidence is not None and status in (Status.OK, Status.REVIEW)
        if not (isinstance(number, str) and is_number(number) and digit is None and is_read):
            raise ValueError("no number")
    if status == Status.OK and digit is None and number is None:
        raise ValueError("nothing was read")
    str(note).encode()  # lone surrogates could not be written
    if digit_confidences is not None and len(digit_confidences) != len(number or ""):
        raise ValueError("not one confidence for each digit")
    return WorkerRow(
        None if digit is None else int(digit),
        None if confidence is None else parse_probability(confidence),
        Status(status),
        str(note),
        None if probabilities is None else [*map(parse_probability, probabilities)],
        number,
        None if digit_confidences is None else [*map(parse_probability, digit_confidences)],
    )


def is_plain_row(values: Any) -> bool:
    """Tell quickly whether a row is that of a digit or of none, as nearly all are, and needs no parsing."""
    digit, confidence, status, note, probabilities, number, _ = values
    return (
        number is None
        and probabilities is None
        and (digit is None or (type(digit) is int and 0 <= digit <= 9))
        and (confidence is None or (type(confidence) is float and 0.0 <= confidence <= 1.0))
        and (digit is None) == (status in _UNREAD)
        and type(note) is str
        and note.isascii()
    )


def parse_probability(value: Any) -> float:
    """Return a number from 0 to 1. Raises as `parse_worker_row` does."""
    probability = float(value)
    if not 0.0 <= probability <= 1.0:
        raise ValueError("no probability")
    return probability


class ModelSetup(TypedDict):
    """A model as a worker loads it."""

    compiled_path: str
    compiled_digest: str
    compiled_content: str | None
    """The content of the compiled model, in base64, where there is no such file."""
    metadata: str
    """As JSON."""


class WorkerSetup(TypedDict):
    """What every worker must know before its first task."""

    does: Literal[
        "read images",
        "read numbers",
        "explain images",
        "explain numbers",
        "detect kinds",
        "count pages",
        "preprocess images",
    ]
    shared_path: str | None
    """The file to map as shared memory; None for a forked worker, which has that already."""


class CountSetup(WorkerSetup):
    """What a worker that counts the pages of files must know."""

    frames: bool
    """Whether the frames of an animation count as pages."""
    max_megapixels: float


class ImageSetup(WorkerSetup):
    """What a worker that reads or explains images must know."""

    model: ModelSetup
    fast_model: ModelSetup | None
    min_confidence: float | None
    probabilities: bool
    max_megapixels: float
    max_pages: int


class NumberSetup(WorkerSetup):
    """What a worker that reads numbers must know; the settings are as in `ScanConfig`."""

    model: ModelSetup
    digit_model: ModelSetup
    """The model that reads numbers of one digit, and the fast one that answers before it."""
    fast_model: ModelSetup | None
    rules: dict[str, Any]
    """What `NumberRules.to_stored` returns."""
    min_confidence: float | None
    digit_confidence: bool
    max_megapixels: float
    max_pages: int


class ExplainSetup(ImageSetup):
    """What a worker that explains images must know."""

    picture_side: int
    """Pixels on the longer side of the picture that is sent, at most."""
    findings: bool
    """Whether it is also sent what each part of the picture was taken for."""


class ExplainNumberSetup(NumberSetup):
    """What a worker that explains pictures of numbers must know."""

    picture_side: int
    """As in ExplainSetup."""


def create_number_explain_setup(
    model: Model, rules: NumberRules, min_confidence: float | None, picture_side: int
) -> ExplainNumberSetup:
    """Return the setup of workers that explain pictures of numbers."""
    setup = create_number_setup(model, rules, min_confidence, digit_confidence=True)
    return ExplainNumberSetup(
        **{**setup, "does": "explain numbers"},  # type: ignore[typeddict-item]  # keys are those of NumberSetup
        picture_side=picture_side,
    )


def create_explain_setup(
    model: Model, min_confidence: float | None, picture_side: int, findings: bool
) -> ExplainSetup:
    """Return the setup of workers that explain images; `min_confidence` is as in `ScanConfig`."""
    setup = create_image_setup(model, min_confidence, True, MAX_MEGAPIXELS)
    return ExplainSetup(
        **{**setup, "does": "explain images"},  # type: ignore[typeddict-item]  # keys are those of ImageSetup
        picture_side=picture_side,
        findings=findings,
    )


def create_image_setup(
    model: Model,
    min_confidence: float | None,
    probabilities: bool,
    max_megapixels: float,
    max_pages: int = MAX_PAGES,
) -> ImageSetup:
    """Return the setup of workers that read images with a model; the arguments are as in `ScanConfig`."""
    return ImageSetup(
        does="read images",
        model=_create_model_setup(model),
        fast_model=_create_model_setup(model.fast_model) if model.fast_model else None,
        min_confidence=min_confidence,
        probabilities=probabilities,
        max_megapixels=max_megapixels,
        max_pages=max_pages,
        shared_path=None,  # each worker has its own
    )


def create_number_setup(
    model: Model,
    rules: NumberRules,
    min_confidence: float | None,
    digit_confidence: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_pages: int = MAX_PAGES,
) -> NumberSetup:
    """Return the setup of workers that read numbers with a model; the arguments are as in `ScanConfig`."""
    digit_model = model.digit_model
    assert digit_model is not None  # models of numbers have one
    return NumberSetup(
        does="read numbers",
        model=_create_model_setup(model),
        digit_model=_create_model_setup(digit_model),
        fast_model=_create_model_setup(digit_model.fast_model) if digit_model.fast_model else None,
        rules=rules.to_stored(),
        min_confidence=min_confidence,
        digit_confidence=digit_confidence,
        max_megapixels=max_megapixels,
        max_pages=max_pages,
        shared_path=None,  # each worker has its own
    )


def _create_model_setup(model: Model) -> ModelSetup:
    content = model.compiled_content
    return ModelSetup(
        compiled_path=str(model.compiled_path),
        compiled_digest=model.compiled_digest,
        compiled_content=None if content is None else binascii.b2a_base64(content).decode("ascii"),
        metadata=model.metadata.to_json(),
    )


def pack_files(files: Iterable[FileLocation | ImageFile]) -> list[Any]:
    """Return the files of a task as JSON values: folders and pages, with the paths of consecutive files.

    >>> a = Folder("images", "a")
    >>> pack_files([FileLocation("1.png", a), FileLocation("2.png", a), FileLocation("b/3.png")])
    [[Folder(root='images', subpath='a'), 0, ['1.png', '2.png']], [None, 0, ['b/3.png']]]
    """
    groups = groupby(files, attrgetter("folder", "page"))
    return [[folder, page, [file.path for file in group]] for (folder, page), group in groups]


def unpack_files(packed: Iterable[Any]) -> list[FileLocation]:
    """Return the files that `pack_files` packed."""
    files: list[FileLocation] = []
    for folder_values, page, paths in packed:
        folder = Folder(*folder_values) if folder_values else None
        files += map(FileLocation._make, zip(paths, repeat(folder), repeat(page), strict=False))
    return files


def write_frame(file: IO[bytes], content: Any) -> None:
    """Write one JSON value as a frame and flush it. Raises OSError."""
    data = json.dumps(content, separators=(",", ":")).encode()
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def read_frame(file: IO[bytes]) -> Any:
    """Return the JSON value of the next frame.

    Raises EOFError at the end of the stream, ValueError for something that is no frame.
    """
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    if length > _MAX_FRAME_BYTES:
        raise ValueError("not a frame: it is longer than any of ours")
    data = file.read(length)
    if len(data) < length:
        raise EOFError
    return json.loads(data)
