"""The command line: each command parses its arguments, calls one function and prints. No work is done here.

What a command needs is imported inside it, so that `--help` answers at once. The options are in
`cli_options`; their defaults come from the dataclasses in `scanning.config` and `training.config`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from digitscan.cli_options import (
    AgainstModel,
    AnimationFrames,
    Audit,
    BatchSize,
    CalibratedModel,
    CalibrationSource,
    ChunkSize,
    CopyReview,
    Corrections,
    CsvFile,
    DigitConfidence,
    EnsembleMembers,
    Epochs,
    EvaluatedSource,
    Excel,
    Exclude,
    FilesFrom,
    FineTunedModel,
    ForgetCalibration,
    FormerChunkSize,
    Hidden,
    ImageFolder,
    Include,
    Json,
    ListSkipped,
    MaxMegapixels,
    MaxPages,
    MaxWrong,
    MinConfidence,
    ModelFile,
    ModelInputRange,
    ModelSha256,
    NoPlots,
    NullSeparated,
    NumberCheck,
    NumberLength,
    Numbers,
    Overwrite,
    PageFile,
    Patience,
    PenStrokeFiles,
    PictureFile,
    PlotFolder,
    Probabilities,
    Quiet,
    Raw,
    ResultFolder,
    ResumeScan,
    ResumeTraining,
    RetryErrors,
    ReviewedCsv,
    SaveAnyway,
    ScanModel,
    ScanPaths,
    Seed,
    ShownImages,
    Teachers,
    Timeout,
    TrainedArchitecture,
    TrainingData,
    TruthFile,
    UpdateScan,
    Workers,
)
from digitscan.errors import DigitscanError, ExitCode, OutputClosedError, UsageError
from digitscan.evaluation.config import EvaluateConfig
from digitscan.review.config import ReviewConfig, ShowConfig
from digitscan.scanning.config import ScanConfig
from digitscan.training.config import (
    Architecture,
    CalibrateConfig,
    FineTuneConfig,
    TrainConfig,
    check_fine_tuning_options,
    default_plot_folder,
)
from digitscan.version import __version__


class _CommandGroup(TyperGroup):
    """The one place where an exception becomes a message and an exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that is named; ask whoever names a folder or a file instead."""
        if args and self.get_command(ctx, args[0]) is None and os.path.lexists(args[0]):
            import shlex

            raise UsageError(
                f"{args[0]!r} is no command: did you mean `{shlex.join(['digitscan', 'scan', *args])}`?"
            )
        return super().resolve_command(ctx, args)

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


_DEFAULT_ARCHITECTURE = Architecture(TrainConfig.architecture)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("-V", "--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        print(f"digitscan {__version__}")
        raise typer.Exit


@app.command()
def scan(
    paths: ScanPaths = None,
    output: CsvFile = None,
    model: ScanModel = None,
    min_confidence: MinConfidence = None,
    probabilities: Probabilities = False,
    numbers: Numbers = ScanConfig.numbers,
    length: NumberLength = None,
    check: NumberCheck = ScanConfig.check,
    digit_confidence: DigitConfidence = ScanConfig.digit_confidence,
    overwrite: Overwrite = False,
    resume: ResumeScan = False,
    retry_errors: RetryErrors = False,
    update: UpdateScan = False,
    copy_review: CopyReview = None,
    raw: Raw = False,
    excel: Excel = False,
    model_sha256: ModelSha256 = None,
    quiet: Quiet = False,
    workers: Workers = ScanConfig.workers,
    chunk_size: ChunkSize = ScanConfig.chunk_size,
    timeout: Timeout = ScanConfig.timeout,
    max_megapixels: MaxMegapixels = ScanConfig.max_megapixels,
    max_pages: MaxPages = ScanConfig.max_pages,
    frames: AnimationFrames = ScanConfig.frames,
    input_range: ModelInputRange = None,
    include: Include = None,
    exclude: Exclude = None,
    hidden: Hidden = ScanConfig.hidden,
    list_skipped: ListSkipped = False,
    files_from: FilesFrom = None,
    null_separated: NullSeparated = False,
    batch_size: FormerChunkSize = None,
) -> None:
    """Read the digit or the number in every image of a folder."""
    from digitscan.scanning.given_paths import collect_paths
    from digitscan.scanning.output.config import OutputConfig
    from digitscan.scanning.pipeline import run_scan
    from digitscan.system.signals import raise_on_signal

    config = ScanConfig(
        model=model,
        input_range=input_range,
        model_sha256=model_sha256,
        min_confidence=min_confidence,
        probabilities=probabilities,
        numbers=numbers,
        length=length,
        check=check,
        digit_confidence=digit_confidence,
        max_megapixels=max_megapixels,
        max_pages=max_pages,
        frames=frames,
        timeout=timeout,
        workers=workers,
        chunk_size=chunk_size,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        hidden=hidden,
    )
    output_config = OutputConfig(
        output, overwrite, resume, retry_errors, update, raw, excel, copy_review, quiet, list_skipped
    )
    with raise_on_signal():
        given = collect_paths(paths or [], files_from, null_separated)
        raise typer.Exit(run_scan(given.named, config, output_config, listed=given.listed))


@app.command()
def show(
    images: ShownImages,
    output: PictureFile = None,
    model: ScanModel = None,
    numbers: Numbers = ShowConfig.numbers,
    length: NumberLength = None,
    check: NumberCheck = ShowConfig.check,
    min_confidence: MinConfidence = None,
    model_sha256: ModelSha256 = None,
    input_range: ModelInputRange = None,
    overwrite: Overwrite = False,
) -> None:
    """Show why images are read as they are: what was found, what the model saw, how sure it is."""
    from digitscan.review.show import run_show
    from digitscan.system.signals import raise_on_signal

    config = ShowConfig(
        images=tuple(images),
        model=model,
        model_sha256=model_sha256,
        input_range=input_range,
        numbers=numbers,
        length=length,
        check=check,
        min_confidence=min_confidence,
        output=output,
        overwrite=overwrite,
    )
    with raise_on_signal():
        raise typer.Exit(run_show(config))


@app.command()
def review(
    csv: ReviewedCsv,
    output: PageFile = ReviewConfig.output,
    images: ImageFolder = None,
    audit: Audit = ReviewConfig.audit,
    model: ScanModel = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a page on which you check and correct the rows of a scan, in a browser."""
    from digitscan.review.review import run_review
    from digitscan.system.signals import raise_on_signal

    config = ReviewConfig(csv, output, images, audit, model, overwrite)
    with raise_on_signal():
        run_review(config)


@app.command()
def evaluate(
    source: EvaluatedSource,
    truth: TruthFile = None,
    output: ResultFolder = None,
    model: ScanModel = None,
    against: AgainstModel = None,
    numbers: Numbers = EvaluateConfig.numbers,
    length: NumberLength = None,
    check: NumberCheck = EvaluateConfig.check,
    min_confidence: MinConfidence = None,
    max_wrong: MaxWrong = EvaluateConfig.max_wrong,
    json: Json = False,
    model_sha256: ModelSha256 = None,
    input_range: ModelInputRange = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how well labelled images are read, and what another threshold for ok would give."""
    from digitscan.evaluation.pipeline import run_evaluation
    from digitscan.system.signals import raise_on_signal

    config = EvaluateConfig(
        source=source,
        truth=truth,
        model=model,
        numbers=numbers,
        length=length,
        check=check,
        model_sha256=model_sha256,
        input_range=input_range,
        min_confidence=min_confidence,
        against=against,
        max_wrong=max_wrong,
        output=output,
        overwrite=overwrite,
        json=json,
    )
    with raise_on_signal():
        run_evaluation(config)


@app.command()
def calibrate(
    model: CalibratedModel,
    source: CalibrationSource = None,
    truth: TruthFile = None,
    images: ImageFolder = None,
    max_wrong: MaxWrong = CalibrateConfig.max_wrong,
    input_range: ModelInputRange = None,
    forget: ForgetCalibration = False,
) -> None:
    """Fit a model's confidence and its threshold for ok to your own labelled pictures."""
    from digitscan.system.signals import raise_on_signal
    from digitscan.training.user_calibration import run_calibration

    config = CalibrateConfig(model, source, truth, images, input_range, max_wrong, forget)
    with raise_on_signal():
        run_calibration(config)


@app.command()
def train(
    arch: TrainedArchitecture = _DEFAULT_ARCHITECTURE,
    output: ModelFile = TrainConfig.output,
    teacher: Teachers = None,
    ensemble: EnsembleMembers = None,
    from_model: FineTunedModel = None,
    add: Corrections = None,
    images: ImageFolder = None,
    force: SaveAnyway = False,
    data: TrainingData = None,
    pens: PenStrokeFiles = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    patience: Patience = None,
    seed: Seed = TrainConfig.seed,
    plots: PlotFolder = None,
    no_plots: NoPlots = False,
    overwrite: Overwrite = False,
    resume: ResumeTraining = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on MNIST or on your own images."""
    from digitscan.system.signals import raise_on_signal

    if from_model is not None or add is not None or images is not None or force:
        from digitscan.training.fine_tuning import run_fine_tuning

        others = {
            "--arch": arch is not _DEFAULT_ARCHITECTURE,
            "--teacher": teacher,
            "--ensemble": ensemble,
            "--data": data,
            "--epochs": epochs,
            "--batch-size": batch_size,
            "--patience": patience,
            "--plots": plots,
            "--resume": resume,
        }
        check_fine_tuning_options(from_model, add, [name for name, value in others.items() if value])
        assert from_model is not None and add is not None
        fine_tuning = FineTuneConfig(
            from_model, add, images, tuple(pens or ()), output, seed, overwrite, force, quiet
        )
        with raise_on_signal():
            run_fine_tuning(fine_tuning)
        return
    from digitscan.training.pipeline import run_training

    config = TrainConfig(
        architecture=arch.value,
        output=output,
        teachers=tuple(teacher or ()),
        ensemble=tuple(ensemble or ()),
        data=data,
        pens=tuple(pens or ()),
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        seed=seed,
        plots=None if no_plots else plots or default_plot_folder(output),
        overwrite=overwrite,
        resume=resume,
        quiet=quiet,
    )
    with raise_on_signal():
        run_training(config)


@app.command()
def models() -> None:
    """List the models that come with digitscan, with their scores, and those that you calibrated."""
    from rich.console import Console

    from digitscan.model.registry import load_bundled_models
    from digitscan.model.user_calibrations import list_calibrations
    from digitscan.scanning.report import calibration_lines, models_table

    console = Console(highlight=False)
    console.print(models_table(load_bundled_models()))
    for line in calibration_lines(list_calibrations()):
        console.print(line, soft_wrap=True)  # a path stays one word


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    if hasattr(signal, "SIGCHLD"):
        with contextlib.suppress(ValueError):  # signals can only be set in the main thread
            # A caller that ignores SIGCHLD passes that on, and then no child process can be waited for.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Typer would expand globs on Windows, also those of --exclude: `scan` does so itself, for its paths.
    app(arguments, prog_name="digitscan", windows_expand_args=False)
    raise AssertionError("Typer always exits")
