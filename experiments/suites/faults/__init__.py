"""Faults that are injected, and how each ends: survived, named, lost, or wrong in silence.

Commands are killed at random moments, starved of disk, and called twice at once; files are damaged.
What comes out must be an undisturbed call's, bit by bit but for speeds, or an error that names the
fault and its remedy. docs/faults.md has the table of the last whole run.
"""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import time

from dtn_jax.report import screen
from dtn_jax.run import build_run
from experiments import command

from ..measured import Goal, Measured, Options
from . import damage, disk, kills, together
from .calls import Server, servers
from .page import PAGE, page
from .works import MODULES, SMALL, Work, works, write_rows

SEED = 0
KILLS, QUICK_KILLS = 50, 2  # of each command
DISKS, QUICK_DISKS = 7, 1
TOGETHER, QUICK_TOGETHER = 5, 1
DAMAGES, QUICK_DAMAGES = 300, 1  # of each kind of file
SLOW = {"finished run": 60, "model": 60}  # kinds whose reading takes a second or more, of each file
QUICK_WORKS = ("train, device", "prepare")
NOTES = [
    "survived: the numbers of an undisturbed call. named: an error that says what is wrong, and "
    "what to do. lost: a traceback, a hang, or work that cannot be gone on with. wrong: other "
    "numbers without a word.",
    "Kills come at moments that are uniform over the seconds of an uncut call; those that came "
    "after its end are not counted. Signals take turns.",
]


def measure(options: Options) -> Measured:
    quick, begun = options.quick, time.monotonic()
    with contextlib.ExitStack() as opened:
        folder = pathlib.Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="faults")))
        cache = folder / "cache"
        two = opened.enter_context(servers(2, MODULES, cache))
        data, finished, model = folder / "data", folder / "finished", folder / "model"
        ready(two[0], data, finished, model)
        write_rows(model)
        chosen = works(data, finished, model)
        if quick:
            chosen = [work for work in chosen if work.name in QUICK_WORKS]
        tallies = []
        for tally in injected(two, chosen, folder, data, finished, model, quick):
            screen.say(f"{time.monotonic() - begun:6.0f} s {dict(tally.row())}")
            tallies.append(tally)
    lost, wrong = (sum(getattr(t, kind) for t in tallies) for kind in ("lost", "wrong"))
    goals = [
        Goal("faults injected", 1, sum(t.injected for t in tallies)),
        Goal("lost", 0, lost, False),
        Goal("wrong in silence", 0, wrong, False),
    ]
    notes = NOTES + [example for tally in tallies for example in tally.examples]
    found = Measured("faults, by how they ended", [t.row() for t in tallies], goals, notes)
    if not quick and not options.out.startswith(tempfile.gettempdir()):
        PAGE.write_text(page(found))
    return found


def ready(server: Server, data: pathlib.Path, finished: pathlib.Path, model: pathlib.Path) -> None:
    """Prepares adult, finishes a run on it, and exports that."""
    calls = (
        ("experiments.prepare", ["--dataset=adult", f"--data_dir={data}"]),
        ("experiments.train", [*SMALL, f"--config.data.data_dir={data}", f"--workdir={finished}"]),
        ("experiments.export", [f"--workdir={finished}", f"--out={model}"]),
    )
    log = data.with_name("ready.log")
    for module, arguments in calls:
        if server.run(module, arguments, log):
            raise RuntimeError(f"{module} failed:\n{log.read_text()[-2000:]}")


def injected(
    two: list[Server],
    chosen: list[Work],
    folder: pathlib.Path,
    data: pathlib.Path,
    finished: pathlib.Path,
    model: pathlib.Path,
    quick: bool,
):
    """The tallies of all faults, one after another."""
    alone = [work for work in chosen if work.name.endswith("device") or work.name == "prepare"]
    yield from kills.all_kills(
        two[0], chosen, folder / "kills", QUICK_KILLS if quick else KILLS, SEED
    )
    pairs = [w for w in chosen if w.name in ("train, device", "prepare")]
    times = QUICK_TOGETHER if quick else TOGETHER
    yield from together.two_at_once(two, pairs, folder / "together", times)
    sizes = QUICK_DISKS if quick else DISKS
    starved = alone[:1] if quick else chosen
    yield from disk.on_bad_disks(two[0], starved, folder / "disks", sizes)
    config = command.read_config(SMALL[0].removeprefix("--config="), SMALL[1:])
    config.data.data_dir = str(data)
    found = damage.kinds(build_run(config), config, finished, data, model)
    each = {"": QUICK_DAMAGES} if quick else {"": DAMAGES, **SLOW}
    yield from damage.all_damage(found, folder / "damage", each, SEED)


__all__ = ["measure"]
