"""Turn the UNIPEN collection into the pen strokes that `digitscan train --pens` reads.

`python -m tools.unipen_to_pens FOLDER pens.npz` reads the public distribution train_r01_v07, whose folder has
the subfolders `data` and `include`. UNIPEN's format is that of I. Guyon et al., "UNIPEN project of on-line
data exchange and recognizer benchmarks", ICPR 1994; the format of the output is in docs/training.md.

A file has the coordinates of a pen, component by component, from where it touches the paper to where it
leaves it. Lines `.SEGMENT CHARACTER 3-4 ? "7"` then say which components are a character.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CATEGORIES = ("1a", "1b", "1c", "1d")
"""UNIPEN's categories of single characters: digits, capitals, small letters and signs, and a mixture."""
COUNTING_PEN_UPS = ("pri",)
"""Sources that count what the pen did above the paper as components too."""
LEFT_OUT = ("cea", "ceb", "lou", "tos")
"""Sources in which the numbers of the components do not fit the labels."""
SPLITTING = ("ibm",)
"""Sources in which some characters are in pieces: each stroke is a segment with the whole character's label,
and its coordinates start at 0, so that the strokes cannot be put together again."""
GOOD_QUALITIES = ("?", "OK", "GOOD")
COORDINATE_RANGE = 1000
"""The longest side of a character in the output."""
MAX_INCLUDE_DEPTH = 4

Stroke = NDArray[np.float64]
"""The points (N, 2) of a component, x and y as in the file, y up."""


class Segment(NamedTuple):
    """A line `.SEGMENT CHARACTER`: which components are a character, how good it is, and what it is."""

    delineation: str
    quality: str
    label: str


@dataclass
class UnipenFile:
    """What a file says. A component of a pen above the paper has no points."""

    components: list[list[tuple[float, float]]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    writer: str | None = None


class Character(NamedTuple):
    """A character of the output."""

    label: str
    source: str
    writer: str
    strokes: list[NDArray[np.int16]]


def read_lines(path: Path, included: Mapping[str, Path], depth: int = 0) -> Iterator[str]:
    """Yield the lines of a file, and in the place of each `.INCLUDE` those of the file that it names.

    `included` has the files of the folder `include` by their names in small letters: the spellings differ.
    """
    with path.open(encoding="latin-1") as file:
        for line in file:
            if not line.startswith(".INCLUDE"):
                yield line
            elif depth < MAX_INCLUDE_DEPTH:
                name = line.removeprefix(".INCLUDE").strip().strip('"').lower()
                if name in included:
                    yield from read_lines(included[name], included, depth + 1)


def parse_lines(lines: Iterable[str], counts_pen_ups: bool = False) -> UnipenFile:
    """Return what the lines of a file say. Keywords that are not needed are passed over."""
    result = UnipenFile()
    x_column, y_column, is_down = 0, 1, False
    for line in lines:
        keyword, _, rest = line.strip().partition(" ")
        if not keyword.startswith("."):
            if is_down:
                result.components[-1].extend(_parse_point(line, x_column, y_column))
            continue
        if keyword == ".COORD":
            columns = rest.split()
            x_column, y_column = (columns.index(axis) if axis in columns else len(columns) for axis in "XY")
        elif keyword == ".WRITER_ID":
            result.writer = rest.strip()
        elif keyword == ".SEGMENT":
            result.segments.extend(_parse_segment(rest))
        elif keyword == ".PEN_DOWN" or (keyword == ".PEN_UP" and counts_pen_ups):
            result.components.append([])
        # Between the points there may be the time, which changes nothing.
        is_down = keyword == ".PEN_DOWN" or (is_down and keyword == ".DT")
    return result


def _parse_point(line: str, x_column: int, y_column: int) -> Iterator[tuple[float, float]]:
    """Yield the point of a line, if it has one."""
    values = line.split()
    try:
        yield float(values[x_column]), float(values[y_column])
    except (ValueError, IndexError):
        return


def _parse_segment(text: str) -> Iterator[Segment]:
    """Yield the segment of a line after its keyword, if it is a single character."""
    match = re.match(r'CHARACTER\s+(\S+(?:\s*,\s*\S+)*)\s+(\S+)\s+"(.)"', text.strip())
    if match:
        yield Segment(*match.groups())


def extract_strokes(components: Sequence[Sequence[tuple[float, float]]], delineation: str) -> list[Stroke]:
    """Return the strokes of a character: `2`, `2-3`, `2,5-6`, or `2:10-3:7` from one point to another.

    Raises ValueError for what is no delineation and IndexError for components that are not there.
    """
    strokes = []
    for part in delineation.replace(" ", "").split(","):
        start, _, end = part.partition("-")
        (first, first_point), (last, last_point) = (_parse_place(place) for place in (start, end or start))
        for index in range(first, last + 1):
            begin = first_point if index == first else None
            stop = last_point + 1 if end and index == last and last_point is not None else None
            points = components[index][begin:stop]
            if points:
                strokes.append(np.array(points))
    return strokes


def _parse_place(text: str) -> tuple[int, int | None]:
    """Return the component and the point of `COMPONENT` or `COMPONENT:POINT`."""
    component, _, point = text.partition(":")
    return int(component), int(point) if point else None


def normalize_strokes(strokes: Sequence[Stroke]) -> list[NDArray[np.int16]]:
    """Return the strokes with the longest side COORDINATE_RANGE and y down; a single dot gives none.

    Points that come twice in a row are left out the second time.
    """
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    if not 0 < extent < np.inf:
        return []
    normalized = []
    for stroke in strokes:
        from_upper_left = np.stack((stroke[:, 0] - low[0], high[1] - stroke[:, 1]), axis=1)
        scaled = np.rint(from_upper_left * (COORDINATE_RANGE / extent)).astype(np.int16)
        is_new = np.append(True, (np.diff(scaled, axis=0) != 0).any(axis=1))
        normalized.append(scaled[is_new])
    return normalized


def drop_pieces(segments: Sequence[Segment], dropped: Counter[str]) -> list[Segment]:
    """Return the segments without those that may be pieces: components side by side with the same label.

    This also drops some whole characters, where somebody wrote the same one twice.
    """
    pieces = set()
    for first, second in itertools.pairwise(segments):
        is_next = first.delineation.isdecimal() and second.delineation == str(int(first.delineation) + 1)
        if is_next and first.label == second.label:
            pieces |= {first, second}
    dropped["pieces of characters"] += len(pieces)
    return [segment for segment in segments if segment not in pieces]


def read_characters(folder: Path, categories: Sequence[str], dropped: Counter[str]) -> Iterator[Character]:
    """Yield the characters of a distribution. What is left out is counted in `dropped`, by the reason."""
    included = {
        path.relative_to(folder / "include").as_posix().lower(): path
        for path in sorted((folder / "include").rglob("*"))
        if path.is_file()
    }
    for category in categories:
        for path in sorted((folder / "data" / category).rglob("*")):
            source, *below = path.relative_to(folder / "data" / category).parts
            if not below or source in LEFT_OUT or not path.is_file():
                continue
            file = parse_lines(read_lines(path, included), source in COUNTING_PEN_UPS)
            writer = file.writer or "/".join(below[:-1])
            segments = drop_pieces(file.segments, dropped) if source in SPLITTING else file.segments
            for segment in segments:
                strokes = _read_segment(file, segment, dropped)
                if strokes:
                    yield Character(segment.label, source, f"{source}/{writer}", strokes)


def _read_segment(file: UnipenFile, segment: Segment, dropped: Counter[str]) -> list[NDArray[np.int16]]:
    """Return the strokes of a segment, none for one that is left out."""
    if segment.quality not in GOOD_QUALITIES:
        dropped["bad quality"] += 1
        return []
    try:
        strokes = extract_strokes(file.components, segment.delineation)
    except (ValueError, IndexError):
        dropped["components that are not there"] += 1
        return []
    normalized = normalize_strokes(strokes) if strokes else []
    if not normalized:
        dropped["dots"] += 1
    return normalized


def save_characters(path: Path, characters: Sequence[Character]) -> None:
    """Write the `.npz` of at least one character."""
    strokes = [stroke for character in characters for stroke in character.strokes]
    writers = {writer: index for index, writer in enumerate(dict.fromkeys(c.writer for c in characters))}
    np.savez_compressed(
        path,
        points=np.concatenate(strokes),
        stroke_ends=np.cumsum([len(stroke) for stroke in strokes], dtype=np.int32),
        segment_ends=np.cumsum([len(character.strokes) for character in characters], dtype=np.int32),
        label=np.array([character.label for character in characters]),
        source=np.array([character.source for character in characters]),
        writer=np.array([writers[character.writer] for character in characters], np.int16),
    )


def main() -> None:
    """Read the arguments, write the file and say what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the distribution, with its folders data and include")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    parser.add_argument(
        "--categories", nargs="+", default=CATEGORIES, metavar="NAME", help="default: all four"
    )
    arguments = parser.parse_args()
    dropped: Counter[str] = Counter()
    characters = list(read_characters(arguments.folder, arguments.categories, dropped))
    if not characters:
        sys.exit(f"{arguments.folder} holds no characters: it needs files such as data/1a/ibm/NAME.dat")
    save_characters(arguments.output, characters)
    writer_count = len({character.writer for character in characters})
    print(f"{len(characters):,} characters of {writer_count} writers: {arguments.output}")
    for reason, count in dropped.most_common():
        print(f"left out {count:,}: {reason}")


if __name__ == "__main__":
    main()
