"""Between the passes: the units' statistics to vocabularies, buckets, the layout and the shards.

A table's keys are gone through a range at a time, so that memory holds one range. What comes out
depends on the sums alone.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import older, shards, vocabulary_file
from dtn_jax.datasets.logs.fit.encoders import Fitted
from dtn_jax.datasets.logs.fit.fit_unit import ENTRY
from dtn_jax.datasets.logs.fit.statistics import KeyCounts, Moments, NumberCounts
from dtn_jax.datasets.logs.fit.vocabulary_file import CHUNK, VALUES
from dtn_jax.datasets.logs.rows.splits import SPLITS
from dtn_jax.datasets.logs.schema.spec import FieldSpec
from dtn_jax.datasets.logs.work_folder import Work, file_name, whole
from dtn_jax.datasets.preparation.blocks import Layout, default_layout
from dtn_jax.datasets.preparation.encoders import QuantileBuckets
from dtn_jax.datasets.preparation.numbers import quantiles, standardised_edges
from dtn_jax.errors import UserError
from dtn_jax.field import SEVERAL

VOCABULARY = "vocabulary"  # the folder of a set's vocabularies
TYPES = {"keys": np.uint64, "counts": np.int64, "known": np.int32}  # of what a merge leaves


def tables(work: Work) -> list[str]:
    """The tables that have a vocabulary."""
    return list(dict.fromkeys(f.table for f in work.spec.fields if f.encoder == "vocabulary"))


def merge_table(work: Work, table: str, folder: pathlib.Path) -> dict[str, int]:
    """Writes a table's vocabulary to `folder`; returns what `older.FACTS` are."""
    known = older.load(work.extends and work.extends / VOCABULARY, table)
    files = [
        work.of("fit", unit) / f"{file_name(table)}.{part}.arrow"
        for unit in range(len(work.units))
        for part in range(work.fitted(unit)["parts"][table])
    ]
    parts = [_mapped(file) for file in files]
    entries = sum(len(part) for part in parts) + len(known.keys)
    ranges = max(1, -(-entries * ENTRY // max(work.memory // 2, 1)))
    edges = [(place << 64) // ranges for place in range(ranges)]
    keyed = [*(part["key"].to_numpy() for part in parts), known.keys]
    *cuts, known_cut = [
        np.append(np.searchsorted(k, np.array(edges, np.uint64)), len(k)) for k in keyed
    ]
    least = next(f.min_count for f in work.spec.fields if f.table == table)
    path = vocabulary_file.path_of(folder, table)
    raw = {name: path.with_suffix(f".{name}") for name in TYPES}
    facts = dict.fromkeys(older.FACTS, 0)
    values, held = vocabulary_file.path_of(folder, table, ".values"), VALUES.empty_table()
    with (
        raw["keys"].open("wb") as key_file,
        raw["counts"].open("wb") as count_file,
        raw["known"].open("wb") as known_file,
        pa.OSFile(str(values), "wb") as value_file,
        pa.ipc.new_file(value_file, VALUES) as writer,
    ):
        for place in range(ranges):
            found = KeyCounts()
            for part, cut in zip(parts, cuts, strict=True):
                start, stop = int(cut[place]), int(cut[place + 1])
                _include(found, part.slice(start, stop - start))
            made, counts, texts = found.summed()
            part = slice(int(known_cut[place]), int(known_cut[place + 1]))
            kept = known.merged(part, made, counts, _shown(made, texts), least)
            key_file.write(kept.keys.tobytes())
            count_file.write(kept.counts.tobytes())
            known_file.write(kept.known.tobytes())
            facts = {name: number + kept.facts[name] for name, number in facts.items()}
            held = pa.concat_tables([held, pa.table([kept.values, kept.counts], schema=VALUES)])
            whole = len(held) if place == ranges - 1 else len(held) // CHUNK * CHUNK
            writer.write_table(held.slice(0, whole).combine_chunks(), max_chunksize=CHUNK)
            held = held.slice(whole)
    vocabulary_file.write(path, *(_memmap(raw[name], dtype) for name, dtype in TYPES.items()))
    for file in raw.values():
        file.unlink()
    return facts


def _shown(made: np.ndarray, texts: pl.Series) -> pa.Array:
    """The values of keys, as texts."""
    whole = pl.Series(keys.numbers_of(made)).cast(pl.String)
    return texts.zip_with(texts.is_not_null(), whole).to_arrow().cast("large_string")


def _memmap(path: pathlib.Path, dtype: type) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def _mapped(path: pathlib.Path) -> pa.Table:
    with whole(path, path.parent), pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all().combine_chunks()


def _include(found: KeyCounts, part: pa.Table) -> None:
    if len(part):
        columns = [part[name].combine_chunks() for name in ("key", "count")]
        texts = pl.Series(part["value"].combine_chunks(), dtype=pl.String)
        found.parts.append((*(c.to_numpy(zero_copy_only=False) for c in columns), texts))
        found.held += len(part)


def fit_numbers(work: Work, name: str) -> dict:
    """The buckets of a numeric field, or the quantiles between its bins."""
    counts = NumberCounts()
    for unit in range(len(work.units)):
        path = work.of("fit", unit) / f"{file_name(name)}.numbers.npz"
        with whole(path, path.parent), path.open("rb") as file, np.load(file) as part:
            counts.include(part["arr_0"], part["arr_1"])
    numbers, times = counts.summed()
    spec = next(field for field in work.spec.fields if field.name == name)
    if spec.bins:
        return {"quantiles": quantiles(numbers, times, spec.bins)}
    fitted = QuantileBuckets(spec.buckets).fit(pl.DataFrame({"value": numbers, "count": times}))
    return {"dominating": fitted.dominating, "edges": fitted.edges}


@dataclasses.dataclass
class Joined:
    """The facts of all units.

    Attributes:
      counts: of each unit, the rows of each split.
      every: the rows of each split before negative down-sampling.
      longest: {bag: the most values that it keeps of a row}.
      moments: of standardised numbers and vectors.
    """

    counts: list[list[int]]
    every: np.ndarray
    longest: dict[str, int]
    moments: dict[str, Moments]


def _joined(work: Work) -> Joined:
    """Joins the facts of the units, in their order, one at a time."""
    made = Joined([], np.zeros(len(SPLITS), np.int64), {}, {})
    for unit in range(len(work.units)):
        facts = work.fitted(unit)
        made.counts.append(facts["counts"])
        made.every += np.array(facts["every"], np.int64)
        for name, longest in facts["longest"].items():
            made.longest[name] = max(made.longest.get(name, 0), longest)
        for name, moments in facts["moments"].items():
            made.moments.setdefault(name, Moments()).include(Moments.from_json(moments))
    return made


def finish(
    work: Work,
    folder: pathlib.Path,
    numbers: dict[str, dict],
    ids: dict[str, dict],
    layout: Layout | None = None,
) -> None:
    """Writes `folder/merged.json`: what pass 2 and the reader of the set need to know.

    Args:
      work: its units are fitted.
      folder: of the vocabularies.
      numbers: {field: what `fit_numbers` found}.
      ids: {table: what `merge_table` found}.
      layout: of the set; None: the usual one for its size.

    Raises:
      UserError: a split is empty.
    """
    found = _joined(work)
    counts = np.array(found.counts, np.int64)
    rows = dict(zip(("train", "validation", "test"), counts.sum(axis=0).tolist(), strict=True))
    empty = [split for split, count in rows.items() if not count]
    if empty:
        raise UserError(
            f"{work.spec.path or work.spec.name}: the {empty[0]} split is empty "
            f"({', '.join(f'{n:,} {s}' for s, n in rows.items())} rows, split by "
            f"{work.spec.split.by}); change `split` in the schema file"
        )
    known = older.fields(work.spec, work.extends, VOCABULARY) if work.extends else {}
    fitted = {
        f.name: _extended(known[f.name], found, folder)
        if known
        else _fitted(f, found, folder, numbers)
        for f in work.spec.fields
    }
    each = [f.slots * (1 + bool(f.spec.weights)) + f.numbers for f in fitted.values()]
    row_bytes = 4 * (sum(each) + 3) + 5 * len(work.spec.tasks)
    layout = layout or default_layout(rows["train"], row_bytes)
    made = {
        "encoders": {name: made.to_json() for name, made in fitted.items()},
        "layout": [layout.lanes, layout.block_rows],
        "rows": rows,
        "counts": counts.tolist(),
        "every": found.every.tolist(),
        "shards": shards.groups(counts),
    }
    if known:
        made["ids"] = {table: ids[table] for table in tables(work)}
    (folder / "merged.json").write_text(json.dumps(made))


def _fitted(
    spec: FieldSpec, found: Joined, folder: pathlib.Path, numbers: dict[str, dict]
) -> Fitted:
    rows, slots, more = 2, 1, {}
    if spec.encoder == "vocabulary":
        rows = _rows(folder, spec.table)
    elif spec.size:
        rows, slots = 1 + spec.size, spec.functions
    if spec.kind in SEVERAL:
        slots *= max(1, found.longest[spec.beside or spec.name])
    if spec.encoder == "buckets":
        fits = {name: tuple(fit) for name, fit in numbers[spec.name].items()}
        more["buckets"] = QuantileBuckets(spec.buckets, **fits)
        rows = more["buckets"].rows
    if spec.encoder == "standardise":
        more["mean"], more["deviation"] = _scale(found.moments[spec.name], spec.length)
    if spec.bins:
        scale = float(more["mean"]), float(more["deviation"])
        more["edges"] = standardised_edges(numbers[spec.name]["quantiles"], *scale)
    return Fitted(spec, rows, slots, **more)


def _extended(known: Fitted, found: Joined, folder: pathlib.Path) -> Fitted:
    """The same buckets, bins, scales and hash functions; more rows of a vocabulary, more slots."""
    spec, rows, slots = known.spec, known.rows, known.slots
    if spec.encoder == "vocabulary":
        rows = _rows(folder, spec.table)
    if spec.kind in SEVERAL:
        slots = max(slots, spec.functions * found.longest[spec.beside or spec.name])
    return dataclasses.replace(known, rows=rows, slots=slots)


def _rows(folder: pathlib.Path, table: str) -> int:
    return 1 + len(_mapped(vocabulary_file.path_of(folder, table)))


def _scale(moments: Moments, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation; 1 where numbers do not differ."""
    shape = (length,) if length else ()
    if not moments.count:
        return np.zeros(shape), np.ones(shape)
    mean = np.asarray(moments.mean, np.float64)
    deviation = np.sqrt(np.asarray(moments.squares, np.float64) / moments.count)
    tiny = deviation <= 1e-9 * np.abs(mean)  # the mean's rounding would pass for a spread
    return mean, np.where(tiny | (deviation == 0), 1.0, deviation)
