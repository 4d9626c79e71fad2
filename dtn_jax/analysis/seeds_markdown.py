"""What was found of several seeds' models, as Markdown: a section of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from dtn_jax.analysis import markdown, over_seeds
from dtn_jax.analysis.figures import FACTOR, about_noise, number, unit
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.analysis.over_seeds import Divergence, Found, Spread, spread
from dtn_jax.analysis.tables import decimals, own_spaces, ranked, titles_of
from dtn_jax.report.markdown import prose, table

STRONG = 5  # field pairs of an expert


def section(found: Sequence[Found], pictures: Mapping[str, str]) -> str:
    """As markdown.section, of the models of two seeds or more."""
    parts = [*importances(found), *divergence(found), *truth(found), *gates(found)]
    parts += [*conflict(found), *pairs(found)]
    return markdown.joined(parts, pictures)


def importances(found: Sequence[Found]) -> Iterator[str]:
    first = found[0]
    facts = next(iter(first["methods"].values()))
    titles = titles_of(facts)
    method = next(iter(first["methods"]))
    words = [
        f"{titles[key]} of {key} {plus(spread([o['methods'][method]['base'][key] for o in found]))}"
        for key in facts["base"]
    ]
    yield (
        f"Numbers are means over {len(found)} seeds ± their standard deviation. The seeds' models "
        f"are read on the same {first['rows']:,} rows of {first['split']}: {', '.join(words)}."
    )
    for method in (m for m in METHODS if m in first["methods"]):
        yield from importance(found, method)
    if first["undefined"]:
        yield f"Not defined on these rows (one class): {', '.join(first['undefined'])}."


def importance(found: Sequence[Found], method: str) -> Iterator[str]:
    by_key = over_seeds.importances(found, method)
    fields, full = ranked(by_key), method == "permutation"
    most = markdown.SHOWN if full else markdown.FEWER
    count = min(most, len(fields))
    numbers = unit(method, titles_of(found[0]["methods"][method]).values())
    what = "rows: half of a model's 95 % interval" if full else about_noise(method)
    yield f"By {method}, the {count} most important of {len(fields)} fields: {numbers}; {what}."

    def cells(one: Mapping) -> list[str]:
        text = f"{number(FACTOR * one['mean'])} ± {number(FACTOR * one['deviation'])}"
        if full:
            return [text, number(FACTOR * Z * one["error"])]
        sure = method == "gradient" or one["mean"] > Z * one["error"]
        return [text if sure else f"({text})"]

    header = [name for key in by_key for name in ((key, "rows") if full else (key,))]
    rows = [
        [f"`{field}`", *(text for by_field in by_key.values() for text in cells(by_field[field]))]
        for field in fields[:most]
    ]
    yield table(["field", *header], rows, cell=prose)


def divergence(found: Sequence[Found]) -> Iterator[str]:
    """A table for each method; other spaces than those of the losses by permutation alone."""
    methods = found[0]["methods"]
    if all(len(facts["divergence"]["keys"]) < 2 for facts in methods.values()):
        return
    yield (
        "Divergence, 1 − Spearman's correlation of two tasks' importances (0: one order of the "
        "fields, 1: unrelated, 2: reversed); the interval is of rows, the mean of the seeds'. "
        "Noise alone: what each task's own importances would diverge by between two such samples "
        "of rows. Seeds alone: what they do diverge by between two seeds' models, on the same "
        "rows. Both push divergences up. Seeds agree where each one's divergence lies in the "
        "intervals of all." + markdown.KNOWN * bool(found[0]["truth"]) + markdown.another(methods)
    )
    for method in methods:
        known = over_seeds.truths(found) if method == "permutation" else {}
        own = own_spaces(methods[method]["divergence"]["keys"])
        every = [
            one
            for one in over_seeds.divergences(found, method)
            if method == "permutation" or {*one.keys} <= {*own}
        ]
        header = [f"by {method}", "mean", "seeds", "95 % interval", "noise alone", "seeds alone"]
        header += ["seeds agree", *(["known"] if known else [])]
        rows = [[*line(one), *([decimals(known[one.keys])] if known else [])] for one in every]
        yield table(header, rows, cell=prose)


def line(one: Divergence) -> list[str]:
    ends = " to ".join(decimals(spread(end).mean) for end in (one.low, one.high))
    return [
        ", ".join(one.keys),
        plus(one.value, 3),
        ", ".join("n/d" if v is None else f"{v:.2f}" for v in one.value.values),
        ends,
        ", ".join(map(decimals, one.noise)),
        ", ".join(map(decimals, one.seeds)),
        {None: "n/d", True: "yes", False: "**no**"}[one.agree],
    ]


def truth(found: Sequence[Found]) -> Iterator[str]:
    if not found[0]["truth"]:
        return
    yield (
        "Rank correlation with the permutation importance of the Bayes-optimal score on the same "
        "rows, over the fields above its noise. In a narrower space than that of its loss a task "
        "is ranked by the quotient of two of the model's probabilities."
    )
    every = [one["truth"]["agreement"] for one in found]
    keys = list(next(iter(every[0].values())))
    rows = [
        [m, *(plus(spread([by[m][k]["rank_correlation"] for by in every]), 3) for k in keys)]
        for m in every[0]
    ]
    yield table(["method", *keys], rows, cell=prose)


def gates(found: Sequence[Found]) -> Iterator[str]:
    first = found[0]["gates"]
    if not first:
        yield "This architecture has no gates."
        return
    yield markdown.about_gates(first)
    yield table(*relation_rows(found), cell=prose)
    yield (
        "The same by kind of expert; experts of one kind in one group are summed, because which of "
        "them does what is chance. Equal: what each kind would have of equal weights."
    )
    weights, counts = over_seeds.gate_weights(found), over_seeds.counts(first["use"])
    rows = []
    for gate, own in weights.items():
        for kind, weight in own.items():
            equal = counts[gate][kind] / sum(counts[gate].values())
            values = ", ".join(f"{100 * v:.1f}" for v in weight.values)
            rows.append([gate, kind, percent(weight), values, f"{100 * equal:.1f} %"])
    yield table(["gate", "experts", "weight", "seeds", "equal"], rows, 2, cell=prose)
    yield "\n".join(chosen(found, weights, counts))


def relation_rows(found: Sequence[Found]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each gate's weights by whose the experts are, and its evenness."""
    own = over_seeds.nested([one["gates"]["relations"] for one in found])
    scaled = over_seeds.nested([one["gates"]["effective"]["relations"] for one in found])
    kinds = list(dict.fromkeys(kind for sums in own.values() for kind in sums))
    rows = []
    for gate, sums in own.items():
        even = spread([one["gates"]["evenness"][gate] for one in found])
        texts = ["" if even.mean is None else plus(even, 3)]
        rows.append([gate, *(percent(sums[k]) if k in sums else "" for k in kinds), *texts])
        if gate in scaled:
            sums = scaled[gate]
            cells = (percent(sums[k]) if k in sums else "" for k in kinds)
            rows.append([f"{gate}, effective", *cells, ""])
    return ["gate", *kinds, "evenness"], rows


def chosen(found: Sequence[Found], weights: Mapping, counts: Mapping) -> Iterator[str]:
    """What each seed's numbers come to, and where seeds have another strongest expert."""
    for one in found:
        warnings = "".join(f" Collapse: {warning}." for warning in one["gates"]["collapse"])
        reading = one["gates"]["reading"] or "No gate has a choice."
        yield f"- Seed {one['seed']}: {reading}{warnings}"
    most = {g: over_seeds.strongest(own, counts[g]) for g, own in weights.items() if len(own) > 1}
    same = [f"{gate} ({own[0]})" for gate, own in most.items() if len({*own}) == 1]
    other = [f"{gate} ({', '.join(own)})" for gate, own in most.items() if len({*own}) > 1]
    if same:
        yield f"- The strongest kind of expert is the same in every seed: {'; '.join(same)}."
    if other:
        yield f"- The strongest kind of expert differs between seeds: {'; '.join(other)}."


def conflict(found: Sequence[Found]) -> Iterator[str]:
    if not found[0]["conflict"]:
        return
    first = next(iter(found[0]["conflict"].values()))
    yield (
        "Cosine of two tasks' gradients at the shared embeddings, in the best states, the mean "
        f"over {first['batches']} batches of {first['batch_rows']:,} rows, as in training; rows: "
        "half of a model's 95 % interval. What is chance in a batch's rows is in both gradients: "
        "of larger batches it would be another."
    )
    rows = []
    for tasks in found[0]["conflict"]:
        ones = [one["conflict"][tasks] for one in found]
        cosine, half = spread([o["mean"] for o in ones]), spread([o["half"] for o in ones])
        values = ", ".join(map(decimals, cosine.values))
        rows.append([tasks, plus(cosine, 3), values, decimals(half.mean)])
    yield table(["tasks", "cosine", "seeds", "rows"], rows, cell=prose)


def pairs(found: Sequence[Found]) -> Iterator[str]:
    every = [one["pairs"] for one in found]
    if any("all" in facts["term"] for facts in every[0].values()):
        yield (
            "Field pairs in GDCN's first layer against the known ones: AUC over all pairs, for "
            "the pairs of the group's own stage, then for those of all stages up to it, on which "
            "its label depends too. `norm` reads the weights alone, `term` the layer's output on "
            "data."
        )
        rows = [
            [e, by, *(plus(spread([p[e][by][w]["auc"] for p in every]), 3) for w in ("own", "all"))]
            for e in every[0]
            for by in ("norm", "term")
        ]
        yield table(["expert", "by", "own", "up to it"], rows, 2, cell=prose)
    elif every[0]:
        lines = []
        for expert in every[0]:
            best = [tuple(own[:2]) for p in every for own in p[expert]["term"]["strongest"][:3]]
            counted = Counter(best).most_common(STRONG)
            words = [f"{left} × {right} ({count})" for (left, right), count in counted]
            lines.append(f"- `{expert}`: {', '.join(words)}")
        yield (
            "Strongest field pairs in GDCN's first layer, with the number of seeds in which one is "
            "of the three strongest:\n\n" + "\n".join(lines)
        )


def plus(one: Spread, digits: int = 4) -> str:
    """The mean, ± the standard deviation over seeds where there is one."""
    if one.mean is None:
        return "n/d"
    text = f"{one.mean:.{digits}f}"
    return text if one.deviation is None else f"{text} ± {one.deviation:.{digits}f}"


def percent(one: Spread) -> str:
    return f"{100 * one.mean:.1f} ± {100 * (one.deviation or 0):.1f} %"
