"""Explanations as text for a terminal: pictures of half blocks in colour, or of shades without it.

File names and notes come from untrusted files: they pass through `escape_control_characters` and
`rich.text.Text`, so that neither the terminal nor rich's markup obeys them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from digitscan.prediction import Status
from digitscan.review.explanation import FINDING_COLORS, Explanation
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

GAP = 2
"""Columns between two pictures."""
MIN_SIDE, MAX_SIDE = 24, 44
"""Columns of the picture and of what was found in it, each; a wide picture of a number may have twice as
many. What the model saw of a digit always has 28."""
MODEL_INPUT_SIDE = 28
MAX_LINE_SIDE = 120
"""Columns of a line of digits that the model saw, at most: it is reduced to fit."""
BAR_WIDTH = 30
"""Columns of the bar of a probability of 1."""
STATUS_STYLES = {
    Status.OK: "bold green",
    Status.REVIEW: "bold yellow",
    Status.NO_DIGIT: "bold",
    Status.ERROR: "bold red",
}


@dataclass(frozen=True)
class CharacterSet:
    """What pictures without colour are made of, for terminals that show Unicode and for others."""

    shades: str
    """From no ink to full ink."""
    findings: str
    """One character for each `Finding`."""
    bar: str


UNICODE = CharacterSet(" ░▒▓█", " █x", "█")
ASCII = CharacterSet(" .+#@", " @x", "=")


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print an explanation to a rich console of any width, in colour where the console has at least 256."""
    from rich.text import Text

    console.print(Text(escape_control_characters(explanation.prediction.path), style="bold"))
    console.print(_describe_row(explanation))
    if explanation.picture is not None:
        console.print()
        console.print(_arrange(explanation, console))
    if explanation.probabilities:
        console.print()
        console.print(_draw_bars(explanation.probabilities, choose_characters(console)))
    console.print()


def choose_characters(console: Console) -> CharacterSet:
    """Return the characters that the console's encoding can show."""
    try:
        "░▒▓█▀".encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def _describe_row(explanation: Explanation) -> Text:
    from rich.text import Text

    prediction = explanation.prediction
    text = Text()
    if explanation.read:
        text.append(f"{explanation.read}  ", style="bold")
    text.append(prediction.status.value, style=STATUS_STYLES[prediction.status])
    if prediction.confidence is not None:
        text.append(f"  confidence {prediction.confidence:.4f}")
    if prediction.note:
        text.append(f"  {escape_control_characters(prediction.note)}")
    if explanation.digits:
        text.append(f"\ndigits: {explanation.digits}", style="dim")
    return text


def _arrange(explanation: Explanation, console: Console) -> RenderableType:
    """Return the pictures side by side or, in a narrow terminal, one below the other."""
    from rich.console import Group
    from rich.table import Table

    wide_enough = not explanation.is_line and console.width >= 2 * MIN_SIDE + MODEL_INPUT_SIDE + 2 * GAP
    side = (console.width - MODEL_INPUT_SIDE - 2 * GAP) // 2 if wide_enough else console.width
    max_side = MAX_SIDE
    if explanation.is_line and explanation.picture is not None:
        height, width = explanation.picture.shape
        max_side = round(MAX_SIDE * min(max(width / height, 1), 2))
    panels = list(_draw_panels(explanation, console, min(max(side, 1), max_side)))
    if not wide_enough:
        return Group(*(part for title, picture in panels for part in (title, picture)))
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for _ in panels:
        grid.add_column(no_wrap=True)
    grid.add_row(*(title for title, _ in panels))
    grid.add_row(*(picture for _, picture in panels))
    return grid


def _draw_panels(explanation: Explanation, console: Console, side: int) -> Iterator[tuple[Text, Text]]:
    """Yield the title and the picture of each panel, `side` columns wide; the model's input has its own."""
    from rich.text import Text

    characters = choose_characters(console)
    has_color = console.color_system in {"truecolor", "256"} and characters is UNICODE
    if explanation.picture is not None:
        gray = _fit(explanation.picture, side)
        drawn = _draw_in_color(_to_rgb(gray)) if has_color else _draw_in_shades(255 - gray, characters)
        yield Text("the picture", style="dim"), drawn
    if explanation.findings is not None:
        findings = _fit_findings(explanation.findings, side)
        drawn = _draw_in_color(_color_findings(findings)) if has_color else _draw_signs(findings, characters)
        left_out = "red" if has_color else characters.findings[2]
        yield Text(f"found; {left_out} left out", style="dim"), drawn
    if explanation.model_input is not None:
        # A line of one narrow digit is higher than it is wide.
        own_side = max(explanation.model_input.shape)
        pixels = _fit(explanation.model_input, min(console.width, own_side, MAX_LINE_SIDE))
        drawn = _draw_in_color(_to_rgb(pixels)) if has_color else _draw_in_shades(pixels, characters)
        yield Text("what the model saw", style="dim"), drawn


def _fit(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return the image with a longer side of `side` pixels and an even number of rows."""
    import cv2
    import numpy as np

    height, width = image.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(2, 2 * round(height * scale / 2)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.uint8)


def _fit_findings(findings: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return findings of this size, in which thin lines are not lost."""
    import numpy as np

    shares = [_fit((findings == finding).astype(np.uint8) * 255, side) for finding in (1, 2)]
    digit, left_out = (share >= 64 for share in shares)
    return np.where(digit & (shares[0] >= shares[1]), 1, np.where(left_out, 2, digit)).astype(np.uint8)


def _to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    return np.repeat(gray[..., None], 3, axis=2)


def _color_findings(findings: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import numpy as np

    return np.array(FINDING_COLORS, np.uint8)[findings]


def _draw_in_color(image: NDArray[np.uint8]) -> Text:
    """Return an RGB image as half blocks: the character is the upper pixel, its background the lower."""
    from rich.text import Text

    text = Text()
    for upper, lower in zip(image[::2].tolist(), image[1::2].tolist(), strict=True):
        for (red, green, blue), (red_below, green_below, blue_below) in zip(upper, lower, strict=True):
            style = f"rgb({red},{green},{blue}) on rgb({red_below},{green_below},{blue_below})"
            text.append("▀", style=style)
        text.append("\n")
    text.rstrip()
    return text


def _draw_in_shades(ink: NDArray[np.uint8], characters: CharacterSet) -> Text:
    """Return an image of ink, 0 to 255, as one shade for two pixels, one above the other."""
    import numpy as np
    from rich.text import Text

    # The paper is blank, whatever its gray.
    paper = int(np.median(ink))
    means = ink.reshape(len(ink) // 2, 2, -1).mean(axis=1)
    levels = (means - paper) / max(1.0, means.max() - paper)
    indices = np.clip((levels * len(characters.shades)).astype(int), 0, len(characters.shades) - 1)
    return Text("\n".join("".join(characters.shades[index] for index in row) for row in indices.tolist()))


def _draw_signs(findings: NDArray[np.uint8], characters: CharacterSet) -> Text:
    """Return findings as one character for two, one above the other; the digit covers what is left out."""
    from rich.text import Text

    lines = []
    for upper, lower in zip(findings[::2].tolist(), findings[1::2].tolist(), strict=True):
        kinds = (1 if 1 in pair else max(pair) for pair in zip(upper, lower, strict=True))
        lines.append("".join(characters.findings[kind] for kind in kinds))
    return Text("\n".join(lines))


def _draw_bars(probabilities: tuple[tuple[str, float], ...], characters: CharacterSet) -> Table:
    """Return the probability of each class or reading as a bar and in percent."""
    from rich.table import Table
    from rich.text import Text

    most_likely = max(probability for _, probability in probabilities)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, probability in probabilities:
        style = "bold" if probability == most_likely else "dim"
        bar = characters.bar * round(BAR_WIDTH * probability)
        table.add_row(
            Text(name, style), Text(f"{100 * probability:.2f} %", style), Text(bar, "cyan" if bar else "")
        )
    return table
