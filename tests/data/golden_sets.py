"""What readers get of some prepared sets, as JSON: tests/data/golden has it as it was.

How sets are prepared stands in `SETS`, how they are read in `record`.
"""

import functools
import gzip
import hashlib
import json
import pathlib

import numpy as np
import polars as pl
from world import log

from dtn_jax.data import vocabulary
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare

# --- the sets, from their raw files -----------------------------------------------------------


def world(root, folder):
    """Every kind of field: see tests/world/log.py."""
    return log.shared(str(root))[1]


def extended(root, folder):
    """Later rows of it, with new users and items."""
    frame = log.rows(800, seed=1).with_columns(pl.col("user") + 20, pl.col("item") * 2)
    text = log.SCHEMA.replace("name: shop", "name: later")
    return log.prepared(folder, frame, text, extend=world(root, folder).folder)


CSV = """
name: lines
fields:
  user:
  item: {min_count: 3, unknown: ["7"]}
  hashed: {column: item, encoder: hash, size: 60, functions: 2}
  hour: {value: hour(t)}
  dear: {value: price > 9 and not missing(speed)}
  price: {kind: numeric, buckets: 6}
  speed: {kind: numeric, encoder: standardise, bins: 4, embedding: piecewise_linear}
  far: {column: price, kind: numeric, log: true, encoder: standardise, embedding: periodic}
  query: {min_count: 4}
  item_x_user: {cross: [item, user], min_count: 2}
  file: {column: _file}
tasks:
  click:
  order: {space: click}
  late: {label: seconds > 30, known: click == 1}
group: user
time: t
loss_weight: w
split: {by: group, validation: 0.15, test: 0.15, seed: 3}
sample_negatives: {click: 0.5}
input: {separator: ";", missing: ["NULL"]}
"""
LISTS = ("seen", "seen_weights", "embedding", "viewed", "viewed_action")


def csv(root, folder):
    """Two files, one packed, and bad lines and values."""
    frame = log.rows(900, seed=2).drop(LISTS)
    frame = frame.with_columns(t=pl.col("t").dt.to_string("%Y-%m-%d %H:%M:%S"))
    gone = pl.int_range(900) % 11 == 5
    frame = frame.with_columns(pl.when(~gone).then(pl.col("speed", "item")))
    lines = frame.write_csv(separator=";", null_value="NULL").encode().split(b"\n")
    header, lines = lines[0], lines[1:-1]
    place = header.decode().split(";").index

    def spoil(row, column, value):
        values = lines[row].split(b";")
        values[place(column)] = value
        lines[row] = b";".join(values)

    for row, column, value in (
        (10, "price", b"cheap"),
        (20, "click", b"2"),
        (21, "click", b""),
        (22, "click", b"0.5"),
        (30, "w", b"-1"),
        (40, "t", b"2026-02-30 10:00:00"),
        (50, "user", b"NULL"),
        (60, "query", b"q\xff1"),
        (61, "query", b'"q1'),
        (62, "query", b"q\x001"),
        (600, "price", b"cheap"),
        (610, "speed", b"inf"),
        (620, "seconds", b"soon"),
        (630, "user", b'"7"'),
        (640, "query", b'"a;""b"""'),
    ):
        spoil(row, column, value)
    lines[70] = lines[70].rpartition(b";")[0]
    lines[71] += b";1"
    lines[72] = b""
    (folder / "raw").mkdir()
    write = {"a.csv": bytes, "b.csv.gz": functools.partial(gzip.compress, mtime=0)}
    for (name, pack), part in zip(write.items(), (lines[:500], lines[500:])):
        (folder / "raw" / name).write_bytes(pack(b"\n".join([header, *part, b""])))
    return logs(folder, CSV)


JSON = """
name: objects
fields:
  item:
  seen:
    {kind: bag, table: item, max_values: 2, keep: last, longest: 4, weights: seen_weights,
     pooling: mean}
  query: {encoder: hash, size: 30}
  actions: {column: viewed_action, kind: bag, encoder: hash, size: 20, functions: 2}
  price: {kind: numeric, encoder: standardise, log: true}
  embedding: {kind: vector, length: 3, encoder: none}
  bought: {history: {of: item, where: order == 1, by: user, last: 4}}
  paid: {beside: bought, value: round(price)}
  ago: {beside: bought, gap: true}
  name: {optional: true}
tasks:
  click:
  watch: {kind: regression, label: seconds, range: [0, 90], known: click == 1}
group: user
time: {column: t, unit: ms}
split: {by: user_order, validation: 0.1, test: 0.1}
"""


def jsonl(root, folder):
    """One file with bad lines and values; a field begins after line 300."""
    columns = log.rows(700, seed=4).with_columns(pl.col("t").dt.timestamp("ms")).to_dicts()
    for number, row in enumerate(columns):
        if number > 300 and number % 3 == 0:
            row["name"] = f"n{number % 9}"
        if number % 13 == 4:
            del row["price"]
    spoiled = (
        (15, "price", "cheap"),
        (25, "click", "often"),
        (26, "click", None),
        (35, "seen", [1] * 5),
        (36, "seen_weights", [1.0] * 9),
        (45, "embedding", [1.0, 2.0]),
        (55, "t", "yesterday"),
        (56, "t", None),
        (65, "user", None),
        (75, "item", [1, 2]),
        (400, "price", "cheap"),
    )
    for row, column, value in spoiled:
        columns[row][column] = value
    clicked = [n for n, row in enumerate(columns[200:], 200) if row["click"] == 1]
    columns[clicked[0]]["seconds"] = 90.5
    columns[clicked[1]]["seconds"] = None
    lines = [json.dumps(row) for row in columns]
    lines[85] = lines[85][:-20]
    lines[86] = f"[{lines[86]}]"
    lines[87] = "no json"
    lines[88] = ""
    (folder / "raw").mkdir()
    (folder / "raw/a.jsonl").write_text("\n".join(lines))
    return logs(folder, JSON)


def logs(folder, text):
    schema = log.schema_file(folder, text)
    raw = str(folder / "raw")
    return prepare(schema, raw, folder / "data", processes=1, max_reject_rate=0.1)


SETS = {
    "log": world,
    "extended": extended,
    "csv": csv,
    "jsonl": jsonl,
}


# --- what a reader gets -----------------------------------------------------------------------


def record(name: str, data) -> dict:
    """Everything that golden/NAME.json holds of a set; of arrays and vocabularies their hashes."""
    folder, found = data.folder / vocabulary.FOLDER, {"rows": data.rows}
    found["unknown values"] = {s: _nonzero(counts) for s, counts in data.unknown_values.items()}
    found["cut values"] = {s: _nonzero(counts) for s, counts in data.cut_values.items()}
    found |= {"bad rows": _bad_rows(data), "numbers": _fits(data), "vocabularies": {}}
    for field in data.schema.fields:
        names = vocabulary.names(folder, field.table, range(1, field.rows))
        if any(names.values()):  # not of pairs
            found["vocabularies"][field.name] = [len(names), _sha(_line([*names.items()]))]
    return found | {split: _hashes(data, split) for split in data.rows}


def _hashes(data, split: str) -> dict[str, str]:
    """{name: SHA-256 of its rows}: a field's ids by the field's name; what stands beside as
    `(weights)`, `(labels)` and so on, in brackets so that no field has such a name."""
    batch, start, found = SplitReader(data, split).everything(), 0, {}
    for field in data.schema.fields:
        found[field.name] = np.asarray(batch.ids)[:, start : start + field.slots]
        start += field.slots
    mask = np.asarray(batch.label_mask)
    found |= {"(weights)": batch.weights, "(numeric)": batch.numeric, "(label_mask)": mask}
    found["(labels)"] = np.where(mask, batch.labels, 0)  # of no meaning where they are masked
    found |= {"(sample_weight)": batch.sample_weight, "(loss_weight)": batch.loss_weight}
    found |= {"(group)": data.groups(split), "(day)": data.days(split)}
    arrays = {name: np.ascontiguousarray(a) for name, a in found.items() if a is not None}
    kinds = {name: a.dtype.newbyteorder("<") for name, a in arrays.items()}
    return {name: _sha(a.astype(kinds[name]).tobytes()) for name, a in arrays.items() if a.size}


def _fits(data) -> dict[str, dict]:
    """{field: its buckets, bins and scale, to nine digits; of long lists the hash}."""
    text, kept = (data.folder / "encoders.json").read_text(), {}
    for name, one in json.loads(text, parse_float=lambda n: float(f"{float(n):.9g}")).items():
        own = {k: one[k] for k in ("dominating", "edges", "mean", "deviation", "bins") if k in one}
        if own:
            kept[name] = own if len(_line(own)) < 200 else _sha(_line(own))
    return kept


def _bad_rows(data) -> dict:
    """Counts by reason, and of each the first rows."""
    path, counts = data.folder / "rejects.jsonl", data.notes["rejected"]
    first = {reason: [] for reason in counts}
    for row in map(json.loads, path.read_text().splitlines() if path.exists() else []):
        place = [pathlib.Path(row["file"]).name, *(row[k] for k in ("row", "column", "value"))]
        first[row["reason"]].append(place)
    return {"read": data.notes["read"]} | {r: [counts[r], *first[r][:3]] for r in counts}


def _nonzero(counts):
    return {name: count for name, count in counts.items() if count}


def _sha(data: bytes | str) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()[:8]


def _line(value) -> str:
    return json.dumps(value, ensure_ascii=False)


def text(found: dict) -> str:
    """JSON, an array, a field or a vocabulary a line."""
    parts = []
    for key, value in found.items():
        lines = ",\n".join(f"  {_line(k)}: {_line(v)}" for k, v in value.items())
        parts.append(f" {_line(key)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
