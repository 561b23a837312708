"""Look for inputs that break what takes strangers' bytes: `python -m tests.stress.fuzz images --minutes 10`.

images: whole files of every format, mutated, through `decode_image`. preprocess: arrays of any kind through
`preprocess` and `preprocess_batch`. models: mutated `.h5` files through `validate_h5`. Each round runs in a
process of its own, so that native code that crashes is seen and its input kept. Prints what was found, and
exits with 1 if anything was. Linux.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
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

from digitscan.errors import ImageError, ModelError
from digitscan.model.registry import resolve_model
from digitscan.system.stdio import silence_native_stderr
from tests.support.damaged_files import DAMAGES, SUFFIXES, sound_file

EXAMPLES_A_ROUND = 500
MOST_SECONDS = 5.0
MOST_MEGABYTES = 1024.0
CHECK_SECONDS = 30

Round = Callable[[int, Path], None]


def main() -> int:
    """Fuzz one of the three for some minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=ROUNDS)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    rounds = 0
    folder = Path(tempfile.mkdtemp(prefix="digitscan-fuzz-"))
    while time.monotonic() < end:
        start = arguments.seed + rounds
        target = ROUNDS[arguments.what]
        child = multiprocessing.get_context("fork").Process(target=target, args=(start, folder))
        child.start()
        child.join()
        rounds += 1
        if child.exitcode:
            print(f"found in the round of seed {start}, exit {child.exitcode}; last input in {folder}")
            return 1
    tried = sum(path.stat().st_size for path in folder.glob("count-*"))
    told = ", ".join(f"{path.stat().st_size:,} {path.name[4:]}" for path in sorted(folder.glob("and-*")))
    print(f"{arguments.what}: {tried:,} inputs, {rounds} rounds, nothing found{f' ({told})' if told else ''}")
    return 0


def _run(number: int, example: Any) -> None:
    # Nothing found is written anywhere, and a slow machine is no finding.
    quiet = settings(
        max_examples=EXAMPLES_A_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    with silence_native_stderr():
        seed(number)(quiet(example))()


def _count(folder: Path, name: str) -> None:
    """Count by one: a byte more in a file outlives whatever this process meets."""
    with (folder / name).open("ab") as file:
        file.write(b".")


@st.composite
def mutated_images(draw: st.DrawFn) -> bytes:
    """Draw a file of any format, damaged once or more in one of the ways of the tests, or byte by byte."""
    kind = draw(st.sampled_from(sorted(SUFFIXES)))
    random = Random(draw(st.integers(0, 1 << 32)))
    data = sound_file(kind, random)
    for damage in draw(st.lists(st.sampled_from(DAMAGES[:5]), max_size=3)):
        try:
            data = damage(data, kind, random)
        except (ValueError, IndexError, LookupError, ArithmeticError):
            continue  # nothing is left that this damage needs
        except Exception as error:
            if type(error).__name__ != "error":  # struct's
                raise
    return _with_bytes_changed(draw, data)


def _with_bytes_changed(draw: st.DrawFn, data: bytes) -> bytes:
    changed = bytearray(data)
    if changed:
        place, value = st.integers(0, len(changed) - 1), st.integers(0, 255)
        for where, what in draw(st.lists(st.tuples(place, value), max_size=8)):
            changed[where] = what
    return bytes(changed)


def fuzz_images(number: int, folder: Path) -> None:
    """Only ImageError may escape, in seconds, within a gigabyte."""
    from digitscan.imaging.decode import decode_image

    @given(mutated_images())
    def example(data: bytes) -> None:
        (folder / "last").write_bytes(data)
        _count(folder, "count-images")
        start = time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew
        try:
            opened = decode_image(data)
        except ImageError as error:
            reason = str(error)
            assert reason and reason.isprintable()
        else:
            _count(folder, "and-opened")
            assert opened.pixels.ndim == 2 and opened.pixels.size
            assert opened.pixels.dtype in (np.uint8, np.uint16, np.float32)
        assert time.perf_counter() - start < MOST_SECONDS
        assert _peak_megabytes() < MOST_MEGABYTES

    _run(number, example)


def _peak_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


@st.composite
def any_pictures(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Draw a 2-D array of any number type: arbitrary values, or shapes on paper with a few odd pixels."""
    dtype = draw(
        arrays.integer_dtypes() | arrays.unsigned_integer_dtypes() | arrays.floating_dtypes() | st.just("?")
    )
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=60))
    if draw(st.booleans()):
        return draw(arrays.arrays(dtype, shape))
    random = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    side = st.integers(1, draw(st.sampled_from((32, 300))))
    shape = draw(st.tuples(side, side))
    paper, ink = draw(st.tuples(st.integers(0, 255), st.integers(0, 255)))
    picture = np.full(shape, paper, np.float64)
    for _ in range(draw(st.integers(0, 6))):
        top, left = random.integers(0, shape[0]), random.integers(0, shape[1])
        picture[top : top + random.integers(1, 80), left : left + random.integers(1, 80)] = ink
    picture += random.normal(0, draw(st.sampled_from((0, 1, 20))), shape)
    odd = draw(st.sampled_from((None, np.nan, np.inf, -np.inf, 1e300, -1e300)))
    if odd is not None:
        picture[random.integers(0, shape[0]), random.integers(0, shape[1])] = odd
    with np.errstate(all="ignore"):
        return picture.astype(dtype)


def fuzz_preprocess(number: int, folder: Path) -> None:
    """Nothing may escape; the picture is 28x28 or there is a reason, the same alone and in company."""
    from digitscan.imaging.preprocess import preprocess
    from digitscan.imaging.preprocess_batch import MIN_BATCH, preprocess_batch

    @given(any_pictures())
    def example(picture: np.ndarray[Any, Any]) -> None:
        np.save(folder / "last.npy", picture)
        _count(folder, "count-pictures")
        looked = preprocess(picture)
        if looked.pixels is None:
            assert looked.rejection
        else:
            _count(folder, "and-accepted")
            assert looked.pixels.shape == (28, 28) and looked.pixels.dtype == np.uint8
        ways = [picture, picture[::-1], picture[:, ::-1], picture[::-1, ::-1]]
        company = [np.ascontiguousarray(ways[number % 4]) for number in range(MIN_BATCH)]
        for alone, together in zip(map(preprocess, company), preprocess_batch(company), strict=True):
            assert alone._replace(pixels=None) == together._replace(pixels=None)
            assert np.array_equal(np.asarray(alone.pixels), np.asarray(together.pixels))

    _run(number, example)


def fuzz_models(number: int, folder: Path) -> None:
    """Only ModelError may escape. HDF5 itself may crash or turn in circles: the check's process may end."""
    import h5py  # noqa: F401  # once, before each example's process is made

    from digitscan.model.h5_validation import validate_h5

    whole = resolve_model("mlp").path.read_bytes()
    # What h5py reads lies among the weights, which would take nearly all of the changes.
    heads = [at for at in range(0, len(whole), 512) if any(whole[at : at + 512].count(m) for m in _MARKS)]

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(whole)
        for _ in range(draw(st.integers(1, 12))):
            at = draw(st.sampled_from(heads)) + draw(st.integers(0, 511))
            data[min(at, len(data) - 1)] = draw(st.integers(0, 255))
        return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.integers(0, 9)) == 0 else data)

    @given(mutated())
    def example(data: bytes) -> None:
        (folder / "last").write_bytes(data)
        _count(folder, "count-models")
        child = os.fork()
        if not child:
            signal.alarm(CHECK_SECONDS)
            try:
                validate_h5(data)
            except ModelError as error:
                os._exit(0 if str(error) and "\n" not in str(error) else 1)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(2)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            (folder / f"signal{code}").write_bytes(data)
            _count(folder, "and-hung" if code == -signal.SIGALRM else "and-crashed")
        elif code == 2:
            _count(folder, "and-accepted")
        assert code != 1

    _run(number, example)


_MARKS = (b"TREE", b"HEAP", b"SNOD", b"GCOL", b"OHDR", b"\x89HDF", b"model_config", b"dtype")
ROUNDS: dict[str, Round] = {"images": fuzz_images, "preprocess": fuzz_preprocess, "models": fuzz_models}

if __name__ == "__main__":
    sys.exit(main())
