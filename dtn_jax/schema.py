"""What a data set is: its fields, its tasks and their graph. JSON in and out."""

from __future__ import annotations

import dataclasses
import graphlib
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from dtn_jax.errors import UserError, choose
from dtn_jax.field import SCALED, YOUNGER, Field

TASK_KINDS = ("binary", "regression")
ALL = "all"  # the space of all impressions
MEAN = "mean"  # of train.select: the mean over all tasks
RESERVED = "@/,:+="  # separate task names in options, in metric keys and in logs


@dataclasses.dataclass(frozen=True)
class Task:
    """One label.

    Attributes:
      name: the label column's name.
      kind: `binary` or `regression`.
      space: the rows of its loss and its first metric: `all`, or those where this other
        (binary) task's label is 1.
      also_report: further spaces in which its metrics are reported. The task is taken to happen
        only there (spaces.py), as an order only where there was a click.
      upstream: the tasks whose prediction it may look at (click for order).
      quantiles: of train's labels, by the id of a field, in a run whose loss needs them.
    """

    name: str
    kind: str = "binary"
    space: str = ALL
    also_report: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self):
        choose(f"kind of task {self.name!r}", self.kind, TASK_KINDS)
        if self.name in ("", ALL, MEAN) or set(self.name) & set(RESERVED):
            taken = f"{ALL!r}, {MEAN!r} and the characters {RESERVED} are taken"
            raise UserError(f"a task cannot be called {self.name!r}: {taken}")
        for name in ("also_report", "upstream"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))  # once each
        object.__setattr__(self, "quantiles", tuple(map(tuple, self.quantiles)))

    @property
    def spaces(self) -> tuple[str, ...]:
        """Every space in which metrics are reported, that of the loss first."""
        return (self.space, *(s for s in self.also_report if s != self.space))


def ordered(graph: Mapping[str, Iterable[str]], why: str) -> tuple[str, ...]:
    """The names of a graph, {name: those before it}, in an order; raises UserError on a cycle."""
    try:
        return tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        raise UserError(f"{why}: {' -> '.join(error.args[1])}") from None


def factors(name: str, spaces: Mapping[str, str]) -> Iterator[str]:
    """A task, that in whose space its loss is, and so on: p(name | all) is their product.

    Args:
      name: of the task; `all` has no factors.
      spaces: {task: the space of its loss}.
    """
    while name != ALL:
        yield name
        name = spaces[name]


@dataclasses.dataclass(frozen=True)
class Column:
    """A raw column that rows of a log are read from.

    Attributes:
      name: of the column.
      type: `text`, `whole`, `list of text`, …: see `dtn_jax.data.raw.types`.
      optional: whether rows may lack it.
      unit: of the log's time column, one of the units of a schema file.
    """

    name: str
    type: str
    optional: bool = False
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class Schema:
    """A data set's fields and tasks, in the order of the batch's slots and labels.

    Attributes:
      name: the data set's name.
      fields: the input columns.
      tasks: the labels.
      weight, loss_weight: columns of an example's weight, and of its factor in the loss, if any.
      group: the column stored as the example's group (a user, a session), if any; it may be a
        field too. Metrics are then also taken within groups.
      day: the time or date whose day is stored, if any; sets of earlier versions have none.
      columns: the raw columns that its rows were read from; what is scored is cast to their types.

    Raises:
      UserError: a name used twice, a label that is a field or the group, an unknown or non-binary
        space, an unknown upstream, a cycle of tasks, or tables that disagree on their rows.
    """

    name: str
    fields: tuple[Field, ...]
    tasks: tuple[Task, ...]
    weight: str = ""
    group: str = ""
    day: str = ""
    loss_weight: str = ""
    columns: tuple[Column, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "fields", tuple(self.fields))
        object.__setattr__(self, "columns", tuple(self.columns))
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not self.fields or not self.tasks:
            raise UserError(f"schema {self.name!r} needs at least one field and one task")
        for what, names in (("field", self.field_names), ("task", self.task_names)):
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise UserError(f"{what} {twice[0]!r} is listed twice")
        if leaks := [n for n in self.field_names if n in self.task_names]:
            told = "is a label and cannot also be a field: the model would read the answer"
            raise UserError(f"{leaks[0]!r} {told}")
        if self.group in self.task_names:
            raise UserError(
                f"the group {self.group!r} is a label: all rows of a group would have one class"
            )
        kinds = {t.name: t.kind for t in self.tasks}
        for task in self.tasks:
            for space in task.spaces:
                choose(f"space of task {task.name!r}", space, [ALL, *kinds])
                if space == task.name or kinds.get(space) == "regression":
                    raise UserError(
                        f"task {task.name!r} cannot have the space {space!r}: a space is "
                        f"{ALL!r} or another, binary task"
                    )
            for up in task.upstream:
                choose(f"upstream task of {task.name!r}", up, kinds)
        self.task_order()  # raises on a cycle
        for field in self.fields:
            if field.rows != (rows := self.tables()[field.table]):
                raise UserError(
                    f"fields that share table {field.table!r} disagree on its rows: "
                    f"{field.name!r} has {field.rows}, another one {rows}"
                )
        ordered({t.name: [t.space] for t in self.tasks}, "the spaces of tasks lead in a circle")

    @property
    def read(self) -> tuple[Field, ...]:
        """The F fields that a model reads: all but companions, which are in their histories."""
        return tuple(f for f in self.fields if not f.beside)

    @property
    def read_names(self) -> tuple[str, ...]:
        """The names of `read`, F in all."""
        return tuple(f.name for f in self.read)

    @property
    def tokens(self) -> dict[str, list[str]]:
        """The fields of each group that is one token in models of tokens."""
        groups: dict[str, list[str]] = {}
        for field in self.read:
            if field.tokens:
                groups.setdefault(field.tokens, []).append(field.name)
        return groups

    def companions(self, name: str) -> tuple[Field, ...]:
        """The fields that stand beside a history."""
        return tuple(f for f in self.fields if f.beside == name)

    @property
    def field_names(self) -> tuple[str, ...]:
        """All names of fields, in the order of the slots."""
        return tuple(f.name for f in self.fields)

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of the T tasks, in the order of the labels."""
        return tuple(t.name for t in self.tasks)

    @property
    def slots(self) -> int:
        """L, the ids of one example."""
        return sum(f.slots for f in self.fields)

    @property
    def weighted_slots(self) -> int:
        """The slots that have a weight in `Batch.weights`, in that array's order."""
        return sum(f.slots for f in self.fields if f.weighted)

    @property
    def numbers(self) -> int:
        """N, the numbers of one example in `Batch.numeric`."""
        return sum(f.numbers for f in self.fields)

    def tables(self) -> dict[str, int]:
        """{table: rows}, in order of first use."""
        return {f.table: f.rows for f in self.fields}

    def slot_fields(self) -> list[Field]:
        """The field of each of the L slots."""
        return [f for f in self.fields for _ in range(f.slots)]

    def number_fields(self) -> list[Field]:
        """The field of each of the N numbers."""
        return [f for f in self.fields for _ in range(f.numbers)]

    def task_order(self) -> tuple[str, ...]:
        """Task names, every task after its upstream tasks."""
        return ordered({t.name: t.upstream for t in self.tasks}, "the task graph has a cycle")

    def with_upstream(self, graph: Mapping[str, tuple[str, ...]]) -> Schema:
        """The same schema with another task graph, {task: its upstream tasks}."""
        for name in graph:
            choose("task", name, self.task_names)
        tasks = [dataclasses.replace(t, upstream=graph.get(t.name, ())) for t in self.tasks]
        return dataclasses.replace(self, tasks=tuple(tasks))

    def with_roles(self, roles: Mapping[str, tuple[str, str]]) -> Schema:
        """The same schema with other (role, tokens) of fields; those not named have none."""
        facts = [dict(zip(("role", "tokens"), roles.get(f.name, ("", "")))) for f in self.fields]
        fields = [dataclasses.replace(f, **own) for f, own in zip(self.fields, facts)]
        return dataclasses.replace(self, fields=tuple(fields))

    def with_embeddings(self, chosen: Mapping[str, str]) -> Schema:
        """The same schema with other embeddings of numbers, {field: one of EMBEDDINGS}; "" is for
        the standardised numbers that are not named, which are scaled without it."""
        for name in filter(None, chosen):
            choose("field", name, self.field_names)
        usual = chosen.get("", SCALED)
        known = {f.name: usual if f.standardised else SCALED for f in self.fields} | {**chosen}
        fields = [dataclasses.replace(f, embedding=known[f.name]) for f in self.fields]
        if usual != SCALED and not any(f.standardised for f in self.fields):
            raise UserError(
                f"model.numbers={usual!r}: data set {self.name!r} has no standardised number; "
                "prepare it with numbers that are, not in buckets"
            )
        return dataclasses.replace(self, fields=tuple(fields))

    def to_json(self) -> str:
        """JSON that `from_json` reads; what has the usual value of later versions is left out."""
        facts = dataclasses.asdict(self)
        parts = [facts, *facts["fields"], *facts["tasks"]]
        for part, (key, usual) in itertools.product(parts, YOUNGER.items()):
            if key in part and part[key] == usual:
                del part[key]
        return json.dumps(facts, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """The schema that `to_json` wrote."""
        data = json.loads(text)
        fields = tuple(Field(**f) for f in data.pop("fields"))
        tasks = tuple(Task(**t) for t in data.pop("tasks"))
        columns = tuple(Column(**c) for c in data.pop("columns", ()))
        return cls(fields=fields, tasks=tasks, columns=columns, **data)

    @classmethod
    def load(cls, path: pathlib.Path) -> Schema:
        """The schema in a JSON file."""
        return cls.from_json(path.read_text())
