"""One exception a situation: each knows its exit code, each message is the sentence the user needs.

The exit codes are stable interface: 0 every image read, 1 a bug, 2 usage or a missing optional
package, 3 finished but some files could not be read, 4 no images found, 5 the model is missing,
broken or refused, 6 the output exists or cannot be written, 7 training or evaluation data cannot
be used or training failed, 130 Ctrl-C, 143 SIGTERM.
"""

SOME_FILES_UNREADABLE = 3
INTERRUPTED = 130
TERMINATED = 143


class DigitscanError(Exception):
    """What happened, to which file, and what to do: shown to the user as it stands."""

    exit_code = 1


class UsageError(DigitscanError):
    """The command's words do not fit together, or a path that was named does not exist."""

    exit_code = 2


class NoImagesError(DigitscanError):
    """There was nothing to read among the paths given."""

    exit_code = 4


class ModelError(DigitscanError):
    """The model is missing, broken or refused."""

    exit_code = 5


class OutputError(DigitscanError):
    """The output exists already or cannot be written."""

    exit_code = 6


class DataError(DigitscanError):
    """Training or evaluation data cannot be used."""

    exit_code = 7


class TrainingError(DigitscanError):
    """Training did not end with a usable model."""

    exit_code = 7


class ImageError(DigitscanError):
    """One image could not be read: becomes that image's row, never the end of a run."""

    exit_code = SOME_FILES_UNREADABLE
