"""Your own logs, from raw files to a served model: the commands, in order, as a user types them."""

import json
import urllib.request

import polars as pl
import pytest
from page_shell import Shell
from world import log

pytestmark = pytest.mark.slow
SMALL = (
    "--config.data.data_dir=data --config.data.batch_size=64 --config.train.epochs=4 "
    "--config.optim.learning_rate=0.01 --config.optim.table_learning_rate=0.03 "
    "--config.model.experts=mlp --config.model.embedding_dim=4 --config.model.expert_dim=8 "
    "--config.model.mlp.hidden='(8,)' --config.model.tower_hidden='(8,)'"
)


@pytest.fixture
def shell(tmp_path, programs):
    """A folder with a log of 3,000 rows, in which the story goes on from step to step."""
    folder = tmp_path
    log.write(folder / "logs", log.rows(3000))
    with Shell(folder, programs) as one:
        yield one


def infer_writes_a_schema_file_from_raw_files(shell):
    shell.run("dtn-jax prepare --infer --input='logs/*.parquet' --time=t --group=user --out=i.yaml")
    text = (shell.folder / "i.yaml").read_text()
    for line in ("time: t", "group: user", "click:", "order:", "  item:"):
        assert line in text


def prepare_makes_a_set_and_describes_it(shell):
    log.schema_file(shell.folder, log.without("clicked", "ago"))  # histories of prepare's
    said = shell.run("dtn-jax prepare --schema=shop.yaml --input='logs/*.parquet' --data_dir=data")
    assert "split by time" in said
    said = shell.run("dtn-jax prepare --schema=shop.yaml --data_dir=data --describe")
    assert "click" in said
    assert list((shell.folder / "data").rglob("*.html"))


def two_models_are_trained_and_compared(shell):
    for name in ("dtn", "shared_bottom"):
        shell.run(
            f"dtn-jax train --config=configs/logs.py:{name},schema=shop.yaml {SMALL} "
            f"--workdir=runs/{name}"
        )
        results = json.loads((shell.folder / f"runs/{name}/results.json").read_text())
        assert results["architecture"] == name
        assert set(results["test"]) == {"click@all", "order@all", "order@click", "watch@all"}
        assert results["test"]["click@all"]["auc"] > 0.6
    said = shell.run("dtn-jax compare runs/dtn runs/shared_bottom")
    assert "click@all" in said
    assert "AUC" in said


def a_run_is_explained(shell):
    shell.run("dtn-jax feature_importance --workdir=runs/dtn --rows=200 --repeats=2")
    found = json.loads((shell.folder / "runs/dtn/importance/importance.json").read_text())
    rows = [row for row in found["importance"] if row["method"] == "permutation"]
    assert ("click@all", "item") in {(row["key"], row["field"]) for row in rows}
    assert list((shell.folder / "runs/dtn/importance").glob("*.png"))


def the_model_is_exported_and_scores_new_rows(shell):
    shell.run("dtn-jax export --workdir=runs/dtn --out=model")
    log.rows(100, seed=7).drop("click", "order", "seconds", "w").write_parquet(
        shell.folder / "new.parquet"
    )
    shell.run("dtn-jax score --model=model --input=new.parquet --output=scores.parquet")
    scores = pl.read_parquet(shell.folder / "scores.parquet")
    assert len(scores) == 100
    assert scores["click@all"].is_between(0, 1).all()


def it_is_served_with_equal_scores(shell):
    shell.run("dtn-jax serve --model=model")
    rows = pl.read_parquet(shell.folder / "new.parquet").with_columns(pl.col("t").cast(pl.String))
    body = json.dumps({"rows": rows.to_dicts()}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{shell.port}/score", data=body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        served = json.loads(answer.read())
    scores = pl.read_parquet(shell.folder / "scores.parquet")["click@all"].to_list()
    assert served["scores"]["click@all"] == pytest.approx(scores, abs=1e-6)


def test_the_story(shell):
    """From a log to a served model."""
    infer_writes_a_schema_file_from_raw_files(shell)
    prepare_makes_a_set_and_describes_it(shell)
    two_models_are_trained_and_compared(shell)
    a_run_is_explained(shell)
    the_model_is_exported_and_scores_new_rows(shell)
    it_is_served_with_equal_scores(shell)
