"""Pen strokes for tests: digits and letters of a few writers, made of the bundled skeletons.

They stand in for the file that a user of `digitscan train --pens` has, and for the UNIPEN collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.stroke_glyphs import Skeleton, load_stroke_glyphs

WRITER_COUNT = 6
"""Of one source: the fourth is for validation."""
LETTERS = ("A", "O", "K")
"""What each writer wrote besides the digits. An O looks like a 0."""


def list_labels() -> list[str]:
    """Return the labels that each writer wrote."""
    return [*map(str, range(10)), *LETTERS]


def find_skeleton(label: str, writer: int) -> list[NDArray[np.int64]]:
    """Return the strokes of a character with the longest side 1000, y down."""
    glyphs = load_stroke_glyphs()
    if label.isdigit():
        skeletons: Sequence[Skeleton] = glyphs.digits[int(label)]
        skeleton = skeletons[writer % len(skeletons)]
    else:
        skeleton = glyphs.digits[0][0] if label == "O" else glyphs.non_digits[0]
    points = np.concatenate(skeleton)
    low = points.min(axis=0)
    scale = 1000 / (points.max(axis=0) - low).max()
    return [np.rint((stroke - low) * scale).astype(np.int64) for stroke in skeleton]


def make_pen_arrays(writer_count: int = WRITER_COUNT, copies: int = 1) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file in which each writer of one source wrote all labels `copies` times."""
    characters = [
        (label, writer, find_skeleton(label, writer))
        for writer in range(writer_count)
        for label in list_labels()
        for _ in range(copies)
    ]
    strokes = [stroke for _, _, skeleton in characters for stroke in skeleton]
    return {
        "points": np.concatenate(strokes).astype(np.int16),
        "stroke_ends": np.cumsum([len(stroke) for stroke in strokes]).astype(np.int32),
        "segment_ends": np.cumsum([len(skeleton) for _, _, skeleton in characters]).astype(np.int32),
        "label": np.array([label for label, _, _ in characters]),
        "source": np.array(["abc"] * len(characters)),
        "writer": np.array([writer for _, writer, _ in characters], np.int16),
    }


def write_unipen(folder: Path, source: str = "abc", writer_count: int = WRITER_COUNT) -> None:
    """Write a folder as the UNIPEN distribution is one: segments in `data`, coordinates in `include`."""
    for writer in range(writer_count):
        lines, segments, component_count = [".COORD X Y T", f".WRITER_ID writer {writer}"], [], 0
        for label in list_labels():
            strokes = find_skeleton(label, writer)
            for stroke in strokes:
                # In UNIPEN, y points up.
                points = [f"{x} {1000 - y} {time}" for time, (x, y) in enumerate(stroke.tolist())]
                lines += [".PEN_DOWN", *points, ".PEN_UP"]
            last = component_count + len(strokes) - 1
            segments.append(f'.SEGMENT CHARACTER {component_count}-{last} ? "{label}"')
            component_count = last + 1
        _write_lines(folder / "include" / source / "data" / f"{writer}.dat", lines)
        included = f".INCLUDE {source.upper()}/data/{writer}.dat"
        _write_lines(folder / "data" / "1a" / source / "set" / f"{writer}.dat", [included, *segments])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([".VERSION 1.0", *lines, ""]), encoding="latin-1")
