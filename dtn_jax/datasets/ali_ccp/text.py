"""Parses Ali-CCP's lines: of the published pair of files, and of the released reader's one file.

A skeleton line is `sample_id,click,conversion,common_index,n,features`, a line of common features
`common_index,n,features`, with `features` n times `field \\x02 id \\x03 value`, joined by `\\x01`.
The released reader of DTN's authors writes `sample_id,click,conversion` and then for each of
FIELDS `field:id#id#...`, or `field:0` where it is missing; it drops the values.

Malformed lines are counted by reason; whatever can be used of them is used.
"""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.datasets.preparation.ragged import Ragged
from dtn_jax.datasets.preparation.text_lines import NUMBER, TEXT, Damage, Reason
from dtn_jax.shapes import Bool, Int
from dtn_jax.tables.hashing import scramble

# In the order of the released reader.
# fmt: off
FIELDS = (
    "101", "109_14", "110_14", "127_14", "150_14", "121", "122", "124", "125", "126", "127", "128",
    "129", "205", "206", "207", "210", "216", "508", "509", "702", "853", "301",
)
# fmt: on
USER = FIELDS.index("101")
SKELETON = ("sample_id", "click", "conversion", "common_index", "count", "features")
COMMON = ("common_index", "count", "features")
RELEASED = (*SKELETON[:3], *FIELDS)
LARGEST_ID = 2**31 - 1
VALIDATION = 0.1  # of the train file's lines, by a hash of their sample_id
VALIDATION_SEED = 2018
BITS = pa.array(["0", "1"])
DIGITS = 18  # of a whole number, at most: it fits 64 bits
WHOLE = rf"^[0-9]{{1,{DIGITS}}}$"
DECIMAL = r"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?$"

COLUMNS = {names: Reason(f"not {len(names)} columns") for names in (SKELETON, COMMON, RELEASED)}
EMPTY = {name: Reason(f"no {name}") for name in ("sample_id", "common_index")}
SAMPLE = Reason(f"sample_id is not a whole number of at most {DIGITS} digits")
LABEL = {name: Reason(f"{name} is not 0 or 1") for name in ("click", "conversion")}
COUNT = Reason("the number of features is not a whole number")
MISCOUNT = Reason("the number of features is wrong")
PARTS = Reason("a feature without field, id and value")
ID = Reason(f"an id that is not a whole number up to {LARGEST_ID:,}")
VALUE = Reason("a value that is not a finite number")
PLACE = Reason("a column that does not hold its field")
UNKNOWN = Reason("a field that is not one of the 23", left_out=False, limited=False)
NO_INDEX = Reason("no common_index", left_out=False)  # of a skeleton
NOT_FOUND = Reason("its common_index has no line of common features", left_out=False)
TWICE = Reason("the common_index of an earlier line")

Rows = tuple[pa.RecordBatch, list[Ragged]]  # the lines that are good, and each field's values


def skeleton_rows(lines: pa.RecordBatch, damage: Damage) -> Rows:
    """Lines of a skeleton file: columns `sample_id`, `click`, `conversion`, `common_index`."""
    return features_of(_labelled(split_columns(lines, SKELETON, damage), damage), damage)


def common_rows(lines: pa.RecordBatch, damage: Damage) -> Rows:
    """Lines of a file of common features: column `common_index`."""
    rows = split_columns(lines, COMMON, damage)
    rows = keep(rows, pc.not_equal(rows["common_index"], ""), EMPTY["common_index"], damage)
    return features_of(rows, damage)


def released_rows(lines: pa.RecordBatch, damage: Damage) -> Rows:
    """Lines of a file of the released reader: columns as of a skeleton's; weights are 1."""
    rows = _labelled(split_columns(lines, RELEASED, damage), damage)
    for name in FIELDS:
        rows = keep(rows, pc.starts_with(rows[name], f"{name}:"), PLACE, damage)
    wrong, found = np.zeros(len(rows), bool), []
    for name in FIELDS:
        texts = pc.split_pattern(pc.utf8_slice_codeunits(rows[name], len(name) + 1), "#")
        lengths = pc.list_value_length(texts).to_numpy()
        owner = np.repeat(np.arange(len(rows)), lengths)
        ids, good = _numbers(texts.flatten(), pa.uint64(), WHOLE)
        good &= ids <= LARGEST_ID
        wrong[owner[~good]] = True
        found.append((owner, ids, good & (ids != 0)))  # 0 is the released reader's padding
    rows = keep(rows, ~wrong, ID, damage)
    kept, values = np.cumsum(~wrong) - 1, []
    for owner, ids, used in found:
        used = used & ~wrong[owner]
        lengths = np.bincount(kept[owner[used]], minlength=len(rows))
        values.append(Ragged(lengths, ids[used].astype(np.int32), np.ones(used.sum(), np.float32)))
    return rows, values


def sample_ids(lines: pa.Array) -> Int[np.ndarray, " B"]:
    """The sample_id of each line of a skeleton or of the released reader; -1 for what is none."""
    starts = pc.binary_slice(lines, 0, DIGITS + 1)  # splitting whole lines takes far longer
    texts = pc.list_element(pc.split_pattern(starts, ",", max_splits=1), 0)
    ids, good = _numbers(texts, pa.uint64(), WHOLE)
    return np.where(good & (ids < 10**DIGITS), ids.astype(np.int64), -1)


def held_out(ids: Int[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """A mask of the train file's lines that belong to validation, by sample_id.

    The files of the publishers and of the released reader share ids but not line numbers, as that
    reader skips lines. A damaged line without an id (-1) belongs to train.
    """
    low, high = (part.astype(np.uint32) for part in (ids & 0xFFFFFFFF, ids >> 32))
    hashed = scramble(low ^ scramble(high) ^ np.uint32(VALIDATION_SEED))
    return hashed < np.uint32(VALIDATION * 2**32)


def keep(
    rows: pa.RecordBatch, good: pa.Array | np.ndarray, reason: Reason, damage: Damage
) -> pa.RecordBatch:
    """The rows that are good; the others are counted."""
    mask = good if isinstance(good, np.ndarray) else good.to_numpy(zero_copy_only=False)
    if mask.all():
        return rows
    bad = rows.filter(pa.array(~mask))
    damage.add(reason, bad[NUMBER].to_numpy(), bad[TEXT])
    return rows.filter(pa.array(mask))


def split_columns(lines: pa.RecordBatch, names: tuple[str, ...], damage: Damage) -> pa.RecordBatch:
    """Lines with this many comma-separated columns, and the columns, as text."""
    pieces = pc.split_pattern(lines[TEXT], ",")
    good = pc.equal(pc.list_value_length(pieces), len(names))
    rows = keep(lines, good, COLUMNS[names], damage)
    texts = (pieces if len(rows) == len(lines) else pieces.filter(good)).flatten()
    every = np.arange(0, len(texts), len(names))
    columns = [texts.take(pa.array(every + place)) for place in range(len(names))]
    return pa.RecordBatch.from_arrays([*rows.columns, *columns], [NUMBER, TEXT, *names])


def _labelled(rows: pa.RecordBatch, damage: Damage) -> pa.RecordBatch:
    """The rows with a sample_id and two labels."""
    rows = keep(rows, pc.not_equal(rows["sample_id"], ""), EMPTY["sample_id"], damage)
    ids, good = _numbers(rows["sample_id"], pa.uint64(), WHOLE)
    rows = keep(rows, good & (ids < 10**DIGITS), SAMPLE, damage)
    for name, reason in LABEL.items():
        rows = keep(rows, pc.is_in(rows[name], value_set=BITS), reason, damage)
    return rows


def features_of(rows: pa.RecordBatch, damage: Damage) -> Rows:
    """Reads the columns `count` and `features`."""
    counts, good = _numbers(rows["count"], pa.uint64(), WHOLE)
    rows, counts = keep(rows, good, COUNT, damage), counts[good]
    texts = pc.if_else(pc.equal(rows["features"], ""), None, rows["features"])
    pieces = pc.split_pattern(texts, "\x01")
    lengths = pc.fill_null(pc.list_value_length(pieces), 0).to_numpy()
    good = lengths == counts
    rows = keep(rows, good, MISCOUNT, damage)
    if not good.all():
        pieces, lengths = pieces.filter(pa.array(good)), lengths[good]
    owner = np.repeat(np.arange(len(rows)), lengths)

    halved, names, values = _halves(pieces.flatten(), "\x03")
    faults, owner = [(PARTS, owner[~halved])], owner[halved]
    halved, field, ids = _halves(names, "\x02")
    faults.append((PARTS, owner[~halved]))
    owner, values = owner[halved], values.filter(pa.array(halved))
    ids, good = _numbers(ids, pa.uint64(), WHOLE)
    good &= ids <= LARGEST_ID
    faults.append((ID, owner[~good]))
    values, good = _numbers(values, pa.float32(), DECIMAL)
    good &= np.isfinite(values)
    faults.append((VALUE, owner[~good]))
    field = pc.fill_null(pc.index_in(field, value_set=pa.array(FIELDS)), len(FIELDS))
    field = field.to_numpy().astype(np.uint8)

    wrong = np.zeros(len(rows), bool)
    for reason, owners in faults:  # a line counts for its first reason
        now = np.zeros(len(rows), bool)
        now[owners] = True
        keep(rows, ~now | wrong, reason, damage)
        wrong |= now
    unknown = np.zeros(len(rows), bool)
    unknown[owner[field == len(FIELDS)]] = True
    keep(rows, ~unknown | wrong, UNKNOWN, damage)
    if wrong.any():
        used = ~wrong[owner]
        owner = (np.cumsum(~wrong) - 1)[owner[used]]
        field, ids, values = field[used], ids[used], values[used]
        rows = rows.filter(pa.array(~wrong))
    return rows, _by_field(len(rows), owner, field, ids.astype(np.int32), values)


def _halves(texts: pa.Array, separator: str) -> tuple[np.ndarray, pa.Array, pa.Array]:
    """A mask of the texts with one separator, and what those have before and after it."""
    pieces = pc.split_pattern(texts, separator)
    good = pc.equal(pc.list_value_length(pieces), 2)
    mask = good.to_numpy(zero_copy_only=False)
    flat = (pieces if mask.all() else pieces.filter(good)).flatten()
    every = np.arange(0, len(flat), 2)
    return mask, flat.take(pa.array(every)), flat.take(pa.array(every + 1))


def _by_field(
    rows: int, owner: np.ndarray, field: np.ndarray, ids: np.ndarray, values: np.ndarray
) -> list[Ragged]:
    """Features, in the order of rows, to the values of each of FIELDS."""
    order = np.argsort(field, kind="stable")
    bounds = np.searchsorted(field[order], np.arange(len(FIELDS) + 1))
    found = []
    for start, stop in itertools.pairwise(bounds):
        at = order[start:stop]
        lengths = np.bincount(owner[at], minlength=rows)
        found.append(Ragged(lengths, ids[at], values[at]))
    return found


def _numbers(texts: pa.Array, dtype: pa.DataType, pattern: str) -> tuple[np.ndarray, np.ndarray]:
    """The numbers, and a mask of the texts that are one; others are 0."""
    # The cast would take hexadecimal and very long texts for numbers.
    odd = pc.any(pc.match_substring(texts, "x", ignore_case=True)).as_py()
    odd = odd or (pattern == WHOLE and (pc.max(pc.binary_length(texts)).as_py() or 0) > DIGITS)
    try:
        if odd:
            raise pa.ArrowInvalid
        return texts.cast(dtype).to_numpy(), np.ones(len(texts), bool)
    except pa.ArrowInvalid:
        good = pc.match_substring_regex(texts, pattern)
        numbers = pc.if_else(good, texts, "0").cast(dtype)
        return numbers.to_numpy(), good.to_numpy(zero_copy_only=False)
