"""The notes below a table: how its numbers came about, and what its signs mean."""

from __future__ import annotations

from collections.abc import Mapping

from .content import comparisons
from .numbers import LEVEL
from .text import opponent, with_ours

SETTINGS = {
    "overall": "each row tuned by",
    "ablation": "all rows have those of {ours}, tuned by",
    "interactions": "each row has those of its routing in `overall` (PLE one level here, so that "
    "all have as many experts), tuned by",
    "matched": "each row has those of its architecture in `overall`, with the width of its MLPs at "
    "which its parameters without tables, and its FLOPs, are {Ours}'s; tuned by",
    "sensitivity": "all rows have those of {ours}, tuned by",
}


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def powerless(found: Mapping) -> list[str]:
    """Says so where there are too many comparisons for the draws to tell any."""
    tests = [c for r in found["rows"] for c in comparisons(r).values()]
    least = len(tests) * max((c["least"] for c in tests), default=0.0)
    if least < LEVEL:
        return []
    return [
        f"{len(tests)} comparisons: after Holm's correction the draws tell no p below {least:.2f}, "
        "so there are no signs."
    ]


def footnotes(found: Mapping) -> list[str]:
    """How the numbers came about, and what the signs mean."""
    tuned = f"{counted(found['trials'], 'trial')} on validation"
    if found["tuned_with"]:
        tuned += " (" + ", ".join(f"{k}={v}" for k, v in found["tuned_with"].items()) + ")"
    settings = f"{with_ours(SETTINGS[found['table']], found)} {tuned} of one space."
    tested = f" on {' and '.join(found['tested'])}" if found["tested"] else ""
    notes = [
        "AUC on the test split, mean ± standard deviation over "
        f"{counted(found['seeds'], 'seed')} that tuned nothing; bold: our runs' highest mean. "
        f"Settings: {settings} {found['note']}".rstrip(),
        f"↓ ↑: below or above {opponent(found)}{tested} at p < {LEVEL}, each task in the space of "
        "its loss (hierarchical bootstrap over seeds and test examples, Holm-corrected over the "
        "table; the one tuning that there was is taken as given); too few: below 100 of a class.",
        "Parameters without embedding tables, theirs beside them (of all views: stem and "
        "single_task have tables of each task's own); forward FLOPs of one example; train s: "
        "seconds of training, median over seeds, on a machine that may have had other work.",
    ]
    if cut := found.get("shortened"):
        notes.insert(
            0,
            f"Shortened, for a look: {'; '.join(cut)}. Full training finds other values: nothing "
            "trained in full or published stands beside these.",
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
        notes.append(f"Trials that could not be done: {', '.join(failed)}.")
    notes += [f"Published, {p['source']}: {p['note']}." for p in found["published"]]
    if found["missing"]:
        count = sum(found["missing"].values())
        notes.append(f"Not finished, runs still missing: {count} ({'; '.join(found['missing'])}).")
    if not found["rows"]:
        return [*notes, f"`{found['command']}`: no run is finished yet."]
    dates = found["cell_dates"]
    dates = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    jax = ", ".join(found["versions"].get("jax", ()))
    where = f"jax {jax}; {'; '.join(found['devices'])}"
    versions = f"; {len(found['code'])} versions of the code" if len(found["code"]) > 1 else ""
    notes.append(f"`{found['command']}`; runs of {dates}; {where}{versions}.")
    return notes
