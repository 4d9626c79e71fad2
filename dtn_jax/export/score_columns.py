"""The columns of scored files: those that a model needs, and those that stand beside its scores.

Labels are those that `prepare` computes, in the columns that a run's predictions.parquet has:
`label/TASK` in the unit of the score, `group` and `sample_weight`. `ScoredBy` is the metadata.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from dtn_jax.data import columns
from dtn_jax.data import rows as names
from dtn_jax.data.cast import typed
from dtn_jax.data.encode import group_numbers
from dtn_jax.data.raw.types import Type, Types, as_type
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import Encoding
from dtn_jax.export.model import Model
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.files import reading, sha256
from dtn_jax.shapes import Bool

NESTED = (pl.List, pl.Array, pl.Struct)
GROUP, WEIGHT = "group", "sample_weight"
KEY = "dtn_jax"  # of the metadata


def kept_types(
    types: Mapping[str, Types],
    wanted: Sequence[str] | None,
    left: Collection[str],
    outputs: Collection[str],
    suffix: str,
) -> Types:
    """{column: its type in the output}: that of the files; where they differ, the one in which
    `prepare` would read it, which loses no digit.

    Args:
      types: the columns of each raw file, by its address.
      wanted: the columns to keep; None keeps all of single values, but bytes and those of `left`,
        in the order of the files.
      left: columns that are kept only where `wanted` names them.
      outputs: the names of the columns that scoring writes.
      suffix: of the output, which says what it can hold.

    Raises:
      UserError: no file has a wanted column, it has the name of one of `outputs`, or a type that
        the output's format does not have.
    """
    every = list(dict.fromkeys(name for file in types.values() for name in file))
    others = (pl.Binary, pl.Duration, *NESTED) if suffix == ".csv" else (pl.Binary,)
    kept = {}
    for name in every if wanted is None else wanted:
        choose("column to keep:", name, every)
        kinds = {file[name] for file in types.values() if name in file} - {pl.Null()}
        if wanted is None and (name in left or any(k in (pl.Binary, *NESTED) for k in kinds)):
            continue
        if name in outputs:
            raise UserError(f"scoring writes a column {name!r}, too: choose others, with --columns")
        common = columns.types_of(types.values(), [name])[name] if len(kinds) > 1 else None
        kept[name] = kind = common or next(iter(kinds), pl.String())
        if suffix != ".parquet" and (kind in others or kind == pl.List(pl.Binary)):
            raise UserError(f"column {name!r} holds {kind}, which a file {suffix} does not have")
    return kept


def fitting(column: pl.Series, kind: Type, file: str) -> pl.Series:
    """A chunk's column in the output's type.

    Raises:
      UserError: a value does not fit: JSON lines may show other types after the first lines.
    """

    def refuse(*_: object) -> None:
        raise UserError(f"{file}: column {column.name!r} has values that are no {kind}")

    if column.dtype == pl.Binary and kind == pl.String:  # the model's: no text is a bad row
        return as_type(column, kind)
    return typed(column, kind, refuse)


# ---------------------------------------------------------------- labels


def labelled(encoding: Encoding) -> Encoding:
    """The same encoding, which reads labels, groups and weights of rows, too; a row in which
    `prepare` would reject one is bad."""
    spec = encoding.spec
    cleaned = dataclasses.replace(
        encoding.cleaned,
        tasks=tuple(task for task in spec.tasks if task.name in encoding.schema.task_names),
        group=spec.group,
        weight=spec.weight,
        path=spec.path,
    )
    return dataclasses.replace(encoding, cleaned=cleaned)


def types_of(spec: Spec) -> Types:
    """{column that is written: its type}."""
    types: Types = {f"label/{task.name}": pl.Float32() for task in spec.tasks}
    types |= {GROUP: pl.Int64()} if spec.group else {}
    return types | ({WEIGHT: pl.Float64()} if spec.weight else {})


def labels(spec: Spec, rows: Rows, good: Bool[np.ndarray, " B"]) -> pl.DataFrame:
    """The columns of `types_of`, `[B]`; null in bad rows, and where a label is not known.

    Args:
      spec: which labels there are.
      rows: the good ones.
      good: which rows they are.
    """
    written = {f"label/{task.name}": rows.numbers(names.LABEL + task.name) for task in spec.tasks}
    if spec.group:
        written[GROUP] = group_numbers(rows.column(names.GROUP))
    if spec.weight:
        written[WEIGHT] = rows.weight()
    if not written:
        return pl.DataFrame()
    frame = pl.DataFrame([pl.Series(name, values) for name, values in written.items()])
    places = pl.Series(np.cumsum(good) - 1).set(pl.Series(~good), None)
    return frame.cast(types_of(spec)).fill_nan(None).select(pl.all().gather(places))


# ---------------------------------------------------------------- metadata


@dataclasses.dataclass(frozen=True)
class ScoredBy:
    """A model, and what it scores.

    Attributes:
      model: the name of its folder.
      sha256: of its manifest.
      outputs: the columns of its scores, such as order@click.
      kinds: {task: binary or regression}.
      group: the raw column of the groups; "" where rows have none.
      weight: the raw column of the weights by which its metrics count rows; "" if they do not.
      written: whether the file has the labels, the group and the weight, as `score --labels` writes
        them.
    """

    model: str
    sha256: str
    outputs: tuple[str, ...]
    kinds: dict[str, str]
    group: str
    weight: str
    written: bool

    @classmethod
    def of(cls, model: Model, written: bool) -> ScoredBy:
        spec, schema = model.encoding.spec, model.schema
        weighted = model.facts.config.get("evaluate.sample_weights")
        return cls(
            model=model.folder.resolve().name,
            sha256=sha256(model.folder / MANIFEST),
            outputs=model.outputs,
            kinds={task.name: task.kind for task in schema.tasks},
            group=schema.group,
            weight=spec.weight if weighted else "",
            written=written,
        )

    @classmethod
    def read(cls, path: pathlib.Path) -> ScoredBy | None:
        """What a Parquet file says; None of a file that `score` did not write, or that something
        else has written again.

        Raises:
          UserError: what it says makes no sense.
        """
        with reading(path, "score it again"):
            text = (pq.read_metadata(path).metadata or {}).get(KEY.encode())
            if text is None:
                return None
            return cls(**json.loads(text))

    def metadata(self) -> dict[str, str]:
        """The key-value metadata of a Parquet file."""
        return {KEY: json.dumps(dataclasses.asdict(self))}

    def needed(self) -> list[str]:
        """The tasks that are scored, and those whose labels say the space of one."""
        named = [name for output in self.outputs for name in output.split("@")]
        return [task for task in self.kinds if task in named]
