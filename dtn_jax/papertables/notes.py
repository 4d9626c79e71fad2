"""The notes below a table: where its numbers come from, and what its signs mean."""

from __future__ import annotations

import collections
from collections.abc import Mapping

from dtn_jax.metrics.paired import FEWEST
from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.differences import opponent
from dtn_jax.papertables.gaps import MEAN
from dtn_jax.papertables.numbers import LEVEL
from dtn_jax.papertables.printed import has, keys_of, with_ours
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


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def powerless(found: Mapping) -> list[str]:
    """A note if there are too many comparisons for any to be significant."""
    families = collections.Counter(
        (row["group"], row["at"]) if found["table"] == "divergence" else ()
        for row in found["rows"]
        for key in comparisons(row)
        if key != MEAN
    )
    tests = [c for r in found["rows"] for c in comparisons(r).values()]
    together = max(families.values(), default=0)
    least = together * max((c["least"] for c in tests), default=0.0)
    if least < LEVEL:
        return []
    return [
        f"{together} comparisons: after Holm's correction, the draws cannot show a p below "
        f"{least:.2f}, so there are no signs."
    ]


def signs(found: Mapping) -> str:
    """What the arrows mean; a shortened table has none, nor has one of a single seed."""
    if "shortened" in found:
        return (
            "No sign says which difference is significant: after so short a training one model is "
            "above another because it learns faster, which full training may undo."
        )
    if found["seeds"] < 2:
        return (
            "With one seed no difference is tested, so there are no signs; --seeds=5 trains more."
        )
    tested = f" on {' and '.join(found['tested'])}" if found["tested"] else ""
    tuning = ", which was done once"
    if transfer_cost(found):
        tuning = ", nor that rows could take settings from elsewhere"
    if any(row["name"].endswith(AGAIN) for row in found["rows"]):
        tuning = f": rows `{AGAIN.strip(', ')}` show what it adds"
    few_groups = any(row.get("few_groups") for row in found["rows"])
    groups = f", or fewer than {FEWEST} groups" if few_groups else ""
    return (
        f"↓ ↑: below or above {opponent(found)}{tested} at p < {LEVEL}, each task in the space of "
        "its loss (hierarchical bootstrap over seeds and test examples, Holm-corrected over "
        f"{family(found)}; the p-values do not cover tuning{tuning}); too few: fewer than 100 "
        f"examples of a class{groups}."
    )


def tuned(found: Mapping) -> str:
    """How settings were found, and what that cost by row."""
    if "finalists" not in found:  # a table that was made when trials were shorter than runs
        shorter = ", ".join(f"{key}={value}" for key, value in found["tuned_with"].items())
        trials = f"{counted(found['trials'], 'trial')} on validation"
        return f"{trials} ({shorter}) of one space" if shorter else f"{trials} of one space"
    best, seeds = found["finalists"]
    text = (
        f"successive halving on validation, in one space, with as many examples as "
        f"{counted(found['trials'], 'run')} of full length train on"
    )
    if best > 1:
        text += f"; the best {best} settings were trained again with {counted(seeds, 'other seed')}"
    spent = [
        f"{name} {kept['examples'] / kept['run']:.2f} ({counted(kept['trials'], 'trial')})"
        for name, kept in found["tuning"].items()
        if "examples" in kept
    ]
    text += transferred(found)
    return f"{text}. Spent, in runs: {', '.join(spent)}" if spent else text


def transferred(found: Mapping) -> str:
    """That entries tried each other's settings, what it cost, and who has another's now."""
    kept = {n: t for n, t in found["tuning"].items() if "transfer" in t}
    if not kept:
        return ""
    whose = {name: one["transfer"]["from"] for name, one in kept.items()}
    given = next(iter(kept.values()))["transfer"].get("given", ())
    more = "".join(f", and those given from {name}" for name in given)
    taken = [f"{name} from {other}" for name, other in whose.items() if other != name]
    return (
        f"; then each tried the best settings of all others as well{more}, for "
        f"{transfer_cost(found):.1f} runs more (settings taken from others: "
        f"{', '.join(taken) or 'none'})"
    )


def transfer_cost(found: Mapping) -> float:
    """What trying settings of others cost an entry, at most, in runs; 0 without a transfer."""
    kept = [t for t in found["tuning"].values() if "transfer" in t]
    return max((t["transfer"]["examples"] / t["run"] for t in kept), default=0.0)


def family(found: Mapping) -> str:
    """Over what p-values are corrected."""
    if found["table"] != "divergence":
        return "the table"
    return "the rows of a level, the mean of tasks and the tasks each as one family"


def outside(found: Mapping) -> list[str]:
    """How models from outside were trained, those of one note together."""
    told: dict[str, list[str]] = {}
    for name, reference in found["references"].items():
        if "note" in reference:
            told.setdefault(reference["note"], []).append(name)
    return [f"{'; '.join(names)}: {note}." for note, names in told.items()]


def footnotes(found: Mapping) -> list[str]:
    """Where the numbers come from, and what the signs mean."""
    settings = f"{with_ours(SETTINGS[found['table']], found)} {tuned(found)}."
    if not found["trials"]:
        settings = "nothing is tuned, each entry has those of its protocol."
    of_gaps = found["table"] == "divergence"
    what, best = ("Gap × 1000, mean of tasks,", "smallest") if of_gaps else ("AUC", "highest")
    notes = [
        *found.get("sentences", ()),
        f"{what} on the test split, mean ± standard deviation over "
        f"{counted(found['seeds'], 'seed')} not used for tuning; bold: our runs' {best} mean. "
        f"Settings: {settings} {found['note']}".rstrip(),
        signs(found),
        "Parameters are those outside embedding tables; `in tables` are those inside (stem and "
        "single_task have tables for each task). FLOPs: forward, of one example. Train s: seconds "
        "of training, median over seeds, on a machine that may have had other work.",
    ]
    if cut := found.get("shortened"):
        notes.insert(
            0,
            f"Shortened, to try it out: {'; '.join(cut)}. Full training gives other values, so "
            "nothing published or trained in full is shown beside these.",
        )
    if regressions := [k for k in keys_of(found) if has(found["rows"], k, "rmse")]:
        notes.append(
            f"Regressions have no AUC, and are not tested: {', '.join(regressions)}. Their errors "
            "are in tables of their own."
        )
    notes += powerless(found)
    edges: dict[str, list[str]] = {}
    for name, kept in found["tuning"].items():
        for option in kept["at_edge"]:
            edges.setdefault(option, []).append(name)
    notes += [
        f"At the edge of its range: `{o}` of {', '.join(names)}." for o, names in edges.items()
    ]
    failed = [f"{kept['failed']} of {n}" for n, kept in found["tuning"].items() if "failed" in kept]
    if failed:
        notes.append(f"Trials that failed: {', '.join(failed)}.")
    notes += outside(found)
    notes += [f"Published, {p['source']}: {p['note']}." for p in found["published"]]
    if found["missing"]:
        count = sum(found["missing"].values())
        notes.append(f"Not finished; runs still missing: {count} ({'; '.join(found['missing'])}).")
    if not found["rows"]:
        return [*notes, f"`{found['command']}`: no run is finished yet."]
    dates = found["cell_dates"]
    dates = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    jax = ", ".join(found["versions"].get("jax", ()))
    where = f"jax {jax}; {'; '.join(found['devices'])}"
    versions = f"; {len(found['code'])} versions of the code" if len(found["code"]) > 1 else ""
    notes.append(f"`{found['command']}`; runs of {dates}; {where}{versions}.")
    return notes
