"""A table as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping

from dtn_jax.papertables.content import comparisons
from dtn_jax.papertables.text import measured


def csv_text(found: Mapping) -> str:
    """A line per row, task@space and metric, then those of models from outside; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    compared = ("difference", "low", "high", "p", "p_holm", "two_sd", "t", "freedom", "p_t")
    labels = ("table", "row", "group", "at", "task@space", "metric", "mean", "sd", "seeds")
    sizes = ("parameters", "table_parameters", "flops_per_example", "train_seconds")
    writer.writerow([*labels, "against", *compared, *sizes])
    for row in found["rows"]:
        timed = [v for v in row["train_seconds"] if v is not None]
        size = (row["parameters"], row["table_parameters"], row["flops"])
        size += (statistics.median(timed) if timed else "",)
        for key, metrics in row["metrics"].items():
            for metric, values in metrics.items():
                known = [v for v in values if v is not None]
                mean = statistics.mean(known) if known else ""
                deviation = statistics.stdev(known) if len(known) > 1 else ""
                test = row["comparison"].get(key) if metric == "auc" else None
                done = comparisons(row).get(key) if metric == "auc" else None
                nothing = [""] * (len(compared) - 1)
                tested = [done.get(c, "") for c in compared] if done else [test or "", *nothing]
                against = row["against"] if test else ""
                named = (found["table"], row["name"], row["group"], row["at"], key, metric)
                writer.writerow([*named, mean, deviation, len(known), against, *tested, *size])
    blank = [""] * (1 + len(compared) + len(sizes))
    for name, reference in found["references"].items():
        for key in reference["test"]:
            for metric, value in measured(reference, key).items():
                shown = "" if value is None else value
                writer.writerow([found["table"], name, "", "", key, metric, shown, "", 1, *blank])
    return out.getvalue()
