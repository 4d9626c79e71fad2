"""Files of runs, prepared sets and models: a bit flipped, a part cut off, or the file deleted.

Each damage is done to a copy, in this process, and what is read from it is compared with what is
read from the original.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import pathlib
import random
import shutil
from collections.abc import Callable

import polars as pl
from ml_collections import ConfigDict

import dtn_jax.data.sets
from dtn_jax import export
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.run import Run
from dtn_jax.train import train
from experiments.benchmarks.faults import calls
from experiments.benchmarks.faults.calls import digest, digest_of, without_speeds
from experiments.benchmarks.faults.tally import Tally

SCORED = 64  # raw rows that a model scores
WAYS = ("flip", "cut", "delete")
QUIET = ("lock", "learning_curves.png", "reliability.png", "learning_curves.html")


@dataclasses.dataclass(frozen=True)
class Kind:
    """A folder of files, and what is read from it.

    Attributes:
      name: in the table.
      original: the folder.
      holds: of a file below it, whether it is damaged.
      read: of a copy, what must stay as it is; answers that may differ are in a set.
    """

    name: str
    original: pathlib.Path
    holds: Callable[[pathlib.Path], bool]
    read: Callable[[pathlib.Path], object]


def files_by_name(kind: Kind) -> dict[str, list[pathlib.Path]]:
    """Its files to damage, relative to its folder; those of one sort are under one name."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(kind.original.rglob("*")):
        if path.is_file() and kind.holds(path):
            own = path.relative_to(kind.original)
            found.setdefault(name_of(own), []).append(own)
    return found


def damaged(kind: Kind, name: str, place: pathlib.Path, times: int, seed: int) -> Tally:
    """Damages the files of one name `times` times, each time in a new copy of the folder."""
    copy = place / "copy"
    shutil.copytree(kind.original, copy, symlinks=True)
    expected = read(kind, copy)
    paths = files_by_name(kind)[name]
    draw = random.Random(f"{kind.name} {name} {seed}")
    tally = Tally("flipped, cut, deleted", f"{kind.name}: {name}")
    for number in range(times):
        path, way = draw.choice(paths), WAYS[number % len(WAYS)]
        shutil.rmtree(copy)
        shutil.copytree(kind.original, copy, symlinks=True)
        told = f"{way} {path}"
        if not damage(copy / path, way, draw):
            continue
        try:
            found = read(kind, copy)
        except UserError as error:
            named = len(str(error)) > 20 and "\n  File" not in str(error)
            tally.count("named" if named else "lost", f"{told}: {error}")
        except Exception as error:
            tally.count("lost", f"{told}: {type(error).__name__}: {error}")
        else:
            tally.count("survived" if found in (expected, None) else "wrong", told)
    return tally


def name_of(path: pathlib.Path) -> str:
    """'checkpoints/last/*/state/d/*' for files of one sort, whose names are numbers or hashes."""
    parts = [p if any(c.isalpha() for c in p) and len(p) < 30 else "*" for p in path.parts]
    return "/".join(parts)


def damage(path: pathlib.Path, way: str, draw: random.Random) -> bool:
    """Whether there was anything to damage."""
    if way == "delete":
        path.unlink()
        return True
    held = bytearray(path.read_bytes())
    if not held:
        return False
    place = draw.randrange(len(held))
    if way == "flip":
        held[place] ^= 1 << draw.randrange(8)
        path.write_bytes(held)
    else:
        path.write_bytes(held[:place])
    return True


def read(kind: Kind, copy: pathlib.Path) -> object:
    """What is read from a copy; what that prints and logs is not shown."""
    said, before = io.StringIO(), logging.root.manager.disable
    logging.disable()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return kind.read(copy)
    finally:
        logging.disable(before)


def kinds(
    run: Run, config: ConfigDict, finished: pathlib.Path, data: pathlib.Path, model: pathlib.Path
) -> list[Kind]:
    """All of them: a finished run and its checkpoints, its prepared set, its exported model."""

    def of_finished(copy: pathlib.Path) -> object:
        results = train(ConfigDict(config.to_dict()), copy)
        return without_speeds(results), digest(copy / "predictions.parquet")

    states: dict[int, str] = {}

    def of_last(copy: pathlib.Path) -> object:
        with contextlib.closing(Checkpoints(copy, run.plan)) as checkpoints:
            found = checkpoints.restore(run.state_places)
        step, told = int(found[0].step), digest_of(found[0].replace(key=None))
        return "as saved" if states.setdefault(step, told) == told else f"another {step}"

    def of_best(copy: pathlib.Path) -> object:
        found = []
        with contextlib.closing(Checkpoints(copy, run.plan)) as checkpoints:
            for step in sorted(checkpoints.best.all_steps()):
                state = checkpoints.restore_best(step, run.unfilled_state())
                found.append((step, digest_of(state.replace(key=None))))
        return found or None

    def of_set(copy: pathlib.Path) -> object:
        return calls.of_set(catalog.load(config.data.dataset, "", str(copy)))

    raw = pathlib.Path(dtn_jax.data.sets.__file__).parent / "adult.parquet"
    rows = pl.read_parquet(raw).head(SCORED)

    def of_model(copy: pathlib.Path) -> object:
        return digest_of(export.load(copy).score(rows).to_dict(as_series=False))

    own = ("results.json", "config.json", "schema.json", "metrics.jsonl", "predictions.parquet")
    with_sums = (*own, "checksums.json")
    whole = finished / "checkpoints"
    for folder in (whole / "last").iterdir():  # what each of them holds
        with contextlib.closing(Checkpoints(finished, run.plan)) as checkpoints:
            found = checkpoints.read_before(int(folder.name) + 1, run.state_places)
            states[int(folder.name)] = digest_of(found[0].replace(key=None))
    return [
        Kind(
            "finished run",
            finished,
            lambda p: p.parent == finished and p.name in with_sums,
            of_finished,
        ),
        Kind("last checkpoints", finished, lambda p: whole / "last" in p.parents, of_last),
        Kind("best states", finished, lambda p: whole / "best" in p.parents, of_best),
        Kind("prepared set", data, lambda p: not p.name.endswith(".lock"), of_set),
        Kind("model", model, lambda p: True, of_model),
    ]
