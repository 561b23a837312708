"""The exceptions and exit codes of digitscan: one exception for each situation, one code for each exception.

    DigitscanError
        UsageError
        NoImagesError
        ModelError
        OutputError
        DataError
        TrainingError
        ImageError

Each message is the sentence that the user needs: what happened, to which file, what to do. The command line
prints it and exits with the exception's code. The codes are a stable interface: scripts depend on them.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit status of the command means."""

    description: str

    def __new__(cls, value: int, description: str) -> ExitCode:
        """Make a member that carries its description, which the help and the README show."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    OK = 0, "every image was read"
    BUG = 1, "a bug in digitscan"
    USAGE = 2, "the arguments do not fit, a named path does not exist, or an optional package is missing"
    UNREADABLE_FILES = 3, "finished, but some files could not be read"
    NO_IMAGES = 4, "no images were found"
    MODEL = 5, "the model is missing, broken or refused"
    OUTPUT = 6, "the output exists or cannot be written"
    TRAINING = 7, "training or evaluation data cannot be used, or training failed"
    INTERRUPTED = 130, "stopped by Ctrl-C"
    TERMINATED = 143, "stopped by SIGTERM"


class DigitscanError(Exception):
    """The base of all exceptions that digitscan raises on purpose."""

    exit_code = ExitCode.BUG


class UsageError(DigitscanError):
    """The arguments do not fit together, or a path that was named does not exist."""

    exit_code = ExitCode.USAGE


class NoImagesError(DigitscanError):
    """The paths hold no image."""

    exit_code = ExitCode.NO_IMAGES


class ModelError(DigitscanError):
    """The model is missing, broken or refused."""

    exit_code = ExitCode.MODEL


class OutputError(DigitscanError):
    """The output exists already or cannot be written."""

    exit_code = ExitCode.OUTPUT


class DataError(DigitscanError):
    """Data to train on or to evaluate with cannot be used."""

    exit_code = ExitCode.TRAINING


class TrainingError(DigitscanError):
    """Training did not produce a usable model."""

    exit_code = ExitCode.TRAINING


class ImageError(DigitscanError):
    """One image could not be read. It becomes that image's row and never ends a run."""

    exit_code = ExitCode.UNREADABLE_FILES


class OutputClosedError(Exception):
    """The reader of our stdout has closed it, so it has what it wanted: a quiet end, not a failure."""
