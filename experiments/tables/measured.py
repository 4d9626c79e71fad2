"""The divergence that is measured on trained models, beside the true one.

Of a finished run's best state: permutation importance on validation rows, as feature_importance
has it, and the divergence 1 - Spearman of every two tasks. Where the law of the data is known, the
same is measured of the Bayes-optimal score on the same rows: that is the truth, in the same spaces.
What is measured is kept as a cell beside the run's own, and packed with it; the run's folder is
needed once.
"""

from __future__ import annotations

import itertools
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

import jax

from dtn_jax.analysis import rank
from dtn_jax.analysis.explain import Settings, importances, known_importance
from dtn_jax.analysis.finished import best_state, read_config
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.quality import keys
from dtn_jax.analysis.sample import read_sample
from dtn_jax.analysis.written import plain
from dtn_jax.config import base_config, override
from dtn_jax.errors import UserError
from dtn_jax.report import screen
from dtn_jax.run import build_run

from . import finished, kept
from .dials import dials
from .draws import own_spaces
from .protocol import Entry
from .protocol import Settings as Places
from .work import Work

HOW = Settings(methods=("permutation",), repeats=3, rows=20_000)
PAIRS = "loss", "stage"  # of which spaces: each task's loss; each task where the one before it was


def measure(run: pathlib.Path, places: Places) -> dict:
    """The divergences of a finished run's model, and of the Bayes-optimal score where it is known.

    Args:
      run: its folder.
      places: where the data lie.
    """
    config = read_config(run, base_config())
    for key, value in places.items():
        override(config, key, str(value))
    built = build_run(config)
    state, _ = best_state(built, run)
    sample = read_sample(built.data, HOW.split, HOW.rows, HOW.seed)
    measured, _ = keys(built.schema, sample.rows, built.config.evaluate.sample_weights)
    passes = Passes(built, state, sample.rows)

    def silent(what: str, count: int):
        return lambda: None

    found = importances(passes, measured, HOW, sample.group, silent)["permutation"]
    truth = known_importance(built, sample, measured, HOW, silent)
    upstream = {task.name: task.upstream for task in built.schema.tasks}
    jax.clear_caches()
    return {
        "model": divergences(found),
        "truth": divergences(truth) if truth else None,
        "upstream": {name: list(tasks) for name, tasks in upstream.items()},
    }


def divergences(found: Importance) -> dict:
    between = rank.divergence(found, HOW.seed)
    return plain({"keys": between.keys, "value": between.value, "itself": between.itself})


def entries_of(work: Work) -> list[Entry]:
    """Ours, at each level of the first dial where the protocol has one."""
    ours = work.protocol.ours
    if not work.protocol.dials:
        return [Entry(ours, ours)]
    group = work.protocol.dials[0].option
    every = dials(work.protocol, work.data.schema, work.size)
    return [e for e in every if e.tuned_as == ours and e.group == group]


def of_entry(work: Work, entry: Entry, seeds: Iterable[int]) -> tuple[list[dict], int]:
    """What is measured of an entry's finished runs, and how many runs cannot be."""
    found, missing = [], 0
    for seed in seeds:
        one = of_run(work, entry, seed) if work.tuning(entry.tuned_as) else None
        found, missing = ([*found, one], missing) if one else (found, missing + 1)
    return found, missing


def of_run(work: Work, entry: Entry, seed: int) -> dict | None:
    """What is kept of a run, or measured now; None where neither can be."""
    own, _ = work.cell_file(entry, seed)
    path = own.with_name(f"measured-{HOW.rows}-{HOW.repeats}-{own.name}")
    try:
        found = kept.read(path)
    except kept.Damaged as error:
        aside = kept.set_aside(path)
        screen.say(f"{error}: it is now {aside.name}, and what it held is measured anew")
        found = None
    run = finished.folder(work, entry, seed) if found is None else None
    if run:
        screen.say(f"{entry.name}, seed {seed}", style="bold")
        found = measure(run, work.places)
        kept.keep(path, found)
    return found


def pairs(found: Sequence[Mapping], kind: str) -> dict[str, dict]:
    """{two tasks: their divergence in truth, by seed as measured, and that noise alone makes}.

    Args:
      found: what was measured of each seed's run.
      kind: one of PAIRS.
    """
    names = found[0]["model"]["keys"]
    upstream = found[0]["upstream"]
    stages = [f"{task}@{(before or ['all'])[-1]}" for task, before in upstream.items()]
    chosen = own_spaces(names) if kind == "loss" else [key for key in stages if key in names]
    if kind == "stage" and chosen == own_spaces(names):
        return {}  # there is no other space
    made = {}
    for left, right in itertools.combinations(chosen, 2):
        i, j = names.index(left), names.index(right)
        noise = [(one["model"]["itself"][i] + one["model"]["itself"][j]) / 2 for one in found]
        truths = [one["truth"]["value"][i][j] for one in found if one["truth"]]
        made[f"{left}, {right}"] = {
            "truth": statistics.mean(truths) if truths else None,
            "measured": [one["model"]["value"][i][j] for one in found],
            "noise": statistics.mean(noise),
        }
    return made


def points(works: Mapping[str, Work], seeds: int) -> list[dict]:
    """A point for each two tasks, of each level of each protocol, in the spaces of PAIRS.

    Raises:
      UserError: no run is finished.
    """
    made, lacking = [], []
    for name, work in works.items():
        for entry in entries_of(work):
            found, missing = of_entry(work, entry, range(1, seeds + 1))
            lacking += [f"{name}, {entry.name} ({missing})"] if missing else []
            for kind in PAIRS if found else ():
                for tasks, own in pairs(found, kind).items():
                    made.append({"set": name, "at": entry.at, "kind": kind, "tasks": tasks, **own})
        kept.pack(work.folder)
    if not made:
        raise UserError(
            "no finished run to measure: make a table with the protocol's own model first, and "
            f"keep its folder of runs; asked for {', '.join(works)}"
        )
    if lacking:
        screen.say(finished.told(lacking))
    return made
