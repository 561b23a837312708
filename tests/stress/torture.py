"""Try to break scans: `python -m tests.stress.torture [--files 5000] [--kills 50] [--seed 1]`.

Damaged files, interrupted scans, full disks, closed pipes, edited outputs, changing folders, hostile models
and trainings, all made from the seed. Prints a Markdown table of what was tried and what was lost, and exits
with 1 if anything was. With the defaults it takes 20 to 30 minutes on two cores.

Linux only. As root it mounts a small disk to fill, and files that block; otherwise it limits the size of
files instead, and leaves out those that block.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from digitscan.system.resources import count_usable_cores
from tests.stress.edits import change_output, edit_after_kill
from tests.stress.folders import (
    scan_deep_tree,
    scan_files_that_cannot_be_opened,
    scan_with_few_descriptors,
    swap_folders_for_links,
    write_long_rows_to_slow_pipe,
)
from tests.stress.harness import Report, ScanRunner
from tests.stress.inputs import (
    scan_crafted_files,
    scan_damaged_files,
    scan_damaged_jpegs,
    scan_sparse_files,
    scan_with_bad_models,
)
from tests.stress.interruptions import (
    kill_and_resume,
    kill_during_rewrite,
    kill_workers,
    make_hostile_folder,
    signal_and_resume,
)
from tests.stress.outputs import fill_disk, redirect_streams, start_second_scan
from tests.stress.places import refuse_occupied_places, scan_formulas
from tests.stress.slow_files import scan_slow_files
from tests.stress.terminals import show_names_on_terminal
from tests.stress.training import kill_training, refuse_to_train, train_among_traps, train_on_crafted_images
from tests.stress.trust import scan_with_forged_models


def main() -> int:
    """Run all trials; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--files", type=int, default=5000, help="damaged files, and files of an interrupted scan"
    )
    parser.add_argument(
        "--kills", type=int, default=50, help="how often a scan is killed; other trials follow it"
    )
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    report = Report()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="digitscan-torture-") as scratch:
        run_trials(ScanRunner(Path(scratch)), report, arguments.files, arguments.kills, arguments.seed)
    minutes = (time.monotonic() - start) / 60
    print(f"\nSeed {arguments.seed}, {count_usable_cores()} cores, {minutes:.0f} minutes.")
    for loss in report.losses:
        print(f"LOST: {loss}", file=sys.stderr)
    return 1 if report.losses else 0


def run_trials(runner: ScanRunner, report: Report, file_count: int, kills: int, seed: int) -> None:
    """Run all trials, one after the other."""
    report.print_header()
    scan_damaged_files(runner, report, file_count, seed)
    scan_damaged_jpegs(runner, report, max(1, file_count // 5), seed)
    scan_crafted_files(runner, report)
    scan_sparse_files(runner, report)
    folder = make_hostile_folder(runner, file_count, seed)
    kill_and_resume(runner, report, folder, kills, seed)
    for option in ("--retry-errors", "--update"):
        kill_during_rewrite(runner, report, option, max(1, kills // 2), seed)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal_and_resume(runner, report, folder, signum, max(1, kills // 2), seed)
    kill_workers(runner, report, folder, kills, seed)
    fill_disk(runner, report, folder)
    start_second_scan(runner, report, folder, max(1, kills // 5))
    redirect_streams(runner, report, folder)
    show_names_on_terminal(runner, report)
    refuse_occupied_places(runner, report)
    scan_formulas(runner, report)
    write_long_rows_to_slow_pipe(runner, report)
    change_output(runner, report, folder, max(1, kills // 2), seed)
    edit_after_kill(runner, report, folder, max(1, kills // 2), seed)
    scan_with_few_descriptors(runner, report, folder)
    scan_files_that_cannot_be_opened(runner, report)
    scan_slow_files(runner, report)
    swap_folders_for_links(runner, report, max(1, kills // 5))
    scan_deep_tree(runner, report)
    scan_with_bad_models(runner, report, seed, kills)
    scan_with_forged_models(runner, report, seed, max(1, kills // 5))
    refuse_to_train(runner, report)
    train_on_crafted_images(runner, report)
    train_among_traps(runner, report)
    kill_training(runner, report, max(1, kills // 10), seed)


if __name__ == "__main__":
    sys.exit(main())
