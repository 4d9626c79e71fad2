"""What protocols claim of the mean of the tasks, tested on each set and then over all of them.

A claim is tested by the bootstrap that compares rows (numbers.py). Its result stands in the table
of its set: {"family", "row", "than", "worse": the margin, None where a difference is claimed,
"difference", "low", "high", "p"}. Where runs are missing there are the first four alone, and where
the searches allow no margin up to WIDEST there is no `p`. A family's claims on all sets share
Holm's correction, which needs no more than these; one whose runs are missing counts in it too.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from dtn_jax.comparison.differences import LEVEL, Sampled
from dtn_jax.metrics.significance import compare, holm
from dtn_jax.papertables import references
from dtn_jax.papertables.grids import p_value
from dtn_jax.papertables.numbers import MEAN, listed, sampled
from dtn_jax.papertables.protocol import LIGHTGBM, OF_SEARCHES, Claim, Entry, Protocol
from dtn_jax.papertables.runs import Runs
from dtn_jax.report.grid import Grid

# A margin is as many standard errors of the difference as a one-sided test at LEVEL needs for a
# power of 0.8: the normal distribution's quantiles at 0.95 and 0.8, together.
STANDARD_ERRORS = 1.645 + 0.842
WIDEST = 0.003
HEADER = ("set", "row", "compared with", "× 1000", "95 % interval", "margin", "p", "verdict")


def tested(runs: Runs, table: Mapping, entries: Sequence[Entry]) -> list[dict]:
    """The protocol's claims about a table's rows, each with its result where both sides have all
    of their runs."""
    keys = table["tested_keys"]
    rows = {row["name"]: row for row in table["rows"] if row["name"] not in table["missing"]}
    sides = {
        entry.name: sampled(table, rows[entry.name], runs.finished(entry), MEAN, keys)
        for entry in entries
        if entry.name in rows
    }
    if trees := references.searched(runs.protocol, runs.data, runs.folder, keys):
        sides[LIGHTGBM] = trees
    return [result(claim, sides, table) for claim in runs.protocol.claims]


def result(claim: Claim, sides: Mapping[str, Sampled], table: Mapping) -> dict:
    """A claim with its result; `sides` are the rows that have all of their runs."""
    facts = {"family": claim.family, "row": claim.row, "than": claim.than, "worse": claim.worse}
    if not {claim.row, claim.than} <= {*sides}:
        return facts
    row, than = sides[claim.row], sides[claim.than]
    worse = margin(claim, table) if claim.worse == OF_SEARCHES else claim.worse
    outcome = compare(row.draws, than.draws, row.values, than.values, worse=worse)._asdict()
    is_tested = claim.worse != OF_SEARCHES or worse <= WIDEST
    shown = ("difference", "low", "high", "p") if is_tested else ("difference", "low", "high")
    return facts | {"worse": worse} | {name: outcome[name] for name in shown}


def margin(claim: Claim, table: Mapping) -> float:
    """The margin that the spread of both entries' searches on validation allows: test has no part
    in it. What seeds and test rows add to the spread is not in it."""
    variance = 0.0
    for name in (claim.row, claim.than):
        searches = [of for n, of in table["tuning"].items() if Protocol.entry_of(n) == name]
        values = [statistics.mean(of["finalists"][0]) for of in searches]
        variance += statistics.variance(values) / len(values)
    return STANDARD_ERRORS * math.sqrt(variance)


def verdicts(claims: Mapping[str, Sequence[Mapping]]) -> list[Grid]:
    """A table for each family, over all sets: {set: its claims, with their results if known}."""
    every = ((name, claim) for name, of in claims.items() for claim in of)
    families = listed((one[1]["family"], one) for one in every)
    return [of_family(letter, families[letter]) for letter in sorted(families)]


def of_family(letter: str, of: Sequence[tuple[str, Mapping]]) -> Grid:
    """A family's claims, with Holm's correction over all but those that cannot be tested."""
    counted = {i: c for i, (_, c) in enumerate(of) if "p" in c or "difference" not in c}
    adjusted = holm({i: claim.get("p", 1.0) for i, claim in counted.items()})
    known = [(name, c, adjusted.get(i)) for i, (name, c) in enumerate(of) if "difference" in c]
    lost = [name for name, claim in of if "difference" not in claim]
    sets = ", ".join(dict.fromkeys(lost))
    note = f"Runs are missing on {sets}. Their claims, {len(lost)}, count here too." if lost else ""
    title = f"({letter}) {'not worse' if of[0][1]['worse'] is not None else 'better'}"
    return Grid(HEADER, [line(*one) for one in known], title, left=3, note=note, marked=True)


def line(name: str, claim: Mapping, p: float | None) -> tuple[str, ...]:
    """A claim's cells."""
    worse = claim["worse"]
    difference, low, high = (f"{1000 * claim[n]:+.2f}" for n in ("difference", "low", "high"))
    margin = f"{1000 * worse:.2f}" if worse is not None else ""
    numbers = (c.replace("-", "−") for c in (difference, f"[{low}, {high}]", margin))
    cells = (name, f"`{claim['row']}`", f"`{claim['than']}`", *numbers)
    if p is None:
        return (*cells, "", "the margin is too wide to test")
    holds = "higher" if claim["difference"] > 0 else "lower"
    holds = holds if worse is None else "not worse"
    return (*cells, p_value(p), holds if p < LEVEL else "not shown")
