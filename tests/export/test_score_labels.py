"""`score --labels`: the labels, groups and weights that `prepare` makes, beside the scores."""

import numpy as np
import polars as pl
import pytest
import shop
from labelled_logs import SCHEMA, log, model, prepared, scored

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export import score_files
from dtn_jax.export.score_files import Job
from dtn_jax.export.scored_by import ScoredBy
from experiments import score

pytest_plugins = ["score_fixtures"]

WRITTEN = ["label/click", "label/order", "label/watch", "group", "sample_weight"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the set, the log's test rows, a model)."""
    folder = tmp_path_factory.mktemp("labelled")
    data = prepared(folder)
    return data, log().tail(data.rows["test"]), model(data, folder / "model")


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_they_are_those_of_the_prepared_set(made, tmp_path, form):
    data, rows, folder = made
    stored = shop.rows_of(data, "test")
    given, output = tmp_path / f"day.{form}", tmp_path / "s.parquet"
    getattr(rows, f"write_{form}")(given)
    score.main([f"--model={folder}", f"--input={given}", f"--output={output}", "--labels"])
    got = pl.read_parquet(output)
    scores = ["click@all", "order@click", "order@all", "watch@all"]
    assert got.columns == [*rows.columns, *scores, *WRITTEN]
    for i, task in enumerate(data.schema.task_names):
        expected = np.where(stored["label_mask"][:, i], stored["labels"][:, i], np.nan)
        np.testing.assert_array_equal(got[f"label/{task}"].fill_null(np.nan), expected)
    assert got["label/watch"].null_count() == int((rows["clicked"] == 0).sum())
    for name in ("group", "sample_weight"):
        np.testing.assert_array_equal(got[name], stored[name])


def test_a_row_that_prepare_would_reject_is_bad(made, tmp_path, capsys):
    _, rows, folder = made
    changed = rows.with_columns(rows["clicked"].scatter(3, 2), rows["user_id"].scatter(5, None))
    got = pl.read_parquet(scored(folder, changed, tmp_path / "s.parquet", "--labels"))
    bad = np.flatnonzero(got["click@all"].is_null())
    assert bad.tolist() == [3, 5]
    assert got[bad][:, WRITTEN].null_count().row(0) == (2,) * len(WRITTEN)
    said = capsys.readouterr().out
    assert "1 of 150 rows have no scores: label of 'click' outside its range, 0 or 1" in said
    assert "1 of 150 rows have no scores: missing group" in said
    with pytest.raises(UserError, match=r"^--labels: .*label of 'watch'.* unknown column 'watch'"):
        scored(folder, rows.drop("watch"), tmp_path / "lacking.parquet", "--labels")


def test_a_call_that_resumes_keeps_labels_and_metadata(made, tmp_path, monkeypatch):
    monkeypatch.setattr(score_files, "UNIT", {"rows": 50, "size": 100})
    _, rows, folder = made
    rows.write_parquet(tmp_path / "day.parquet", row_group_size=50)
    loaded = export.load(folder, largest=64)

    def job(labels, say=lambda told: None, output="s.parquet"):
        given = [str(tmp_path / "day.parquet")]
        return Job(loaded, given, tmp_path / output, labels=labels, say=say)

    list(job(True, output="whole.parquet").run())
    for labels in (False, True):  # pieces without labels are of no use
        told = []
        for done, _ in enumerate(job(labels, told.append).run(), 1):
            if done == 2:
                break
        assert ["begun anew" in line for line in told] == [True] * labels
    told = []
    list(job(True, told.append).run())
    assert "resuming" in told[0]
    got, whole = tmp_path / "s.parquet", tmp_path / "whole.parquet"
    assert pl.read_parquet(got).equals(pl.read_parquet(whole))
    by = ScoredBy.read(got)
    assert by == ScoredBy.read(whole)
    assert (by.model, by.group, by.weight, by.written) == ("model", "user_id", "", True)
    assert by.labels["watch"].text == "log1p(watch) where clicked == 1"
    assert (by.labels["click"].column, by.labels["order"].column) == ("clicked", "")


def test_a_group_that_is_called_group_is_written_once(tmp_path):
    schema = SCHEMA.replace("user_id", "group").replace("weight: w\n", "")
    data = prepared(tmp_path, schema, user_id="group")
    rows = log().rename({"user_id": "group"}).tail(20)
    got = scored(model(data, tmp_path / "model"), rows, tmp_path / "s.parquet", "--labels")
    assert pl.read_parquet(got)["group"].n_unique() == rows["group"].n_unique()
    rows = rows.with_columns(pl.lit(0.5).alias("label/click"))
    with pytest.raises(UserError, match=r"have a column 'label/click' already.*--columns"):
        scored(tmp_path / "model", rows, tmp_path / "s2.parquet", "--labels")


def test_code_that_makes_labels_is_not_read(made_model, made_day, tmp_path):
    with pytest.raises(UserError, match=r"code makes the labels of data set 'made'.*--columns="):
        Job(made_model, [str(made_day)], tmp_path / "s.parquet", labels=True)
