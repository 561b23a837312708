"""What is printed on a form round a digit: boxes, combs, lines of tables, rules, circles, captions.

`printed_fields` draws a field with these functions. They draw onto a `Sheet`, which is larger than the
picture of the field, so that lines may be thinner than a pixel of the picture. The first print of a sheet
should be the palest: where two overlap, the later one stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from digitscan.training.data.form_sheet import Pen, Rect, Sheet

MIN_PEN_SHARE, MAX_PEN_SHARE = 0.005, 0.05
"""The width of printed lines, as a share of the sheet's shorter side."""
MIN_DARKNESS = 50.0
"""The darkness of the palest printed line, of 255 for black. Rules and tints of the paper may be paler."""
_CORNER_ARC = np.linspace(0.0, np.pi / 2, 6)
_TURN = np.linspace(0.0, 2 * np.pi, 48)
_CIRCLE = np.column_stack((np.cos(_TURN), np.sin(_TURN)))


def choose_pen(sheet: Sheet, rng: np.random.Generator) -> Pen:
    """Return a random pen for printed lines, more often thin than thick."""
    share = MIN_PEN_SHARE * (MAX_PEN_SHARE / MIN_PEN_SHARE) ** rng.random()
    return Pen(share * sheet.side, rng.uniform(MIN_DARKNESS, 255.0))


def draw_square_box(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the cell's four sides."""
    sheet.draw([_close(sheet.cell.corners)], choose_pen(sheet, rng))


def draw_rounded_box(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the cell's four sides with round corners."""
    sheet.draw([_round_corners(sheet.cell, rng)], choose_pen(sheet, rng))


def draw_double_box(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the cell's four sides twice, one inside the other."""
    outer, inner = choose_pen(sheet, rng), choose_pen(sheet, rng)
    gap = outer.width / 2 + inner.width / 2 + sheet.side * rng.uniform(0.01, 0.06)
    sheet.draw([_close(sheet.cell.grow(gap).corners)], outer)
    sheet.draw([_close(sheet.cell.corners)], inner._replace(darkness=outer.darkness))


def draw_dashed_box(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the cell's four sides in dashes."""
    outline = _round_corners(sheet.cell, rng) if rng.random() < 0.3 else _close(sheet.cell.corners)
    _draw_dashes(sheet, outline, choose_pen(sheet, rng), rng)


def draw_dotted_box(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the cell's four sides in dots."""
    _draw_dots(sheet, _close(sheet.cell.corners), choose_pen(sheet, rng), rng)


def draw_comb(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw a row of cells that are open at the top: one long line with teeth, of which some are taller."""
    left, top, right, bottom = sheet.cell
    height = sheet.cell.height * rng.uniform(0.12, 1.0)
    first, last = rng.integers(0, 3, 2).tolist()  # cells beside this one
    lines: list[Any] = [
        ((left - first * sheet.cell.width, bottom), (right + last * sheet.cell.width, bottom))
    ]
    for index in range(-first, last + 2):
        x = left + index * sheet.cell.width
        is_end = index in (-first, last + 1)
        lines.append(((x, bottom), (x, top if is_end and rng.random() < 0.5 else bottom - height)))
    sheet.draw(lines, choose_pen(sheet, rng))


def draw_side_lines(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw one line or two at the left and right of the cell."""
    left, top, right, bottom = sheet.cell
    is_column = rng.random() < 0.6
    overhang = sheet.reach if is_column else sheet.cell.height * rng.uniform(-0.25, 0.1)
    choice = rng.random()
    columns = (left,) if choice < 0.2 else (right,) if choice < 0.4 else (left, right)
    sheet.draw([((x, top - overhang), (x, bottom + overhang)) for x in columns], choose_pen(sheet, rng))


def draw_table_lines(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw one to four lines of a table. Each ends at a corner of the cell, a little after, or never."""
    pen = choose_pen(sheet, rng)
    has_line = rng.random(4) < rng.uniform(0.4, 1.0)
    has_line[int(rng.integers(4))] = True
    small = sheet.side * rng.uniform(0.0, 0.12)
    corners = _close(sheet.cell.corners)
    is_varied = rng.random() < 0.3
    for side in np.flatnonzero(has_line).tolist():
        before, after = ((0.0, small, sheet.reach)[i] for i in rng.integers(0, 3, 2).tolist())
        line = _extend(corners[side], corners[side + 1], before, after)
        side_pen = choose_pen(sheet, rng) if is_varied else pen
        sheet.draw([line], side_pen)
        if rng.random() < 0.08:  # a double line
            across = np.array((line[1] - line[0])[::-1]) * (-1.0, 1.0)
            gap = 2 * side_pen.width + sheet.side * rng.uniform(0.01, 0.05)
            sheet.draw([line - across / math.hypot(*across) * gap], side_pen)


def draw_baseline(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw a line, dashes or dots on which the digit stands, or that cross its foot."""
    y = sheet.digit.bottom + sheet.digit.height * rng.uniform(-0.12, 0.15)
    overhang = sheet.reach if rng.random() < 0.4 else sheet.side * rng.uniform(-0.1, 0.1)
    line = np.array(((sheet.cell.left - overhang, y), (sheet.cell.right + overhang, y)))
    pen = choose_pen(sheet, rng)
    style = rng.random()
    if style < 0.5:
        sheet.draw([line], pen)
    elif style < 0.75:
        _draw_dashes(sheet, line, pen, rng)
    else:
        _draw_dots(sheet, line, pen, rng)


def draw_circle(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw a printed circle or oval round the digit."""
    center, radii = _choose_ellipse(sheet, rng)
    sheet.draw([center + radii * _CIRCLE], choose_pen(sheet, rng))


def draw_circle_by_hand(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw a circle or oval round the digit by hand: uneven, and its ends may not meet."""
    center, radii = _choose_ellipse(sheet, rng)
    angles = rng.uniform(0.0, 2 * np.pi) + rng.uniform(0.93, 1.12) * _TURN
    drift, wobble, phase = rng.normal(0.0, 0.04), rng.normal(0.0, 0.04), rng.uniform(0.0, 2 * np.pi)
    radius = 1.0 + drift * _TURN / np.pi + wobble * np.sin(2 * _TURN + phase)
    points = np.column_stack((np.cos(angles), np.sin(angles))) * radius[:, None]
    sheet.draw([center + radii * points], choose_pen(sheet, rng))


def draw_underline(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw one line or two under the digit, by hand."""
    digit = sheet.digit
    pen = Pen(digit.height * rng.uniform(0.03, 0.1), rng.uniform(120.0, 255.0))
    y = digit.bottom + digit.height * rng.uniform(0.0, 0.2)
    for _ in range(1 if rng.random() < 0.7 else 2):
        ends = y + digit.height * rng.normal(0.0, 0.03, 2)
        overhangs = digit.height * rng.uniform(-0.05, 0.35, 2)
        left, right = digit.left - overhangs[0], digit.right + overhangs[1]
        middle = ((left + right) / 2, ends.mean() + digit.height * rng.normal(0.0, 0.02))
        sheet.draw([((left, ends[0]), middle, (right, ends[1]))], pen)
        y += 2 * pen.width + digit.height * rng.uniform(0.0, 0.1)


def draw_ruled_paper(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the thin pale lines of ruled paper, which go through the digit."""
    _draw_rules(sheet, rng, is_squared=False)


def draw_squared_paper(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw the thin pale lines of squared paper, which go through the digit."""
    _draw_rules(sheet, rng, is_squared=True)


def draw_tint(sheet: Sheet, rng: np.random.Generator) -> None:
    """Fill the cell, or everything but the cell, with a pale tone."""
    darkness = rng.uniform(8.0, 60.0)
    if rng.random() < 0.5:
        sheet.fill(sheet.cell, darkness)
    else:
        sheet.prints[:] = round(darkness)
        sheet.fill(sheet.cell, 0.0)


def draw_caption(sheet: Sheet, rng: np.random.Generator) -> None:
    """Draw a word or number in small print above, below or in a corner of the cell, beside the digit."""
    size = sheet.side * rng.uniform(0.05, 0.12)
    count = int(rng.integers(1, 7))
    advance = size * rng.uniform(0.7, 0.95)
    sheet_height, sheet_width = sheet.prints.shape
    cell = sheet.cell
    above, below = (cell.top - 1.5 * size, cell.top + 0.5 * size), (cell.bottom + 0.5 * size,)
    rows = (*above, *below, cell.bottom - 1.5 * size)
    for _ in range(4):
        top = rows[int(rng.integers(4))]
        left = cell.left + rng.uniform(0.03, 0.9) * max(0.0, cell.width - count * advance)
        place = Rect(left, top, left + count * advance, top + size)
        if place.overlaps(sheet.digit) or not place.overlaps(Rect(0, 0, sheet_width, sheet_height)):
            continue
        pen = Pen(size * rng.uniform(0.1, 0.2), rng.uniform(MIN_DARKNESS, 255.0))
        lines = rng.random((count, 4, 2)) * (0.7 * advance, size) + (left, top)
        lines[..., 0] += np.arange(count)[:, None] * advance
        sheet.draw(lines, pen)
        return


def _choose_ellipse(sheet: Sheet, rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the centre and the two radii, (2,) each, of an ellipse round the digit."""
    digit = sheet.digit
    center = np.array(((digit.left + digit.right) / 2, (digit.top + digit.bottom) / 2))
    center += rng.normal(0.0, 0.05, 2) * digit.height
    half_width = max(digit.width, digit.height * rng.uniform(0.4, 1.0)) / 2
    return center, np.array((half_width, digit.height / 2)) * rng.uniform(1.2, 1.7)


def _draw_rules(sheet: Sheet, rng: np.random.Generator, is_squared: bool) -> None:
    height, width = sheet.prints.shape
    spacing = max(5.0, sheet.side * rng.uniform(0.08, 0.4))
    pen = Pen(sheet.side * rng.uniform(0.004, 0.015), rng.uniform(20.0, 110.0))
    reach = sheet.reach
    lines = [((-reach, y), (reach, y)) for y in _space_evenly(height, spacing, rng)]
    if is_squared:
        lines += [((x, -reach), (x, reach)) for x in _space_evenly(width, spacing, rng)]
    sheet.draw(lines, pen)


def _space_evenly(length: float, spacing: float, rng: np.random.Generator) -> list[float]:
    """Return positions from 0 to `length` and a little beyond, for a sheet that is tilted."""
    return list(np.arange(rng.uniform(-0.1, 0.0) * length - spacing, 1.1 * length, spacing))


def _close(points: NDArray[Any]) -> NDArray[Any]:
    """Return the points (N + 1, 2) of the closed line through points (N, 2)."""
    return np.concatenate((points, points[:1]))


def _round_corners(rect: Rect, rng: np.random.Generator) -> NDArray[Any]:
    """Return the closed outline (N, 2) of a rectangle with round corners."""
    radius = min(rect.width, rect.height) * rng.uniform(0.05, 0.45)
    arcs = []
    signs = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    for quarter, (corner, sign) in enumerate(zip(rect.corners, signs, strict=True)):
        angles = _CORNER_ARC + np.pi + quarter * np.pi / 2
        arcs.append(corner + radius * (np.array(sign) + np.column_stack((np.cos(angles), np.sin(angles)))))
    return _close(np.concatenate(arcs))


def _extend(start: NDArray[Any], end: NDArray[Any], before: float, after: float) -> NDArray[Any]:
    """Return the line (2, 2) from start to end, longer by the two lengths in pixels."""
    direction = (end - start) / max(1e-6, math.hypot(*(end - start)))
    return np.stack((start - before * direction, end + after * direction))


def _draw_dashes(sheet: Sheet, line: NDArray[Any], pen: Pen, rng: np.random.Generator) -> None:
    dash = max(2.0 * pen.width, sheet.side * rng.uniform(0.02, 0.1))
    period = dash + pen.width + dash * rng.uniform(0.4, 1.2)  # a line's round ends take its width of the gap
    starts, length = _divide(line, period, rng)
    ends = np.minimum(starts + dash, length)
    sheet.draw(np.stack((_follow(line, starts), _follow(line, ends)), axis=1), pen)


def _draw_dots(sheet: Sheet, line: NDArray[Any], pen: Pen, rng: np.random.Generator) -> None:
    period = max(3.0, pen.width * rng.uniform(1.8, 4.0), 0.015 * sheet.side)
    starts, _ = _divide(line, period, rng)
    sheet.draw(_follow(line, starts)[:, None, :], pen)


def _divide(line: NDArray[Any], period: float, rng: np.random.Generator) -> tuple[NDArray[Any], float]:
    """Return distances along the line (N,), in steps of `period`, and the line's length."""
    length = float(np.hypot(*np.diff(line, axis=0).T).sum())
    return np.arange(rng.uniform(0.0, period), length, period), length


def _follow(line: NDArray[Any], distances: NDArray[Any]) -> NDArray[Any]:
    """Return the points (N, 2) at these distances (N,) along a line."""
    lengths = np.concatenate(((0.0,), np.hypot(*np.diff(line, axis=0).T).cumsum()))
    return np.column_stack([np.interp(distances, lengths, line[:, axis]) for axis in (0, 1)])


Print = Callable[[Sheet, np.random.Generator], None]

FRAMES: dict[str, tuple[float, Print]] = {
    "square box": (0.16, draw_square_box),
    "rounded box": (0.06, draw_rounded_box),
    "double box": (0.05, draw_double_box),
    "dashed box": (0.05, draw_dashed_box),
    "dotted box": (0.05, draw_dotted_box),
    "comb": (0.09, draw_comb),
    "side lines": (0.08, draw_side_lines),
    "table lines": (0.18, draw_table_lines),
    "baseline": (0.09, draw_baseline),
    "circle": (0.03, draw_circle),
    "circle by hand": (0.03, draw_circle_by_hand),
    "underline": (0.03, draw_underline),
}
"""The prints of which a field has at most one, with the share of the fields that have it."""
FRAMES_OF_EMPTY_FIELDS = {
    name: frame for name, frame in FRAMES.items() if not name.startswith(("circle", "underline"))
}
"""The frames that may be alone: an underline is written, and a circle may be a 0."""
PAPERS: dict[str, tuple[float, Print]] = {
    "ruled paper": (0.06, draw_ruled_paper),
    "squared paper": (0.05, draw_squared_paper),
    "tint": (0.07, draw_tint),
}
"""The prints of the paper, of which a field has at most one, drawn before the others."""
