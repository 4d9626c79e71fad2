"""Scores as a client wants them: JSON, or an Arrow stream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.export.serve.arrow_rows import STREAM
from dtn_jax.export.serve.asked import Asked

JSON = "application/json"
FEW = 32  # numbers that Python writes faster


def wanted(accept: str) -> str:
    """The content type of an answer to a request that accepts these."""
    types = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return STREAM if STREAM in types else JSON


def written(kind: str, asked: Asked, scores: Mapping[str, np.ndarray]) -> bytes:
    """The body of an answer: of each output that was asked for a score a row, in their order."""
    chosen = {name: scores[name] for name in asked.outputs}
    return _arrow(chosen) if kind == STREAM else _json(chosen, asked.rows, asked.ignored)


def _json(scores: Mapping[str, np.ndarray], rows: int, ignored: Sequence[str]) -> bytes:
    """`{"rows": 2, "scores": {"click@all": [0.12, 0.34], …}, "ignored": ["colour"]}`."""
    columns = (f"{json.dumps(name)}: {_numbers(values)}" for name, values in scores.items())
    told = f', "ignored": {json.dumps(list(ignored))}' if ignored else ""
    return f'{{"rows": {rows}, "scores": {{{", ".join(columns)}}}{told}}}'.encode()


def _numbers(values: np.ndarray) -> str:
    """A JSON list of the shortest texts that are these float64s; polars writes them fast."""
    if len(values) <= FEW:
        return f"[{', '.join(map(repr, values.tolist()))}]"
    return f"[{', '.join(pl.Series(values, dtype=pl.Float64).cast(pl.String).to_list())}]"


def _arrow(scores: Mapping[str, np.ndarray]) -> bytes:
    table = pa.table({name: pa.array(values) for name, values in scores.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()
