"""The review page: one HTML file that shows the rows of a scan and takes corrections.

It works without a server and without the network. Text from files is never markup: the rows are JSON, which
the script writes as text only, and the page's content security policy runs no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from digitscan.prediction import MAX_NUMBER_DIGITS
from digitscan.review.rows import ReviewedRows
from digitscan.review.sprites import COLUMNS_PER_SPRITE, DIGIT_PLACE, NUMBER_PLACE, ROWS_PER_SPRITE

PAGE_FOLDER = Path(__file__).with_name("page")
INLINE = "data-base64:"
"""Begins a sprite that is in the page itself."""


def render_page(
    name: str, rows: ReviewedRows, sprites: Sequence[str], has_picture: str, audit: Sequence[int]
) -> str:
    """Return the page.

    `name` is that of the CSV. `sprites` are the addresses of the sprites, or INLINE and their PNG in base64;
    `has_picture` is as in `Sprite`, for all rows; `audit` are the indices of rows that are drawn at random.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(PAGE_FOLDER), autoescape=True, undefined=StrictUndefined
    )
    style, script = ((PAGE_FOLDER / file).read_text(encoding="utf-8") for file in ("review.css", "review.js"))
    place = NUMBER_PLACE if rows.has_numbers else DIGIT_PLACE
    data = {
        "name": name,
        "digest": rows.digest,
        "has_mark": rows.has_mark,
        "header": rows.header,
        "columns": rows.columns,
        "rows": rows.cells,
        "audit": [*audit],
        "sprites": [*sprites],
        "has_picture": has_picture,
        "has_numbers": rows.has_numbers,
        "width": place.width,
        "height": place.height,
        "input_side": place.input_side,
        "per_sprite": ROWS_PER_SPRITE,
        "columns_per_sprite": COLUMNS_PER_SPRITE,
    }
    # The style, the script and the data are ours, or made safe: the template must not escape them.
    return environment.get_template("review.html.j2").render(
        csv_name=name,
        style=Markup(style),  # a file of this package
        script=Markup(script),  # likewise
        style_hash=_hash_for_policy(style),
        script_hash=_hash_for_policy(script),
        data=Markup(_escape_json(data)),  # no character of it ends the element
        place=place,
        has_numbers=rows.has_numbers,
        max_digits=MAX_NUMBER_DIGITS,
        audit_count=len(audit),
    )


def inline_sprite(png: bytes) -> str:
    """Return a sprite that is in the page itself."""
    return INLINE + base64.b64encode(png).decode()


def _hash_for_policy(text: str) -> str:
    """Return what a content security policy names an inline script or style by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _escape_json(data: object) -> str:
    """Return JSON that can stand in a script element: nothing in it looks like a tag or a comment."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
