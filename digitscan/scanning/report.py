"""What a scan's user reads at the end: counts, confidence, what to look at, what failed and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from digitscan.prediction import Prediction, Status
from digitscan.system.log import escape_control_characters

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

    from digitscan.model.registry import Model

_MOST_REASONS = 10
_LONGEST_NAME = 60


@dataclass
class SummaryCounts:
    """Running totals of a scan; its size does not grow with the number of rows.

    `before` counts those rows that an earlier scan had written.
    """

    before: int = 0
    images: Counter[int] = field(default_factory=Counter)
    review: Counter[int] = field(default_factory=Counter)
    confidence: dict[int, float] = field(default_factory=dict)
    no_digit: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)

    def add(self, rows: Iterable[Prediction]) -> None:
        """Count some rows."""
        for row in rows:
            if row.digit is not None:
                self.images[row.digit] += 1
                self.confidence[row.digit] = self.confidence.get(row.digit, 0.0) + (row.confidence or 0.0)
                if row.status is Status.REVIEW:
                    self.review[row.digit] += 1
            elif row.status is Status.NO_DIGIT:
                self.no_digit[row.note.partition(";")[0]] += 1
            else:
                reason = row.note.partition(";")[0].partition(":")[0]
                self.errors[reason] += 1
                self.example.setdefault(reason, row.path)

    def counted(self, rows: Iterable[Prediction]) -> Iterator[Prediction]:
        """Yield the rows of an earlier scan on, each counted."""
        for row in rows:
            self.add([row])
            self.before += 1
            yield row

    @property
    def total(self) -> int:
        """All rows counted."""
        return self.images.total() + self.no_digit.total() + self.errors.total()


@dataclass(frozen=True)
class SummaryContext:
    """What else the summary says: who answered, how long it took, where the rows are."""

    model: str
    seconds: float
    where: str
    skipped: Mapping[str, int]
    unreadable_folders: tuple[str, ...] = ()
    calibrated: bool = True


def print_summary(counts: SummaryCounts, context: SummaryContext, console: Console) -> None:
    """Print the summary. File names in it are shown as text, whatever they contain."""
    from rich.text import Text

    console.print(Text(f"Read by {escape_control_characters(context.model)}", style="bold"))
    for part in _parts(counts, context):
        console.print(part)


def _parts(counts: SummaryCounts, context: SummaryContext) -> Iterable[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if counts.images:
        yield _digits(counts)
    lines: list[tuple[str, str]] = []
    review = counts.review.total()
    if review:
        lines.append(("to review", f"{review:,} with status review: look at these"))
    if counts.no_digit:
        lines.append(("no digit", f"{counts.no_digit.total():,} ({_reasons(counts.no_digit)})"))
    if counts.errors:
        lines.append(("failed", f"{counts.errors.total():,}"))
        for reason, number in counts.errors.most_common(_MOST_REASONS):
            link = ", for example" if number > 1 else ":"
            lines.append(
                ("", f"{number:,} {escape_control_characters(reason)}{link} {_short(counts.example[reason])}")
            )
        others = len(counts.errors) - _MOST_REASONS
        if others > 0:
            lines.append(("", f"and {others} more reasons"))
    if context.skipped:
        lines.append(("skipped", f"{sum(context.skipped.values()):,} ({_reasons(context.skipped)})"))
    if context.unreadable_folders:
        number, example = len(context.unreadable_folders), _short(context.unreadable_folders[0])
        words = (
            f"{number:,} folders could not be opened, for example" if number > 1 else "could not be opened:"
        )
        lines.append(("folders" if number > 1 else "folder", f"{words} {example}"))
    if not context.calibrated:
        lines.append(("careful", "the model is not calibrated: all rows are review without --min-confidence"))
    lines.append(("time", _time(counts, context.seconds)))
    lines.append(("rows", escape_control_characters(context.where)))
    yield Padding(_lines(lines), (0, 0, 0, 2), expand=False)
    yield Text()


def _digits(counts: SummaryCounts) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_footer=len(counts.images) > 1)
    number = counts.images.total()
    mean = sum(counts.confidence.values()) / number
    review = counts.review.total()
    table.add_column("digit", footer="all", justify="right")
    table.add_column("images", footer=f"{number:,}", justify="right")
    table.add_column("mean confidence", footer=f"{mean:.3f}", justify="right")
    table.add_column("to review", footer=f"{review:,}" if review else "", justify="right")
    for digit in sorted(counts.images):
        number = counts.images[digit]
        table.add_row(
            str(digit),
            f"{number:,}",
            f"{counts.confidence[digit] / number:.3f}",
            f"{counts.review[digit]:,}" if counts.review[digit] else "",
        )
    return table


def _lines(lines: list[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in lines:
        table.add_row(title, Text(text))
    return table


def _reasons(reasons: Mapping[str, int]) -> str:
    if len(reasons) == 1:
        return escape_control_characters(next(iter(reasons)))
    shown = Counter(reasons).most_common(_MOST_REASONS)
    rest = len(reasons) - len(shown)
    words = [f"{number:,} {escape_control_characters(reason)}" for reason, number in shown]
    return ", ".join(words + [f"{rest:,} more reasons"] * (rest > 0))


def _short(name: str) -> str:
    text = escape_control_characters(name)
    return text if len(text) <= _LONGEST_NAME else f"...{text[-_LONGEST_NAME:]}"


def _time(counts: SummaryCounts, seconds: float) -> str:
    words = [f"{_duration(seconds)} for {counts.total:,} images"]
    if counts.before:
        words.append(f"{counts.before:,} of them read before")
    if counts.total > counts.before and seconds > 0:
        words.append(f"{(counts.total - counts.before) / seconds:,.0f} images/s")
    return ", ".join(words)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def models_table(models: Sequence[Model]) -> Table:
    """Return a table of models with what they score, one row each."""
    from rich import box
    from rich.table import Table

    scores = list(dict.fromkeys(name for model in models for name in model.metadata.scores))
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("model", style="bold")
    table.add_column("network")
    for name in scores:
        table.add_column(name.replace("_", " "), justify="right")
    for model in models:
        cells = [_score(model.metadata.scores.get(name)) for name in scores]
        table.add_row(model.name, model.metadata.architecture, *cells)
    return table


def _score(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return "" if value is None else str(value)
