"""Each day of train is scored before it is trained on, with what the run knows by then; a run a day
is one run over the days."""

import chex
import dated_runs
import jax
import numpy as np
import polars as pl
import pytest
from dated_runs import SCHEMA, SIZE, dated, folder_of, train_days
from small_runs import CutError, assert_same_run, cut_after, last_state, logged

from configs import logs
from dtn_jax.data.epochs.reader import SplitReader, padded, take
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError
from dtn_jax.metrics import Rows
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.within_groups import gauc
from dtn_jax.run import selection
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("dated")


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """A run that nothing cut: its workdir, results, and the states that its checkpoints held."""
    workdir, states = tmp_path_factory.mktemp("whole") / "run", {}
    with pytest.MonkeyPatch.context() as patch:
        save = Checkpoints.save

        def keep(self, step, state, progress):
            states[step] = jax.tree.map(np.array, state.replace(key=None))
            save(self, step, state, progress)

        patch.setattr(Checkpoints, "save", keep)
        return workdir, train(dated(root), workdir), states


def logits_by_hand(run, state, numbers):
    """Of the rows of train with these numbers, scored in one batch."""
    rows = SplitReader(run.data, "train").everything()
    batch = take(rows, padded(numbers, 512))
    return np.asarray(run.score_step(state, batch), np.float64)[: len(numbers)]


def test_a_day_has_the_metrics_of_its_rows_by_the_state_before_it(root, whole):
    run, (_, results, states) = build_run(dated(root)), whole
    begin = run.days.begin(run.config.data.batch_size).tolist()
    assert list(results["by_day"]) == list(train_days())
    states = states | {0: run.new_state()}
    of = np.concatenate([[n] * len(f) for n, f in enumerate(train_days().values())])
    for place, (day, frame) in enumerate(train_days().items()):
        numbers = np.flatnonzero(run.data.days("train") == run.days.known[place])
        assert len(numbers) == (of == place).sum()
        logits = logits_by_hand(run, states[begin[place]].to_score(), numbers)
        click, order = (frame[name].to_numpy() for name in ("click", "order"))
        found = results["by_day"][day]
        assert found["click@all"]["auc"] == pytest.approx(auc(logits[:, 0], click), abs=1e-6)
        assert found["click@all"]["positives"] == click.sum()
        assert found["order@all"]["examples"] == len(frame)
        user = frame["user"].to_numpy()
        expected, *_ = gauc(Rows("binary", logits[:, 1], order, None, user))
        assert found["order@all"]["gauc"] == pytest.approx(expected, abs=1e-6)
        assert found["order@click"]["examples"] == click.sum()
        if place + 1 < len(begin) - 1:  # by the state after it, it would have others
            later = logits_by_hand(run, states[begin[place + 1]].to_score(), numbers)
            assert abs(auc(later[:, 0], click) - found["click@all"]["auc"]) > 1e-3


def test_the_log_has_each_day_where_it_begins(root, whole):
    run, (workdir, results, _) = build_run(dated(root)), whole
    records = [r for r in logged(workdir) if r["kind"] == "day"]
    assert [r["day"] for r in records] == run.days.known
    assert [r["step"] for r in records] == run.days.begin(32)[:-1].tolist()
    for record, found in zip(records, results["by_day"].values(), strict=True):
        assert record["click@all/auc"] == found["click@all"]["auc"]


@pytest.mark.slow
def test_training_is_the_same_without(root, whole, tmp_path):
    config = dated(root, train__evaluate_first=False)
    results = train(config, tmp_path)
    assert "by_day" not in results
    assert results["test"] == whole[1]["test"]
    chex.assert_trees_all_equal(
        last_state(config, tmp_path)[0], last_state(dated(root), whole[0])[0]
    )


@pytest.mark.slow
def test_what_is_streamed_has_the_same_days(root, whole, tmp_path):
    config = dated(root, data__placement="stream", data__eval_batch_size=96)
    assert train(config, tmp_path)["by_day"] == whole[1]["by_day"]
    assert logged(tmp_path) == logged(whole[0])


@pytest.mark.slow
def test_a_run_killed_between_days_finds_the_same(root, whole, tmp_path, monkeypatch):
    """Where a day begins, and within one; what was found is not found again."""
    score, scored = selection.score_split, []

    def note(run, state, split, day=None):
        scored.extend([day] * (day is not None))
        return score(run, state, split, day)

    monkeypatch.setattr(selection, "score_split", note)
    for saves in (2, 1):
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            train(dated(root), tmp_path)
    results = train(dated(root), tmp_path)
    assert len(scored) == len(train_days())
    assert results["by_day"] == whole[1]["by_day"]
    assert results["test"] == whole[1]["test"]
    assert_same_run(dated(root), whole[0], tmp_path)


@pytest.mark.slow
def test_a_day_on_which_the_run_does_not_train_is_not_scored(root, whole, tmp_path):
    """The run ends, or stops early, where a day begins."""
    begin = build_run(dated(root)).days.begin(32).tolist()
    place = next(n for n, step in enumerate(begin) if step and step % 2 == 0)
    ended = train(dated(root, train__max_steps=begin[place]), tmp_path / "ended")
    assert list(ended["by_day"]) == list(whole[1]["by_day"])[:place]
    changes = {"train__eval_every": begin[place] // 2, "train__patience": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dtn_jax.run.selection.Selection.better", lambda self, one, other: False)
        stopped = train(dated(root, **changes), tmp_path / "stopped")
    assert stopped["steps"] == begin[place] < begin[-1]
    assert len(stopped["by_day"]) == place


def test_what_it_needs_is_said(root, prepared_dir, tmp_path):
    needed = {"order=day, got shuffled": {"data__order": "shuffled"}}
    for words, changes in (needed | {"epochs=1, got 2": {"train__epochs": 2}}).items():
        with pytest.raises(UserError, match=rf"evaluate_first=True needs \w+\.{words}"):
            train(dated(root, **changes), tmp_path)
    undated = {"data__dataset": "adult", "data__options": "", "data__data_dir": prepared_dir}
    with pytest.raises(UserError, match=r"data\.order=day: data set 'adult' .* has no days"):
        train(dated(root, **undated), tmp_path)
    with pytest.raises(UserError, match=r"unknown data.order 'time'\. The choices are: shuffled"):
        train(dated(root, data__order="time"), tmp_path)
    assert not list(tmp_path.iterdir())


def assert_days_are_near(one, other):
    assert list(one) == list(other)
    for day, found in one.items():
        for key, values in found.items():
            for name, value in values.items():
                assert value == pytest.approx(other[day][key][name], rel=1e-3, abs=1e-4)


@pytest.mark.nightly
@pytest.mark.parametrize("strategy", ["shard", "pmap"])
def test_on_several_devices(root, whole, tmp_path, strategy):
    config = dated(root, parallel__devices=4, parallel__strategy=strategy)
    assert_days_are_near(train(config, tmp_path)["by_day"], whole[1]["by_day"])


# Day 1 and then day 2 is one run over both, bit by bit, where day 2 has no new id.

CONSTANT = {"train__evaluate_first": False, "model__dropout": 0.2, "optim__schedule": "constant"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """(name of a set: its folder's config): day 1, day 2 that extends it, and both that do."""
    root = folder_of(tmp_path_factory.mktemp("days"))
    rows = dated_runs.frame().with_columns(day=pl.col("t").dt.date().cast(pl.String))
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
