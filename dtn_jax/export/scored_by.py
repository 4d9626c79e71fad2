"""What a Parquet file of scores says of the model that wrote it, in its key-value metadata."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data.schemas.spec import TaskSpec
from dtn_jax.errors import UserError
from dtn_jax.export.log_labels import GROUP, WEIGHT
from dtn_jax.export.model import Model
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.files import sha256

KEY = "dtn_jax"


@dataclasses.dataclass(frozen=True)
class Label:
    """What the label of a task is.

    Attributes:
      text: `log1p(watch) where click == 1`, the same for all ways in which it may be written.
      column: the raw column that is the label, as it is; "" where it is computed.
      reads: the raw columns that it is computed from.
    """

    text: str
    column: str
    reads: tuple[str, ...]

    @classmethod
    def of(cls, task: TaskSpec) -> Label:
        if task.known is None:
            return cls(task.label.meaning, task.label.column, task.label.columns)
        text = f"{task.label.meaning} where {task.known.meaning}"
        return cls(text, "", (*task.label.columns, *task.known.columns))


@dataclasses.dataclass(frozen=True)
class ScoredBy:
    """A model, and what it scores.

    Attributes:
      model: the name of its folder.
      sha256: of its manifest.
      outputs: the columns of its scores, such as order@click.
      kinds: {task: binary or regression}.
      labels: {task: its label}; empty where no schema file says it.
      group: the raw column of the groups; "" where rows have none.
      weight: the raw column of the weights by which its metrics count rows; "" if they do not.
      written: whether the file has the labels, the group and the weight, as `score --labels` writes
        them.
    """

    model: str
    sha256: str
    outputs: tuple[str, ...]
    kinds: dict[str, str]
    labels: dict[str, Label]
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
            labels={task.name: Label.of(task) for task in spec.tasks},
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
        try:
            text = (pq.read_metadata(path).metadata or {}).get(KEY.encode())
            if text is None:
                return None
            facts = json.loads(text)
            labels = facts.pop("labels")
            made = {task: Label(**label) for task, label in labels.items()}
            return cls(**facts, labels=made)
        except (ValueError, TypeError, KeyError, AttributeError, pa.ArrowException) as error:
            raise UserError(f"{path}: its metadata {KEY!r} are damaged ({error})") from None

    def metadata(self) -> dict[str, str]:
        """The key-value metadata of a Parquet file."""
        return {KEY: json.dumps(dataclasses.asdict(self))}

    @property
    def group_column(self) -> str:
        """Where the file has the group, if it has."""
        return GROUP if self.group and self.written else self.group

    @property
    def weight_column(self) -> str:
        return WEIGHT if self.weight and self.written else self.weight

    def needed(self) -> list[str]:
        """The tasks that are scored, and those whose labels say the space of one."""
        named = [name for output in self.outputs for name in output.split("@")]
        return [task for task in self.kinds if task in named]
