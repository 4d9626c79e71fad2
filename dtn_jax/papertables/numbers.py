"""What a table says: the numbers of its rows, and how sure their differences are.

A table's content is JSON, from which alone it is printed and drawn: facts of the rows, a value a
seed for each metric of each task@space, and comparisons. `values` is that as one long table.

A row is compared with the one that it is tested against by AUC, per task in the space of its loss:
significance.compare, over seeds and draws of the test rows. Holm's correction is over all rows and
tasks of a table.

The table `divergence` has rows on several sets of data, whose best AUCs differ. So it has the gap
of each run: the Bayes-optimal score's AUC on the test split less its own. MEAN is the mean of the
tasks that are tested. Holm's correction is over the rows of a level: for MEAN, and for the tasks.

An entry with several searches is compared by the mean of each search's runs. These means are
independent, and vary by the luck of the search, of its seeds, or both: drawing them again draws
searches and the seeds in them (significance.drawn_seeds).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.comparison.differences import Sampled, compare_rows
from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.paired import FEWEST
from dtn_jax.metrics.significance import FEW
from dtn_jax.papertables import references
from dtn_jax.papertables.protocol import OPTIMAL, OURS, Entry, Protocol, changed, configured
from dtn_jax.papertables.runs import Found, Runs

TOO_FEW, NOT_TESTED = "too few", "not tested"  # instead of a comparison
DIVERGENCE = "divergence"  # the table of gaps
MEAN = "mean of tasks"


def content(runs: Runs, name: str, entries: Sequence[Entry], command: str) -> dict:
    """A table as data, from the runs that are finished; entries without one have no row.

    Beside a shortened table stands no model from outside that was trained in full, nor what others
    published.

    Args:
      runs: of the protocol.
      name: of the table.
      entries: its rows.
      command: that makes it.

    Raises:
      UserError: `divergence`, and the best AUC is not known.
    """
    protocol, of_gaps = runs.protocol, name == DIVERGENCE  # whose rows are on several sets of data
    entries = [dataclasses.replace(e, against=e.against or protocol.ours) for e in entries]
    finished = {entry.name: runs.finished(entry) for entry in entries}
    every = [one for of in finished.values() for one in of]
    lacking = {e.name: protocol.runs_of(e.tuned_as) - len(finished[e.name]) for e in entries}
    searches = dict.fromkeys(s for e in entries for s in protocol.searches_of(e.tuned_as))
    # Models from outside are measured without weights, so none stands in such a table.
    outside = {} if runs.weighted or of_gaps else references.of_data(runs.data)
    published = protocol.published if name == "overall" and not protocol.cut else ()
    table = {
        "dataset": runs.data.schema.name,
        "table": name,
        "command": command,
        "rows": [row(entry, finished[entry.name]) for entry in entries if finished[entry.name]],
        "missing": {entry: count for entry, count in lacking.items() if count},
        "seeds": protocol.seeds,
        "trials": protocol.trials,
        "tuning": {name: tuning for name in searches if (tuning := runs.tuning(name))},
        "finalists": [protocol.finalists, protocol.finalist_seeds],
        "tested": list(protocol.tested),
        "rates": base_rates(every[0].results["test"]) if every else {},
        "note": protocol.note,
        "references": {n: one for n, one in outside.items() if n == OPTIMAL or not protocol.cut},
        "published": [dataclasses.asdict(one) for one in published],
        "versions": {
            package: sorted({str(one.versions[package]) for one in every})
            for package in (every[0].versions if every else ())
        },
        "devices": sorted({one.device for one in every}),
        "cell_dates": sorted({one.date for one in every}),
        **({"ours": protocol.ours} if protocol.ours != OURS else {}),
        **({"shortened": list(protocol.cut)} if protocol.cut else {}),
        **({"delta_m": protocol.delta_m} if protocol.delta_m and name == "overall" else {}),
    }
    if protocol.searches:
        table["searches"] = {e.name: len(protocol.searches_of(e.tuned_as)) for e in entries}
    if of_gaps or protocol.claims:
        add_means(table, protocol)
    if of_gaps:
        trained = (e for e in entries if finished[e.name])
        configs = {e.name: configured(protocol, e.settings, runs.places) for e in trained}
        add_gaps(table, {name: runs.data_of(config).notes for name, config in configs.items()})
    compare_all(table, finished)
    return table


def row(entry: Entry, runs: Sequence[Found]) -> dict:
    """An entry's metrics by task@space, a value a seed, and its size."""
    first, tests = runs[0].results, [run.results["test"] for run in runs]
    metrics = {
        key: {
            name: [test[key].get(name) for test in tests]
            for name, metric in METRICS.items()
            if metric.judges and any(name in test[key] for test in tests)
        }
        for key in tests[0]
    }
    return {
        "name": entry.name,
        "architecture": runs[0].config.get("model.architecture", ""),
        "group": entry.group,
        "at": entry.at,
        "against": entry.against,
        "experts": first["experts"],
        "seeds": [run.results["seed"] for run in runs],
        "runs": [run.name for run in runs],
        "metrics": metrics,
        "few": [key for key, of in tests[0].items() if is_few(of)],
        **({"few_groups": True} if any(map(in_few_groups, tests[0].values())) else {}),
        "parameters": first["parameters"],
        "table_parameters": first["table_parameters"],
        "flops": first["flops_per_example"],
        "train_seconds": [run.train_seconds for run in runs],
        "config": {key: of for key, of in changed(runs[0].config).items() if key != "seed"},
        "settings": {key: str(value) for key, value in entry.settings.items()},
        "tuned_as": entry.tuned_as,
        "same_as": "",
        "comparison": {},
    }


def is_few(of: Mapping) -> bool:
    """Whether the test split has too few examples of a class, or lies in too few groups, to tell
    anything of its ranking."""
    return "positives" in of and (
        min(of["positives"], of["examples"] - of["positives"]) < FEW or in_few_groups(of)
    )


def in_few_groups(of: Mapping) -> bool:
    groups = [of.get(name) for name in ("gauc_groups", "gauc_skipped")]
    return None not in groups and sum(groups) < FEWEST


def base_rates(test: Mapping[str, Mapping]) -> dict[str, float]:
    """The share of positives in the test split, by task@space."""
    return {
        key: of["positives"] / of["examples"]
        for key, of in test.items()
        if of.get("positives") is not None and of["examples"]
    }


def own_spaces(keys: Iterable[str]) -> list[str]:
    """The first task@space of each task: that of its loss, in which alone it is tested."""
    return list({key.partition("@")[0]: key for key in reversed(list(keys))}.values())[::-1]


def is_tested(key: str, tested: Sequence[str]) -> bool:
    return key == MEAN or not tested or key.partition("@")[0] in tested


def compare_all(table: dict, runs: Mapping[str, Sequence[Found]]) -> None:
    """Gives every row its difference from the one it is tested against, per task, where both sides
    have seeds and are not the same runs under two names."""
    by_name, families = {row["name"]: row for row in table["rows"]}, {}
    for row in table["rows"]:
        if row["against"] not in by_name:
            continue
        other, sides = by_name[row["against"]], (runs[row["name"]], runs[row["against"]])
        if [run.config for run in sides[0]] == [run.config for run in sides[1]]:
            row["same_as"] = row["against"] if other is not row else ""
            continue
        keys = own_spaces(row["metrics"]) if min(map(len, sides)) > 1 else []
        for key in (k for k in keys if k != MEAN or table["table"] == DIVERGENCE):  # else: claims
            of = table["tested_keys"] if key == MEAN else [key]
            if not {*of} <= {*sides[0][0].draws} or (key == MEAN and row["few"]):
                continue  # a regression, or of too few
            if key in row["few"] or not is_tested(key, table["tested"]):
                row["comparison"][key] = TOO_FEW if key in row["few"] else NOT_TESTED
                continue
            family = table["table"] == DIVERGENCE and (row["group"], row["at"], key == MEAN)
            pair = tuple(sampled(table, r, s, key, of) for r, s in zip((row, other), sides))
            families.setdefault(family, {})[row["name"], key] = pair
    for family in families.values():
        for (name, key), compared in compare_rows(family).items():
            sides = (by_name[name], by_name[by_name[name]["against"]])
            spread = two_deviations(*(np.array(side["metrics"][key]["auc"]) for side in sides))
            by_name[name]["comparison"][key] = compared | {"two_sd": spread}


def sampled(
    table: Mapping, row: Mapping, runs: Sequence[Found], key: str, keys: Sequence[str]
) -> Sampled:
    """A row's AUC on `key` and the draws of `keys`' mean: of each run or, where the row has several
    searches, the mean of each search's runs."""
    values = np.array(row["metrics"][key]["auc"])
    draws = np.stack([np.mean([run.draws[k] for k in keys], axis=0) for run in runs])
    searches = table.get("searches", {}).get(row["name"], 1)
    if searches == 1:
        return Sampled(values, draws)
    of = (np.array(row["seeds"]) - 1) % searches
    means = ([part[of == one].mean(axis=0) for one in np.unique(of)] for part in (values, draws))
    return Sampled(*map(np.stack, means))


def two_deviations(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Twice the standard deviation of single runs, pooled over two models with equal weight."""
    variances = [values.var(ddof=1) if np.ptp(values) else 0.0 for values in (ours, theirs)]
    return float(2 * np.sqrt(sum(variances) / 2))


def comparisons(row: Mapping) -> dict[str, dict]:
    """A row's comparisons by task@space, where it was compared."""
    return {key: of for key, of in row["comparison"].items() if isinstance(of, Mapping)}


def values(table: Mapping) -> pl.DataFrame:
    """All metrics as one long table, a line a value: table, row, group, at, task@space, metric,
    seed (none of a model from outside), value."""

    def lines() -> Iterator[tuple]:
        for row in table["rows"]:
            place = table["table"], row["name"], row["group"], row["at"]
            for key, metrics in row["metrics"].items():
                for metric, of_seeds in metrics.items():
                    for seed, value in zip(row["seeds"], of_seeds, strict=True):
                        yield *place, key, metric, seed, value
        for name, reference in table["references"].items():
            for key in reference["test"]:
                for metric, value in measured(reference, key).items():
                    yield table["table"], name, "", "", key, metric, None, value

    names = ("table", "row", "group", "at", "task@space", "metric")
    schema = dict.fromkeys(names, pl.String) | {"seed": pl.Int64, "value": pl.Float64}
    return pl.DataFrame(lines(), schema, orient="row")


def summary(table: Mapping) -> dict[tuple[str, str, str], tuple[float, float | None, int]]:
    """{(row, task@space, metric): mean, standard deviation over seeds, seeds that have a value}"""
    of, value = values(table), pl.col("value")
    keys = ("row", "task@space", "metric")
    summed = of.group_by(keys, maintain_order=True).agg(
        value.mean().alias("mean"), value.std().alias("sd"), value.count().alias("seeds")
    )
    return {line[:3]: line[3:] for line in summed.iter_rows() if line[5]}


def delta_m(table: Mapping, row: Mapping) -> float | None:
    """By how many per cent a row's AUCs are above those of the single-task models, the mean of the
    tasks that are tested; None where these are not trained.

    Maninis et al., Attentive Single-Tasking of Multiple Tasks, 2019, equation 4.
    """
    single = next((r for r in table["rows"] if r["name"] == table["delta_m"]), None)
    if single is None:
        return None
    keys = [key for key in own_spaces(row["metrics"]) if is_tested(key, table["tested"])]
    keys = [key for key in keys if key not in row["few"] and "auc" in row["metrics"][key]]
    ours, theirs = (np.mean([r["metrics"][k]["auc"] for k in keys], axis=1) for r in (row, single))
    return float(100 * np.mean((ours - theirs) / theirs))


def measured(reference: Mapping, key: str) -> Mapping[str, float]:
    """The metrics of a model from outside; what is only known by its AUC has that alone."""
    known = reference["test"].get(key) or {}
    return known if isinstance(known, Mapping) else {"auc": known}


def add_means(table: dict, protocol: Protocol) -> None:
    """Gives each row the mean AUC of the tasks that are tested; a regression has none."""
    metrics = table["rows"][0]["metrics"] if table["rows"] else {}
    keys = [key for key in own_spaces(metrics) if "auc" in metrics[key]]
    table["tested_keys"] = [key for key in keys if is_tested(key, protocol.tested)]
    for row in table["rows"]:
        aucs = [row["metrics"][key]["auc"] for key in table["tested_keys"]]
        row["metrics"][MEAN] = {"auc": np.mean(aucs, axis=0).tolist()}


# ---------------------------------------------------------------- the table `divergence`


def add_gaps(table: dict, notes: Mapping[str, Mapping]) -> None:
    """Gives each row its gaps to the best AUC, and its data's divergence."""
    for row in table["rows"]:
        known = notes[row["name"]]
        if "test_bayes_auc" not in known:
            raise UserError(f"divergence: the best AUC on {table['dataset']} is not known")
        best = known["test_bayes_auc"]
        row["best"] = best | {MEAN: float(np.mean([best[key] for key in table["tested_keys"]]))}
        for key, metrics in row["metrics"].items():
            metrics["gap"] = [row["best"][key] - value for value in metrics["auc"]]
        pairs = [value for of in known["true_divergence"].values() for value in of.values()]
        row["true_divergence"] = float(np.mean(pairs))


def first_dial(table: Mapping) -> list[dict]:
    """The rows of the first dial, which is the one that the table is about."""
    return [row for row in table["rows"] if row["group"] == table["rows"][0]["group"]]


def grouped(rows: Iterable[Mapping], what: str) -> dict[str, list[Mapping]]:
    """{their `at`, `group` or `tuned_as`: rows}"""
    return listed((row[what], row) for row in rows)


def listed(pairs: Iterable[tuple]) -> dict:
    """{the first of some pairs: the second ones}"""
    lists: dict = {}
    for first, second in pairs:
        lists.setdefault(first, []).append(second)
    return lists
