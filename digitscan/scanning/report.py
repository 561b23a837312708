"""The summary at the end of a scan: counts, confidence, what to look at, what failed and why.

File names and reasons come from untrusted files. All text of the summary passes through
`escape_control_characters` and `rich.text.Text`, so that neither the terminal nor rich's markup obeys it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digitscan.model.metadata import UNKNOWN_ARCHITECTURE
from digitscan.prediction import Prediction, Status
from digitscan.system.log import escape_control_characters, format_count

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

    from digitscan.model.registry import Model
    from digitscan.model.user_calibrations import Calibration

_MAX_REASONS = 10
_MAX_NAME_CHARACTERS = 60
_PLURALS = {
    "no image": "no image",
    "not included": "not included",
    "link to a folder": "links to folders",
    "pipe, socket or device": "pipes, sockets or devices",
}
"""Of the reasons to skip files; of the others it ends in s."""


@dataclass
class SummaryCounts:
    """Running totals of a scan, of a size that does not grow with the number of rows."""

    previous_rows: int = 0
    """Rows that an earlier, interrupted scan had written."""
    images: Counter[int] = field(default_factory=Counter)
    """Rows with a digit, by digit; rows with a number, by its length."""
    review: Counter[int] = field(default_factory=Counter)
    """Of these, the rows with status `review`."""
    confidence_sums: dict[int, float] = field(default_factory=dict)
    """The sums of the confidence, likewise."""
    no_digit: Counter[str] = field(default_factory=Counter)
    """Rows without a digit, by reason."""
    errors: Counter[str] = field(default_factory=Counter)
    """Files that could not be read, by reason."""
    error_examples: dict[str, str] = field(default_factory=dict)
    """The first file with each of these reasons."""

    def add(self, rows: Iterable[Prediction]) -> None:
        """Count some rows."""
        for row in rows:
            group = row.digit if row.number is None else len(row.number)
            if group is not None:
                self.images[group] += 1
                confidence_sum = self.confidence_sums.get(group, 0.0)
                self.confidence_sums[group] = confidence_sum + (row.confidence or 0.0)
                if row.status is Status.REVIEW:
                    self.review[group] += 1
            elif row.status is Status.NO_DIGIT:
                self.no_digit[row.note.partition(";")[0]] += 1
            else:
                # What follows the colon differs from file to file.
                reason = row.note.partition(";")[0].partition(":")[0]
                self.errors[reason] += 1
                self.error_examples.setdefault(reason, row.path)

    def count_previous(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the rows of an earlier scan, each counted when it is taken."""
        for row in rows:
            self.add([row])
            self.previous_rows += 1
            yield row

    @property
    def total(self) -> int:
        """The number of rows counted."""
        return self.images.total() + self.no_digit.total() + self.errors.total()


@dataclass(frozen=True)
class SummaryContext:
    """What the summary says besides the counts."""

    model: str
    """The model that read the images, see `describe_model`."""
    seconds: float
    output: str
    """Where the rows are."""
    skipped: Mapping[str, int]
    """Files without a row, by reason."""
    unreadable_folders: tuple[str, ...] = ()
    csv: Path | None = None
    """The file with the rows; None if they went to a stream."""
    numbers: bool = False
    """Whether numbers were read, not single digits."""
    is_calibrated: bool = True
    """Whether rows can be `ok`: by the model's threshold or by --min-confidence."""
    poor_accuracy: str = ""
    """Of a model that reads the bundled digits badly: how badly. Else empty."""


def describe_model(model: Model) -> str:
    """Return the model's name, its architecture if that is known, and the first digits of its SHA-256.

    Also that this user has calibrated it.
    """
    known = [] if model.metadata.architecture == UNKNOWN_ARCHITECTURE else [model.metadata.architecture]
    calibration = [model.calibration.describe()] if model.calibration else []
    return f"{model.name} ({', '.join([*known, model.digest[:12], *calibration])})"


def describe_poor_accuracy(model: Model) -> str:
    """Return how badly a model reads the bundled digits; empty if it reads them well, or was not tried."""
    comparison, input_range = model.input_comparison, model.metadata.input_range
    return comparison.describe(input_range) if comparison and comparison.is_poor(input_range) else ""


def print_summary(counts: SummaryCounts, context: SummaryContext, console: Console) -> None:
    """Print the summary to a rich console."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text(f"Read by {escape_control_characters(context.model)}", style="bold"))
    if counts.images:
        console.print(_rows_table(counts, "digits" if context.numbers else "digit"))
    lines = [*_rows_lines(counts), *_files_lines(context), *_run_lines(counts, context)]
    console.print(Padding(_lines_table(lines), (0, 0, 0, 2), expand=False))
    console.print(Text())


def _rows_table(counts: SummaryCounts, title: str) -> Table:
    """Return a table of the rows by digit, or by how many digits a number has, as the title says."""
    from rich import box
    from rich.table import Table

    total = counts.images.total()
    mean_confidence = sum(counts.confidence_sums.values()) / total
    review = counts.review.total()
    table = Table(box=box.SIMPLE_HEAD, show_footer=len(counts.images) > 1)
    table.add_column(title, footer="all", justify="right")
    table.add_column("images", footer=f"{total:,}", justify="right")
    table.add_column("mean confidence", footer=f"{mean_confidence:.3f}", justify="right")
    table.add_column("to review", footer=f"{review:,}" if review else "", justify="right")
    for digit in sorted(counts.images):
        images = counts.images[digit]
        table.add_row(
            str(digit),
            f"{images:,}",
            f"{counts.confidence_sums[digit] / images:.3f}",
            f"{counts.review[digit]:,}" if counts.review[digit] else "",
        )
    return table


def _rows_lines(counts: SummaryCounts) -> Iterator[tuple[str, str]]:
    """Yield (title, text) for what a person has to do with the rows."""
    review = counts.review.total()
    if review:
        yield "to review", f"{review:,} with status review: look at these"
    if counts.no_digit:
        yield "no digit", f"{counts.no_digit.total():,} ({_format_reasons(counts.no_digit)})"
    if counts.errors:
        yield "failed", f"{counts.errors.total():,}"
        for reason, count in counts.errors.most_common(_MAX_REASONS):
            link = ", for example" if count > 1 else ":"
            example = _shorten(counts.error_examples[reason])
            yield "", f"{count:,} {escape_control_characters(reason)}{link} {example}"
        more_reasons = len(counts.errors) - _MAX_REASONS
        if more_reasons > 0:
            yield "", f"and {format_count(more_reasons, 'more reason')}"


def _files_lines(context: SummaryContext) -> Iterator[tuple[str, str]]:
    """Yield (title, text) for what got no row."""
    if context.skipped:
        yield "skipped", format_skipped(context.skipped)
    if context.unreadable_folders:
        count, example = len(context.unreadable_folders), _shorten(context.unreadable_folders[0])
        if count > 1:
            yield "folders", f"{count:,} folders could not be opened, for example {example}"
        else:
            yield "folder", f"could not be opened: {example}"


def _run_lines(counts: SummaryCounts, context: SummaryContext) -> Iterator[tuple[str, str]]:
    """Yield (title, text) about the run itself."""
    if context.poor_accuracy:
        yield "careful", f"the model reads poorly: {context.poor_accuracy}"
    if not context.is_calibrated:
        remedy = "--min-confidence" if context.numbers else "digitscan calibrate or --min-confidence"
        hint = f"all rows are review without {remedy}"
        yield "careful", f"the model is not calibrated: {hint}"
    yield "time", _format_time(counts, context.seconds)
    yield "rows", escape_control_characters(context.output)
    if context.csv and (counts.review or counts.no_digit or counts.errors):
        import shlex

        yield "next", f"digitscan review {shlex.quote(escape_control_characters(str(context.csv)))}"


def _lines_table(lines: list[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in lines:
        table.add_row(title, Text(text))
    return table


def format_skipped(reasons: Mapping[str, int]) -> str:
    """Return how many files and folders were skipped, and why: `3 (2 hidden files, 1 no image)`."""
    texts = Counter[str]()
    for reason, count in reasons.items():
        texts[reason if count == 1 else _PLURALS.get(reason, f"{reason}s")] += count
    return f"{texts.total():,} ({_format_reasons(texts)})"


def _format_reasons(reasons: Mapping[str, int]) -> str:
    if len(reasons) == 1:
        return escape_control_characters(next(iter(reasons)))
    frequent = Counter(reasons).most_common(_MAX_REASONS)
    texts = [f"{count:,} {escape_control_characters(reason)}" for reason, count in frequent]
    more_reasons = len(reasons) - len(frequent)
    return ", ".join([*texts, format_count(more_reasons, "more reason")] if more_reasons else texts)


def _shorten(name: str) -> str:
    text = escape_control_characters(name)
    return text if len(text) <= _MAX_NAME_CHARACTERS else f"...{text[-_MAX_NAME_CHARACTERS:]}"


def _format_time(counts: SummaryCounts, seconds: float) -> str:
    texts = [f"{_format_duration(seconds)} for {format_count(counts.total, 'image')}"]
    if counts.previous_rows:
        texts.append(f"{counts.previous_rows:,} of them read before")
    read_now = counts.total - counts.previous_rows
    if read_now > 0 and seconds > 0:
        texts.append(f"{read_now / seconds:,.0f} images/s")
    return ", ".join(texts)


def _format_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def models_table(models: Sequence[Model]) -> RenderableType:
    """Return a table of models with their scores, one row each.

    The scores of models that read numbers are of composed numbers, those of the others of MNIST's digits.
    """
    from rich import box
    from rich.table import Table

    score_names = list(dict.fromkeys(name for model in models for name in model.metadata.scores))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("model", style="bold")
    table.add_column("network")
    table.add_column("reads")
    for name in score_names:
        table.add_column(name.replace("_", " "), justify="right")
    for model in models:
        scores = [_format_score(model.metadata.scores.get(name)) for name in score_names]
        table.add_row(model.name, model.metadata.architecture, model.metadata.reads, *scores)
    return table


def calibration_lines(calibrations: Iterable[Calibration]) -> Iterator[Text]:
    """Yield a line for each of the user's calibrations."""
    from rich.text import Text

    for calibration in calibrations:
        yield Text(f"{escape_control_characters(calibration.model)}: {calibration.describe()}")


def _format_score(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)
