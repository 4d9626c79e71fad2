"""Histories over HTTP, with what stands beside their items: the scores of the model and the run."""

import numpy as np
import polars as pl
import pytest
from history_logs import LISTS, MOST, TEST, log, made, prepared
from served import serving_model

from configs.logs import get_config
from dtn_jax.export.write import export_run
from dtn_jax.train import train

FULL = {
    "item": "i3",
    "viewed": ["i1", None, "i5"],
    "viewed_action": ["look", "buy", "look"],
    "viewed_gap": [2, 0, 4],
}
EMPTY = {name: [] for name in LISTS}
LONG = {
    "viewed": ["i9", "i8", "i7", "i6", "i5", "i4", "i3"],
    "viewed_action": ["buy"] * 3 + ["look", "cart", "look", "buy"],
    "viewed_gap": [0, 0, 0, 1, 2, 3, 4],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving_model(made(tmp_path_factory.mktemp("histories"))[1]) as found:
        yield found


def scores(served, rows):
    """Of POST /score, which are those of the model."""
    answer = served.score({"rows": rows})
    assert answer.status_code == 200, answer.text
    got, wanted = answer.json()["scores"], served.model.score(rows)
    for name in served.model.outputs:
        np.testing.assert_allclose(got[name], wanted[name].to_numpy(), rtol=0, atol=1e-6)
    return np.asarray(got["click@all"])


def check_odd_rows(served):
    """An empty history is a missing one; of a long one the newest count, companions in step."""
    newest = {name: values[-MOST:] for name, values in LONG.items()}
    rows = [FULL | one for one in ({}, EMPTY, dict.fromkeys(LISTS), LONG, newest)]
    found = scores(served, rows)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-6)
    np.testing.assert_allclose(found[3], found[4], rtol=1e-6)
    assert len({f"{score:.5f}" for score in found}) == 3


def test_odd_rows(served):
    check_odd_rows(served)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"viewed": None}, "list of 'viewed_gap' of another length than 'viewed'"),
        ({"viewed_action": ["look"]}, "list of 'viewed_action' of another length than 'viewed'"),
        ({"viewed_gap": None}, "list of 'viewed_gap' of another length than 'viewed'"),
        ({"viewed": "i1"}, "column 'viewed'"),
    ],
)
def test_lists_that_do_not_go_together(served, change, told):
    answer = served.score({"rows": [FULL, FULL | change]})
    assert answer.status_code == 422
    assert told in answer.text
    assert "row 2" in answer.text


@pytest.mark.parametrize("name", LISTS)
def test_a_history_that_a_row_lacks(served, name):
    row = {key: values for key, values in (FULL | EMPTY).items() if key != name}
    answer = served.score({"rows": [FULL, row]})
    assert answer.status_code == 422
    assert f"row 2 has no column '{name}', which the model needs" in answer.text


def test_a_users_history_beside_candidates(served):
    user = {name: FULL[name] for name in LISTS}
    candidates = [{"item": item} for item in ("i3", "i4", None)]
    answer = served.score({"user": user, "candidates": candidates})
    found = scores(served, [user | one for one in candidates])
    np.testing.assert_allclose(answer.json()["scores"]["click@all"], found, rtol=0, atol=1e-6)


def test_the_schema_says_what_stands_beside_what(served):
    schema = served.client.get("/schema").json()
    told = {column["name"]: column["expected"] for column in schema["columns"]}
    assert told["viewed"] == "a list of texts or numbers, the newest last or null"
    for name in LISTS[1:]:
        assert told[name] == "a list of texts or numbers, one for each of viewed or null"
    (row,) = schema["example"]["rows"]
    assert row == {"item": "a"} | {name: ["a"] for name in LISTS}
    scores(served, [row])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["", "din"])
def test_a_run_and_its_served_model_give_the_same_scores(tmp_path, way):
    prepared(tmp_path)
    config = get_config(f"shared_bottom,schema={tmp_path / 'shop.yaml'}")
    config.data.data_dir, config.data.batch_size = str(tmp_path / "data"), 64
    config.model.experts, config.model.histories = "mlp", way
    config.optim.table_init = 1.0
    config.train.max_steps, config.parallel.devices = 20, 1
    train(config, tmp_path / "run")
    folder = export_run([tmp_path / "run"], tmp_path / "model", say=lambda told: None)
    kept = pl.read_parquet(tmp_path / "run/predictions.parquet")
    with serving_model(folder) as served:
        test = log()[TEST]
        rows = test.select(served.model.columns).to_dicts()
        got = scores(served, rows)[kept["row"].to_numpy()]
        logit = np.log(got) - np.log1p(-got)
        np.testing.assert_allclose(logit, kept["logit/click"].to_numpy(), rtol=1e-5, atol=1e-6)
        check_odd_rows(served)
        short = [row for row in rows if len(row["viewed"]) <= MOST]
        for name in LISTS:  # the mean does not tell what stands beside what; DIN does
            turned = [row | {name: row[name][::-1]} for row in short]
            moved = np.abs(scores(served, turned) - scores(served, short)).max()
            assert moved > 1e-5 if way else moved < 1e-6
