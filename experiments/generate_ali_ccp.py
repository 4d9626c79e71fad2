"""Writes files in Ali-CCP's published format, of any size, drawn from a known law.

They let you try the reader and the models without the data set. Vocabularies have Ali-CCP's
relative sizes (see synthetic/funnel.py). Ids are unique and contiguous by field, frequent ones
first. A user's behaviours have, on average, `behaviours` times the lengths of the one published
row. The logit of a click or conversion is a bias plus the effects of a few fields; an id's effect
is normal, a bag's is Σ w e / √(Σ w²). A conversion needs a click, except in a share `odd` of the
rows without one.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.cli import command
from dtn_jax.data.progress import say
from dtn_jax.data.sets.ali_ccp import FIELDS
from dtn_jax.data.sets.synthetic.funnel import FunnelSpec
from dtn_jax.errors import UserError

EXAMPLE = "python -m experiments.generate_ali_ccp --rows=100000 --out=raw/ali_ccp"
PARTS = ("train", "test")
BLOCK = 16_384  # rows that are drawn together
IMPRESSIONS = 50  # of train to a line of common features
SKEW = 3  # an id is V u^SKEW, u uniform

# The share of lines that have a field of one value, and the mean number of values of the others.
COMMON_ONE = {"101": 1.0, "121": 1.0, "122": 1.0, "124": 0.95, "125": 0.9, "126": 0.5, "127": 0.9,
              "128": 1.0, "129": 0.9}  # fmt: skip
COMMON_MANY = {"109_14": 117.0, "110_14": 342.0, "127_14": 209.0, "150_14": 191.0}
OWN_ONE = {"205": 1.0, "206": 1.0, "207": 1.0, "216": 1.0, "301": 1.0, "508": 0.5, "509": 0.4,
           "702": 0.4}  # fmt: skip
OWN_MANY = {"210": 5.0, "853": 1.0}
WEIGHTED = (*COMMON_MANY, "508", "509", "702", "853")  # the others' values weigh 1

BIAS = {"click": -2.0, "conversion": -1.5}
EFFECTS = {
    "click": {"206": 0.9, "121": 0.7, "301": 0.6, "109_14": 0.8, "210": 0.6, "205": 0.3},
    "conversion": {"122": 0.8, "129": 0.7, "508": 0.7, "150_14": 0.8, "853": 0.4, "216": 0.3},
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which files to generate.

    Attributes:
      rows, lines: of each part's skeleton, and of its common features.
      ids: of all fields together, at most.
      behaviours: mean length of a user's behaviours, as a share of the published row's.
      odd: share of conversions among rows without a click.
      seed: of everything.
    """

    rows: Mapping[str, int]
    lines: Mapping[str, int]
    ids: int = 20_000
    behaviours: float = 0.1
    odd: float = 0.0
    seed: int = 0

    def draws(self, *use: object) -> np.random.Generator:
        """A generator for one use."""
        return np.random.default_rng([self.seed, zlib.crc32("/".join(map(str, use)).encode())])

    @functools.cached_property
    def sizes(self) -> dict[str, int]:
        """{field: V_f}."""
        known = FunnelSpec(ids=self.ids).sizes
        return {name: known[f"f{name}"] for name in FIELDS}

    @functools.cached_property
    def firsts(self) -> dict[str, int]:
        """{field: the raw id of its most frequent value}."""
        sizes = list(self.sizes.values())
        return dict(zip(FIELDS, (1 + np.cumsum([0, *sizes[:-1]])).tolist()))

    def effects(self, task: str, field: str) -> np.ndarray:
        """The effect of each of a field's ids, `[V_f]`."""
        drawn = self.draws("effects", task, field).standard_normal(self.sizes[field])
        return EFFECTS[task][field] * drawn


def draw(
    spec: Spec, rng: np.random.Generator, count: int, one: Mapping, many: Mapping
) -> pl.DataFrame:
    """So many lines: of each field the lists of its ids and, as `<field>_weights`, of weights; and
    each task's logit, as `<task>_logit`. Fields have one value, by their shares, or many."""
    columns, logits = {}, {task: np.zeros(count) for task in EFFECTS}
    for name, mean in (one | many).items():
        lengths = rng.random(count) < mean if name in one else rng.exponential(mean + 0.5, count)
        owner = np.repeat(np.arange(count), lengths.astype(np.int64))
        number = len(owner)
        ids = (spec.sizes[name] * rng.random(number) ** SKEW).astype(np.int32)
        weights = np.ones(number, np.float32)
        if name in WEIGHTED:
            weights = np.log1p(rng.geometric(0.4, number)).round(5).astype(np.float32)
        for task in EFFECTS:
            if name in EFFECTS[task]:
                summed = np.bincount(owner, weights * spec.effects(task, name)[ids], count)
                squares = np.bincount(owner, weights.astype(float) ** 2, count)
                logits[task] += summed / np.sqrt(np.maximum(squares, 1e-12))
        ends = pa.array(np.searchsorted(owner, np.arange(count + 1)))
        for column, flat in ((name, ids + spec.firsts[name]), (f"{name}_weights", weights)):
            columns[column] = pl.from_arrow(pa.LargeListArray.from_arrays(ends, pa.array(flat)))
    return pl.DataFrame(columns | {f"{task}_logit": logit for task, logit in logits.items()})


def common_of(spec: Spec, part: str) -> pl.DataFrame:
    """The common features of a part, and their `index`."""
    many = {name: spec.behaviours * mean for name, mean in COMMON_MANY.items()}
    frame = draw(spec, spec.draws("common", part), spec.lines[part], COMMON_ONE, many)
    numbers = spec.draws("index", part).integers(0, 2**64, len(frame), np.uint64)
    return frame.with_columns(index=pl.Series([f"{n:016x}" for n in numbers.tolist()]))


def skeleton_of(spec: Spec, part: str, common: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The skeleton of a part, in blocks: `number`, labels, fields of its own, `index`, and `at`,
    the line of `common` that has it. A block is drawn whole, however many rows are wanted."""
    for start in range(0, spec.rows[part], BLOCK):
        rng = spec.draws("skeleton", part, start)
        block = draw(spec, rng, BLOCK, OWN_ONE, OWN_MANY)
        at = rng.integers(0, len(common), BLOCK)
        logits = {t: block[f"{t}_logit"] + common[f"{t}_logit"][at] + BIAS[t] for t in EFFECTS}
        happens = {
            t: rng.random(BLOCK) < 1 / (1 + np.exp(-z.to_numpy())) for t, z in logits.items()
        }
        odd = ~happens["click"] & (rng.random(BLOCK) < spec.odd)
        yield block.with_columns(
            number=pl.Series(np.arange(start + 1, start + BLOCK + 1)),
            click=pl.Series(happens["click"]),
            conversion=pl.Series(happens["click"] & happens["conversion"] | odd),
            at=pl.Series(at),
            index=common["index"][at],
        ).head(spec.rows[part] - start)


def lines_of(frame: pl.DataFrame, *columns: str) -> bytes:
    """Lines of these columns, the number of features, and the features."""
    frame, parts = frame.with_row_index("row"), []
    for name in (name for name in FIELDS if name in frame.columns):
        values = frame.select("row", pl.col(name).alias("id"), pl.col(f"{name}_weights").alias("w"))
        text = pl.format(f"{name}\x02{{}}\x03{{}}", "id", "w")
        parts.append(values.explode("id", "w").drop_nulls("id").select("row", text=text))
    every = pl.concat(parts).group_by("row").agg(pl.len(), pl.col("text").str.join("\x01"))
    frame = frame.join(every, "row", "left", maintain_order="left")
    first = [pl.col(name).cast(pl.Int64 if name in EFFECTS else pl.String) for name in columns]
    rest = [pl.col("len").fill_null(0), pl.col("text").fill_null("")]
    lines = frame.select(pl.concat_str(*first, *rest, separator=",")).to_series()
    return "".join(f"{line}\n" for line in lines).encode()


def write(spec: Spec, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes the four files; returns their paths.

    Raises:
      UserError: one of them exists already, plain or as `.gz`; it may be the data set's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = ("common_features", "sample_skeleton")
    if there := sorted(p for name in names for p in folder.glob(f"{name}_*.csv*")):
        raise UserError(f"{there[0]} exists and will not be overwritten; give another folder")
    paths = []
    for part in PARTS:
        common = common_of(spec, part)
        labelled = ("number", *EFFECTS, "index")
        blocks = (lines_of(block, *labelled) for block in skeleton_of(spec, part, common))
        for name, blocks_of in zip(names, ([lines_of(common, "index")], blocks)):
            paths.append(folder / f"{name}_{part}.csv")
            with paths[-1].open("wb") as file:
                file.writelines(blocks_of)
    return paths


OPTIONS = {
    "out=DIR": "the folder for the files, usually ali_ccp in data.manual_dir",
    "rows=N": "impressions of train",
    "test_rows=N": "impressions of test (default: a quarter of train)",
}
DEFAULTS = {"rows": 100_000, "test_rows": 0}
NEEDED = ("out",)


def main(arguments: Sequence[str]) -> None:
    known, _ = command.parse(__name__, arguments)
    rows = {"train": known.rows, "test": known.test_rows or max(known.rows // 4, 1)}
    spec = Spec(rows, dict.fromkeys(PARTS, max(known.rows // IMPRESSIONS, 1)))
    for path in write(spec, pathlib.Path(known.out)):
        say(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")


if __name__ == "__main__":
    command.run(main)
