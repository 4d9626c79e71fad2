"""What one model, or several seeds', say of themselves, in words and tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from dtn_jax.analysis import findings
from dtn_jax.analysis.findings import Model, Row, mean, over_seeds
from dtn_jax.analysis.gate_use import ATTENDED, EFFECTIVE, OTHER, OWN
from dtn_jax.interface import SHARED
from dtn_jax.report.grid import Grid
from dtn_jax.report.sections import Section

Write = Callable[[Row], str]  # the text of a cell
FACTOR = 1000  # of the importances shown
UNITS = {  # of a method: what they are
    "permutation": "drop of {} × 1000 when permuted",
    "unknown": "drop of {} × 1000 when unknown",
}
SHOWN = 20  # fields
STRONG = 5  # field pairs of an expert
DIVERGENCE = (
    "0: one order of the fields, 1: unrelated, 2: reversed. Intervals are of rows. Noise alone: "
    "what a task's importances diverge by between two samples of rows. It is in the ranks of "
    "fields that hardly matter, and pushes divergences up."
)
SEEDS_ALONE = " Seeds alone: what they diverge by between two seeds' models."
GATES = "mean gate weights, by whose the experts are; evenness 100 %: equal weights in every row"
SCALED = (
    "effective: all that experts are multiplied by (after a gate TSN and AdaTT's native weights; "
    "SNR's switches, cross-stitch's numbers, M3oE's balances); need not sum to 100 %"
)
KINDS = "mean gate weights, by kind of expert; equal: of equal weights"
CONFLICT = "cosine of gradients at the shared embeddings, best state"
STRONGEST = "GDCN's first layer: its strongest field pairs"
PICTURES = {  # in the order that they stand in: {name: (its title, what stands below it)}
    **{
        f"importance_{method}": (f"Importance by task: {method}", f"{text}; lines: 95 % intervals")
        for method, text in UNITS.items()
    },
    "divergence": (
        "Divergence between tasks",
        "1 − Spearman's correlation of two tasks' importances; lines: 95 % intervals",
    ),
    "gates": (
        "Mean gate weights",
        "blue: own experts, green: shared, brown: other tasks', grey: what a trunk attends to",
    ),
    "over_training": (
        "Gate weights and gradient conflict over training",
        "mean gate weights, and the cosine between tasks' gradients at the shared embeddings with "
        "its 95 % interval, on fixed validation rows",
    ),
}


def sections(models: Sequence[Model], pictures: Mapping[str, str] = {}) -> list[Section]:
    """All of it.

    Args:
      models: what importance.json holds, by seed.
      pictures: {name in PICTURES: where it lies}; those that are absent are left out.
    """
    parts = [importance, divergence, gates, conflict, pairs]
    every = [section for part in parts for section in part(models)]
    shown = {text: pictures[name] for name, (text, _) in PICTURES.items() if name in pictures}
    return [*every, Section("Pictures", pictures=shown)] if shown else every


def grid(rows: Iterable[Row], columns: Mapping[str, Write], **how: object) -> Grid:
    """A line a row; `how`: of Grid."""
    cells = [[write(row) for write in columns.values()] for row in rows]
    return Grid(list(columns), cells, **how)


def crossed(
    rows: Iterable[Row], down: str, across: str, columns: Iterable[str], write: Write, **how: object
) -> Grid:
    """A line for each value of one column of a long table, a column for each of another.

    Args:
      rows: of the table.
      down, across: the columns' names.
      columns: the values of `across` in their order; those that are absent are left out.
      write: from a row to the text of its cell.
      how: of Grid.
    """
    texts: dict[str, dict[str, str]] = {}
    for row in rows:
        texts.setdefault(row[down], {})[row[across]] = write(row)
    present = {name for cells in texts.values() for name in cells}
    shown = [name for name in columns if name in present]
    lines = [[name, *(cells.get(c, "") for c in shown)] for name, cells in texts.items()]
    return Grid([down, *shown], lines, **how)


def number(value: float | int) -> str:
    """Three digits, and two decimals at most: 123, 12.3, 1.23, 0.12, 0.00."""
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value if abs(value) >= 0.005 else 0:.{digits}f}"


def decimals(value: float | int | None) -> str:
    """Three of them."""
    return "n/d" if value is None else f"{value:.3f}"


def every(values: Iterable[float | None]) -> str:
    """All of them, with three decimals."""
    return ", ".join(map(decimals, values))


def plus(values: Sequence[float | None], write: Callable[[float], str] = decimals) -> str:
    """The mean over seeds, ± their standard deviation where there is one."""
    defined = [value for value in values if value is not None]
    if not defined:
        return "n/d"
    spread = f" ± {write(statistics.stdev(defined))}" if len(defined) > 1 else ""
    return write(statistics.fmean(defined)) + spread


def percents(values: Sequence[float | None]) -> str:
    """Weights, as `plus` has numbers; '' where none is defined."""
    return "" if mean(values) is None else plus(values, lambda v: f"{100 * v:.1f}") + " %"


def metrics_of(models: Sequence[Model]) -> str:
    """What importances are drops of."""
    return " and ".join(dict.fromkeys(row["metric"] for row in models[0]["quality"]))


def importance(models: Sequence[Model]) -> Iterator[Section]:
    first = models[0]
    words = [
        f"{row['metric'][0]} of {row['key']} {plus(row['value'], '{:.4f}'.format)}"
        for row in over_seeds(findings.table(models, "quality"), "key")
    ]
    texts = [f"On {first['rows']:,} rows of {first['split']}: {', '.join(words)}."]
    if len(models) > 1:
        texts.append(f"Numbers are means over {len(models)} seeds ± their standard deviation.")
    if first["undefined"]:
        texts.append(f"Not defined on these rows (one class): {', '.join(first['undefined'])}.")
    yield Section("Importance", texts, [importance_grid(models, m) for m in methods(models)])


def methods(models: Sequence[Model]) -> list[str]:
    """Those by which importance was measured."""
    return list(dict.fromkeys(row["method"] for row in models[0]["importance"]))


def importance_grid(models: Sequence[Model], method: str) -> Grid:
    """Fields × keys."""
    long, rest = findings.importances(models, method, SHOWN)

    def cell(row: Row) -> str:
        text = plus([FACTOR * value for value in row["importance"]], number)
        return text if mean(row["low"]) > 0 else f"({text})"

    title = f"{method}: {UNITS[method].format(metrics_of(models))}, in brackets: within noise of 0"
    note = f"{rest} less important fields are in importance.csv" if rest else ""
    rows, keys = over_seeds(long, "key", "field"), [row["key"] for row in models[0]["quality"]]
    return crossed(rows, "field", "key", keys, cell, title=title, note=note)


def divergence(models: Sequence[Model]) -> Iterator[Section]:
    """Of every two keys by permutation; else of the tasks in the spaces of their losses: of all
    spaces there are many pairs."""
    grids = []
    for method in methods(models):
        long = findings.divergences(models, method)
        shown = long if method == "permutation" else findings.in_own_spaces(long)
        title, left_out = f"divergence between tasks, by {method}", len(long) - len(shown)
        note = f"{left_out} pairs in other spaces are in importance.json" if left_out else ""
        grids.append(grid(shown, divergence_columns(len(models)), title=title, note=note))
    if models[0]["divergence"]:
        text = DIVERGENCE + SEEDS_ALONE * (len(models) > 1)
        yield Section("Divergence between tasks", [text], grids)


def divergence_columns(seeds: int) -> dict[str, Write]:
    """Of rows of `findings.divergences`; some are of several seeds."""
    columns = {
        "tasks": lambda row: f"{row['left']}, {row['right']}",
        "1 − Spearman": lambda row: plus(row["divergence"]),
        "95 % interval": lambda row: " to ".join(decimals(mean(row[e])) for e in ("low", "high")),
        "noise alone": lambda row: every(mean(row[f"noise_{s}"]) for s in ("left", "right")),
    }
    if seeds > 1:
        columns |= {
            "seeds alone": lambda row: every(row[f"seeds_{side}"] for side in ("left", "right")),
            "by seed": lambda row: every(row["divergence"]),
            "seeds agree": lambda row: {None: "n/d", True: "yes", False: "no"}[row["agree"]],
        }
    return columns


def gates(models: Sequence[Model]) -> Iterator[Section]:
    """Each gate's weights by whose the experts are, and its evenness; below it its effective
    weights, where something scales the experts after it. Of several seeds by kind of expert too."""
    if not models[0]["gates"]:
        yield Section("Gates", ["This architecture has no gates."])
        return
    whose = findings.gate_weights(models, lambda row: row["whose"])
    even = findings.table(models, "evenness")
    even = [row | {"name": "evenness", "weight": row["evenness"]} for row in even]
    scaled = findings.gate_weights(models, lambda row: row["whose"], EFFECTIVE)
    scaled = [row | {"gate": f"{row['gate']}, effective"} for row in scaled]
    order = list(dict.fromkeys(row["gate"] for row in whose))
    long = [*whose, *scaled, *even]
    long.sort(key=lambda row: order.index(row["gate"].partition(",")[0]))
    notes = [SCALED] if scaled else []
    for model in models:
        who = f"Seed {model['seed']}: " if len(models) > 1 else ""
        notes += [f"{who}Collapse: {warning}." for warning in model["collapse"]]
    how = {"title": GATES, "note": "\n".join(notes)}
    columns = (OWN, OTHER, SHARED, ATTENDED, "evenness")
    rows = over_seeds(long, "gate", "name")
    grids = [crossed(rows, "gate", "name", columns, lambda row: percents(row["weight"]), **how)]
    if len(models) > 1:
        columns = {
            "gate": lambda row: row["gate"],
            "experts": lambda row: row["name"],
            "weight": lambda row: percents(row["weight"]),
            "by seed": lambda row: ", ".join(f"{100 * value:.1f}" for value in row["weight"]),
            "equal": lambda row: percents([mean(row["equal"])]),
        }
        kinds = over_seeds(findings.gate_weights(models, findings.kind), "gate", "name")
        grids.append(grid(kinds, columns, title=KINDS, left=2))
    yield Section("Gates", (), grids)


def conflict(models: Sequence[Model]) -> Iterator[Section]:
    columns = {
        "tasks": lambda row: row["tasks"],
        "cosine": lambda row: plus(row["cosine"]),
        "± 95 %": lambda row: decimals(mean(row["half"])),
        "batches": lambda row: f"{row['batches'][0]} of {row['rows'][0]:,} rows",
    }
    if len(models) > 1:
        columns["by seed"] = lambda row: every(row["cosine"])
    if long := over_seeds(findings.table(models, "conflict"), "tasks"):
        yield Section("Conflict", (), [grid(long, columns, title=CONFLICT)])


def pairs(models: Sequence[Model]) -> Iterator[Section]:
    """The field pairs of each GDCN expert that are strongest over all seeds."""
    long = over_seeds(findings.table(models, "pairs"), "expert", "pair")
    long.sort(key=lambda row: -sum(row["strength"]))
    of_expert = sorted(over_seeds(long, "expert"), key=lambda row: row["expert"])
    columns = {
        "expert": lambda row: row["expert"],
        "pairs": lambda row: ", ".join(row["pair"][:STRONG]),
    }
    if long:
        yield Section("Field pairs", (), [grid(of_expert, columns, title=STRONGEST, left=2)])
