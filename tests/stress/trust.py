"""Trials of trust: models that say of themselves that they are sure, and a cache that others have changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from digitscan.errors import ExitCode
from digitscan.imaging.version import PREPROCESS_VERSION
from digitscan.model.compiled_cache import store_compiled
from digitscan.model.h5_file import METADATA_ATTRIBUTE, METADATA_GROUP
from digitscan.model.metadata import ModelMetadata
from digitscan.model.model_files import DEFAULT_PATH, resolve_model
from tests.stress.harness import Outcome, Report, ScanRunner, ends_within, group_ends_soon, wait_for_end
from tests.support.command import run_shell
from tests.support.damaged_files import make_valid_file

FORGED_ARCHITECTURE = "digitscan-best"
_NO_USER = 54_321
"""A user id without an entry in the system's list of users."""


def scan_with_forged_models(runner: ScanRunner, report: Report, seed: int, times: int) -> None:
    """Scan with models and cache entries that make every row `ok`, and beside a planted default model."""
    pictures = runner.new_path("pictures")
    pictures.mkdir()
    random = Random(seed)
    for index in range(20):
        (pictures / f"{index}.png").write_bytes(make_valid_file("PNG", random))
    forged = _forge_model(runner.new_path("forged.h5"))
    programs = Path(runner.environment["XDG_CACHE_HOME"]) / "digitscan" / "programs"
    trials: list[tuple[str, Callable[[], list[str]]]] = [
        ("forged metadata, then pinned", lambda: _scan_with_forged_metadata(runner, pictures, forged)),
        ("umask 0", lambda: _find_public_files(programs.parent)),
        ("edited cache", lambda: _scan_with_edited_cache(runner, pictures, forged, programs)),
        ("planted models/digits.h5", lambda: _scan_beside_planted_model(runner, pictures)),
        ("SIGTERM while compiling", lambda: _end_while_compiling(runner, pictures, random, times)),
        ("garbage as compiled model", lambda: _scan_with_garbage(runner, pictures, programs)),
        ("no home folder", lambda: _scan_without_home(runner, pictures, forged)),
    ]
    losses = [f"{name}: {loss}" for name, run_trial in trials for loss in run_trial()]
    names = ", ".join(name for name, _ in trials)
    summary = "no `ok` row without a pin, cache files 0600, temporary folder empty"
    report.add(f"trust: {names}", f"{len(trials)} ways", losses, summary)


def _forge_model(path: Path) -> Path:
    """Write a copy of the bundled MLP that claims to be sure of everything."""
    import h5py

    shutil.copy(resolve_model("mlp").path, path)
    with h5py.File(path, "a") as file:
        attributes = file[METADATA_GROUP].attrs
        metadata = json.loads(attributes[METADATA_ATTRIBUTE])
        metadata |= {"ok_confidence": 0.0, "temperature": 0.01, "architecture": FORGED_ARCHITECTURE}
        attributes[METADATA_ATTRIBUTE] = json.dumps(metadata)
    return path


def _scan_with_forged_metadata(runner: ScanRunner, pictures: Path, forged: Path) -> list[str]:
    # The first scan compiles, and would create files that others can write.
    unpinned = runner.run(pictures, "--model", forged, "-o", "-", umask=0)
    digest = hashlib.sha256(forged.read_bytes()).hexdigest()
    pinned = runner.run(pictures, "--model", forged, "--model-sha256", digest, "-o", "-")
    losses = _find_ok_rows(unpinned)
    if FORGED_ARCHITECTURE in unpinned.stderr:
        losses.append(f"the forged architecture is named: {unpinned.stderr}")
    if b",ok," not in pinned.stdout or pinned.exit_code != ExitCode.OK:
        losses.append(f"pinned: exit code {pinned.exit_code}, no `ok` row: {pinned.stderr}")
    return losses


def _find_ok_rows(outcome: Outcome) -> list[str]:
    losses = outcome.find_faults()
    if outcome.exit_code != ExitCode.OK or b",ok," in outcome.stdout or b",review," not in outcome.stdout:
        losses.append(f"exit code {outcome.exit_code}, or `ok` rows: {outcome.stderr}")
    return losses


def _find_public_files(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    public = [path for path in files if stat.S_IMODE(path.stat().st_mode) != 0o600]
    return [f"others can read {public}"] if public else [] if files else ["nothing was cached"]


def _scan_with_edited_cache(runner: ScanRunner, pictures: Path, forged: Path, programs: Path) -> list[str]:
    entry = programs / f"{hashlib.sha256(forged.read_bytes()).hexdigest()}.json"
    values = json.loads(entry.read_text())
    values["facts"] |= {"ok_confidence": 0.0, "temperature": 0.001}
    entry.write_text(json.dumps(values))
    outcome = runner.run(pictures, "--model", forged, "-o", "-")
    is_used = "compiling" not in outcome.stderr
    return _find_ok_rows(outcome) + (["the edited entry was used"] if is_used else [])


def _scan_beside_planted_model(runner: ScanRunner, pictures: Path) -> list[str]:
    folder = runner.new_path("current")
    (folder / DEFAULT_PATH.parent).mkdir(parents=True)
    shutil.copy(resolve_model("mlp").path, folder / DEFAULT_PATH)
    outcome = runner.run(pictures, "-o", "-", cwd=folder)
    losses = outcome.find_faults()
    if "Read by cnn (" not in outcome.stderr or outcome.stderr.count(f"{DEFAULT_PATH} is not used") != 1:
        losses.append(f"used, or not said: {outcome.stderr}")
    return losses


def _end_while_compiling(runner: ScanRunner, pictures: Path, random: Random, times: int) -> list[str]:
    model, losses = runner.new_path("new.h5"), []
    existing = set(runner.temporary.rglob("*"))
    for index in range(times):
        # Another file each time, which is not in the cache.
        model.write_bytes(resolve_model("mlp").path.read_bytes() + bytes([index % 256, index // 256]))
        process = runner.start(pictures, "--model", model, "-o", "-")
        while set(runner.temporary.iterdir()) <= existing and process.poll() is None:
            time.sleep(0.005)
        ends_within(process, random.uniform(0, 3))
        process.send_signal(signal.SIGTERM)
        outcome = wait_for_end(process)
        losses += outcome.find_faults()
        # A signal that comes at the end may find that the model is compiled.
        if outcome.exit_code not in (128 + signal.SIGTERM, ExitCode.OK) or not group_ends_soon(process.pid):
            losses.append(f"exit code {outcome.exit_code}, or a process is left: {outcome.stderr}")
        if left := set(runner.temporary.rglob("*")) - existing:
            losses.append(f"left over: {left}")
    return losses


def _scan_with_garbage(runner: ScanRunner, pictures: Path, programs: Path) -> list[str]:
    model = runner.new_path("garbage.h5")
    model.write_bytes(resolve_model("mlp").path.read_bytes() + b"garbage")
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    garbage = b"\x1c\0\0\0TFL3" + Random(1).randbytes(5000)
    store_compiled(
        digest,
        ModelMetadata(architecture="mlp", classes=10, preprocess_version=PREPROCESS_VERSION),
        garbage,
        programs,
    )
    for path in programs.iterdir():
        path.chmod(0o600)
    outcome = runner.run(pictures, "--model", model, "-o", "-")
    is_refused = outcome.exit_code == ExitCode.MODEL and "install digitscan" not in outcome.stderr
    return outcome.find_faults() + ([] if is_refused else [f"{outcome.exit_code}: {outcome.stderr}"])


def _scan_without_home(runner: ScanRunner, pictures: Path, forged: Path) -> list[str]:
    """Scan as a user id that the system does not know, where root may; own models are used from memory."""
    if os.geteuid() != 0:
        return []
    losses = []
    # The capability lets this user read root's files.
    capability = "--inh-caps=+dac_override --ambient-caps=+dac_override"
    run_as = f"setpriv --reuid={_NO_USER} --clear-groups {capability}"
    without_home = "env -u HOME -u XDG_CACHE_HOME -u XDG_DATA_HOME"
    script = f'{run_as} {without_home} "$0" -P -m digitscan scan "$1" --model "$2" -o -'
    for model, exit_code, sentence in (
        ("cnn", ExitCode.OK, ""),
        (str(forged), ExitCode.OK, "no home folder to keep models in: set HOME"),
    ):
        done = run_shell(script, pictures, model, cwd=runner.scratch, env=runner.environment)
        outcome = Outcome(done.returncode, done.stdout, done.stderr.decode())
        losses += outcome.find_faults()
        if outcome.exit_code != exit_code or sentence not in outcome.stderr:
            losses.append(f"{model}: exit code {outcome.exit_code}: {outcome.stderr}")
    return losses
