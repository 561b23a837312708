"""Look for untrusted inputs that break digitscan: `python -m tests.stress.fuzz images --minutes 10`.

    images      mutated files of every format, through `decode_image`
    preprocess  arrays of any shape and dtype, through `preprocess` and `preprocess_batch`
    models      mutated `.h5` files, through `validate_h5`

Hypothesis makes the inputs. Each round runs in a process of its own, so that a crash of native code is
noticed and its input is kept. Prints what was found, and exits with 1 if anything was. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from digitscan.errors import ImageError, ModelError
from digitscan.model.model_files import resolve_model
from digitscan.system.stdio import silence_native_stderr
from tests.support.damaged_files import CORRUPTIONS, SUFFIXES, make_valid_file
from tests.support.pictures import are_equal

EXAMPLES_PER_ROUND = 500
MAX_SECONDS = 5.0
MAX_MEGABYTES = 1024.0
MAX_SECONDS_TO_VALIDATE = 30
"""After that, a process that validates a model counts as hung."""

FuzzRound = Callable[[int, Path], None]
"""(seed, folder for the last input and the counts) -> None, or an exception if something was found."""


def main() -> int:
    """Fuzz one of the targets for some minutes; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    round_count = 0
    folder = Path(tempfile.mkdtemp(prefix="digitscan-fuzz-"))
    while time.monotonic() < deadline:
        round_seed = arguments.seed + round_count
        process = multiprocessing.get_context("fork").Process(
            target=TARGETS[arguments.target], args=(round_seed, folder)
        )
        process.start()
        process.join()
        round_count += 1
        if process.exitcode:
            print(f"found in the round of seed {round_seed}, exit {process.exitcode}; last input in {folder}")
            return 1
    counts = {path.stem: path.stat().st_size for path in sorted(folder.glob("*.count"))}
    input_count = counts.pop("inputs", 0)
    outcomes = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(
        f"{arguments.target}: {input_count:,} inputs, {round_count} rounds, nothing found"
        + (f" ({outcomes})" if outcomes else "")
    )
    return 0


def _run_round(round_seed: int, example: Any) -> None:
    """Run a Hypothesis test once with the settings of a fuzz round."""
    # No database: the folder keeps the last input. No deadline: a slow machine is no finding.
    with_settings = settings(
        max_examples=EXAMPLES_PER_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    with silence_native_stderr():
        seed(round_seed)(with_settings(example))()


def _count(folder: Path, name: str) -> None:
    """Count one more of `name`: one byte is appended to a file, which survives a crash of this process."""
    with (folder / f"{name}.count").open("ab") as file:
        file.write(b".")


# --- images -----------------------------------------------------------------------------------------


@st.composite
def mutated_images(draw: st.DrawFn) -> bytes:
    """Draw a file of any format, corrupted up to three times, and with up to 8 bytes changed."""
    image_format = draw(st.sampled_from(sorted(SUFFIXES)))
    random = Random(draw(st.integers(0, 1 << 32)))
    data = make_valid_file(image_format, random)
    for corrupt in draw(st.lists(st.sampled_from(CORRUPTIONS), max_size=3)):
        try:
            data = corrupt(data, image_format, random)
        except (ValueError, LookupError, ArithmeticError, struct.error):
            continue  # an earlier corruption has removed what this one changes
    return _change_bytes(draw, data)


def _change_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    if changed:
        offsets, values = st.integers(0, len(changed) - 1), st.integers(0, 255)
        for offset, value in draw(st.lists(st.tuples(offsets, values), max_size=8)):
            changed[offset] = value
    return bytes(changed)


def fuzz_images(round_seed: int, folder: Path) -> None:
    """Decode mutated files: ImageError is the only exception allowed, within seconds and a gigabyte."""
    from digitscan.imaging.decode import decode_image

    @given(mutated_images())
    def example(data: bytes) -> None:
        (folder / "last").write_bytes(data)
        _count(folder, "inputs")
        start = time.perf_counter()
        _reset_peak_memory()
        try:
            image = decode_image(data)
        except ImageError as error:
            message = str(error)
            assert message and message.isprintable()
        else:
            _count(folder, "decoded")
            assert image.pixels.ndim == 2 and image.pixels.size
            assert image.pixels.dtype in (np.uint8, np.uint16, np.float32)
        assert time.perf_counter() - start < MAX_SECONDS
        assert _read_peak_megabytes() < MAX_MEGABYTES

    _run_round(round_seed, example)


def _reset_peak_memory() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _read_peak_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


# --- preprocess -------------------------------------------------------------------------------------


@st.composite
def gray_images(draw: st.DrawFn) -> NDArray[Any]:
    """Draw a 2-D array of any dtype: arbitrary values, or rectangles on paper with one unusual pixel."""
    dtype = draw(
        arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes() | st.just("?")
    )
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=60))
    if draw(st.booleans()):
        return draw(arrays.arrays(dtype, shape))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    sides = st.integers(1, draw(st.sampled_from((32, 300))))
    height, width = draw(st.tuples(sides, sides))
    paper, ink = draw(st.tuples(st.integers(0, 255), st.integers(0, 255)))
    image = np.full((height, width), paper, np.float64)
    for _ in range(draw(st.integers(0, 6))):
        top, left = random.integers(0, height), random.integers(0, width)
        image[top : top + random.integers(1, 80), left : left + random.integers(1, 80)] = ink
    image += random.normal(0, draw(st.sampled_from((0, 1, 20))), image.shape)
    unusual = draw(st.sampled_from((None, np.nan, np.inf, -np.inf, 1e300, -1e300)))
    if unusual is not None:
        image[random.integers(0, height), random.integers(0, width)] = unusual
    with np.errstate(all="ignore"):
        return image.astype(dtype)


def fuzz_preprocess(round_seed: int, folder: Path) -> None:
    """Preprocess arrays: no exception is allowed, and a batch gives what each image gives alone."""
    from digitscan.imaging.preprocess import preprocess
    from digitscan.imaging.preprocess_batch import MIN_BATCH, preprocess_batch

    @given(gray_images())
    def example(image: NDArray[Any]) -> None:
        np.save(folder / "last.npy", image)
        _count(folder, "inputs")
        preprocessed = preprocess(image)
        if preprocessed.pixels is None:
            assert preprocessed.rejection
        else:
            _count(folder, "accepted")
            assert preprocessed.pixels.shape == (28, 28) and preprocessed.pixels.dtype == np.uint8
        flips = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
        batch = [np.ascontiguousarray(flips[index % 4]) for index in range(MIN_BATCH)]
        for alone, in_batch in zip(map(preprocess, batch), preprocess_batch(batch), strict=True):
            assert are_equal(alone, in_batch)

    _run_round(round_seed, example)


# --- models -----------------------------------------------------------------------------------------

# What the structures of HDF5 begin with, and what the model's configuration holds.
_HDF5_MARKS = (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"\x89HDF", b"model_config", b"dtype")
_BLOCK_BYTES = 512


def fuzz_models(round_seed: int, folder: Path) -> None:
    """Validate mutated models: ModelError is the only exception allowed.

    HDF5 itself may crash or hang on them. So each is validated in a process of its own, as a scan does it.
    """
    import h5py  # noqa: F401  # loads it once, for all of the processes

    from digitscan.model.h5_validation import validate_h5

    valid_model = resolve_model("mlp").path.read_bytes()
    # Only blocks with structures in them: nearly all of the other changes would hit weights.
    starts = range(0, len(valid_model), _BLOCK_BYTES)
    blocks = [s for s in starts if any(mark in valid_model[s : s + _BLOCK_BYTES] for mark in _HDF5_MARKS)]

    @st.composite
    def mutated_models(draw: st.DrawFn) -> bytes:
        data = bytearray(valid_model)
        for _ in range(draw(st.integers(1, 12))):
            offset = draw(st.sampled_from(blocks)) + draw(st.integers(0, _BLOCK_BYTES - 1))
            data[min(offset, len(data) - 1)] = draw(st.integers(0, 255))
        is_truncated = draw(st.integers(0, 9)) == 0
        return bytes(data[: draw(st.integers(0, len(data)))] if is_truncated else data)

    @given(mutated_models())
    def example(data: bytes) -> None:
        (folder / "last").write_bytes(data)
        _count(folder, "inputs")
        pid = os.fork()
        if not pid:
            _validate_and_exit(validate_h5, data)
        exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if exit_code < 0:
            (folder / f"signal{exit_code}").write_bytes(data)
            _count(folder, "hung" if exit_code == -signal.SIGALRM else "crashed")
        elif exit_code == _ACCEPTED:
            _count(folder, "accepted")
        assert exit_code != _FAILED

    _run_round(round_seed, example)


_REFUSED, _FAILED, _ACCEPTED = 0, 1, 2


def _validate_and_exit(validate: Callable[[bytes], object], data: bytes) -> None:
    """Validate a model and end this process with an exit code that says what came of it."""
    signal.alarm(MAX_SECONDS_TO_VALIDATE)
    try:
        validate(data)
    except ModelError as error:
        os._exit(_REFUSED if str(error) and "\n" not in str(error) else _FAILED)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(_FAILED)
    os._exit(_ACCEPTED)


TARGETS: dict[str, FuzzRound] = {
    "images": fuzz_images,
    "preprocess": fuzz_preprocess,
    "models": fuzz_models,
}

if __name__ == "__main__":
    sys.exit(main())
