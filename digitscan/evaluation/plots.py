"""Plots of an evaluation: the confusion matrix, the calibration curve, coverage against errors, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.evaluation.figures import BLUE, GRAY, ORANGE, RED, create_figure, encode_figure
from digitscan.evaluation.metrics import NO_DIGIT, Answers, CalibrationBin, measure_coverage, name_label
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MISTAKE_COLUMNS = 8
MAX_MISTAKES = 40
"""The most mistakes in the picture of them."""
CURVE_THRESHOLDS = 200
"""Points of the curve of coverage against errors."""
MAX_NAME_CHARACTERS = 20


class Mistake(NamedTuple):
    """An image that was read wrong."""

    name: str
    label: str
    """What it shows: a digit, a number or none."""
    prediction: str
    confidence: float
    picture: NDArray[np.uint8] | None
    """(H, W) gray, of any size; None if there is none."""


def plot_confusion_matrix(labels: NDArray[Any], predictions: NDArray[Any]) -> bytes:
    """Return a PNG of the confusion matrix: how often each digit was read as which class.

    Errors and right predictions have color scales of their own, or the few errors would be invisible.
    `labels` (N,) are 0 to 9; `predictions` (N,) are 0 to 9, or 10 for "not a digit".
    """
    import numpy as np

    names = [*map(str, range(10)), *(["no digit"] if (predictions == 10).any() else [])]
    counts = np.zeros((10, len(names)), np.int64)
    np.add.at(counts, (labels.astype(np.intp), predictions.astype(np.intp)), 1)
    is_right = np.eye(10, len(names), dtype=bool)
    errors = np.where(is_right, 0, counts)
    max_errors = max(1, int(errors.max()))
    # Twice the largest count, so that the blue stays light enough for black text.
    max_right = 2 * max(1, int(counts.max()))
    figure = create_figure(6.4, 6.0)
    axes = figure.add_subplot()
    axes.imshow(np.ma.masked_array(errors, is_right), cmap="Reds", vmin=0, vmax=max_errors)
    axes.imshow(np.ma.masked_array(counts, ~is_right), cmap="Blues", vmin=0, vmax=max_right)
    for label, prediction in np.argwhere(counts > 0).tolist():
        text = f"{counts[label, prediction]:,}"
        color = "white" if errors[label, prediction] > 0.6 * max_errors else "black"
        axes.text(prediction, label, text, ha="center", va="center", color=color, fontsize=9)
    axes.set(
        xlabel="read as",
        ylabel="is",
        xticks=range(len(names)),
        xticklabels=names,
        yticks=range(10),
        title=f"{int(errors.sum()):,} of {len(labels):,} read wrong",
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return encode_figure(figure)


def plot_calibration(bins: Sequence[CalibrationBin]) -> bytes:
    """Return a PNG of the calibration curve: the share that was read right of images with a confidence."""
    figure = create_figure(5.0, 5.0)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linestyle="--", label="as it should be")
    axes.plot(
        [each.mean_confidence for each in bins],
        [each.accuracy for each in bins],
        color=BLUE,
        marker="o",
        label="as it is",
    )
    for each in bins:
        axes.annotate(
            f"{each.count:,}",
            (each.mean_confidence, each.accuracy),
            textcoords="offset points",
            xytext=(-6, -12),
            fontsize=8,
            color=GRAY,
        )
    axes.set(
        xlim=(0, 1.02),
        ylim=(0, 1.02),
        xlabel="confidence",
        ylabel="share read right",
        title="numbers of images at the points",
    )
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return encode_figure(figure)


def plot_coverage(answers: Answers) -> bytes:
    """Return a PNG of how many answers are `ok` and how many of these are wrong, for every threshold."""
    import numpy as np

    thresholds = np.linspace(0.0, 1.0, CURVE_THRESHOLDS + 1)
    points = [measure_coverage(answers, float(threshold)) for threshold in thresholds]
    figure = create_figure(6.4, 4.4)
    axes = figure.add_subplot()
    axes.plot(thresholds, [100 * point.ok.value for point in points], color=BLUE, label="ok")
    what = "digits" if answers.numbers is None else "numbers"
    axes.set(xlabel="--min-confidence", ylabel=f"{what} that are ok, %", xlim=(0, 1), ylim=(0, 101))
    axes.grid(color="#dddddd")
    axes.spines[["top"]].set_visible(False)
    wrong_axes = axes.twinx()
    wrong_axes.plot(
        thresholds, [100 * point.wrong.value for point in points], color=ORANGE, label="wrong among ok"
    )
    wrong_axes.set_ylabel("wrong among them, %", color=ORANGE)
    wrong_axes.set_ylim(bottom=0)
    wrong_axes.spines[["top"]].set_visible(False)
    return encode_figure(figure)


def plot_mistakes(mistakes: Sequence[Mistake]) -> bytes:
    """Return a PNG of mistakes, each with what was read, what it is, and the confidence."""
    rows = max(1, -(-len(mistakes) // MISTAKE_COLUMNS))
    figure = create_figure(11.0, 1.7 * rows)
    for position, mistake in enumerate(mistakes):
        axes = figure.add_subplot(rows, MISTAKE_COLUMNS, position + 1)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=RED)
        if mistake.picture is not None:
            axes.imshow(mistake.picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        confidence = f", {mistake.confidence:.2f}" if mistake.prediction != name_label(NO_DIGIT) else ""
        title = f"read {mistake.prediction}, is {mistake.label}{confidence}"
        axes.set_title(title, fontsize=8, color=RED)
        axes.set_xlabel(_shorten(mistake.name), fontsize=6, color=GRAY, parse_math=False)
    return encode_figure(figure)


def _shorten(name: str) -> str:
    text = escape_control_characters(name)
    return text if len(text) <= MAX_NAME_CHARACTERS else f"...{text[3 - MAX_NAME_CHARACTERS :]}"
