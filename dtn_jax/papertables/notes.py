"""The notes below a table: where its numbers come from, and what its signs mean."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from dtn_jax.metrics.paired import FEWEST
from dtn_jax.papertables.grids import LEVEL, keys_with, opponent, with_ours
from dtn_jax.papertables.numbers import DIVERGENCE, MEAN, comparisons
from dtn_jax.papertables.protocol import AGAIN

SETTINGS = {
    "overall": "each row tuned by",
    "ablation": "all rows have those of {ours}, tuned by",
    "interactions": "each row has those of its routing in `overall` (PLE with one level, so that "
    "all have the same number of experts), tuned by",
    "matched": "each row has those of its architecture in `overall`, with MLPs as wide as it takes "
    "to have {Ours}'s parameters without tables, or {Ours}'s FLOPs; tuned by",
    "sensitivity": "all rows have those of {ours}, tuned by",
    "divergence": "each model has one setting at all levels, tuned by",
}
SIZES = (
    "Parameters are those outside embedding tables; `in tables` are those inside (stem and "
    "single_task have tables for each task). FLOPs: forward, of one example. Train s: seconds of "
    "training, median over seeds, on a machine that may have had other work."
)
SHORT = (
    "No sign says which difference is significant: after so short a training one model is above "
    "another because it learns faster, which full training may undo."
)
ONE_SEED = "With one seed no difference is tested, so there are no signs; --seeds=5 trains more."


def footnotes(made: Mapping) -> list[str]:
    """Where the numbers come from, and what the signs mean."""
    notes = []
    if cut := made.get("shortened"):
        notes.append(
            f"Shortened, to try it out: {'; '.join(cut)}. Full training gives other values, so "
            "nothing published or trained in full is shown beside these."
        )
    of_gaps = made["table"] == DIVERGENCE
    what, best = ("Gap × 1000, mean of tasks,", "smallest") if of_gaps else ("AUC", "highest")
    settings = "nothing is tuned, each entry has those of its protocol."
    if made["trials"]:
        settings = f"{with_ours(SETTINGS[made['table']], made)} {tuned(made)}."
    notes += [
        f"{what} on the test split, mean ± standard deviation over "
        f"{counted(made['seeds'], 'seed')} not used for tuning; bold: our runs' {best} mean. "
        f"Settings: {settings} {made['note']}".rstrip(),
        SHORT if cut else ONE_SEED if made["seeds"] < 2 else signs(made),
        SIZES,
    ]
    if regressions := keys_with(made["rows"], "rmse"):
        notes.append(
            f"Regressions have no AUC, and are not tested: {', '.join(regressions)}. Their errors "
            "are in tables of their own."
        )
    notes += powerless(made)
    edges: dict[str, list[str]] = {}
    for name, tuning in made["tuning"].items():
        for option in tuning["at_edge"]:
            edges.setdefault(option, []).append(name)
    notes += [f"At the edge of its range: `{o}` of {', '.join(own)}." for o, own in edges.items()]
    failed = [f"{t['failed']} of {name}" for name, t in made["tuning"].items() if "failed" in t]
    notes += [f"Trials that failed: {', '.join(failed)}."] if failed else []
    told: dict[str, list[str]] = {}  # how models from outside were trained
    for name, reference in made["references"].items():
        told.setdefault(reference.get("note", ""), []).append(name)
    notes += [f"{'; '.join(names)}: {note}." for note, names in told.items() if note]
    notes += [f"Published, {p['source']}: {p['note']}." for p in made["published"]]
    if made["missing"]:
        count = sum(made["missing"].values())
        notes.append(f"Not finished; runs still missing: {count} ({'; '.join(made['missing'])}).")
    if not made["rows"]:
        return [*notes, f"`{made['command']}`: no run is finished yet."]
    dates = " to ".join(dict.fromkeys((made["cell_dates"][0], made["cell_dates"][-1])))
    jax = ", ".join(made["versions"].get("jax", ()))
    devices = "; ".join(made["devices"])
    return [*notes, f"`{made['command']}`; runs of {dates}; jax {jax}; {devices}."]


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def signs(made: Mapping) -> str:
    """What the arrows mean, and what p covers."""
    tested = f" on {' and '.join(made['tested'])}" if made["tested"] else ""
    tuning = ", which was done once"
    if transfer_cost(made):
        tuning = ", nor that rows could take settings from elsewhere"
    if any(row["name"].endswith(AGAIN) for row in made["rows"]):
        tuning = f": rows `{AGAIN.strip(', ')}` show what it adds"
    family = "the table"
    if made["table"] == DIVERGENCE:
        family = "the rows of a level, the mean of tasks and the tasks each as one family"
    few_groups = any(row.get("few_groups") for row in made["rows"])
    groups = f", or fewer than {FEWEST} groups" if few_groups else ""
    return (
        f"↓ ↑: below or above {opponent(made)}{tested} at p < {LEVEL}, each task in the space of "
        "its loss (hierarchical bootstrap over seeds and test examples, Holm-corrected over "
        f"{family}; the p-values do not cover tuning{tuning}); too few: fewer than 100 "
        f"examples of a class{groups}."
    )


def powerless(made: Mapping) -> list[str]:
    """A note if there are too many comparisons for any to be significant."""
    families = collections.Counter(
        (row["group"], row["at"]) if made["table"] == DIVERGENCE else ()
        for row in made["rows"]
        for key in comparisons(row)
        if key != MEAN
    )
    together = max(families.values(), default=0)
    tests = (test for row in made["rows"] for test in comparisons(row).values())
    least = together * max((test["least"] for test in tests), default=0.0)
    if least < LEVEL:
        return []
    return [
        f"{together} comparisons: after Holm's correction, the draws cannot show a p below "
        f"{least:.2f}, so there are no signs."
    ]


def tuned(made: Mapping) -> str:
    """How settings were found, and what that cost by row."""
    best, seeds = made["finalists"]
    text = (
        "successive halving on validation, in one space, with as many examples as "
        f"{counted(made['trials'], 'run')} of full length train on"
    )
    if best > 1:
        text += f"; the best {best} settings were trained again with {counted(seeds, 'other seed')}"
    whose = {n: t["transfer"]["from"] for n, t in made["tuning"].items() if "transfer" in t}
    if whose:
        taken = [f"{name} from {other}" for name, other in whose.items() if other != name]
        given = next(
            t["transfer"].get("given", ()) for n, t in made["tuning"].items() if n in whose
        )
        more = "".join(f", and those given from {name}" for name in given)
        text += (
            f"; then each tried the best settings of all others as well{more}, for "
            f"{transfer_cost(made):.1f} runs more (settings taken from others: "
            f"{', '.join(taken) or 'none'})"
        )
    spent = [
        f"{name} {tuning['examples'] / tuning['run']:.2f} ({counted(tuning['trials'], 'trial')})"
        for name, tuning in made["tuning"].items()
        if "examples" in tuning
    ]
    return f"{text}. Spent, in runs: {', '.join(spent)}" if spent else text


def transfer_cost(made: Mapping) -> float:
    """What trying settings of others cost an entry, at most, in runs; 0 without a transfer."""
    kept = [tuning for tuning in made["tuning"].values() if "transfer" in tuning]
    return max((tuning["transfer"]["examples"] / tuning["run"] for tuning in kept), default=0.0)
