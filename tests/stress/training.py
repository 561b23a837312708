"""Trials of `digitscan train`: data, places and settings that it cannot use, traps in its folder, kills."""

from __future__ import annotations

import io
import os
import signal
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode
from digitscan.training.data.sources import IDX_FILES
from tests.stress.harness import (
    MAX_SECONDS_TO_END,
    Outcome,
    Report,
    ScanRunner,
    ends_within,
    kill_group,
    wait_for_end,
)
from tests.support.command import Argument
from tests.support.crafted_files import crafted_files
from tests.support.pictures import digit_picture
from tests.support.processes import find_process_tree
from tests.support.training_data import save_few_digits

MAX_SECONDS_TO_REFUSE = 30
MAX_SECONDS_TO_TRAIN = 120
_MAX_LINES = 3
_MIN_DIGITS = 14
_TRAP_MODULES = ("multiprocessing", "json", "pickle", "numpy", "keras", "matplotlib", "_strptime")


def refuse_to_train(runner: ScanRunner, report: Report) -> None:
    """Start trainings that cannot succeed; each must say why in a sentence, before it trains."""
    folder = runner.new_path("train")
    (folder / "data").mkdir(parents=True)
    losses, slowest, count = [], 0.0, 0
    for exit_code, arguments, variables in _list_impossible(folder):
        start = time.monotonic()
        outcome = _train(runner, folder, MAX_SECONDS_TO_REFUSE, *arguments, **variables)
        slowest, count = max(slowest, time.monotonic() - start), count + 1
        name = " ".join(map(str, arguments))
        losses += [f"{name}: {fault}" for fault in outcome.find_faults()]
        if outcome.exit_code != exit_code or not 1 <= outcome.stderr.count("\n") <= _MAX_LINES:
            losses.append(f"{name}: exit code {outcome.exit_code}, not {exit_code}: {outcome.stderr}")
    summary = f"each refused in a sentence with its exit code, {slowest:.1f} s at most"
    report.add("trainings with impossible data, places and settings", f"{count} commands", losses, summary)


def _train(
    runner: ScanRunner, folder: Path, seconds: float, *arguments: Argument, **variables: str
) -> Outcome:
    """Train an MLP in a folder, for so many seconds at most."""
    environment = runner.environment | variables
    process = runner.start("--arch", "mlp", *arguments, subcommand="train", cwd=folder, env=environment)
    if not ends_within(process, seconds):
        kill_group(process)
    return wait_for_end(process)


def _list_impossible(folder: Path) -> Iterator[tuple[int, list[Argument], dict[str, str]]]:
    """Yield exit codes, arguments and variables of the environment."""
    for path in _write_bad_data(folder / "data"):
        yield ExitCode.TRAINING, ["--data", path, "-o", "a.h5"], {}
    for output in (".", "", "/", "..", "data", "/dev/null"):
        yield ExitCode.OUTPUT, ["-o", output], {}
        yield ExitCode.OUTPUT, ["-o", output, "--overwrite"], {}
    yield ExitCode.OUTPUT, ["-o", folder / "data" / "pipe.npz", "--overwrite"], {}
    yield ExitCode.USAGE, ["--seed", str(2**32)], {}
    yield ExitCode.USAGE, ["--epochs", str(10**40)], {}
    yield ExitCode.OUTPUT, ["--plots", "/proc/x"], {}
    yield ExitCode.OUTPUT, [], {"XDG_CACHE_HOME": "/proc"}
    os.mkfifo(folder / "p.h5.checkpoint.npz")
    yield ExitCode.OUTPUT, ["-o", "p.h5", "--resume"], {}


def _write_bad_data(folder: Path) -> Iterator[Path]:
    """Yield the paths of files and folders that no training can use."""
    three_labels = _make_npy("(3,)", b"abc")
    encrypted = bytearray(_make_npz(three_labels))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    contents = {
        "shape of 10^12": _make_npz(_make_npy("(1000000000000, 28, 28)")),
        "shape of 10^20": _make_npz(_make_npy("(100000000000000000000,)")),
        "unbalanced header": _make_npz(_make_npy("((((")),
        "damaged LZMA": _make_npz(b"", zipfile.ZIP_LZMA)[:-70] + bytes(70),
        "no zip": b"PK\3\4" + bytes(100),
        "encrypted": bytes(encrypted),
    }
    for name, data in contents.items():
        (folder / f"{name}.npz").write_bytes(data)
        yield folder / f"{name}.npz"
    for name, shape in {
        "IDX overflow": (2**32 - 1, 2**32 - 1, 0),
        "IDX huge": (2**32 - 1,) * 3,
        "IDX 2 GB": (2_000_000_000 // 784, 28, 28),
    }.items():
        (folder / name).mkdir()
        for array, file in IDX_FILES.items():
            images = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in shape)
            (folder / name / file).write_bytes(images if array[0] == "x" else b"\0\0\x08\1\0\0\0\1\5")
        yield folder / name
    os.mkfifo(folder / "pipe.npz")
    yield folder / "pipe.npz"
    yield Path("/dev/zero")


def _make_npy(shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


def _make_npz(x_train: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in {
            "x_train": x_train,
            "y_train": _make_npy("(3,)", b"abc"),
            "x_test": b"",
            "y_test": b"",
        }.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def train_on_crafted_images(runner: ScanRunner, report: Report) -> None:
    """Train on a folder with bombs and odd files among the digits; those that cannot be read are named."""
    folder = runner.new_path("crafted")
    (folder / "data" / "7").mkdir(parents=True)
    for index in range(_MIN_DIGITS):
        digit_picture(28 + index).save(folder / "data" / "7" / f"digit-{index}.png")
    files = list(crafted_files())
    for file in files:
        (folder / "data" / "7" / file.name).write_bytes(file.data)
    arguments = ("--data", folder / "data", "--epochs", "1", "-o", "a.h5", "--no-plots")
    start = time.monotonic()
    outcome = _train(runner, folder, MAX_SECONDS_TO_TRAIN, *arguments)
    losses = outcome.find_faults()
    if outcome.exit_code != ExitCode.OK:
        losses.append(f"exit code {outcome.exit_code}: {outcome.stderr}")
    unreadable = [file.name for file in files if file.error is not None]
    losses += [f"{name} is not named" for name in unreadable if f"/7/{name}: " not in outcome.stderr]
    summary = f"{len(unreadable)} are named as left out, trained after {time.monotonic() - start:.0f} s"
    report.add("a training on crafted files among digits", f"{len(files)} files", losses, summary)


def train_among_traps(runner: ScanRunner, report: Report) -> None:
    """Train in a folder with modules and settings that would run code, and with a hostile home folder."""
    folder, home = runner.new_path("traps"), runner.new_path("home")
    folder.mkdir()
    (home / ".keras").mkdir(parents=True)
    trap = runner.new_path("trap-was-run")
    for module in _TRAP_MODULES:
        (folder / f"{module}.py").write_text(f"open({str(trap)!r}, 'w')")
    (folder / "latex").write_text(f"#!/bin/sh\ntouch '{trap}'\n")
    (folder / "latex").chmod(0o755)
    (folder / "matplotlibrc").write_text("text.usetex: True\n")
    (home / ".keras" / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "torch"}')
    outcome = _train(
        runner,
        folder,
        MAX_SECONDS_TO_TRAIN,
        *("--data", save_few_digits(folder / "few.npz"), "--epochs", "1", "-o", "a.h5"),
        HOME=str(home),
        PATH=f"{folder}:{os.environ['PATH']}",
        KERAS_BACKEND="jax",
    )
    losses = outcome.find_faults()
    if trap.exists() or outcome.exit_code != ExitCode.OK:
        losses.append(f"trap run: {trap.exists()}, exit code {outcome.exit_code}: {outcome.stderr}")
    names = "modules, `matplotlibrc`, `keras.json`, `KERAS_BACKEND`"
    report.add(f"a training among traps: {names}", f"{len(_TRAP_MODULES) + 3} traps", losses, "none was run")


def kill_training(runner: ScanRunner, report: Report, times: int, seed: int) -> None:
    """Kill a training at random moments; the processes that it has started must end as well."""
    random, folder = Random(seed), runner.new_path("killed")
    folder.mkdir()
    data = save_few_digits(folder / "few.npz")
    losses: list[str] = []
    child_count = 0
    for _ in range(times):
        process = runner.start(
            *("--arch", "mlp", "--data", data, "-o", "k.h5", "--overwrite", "--epochs", "50"),
            subcommand="train",
            cwd=folder,
        )
        ends_within(process, random.uniform(0.5, 15))
        pids = find_process_tree(process.pid)
        child_count += len(pids) - 1
        process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + MAX_SECONDS_TO_END
        while (left := [pid for pid in pids if _is_running(pid)]) and time.monotonic() < deadline:
            time.sleep(0.01)
        if left:
            losses.append(f"{len(left)} processes left")
            kill_group(process)
        losses += wait_for_end(process).find_faults()
    summary = f"none of {child_count} processes that it had started was left after {MAX_SECONDS_TO_END:.0f} s"
    report.add("kill -9 of a training", f"{times} kills", losses, summary)


def _is_running(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
