"""Commands on a disk that is full, or that cannot be written, and then again on one that can."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Sequence

from experiments.benchmarks.faults.calls import Server, Work, timed
from experiments.benchmarks.faults.kills import last, log_of
from experiments.benchmarks.faults.tally import Tally

KILOBYTES = (8, 60, 200, 400, 800, 1600, 3200)  # of disks that get full at various moments
ROOM = "256m"
NEEDS = "a disk of its own needs root and mount(8)"


def on_full_disks(server: Server, work: Work, folder: pathlib.Path, sizes: int) -> Tally:
    """A command on `sizes` disks that get full, and on each of them again with room enough."""
    step = max(1, len(KILOBYTES) // sizes)
    disks = [f"size={size}k" for size in KILOBYTES[::step][:sizes]]
    return on_disks(server, work, folder, disks, Tally("full disk", work.name))


def on_shut_disk(server: Server, work: Work, folder: pathlib.Path) -> Tally:
    """A command on a disk that cannot be written, and again on one that can."""
    return on_disks(server, work, folder, [f"size={ROOM},ro"], Tally("read-only disk", work.name))


def on_disks(
    server: Server, work: Work, folder: pathlib.Path, disks: Sequence[str], tally: Tally
) -> Tally:
    if os.geteuid() or not shutil.which("mount"):
        tally.skipped = NEEDS
        return tally
    timed(server, work, folder / "uncut")
    expected = work.found(folder / "uncut")
    for number, options in enumerate(disks):
        starved(server, work, folder / f"disk{number}", options, expected, tally)
    return tally


def starved(
    server: Server, work: Work, place: pathlib.Path, options: str, expected, tally: Tally
) -> None:
    """The call there, then the same one with room."""
    place.mkdir()
    run = place / "folder"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    subprocess.run(command, check=True)
    log = log_of(place)
    try:
        code = server.run(work.module, work.arguments(run), log)
        told = log.read_text(errors="replace")
        subprocess.run(["mount", "-o", f"remount,rw,size={ROOM}", str(place)], check=True)
        again = server.run(work.module, work.arguments(run), log)
        if code == 0:  # there was room enough
            return
        same = not again and work.found(run) == expected
        if code != 2 or "Traceback" in told or not told.strip():
            tally.count("lost", f"{options}: exit {code}: {told[-400:]}")
        elif same:
            tally.count("named")
        else:
            tally.count("lost" if again else "wrong", f"{options}, then: {last(place)}")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
