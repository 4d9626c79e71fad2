"""Columns that KuaiRand's files lack drop their task or field."""

import json

import numpy as np
import polars as pl
import pytest
from kuairand_logs import account_of, log, prepare, rows

from configs import kuairand as kuairand_config
from dtn_jax.datasets.kuairand import files as kuairand_files
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.train import train

OPTIONAL = {n: c for n, c in kuairand_files.SOURCES.items() if c not in kuairand_files.NEEDED}


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_missing_column_drops_its_task_or_field(name, tmp_path, capsys):
    prepared = prepare({"log_standard.csv": log().drop(OPTIONAL[name])}, tmp_path)
    what = "task" if name in kuairand_files.LABELS else "field"
    lines = account_of(prepared, capsys)
    assert f"no column {OPTIONAL[name]!r}: dropped {what} {name!r}" in lines
    known = (*prepared.schema.field_names, *(t.name for t in prepared.schema.tasks))
    assert known == tuple(n for n in kuairand_files.SOURCES if n != name)
    whole = rows(prepare({"log_standard.csv": log()}, tmp_path / "whole"), "test")
    part, key = rows(prepared, "test"), "ids" if what == "field" else "labels"
    at = list(kuairand_files.FEATURES if what == "field" else kuairand_files.LABELS).index(name)
    np.testing.assert_array_equal(part[key], np.delete(whole[key], at, axis=1))


def test_a_set_with_missing_columns_needs_no_raw_files_any_more(tmp_path, monkeypatch):
    monkeypatch.delenv("DTN_MANUAL_DIR", raising=False)
    first = prepare({"log_standard.csv": log().drop("long_view", "hourmin")}, tmp_path)
    assert catalog.load("kuairand", data_dir=str(tmp_path / "data")) == first


def test_the_config_names_the_tasks_that_there_are(tmp_path):
    prepare({"log_standard.csv": log().drop("long_view")}, tmp_path)
    config = kuairand_config.get_config("shared_bottom")
    config.data.data_dir, config.data.manual_dir = f"{tmp_path}/data", f"{tmp_path}/manual"
    with pytest.raises(UserError, match=r"'long_view'.* choices are: click, profile_enter"):
        train(config, tmp_path / "run")


def test_a_column_that_one_of_two_files_lacks_has_no_values_there(tmp_path, capsys):
    files = {"log_standard_1.csv": log()[:400], "log_standard_2.csv": log()[400:].drop("long_view")}
    prepared = prepare(files, tmp_path)
    line = "no column 'long_view' in log_standard_2.csv: no values"
    assert line in account_of(prepared, capsys)
    facts = json.loads((prepared.folder / "prepared.json").read_text())
    assert [found["long_view"] for found in facts["missing_labels"].values()] == [0, 80, 80]


@pytest.mark.parametrize("file", ["log_standard.csv", "subset.parquet"])
def test_empty_columns_hold_missing_values(file, tmp_path, capsys):
    empty = {name: pl.lit(None) for name in ("hourmin", "duration_ms", "long_view", "is_follow")}
    prepared = prepare({file: log().with_columns(**empty)}, tmp_path)
    assert not rows(prepared, "test")["ids"][:, [2, 4]].any()
    facts = json.loads((prepared.folder / "prepared.json").read_text())
    missing = {name: n for name, n in facts["missing_labels"]["train"].items() if n}
    assert missing == {"long_view": 400, "follow": 400}
    told = [line for line in account_of(prepared, capsys) if "known in no row of train" in line]
    assert [line.split("'")[1] for line in told] == ["long_view", "follow"]


def test_without_a_task_the_default_choice_of_states_says_what_is_left(tmp_path):
    (tmp_path / "kuairand").mkdir()
    log().drop("long_view").write_csv(tmp_path / "kuairand" / "log_standard.csv")
    config = kuairand_config.get_config("mmoe")
    config.data.manual_dir, config.data.data_dir = str(tmp_path), str(tmp_path / "data")
    with pytest.raises(UserError, match=r"'long_view'.* Without it, train.select=click is left"):
        train(config, tmp_path / "run")
