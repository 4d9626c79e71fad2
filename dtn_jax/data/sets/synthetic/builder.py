"""Synthetic impressions with a known answer, generated as a stream; funnel.py has the law."""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.data.sets.synthetic import funnel, known_answer
from dtn_jax.metrics.auc import auc
from dtn_jax.options import declared
from dtn_jax.schema import ALL

CHUNK = 16 * funnel.BLOCK_ROWS  # rows generated at a time
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
SCHEMA = """
fields:
{fields}
tasks:
  click:
  cart: {{upstream: [click], also_report: [click]}}
  order: {{upstream: [cart], also_report: [cart, click]}}
split: {{by: column, column: _split}}
"""
ROLES = {"f301": "scenario", "f101": "prior", "f205": "prior"}  # as Ali-CCP's
TRUTH_ROWS = 1_000_000  # at most so many test rows are used for the test split's Bayes AUC


def layout_of(rows: int) -> Layout:
    """The layout for so many train rows. Runs on prepared sets depend on it: it stays."""
    lanes = 64
    while lanes > 1 and rows < lanes * 2048:
        lanes //= 2
    return Layout(lanes, 1024 if rows >= 1_000_000 else 128)


class Synthetic(DataSet):
    """A funnel click → cart → order over 23 fields with Ali-CCP's names and relative sizes.

    notes.json holds the truth: importances, interacting pairs, and the Bayes-optimal AUC of each
    task and space, `bayes_auc` in expectation and `test_bayes_auc` on the test split's own labels;
    and `true_divergence` of every two tasks.
    """

    name = "synthetic"
    weight = ""
    OPTIONS: ClassVar = declared(funnel.FunnelSpec)

    @functools.cached_property
    def funnel(self) -> funnel.FunnelSpec:
        """The law that the rows are drawn from, by the options."""
        return funnel.FunnelSpec(**vars(self.options))

    def variant(self):
        return "_".join(f"{name}{value}" for name, value in self.funnel.facts().items())

    def schema_text(self):
        sizes = self.funnel.sizes.items()
        roles = {name: f", role: {role}" for name, role in ROLES.items()}
        fields = [
            f"  {name}: {{encoder: identity, size: {size}{roles.get(name, '')}}}"
            for name, size in sizes
        ]
        return SCHEMA.format(fields="\n".join(fields))

    @property
    def layout(self):
        """The layout for the set's number of rows."""
        return layout_of(round(SHARES["train"] * self.funnel.rows))

    def raw(self, files):
        return {split: self.frames(*self.span(split)) for split in SHARES}

    def span(self, split: str) -> tuple[int, int]:
        """The split's rows, [start, stop)."""
        ends = [round(share * self.funnel.rows) for share in np.cumsum([0, *SHARES.values()])]
        at = list(SHARES).index(split)
        return ends[at], ends[at + 1]

    def frames(self, start: int, stop: int):
        """Yields the rows start ... stop - 1, as frames of at most CHUNK rows."""
        for first in range(start, stop, CHUNK):
            ids, labels = funnel.rows(self.funnel, first, min(CHUNK, stop - first))
            columns = zip((*funnel.FIELDS, *funnel.TASKS), (*ids.T, *labels.T), strict=True)
            yield pl.DataFrame(dict(columns))

    @property
    def notes(self):
        """The truth: what drew the rows, and how well it predicts test rows."""
        start, stop = self.span("test")
        ids, labels = funnel.rows(self.funnel, start, min(stop - start, TRUTH_ROWS))
        known = dict(zip(funnel.TASKS, labels.T, strict=True))
        everyone = np.ones(len(ids), bool)
        test = {}
        for name, scores in known_answer.bayes_scores(self.funnel, ids).items():
            task, space = name.split("@")
            mask = everyone if space == ALL else known[space] == 1
            test[name] = auc(scores[mask], known[task][mask])
        return known_answer.truth(self.funnel) | {"test_bayes_auc": test}
