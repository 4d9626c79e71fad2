"""What a model asks of rows; a request's body, JSON or an Arrow stream, to columns of values; and
its answer.

    {"rows": [{"user": 7, "item": 31, "price": 9.5}, …]}
    {"user": {"user": 7}, "candidates": [{"item": 31, "price": 9.5}, …]}

and in both "outputs": ["click@all", …], if not all are wanted. Every row has every column that the
model needs; null is a missing value. Pydantic checks this form and describes the columns to
clients; their values are cast by `data/cast.py`, which takes more than one way of writing each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Annotated, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pydantic
from pydantic_core import from_json, to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dtn_jax.data.cast import DATE, WHOLE_DAY
from dtn_jax.data.raw.types import LIST_OF, Reject, Type, name_of
from dtn_jax.errors import UserError, choose
from dtn_jax.export import model_folder
from dtn_jax.export.encoding import table
from dtn_jax.export.model import Model

JSON, ARROW = "application/json", "application/vnd.apache.arrow.stream"
END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
FORM = 'expected {"rows": [{…}, …]} or {"user": {…}, "candidates": [{…}, …]}'
LONGEST = 200  # names that are listed
KINDS: dict[str, tuple[str, Any, Any]] = {  # {type: (in words, as Python's, an example)}
    "truth": ("true or false", bool, True),
    "text": ("a text or a number", str | float, "a"),
    "nothing": ("nothing", Any, None),
    **dict.fromkeys(("whole", "unsigned"), ("a whole number", int, 2)),
    **dict.fromkeys(("float32", "number"), ("a number", float, 1.5)),
    "date": (WHOLE_DAY, str, "2026-03-05"),
    "time": (DATE, str, "2026-03-05T12:30:00Z"),
}

Plain = pydantic.InstanceOf[dict]  # which is not copied


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client may take.

    Attributes:
      body_mb: MiB of a request's body.
      rows: of a request.
      connections: at once; uvicorn answers more with 503.
      max_batch: rows that share a call.
    """

    body_mb: int = 8
    rows: int = 10_000
    connections: int = 1000
    max_batch: int = 1024


class Envelope(pydantic.BaseModel, extra="forbid", strict=True):
    """`rows`, or a `user` with `candidates` who share the user's columns; and the `outputs`."""

    rows: list[Plain] | None = None
    user: Plain | None = None
    candidates: list[Plain] | None = None
    outputs: Annotated[list[str], pydantic.Field(min_length=1)] | None = None


class Contract:
    """A model, and what it is to clients.

    Attributes:
      id, date: the first digits of its manifest's SHA-256; when it was made.
      types: {column that it reads: its type}.
      columns: the same, as fields of a pydantic model.
      example: a row that it scores.
      body: the pydantic model of a request.
    """

    def __init__(self, model: Model):
        self.model, self.date = model, str(model.manifest.get("made"))
        self.id = model_folder.model_id(model.folder)
        self.types = {name: model.encoding.types[name] for name in model.columns}
        fields = {f"c{n}": _column(model, *each) for n, each in enumerate(self.types.items())}
        row: Any = pydantic.create_model("Row", **fields)
        self.columns = {column.alias: column for column in row.model_fields.values()}
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


def _column(model: Model, name: str, kind: Type) -> tuple[Any, Any]:
    """The type and the description of a field of a pydantic model."""
    words, type, value = KINDS[name_of(kind).removeprefix(LIST_OF)]
    if kind == pl.List:
        words, type, value = f"a list, each {words}", list[type | None], [value]
    default = None if name in model.optional else ...
    value = model.facts.example.get(name, value)
    options = {"alias": name, "description": f"{words} or null", "examples": [value]}
    return type | None, pydantic.Field(default, **options)


@dataclasses.dataclass
class Job:
    """A request that waits.

    Attributes:
      body: its bytes.
      kind, wanted: the content types of its body and of its answer.
      outputs: that its address names, or its body; None is all.
      answer: gets a response, or an exception.
      rows: how many there are to score, once the body is read.
      values: of the model's columns, {name: a value for each row, or the user's one}.
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
    ignored: list[str] = dataclasses.field(default_factory=list)
    what: str = "row"


def bad_value(job: Job, reject: Reject, contract: Contract) -> HTTPException:
    """How a value is refused."""
    where = f"{job.what} {reject.row}"
    if reject.column in contract.columns:
        expected = contract.columns[reject.column].description
        where += f", column {reject.column!r}: got {reject.value}, expected {expected}"
    return HTTPException(422, f"{where}: {reject.reason}")


def read(job: Job, contract: Contract, limits: Limits) -> None:
    """Reads the body of a request.

    Raises:
      HTTPException: 400 where it can't be read, 413 where it asks for too much, 422 of wrong rows.
      UserError: an unknown output, or a column is missing.
    """
    names = (of_json if job.kind == JSON else of_arrow)(job, contract, limits)
    job.ignored = sorted(names - contract.columns.keys())[:LONGEST]
    outputs = contract.model.outputs if job.outputs is None else dict.fromkeys(job.outputs)
    job.outputs = [choose("output", name, contract.model.outputs) for name in outputs]


def of_json(job: Job, contract: Contract, limits: Limits) -> set[str]:
    """Reads JSON; returns the names of all columns."""
    try:
        envelope = Envelope.model_validate(from_json(job.body, allow_inf_nan=False))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(map(str, first["loc"])) or "the body"
        raise HTTPException(422, f"{where}: {first['msg']}; {FORM}") from None
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON in UTF-8: {error}") from None
    rows, user = envelope.rows or envelope.candidates or [], envelope.user or {}
    names = set().union(*rows)
    there = [name for name, value in envelope if value is not None and name != "outputs"]
    if there not in (["rows"], ["user", "candidates"]):
        raise HTTPException(422, f"the body has {', '.join(there) or 'nothing'}; {FORM}")
    check_rows(len(rows), limits)
    if both := sorted(names & user.keys() & contract.columns.keys()):
        raise HTTPException(
            422, f"{both[0]!r} is a field of the user and of candidates, expected one"
        )
    shared = {name: user[name] for name in contract.columns if name in user}
    if len(rows) * len(repr(shared)) > limits.body_mb << 23:
        raise HTTPException(
            413, "the user's fields are too long for so many candidates: send fewer"
        )
    job.rows, job.what = len(rows), "candidate" if envelope.rows is None else "row"
    job.outputs = job.outputs if envelope.outputs is None else envelope.outputs
    for name, column in contract.columns.items():
        try:
            if name in user:
                job.values[name] = [user[name]]
            elif column.is_required():
                job.values[name] = [row[name] for row in rows]
            else:
                job.values[name] = [row.get(name) for row in rows]
        except KeyError:
            at = next(n for n, row in enumerate(rows, 1) if name not in row)
            why = f"{job.what} {at} has no column {name!r}, which the model needs (GET /docs)"
            raise HTTPException(422, f"{why}; null is a missing value") from None
    return names | user.keys()


def check_rows(rows: int, limits: Limits) -> None:
    if rows > limits.rows:
        raise HTTPException(413, f"{rows:,} rows, at most {limits.rows:,} are scored at once")


def of_arrow(job: Job, contract: Contract, limits: Limits) -> set[str]:
    """The same of an Arrow IPC stream."""
    try:
        if not job.body.endswith(END):
            raise pa.ArrowInvalid("its end mark is missing")
        rows = pa.ipc.open_stream(job.body).read_all()
        names = set(rows.schema.names)
        check_rows(rows.num_rows, limits)
        rows.validate(full=True)
        frame, bad = table(rows, contract.types, contract.model.optional)
    except (UserError, HTTPException):
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise HTTPException(400, f"not an Arrow stream, or one that is damaged: {error}") from None
    if not bad.good.all():
        raise bad_value(job, bad.account.kept[0][1], contract)
    job.rows, job.values = len(frame), frame.to_dict(as_series=False)
    return names


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
    headers = {"x-model-id": contract.id, "x-model-date": contract.date}
    return Response(body, 200, headers, job.wanted)
