"""Rows over HTTP get the scores that the model gives them, whoever asks beside them; whatever else
is sent gets scores or a 4xx that says why, and the next request is right."""

import contextlib
import functools
import io
import json
import signal
import threading
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import uvicorn
from damaged_bytes import DAMAGE, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import FRAME
from served import ARROW, ROWS, Client, serving, serving_model
from world import log
from world.run import of_log

from dtn_jax.data import cast
from dtn_jax.data.clean import Bad
from dtn_jax.export.serve import requests, worker
from dtn_jax.export.serve.process import Server, make_app
from dtn_jax.export.write import export_run
from dtn_jax.run.train import train

USER = ("word", "tags", "tags_weights")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    more = {"views": 2, "example": {"id": 4, "speed": 9.25}}
    with serving(tmp_path_factory.mktemp("served") / "model", **more) as found:
        yield found
        assert found.is_well()


def same(answer, model, rows):
    assert answer.status_code == 200, answer.text
    got, wanted = answer.json(), model.score(rows)
    assert got["rows"] == len(wanted)
    assert list(got["scores"]) == wanted.columns
    for name, values in got["scores"].items():
        np.testing.assert_allclose(values, wanted[name].to_numpy(), rtol=0, atol=1e-6)
    return got


def stream(table):
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    return sink.getvalue()


def test_rows(served):
    answer = served.score({"rows": ROWS})
    same(answer, served.model, ROWS)
    for rows in (
        ROWS * 20,  # more than a batch
        [dict.fromkeys(served.model.columns), ROWS[0] | {"id": 3.0, "word": "never", "size": 2}],
    ):
        same(served.score({"rows": rows}), served.model, rows)
    assert answer.headers["x-model-id"] == served.contract.id
    assert answer.headers["x-model-date"] == served.contract.date
    assert served.score({"rows": []}).json()["scores"]["click@all"] == []


def test_a_user_with_candidates(served):
    user = {name: ROWS[0][name] for name in USER}
    candidates = [{k: v for k, v in row.items() if k not in USER} for row in ROWS]
    rows = [user | one for one in candidates]
    same(served.score({"user": user, "candidates": candidates}), served.model, rows)
    both = served.score({"user": user, "candidates": rows})
    assert both.status_code == 422
    assert "'tags' is a field of the user and of candidates" in both.json()["error"]


def test_outputs_are_chosen_and_unread_fields_told(served):
    body = {"rows": [ROWS[0] | {"colour": "red"}], "outputs": ["order@all", "click@all"]}
    got = served.score(body).json()
    assert list(got["scores"]) == ["order@all", "click@all"]
    assert got["ignored"] == ["colour"]
    wrong = served.score({"rows": ROWS, "outputs": ["clik@all"]})
    assert (wrong.status_code, "Did you mean 'click@all'" in wrong.json()["error"]) == (422, True)


@pytest.mark.parametrize("form", ["polars", "dictionary"])
def test_arrow_in_and_out(served, form):
    frame = FRAME.with_columns(pl.lit("x").alias("unread"))
    if form == "dictionary":
        frame = frame.with_columns(pl.col("word").cast(pl.Categorical))
    if form == "polars":
        sink = io.BytesIO()
        frame.write_ipc_stream(sink)
        body = sink.getvalue()
    else:
        body = stream(frame.to_arrow())
    asked = {"content": body, "headers": ARROW | {"accept": ARROW["content-type"]}}
    answer = served.client.post("/score?outputs=order@all,click@all", **asked)
    assert answer.status_code == 200, answer.text
    got = pl.from_arrow(pa.ipc.open_stream(answer.content).read_all())
    wanted = served.model.score(FRAME).select("order@all", "click@all")
    assert got.columns == wanted.columns
    np.testing.assert_allclose(got.to_numpy(), wanted.to_numpy(), rtol=0, atol=1e-6)
    same(served.client.post("/score", content=body, headers=ARROW), served.model, FRAME)


@pytest.mark.parametrize("users", ["all", "some", "none"])
def test_requests_that_share_a_call_are_answered_as_if_alone(served, users):
    """Other types in a column of another request, and other requests' users, change nothing."""
    bodies = [
        [ROWS[0] | {"id": "1"}, ROWS[1]],
        [ROWS[2] | {"id": 2.0, "size": 1}],
        [ROWS[3] | {"id": None, "word": 1}],
        [ROWS[4] | {"word": 10**30}],
        [ROWS[5] | {"tags": None, "tags_weights": None}],
        [ROWS[5] | {"word": ["no"]}],
        ROWS,
    ]

    def body(at):
        if users == "none" or (users == "some" and at % 2):
            return {"rows": bodies[at]}
        user = {name: bodies[at][0][name] for name in USER}
        bodies[at] = [row | user for row in bodies[at]]
        rest = [{k: v for k, v in row.items() if k not in USER} for row in bodies[at]]
        return {"user": user, "candidates": rest}

    answers = [None] * len(bodies)

    def ask(at):
        answers[at] = served.client.post("/score", json=body(at))

    hold = threading.Event()
    run = served.worker._call

    def wait(job):
        hold.wait(240)
        run(job)

    served.worker._call = wait
    threads = [threading.Thread(target=ask, args=(at,)) for at in range(len(bodies))]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 240
    while served.worker.jobs.qsize() < len(bodies) - 1:  # one is held
        assert time.monotonic() < end
        time.sleep(0.01)
    hold.set()
    for thread in threads:
        thread.join()
    served.worker._call = run
    for answer, rows in zip(answers, bodies):
        if rows[0]["word"] == ["no"]:
            assert answer.status_code == 422
        else:
            same(answer, served.model, rows)


def test_a_user_beside_other_requests_is_cast_once(served, monkeypatch):
    """Not once for each candidate."""
    user = {name: ROWS[0][name] for name in USER}
    rest = [{k: v for k, v in row.items() if k not in USER} for row in ROWS]
    bodies = {"rows": ROWS}, {"user": user, "candidates": rest}
    jobs = [
        requests.Job(json.dumps(body).encode(), requests.JSON, requests.JSON, None)
        for body in bodies
    ]
    for job in jobs:
        requests.read(job, served.contract, served.worker.limits)
    casts = {}

    def of_values(name, values, *more):
        casts[name] = len(values)
        return cast.of_values(name, values, *more)

    monkeypatch.setattr(worker, "of_values", of_values)
    worker._frame(served.contract, jobs, Bad(np.arange(2 * len(ROWS))))
    assert {casts[name] for name in USER} == {len(ROWS) + 1}
    assert casts["id"] == 2 * len(ROWS)


def test_health_and_metrics(served):
    assert served.client.get("/ready").json()["status"] == "ready"
    for word in ("never seen", "red"):  # counted before the next call, but after its answer
        served.score({"rows": [ROWS[0] | {"word": word}]})
    text = served.client.get("/metrics").text
    assert f'id="{served.contract.id}"' in text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert float(values['dtn_requests_total{status="200"}']) > 0
    assert float(values['dtn_field_unknown_values_total{field="word"}']) > 0


def test_docs_show_the_columns_of_the_model_that_is_served(served):
    assert served.client.get("/docs").status_code == 200
    page = served.client.get("/openapi.json").json()
    row = page["components"]["schemas"]["Row"]
    assert list(row["properties"]) == list(served.model.columns) == row["required"]
    assert row["properties"]["id"]["anyOf"][0] == {"type": "integer"}
    assert row["properties"]["vector"]["description"] == "a list, each a number or null"
    body = page["paths"]["/score"]["post"]["requestBody"]["content"]["application/json"]
    (example,) = body["example"]["rows"]
    assert (example["id"], example["speed"]) == (4, 9.25)
    assert row["properties"]["id"]["examples"] == [4]
    same(served.score(body["example"]), served.model, [example])


def test_a_token(served, caplog):
    app = make_app(served.worker, "s3cret")
    with contextlib.closing(Client(app)) as asked, caplog.at_level("DEBUG"):
        for path in ("/health", "/ready"):
            assert asked.get(path).status_code == 200
        for path in ("/docs", "/openapi.json"):
            assert asked.get(path).status_code == 404
        for given in ({}, "s3cret", "Bearer s3cre", "Bearer s3cretx", b"Bearer \xe9"):
            headers = {"authorization": given} if given else {}
            for method, path in (("GET", "/metrics"), ("POST", "/score")):
                answer = asked.request(method, path, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        headers = {"authorization": "Bearer s3cret"}
        same(asked.post("/score", json={"rows": ROWS}, headers=headers), served.model, ROWS)
        assert asked.request("GET", "/metrics", headers=headers).status_code == 200
    assert "s3cret" not in caplog.text


def test_no_answer_before_the_model_is_ready(served):
    served.worker.ready.clear()
    try:
        answer = served.score({"rows": ROWS})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert served.client.get("/ready").status_code == 503
        assert served.client.get("/health").status_code == 200
    finally:
        served.worker.ready.set()
    assert served.is_well()


def test_a_server_that_ends_is_not_ready(served):
    server = Server(uvicorn.Config(served.app))
    server.worker = served.worker
    server.handle_exit(signal.SIGTERM, None)
    answer = served.client.get("/ready")
    served.worker.stopping = False
    assert (answer.status_code, answer.json()["status"]) == (503, "stopping")
    assert served.is_well()  # what comes is answered


# ---------------------------------------------------------------- garbage


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
    body = json.dumps({"rows": [*ROWS[:3], ROWS[0] | {column: value}]})
    told(served.score(body.encode()), 422, "row 4", got, expected)
    rest = {k: v for k, v in ROWS[0].items() if k != column}
    body = json.dumps({"user": {column: value}, "candidates": [rest]})
    told(served.score(body.encode()), 422, "candidate 1", expected)


def test_a_row_that_lacks_a_column(served):
    lacking = {k: v for k, v in ROWS[0].items() if k != "speed"}
    told(served.score({"rows": [ROWS[0], lacking]}), 422, "row 2 has no column 'speed'")
    asked = {"user": {}, "candidates": [lacking]}
    told(served.score(asked), 422, "candidate 1 has no column 'speed', which the model needs")


def test_a_users_long_text_for_many_candidates(served):
    user, rest = {"word": "x" * 4000}, {k: v for k, v in ROWS[0].items() if k != "word"}
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


# ---------------------------------------------------------------- histories


def scored(served, rows):
    """Of POST /score, which are those of the model."""
    answer = served.score({"rows": rows})
    same(answer, served.model, rows)
    return np.asarray(answer.json()["scores"]["click@all"])


@pytest.mark.slow
def test_a_run_and_its_served_model_give_the_same_scores(tmp_path):
    """An empty history is a missing one; of a long one the newest count, companions in step."""
    frame, lists = log.rows(), ("viewed", "viewed_action")
    log.prepared(tmp_path, frame, log.without("clicked", "ago"))
    options = {"model__histories": "din", "optim__table_init": 1.0, "train__max_steps": 20}
    train(of_log(tmp_path, data__batch_size=64, **options), tmp_path / "run")
    folder = export_run([tmp_path / "run"], tmp_path / "model", calibrate="none")
    kept = pl.read_parquet(tmp_path / "run/predictions.parquet")
    with serving_model(folder) as own:
        test = log.split_frames(frame)["test"].with_columns(pl.col("t").dt.to_string("iso:strict"))
        rows = test.select(own.model.columns).to_dicts()
        got = scored(own, rows)[kept["row"].to_numpy()]
        logit = np.log(got) - np.log1p(-got)
        np.testing.assert_allclose(logit, kept["logit/click"].to_numpy(), rtol=1e-5, atol=1e-6)
        long = {"viewed": [*range(9, 2, -1)], "viewed_action": ["buy"] * 3 + ["look", "cart"] * 2}
        newest = {name: values[-4:] for name, values in long.items()}
        empty = {name: [] for name in lists}
        odd = scored(own, [rows[0] | x for x in (empty, dict.fromkeys(lists), long, newest)])
        np.testing.assert_allclose(odd[::2], odd[1::2], rtol=1e-6)
        assert abs(odd[0] - odd[2]) > 1e-5
        short = [row for row in rows if len(row["viewed"]) <= 4]
        for name in lists:  # DIN tells what stands beside what
            turned = [row | {name: row[name][::-1]} for row in short]
            assert np.abs(scored(own, turned) - scored(own, short)).max() > 1e-5
