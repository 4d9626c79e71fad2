"""A small generated pair of Ali-CCP, its files and its rows, for the tests."""

import functools

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.ali_ccp import FIELDS, held_out
from experiments.ali_ccp_twin import (
    EFFECTS,
    OWN_MANY,
    OWN_ONE,
    Block,
    PairSpec,
    Ragged,
    common_blocks,
    skeleton_blocks,
)

SPEC = PairSpec(
    rows={"train": 1_500, "test": 400},
    lines={"train": 60, "test": 40},
    behaviours=0.04,
    odd=0.05,
    seed=1,
)
OPTIONS = "min_count=2,max_values=4,conversion_without_click=keep"


def common_of(spec: PairSpec, part: str) -> Block:
    """All common features of a part, joined."""
    blocks = list(common_blocks(spec, part))
    features = [Ragged.join(f) for f in zip(*(b.features for b in blocks), strict=True)]
    logits = {task: np.concatenate([b.logits[task] for b in blocks]) for task in EFFECTS}
    return Block(features, logits)


def joined_rows(spec: PairSpec, part: str) -> pl.DataFrame:
    """The rows themselves: `click`, `conversion`, and of each field the lists of its ids and, as
    `<field>_weights`, of their weights."""
    common = common_of(spec, part)
    frames = []
    for rows in skeleton_blocks(spec, part, common.logits):
        columns = {"click": rows.click, "conversion": rows.conversion}
        for f, name in enumerate(FIELDS):
            values = rows.own[f] if name in (*OWN_ONE, *OWN_MANY) else None
            values = common.features[f].take(rows.at) if values is None else values
            ends = pa.array(np.cumsum([0, *values.lengths]))
            for column, flat in ((name, values.ids), (f"{name}_weights", values.weights)):
                lists = pa.LargeListArray.from_arrays(ends, pa.array(flat))
                columns[column] = pl.from_arrow(lists)
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def load(manual, tmp_path, options=OPTIONS):
    return catalog.load("ali_ccp", options, str(tmp_path / "data"), str(manual))


def lines_of(manual, name):
    return (manual / "ali_ccp" / name).read_bytes().splitlines()


def copied(manual, tmp_path, **changed):
    """Another folder with the same files, but for {name: lines}."""
    folder = tmp_path / "manual" / "ali_ccp"
    folder.mkdir(parents=True)
    for path in (manual / "ali_ccp").iterdir():
        lines = changed.get(path.stem, path.read_bytes().splitlines())
        (folder / path.name).write_bytes(b"".join(line + b"\n" for line in lines))
    return folder.parent


@functools.cache
def own_rows():
    """The generator's rows by split."""
    rows = joined_rows(SPEC, "train")
    held = held_out(np.arange(1, len(rows) + 1))
    parts = {"train": rows.filter(~held), "validation": rows.filter(held)}
    return parts | {"test": joined_rows(SPEC, "test")}


def released_lines(part):
    """As the reader released with DTN writes them."""
    for number, row in enumerate(joined_rows(SPEC, part).iter_rows(named=True), 1):
        columns = [f"{name}:{'#'.join(map(str, row[name])) or '0'}" for name in FIELDS]
        yield ",".join([str(number), str(int(row["click"])), str(int(row["conversion"])), *columns])


def write_released(folder, change=lambda lines: lines):
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        lines = change(list(released_lines(part)))
        (folder / f"{part}_data.csv").write_text("\n".join(lines) + "\n")


def raw_line(head, features):
    texts = [f"{f}\x02{i}\x03{w}" for f, i, w in features]
    return ",".join([*head, str(len(texts)), "\x01".join(texts)])
