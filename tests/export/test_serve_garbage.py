"""Whatever is sent to /score gets scores or a 4xx that says why, and the next request is right."""

import functools
import io
import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from damaged_bytes import DAMAGE, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import FRAME
from served import ARROW, ROWS, serving

ROW = ROWS[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served") / "model") as found:
        yield found
        assert found.is_well()


def told(answer, status, *words):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    for word in words:
        assert word in error, error
    return answer.json()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b'{"rows": [NaN]}', 400, "not JSON"),
        (b'{"rows": []} x', 400, "not JSON"),
        (b'\xef\xbb\xbf{"rows": []}', 400, "not JSON"),
        ('{"rows": []}'.encode("utf-16"), 400, "not JSON in UTF-8"),
        (b"[" * 100_000, 400, "recursion limit exceeded"),
        (b'{"rows": [' + b"9" * 6000 + b"]}", 400, "not JSON"),
        (b"[]", 422, "the body: Input should be a valid dictionary"),
        (b"{}", 422, "the body has nothing"),
        (b'{"rows": [], "candidates": []}', 422, "the body has rows, candidates"),
        (b'{"rows": null}', 422, "the body has nothing"),
        (b'{"user": {}, "candidates": null}', 422, "the body has user;"),
        (b'{"rows": {}}', 422, "rows: Input should be a valid list"),
        (b'{"user": 3, "candidates": []}', 422, "user: Input should be an instance of dict"),
        (b'{"rows": [], "row": []}', 422, "row: Extra inputs are not permitted"),
        (b'{"rows": [], "outputs": 3}', 422, "outputs: Input should be a valid list"),
        (b'{"rows": [], "outputs": [[]]}', 422, "outputs 0: Input should be a valid string"),
        (json.dumps({"rows": [{}] * 1001}).encode(), 413, "at most 1,000"),
        (b'{"rows": "' + b"x" * (1 << 20) + b'"}', 413, "longer than 1 MiB"),
    ],
)
def test_bodies(served, body, status, words):
    told(served.score(body), status, words)


@pytest.mark.parametrize(
    ("column", "value", "got", "expected"),
    [
        ("size", "many", "got 'many'", "expected a number or null: wrong type"),
        ("vector", [3e38, 0.0], "score that is not finite", ""),
        ("word", {"a": 1}, "{'a': 1}", "a text or a number or null"),
        ("tags", [["x"]], "[['x']]", "a list, each a text or a number or null"),
        ("tags_weights", [1.0, 2.0, 3.0], "weights of another length", "each a number or null"),
        ("size", 10**400, "number that is not finite", "a number or null"),
    ],
)
def test_values(served, column, value, got, expected):
    body = json.dumps({"rows": [*ROWS[:3], ROW | {column: value}]})
    told(served.score(body.encode()), 422, "row 4", got, expected)
    rest = {k: v for k, v in ROW.items() if k != column}
    body = json.dumps({"user": {column: value}, "candidates": [rest]})
    told(served.score(body.encode()), 422, "candidate 1", expected)


def test_a_row_that_lacks_a_column(served):
    lacking = {k: v for k, v in ROW.items() if k != "speed"}
    told(served.score({"rows": [ROW, lacking]}), 422, "row 2 has no column 'speed'")
    asked = {"user": {}, "candidates": [lacking]}
    told(served.score(asked), 422, "candidate 1 has no column 'speed', which the model needs")


def test_a_users_long_text_for_many_candidates(served):
    user, rest = {"word": "x" * 4000}, {k: v for k, v in ROW.items() if k != "word"}
    for number in range(20):
        user[f"unread{number}"] = "x" * 4000
    assert served.score({"user": user, "candidates": [rest] * 500}).status_code == 200
    user["tags"], rest = ["x" * 4000] * 50, {k: v for k, v in rest.items() if k != "tags"}
    told(
        served.score({"user": user, "candidates": [rest] * 500}),
        413,
        "too long for so many candidates: send fewer",
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_types_of_content(served, headers):
    told(served.client.post("/score", content=b"{}", headers=headers), 415, "got the content-type")


def test_other_paths_and_methods(served):
    told(served.client.get("/score"), 405, "Method Not Allowed")
    told(served.client.get("/scores"), 404, "Not Found")
    found = served.client.get("/")
    assert (found.status_code, found.headers["location"]) == (307, "/docs")


def stream(table, **options):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, **options) as out:
        out.write_table(table)
    return sink.getvalue()


def with_column(name, values):
    table = FRAME.to_arrow()
    return table.set_column(table.column_names.index(name), name, values)


def arrow(served, body):
    return served.client.post("/score", content=body, headers=ARROW)


def test_hostile_arrow(served):
    good = stream(FRAME.to_arrow())
    told(arrow(served, b""), 400, "not an Arrow stream")
    told(arrow(served, b"\xff" * 100), 400)
    for cut in (*range(8, len(good), 97), len(good) - 8, len(good) - 1):
        told(arrow(served, good[:cut]), 400, "Arrow stream")
    huge = pl.concat([FRAME] * 200).to_arrow()
    told(arrow(served, stream(huge)), 413, "at most 1,000")
    told(arrow(served, stream(FRAME.drop("speed").to_arrow())), 422, "no column 'speed'")
    struct = with_column("word", pa.array([{"a": 1}] * 6))
    told(arrow(served, stream(struct)), 422, "column 'word': got")
    text = with_column("size", pa.array(["many"] * 6))
    for values in (
        pa.ListViewArray.from_arrays(
            pa.array([0] * 6, pa.int32()), pa.array([3] * 6, pa.int32()), pa.array(["x"] * 3)
        ),
        pa.RunEndEncodedArray.from_arrays(pa.array([6], pa.int32()), pa.array(["x"])),
    ):
        assert arrow(served, stream(with_column("tags", values))).status_code in (400, 422)
    told(arrow(served, stream(text)), 422, "row 1, column 'size': got 'many'")


def test_a_failure_of_the_program_is_told_and_passes(served, monkeypatch):
    def fail(*_):
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("dtn_jax.export.serve.worker._frame", fail)
    told(served.score({"rows": ROWS}), 500, "the server failed; its log says where")
    monkeypatch.undo()
    assert served.is_well()


@pytest.mark.slow
@pytest.mark.parametrize("count", [400, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_whatever_is_sent_gets_scores_or_a_reason(served, count):
    bodies = {"application/json": json.dumps({"rows": ROWS}).encode()}
    bodies |= {ARROW["content-type"]: stream(FRAME.to_arrow())}

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from([*bodies]), st.lists(DAMAGE, min_size=1, max_size=3))
    def send(kind, every):
        body = functools.reduce(damaged, every, bodies[kind])
        answer = served.client.post("/score", content=body, headers={"content-type": kind})
        assert answer.status_code < 500, answer.text
        found = answer.json()
        if answer.status_code == 200:
            assert all(np.isfinite(scores).all() for scores in found["scores"].values())
        else:
            assert found["error"]

    send()
