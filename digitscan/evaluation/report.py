"""The scores of an evaluation as tables for a terminal, and as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from digitscan.evaluation.comparison import Comparison
from digitscan.evaluation.metrics import NO_DIGIT, CoveragePoint, Metrics, Share, name_label
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table


@dataclass(frozen=True)
class Evaluation:
    """One reader's scores on one set of images, and what was asked besides."""

    source: str
    """What was read."""
    reader: str
    """Which model read it, or which file the answers are from."""
    metrics: Metrics
    max_wrong: float
    """The share of wrong digits among the `ok` ones that was asked for."""
    point: CoveragePoint | None
    """The threshold that keeps it on these images; None if none does, or none was looked for."""
    is_sample: bool = True
    """Whether the images were read for this. Rows that people correct are the doubtful ones first: they tell
    nothing of the others.
    """
    audit: Share | None = None
    """Of `ok` rows drawn at random and looked at, those that are wrong."""
    against: str | None = None
    """The other reader."""
    comparison: Comparison | None = None


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the scores to a rich console."""
    from rich.text import Text

    title = f"{evaluation.source}, read by {evaluation.reader}"
    console.print(Text(escape_control_characters(title), style="bold"))
    console.print(_create_scores_table(evaluation))
    if evaluation.metrics.confusion is not None:
        console.print(_create_confusion_table(evaluation.metrics.confusion))
    if not evaluation.metrics.accuracy.total:
        return
    if evaluation.metrics.digits:
        console.print(_create_digits_table(evaluation.metrics))
    console.print(_create_coverage_table(evaluation.metrics))
    for line in _describe(evaluation):
        console.print(Text(escape_control_characters(line)))


def to_json_values(evaluation: Evaluation) -> dict[str, Any]:
    """Return the scores as values that JSON has: shares of nothing are None."""
    values = asdict(evaluation)
    confusion = evaluation.metrics.confusion
    values["metrics"]["confusion"] = None if confusion is None else confusion.tolist()
    _add_share_values(values, evaluation)
    result = _replace_nan(values)
    assert isinstance(result, dict)
    return result


def _add_share_values(values: dict[str, Any], evaluation: Evaluation) -> None:
    """Add to each share its value, which `asdict` leaves out because it is computed."""
    for name, share in vars(evaluation.metrics).items():
        if isinstance(share, Share):
            values["metrics"][name]["value"] = share.value
    for point_values, point in zip(values["metrics"]["coverage"], evaluation.metrics.coverage, strict=True):
        point_values["ok"]["value"], point_values["wrong"]["value"] = point.ok.value, point.wrong.value
    if evaluation.point:
        values["point"]["ok"]["value"] = evaluation.point.ok.value
        values["point"]["wrong"]["value"] = evaluation.point.wrong.value
    if evaluation.audit:
        values["audit"]["value"] = evaluation.audit.value


def _replace_nan(value: Any) -> Any:
    """Return the value with None in the place of nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _replace_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replace_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _create_scores_table(evaluation: Evaluation) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("score", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for title, share in _list_shares(evaluation):
        if share.total:
            table.add_row(
                title,
                _percent(share.value),
                _interval(share),
                f"{share.count:,} of {share.total:,}",
            )
    if not math.isnan(evaluation.metrics.calibration_error):
        table.add_row("calibration error", _percent(evaluation.metrics.calibration_error))
    error_rate = evaluation.metrics.digit_error_rate
    if error_rate is not None and not math.isnan(error_rate):
        table.add_row("digit error rate", _percent(error_rate))
    return table


def _list_shares(evaluation: Evaluation) -> Iterator[tuple[str, Share]]:
    metrics = evaluation.metrics
    what = _name_what_is_read(metrics)
    yield f"{what} read right", metrics.accuracy
    yield f"{what} that are ok", metrics.ok
    yield "wrong among these", metrics.wrong_ok
    yield f"{what} taken for none", metrics.rejected
    yield f"non-{what} found out", metrics.negatives_rejected
    yield f"non-{what} that are ok", metrics.negatives_ok
    if evaluation.audit:
        yield "wrong in the audit", evaluation.audit


def _create_digits_table(metrics: Metrics) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in ("digit", "images", "precision", "recall", "F1"):
        table.add_column(title, justify="right", no_wrap=True)
    for scores in metrics.digits:
        values = (scores.precision, scores.recall, scores.f1)
        texts = ("" if math.isnan(value) else f"{value:.4f}" for value in values)
        table.add_row(str(scores.label), f"{scores.count:,}", *texts)
    return table


def _name_what_is_read(metrics: Metrics) -> str:
    return "digits" if metrics.digit_error_rate is None else "numbers"


def _create_confusion_table(confusion: NDArray[np.int64]) -> Table:
    """Return the confusion matrix without labels that no image has; cells of 0 are empty."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("is \\ read as", justify="right", no_wrap=True)
    for label in range(NO_DIGIT + 1):
        table.add_column(name_label(label), justify="right", no_wrap=True)
    for label, counts in enumerate(confusion.tolist()):
        if any(counts):
            cells = [
                "" if not count else f"[green]{count}[/]" if label == prediction else f"[red]{count}[/]"
                for prediction, count in enumerate(counts)
            ]
            table.add_row(name_label(label), *cells)
    return table


def _create_coverage_table(metrics: Metrics) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for title in (
        "--min-confidence",
        f"{_name_what_is_read(metrics)} ok",
        "wrong among these",
        "95 % interval",
    ):
        table.add_column(title, justify="right", no_wrap=True)
    for point in metrics.coverage:
        wrong = _percent(point.wrong.value) if point.wrong.total else ""
        interval = _interval(point.wrong) if point.wrong.total else ""
        table.add_row(f"{point.threshold:g}", _percent(point.ok.value), wrong, interval)
    return table


def _describe(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the tables do not say, in words."""
    if not evaluation.is_sample:
        yield (
            "These are the rows that somebody looked at. Doubtful ones are looked at first: only an audit "
            "sample tells how good the others are."
        )
        return
    what = _name_what_is_read(evaluation.metrics)
    wanted = f"at most {100 * evaluation.max_wrong:g} % wrong among the ok {what}"
    if evaluation.point:
        point = evaluation.point
        yield (
            f"For {wanted} on these images: --min-confidence {point.threshold:.4f}, "
            f"and {_percent(point.ok.value)} are ok."
        )
    else:
        yield f"No threshold gives {wanted} on these images."
    if evaluation.comparison:
        yield f"Against {evaluation.against}: {evaluation.comparison.describe()}."


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.2f} %"


def _interval(share: Share) -> str:
    return f"{100 * share.low:.2f} to {100 * share.high:.2f} %"
