"""What tables will cost: the command, its arithmetic, and sets that stand in for larger ones."""

import dataclasses
import math
import types

import pytest
from untrained_tables import TINY

from dtn_jax.errors import UserError
from dtn_jax.parallel.memory import OutOfMemory
from dtn_jax.run import build_run
from experiments import paper_tables
from experiments.tables import cells, estimate, run_cost, set_cost
from experiments.tables.entries import TABLES
from experiments.tables.protocol import FullSize, configured
from experiments.tables.run_cost import RunCost, seconds_of
from experiments.tables.set_cost import SetCost, as_large
from experiments.tables.tuning import VALIDATIONS
from experiments.tables.work import Work

FULL = FullSize({"train": 10**9, "test": 10**8}, {"workclass": 5_000}, "a paper")


@pytest.fixture
def work(prepared_dir, tmp_path):
    return Work(TINY, tmp_path, tmp_path, {"data.data_dir": str(prepared_dir)}, False)


def test_the_command_measures_and_trains_nothing(prepared_dir, tmp_path, monkeypatch, capsys):
    for module in (run_cost, set_cost):
        monkeypatch.setattr(module, "SECONDS", 0.0)  # even so each part runs once
    monkeypatch.setattr(set_cost, "JUDGED", 2_000)
    monkeypatch.setattr(cells, "train", None)
    protocol = dataclasses.replace(TINY, full_size=FULL, finalists=3)
    monkeypatch.setattr(paper_tables, "load", lambda path: protocol)
    given = ["--dataset=adult", "--table=overall", f"--data_dir={prepared_dir}", "--estimate"]
    paper_tables.main([*given, f"--workdir={tmp_path}", "--entries=shared_bottom"])
    made = (tmp_path / "adult" / "estimate.md").read_text()
    line = next(line for line in made.splitlines() if "`shared_bottom`" in line)
    assert "1 + 9 + 2" in line
    assert "`dtn`" not in made
    assert "tables of the full size; the counts are those of a paper" in made
    assert "shared_bottom" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["adult", "estimate.md", "runs"]


def test_a_run_is_the_sum_of_its_parts(work):
    config = configured(TINY, TINY.entries["dtn"], work.places)
    run = build_run(config)
    rows, size = work.data.rows, config.data.batch_size
    cost = RunCost(begun=7.0, step=0.5, scored=0.01, saved=3.0, checkpoint=1, memory=1)
    shared = SetCost(read=0.001, judged=0.002, drawn=0.003, prepared=1.0, predicted=1.0)
    steps = 4  # of TINY, with one validation and its two saves
    trained = 7 + steps * 0.5 + rows["train"] * 0.001 + rows["validation"] * 0.012 + 2 * 3
    assert seconds_of(cost, shared, run, test=False) == pytest.approx(trained)
    tested = trained + rows["test"] * (0.012 + 0.003)
    assert seconds_of(cost, shared, run, test=True) == pytest.approx(tested)

    config.data.placement = "stream"
    streamed = trained + (steps * size - rows["train"]) * 0.001
    assert seconds_of(cost, shared, build_run(config), test=False) == pytest.approx(streamed)


def test_other_work_on_a_cpu_hardly_counts(monkeypatch):
    at = {"perf_counter": 50.0, "process_time": 3.0}
    clocks = {name: lambda name=name: at[name] for name in at}
    monkeypatch.setattr(set_cost, "time", types.SimpleNamespace(**clocks))
    start = set_cost.now()
    at["perf_counter"] += 7.0  # another process had the core
    at["process_time"] += 0.1
    assert set_cost.since(start) == pytest.approx(0.1)
    at["process_time"] += 20.0  # of three busy cores
    assert set_cost.since(start) == pytest.approx(7.0)


def test_a_set_stands_in_for_a_larger_one(work):
    data = work.data
    full = as_large(data, FULL)
    assert full.rows["train"] + full.rows["validation"] == 10**9
    assert full.rows["test"] == 10**8
    share = data.rows["train"] / (data.rows["train"] + data.rows["validation"])
    assert full.rows["train"] / 10**9 == pytest.approx(share, rel=1e-6)
    found = {f.name: f.rows for f in full.schema.fields}
    assert found == {f.name: f.rows for f in data.schema.fields} | {"workclass": 5_001}
    run = build_run(configured(TINY, TINY.entries["dtn"], work.places), full)
    assert run.plan.schema.tables()["workclass"] == 5_001
    small = FullSize({"train": 1_000, "test": 100}, {}, "a paper")
    assert as_large(data, small) is data
    assert as_large(data, None) is data


def test_each_run_is_counted_once(work):
    tables = {t: TABLES[t](TINY, work.data.schema, work.size) for t in ("overall", "sensitivity")}
    entries = [e for own in tables.values() for e in own]
    found = {entry.name: runs.text for entry, runs, _ in estimate.asked(work, entries, work.data)}
    assert found == {"dtn": "1 + 0 + 2", "shared_bottom": "1 + 0 + 2"}  # 4 is what ours has
    varied = dataclasses.replace(TINY, sensitivity={"model.embedding_dim": (4, 8)})
    work.protocol = varied
    entries = TABLES["sensitivity"](varied, work.data.schema, work.size)[-1:]
    found = {entry.name: runs.text for entry, runs, _ in estimate.asked(work, entries, work.data)}
    assert found == {"dtn": "1 + 0 + 0", "embedding_dim = 8": "0 + 0 + 2"}


def test_what_is_not_tuned_has_final_runs_alone(work):
    work.protocol = dataclasses.replace(TINY, trials=0)
    entries = TABLES["overall"](work.protocol, work.data.schema, work.size)
    assert {runs.text for _, runs, _ in estimate.asked(work, entries, work.data)} == {"0 + 0 + 2"}


def test_a_run_of_the_full_set_validates_as_often_as_one_of_the_set_at_hand(work):
    work.protocol = dataclasses.replace(TINY, common=TINY.common | {"train.max_steps": 0})
    entries = TABLES["overall"](work.protocol, work.data.schema, work.size)
    for data in (work.data, as_large(work.data, FULL)):
        ((_, _, config), *_) = estimate.asked(work, entries, data)
        at = build_run(config, data).at_steps
        assert math.ceil(at.total_steps / at.eval_every) == VALIDATIONS


def test_what_does_not_fit_is_told_and_left_out(work, monkeypatch):
    run = build_run(configured(TINY, TINY.entries["shared_bottom"], work.places))

    def measured(config, *rest):
        if config.model.architecture == "dtn":
            raise OutOfMemory("this run cannot fit")
        return RunCost(1.0, 1.0, 1.0, 1.0, checkpoint=10, memory=10), run, None

    monkeypatch.setattr(estimate, "measure_run", measured)
    shared = SetCost(1.0, 1.0, 1.0, prepared=1.0, predicted=1.0)
    monkeypatch.setattr(estimate, "measure_set", lambda *rest: shared)
    entries = TABLES["overall"](TINY, work.data.schema, work.size)
    page = estimate.estimate(work, {"overall": entries}, [])
    assert "Too large for this machine, and not in the sum: dtn." in page
    assert "| `shared_bottom` |" in page
    assert "| `dtn`" not in page
    with pytest.raises(UserError, match="none of the rows could be measured"):
        estimate.estimate(work, {"overall": entries}, ["dtn"])
