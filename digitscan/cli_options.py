"""The options of the command line, as types for the parameters of the commands in `cli`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from digitscan.model.input_range import InputRange
from digitscan.scanning.config import MAX_CHUNK_SIZE, MIN_MEGAPIXELS, MIN_TIMEOUT_SECONDS, Frames
from digitscan.training.config import Architecture


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


def _parse_scan_path(value: str) -> Path:
    """Refuse an empty path, as from a variable that is not set: `Path` makes the current folder of it."""
    if not value:
        raise typer.BadParameter("the path is empty: name a folder or an image.")
    return Path(value)


def _parse_image_path(value: str) -> Path:
    """Refuse an empty path, as `_parse_scan_path` does."""
    if not value:
        raise typer.BadParameter("the path is empty: name an image.")
    return Path(value)


# --- options of several commands ---------------------------------------------------------------------------

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show neither progress nor summary.")]

# --- options of show ---------------------------------------------------------------------------------------

ShownImages = Annotated[
    list[Path],
    typer.Argument(parser=_parse_image_path, metavar="IMAGES...", show_default=False, help="Image files."),
]
PictureFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE.png",
        help="Draw the images into a PNG file instead of printing them.",
    ),
]

# --- options of review -------------------------------------------------------------------------------------

ReviewedCsv = Annotated[
    Path, typer.Argument(metavar="CSV", show_default=False, help="The CSV of a scan, edited or not.")
]
PageFile = Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html", help="The page to write.")]
ImageFolder = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="FOLDER",
        help="Where the pictures are now, if they were moved since the scan.",
    ),
]
Audit = Annotated[
    int,
    typer.Option(
        "--audit",
        min=0,
        metavar="NUMBER",
        help="Draw so many of the ok rows at random, to measure how many of them are wrong.",
    ),
]

# --- options of evaluate -----------------------------------------------------------------------------------

EvaluatedSource = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="A folder with a subfolder of images for each digit (7/a.png) or number (407/a.png) and, for "
        "images of none, none; a CSV with the column corrected; or mnist.",
    ),
]
TruthFile = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="FILE.csv",
        help="A CSV with the columns path and label. The paths are in the folder SOURCE.",
    ),
]
AgainstModel = Annotated[
    str | None,
    typer.Option("--against", metavar="NAME|PATH", help="Another model, to be compared on the same images."),
]
MaxWrong = Annotated[
    float,
    typer.Option(
        "--max-wrong",
        min=0,
        max=1,
        callback=_finite,
        metavar="0..1",
        help="The largest share of wrong rows, among those marked ok, that a threshold may have.",
    ),
]
ResultFolder = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Write the scores as metrics.json, the plots, and a picture of the worst mistakes.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")]

# --- options of calibrate ----------------------------------------------------------------------------------

CalibratedModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="cnn, mlp, or the path of a .h5 or .keras file. The file is not changed.",
    ),
]
CalibrationSource = Annotated[
    Path | None,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="Pictures that the model did not learn from: a folder with a subfolder of images for each digit "
        "(7/a.png) and, for images of none, none; or a CSV with the column corrected.",
    ),
]
ForgetCalibration = Annotated[
    bool, typer.Option("--forget", help="Remove what is stored of the model. Its rows are as before then.")
]

# --- options of scan: what is read, and how ----------------------------------------------------------------

ScanPaths = Annotated[
    list[Path] | None,
    typer.Argument(
        parser=_parse_scan_path,
        metavar="PATHS...",
        show_default=False,
        help="Folders, which are read with their subfolders, and image files.",
    ),
]
FilesFrom = Annotated[
    str | None,
    typer.Option(
        "--files-from",
        metavar="FILE",
        help="Read also the files and folders that a list names, one path a line; - is stdin.",
    ),
]
NullSeparated = Annotated[
    bool,
    typer.Option(
        "-0", "--null", help="The paths of --files-from end in NUL bytes: find -print0 writes such."
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="GLOB",
        help="Of folders, read only the files that match, such as '*.jpg' or 'page-?/**'. Upper and lower "
        "case are the same. Repeatable.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        help="Of folders, skip the files and folders that match, such as 'thumb-*' or 'drafts/'. Repeatable.",
    ),
]
Hidden = Annotated[
    bool,
    typer.Option("--hidden", help="Of folders, read also what is hidden: names that begin with a dot."),
]
ListSkipped = Annotated[
    bool,
    typer.Option("--list-skipped", help="Name on stderr what is skipped in folders, and why."),
]
ScanModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="cnn, mlp, or the path of a .h5 or .keras file. "
        "[default: models/digits.h5 if you trained it here, else cnn]",
    ),
]
ModelSha256 = Annotated[
    str | None,
    typer.Option(
        "--model-sha256",
        metavar="DIGEST",
        help="Use the model only if its file has this SHA-256; its own threshold for ok is then trusted.",
    ),
]
ModelInputRange = Annotated[
    InputRange | None,
    typer.Option(
        "--input-range",
        metavar="0..1|0..255|1..0|255..0",
        help="The input of a model that digitscan did not make, from no ink to full ink. [default: 0..1]",
    ),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        "--min-confidence",
        min=0,
        max=1,
        callback=_finite,
        metavar="0..1",
        help="The confidence from which a row is ok, instead of the model's own threshold.",
    ),
]
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Add the columns p0 to p9: the probability of each digit.")
]
Numbers = Annotated[
    bool, typer.Option("--numbers", help="Read each image as one number of several digits, such as 407.")
]
NumberLength = Annotated[
    str | None,
    typer.Option(
        "--length",
        metavar="5|1-3|2,4-6",
        help="How many digits the numbers have; a number of another length is never ok.",
    ),
]
NumberCheck = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="luhn",
        help="The check digit with which the numbers end; a number that fails it is never ok.",
    ),
]
DigitConfidence = Annotated[
    bool,
    typer.Option(
        "--digit-confidence",
        help="Add the column digit_confidence, with the confidence of each digit of a number.",
    ),
]
MaxMegapixels = Annotated[
    float,
    typer.Option(
        "--max-megapixels",
        min=MIN_MEGAPIXELS,
        callback=_finite,
        metavar="NUMBER",
        help="Refuse images with more pixels.",
    ),
]
MaxPages = Annotated[
    int,
    typer.Option(
        "--max-pages",
        min=1,
        metavar="NUMBER",
        help="Leave out further pages of a file; its last row says so.",
    ),
]
AnimationFrames = Annotated[
    Frames,
    typer.Option(
        "--frames",
        metavar="first|all",
        help="Read the first picture of an animation or a burst, or each as a page of its own.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        min=MIN_TIMEOUT_SECONDS,
        callback=_finite,
        metavar="SECONDS",
        help="The most time that one image or page may take.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="NUMBER",
        help="The most processes that read files. [default: the usable cores]",
    ),
]
ChunkSize = Annotated[
    int,
    typer.Option(
        "--chunk-size",
        min=1,
        max=MAX_CHUNK_SIZE,
        metavar="NUMBER",
        help="The most files that a process gets at a time. It changes no row.",
    ),
]
FormerChunkSize = Annotated[
    str | None, typer.Option("--batch-size", hidden=True, callback=_renamed("--chunk-size"))
]

# --- options of scan: where the rows go ---------------------------------------------------------------------

CsvFile = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="The CSV file to write; - is stdout. "
        "[default: stdout if it is a pipe or a file, else predictions.csv or the next free name]",
    ),
]
ResumeScan = Annotated[
    bool, typer.Option("--resume", help="Continue an output that an interrupted scan left.")
]
RetryErrors = Annotated[
    bool,
    typer.Option(
        "--retry-errors", help="Read again the files whose rows say error, then continue the output."
    ),
]
UpdateScan = Annotated[
    bool,
    typer.Option(
        "--update",
        help="Bring an output up to date: read new and changed images, and keep the other rows as they are.",
    ),
]
CopyReview = Annotated[
    Path | None,
    typer.Option(
        "--copy-review",
        metavar="FOLDER",
        help="Put the pictures whose rows are review or no-digit into a new folder, as links.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="Write names unchanged, even if a spreadsheet would run them as a formula."),
]
Excel = Annotated[
    bool, typer.Option("--excel", help="Begin the file with the mark by which Excel recognizes UTF-8.")
]

# --- options of train ---------------------------------------------------------------------------------------

TrainedArchitecture = Annotated[
    Architecture,
    typer.Option(
        "--arch",
        parser=_parse_architecture,
        metavar="cnn|mlp|cnn-fast|line",
        help="The network to train: the CNN, the classic 784-128-64-10 network, or the CNN's fast "
        "companion, which answers first and leaves the doubtful images to the CNN (name the CNN with "
        "--teacher), or the reader of whole numbers.",
    ),
]
ModelFile = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The model file to write.")]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        metavar="NAME|PATH",
        help="A model whose answers are learned besides the labels (distillation). Repeatable.",
    ),
]
EnsembleMembers = Annotated[
    list[str] | None,
    typer.Option(
        "--ensemble",
        metavar="NAME|PATH",
        help="A trained model; name two or more, and the new model's answer is the mean of theirs. Nothing "
        "is trained, and their --arch must be the same.",
    ),
]
FineTunedModel = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="NAME|PATH",
        help="The trained model that learns from the corrections of --add. It is not changed: the new model "
        "is another file, of the same architecture.",
    ),
]
Corrections = Annotated[
    Path | None,
    typer.Option(
        "--add",
        metavar="CSV|DIR",
        help="What --from learns: a CSV that you corrected (see digitscan review), or a folder with a folder "
        "of images for each digit. It is saved only if it reads more of them right.",
    ),
]
SaveAnyway = Annotated[
    bool, typer.Option("--force", help="Save what --from has become even if it is no better.")
]
TrainingData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="An .npz or a folder of IDX files like MNIST's, or a folder with a folder of images for "
        "each digit. [default: the MNIST that comes with digitscan]",
    ),
]
PenStrokeFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--pens",
        metavar="FILE",
        help="An .npz of pen strokes, from which digits and letters of more hands are drawn, for cnn and "
        "cnn-fast; docs/training.md describes it. Repeatable.",
    ),
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", min=1, metavar="NUMBER", help="The most passes over the data.")
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, metavar="NUMBER", help="Images in each training step."),
]
Patience = Annotated[
    int | None,
    typer.Option(
        "--patience",
        min=1,
        metavar="NUMBER",
        help="Epochs without a better validation accuracy before training stops.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, metavar="NUMBER", help="The same seed gives the same weights.")
]
PlotFolder = Annotated[
    Path | None,
    typer.Option(
        "--plots",
        metavar="DIR",
        help="The folder for the plots. [default: beside the model, models/digits/]",
    ),
]
NoPlots = Annotated[bool, typer.Option("--no-plots", help="Draw no plots.")]
ResumeTraining = Annotated[
    bool, typer.Option("--resume", help="Continue after the last epoch of an interrupted training run.")
]
