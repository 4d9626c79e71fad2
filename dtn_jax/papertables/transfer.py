"""The transfer after the searches: every entry tries the settings that the others found.

Searches of equal cost are not equally lucky: given one model under two names, one search may find
far better settings than the other, and the table then compares luck. So each entry also tries the
winners of all other entries, by halving at the validations where a search ends trials: all are
trained up to the first, the best third of them up to the third, and the best few to the end, with
the seeds of the entry's own finalists. One of the few is the setting that ended best of all in its
own entry's search, whatever its first validations: strong regularisation starts slowly and may end
best. A protocol may give further settings, found elsewhere: these are trained to the end, too. Of
all finalists the best mean wins. Each entry tries the settings of all others, at the same cost but
where two have the same.
"""

from __future__ import annotations

import json
import math
import pathlib
import statistics
from collections.abc import Callable, Mapping

import jax
import optuna
from ml_collections import ConfigDict

from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import higher_is_better
from dtn_jax.papertables import cells
from dtn_jax.papertables.protocol import Protocol, Settings
from dtn_jax.papertables.tuning import VALIDATIONS, timetable
from dtn_jax.parallel.memory import OutOfMemory
from dtn_jax.report import screen
from dtn_jax.search import trials
from dtn_jax.search.search import FIRST_SEED
from dtn_jax.shared_files import write_whole
from dtn_jax.workdir import Unusable

RUNGS = (1, 3)  # validations up to which settings are trained before the best third goes on
THIRD = 3
FEW = 3  # of the others' settings are trained to the end
RECORD = "transfer.json"  # in the folder of an entry's runs: what is known of them


def transfer(
    protocol: Protocol,
    name: str,
    tunings: Mapping[str, dict],
    config: ConfigDict,
    data: Prepared,
    run: pathlib.Path,
) -> dict:
    """An entry's tuning as it was, or with the settings of another entry.

    Args:
      protocol: says with how many seeds, and what else is given.
      name: of the entry.
      tunings: {entry: its tuning}, of all entries.
      config: what the entry's trials started from.
      data: its data set.
      run: the folder for its runs; what was interrupted resumes there.

    Raises:
      UserError: memory does not do, or the folder of a run is unusable.
    """
    own, times = tunings[name], timetable(config, data)
    objective = own["objective"]
    value = recorded(run, objective)
    sign = 1 if higher_is_better(objective) else -1
    left = [n for n, kept in tunings.items() if kept["settings"] != own["settings"]]
    ended_best = sorted(left, key=lambda n: sign * tunings[n]["value"], reverse=True)[:1]
    steps = 0
    for rung in RUNGS:
        screen.say((name, "bold"), f": {len(left)} settings of others, up to validation {rung}")
        given = {n: trials.with_settings(config, tunings[n]["settings"], 0) for n in left}
        values = {n: value(given[n], rung) for n in left}
        steps += len(left) * min(rung * times.eval_every, times.total_steps)
        failed = [n for n in left if values[n] is None]
        ended_best = [n for n in ended_best if n not in failed]
        ended_well = [n for n in left if n not in failed]
        ranked = sorted(ended_well, key=lambda n: sign * values[n], reverse=True)
        left = ranked[: math.ceil(len(left) / THIRD)]
    finalists = [one | {"from": name} for one in own["finalists"]]
    elsewhere = {n: {"settings": s, "at_edge": []} for n, s in protocol.given.items()}
    for other in [*[*dict.fromkeys([*ended_best, *ranked])][:FEW], *elsewhere]:
        seeds = range(FIRST_SEED, FIRST_SEED + protocol.finalist_seeds)
        tried = elsewhere.get(other) or tunings[other]
        settings, edges = tried["settings"], tried["at_edge"]
        screen.say((name, "bold"), f": settings of {other}, to the end")
        found = [value(trials.with_settings(config, settings, seed), 0) for seed in seeds]
        steps += len(found) * times.total_steps
        if None not in found:
            finalists.append(
                {"settings": settings, "values": found, "at_edge": edges, "from": other}
            )
    jax.clear_caches()
    finalists.sort(key=lambda one: sign * statistics.mean(one["values"]), reverse=True)
    best = finalists[0]
    return own | {
        "value": statistics.mean(best["values"]),
        "settings": best["settings"],
        "at_edge": best["at_edge"],
        "finalists": finalists,
        "transfer": {"from": best["from"], "examples": steps * config.data.batch_size}
        | ({"given": [*elsewhere]} if elsewhere else {}),
        **cells.origin(config, data),
    }


def runs(protocol: Protocol) -> int:
    """What the transfer costs an entry, in runs of full length, at most."""
    if not protocol.transfer:
        return 0
    others, cost = len(protocol.entries) - 1, 0.0
    left = others
    for rung in RUNGS:
        cost += left * rung / VALIDATIONS
        ranked, left = left, math.ceil(left / THIRD)
    to_the_end = min(others, ranked + 1, FEW) + len(protocol.given)
    return math.ceil(cost + to_the_end * protocol.finalist_seeds)


def recorded(folder: pathlib.Path, objective: str) -> Callable[[ConfigDict, int], float | None]:
    """A function of a config and a validation, 0 for a whole run: the objective there.

    None where training failed. What it found is kept in `folder`, so that nothing is done twice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RECORD
    known: dict[str, float | None] = json.loads(file.read_text()) if file.exists() else {}

    def value(config: ConfigDict, rung: int) -> float | None:
        place = f"transfer_{cells.digest(cells.changed(config))}_to_{rung or 'end'}"
        if place not in known:
            known[place] = trained_to(config, rung, objective, folder / place)
            write_whole(file, json.dumps(known))
        return known[place]

    return value


def trained_to(config: ConfigDict, rung: int, objective: str, folder: pathlib.Path) -> float | None:
    """The objective at a validation of a run that ends there; at its best state where it is 0."""
    reached: Settings = {}

    def report(number: int, found: Mapping[str, float | None]) -> None:
        if number == rung:
            reached["value"] = found[objective]
            raise optuna.TrialPruned

    try:
        return trials.run(config, folder, after_validation=report if rung else None)
    except optuna.TrialPruned:
        return reached["value"]
    except (Unusable, OutOfMemory):
        raise  # that is not due to the settings
    except UserError as error:  # such as a loss that is not finite
        screen.say(f"failed: {error}")
        return None
