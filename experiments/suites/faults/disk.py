"""Commands on a disk that is full, or that cannot be written, and then again on one that can."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

from .calls import Server, Work, timed
from .kills import last, log_of
from .tally import Tally

KILOBYTES = (8, 60, 200, 400, 800, 1600, 3200)  # of disks that get full at various moments
ROOM = "256m"
NEEDS = "a disk of its own needs root and mount(8)"


def on_bad_disks(
    server: Server, works: list[Work], folder: pathlib.Path, sizes: int
) -> Iterator[Tally]:
    """Each command on each disk, `sizes` of the full ones; then once more with room enough."""
    for work in works:
        own = folder / work.name.replace(", ", "-")
        own.mkdir(parents=True)
        full, shut = Tally("full disk", work.name), Tally("read-only disk", work.name)
        if os.geteuid() or not shutil.which("mount"):
            full.skipped = shut.skipped = NEEDS
            yield from (full, shut)
            continue
        timed(server, work, own / "uncut")
        expected = work.found(own / "uncut")
        step = max(1, len(KILOBYTES) // sizes)
        for size in KILOBYTES[::step][:sizes]:
            starved(server, work, own / f"disk{size}", f"size={size}k", expected, full)
        starved(server, work, own / "shut", f"size={ROOM},ro", expected, shut)
        yield from (full, shut)


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
