"""What was found, in words and tables: of one model, or of several seeds'."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Found, Row, mean, over_seeds, rows
from dtn_jax.analysis.gate_use import OTHER, OWN
from dtn_jax.analysis.importance import METHODS, Z
from dtn_jax.interface import SHARED
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import Section

FACTOR = 1000  # of the importances shown
UNITS = {  # of a method: what they are
    "permutation": "drop of {} × 1000 when permuted",
    "gradient": "mean change of the logit × 1000, to first order",
    "unknown": "drop of {} × 1000 when unknown",
}
ABSOLUTE = "gradient"  # a mean of absolute values, which noise makes larger, never 0
ABOUT_NOISE = {  # how numbers without intervals are to be read
    **dict.fromkeys(METHODS, "in brackets: within noise of 0"),
    ABSOLUTE: "a mean of absolute values: a field without influence has more than 0 too",
}
SHOWN = 20  # fields
ROOMY = 3  # keys, at most, whose intervals fit a terminal
STRONG = 5  # field pairs of an expert
DIVERGENCE = (
    "0: one order of the fields, 1: unrelated, 2: reversed. Intervals are of rows. Noise alone: "
    "what a task's importances diverge by between two samples of rows. It is in the ranks of "
    "fields that hardly matter, and pushes divergences up."
)
SEEDS_ALONE = " Seeds alone: what they diverge by between two seeds' models."
KNOWN = "permutation of the Bayes-optimal score: the known answer"
TRUTH = "rank correlation with the importance of the Bayes-optimal score (fields above noise)"
GATES = "mean gate weights, by whose the experts are; evenness 1: equal weights in every row"
EFFECTIVE = (
    "effective: times what scales experts after the gate (TSN, AdaTT's native); need not sum to "
    "100 %"
)
KINDS = "mean gate weights, by kind of expert; equal: of equal weights"
CONFLICT = "cosine of gradients at the shared embeddings, best state"
JUDGED = "GDCN's first layer: AUC of known pairs, and how many of the strongest are known"
STRONGEST = "GDCN's first layer: its strongest field pairs"
IN_SEEDS = ", with the seeds in which one is of the three strongest"
PICTURES = {  # in the order that they stand in: {name: (its title, what stands below it)}
    **{
        f"importance_{method}": (f"Importance by task: {method}", f"{text}; lines: 95 % intervals")
        for method, text in UNITS.items()
    },
    "divergence": (
        "Divergence between tasks",
        "1 − rank correlation of two tasks' importances, with its 95 % interval",
    ),
    "gates": ("Mean gate weights", "blue: own experts, green: shared, brown: other tasks'"),
    "conflict": (
        "Cosine of gradients at the shared embeddings",
        "with its 95 % interval; below 0 tasks hinder each other",
    ),
    "over_training": (
        "Gate weights and gradient conflict over training",
        "mean gate weights (grey: equal ones), and the cosine between tasks' gradients at the "
        "shared embeddings with its 95 % interval, on fixed validation rows",
    ),
    "pairs": (
        "Field pairs in GDCN's first layer",
        "strength of the strongest pairs on data",
    ),
}


def sections(found: Sequence[Found], pictures: Mapping[str, str] | None = None) -> list[Section]:
    """All of it.

    Args:
      found: what importance.json holds, by seed.
      pictures: {name in PICTURES: where it lies}; those that are absent are left out.
    """
    parts = [importance, divergence, truth, gates, conflict, pairs]
    made = [section for part in parts for section in part(found)]
    given = pictures or {}
    shown = {text: given[name] for name, (text, _) in PICTURES.items() if name in given}
    return [*made, Section("Pictures", pictures=shown)] if shown else made


def table(of: Iterable[Row], columns: Mapping[str, Callable[[Row], str]], **how: object) -> Grid:
    """A line a row; `how`: of Grid."""
    cells = [[write(row) for write in columns.values()] for row in of]
    return Grid(list(columns), cells, **how)


def crossed(
    of: Iterable[Row],
    line: str,
    column: str,
    write: Callable[[Row], str],
    columns: Sequence[str] = (),
    **how: object,
) -> Grid:
    """A line for each value of one column of a long table, a column for each of another.

    Args:
      of: the rows.
      line, column: the columns' names.
      write: from a row to the text of its cell.
      columns: in which order; '' is that of the rows.
      how: of Grid.
    """
    texts: dict[str, dict[str, str]] = {}
    for row in of:
        texts.setdefault(row[line], {})[row[column]] = write(row)
    present = list(dict.fromkeys(name for own in texts.values() for name in own))
    shown = [name for name in columns if name in present] or present
    cells = [[name, *(own.get(c, "") for c in shown)] for name, own in texts.items()]
    return Grid([line, *shown], cells, **how)


def number(value: float | int) -> str:
    """Three digits, and two decimals at most: 123, 12.3, 1.23, 0.12, 0.00."""
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value if abs(value) >= 0.005 else 0:.{digits}f}"


def decimals(value: float | int | None, absent: str = "n/d") -> str:
    """Three of them."""
    return absent if value is None else f"{value:.3f}"


def every(values: Iterable[float | None]) -> str:
    """All of them, with three decimals."""
    return ", ".join(map(decimals, values))


def plus(
    values: Sequence[float | None], write: Callable[[float], str] = decimals, absent: str = "n/d"
) -> str:
    """The mean over seeds, ± their standard deviation where there is one."""
    defined = [value for value in values if value is not None]
    if not defined:
        return absent
    spread = f" ± {write(statistics.stdev(defined))}" if len(defined) > 1 else ""
    return write(statistics.fmean(defined)) + spread


def percents(values: Sequence[float]) -> str:
    """Weights, as `plus` has numbers."""
    return plus(values, lambda value: f"{100 * value:.1f}") + " %"


def metrics_of(found: Sequence[Found], method: str) -> str:
    """What importances by a method are drops of."""
    return " and ".join(dict.fromkeys(found[0]["methods"][method]["metric"].values()))


def importance(found: Sequence[Found]) -> Iterator[Section]:
    first = found[0]
    methods = [m for m in METHODS if m in first["methods"]]
    titles = first["methods"][methods[0]]["metric"]
    words = [
        f"{titles[row['key']]} of {row['key']} {plus(row['value'], '{:.4f}'.format)}"
        for row in over_seeds(rows(found, f"methods/{methods[0]}/base", "key"), "key")
    ]
    texts = [f"On {first['rows']:,} rows of {first['split']}: {', '.join(words)}."]
    if len(found) > 1:
        texts.append(f"Numbers are means over {len(found)} seeds ± their standard deviation.")
    if first["undefined"]:
        texts.append(f"Not defined on these rows (one class): {', '.join(first['undefined'])}.")
    yield Section("Importance", texts, [importance_grid(found, method) for method in methods])


def importance_grid(found: Sequence[Found], method: str) -> Grid:
    """Fields × keys; with intervals of one model where there is room for them."""
    long, rest = findings.importances(found, method, SHOWN)
    keys = list(found[0]["methods"][method]["importance"])
    roomy = len(keys) <= ROOMY and len(found) == 1

    def cell(row: Row) -> str:
        half = FACTOR * Z * mean(row["error"])
        text = plus([FACTOR * value for value in row["mean"]], number)
        if roomy:
            return f"{text} ± {number(half) if half >= 0.005 else '< 0.01'}"
        sure = method == ABSOLUTE or FACTOR * mean(row["mean"]) > half
        return text if sure else f"({text})"

    what = "± half its 95 % interval" if roomy else ABOUT_NOISE[method]
    return crossed(
        over_seeds(long, "key", "field"),
        "field",
        "key",
        cell,
        keys,
        title=f"{method}: {UNITS[method].format(metrics_of(found, method))}, {what}",
        note=f"{rest} less important fields are in importance.csv" if rest else "",
    )


def divergence(found: Sequence[Found]) -> Iterator[Section]:
    grids = [divergence_grid(found, method) for method in found[0]["methods"]]
    grids += [divergence_grid(found[:1], "")] if found[0]["truth"] else []
    if grids[0].rows:
        text = DIVERGENCE + SEEDS_ALONE * (len(found) > 1)
        yield Section("Divergence between tasks", [text], grids)


def divergence_grid(found: Sequence[Found], method: str) -> Grid:
    """Of every two keys by permutation; else of the tasks in the spaces of their losses: of all
    spaces there are many pairs. '' is of the known answer."""
    long = findings.divergences(found, method)
    shown = long if method == "permutation" else findings.in_own_spaces(long)
    left_out = len(long) - len(shown)
    return table(
        shown,
        divergence_columns(len(found)),
        title=f"divergence between tasks, by {method or KNOWN}",
        note=f"{left_out} pairs in other spaces are in importance.json" if left_out else "",
    )


def divergence_columns(seeds: int) -> dict[str, Callable[[Row], str]]:
    """Of rows of `findings.divergences`; some are of several seeds."""
    columns = {
        "tasks": lambda row: f"{row['left']}, {row['right']}",
        "1 − Spearman": lambda row: plus(row["value"]),
        "95 % interval": lambda row: " to ".join(decimals(mean(row[e])) for e in ("low", "high")),
        "noise alone": lambda row: every(row["noise"]),
    }
    if seeds > 1:
        columns |= {
            "seeds alone": lambda row: every(row["seeds"]),
            "by seed": lambda row: every(row["value"]),
            "seeds agree": lambda row: {None: "n/d", True: "yes", False: "no"}[row["agree"]],
        }
    return columns


def truth(found: Sequence[Found]) -> Iterator[Section]:
    def cell(row: Row) -> str:
        return f"{plus(row['rank_correlation'])}\n({mean(row['fields']):.3g})"

    long = over_seeds(rows(found, "truth/agreement", "method", "key"), "method", "key")
    if long:
        grid = crossed(long, "method", "key", cell, title=TRUTH)
        yield Section("The known answer", (), [grid])


def gates(found: Sequence[Found]) -> Iterator[Section]:
    """Each gate's weights by whose the experts are, and its evenness; below it its effective
    weights, where something scales the experts after it. Of several seeds by kind of expert too."""
    if not found[0]["gates"]:
        yield Section("Gates", ["This architecture has no gates."])
        return
    effective = rows(found, "gates/effective/relations", "gate", "whose")
    long = rows(found, "gates/relations", "gate", "whose")
    long += [row | {"whose": "evenness"} for row in rows(found, "gates/evenness", "gate")]
    long += [row | {"gate": f"{row['gate']}, effective"} for row in effective]
    order = list(found[0]["gates"]["use"])
    long.sort(key=lambda row: order.index(row["gate"].removesuffix(", effective")))

    def cell(row: Row) -> str:
        return (
            plus(row["value"], absent="") if row["whose"] == "evenness" else percents(row["value"])
        )

    notes = [EFFECTIVE] if effective else []
    for one in found:
        who = f"Seed {one['seed']}: " if len(found) > 1 else ""
        notes.append(f"{who}{one['gates']['reading'] or 'No gate has a choice.'}")
        notes += [f"Collapse: {warning}." for warning in one["gates"]["collapse"]]
    how = {"title": GATES, "note": "\n".join(notes)}
    columns = (OWN, OTHER, SHARED, "evenness")
    grids = [crossed(over_seeds(long, "gate", "whose"), "gate", "whose", cell, columns, **how)]
    if len(found) > 1:
        columns = {
            "gate": lambda row: row["gate"],
            "experts": lambda row: row["kind"],
            "weight": lambda row: percents(row["weight"]),
            "by seed": lambda row: ", ".join(f"{100 * value:.1f}" for value in row["weight"]),
            "equal": lambda row: percents([mean(row["equal"])]),
        }
        kinds = over_seeds(findings.gate_weights(found), "gate", "kind")
        grids.append(table(kinds, columns, title=KINDS, left=2))
    yield Section("Gates", (), grids)


def conflict(found: Sequence[Found]) -> Iterator[Section]:
    columns = {
        "tasks": lambda row: row["tasks"],
        "cosine": lambda row: plus(row["mean"]),
        "± 95 %": lambda row: decimals(mean(row["half"]), ""),
        "batches": lambda row: f"{row['batches'][0]} of {row['batch_rows'][0]:,} rows",
    }
    if len(found) > 1:
        columns["by seed"] = lambda row: every(row["mean"])
    if long := over_seeds(rows(found, "conflict", "tasks"), "tasks"):
        yield Section("Conflict", (), [table(long, columns, title=CONFLICT)])


def pairs(found: Sequence[Found]) -> Iterator[Section]:
    """Where pairs are known, how well each GDCN's first layer has them; else its strongest."""
    long = [row for row in rows(found, "pairs", "expert", "by") if "strongest" in row]
    columns = {"expert": lambda row: row["expert"]}
    if "all" in (long or [{}])[0]:
        judged = [
            {"expert": row["expert"], "by": row["by"], "of": text, **row[which]}
            for row in long
            for which, text in (("own", "its stage"), ("all", "and before"))
        ]
        columns |= {
            "by": lambda row: row["by"],
            "pairs": lambda row: row["of"],
            "AUC": lambda row: plus(row["auc"]),
            "found": lambda row: f"{mean(row['found']):.3g} of {row['known'][0]}",
        }
        shown = table(over_seeds(judged, "expert", "by", "of"), columns, title=JUDGED, left=3)
        yield Section("Field pairs", (), [shown])
    elif long:
        columns["pairs"] = lambda row: strongest(row["strongest"])
        title = STRONGEST + IN_SEEDS * (len(found) > 1)
        own = over_seeds((row for row in long if row["by"] == "term"), "expert")
        yield Section("Field pairs", (), [table(own, columns, title=title, left=2)])


def strongest(by_seed: Sequence[Sequence]) -> str:
    """The pairs that are of the three strongest, with the seeds in which they are."""
    best = Counter(f"{a} × {b}" for own in by_seed for a, b, _ in own[:3]).most_common(STRONG)
    return ", ".join(text + f" ({times})" * (len(by_seed) > 1) for text, times in best)
