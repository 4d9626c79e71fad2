"""Pass 1: what a unit tells about the fields, labels and splits of its rows."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import encoders
from dtn_jax.datasets.logs.fit.statistics import KeyCounts, Moments, NumberCounts
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.days import Days
from dtn_jax.datasets.logs.rows.positives import Positives
from dtn_jax.datasets.logs.rows.splits import SPLITS, TRAIN
from dtn_jax.datasets.logs.rows.unit_rows import split_rows
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec
from dtn_jax.datasets.logs.work_folder import Work, file_name, new_folder
from dtn_jax.datasets.preparation.bags import lengths
from dtn_jax.field import SEVERAL

ENTRY = 100  # bytes that a key, its count and its text take, roughly


def fit_unit(work: Work, index: int) -> int:
    """Writes the statistics of a unit, `fit/00012/`; returns how many rows it has."""
    account, days = Account(), Days(work.spec, work.time_unit)
    positives = Positives(work.spec)
    counts, every = np.zeros(len(SPLITS), np.int64), np.zeros(len(SPLITS), np.int64)
    with new_folder(work.of("fit", index)) as folder:
        train = TrainStatistics(work.spec, folder, work.memory // ENTRY // 2)
        for found in split_rows(work, index, account):
            counts += np.bincount(found.split, minlength=len(SPLITS))
            every += np.bincount(found.every_split, minlength=len(SPLITS))
            days.add(found.every)
            positives.add(found.every)
            train.add(found.rows.take(found.split == TRAIN))
        train.save()
        facts = {
            "counts": counts.tolist(),  # by split, the rows that are stored
            "every": every.tolist(),  # and those before negative down-sampling
            "longest": train.longest,
            "moments": {name: found.to_json() for name, found in train.moments.items()},
            "parts": train.parts,
        }
        found = {"facts": facts, "rejects": account.to_json(), "days": days.to_json()}
        found["positives"] = positives.counts
        for name, content in found.items():  # apart: facts are read often, and stay small
            (folder / f"{name}.json").write_text(json.dumps(content))
    return account.rows


class TrainStatistics:
    """The statistics of a unit's train rows.

    Attributes:
      longest: {bag: the most values that it keeps of a row}.
      moments: of standardised numbers and vectors.
      parts: how many files each table's counts are in.
    """

    def __init__(self, spec: Spec, folder: pathlib.Path, most_held: int):
        self.specs = {field.name: field for field in spec.fields}
        self.folder, self.most_held = folder, most_held
        tables = [f.table for f in spec.fields if f.encoder == "vocabulary"]
        self.tables = {table: KeyCounts() for table in tables}
        counted = [f.name for f in spec.fields if f.encoder == "buckets" or f.bins]
        self.numbers = {name: NumberCounts() for name in counted}
        standard = [f.name for f in spec.fields if f.encoder == "standardise"]
        self.moments = {name: Moments() for name in standard}
        self.longest = {f.name: 0 for f in spec.fields if f.kind in SEVERAL}
        self.parts = dict.fromkeys(self.tables, 0)

    def add(self, rows: Rows) -> None:
        if not len(rows):
            return
        keyed = encoders.field_keys(self.specs, rows)
        for name, spec in self.specs.items():
            values = rows.values.get(name)
            if spec.kind in SEVERAL:
                self._bag(name, values)
            elif spec.encoder == "vocabulary":
                made, there = keyed[name]
                shown = None if values is None else values.filter(pl.Series(there))
                self._count(spec.table, made[there], shown)
            elif spec.kind == "vector":
                if name in self.moments:
                    self.moments[name].add(encoders.vectors(values, spec.length))
            elif spec.kind == "numeric":
                known = values.drop_nulls().to_numpy()
                if name in self.moments:
                    self.moments[name].add(known)
                if name in self.numbers:
                    self.numbers[name].add(known)

        for name, column in rows.beside.items():
            spec = self.specs[name]
            if spec.encoder == "vocabulary":
                self._values(spec, column.filter(pl.Series(rows.events[spec.beside])))

    def _bag(self, name: str, bag: pl.Series) -> None:
        spec = self.specs[name]
        longest = int(np.minimum(lengths(bag), spec.max_values).max(initial=0))
        self.longest[name] = max(self.longest[name], longest)
        if spec.encoder == "vocabulary" and (not spec.history or spec.gap):  # its rows count
            self._values(spec, encoders.bag_values(spec, bag))

    def _values(self, spec: FieldSpec, values: pl.Series) -> None:
        made, there = keys.known(values, spec.unknown)
        self._count(spec.table, made[there], values.filter(pl.Series(there)))

    def _count(self, table: str, made: np.ndarray, values: pl.Series | None) -> None:
        counts = self.tables[table]
        counts.add(made, values)
        if sum(found.held for found in self.tables.values()) <= self.most_held:
            return
        for found in self.tables.values():
            found.summed()
        if sum(found.held for found in self.tables.values()) > self.most_held // 2:
            self._spill()

    def _spill(self) -> None:
        """Writes the counts so far, and begins anew."""
        for table, counts in self.tables.items():
            if counts.held:
                counts.save(self.folder / f"{file_name(table)}.{self.parts[table]}.arrow")
                self.parts[table] += 1
                self.tables[table] = KeyCounts()

    def save(self) -> None:
        self._spill()
        for name, found in self.numbers.items():
            np.savez(self.folder / f"{file_name(name)}.numbers.npz", *found.summed())
