"""Generates impressions like Ali-CCP's from a known law, and writes them as files in its published
format: for tests, for benchmarks of the reader, and to try it out without the data set.

Vocabularies have Ali-CCP's relative sizes (see synthetic/funnel.py). Ids are unique and contiguous
by field, frequent ones first. A user's behaviours have, on average, `behaviours` times the lengths
of the one published row. The logit of a click or conversion is a bias plus the effects of a few
fields; an id's effect is normal, a bag's is Σ w e / √(Σ w²). A conversion needs a click, except in
a share `odd` of the rows without one.

Every block of lines is a pure function of (spec, part, block).
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import pathlib
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.data.encode import places
from dtn_jax.data.sets.ali_ccp import FIELDS
from dtn_jax.data.sets.synthetic.funnel import FunnelSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Float64, Int

PARTS = ("train", "test")
BLOCK_ROWS, BLOCK_LINES = 16_384, 4_096  # of a skeleton and of common features
LONGEST = 100  # times the published row's behaviours: 86,000 values a user
MOST = {"rows": 10**10, "lines": 10**8, "ids": 10**8}
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
class PairSpec:
    """Which files to generate.

    Attributes:
      rows: lines of each part's skeleton.
      lines: lines of each part's common features.
      ids: ids of all fields together, at most.
      behaviours: mean length of a user's behaviours, as a share of the published row's.
      odd: share of conversions among rows without a click.
      seed: of everything.
    """

    rows: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"train": 20_000, "test": 5_000}
    )
    lines: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"train": 1_000, "test": 500}
    )
    ids: int = 20_000
    behaviours: float = 0.1
    odd: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for name in ("rows", "lines"):
            counts = getattr(self, name)
            if set(counts) != set(PARTS) or min(counts.values()) < 1:
                raise UserError(f"{name} is {counts}, expected at least 1 of {' and '.join(PARTS)}")
            if max(counts.values()) > MOST[name]:
                raise UserError(f"{name} is {counts}, expected at most {MOST[name]:,}")
        if not 1 <= self.ids <= MOST["ids"]:
            raise UserError(f"ids is {self.ids}, expected at least 1 and at most {MOST['ids']:,}")
        if self.seed < 0:
            raise UserError(f"seed is {self.seed}, expected a whole number of 0 or more")
        if not (0 < self.behaviours <= LONGEST and 0 <= self.odd <= 1):
            raise UserError(
                f"expected behaviours above 0, at most {LONGEST}, and odd in [0, 1], got "
                f"{self.behaviours}, {self.odd}"
            )

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

    def effects(self, task: str, field: str) -> Float64[np.ndarray, " V"]:
        """The effect of each of a field's ids, `[V_f]`."""
        rng = random(self, "effects", task, field)
        return EFFECTS[task][field] * rng.standard_normal(self.sizes[field])


@dataclasses.dataclass
class Ragged:
    """n rows that hold N values together, one row's after another's.

    Attributes:
      lengths: `[n]`, how many values each row holds.
      ids: int32 `[N]`, the values.
      weights: float32 `[N]`, a weight for each.
    """

    lengths: np.ndarray
    ids: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Where each row's values begin, int64 `[n]`."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @classmethod
    def empty(cls, rows: int) -> Ragged:
        return cls(np.zeros(rows, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """The rows of all parts, one part's after another's."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def take(self, rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Ragged:
        """Rows by number, or those of a mask."""
        if not len(self.ids):
            return Ragged.empty(len(self.lengths[rows]))
        lengths = self.lengths[rows]
        at = places(self.starts[rows], lengths)
        return Ragged(lengths, self.ids[at], self.weights[at])


@dataclasses.dataclass
class Block:
    """Lines of one file: the values of each field, and each task's logit, float64 `[n]`."""

    features: list[Ragged]
    logits: dict[str, np.ndarray]


@dataclasses.dataclass
class Rows:
    """A block of a skeleton: `numbers` of its rows, labels, and the lines that they point to."""

    numbers: np.ndarray
    click: np.ndarray
    conversion: np.ndarray
    at: np.ndarray
    own: list[Ragged]


def common_blocks(spec: PairSpec, part: str) -> Iterator[Block]:
    """The common features of a part."""
    many = {name: spec.behaviours * mean for name, mean in COMMON_MANY.items()}
    for start in range(0, spec.lines[part], BLOCK_LINES):
        rng = random(spec, "common", part, str(start))
        count = min(BLOCK_LINES, spec.lines[part] - start)
        yield _block(spec, rng, count, COMMON_ONE, many)


def skeleton_blocks(spec: PairSpec, part: str, common: Mapping[str, np.ndarray]) -> Iterator[Rows]:
    """The skeleton of a part; `common` are the logits `[lines]` of its common features."""
    for start in range(0, spec.rows[part], BLOCK_ROWS):
        rng = random(spec, "skeleton", part, str(start))
        count = min(BLOCK_ROWS, spec.rows[part] - start)
        block = _block(spec, rng, BLOCK_ROWS, OWN_ONE, OWN_MANY)
        at = rng.integers(0, spec.lines[part], BLOCK_ROWS)
        happens = {
            task: rng.random(BLOCK_ROWS)
            < 1 / (1 + np.exp(-(BIAS[task] + block.logits[task] + common[task][at])))
            for task in EFFECTS
        }
        click = happens["click"]
        odd = ~click & (rng.random(BLOCK_ROWS) < spec.odd)
        first = np.arange(BLOCK_ROWS) < count  # a block is drawn whole, whatever `rows` is
        yield Rows(
            numbers=np.arange(start + 1, start + count + 1),
            click=click[first],
            conversion=(click & happens["conversion"] | odd)[first],
            at=at[first],
            own=[values.take(first) for values in block.features],
        )


def _block(
    spec: PairSpec,
    rng: np.random.Generator,
    count: int,
    one: Mapping[str, float],
    many: Mapping[str, float],
) -> Block:
    """Lines that have fields of one value, by their shares, and of many, by their means."""
    features = [Ragged.empty(count) for _ in FIELDS]
    logits = {task: np.zeros(count) for task in EFFECTS}
    for name in (*one, *many):
        if name in one:
            lengths = (rng.random(count) < one[name]).astype(np.int64)
        else:
            lengths = rng.exponential(many[name] + 0.5, count).astype(np.int64)
        number = int(lengths.sum())
        drawn = (spec.sizes[name] * rng.random(number) ** SKEW).astype(np.int32)
        weights = np.ones(number, np.float32)
        if name in WEIGHTED:
            weights = np.log1p(rng.geometric(0.4, number)).round(5).astype(np.float32)
        features[FIELDS.index(name)] = Ragged(lengths, drawn + spec.firsts[name], weights)
        owner = np.repeat(np.arange(count), lengths)
        for task in EFFECTS:
            if name in EFFECTS[task]:
                effects = spec.effects(task, name)[drawn]
                summed = np.bincount(owner, weights * effects, minlength=count)
                squares = np.bincount(owner, weights.astype(float) ** 2, minlength=count)
                logits[task] += summed / np.sqrt(np.maximum(squares, 1e-12))
    return Block(features, logits)


def random(spec: PairSpec, *stream: str) -> np.random.Generator:
    """A generator for one use."""
    return np.random.default_rng([spec.seed, zlib.crc32("/".join(stream).encode())])


def index_texts(spec: PairSpec, part: str) -> list[str]:
    """The common_index of each line of common features."""
    numbers = random(spec, "index", part).integers(0, 2**64, spec.lines[part], np.uint64)
    return [f"{number:016x}" for number in numbers.tolist()]


def write(spec: PairSpec, folder: pathlib.Path, compressed: bool = False) -> list[pathlib.Path]:
    """Writes the four files, as `.gz` if `compressed`; returns their paths.

    They appear only when all are written, so that nobody takes unfinished files for them.

    Raises:
      UserError: one of them exists already, plain or as `.gz`; it may be the data set's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("common_features", "sample_skeleton"):
        there = sorted(folder.glob(f"{name}_*.csv*"))
        if there:
            raise UserError(f"{there[0]} exists and will not be overwritten; give another folder")
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        written = _write(spec, unfinished, compressed)
        return [path.rename(folder / path.name) for path in written]
    finally:
        shutil.rmtree(unfinished)


def _write(spec: PairSpec, folder: pathlib.Path, compressed: bool) -> list[pathlib.Path]:
    paths = []
    for part in PARTS:
        index = pa.array(index_texts(spec, part))
        logits: dict[str, list[np.ndarray]] = {task: [] for task in EFFECTS}

        def common_lines(part=part, index=index, logits=logits):
            start = 0
            for block in common_blocks(spec, part):
                texts, counts = feature_texts(block.features)
                yield _joined(index[start : start + len(texts)], counts, texts)
                start += len(texts)
                for task, found in block.logits.items():
                    logits[task].append(found)

        def skeleton_lines(part=part, index=index, logits=logits):
            common = {task: np.concatenate(found) for task, found in logits.items()}
            for rows in skeleton_blocks(spec, part, common):
                texts, counts = feature_texts(rows.own)
                labels = (_text(label.astype(np.int8)) for label in (rows.click, rows.conversion))
                at = index.take(pa.array(rows.at))
                yield _joined(_text(rows.numbers), *labels, at, counts, texts)

        files = {"common_features": common_lines, "sample_skeleton": skeleton_lines}
        for name, lines in files.items():  # the logits of the first are used by the second
            paths.append(folder / f"{name}_{part}.csv{'.gz' if compressed else ''}")
            with gzip.open(paths[-1], "wb") if compressed else paths[-1].open("wb") as file:
                for piece in lines():
                    file.write(piece)
    return paths


def feature_texts(features: list[Ragged]) -> tuple[pa.Array, pa.Array]:
    """The columns of features, in the order of FIELDS, and of their number: texts `[n]`."""
    rows = np.arange(len(features[0]))
    owner = np.concatenate([np.repeat(rows, values.lengths) for values in features])
    field = np.repeat(np.arange(len(features), dtype=np.uint8), [len(v.ids) for v in features])
    order = np.argsort(owner, kind="stable")
    ids = np.concatenate([values.ids for values in features])[order]
    weights, which = np.unique(
        np.concatenate([values.weights for values in features])[order], return_inverse=True
    )
    weights = pa.array([str(float(str(weight))) for weight in weights])  # a float32's short text
    texts = pc.binary_join_element_wise(
        pa.array(FIELDS).take(pa.array(field[order])), _text(ids), "\x02"
    )
    texts = pc.binary_join_element_wise(texts, weights.take(pa.array(which)), "\x03")
    counts = np.bincount(owner, minlength=len(rows))
    ends = pa.array(np.cumsum([0, *counts]))
    return pc.binary_join(pa.LargeListArray.from_arrays(ends, texts), "\x01"), _text(counts)


def _text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _joined(*columns: pa.Array) -> bytes:
    """Columns of text to the bytes of lines."""
    lines = pc.binary_join_element_wise(*(c.cast(pa.string()) for c in columns), ",")
    lists = pa.LargeListArray.from_arrays(pa.array([0, len(lines)]), lines)
    return pc.binary_join(lists, "\n")[0].as_py().encode() + b"\n"
