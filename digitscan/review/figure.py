"""Explanations as a picture: a row of panels for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from digitscan.evaluation.figures import BLUE, GRAY, RED, create_figure, encode_figure
from digitscan.prediction import Status
from digitscan.review.explanation import FINDING_COLORS, Explanation
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE_TITLES = ("the picture", "found; red is left out", "what the model saw")
BARS_TITLE = "probabilities"
MIN_BARS = 5
"""The panel of probabilities has room for so many bars, also where there are fewer readings of a number."""
MAX_TITLE_CHARACTERS = 100
"""Of a longer name or note, the end is left out."""


def draw_explanations(explanations: Sequence[Explanation]) -> bytes:
    """Return a PNG with a row of panels for each image: the picture, what was found, the input, the bars."""
    figure = create_figure(10.0, 2.7 * len(explanations))
    for subfigure, explanation in zip(
        figure.subfigures(len(explanations), 1, squeeze=False)[:, 0], explanations, strict=True
    ):
        subfigure.suptitle(_describe(explanation), fontsize=10, x=0.01, ha="left", parse_math=False)
        # A line of digits is wide, and there are no findings of it.
        ratios = (1, 1.9, 1.4) if explanation.is_line else (1, 1, 1, 1.4)
        *picture_panels, bar_panel = subfigure.subplots(1, len(ratios), width_ratios=ratios)
        _draw_pictures(picture_panels, explanation)
        _draw_bars(bar_panel, explanation)
    return encode_figure(figure)


def _describe(explanation: Explanation) -> str:
    prediction = explanation.prediction
    read = f"{explanation.read}, " if explanation.read else ""
    confidence = "" if prediction.confidence is None else f", confidence {prediction.confidence:.4f}"
    digits = f"digits: {explanation.digits}" if explanation.digits else ""
    lines = (prediction.path, f"{read}{prediction.status.value}{confidence}", digits, prediction.note)
    return "\n".join(_shorten(escape_control_characters(line)) for line in lines if line)


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TITLE_CHARACTERS else f"{text[: MAX_TITLE_CHARACTERS - 3]}..."


def _draw_pictures(panels: Sequence[Axes], explanation: Explanation) -> None:
    """Draw the pictures, each with its title; nothing where there is none. Of a line there are two."""
    from matplotlib.colors import ListedColormap

    findings_map = ListedColormap([tuple(level / 255 for level in color) for color in FINDING_COLORS])
    images = (explanation.picture, explanation.findings, explanation.model_input)
    pictures = [
        (title, image)
        for title, image in zip(PICTURE_TITLES, images, strict=True)
        if not (explanation.is_line and image is None)
    ]
    for axes, (title, image) in zip(panels, pictures, strict=True):
        if image is None:
            axes.axis("off")
            continue
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color="#cccccc")
        axes.set_title(title, fontsize=8, color=GRAY)
        is_findings = image is explanation.findings
        color_map = findings_map if is_findings else "gray"
        axes.imshow(image, cmap=color_map, vmin=0, vmax=2 if is_findings else 255, interpolation="nearest")


def _draw_bars(axes: Axes, explanation: Explanation) -> None:
    """Draw the probability of each class or reading as a bar, with its value where it is not small."""
    if not explanation.probabilities:
        axes.axis("off")
        return
    axes.set_title(BARS_TITLE, fontsize=8, color=GRAY)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    names, values = zip(*explanation.probabilities, strict=True)
    is_sure = explanation.prediction.status is Status.OK
    colors = [(BLUE if is_sure else RED) if value == max(values) else "#b0b0b0" for value in values]
    axes.barh(range(len(values)), values, color=colors)
    for position, value in enumerate(values):
        if value >= 0.005:
            axes.text(value + 0.02, position, f"{100 * value:.1f} %", va="center", fontsize=7)
    axes.set(xlim=(0, 1.2), yticks=range(len(names)), yticklabels=names, xticks=[])
    axes.tick_params(labelsize=7, length=0)
    if len(values) < MIN_BARS:
        axes.set_ylim(-0.5, MIN_BARS - 0.5)
    axes.invert_yaxis()
