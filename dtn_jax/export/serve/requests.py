"""What a model asks of rows; a request's body, JSON or an Arrow stream, to columns of values; and
its answer.

    {"rows": [{"user": 7, "item": 31, "price": 9.5}, …]}
    {"user": {"user": 7}, "candidates": [{"item": 31, "price": 9.5}, …]}

and in both "outputs": ["click@all", …], if not all are wanted. Every row has every column that the
model needs; null is a missing value. Pydantic checks this form and describes the columns to
clients; their values are cast by `data/cast.py`, which takes more than one way of writing each.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Annotated, Any, no_type_check

import numpy as np
import polars as pl
import pyarrow as pa
import pydantic
from flatbuffers.table import Table
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dtn_jax.data.cast import DATE
from dtn_jax.data.raw import columnar
from dtn_jax.data.raw.types import LIST_OF, Reject, Type, name_of
from dtn_jax.errors import UserError, choose
from dtn_jax.export.encoding import check_there, table, time_of
from dtn_jax.export.model import Model
from dtn_jax.export.serve.limits import Limits

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
FORM = 'expected {"rows": [{…}, …]} or {"user": {…}, "candidates": [{…}, …]}'
WIDE = 30_000  # characters of a user, in all rows, from which on it pays to encode them once
LONGEST = 200  # characters of a client's text that are sent back, and names that are listed
WHOLE = ("a whole number", "list of whole numbers", int, 2)
NUMBER = ("a number", "list of numbers", float, 1.5)
TIME = (DATE, "list of times", str, "2026-03-05T12:30:00Z")
KINDS: dict[str, tuple[str, str, Any, Any]] = {  # types: one, several, as Python's, an example
    "truth": ("true or false", "list of true and false", bool, True),
    "text": ("text or a number", "list of texts or numbers", str | float, "a"),
    "nothing": ("nothing", "list of nothing", Any, None),
}
KINDS |= {"whole": WHOLE, "unsigned": WHOLE, "float32": NUMBER, "number": NUMBER}
KINDS |= {"date": TIME, "time": TIME}

Plain = pydantic.InstanceOf[dict]  # which is not copied


class Envelope(pydantic.BaseModel, extra="forbid", strict=True):
    """`rows`, or a `user` with `candidates` who share the user's columns; and the `outputs`."""

    rows: list[Plain] | None = None
    user: Plain | None = None
    candidates: list[Plain] | None = None
    outputs: Annotated[list[str], pydantic.Field(min_length=1)] | None = None


class Contract:
    """A model, and what it is to clients.

    Attributes:
      id, made: the first digits of its manifest's SHA-256; when it was made.
      types: {column that it reads: its type}.
      columns: the same, as fields of a pydantic model; `needed` are those that rows must have.
      example: a row that it scores.
      body: the pydantic model of a request.
    """

    def __init__(self, model: Model, id: str = "", date: str = ""):
        self.model, self.id, self.made = model, id, date
        self.types = {name: model.encoding.types[name] for name in model.columns}
        fields = {f"c{n}": _column(model, *each) for n, each in enumerate(self.types.items())}
        row: Any = pydantic.create_model("Row", **fields)
        self.columns = {column.alias: column for column in row.model_fields.values()}
        self.needed = [name for name, column in self.columns.items() if column.is_required()]
        self.example = {name: column.examples[0] for name, column in self.columns.items()}
        for _ in self.columns:  # a value that the field's rules reject is left out
            if bad := model.encode([self.example]).bad:
                self.example[bad[0].column] = None
        rows = list[row] | None, pydantic.Field(None, examples=[[self.example]])
        outputs = list[str] | None, pydantic.Field(None, examples=[model.outputs])
        self.body = pydantic.create_model("Request", __base__=Envelope, rows=rows, outputs=outputs)

    def warm(self) -> tuple[int, ...]:
        """Compiles the programs of all batch sizes, and scores a row; returns the sizes."""
        sizes = self.model.compile()
        self.model.score([self.example])
        return sizes

    def description(self) -> dict[str, Any]:
        """What GET /schema says."""
        model, by, fields = self.model, self.model.encoding, self.model.schema.fields
        columns = [
            {"name": name, "required": c.is_required(), "expected": c.description}
            | {"fields": [f.name for f in fields if name in by.columns_of(f.name)]}
            for name, c in self.columns.items()
        ]
        rules = [{"made": by.rules[f.name]} if f.name in by.rules else {} for f in fields]
        return {
            "id": self.id,
            "made": self.made,
            "columns": columns,
            "fields": [{"name": f.name, "kind": f.kind} | rule for f, rule in zip(fields, rules)],
            "fixed": dict(model.facts.fixed),
            "outputs": model.outputs,
            "meanings": model.meanings,
            "example": {"rows": [self.example]},
            "note": "the example's values are of the right type, not values that training saw",
        }


def _column(model: Model, name: str, kind: Type) -> tuple[Any, Any]:
    """The type and the description of a field of a pydantic model."""
    by, known = model.encoding, name_of(kind)
    one, several, type, value = KINDS[known.removeprefix(LIST_OF)]
    if unit := by.times.get(name):
        one, value = time_of(unit), TIME[3] if unit == "date" else value
    if kind == pl.List:
        vectors = [f for f in model.schema.fields if f.kind == "vector"]
        length = max([f.length for f in vectors if name in by.columns_of(f.name)], default=0)
        one = f"a {several.replace('of', f'of {length}', 1) if length else several}"
        type, value = list[type | None], [value] * max(length, 1)
    default = None if name in model.optional else ...
    options = {"alias": name, "description": f"{one} or null", "examples": [value]}
    return type | None, pydantic.Field(default, **options)


@dataclasses.dataclass
class Job:
    """A request that waits.

    Attributes:
      body: its bytes.
      kind, wanted: the content types of its body and of its answer.
      outputs: that its address names, or its body; None is all.
      answer: gets a response, or an exception that is Refused.
      rows: how many there are to score, once the body is read.
      values: of the model's columns, {name: its values}.
      wide: the columns of `values` that are the user's, where these are much in all rows.
      ignored: names of columns that the model does not read.
      what: a row's name in messages.
    """

    body: bytes
    kind: str
    wanted: str
    outputs: list[str] | None
    answer: Future = dataclasses.field(default_factory=Future)
    rows: int = 0
    values: dict[str, list] = dataclasses.field(default_factory=dict)
    wide: list[str] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    what: str = "row"


class Refused(HTTPException):
    """A request that gets no scores; `details` say row, column, got and expected to programs."""

    def __init__(self, status: int, message: str, headers: dict | None = None, **details: object):
        super().__init__(status, message, headers)
        self.details = details


def shown(text: str, most: int = LONGEST) -> str:
    """A client's text, cut, and in characters that every log and terminal can show."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return cut.encode("utf-8", "replace").decode()


def bad_value(job: Job, reject: Reject, contract: Contract) -> Refused:
    """How a value is refused."""
    where, reason, got = f"{job.what} {reject.row}", reject.reason, shown(reject.value)
    if reject.column not in contract.columns:
        return Refused(422, f"{where}: {reason}", row=reject.row, column=None)
    expected = contract.columns[reject.column].description
    why = "" if reason.startswith("expected ") else f" ({reason})"
    message = f"{where}, column {reject.column!r}: got {got}{why}, expected {expected}"
    details = {"column": reject.column, "got": got, "expected": expected}
    return Refused(422, message, row=reject.row, **details)


def read(job: Job, contract: Contract, limits: Limits) -> None:
    """Reads the body of a request.

    Raises:
      Refused: 400 where it can't be read, 413 where it asks for too much, 422 of wrong rows.
      UserError: an unknown output.
    """
    names = (of_json if job.kind == JSON else of_arrow)(job, contract, limits)
    job.ignored = sorted(names - contract.columns.keys())[:LONGEST]
    outputs = contract.model.outputs if job.outputs is None else dict.fromkeys(job.outputs)
    job.outputs = [choose("output", name, contract.model.outputs) for name in outputs]


def of_json(job: Job, contract: Contract, limits: Limits) -> set[str]:
    """Reads JSON; returns the names of all columns."""
    try:
        parsed = json.loads(job.body.decode(), object_pairs_hook=_once, parse_constant=_no_number)
        envelope = Envelope.model_validate(parsed)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [part + 1 if isinstance(part, int) else part for part in first["loc"]]
        where, row = " ".join(map(str, place)) or "the body", place[1] if place[1:] else None
        raise Refused(422, f"{where}: {first['msg']}; {FORM}", row=row) from None
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON in UTF-8: {error}") from None
    rows, user = envelope.rows or envelope.candidates or [], envelope.user or {}
    names = set().union(*rows)
    there = [name for name, value in envelope if value is not None and name != "outputs"]
    if there not in (["rows"], ["user", "candidates"]):
        raise Refused(422, f"the body has {', '.join(there) or 'nothing'}; {FORM}")
    if len(rows) > limits.rows:
        raise Refused(413, f"{len(rows):,} rows, at most {limits.rows:,} are scored at once")
    if both := sorted(names & user.keys() & contract.columns.keys()):
        raise Refused(422, f"{both[0]!r} is a field of the user and of candidates, expected one")
    size = len(rows) * sum(len(repr(user[n])) for n in contract.columns if n in user)
    job.wide = [n for n in contract.columns if n in user] if size > WIDE else []
    if size > limits.body_mb << 23:
        raise Refused(413, "the user's fields are too long for so many candidates: send fewer")
    job.rows, job.what = len(rows), "candidate" if envelope.rows is None else "row"
    job.outputs = job.outputs if envelope.outputs is None else envelope.outputs
    for name, column in contract.columns.items():
        try:
            if name in user:
                job.values[name] = [user[name]] * len(rows)
            elif column.is_required():
                job.values[name] = [row[name] for row in rows]
            else:
                job.values[name] = [row.get(name) for row in rows]
        except KeyError:
            at = next(n for n, row in enumerate(rows, 1) if name not in row)
            why = f"{job.what} {at} has no column {name!r}, which the model needs (GET /schema)"
            raise Refused(422, f"{why}; null is a missing value", row=at, column=name) from None
    return names | user.keys()


@no_type_check  # called for every object
def _once(pairs):
    values = dict(pairs)
    if len(values) != len(pairs):
        (twice, _), *_ = collections.Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(repr(twice))} is there twice in one object")
    return values


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON; null is a missing value")


def of_arrow(job: Job, contract: Contract, limits: Limits) -> set[str]:
    """The same of an Arrow IPC stream. What it declares is checked before it takes memory."""
    optional = contract.model.optional
    try:
        rows, names = _rows(job.body, contract, limits)
        check_there(names, tuple(contract.types), optional)
        frame, bad = table(rows, contract.types, optional)
    except UserError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise Refused(400, f"not an Arrow stream: {error}") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Refused(422, f"the Arrow stream can't be read: {error}") from None
    if not bad.good.all():
        raise bad_value(job, bad.account.kept[0][1], contract)
    job.rows, job.values = len(frame), frame.to_dict(as_series=False)
    return set(map(shown, names))


def _rows(body: bytes, contract: Contract, limits: Limits) -> tuple[pa.Table, list[str]]:
    """The stream's columns that the model reads, and the names of all."""
    if not body.endswith(END):
        raise Refused(400, "not an Arrow stream, or one that is cut: its end mark is missing")
    for message in pa.ipc.MessageReader.open_stream(body):
        if message.type != "schema" and _compressed(message):
            raise Refused(400, "the Arrow stream is compressed, expected one that is not")
    batches, rows, size = [], 0, 0
    with pa.ipc.open_stream(body) as stream:
        names = stream.schema.names
        read = [at for at, name in enumerate(names) if name in contract.columns]
        schema = pa.schema([stream.schema.field(at) for at in read])
        for field in schema:
            if columnar.target(field.type) is None:
                expected = contract.columns[field.name].description
                raise UserError(f"column {field.name!r} is {field.type}, expected {expected}")
        for batch in stream:
            rows += batch.num_rows
            if rows > limits.rows:
                raise Refused(413, f"more than {limits.rows:,} rows, at most so many are scored")
            batches.append(batch.select(read))
            batches[-1].validate(full=True)
            size += sum(_size(column, len(body)) for column in batches[-1].columns)
    if size > limits.body_mb << 23:
        raise Refused(413, f"the texts of all rows have {size:,} bytes: send fewer rows")
    return pa.Table.from_batches(batches, schema), names


def _compressed(message: pa.Message) -> bool:
    """Whether a batch's buffers are: each declares its length, unpacked, which may be any.

    It stands in a FlatBuffer: https://arrow.apache.org/docs/format/Columnar.html, Message.fbs.
    """
    data = message.metadata.to_pybytes()
    table = Table(data, int.from_bytes(data[:4], "little"))
    for field in (8, 6) if message.type == "dictionary" else (8,):  # its header, and that's data
        table = Table(data, table.Indirect(table.Pos + table.Offset(field)))
    return table.Offset(10) > 0


def _size(column: pa.Array, most: int) -> int:
    """The bytes of texts once each value has its own, which share them in dictionaries and views.

    Raises:
      Refused: lists of more items than the body has bytes: they are nulls, which take none.
    """
    while hasattr(column, "values"):
        column = column.values
        if len(column) > most:
            raise Refused(413, f"a list column declares {len(column):,} items")
    values = pl.from_arrow(column)
    if values.dtype == pl.Binary:
        return values.bin.size().sum()
    if values.dtype in (pl.Categorical, pl.Enum):
        return values.cat.len_bytes().sum()
    return values.str.len_bytes().sum() if values.dtype == pl.String else 0


def answer(contract: Contract, job: Job, scores: Mapping[str, np.ndarray], part: slice) -> Response:
    """`{"rows": 2, "scores": {"click@all": [0.12, 0.34], …}, "ignored": ["colour"]}`, or Arrow."""
    chosen = {name: scores[name][part] for name in job.outputs or ()}
    if job.wanted == ARROW:
        table, sink = pa.table(chosen), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        body = sink.getvalue().to_pybytes()
    else:
        ignored = {"ignored": job.ignored} if job.ignored else {}
        lists = {name: values.tolist() for name, values in chosen.items()}
        body = to_json({"rows": job.rows, "scores": lists} | ignored, inf_nan_mode="null")
    headers = {"x-model-id": contract.id, "x-model-date": contract.made}
    return Response(body, 200, headers, job.wanted)
