"""What was found, in words and tables: of one model, or of several seeds'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Found, over_seeds, own_spaces
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import Section

FACTOR = 1000  # of the importances shown
UNITS = {  # of a method: what they are
    "permutation": "drop of {} × 1000 when permuted",
    "unknown": "drop of {} × 1000 when unknown",
    "gradient": "mean change of the logit × 1000, to first order",
}
ABSOLUTE = "gradient"  # a mean of absolute values, which noise makes larger, never 0
SHOWN = 20  # fields
ROOMY = 3  # keys, at most, whose intervals fit a terminal
STRONG = 5  # field pairs of an expert
EFFECTIVE = (
    "effective: times what scales experts after the gate (TSN, AdaTT's native); need not sum to "
    "100 %"
)
PICTURES = {  # in the order that they stand in, with what they show
    **{f"importance_{m}": f"Importance by {m}, fields × tasks" for m in METHODS},
    "divergence": "Divergence between tasks",
    "gates": "Mean gate weights",
    "conflict": "Cosine of gradients at the shared embeddings",
    "over_training": "Gate weights and gradient conflict over training",
    "pairs": "Field pairs in GDCN's first layer",
}


def sections(found: Sequence[Found], pictures: Mapping[str, str] | None = None) -> list[Section]:
    """All of it.

    Args:
      found: what importance.json holds, by seed.
      pictures: {name in PICTURES: where it lies}; those that are absent are left out.
    """
    parts = [importance, divergence, truth, gates, conflict, pairs]
    made = [section for part in parts for section in part(found)]
    shown = {text: pictures[name] for name, text in PICTURES.items() if name in (pictures or {})}
    return [*made, Section("Pictures", pictures=shown)] if shown else made


def number(value: float | int) -> str:
    """Three digits, and two decimals at most: 123, 12.3, 1.23, 0.12, 0.00."""
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value if abs(value) >= 0.005 else 0:.{digits}f}"


def marked(value: float | int, sure: bool) -> str:
    """The number, in brackets where it is within noise of 0: seen on a cell of any colour."""
    return number(value) if sure else f"({number(value)})"


def decimals(value: float | int | None, absent: str = "n/d") -> str:
    """Three of them."""
    return absent if value is None else f"{value:.3f}"


def plus(row: Mapping, name: str, digits: int = 3) -> str:
    """The mean, ± the standard deviation over seeds where there is one."""
    mean, deviation = row[name], row[f"{name}_deviation"]
    if mean is None:
        return "n/d"
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if deviation is not None else "")


def percents(row: Mapping) -> str:
    """A weight's mean, ± its standard deviation over seeds where there is one."""
    spread = row["weight_deviation"]
    return f"{100 * row['weight']:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")


def unit(found: Sequence[Found], method: str) -> str:
    """What the numbers of a method are."""
    return UNITS[method].format(_metrics(found, method))


def _metrics(found: Sequence[Found], method: str) -> str:
    return " and ".join(dict.fromkeys(found[0]["methods"][method]["metric"].values()))


def about_noise(method: str) -> str:
    """How the numbers of a method that stand without intervals are to be read."""
    if method == ABSOLUTE:
        return "a mean of absolute values: a field without influence has more than 0 too"
    return "in brackets: within noise of 0"


def importance(found: Sequence[Found]) -> Iterator[Section]:
    first = found[0]
    methods = [m for m in METHODS if m in first["methods"]]
    titles = first["methods"][methods[0]]["metric"]
    bases = findings.table(
        {"key": key, "base": base}
        for one in found
        for key, base in one["methods"][methods[0]]["base"].items()
    )
    words = (
        f"{titles[row['key']]} of {row['key']} {plus(row, 'base', 4)}"
        for row in over_seeds(bases, ("key",), "base").to_dicts()
    )
    texts = [f"On {first['rows']:,} rows of {first['split']}: {', '.join(words)}."]
    if len(found) > 1:
        texts.append(f"Numbers are means over {len(found)} seeds ± their standard deviation.")
    if first["undefined"]:
        texts.append(f"Not defined on these rows (one class): {', '.join(first['undefined'])}.")
    yield Section("Importance", texts, [importance_grid(found, method) for method in methods])


def importance_grid(found: Sequence[Found], method: str) -> Grid:
    """Fields × keys; with intervals of one model where there is room for them."""
    table = over_seeds(findings.importances(found, method), ("key", "field"), "mean", "error")
    by_place = {(row["key"], row["field"]): row for row in table.to_dicts()}
    keys, fields = table["key"].unique(maintain_order=True), findings.ranked(found, method)
    roomy = len(keys) <= ROOMY and len(found) == 1

    def cell(row: Mapping) -> str:
        half, spread = FACTOR * Z * row["error"], row["mean_deviation"]
        sure = method == ABSOLUTE or row["mean"] > Z * row["error"]
        if roomy:
            return f"{number(FACTOR * row['mean'])} ± {number(half) if half >= 0.005 else '< 0.01'}"
        text = number(FACTOR * row["mean"])
        text += "" if spread is None else f" ± {number(FACTOR * spread)}"
        return text if sure else f"({text})"

    rest = len(fields) - SHOWN
    what = "± half its 95 % interval" if roomy else about_noise(method)
    return Grid(
        ["field", *keys],
        [[field, *(cell(by_place[key, field]) for key in keys)] for field in fields[:SHOWN]],
        title=f"{method}: {unit(found, method)}, {what}",
        note=f"{rest} less important fields are in importance.csv" if rest > 0 else "",
    )


def divergence(found: Sequence[Found]) -> Iterator[Section]:
    methods = found[0]["methods"]
    grids = [divergence_grid(found, method) for method in methods]
    known = "permutation of the Bayes-optimal score: the known answer"
    grids += [divergence_grid(found[:1], "", known)] if found[0]["truth"] else []
    if not grids[0].rows:
        return
    text = (
        "0: one order of the fields, 1: unrelated, 2: reversed. Intervals are of rows. Noise "
        "alone: what a task's importances diverge by between two samples of rows. It is in the "
        "ranks of fields that hardly matter, and pushes divergences up."
    )
    if len(found) > 1:
        text += " Seeds alone: what they diverge by between two seeds' models."
    yield Section("Divergence between tasks", [text], grids)


def divergence_grid(found: Sequence[Found], method: str, title: str = "") -> Grid:
    """Of every two keys by permutation; else of the tasks in the spaces of their losses: of all
    spaces there are many pairs."""
    every = findings.divergences(found, method)
    own = own_spaces(key for row in every for key in (row["left"], row["right"]))
    rows = [r for r in every if method == "permutation" or {r["left"], r["right"]} <= {*own}]
    left_out = len(every) - len(rows)
    header, cells = divergence_cells(found, rows)
    return Grid(
        header,
        cells,
        title=f"divergence between tasks, by {title or method}",
        note=f"{left_out} pairs in other spaces are in importance.json" if left_out else "",
    )


def divergence_cells(
    found: Sequence[Found], rows: Iterable[Mapping]
) -> tuple[list[str], list[list[str]]]:
    """Header and cells of rows of `findings.divergences`; some columns are of several seeds."""
    columns = {
        "tasks": lambda row: f"{row['left']}, {row['right']}",
        "1 − Spearman": lambda row: plus(row, "value"),
        "95 % interval": lambda row: f"{decimals(row['low'])} to {decimals(row['high'])}",
        "noise alone": lambda row: ", ".join(map(decimals, row["noise"])),
    }
    if len(found) > 1:
        columns |= {
            "seeds alone": lambda row: ", ".join(map(decimals, row["seeds"])),
            "by seed": lambda row: ", ".join(decimals(v) for v in row["value_values"]),
            "seeds agree": lambda row: {None: "n/d", True: "yes", False: "no"}[row["agree"]],
        }
    return list(columns), [[write(row) for write in columns.values()] for row in rows]


def truth(found: Sequence[Found]) -> Iterator[Section]:
    if not found[0]["truth"]:
        return
    table = findings.table(
        {"method": method, "key": key, **own}
        for one in found
        for method, by_key in one["truth"]["agreement"].items()
        for key, own in by_key.items()
    )
    rows = over_seeds(table, ("method", "key"), "rank_correlation", "fields").to_dicts()
    methods, keys = (list(dict.fromkeys(row[name] for row in rows)) for name in ("method", "key"))
    texts = {
        (row["method"], row["key"]): f"{plus(row, 'rank_correlation')}\n({row['fields']:.3g})"
        for row in rows
    }
    title = "rank correlation with the importance of the Bayes-optimal score (fields above noise)"
    cells = [[method, *(texts[method, key] for key in keys)] for method in methods]
    grid = Grid(["method", *keys], cells, title=title)
    yield Section("The known answer", (), [grid])


def gates(found: Sequence[Found]) -> Iterator[Section]:
    first = found[0]["gates"]
    if not first:
        yield Section("Gates", ["This architecture has no gates."])
        return
    grids = [relations_grid(found)]
    if len(found) > 1:
        grids.append(kinds_grid(findings.gate_weights(found)))
    yield Section("Gates", (), grids)


def relations_grid(found: Sequence[Found]) -> Grid:
    """Each gate's weights by whose the experts are, and its evenness; below it its effective
    weights, where something scales the experts after it."""
    table = over_seeds(findings.relations(found), ("gate", "whose", "scaled"), "weight")
    cells = {(r["gate"], r["whose"], r["scaled"]): f"{percents(r)} %" for r in table.to_dicts()}
    kinds = table["whose"].unique(maintain_order=True)
    evenness = over_seeds(
        findings.table(
            {"gate": gate, "evenness": value}
            for one in found
            for gate, value in one["gates"]["evenness"].items()
        ),
        ("gate",),
        "evenness",
    )
    rows = []
    for row in evenness.to_dicts():
        gate, text = row["gate"], plus(row, "evenness") if row["evenness"] is not None else ""
        rows.append([gate, *(cells.get((gate, k, False), "") for k in kinds), text])
        scaled = [cells.get((gate, k, True), "") for k in kinds]
        rows += [[f"{gate}, effective", *scaled, ""]] if any(scaled) else []
    notes = [EFFECTIVE] if any(scaled for _, _, scaled in cells) else []
    for one in found:
        who = f"Seed {one['seed']}: " if len(found) > 1 else ""
        notes.append(f"{who}{one['gates']['reading'] or 'No gate has a choice.'}")
        notes += [f"Collapse: {warning}." for warning in one["gates"]["collapse"]]
    return Grid(
        ["gate", *kinds, "evenness"],
        rows,
        title="mean gate weights, by whose the experts are; evenness 1: equal weights in every row",
        note="\n".join(notes),
    )


def kinds_grid(weights: pl.DataFrame) -> Grid:
    """Each gate's weights by kind of expert; equal: what each kind would have of equal weights."""
    table = over_seeds(weights, ("gate", "kind", "experts"), "weight")
    table = table.with_columns(equal=pl.col("experts") / pl.col("experts").sum().over("gate"))
    rows = [
        [
            row["gate"],
            row["kind"],
            f"{percents(row)} %",
            ", ".join(f"{100 * value:.1f}" for value in row["weight_values"]),
            f"{100 * row['equal']:.1f} %",
        ]
        for row in table.to_dicts()
    ]
    most = findings.strongest(weights)
    same = [f"{gate} ({own[0]})" for gate, own in most.items() if len({*own}) == 1]
    other = [f"{gate} ({', '.join(own)})" for gate, own in most.items() if len({*own}) > 1]
    notes = [f"The strongest is the same in every seed: {'; '.join(same)}."] if same else []
    notes += [f"The strongest differs between seeds: {'; '.join(other)}."] if other else []
    header = ["gate", "experts", "weight", "by seed", "equal"]
    title = "mean gate weights, by kind of expert; equal: of equal weights"
    return Grid(header, rows, title, "\n".join(notes), left=2)


def conflict(found: Sequence[Found]) -> Iterator[Section]:
    table = found[0]["conflict"] and over_seeds(
        findings.cosines(found), ("tasks", "batches", "batch_rows"), "mean", "half"
    )
    rows = [
        [
            row["tasks"],
            plus(row, "mean"),
            decimals(row["half"], ""),
            f"{row['batches']} of {row['batch_rows']:,} rows",
            ", ".join(map(decimals, row["mean_values"])),
        ]
        for row in (table.to_dicts() if len(table) else ())
    ]
    if rows:
        header = ["tasks", "cosine", "± 95 %", "batches", "by seed"]
        grid = Grid(header, rows, title="cosine of gradients at the shared embeddings, best state")
        yield Section("Conflict", (), [grid if len(found) > 1 else grid.take(range(4))])


def pairs(found: Sequence[Found]) -> Iterator[Section]:
    """Where pairs are known, how well each GDCN's first layer has them; else its strongest."""
    every = [one["pairs"] for one in found]
    if any("all" in facts["term"] for facts in every[0].values()):
        table = findings.table(
            {"expert": expert, "by": by, "which": which, **facts[by][which]}
            for own in every
            for expert, facts in own.items()
            for by in ("norm", "term")
            for which in ("own", "all")
        )
        rows: dict[tuple[str, str], list[str]] = {}
        by = ("expert", "by", "which", "known")
        for row in over_seeds(table, by, "auc", "found").to_dicts():
            cells = rows.setdefault((row["expert"], row["by"]), [row["expert"], row["by"]])
            cells += [plus(row, "auc"), f"{row['found']:.3g} of {row['known']}"]
        header = ["expert", "by", "own: AUC", "found", "up to it: AUC", "found"]
        title = "GDCN's first layer: AUC of known pairs, and how many of the strongest are known"
        yield Section("Field pairs", (), [Grid(header, [*rows.values()], title, left=2)])
    elif every[0]:
        rows = []
        for expert in every[0]:
            best = [tuple(own[:2]) for p in every for own in p[expert]["term"]["strongest"][:3]]
            counted = Counter(best).most_common(STRONG)
            words = [f"{a} × {b}" + f" ({n})" * (len(found) > 1) for (a, b), n in counted]
            rows.append([expert, ", ".join(words)])
        title = "GDCN's first layer: its strongest field pairs"
        if len(found) > 1:
            title += ", with the seeds in which one is of the three strongest"
        yield Section("Field pairs", (), [Grid(["expert", "pairs"], rows, title, left=2)])
