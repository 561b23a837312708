"""The command line: each command parses its arguments, calls one function and prints. No work is done here.

What a command needs is imported inside it, so that `--help` answers at once. Defaults come from the
dataclasses in `scanning.config` and `training.config`.
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

from digitscan.errors import DigitscanError, ExitCode, OutputClosedError
from digitscan.scanning.config import MAX_CHUNK_SIZE, MIN_MEGAPIXELS, MIN_TIMEOUT_SECONDS, ScanConfig
from digitscan.training.config import Architecture, TrainConfig
from digitscan.version import __version__


class _CommandGroup(TyperGroup):
    """The one place where an exception becomes a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        from digitscan.system.log import log

        try:
            return super().invoke(ctx)
        except DigitscanError as error:
            log(f"digitscan: {error}")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except (OutputClosedError, BrokenPipeError):
            # The reader of our stdout has what it wanted. Python must not report a broken pipe at its last
            # flush.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # open until the exit
            raise typer.Exit(ExitCode.OK) from None


app = typer.Typer(
    name="digitscan",
    cls=_CommandGroup,
    help="Read the handwritten digits in a folder of images into a spreadsheet you can trust.",
    epilog="Exit codes: " + "; ".join(f"{code.value} {code.description}" for code in ExitCode) + ".",
    no_args_is_help=True,
    add_completion=False,
    # Plain help starts twice as fast as Rich's, and reads the same in a terminal, in a pipe and in the docs.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class InputRange(StrEnum):
    """The range of the input of a model that digitscan did not make."""

    ONE = "0..1"
    BYTE = "0..255"

    @property
    def maximum(self) -> float:
        """The value of full ink."""
        return 1.0 if self is InputRange.ONE else 255.0


def _finite(value: float | None) -> float | None:
    """Refuse nan and infinity, which no range refuses: nan is neither too small nor too large."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("a finite number is needed.")
    return value


def _renamed(new_name: str) -> Any:
    """Return a callback that answers an option's old name with its new one."""

    def refuse(value: str | None) -> None:
        if value is not None:
            raise typer.BadParameter(f"this option is called {new_name} now.")

    return refuse


def _parse_architecture(value: str) -> Architecture:
    """Return the architecture of a name, and answer an old name with the new one."""
    if value == "quick":
        raise typer.BadParameter(f"this network is called {Architecture.CNN_FAST.value} now.")
    try:
        return Architecture(value)
    except ValueError:
        names = ", ".join(Architecture)
        raise typer.BadParameter(f"{value!r} is not one of {names}.") from None


_DEFAULT_ARCHITECTURE = Architecture(TrainConfig.architecture)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show neither progress nor summary.")]


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
            help="Folders, which are read with their subfolders, and image files.",
            readable=False,  # a file without permission gets a row, and a folder a line in the summary
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="The CSV file to write; - is stdout. "
            "[default: stdout if it is a pipe or a file, else predictions.csv or the next free name]",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="cnn, mlp, or the path of a .h5 file. "
            "[default: models/digits.h5 if you trained it here, else cnn]",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            callback=_finite,
            metavar="0..1",
            help="The confidence from which a row is ok, instead of the model's own threshold.",
        ),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Add the columns p0 to p9: the probability of each digit.")
    ] = False,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an output that an interrupted scan left.")
    ] = False,
    retry_errors: Annotated[
        bool,
        typer.Option(
            "--retry-errors", help="Read again the files whose rows say error, then continue the output."
        ),
    ] = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Write names unchanged, even if a spreadsheet would run them as a formula."
        ),
    ] = False,
    excel: Annotated[
        bool,
        typer.Option("--excel", help="Begin the file with the mark by which Excel recognizes UTF-8."),
    ] = False,
    model_sha256: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="Use the model only if its file has this SHA-256."),
    ] = None,
    quiet: Quiet = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="The most processes that read files. [default: the usable cores]"
        ),
    ] = ScanConfig.workers,
    chunk_size: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_CHUNK_SIZE,
            metavar="NUMBER",
            help="The most files that a process gets at a time. It changes no row.",
        ),
    ] = ScanConfig.chunk_size,
    timeout: Annotated[
        float,
        typer.Option(
            min=MIN_TIMEOUT_SECONDS,
            callback=_finite,
            metavar="SECONDS",
            help="The most time that one image may take.",
        ),
    ] = ScanConfig.timeout,
    max_megapixels: Annotated[
        float,
        typer.Option(
            min=MIN_MEGAPIXELS, callback=_finite, metavar="NUMBER", help="Refuse images with more pixels."
        ),
    ] = ScanConfig.max_megapixels,
    input_range: Annotated[
        InputRange | None,
        typer.Option(
            metavar="0..1|0..255",
            help="The input of a model that digitscan did not make, from no ink to full ink. [default: 0..1]",
        ),
    ] = None,
    batch_size: Annotated[str | None, typer.Option(hidden=True, callback=_renamed("--chunk-size"))] = None,
) -> None:
    """Read the digit in every image of a folder."""
    from digitscan.scanning.output.config import OutputConfig
    from digitscan.scanning.pipeline import run_scan
    from digitscan.system.signals import raise_on_signal

    config = ScanConfig(
        model=model,
        input_maximum=input_range.maximum if input_range else None,
        model_sha256=model_sha256,
        min_confidence=min_confidence,
        probabilities=probabilities,
        max_megapixels=max_megapixels,
        timeout=timeout,
        workers=workers,
        chunk_size=chunk_size,
    )
    output_config = OutputConfig(
        path=output,
        overwrite=overwrite,
        resume=resume,
        retry_errors=retry_errors,
        raw=raw,
        excel=excel,
        quiet=quiet,
    )
    with raise_on_signal():
        raise typer.Exit(run_scan(paths, config, output_config))


@app.command()
def train(
    arch: Annotated[
        Architecture,
        typer.Option(
            parser=_parse_architecture,
            metavar="cnn|mlp|cnn-fast",
            help="The network to train: the CNN, the classic 784-128-64-10 network, or the CNN's fast "
            "companion, which answers first and leaves the doubtful images to the CNN (name the CNN with "
            "--teacher).",
        ),
    ] = _DEFAULT_ARCHITECTURE,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="The model file to write.")
    ] = TrainConfig.output,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|PATH",
            help="A model whose answers are learned besides the labels (distillation). Repeatable.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="An .npz or a folder of IDX files like MNIST's, or a folder with a folder of images for "
            "each digit. [default: the MNIST that comes with digitscan]",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="The most passes over the data.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Images in each training step.")
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="NUMBER", help="Epochs without a better validation accuracy before training stops."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, metavar="NUMBER", help="The same seed gives the same weights.")
    ] = TrainConfig.seed,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder for the plots. [default: beside the model, models/digits/]"
        ),
    ] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draw no plots.")] = False,
    overwrite: Overwrite = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the last epoch of an interrupted training run.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on MNIST or on your own images."""
    from digitscan.system.signals import raise_on_signal
    from digitscan.training.pipeline import run_training

    config = TrainConfig(
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
        run_training(config)


@app.command()
def models() -> None:
    """List the models that come with digitscan, with their scores."""
    from rich.console import Console

    from digitscan.model.registry import load_bundled_models
    from digitscan.scanning.report import models_table

    Console(highlight=False).print(models_table(load_bundled_models()))


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if hasattr(signal, "SIGCHLD"):
        with contextlib.suppress(ValueError):  # signals can only be set in the main thread
            # A caller that ignores SIGCHLD passes that on, and then no child process can be waited for.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    app(arguments, prog_name="digitscan")
    raise AssertionError("Typer always exits")
