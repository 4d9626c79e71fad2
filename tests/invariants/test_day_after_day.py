"""Day 1 and then day 2 is one run over both, bit by bit, where day 2 has no new id."""

import chex
import polars as pl
import pytest
from dated_runs import SCHEMA, SIZE, dated, folder_of, frame
from small_runs import last_state

from configs import logs
from dtn_jax.data.prepare import prepare
from dtn_jax.run.train import train

CONSTANT = {"train__evaluate_first": False, "model__dropout": 0.2, "optim__schedule": "constant"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """(name of a set: its folder's config): day 1, day 2 that extends it, and both that do."""
    root = folder_of(tmp_path_factory.mktemp("days"))
    rows = frame().with_columns(day=pl.col("t").dt.date().cast(pl.String))
    parts = {"first": ["2026-03-01"], "second": ["2026-03-02"]}
    parts["both"] = parts["first"] + parts["second"]
    later = pl.col("day") >= "2026-03-05"  # validation and test are the same in all

    def made(name, **settings):
        schema = root / f"{name}.yaml"
        schema.write_text(SCHEMA.replace("name: dated", f"name: {name}"))
        own = rows.filter(pl.col("day").is_in(parts[name]) | later).drop("day")
        own.write_parquet(root / f"{name}.parquet")
        prepare(schema, str(root / f"{name}.parquet"), root / "data", processes=1, **settings)
        return schema

    schemas = {"first": made("first")}
    extend = str(root / "data" / "logs" / "first" / "1.0.0")
    return schemas | {name: made(name, extend=extend) for name in ("second", "both")}


def configured(sets, name, **changes):
    config = dated(sets["first"].parent, **CONSTANT, **changes)
    config.data.options = logs.get_config(f"shared_bottom,schema={sets[name]}").data.options
    return config


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["device", pytest.param("stream", marks=pytest.mark.nightly)])
def test_two_days_are_one_run(sets, tmp_path, placement):
    given = {"data__placement": placement}
    train(configured(sets, "first", **given), tmp_path / "first", test=False)
    start = {"train__start_from": str(tmp_path / "first")}
    config = configured(sets, "second", **given, **start)
    results = train(config, tmp_path / "second", test=False)
    whole = configured(sets, "both", **given)
    expected = train(whole, tmp_path / "both", test=False)
    state, _ = last_state(config, tmp_path / "second")
    other, _ = last_state(whole, tmp_path / "both")
    assert int(state.step) == int(other.step) == expected["steps"] > results["steps"] > 100 // SIZE
    chex.assert_trees_all_equal(state, other)
