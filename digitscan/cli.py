"""The command line: each command parses, calls one function, prints. No work is done here.

What a command needs is imported inside it, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from digitscan import __version__
from digitscan.errors import INTERRUPTED, DigitscanError


class _Commands(TyperGroup):
    """The one place where an error becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from digitscan.scanning.output.sink import OutputClosedError
        from digitscan.system.log import escape_control_characters

        try:
            return super().invoke(ctx)
        except DigitscanError as error:
            print(f"digitscan: {escape_control_characters(str(error))}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (OutputClosedError, BrokenPipeError):
            # Whoever read our stdout has what they wanted; Python must not complain at the last flush.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # until the exit
            raise typer.Exit(0) from None


app = typer.Typer(
    name="digitscan",
    cls=_Commands,
    help="Read the handwritten digits in a folder of images into a spreadsheet you can trust.",
    epilog="Exit codes: 0 every image read, 2 usage, 3 some files could not be read, 4 no images found, "
    "5 model, 6 output, 7 training data or training, 130 Ctrl-C, 143 terminated, 1 a bug.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help starts twice as fast as Rich's, and reads the same in a terminal, a pipe and the docs.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class Architecture(StrEnum):
    """The networks that can be trained."""

    CNN = "cnn"
    MLP = "mlp"
    CNN_FAST = "cnn-fast"


class InputRange(StrEnum):
    """What a stranger's model takes for full ink."""

    ONE = "0..1"
    BYTE = "0..255"

    @property
    def maximum(self) -> float:
        """The value of full ink."""
        return 1.0 if self is InputRange.ONE else 255.0


def _finite(value: float | None) -> float | None:
    """Refuse what no range refuses: nan is neither too small nor too large."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("a finite number is needed.")
    return value


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"digitscan {__version__}")
        raise typer.Exit


@app.command()
def scan(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATHS...",
            show_default=False,
            help="Folders, with all that is in them, and image files.",
            readable=False,  # what is closed has its row, or its sentence from the walk
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Where the CSV goes; - is stdout. "
            "[default: stdout if it is a pipe or a file, else predictions.csv or the next free name]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="cnn, mlp, or a .h5 file. [default: models/digits.h5 if you trained it here, else cnn]",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            callback=_finite,
            metavar="0..1",
            help="Status ok from this confidence on, instead of the model's own limit.",
        ),
    ] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Add the columns p0 to p9.")] = False,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an output that a scan left unfinished.")
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option("--retry-errors", help="Read the files again whose rows say error, then go on."),
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Write names as they are, even those a spreadsheet would run.")
    ] = False,
    excel: Annotated[
        bool, typer.Option("--excel", help="Begin with the mark by which Excel knows UTF-8.")
    ] = False,
    model_sha256: Annotated[
        str | None, typer.Option(metavar="DIGEST", help="Use the model only if this is its SHA-256.")
    ] = None,
    quiet: Quiet = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Most processes at work. [default: the usable cores]"),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, max=4096, metavar="NUMBER", help="Most images handed over at once.")
    ] = 512,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1, callback=_finite, metavar="SECONDS", help="The longest that one image may take."
        ),
    ] = 30.0,
    max_megapixels: Annotated[
        float,
        typer.Option(min=0.001, callback=_finite, metavar="NUMBER", help="Refuse larger images."),
    ] = 64.0,
    input_range: Annotated[
        InputRange | None,
        typer.Option(
            metavar="0..1|0..255",
            help="What a model takes for no ink and full ink, if digitscan did not make it. [default: 0..1]",
        ),
    ] = None,
) -> None:
    """Read the digit in every image of a folder."""
    from digitscan.scanning.pipeline import Request, run
    from digitscan.scanning.scheduler import ScanOptions
    from digitscan.system.signals import raise_on_signal

    options = ScanOptions(
        min_confidence=min_confidence,
        probabilities=probabilities,
        max_megapixels=max_megapixels,
        timeout=timeout,
        workers=workers,
        batch_size=batch_size,
    )
    maximum = None if input_range is None else input_range.maximum
    request = Request(
        paths,
        model=model,
        input_maximum=maximum,
        output=output,
        overwrite=overwrite,
        resume=resume,
        retry_errors=retry_errors,
        raw=raw,
        excel=excel,
        model_sha256=model_sha256,
        quiet=quiet,
        options=options,
    )
    with raise_on_signal():
        raise typer.Exit(run(request))


@app.command()
def train(
    arch: Annotated[
        Architecture, typer.Option(metavar="cnn|mlp|quick", help="The network to train.")
    ] = Architecture.CNN,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the model goes.")
    ] = Path("models/digits.h5"),
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A model whose answers are learned from as well; may be given several times.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="An .npz or a folder of IDX files like MNIST's, or a folder of images by label. "
            "[default: the MNIST that comes with digitscan]",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Most rounds over the data.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="Images a step.")] = None,
    patience: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Rounds without progress before it stops early."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="The same seed gives the same weights.")
    ] = 1,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the plots go. [default: beside the model, models/digits/]"),
    ] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draw no plots.")] = False,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last epoch of a run that was interrupted.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on MNIST or on your own images."""
    from digitscan.system.signals import raise_on_signal
    from digitscan.training.config import TrainConfig
    from digitscan.training.pipeline import run

    options = TrainConfig(
        architecture=arch.value,
        output=output,
        teachers=tuple(teacher or ()),
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        plots=None if no_plots else plots or output.with_suffix(""),
        overwrite=overwrite,
        resume=resume,
        quiet=quiet,
    )
    with raise_on_signal():
        run(options)


@app.command()
def models() -> None:
    """List the models that come with digitscan, with their scores."""
    from rich.console import Console

    from digitscan.model.registry import load_bundled_models
    from digitscan.scanning.report import models_table

    Console(highlight=False).print(models_table(load_bundled_models()))


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if hasattr(signal, "SIGCHLD"):
        with contextlib.suppress(ValueError):  # signals can be set in the main thread only
            # Where its end is ignored, a child cannot be waited for.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    app(arguments, prog_name="digitscan")
    raise AssertionError("Typer always exits")
