"""What was found, as Markdown: importance.md in a run's folder, and a section of a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dtn_jax.analysis.figures import about_noise, unit
from dtn_jax.analysis.importance import METHODS
from dtn_jax.analysis.tables import (
    bare,
    cell,
    cosine,
    decimals,
    divergences,
    gate_rows,
    known_pair_rows,
    ranked,
    strongest,
    titles_of,
)
from dtn_jax.report.markdown import prose, table

SHOWN = 12  # fields of a table; the heat map and the CSV have more
FEWER = 8  # of a method's beside permutation
KNOWN = (
    " The known answer, that of the Bayes-optimal score, is by permutation; fields that it does "
    "not use share a rank there, and in a model have ranks by chance."
)
ANOTHER = (
    " By gradient the divergence is another quantity, of how far fields move a score, not of what "
    "they add to its {}: its interval says nothing of the divergence by permutation."
)
EFFECTIVE = (
    " Effective weights have in them what scales experts after the gate, TSN's probability or "
    "AdaTT's native weights, and need not sum to 100 %."
)
PICTURES = {  # in the order that they stand in, with what they show
    **{f"importance_{m}": f"Importance by {m}, fields × tasks" for m in METHODS},
    "divergence": "Divergence between tasks",
    "gates": "Mean gate weights",
    "conflict": "Cosine of gradients at the shared embeddings",
    "over_training": "Gate weights and gradient conflict over training",
    "pairs": "Field pairs in GDCN's first layer",
}


def section(found: Mapping, pictures: Mapping[str, str]) -> str:
    """The found as Markdown without a heading of its own.

    Args:
      found: what importance.json holds.
      pictures: {name in PICTURES: where it lies}; those that are absent are left out.
    """
    parts = [*importances(found), *divergence(found), *truth(found), *gates(found)]
    parts += [*conflict(found), *pairs(found)]
    return joined(parts, pictures)


def joined(parts: Sequence[str], pictures: Mapping[str, str]) -> str:
    """Parts of prose and tables, and the pictures below them, as one text."""
    shown = [f"![{PICTURES[name]}]({pictures[name]})" for name in PICTURES if name in pictures]
    parts = [part if part.startswith("|") else in_lines(part) for part in parts]
    return "\n\n".join([*parts, *shown]) + "\n"


def in_lines(text: str) -> str:
    """Prose of several lines, such as those of a list."""
    return "\n".join(map(prose, text.split("\n")))


def importances(found: Mapping) -> Iterator[str]:
    """A table for each method that was asked for: permutation first, the others in brief."""
    methods = found["methods"]
    bases = next(iter(methods.values()))["base"]  # those of the unchanged rows: the same for all
    titles = titles_of(next(iter(methods.values())))
    words = [
        f"{title} of the {found['rows']:,} {found['split']} rows: "
        + ", ".join(f"{key} {base:.4f}" for key, base in bases.items() if titles[key] == title)
        for title in dict.fromkeys(titles.values())
    ]
    yield "; ".join(words) + "."
    for method in (m for m in METHODS if m in methods):
        yield from importance(method, methods[method])
    if found["undefined"]:
        yield f"Not defined on these rows (one class): {', '.join(found['undefined'])}."


def importance(method: str, facts: Mapping) -> Iterator[str]:
    by_key = facts["importance"]
    fields = ranked(by_key)
    full = method == "permutation"
    most, what = (SHOWN, "± half its 95 % interval") if full else (FEWER, about_noise(method))
    count, numbers = min(most, len(fields)), unit(method, titles_of(facts).values())
    yield f"By {method}, the {count} most important of {len(fields)} fields: {numbers}; {what}."

    def text(one: Mapping) -> str:
        return cell(one) if full else bare(one, method)

    rows = [
        [f"`{field}`", *(text(by_field[field]) for by_field in by_key.values())]
        for field in fields[:most]
    ]
    yield table(["field", *by_key], rows, cell=prose)


def divergence(found: Mapping) -> Iterator[str]:
    rows: dict[str, list[str]] = {}
    for facts in found["methods"].values():
        for left, right, value, ends, noise in divergences(facts["divergence"]):
            cells = rows.setdefault(f"{left}, {right}", [f"{left}, {right}"])
            cells += [f"{value} ({ends})", noise]
    methods = [f"by {method}" for method in found["methods"]]
    if found["truth"]:
        methods.append("of the Bayes-optimal score")
        for left, right, value, ends, noise in divergences(found["truth"]["divergence"]):
            rows[f"{left}, {right}"] += [f"{value} ({ends})", noise]
    if rows:
        yield (
            "Divergence, 1 − Spearman's correlation of two tasks' importances (0: one order of the "
            "fields, 1: unrelated, 2: reversed), with its 95 % interval. Noise: what each task's "
            "own importances would diverge by between two such samples. It is in the ranks of "
            "fields that hardly matter, and pushes divergences up: intervals reach further up than "
            "down." + KNOWN * bool(found["truth"]) + another(found["methods"])
        )
        header = ["tasks", *(h for method in methods for h in (method, "noise"))]
        yield table(header, list(rows.values()), cell=prose)


def another(methods: Mapping[str, Mapping]) -> str:
    """That divergence by gradient is another quantity, where it is there."""
    titles = dict.fromkeys(titles_of(methods["gradient"]).values()) if "gradient" in methods else ()
    return ANOTHER.format(" and ".join(titles)) if titles else ""


def truth(found: Mapping) -> Iterator[str]:
    if not found["truth"]:
        return
    agreement = found["truth"]["agreement"]
    keys = list(next(iter(agreement.values())))
    yield (
        "Rank correlation with the permutation importance of the Bayes-optimal score on the same "
        "rows, over the fields above its noise (their number in brackets). In a narrower space "
        "than that of its loss a task is ranked by the quotient of two of the model's "
        "probabilities."
    )
    rows = []
    for method, by_key in agreement.items():
        ones = [by_key[key] for key in keys]
        cells = (f"{decimals(o['rank_correlation'])} ({o['fields']})" for o in ones)
        rows.append([method, *cells])
    yield table(["method", *keys], rows, cell=prose)


def gates(found: Mapping) -> Iterator[str]:
    if not found["gates"]:
        yield "This architecture has no gates."
        return
    yield about_gates(found["gates"])
    yield table(*gate_rows(found["gates"]), cell=prose)
    if found["gates"]["reading"]:
        yield found["gates"]["reading"]
    warnings = found["gates"]["collapse"]
    yield (
        "\n".join(f"- Collapse: {warning}." for warning in warnings)
        if warnings
        else "No expert has collapsed: each is used by a gate, and no gate uses one alone."
    )


def about_gates(gates: Mapping) -> str:
    return (
        "Mean gate weights, by whose the experts are. Evenness is the mean entropy of a row's "
        "weights over that of equal ones: 1, the gate does not choose; 0, it takes one expert."
        + EFFECTIVE * bool(gates["effective"]["use"])
        + " How large the experts' outputs are is not in these numbers."
    )


def conflict(found: Mapping) -> Iterator[str]:
    if not found["conflict"]:
        return
    one = next(iter(found["conflict"].values()))
    words = [f"{pair} {cosine(own)}" for pair, own in found["conflict"].items()]
    over = f"one batch of {one['batch_rows']:,} rows, which tells little"
    if one["batches"] > 1:
        over = (
            f"{one['batches']} batches of {one['batch_rows']:,} rows, as in training, ± half its "
            "95 % interval"
        )
    yield (
        "Cosine of two tasks' gradients at the shared embeddings, in the best state, the mean over "
        f"{over}: {'; '.join(words)}. What is chance in a batch's rows is in both gradients: of "
        "larger batches it would be another."
    )


def pairs(found: Mapping) -> Iterator[str]:
    pairs = found["pairs"]
    if any("all" in facts["term"] for facts in pairs.values()):
        yield (
            "Field pairs in GDCN's first layer against the known ones: AUC over all pairs, and how "
            "many of the strongest are known; first for the pairs of the group's own stage, then "
            "for those of all stages up to it, on which its label depends too. `norm` reads the "
            "weights alone, `term` the layer's output on data."
        )
        yield table(*known_pair_rows(pairs), cell=prose)
    elif pairs:
        lines = [f"- `{expert}`: {strongest(facts)}" for expert, facts in pairs.items()]
        yield "Strongest field pairs in GDCN's first layer:\n\n" + "\n".join(lines)
