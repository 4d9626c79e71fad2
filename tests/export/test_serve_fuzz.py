"""Thousands of drawn bodies: every answer is scores or a 4xx with an error, and never a 5xx."""

import io
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import FRAME
from served import ARROW, ROWS, serving

from dtn_jax.export.serve import json_rows, scorer
from dtn_jax.export.serve.limits import Limits
from dtn_jax.export.serve.refused import Refused
from experiments.suites.served.garbage import Garbage

MANY = settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
pytestmark = [
    pytest.mark.slow,  # hypothesis takes the server's thread for its own
    pytest.mark.filterwarnings("ignore:Do not use the `random` module"),
]

NUMBERS = st.integers() | st.integers(-(1 << 70), 1 << 70) | st.floats()
SCALARS = st.none() | st.booleans() | st.text(max_size=20) | NUMBERS
VALUES = st.recursive(
    SCALARS,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=3),
    max_leaves=6,
)
SENSIBLE = st.sampled_from([row[name] for row in ROWS for name in row]) | SCALARS
ROW = st.fixed_dictionaries(dict.fromkeys(ROWS[0], SENSIBLE | VALUES)) | st.dictionaries(
    st.sampled_from([*ROWS[0], "unread"]), SENSIBLE, max_size=8
)
USERS = st.dictionaries(st.sampled_from(list(ROWS[0])), SENSIBLE)
STREAM = io.BytesIO()
with pa.ipc.new_stream(STREAM, FRAME.to_arrow().schema) as out:
    out.write_table(FRAME.to_arrow())
STREAM = STREAM.getvalue()
UNREAD = ("huge numbers", "wrong types", "a missing column")  # may be those of a column of its own


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served") / "model") as found:
        yield found
        assert found.is_well()


def check(answer, rows=None):
    assert answer.status_code < 500, answer.text
    found = answer.json()
    if answer.status_code == 200:
        assert rows is None or found["rows"] == rows
        assert all(np.isfinite(v).all() for v in found["scores"].values())
    else:
        assert found["error"]
    return answer.status_code == 200


@MANY
@given(st.binary(max_size=200))
def test_bytes(served, body):
    assert not check(served.score(body))


@MANY
@given(VALUES | st.fixed_dictionaries({"rows": VALUES}))
def test_any_json(served, value):
    check(served.score(json.dumps(value).encode()))


@MANY
@given(
    st.lists(ROW, max_size=3), st.none() | st.dictionaries(st.sampled_from(list(ROWS[0])), SENSIBLE)
)
def test_rows(served, rows, user):
    """What is scored is what the model gives."""
    body = {"rows": rows} if user is None else {"user": user, "candidates": rows}
    answer = served.score(json.dumps(body).encode())
    if check(answer, len(rows)) and rows:
        every = [row | (user or {}) for row in rows]
        wanted = served.model.score(every)
        for name, values in answer.json()["scores"].items():
            np.testing.assert_allclose(values, wanted[name].to_numpy(), rtol=0, atol=1e-6)


@MANY
@given(st.integers(0, 2**32), st.integers(0, len(STREAM)), st.binary(max_size=12))
def test_arrow(served, seed, place, other):
    """A good stream with other bytes somewhere."""
    body = STREAM[:place] + other + STREAM[place + len(other) * (seed % 2) :]
    check(served.client.post("/score", content=body, headers=ARROW))


@MANY
@given(st.integers(0, 2**32))
def test_flipped_arrow(served, seed):
    draw = np.random.default_rng(seed)
    body = bytearray(STREAM)
    for at in draw.integers(len(body), size=draw.integers(1, 8)):
        body[at] ^= 1 << draw.integers(8)
    check(served.client.post("/score", content=bytes(body), headers=ARROW))


def test_the_suites_garbage(served):
    """Bad requests of the suite `serving`, as far as they have a body for /score."""
    garbage = Garbage([row | {"price": 1.0} for row in ROWS], STREAM)  # which is not read
    draw, seen = np.random.default_rng(1), set()
    for _ in range(1000):
        kind, sent = garbage.draw(draw)
        head, _, body = sent.partition(b"\r\n\r\n")
        if not head.startswith(b"POST"):
            continue
        lines = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:]]
        headers = {name: value for name, value in lines if name == "content-type" and value}
        scored = check(served.client.post("/score", content=body, headers=headers))
        assert not scored or kind in UNREAD, (kind, body[:200])
        seen.add(kind)
    assert len(seen) == len(garbage.kinds) - 2


def test_columns_of_drawn_types_share_a_call_and_change_nothing(served):
    @MANY
    @given(st.lists(st.lists(ROW, min_size=1, max_size=3), min_size=2, max_size=5))
    def together(requests):
        asked = []
        for rows in requests:
            try:
                body = json.dumps({"rows": rows}).encode()
                asked.append(json_rows.read(body, served.loaded.reading, Limits()))
            except Refused:
                continue
        every = scorer.score(served.model, served.loaded.reading, asked).answers
        for one, found in zip(asked, every):
            alone = scorer.score(served.model, served.loaded.reading, [one]).answers[0]
            if isinstance(alone, Refused):
                assert isinstance(found, Refused)
                assert (found.status, found.message) == (alone.status, alone.message)
            else:
                for name, values in alone.items():
                    np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-6)

    together()


def test_frames_of_polars(served):
    """Every type that polars has, in every column."""
    frame = FRAME.with_columns(pl.lit(None).alias("x"))
    values = [b"a", b"\xff", [1], {"a": 1}, True, None, [["a"]], [None, "a"], float("inf"), []]
    types = [pl.Date, pl.Datetime("ns", "Asia/Tokyo"), pl.Time, pl.Duration, pl.UInt64, pl.Int128]
    drawn = [pl.Series([value] * 6) for value in values]
    drawn += [pl.Series(range(6)).cast(kind) for kind in (*types, pl.Decimal(10, 2), pl.Float32)]
    drawn += [pl.Series(["a"] * 6, dtype=pl.Enum(["a"])), pl.Series(["a"] * 6).cast(pl.Categorical)]
    drawn += [pl.Series([[1.0, 2.0]] * 6, dtype=pl.Array(pl.Float64, 2))]
    for name in ROWS[0]:
        for column in drawn:
            for level in (pl.CompatLevel.newest(), pl.CompatLevel.oldest()):
                sink = io.BytesIO()
                try:
                    frame.with_columns(column.alias(name)).write_ipc_stream(
                        sink, compat_level=level
                    )
                except pl.exceptions.PolarsError:
                    continue
                check(served.client.post("/score", content=sink.getvalue(), headers=ARROW))
