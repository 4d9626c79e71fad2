"""A small generated pair of Ali-CCP, its files and its rows, for the tests."""

import functools

import numpy as np
import polars as pl

from dtn_jax.data.sets import catalog
from dtn_jax.data.sets.ali_ccp import FIELDS, held_out
from experiments.generate_ali_ccp import Spec, common_of, skeleton_of

SPEC = Spec(
    rows={"train": 1_500, "test": 400},
    lines={"train": 60, "test": 40},
    behaviours=0.04,
    odd=0.05,
    seed=2,
)
OPTIONS = "min_count=2,max_values=4,conversion_without_click=keep"


def joined_rows(spec: Spec, part: str) -> pl.DataFrame:
    """The rows themselves: `click`, `conversion`, and of each field the lists of its ids and, as
    `<field>_weights`, of their weights."""
    common = common_of(spec, part)
    rows = pl.concat(skeleton_of(spec, part, common))
    whole = pl.concat([rows, common[rows["at"]].drop("index", "^.*_logit$")], how="horizontal")
    names = [column for name in FIELDS for column in (name, f"{name}_weights")]
    return whole.select("click", "conversion", *names)


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


def raw_line(head, features):
    texts = [f"{f}\x02{i}\x03{w}" for f, i, w in features]
    return ",".join([*head, str(len(texts)), "\x01".join(texts)])
