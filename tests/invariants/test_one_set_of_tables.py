"""Tables and slots are never there twice: not at a start, not where best states are scored."""

import gc

import jax
import pytest
from small_runs import STEPS, CutError, cut_after, small

from dtn_jax.analysis.finished import best_state
from dtn_jax.metrics.selected import Selection
from dtn_jax.run import results, selection
from dtn_jax.run import train as training
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train
from dtn_jax.tables import saved_rows
from dtn_jax.tables.plan import ROW_MULTIPLE

pytestmark = pytest.mark.nightly
WIDTH = 7  # of no other test's tables


def alive():
    """How many arrays like the table have memory; on one device, two may share theirs."""
    gc.collect()
    like = [a for a in jax.live_arrays() if a.ndim == 2 and a.shape[1] == WIDTH]
    return len({a.unsafe_buffer_pointer() for a in like if a.shape[0] >= ROW_MULTIPLE})


@pytest.fixture
def reads(monkeypatch):
    """[(name, how many arrays like the table there were before it was read)]"""
    found, read = [], saved_rows.read

    def note(folder, name, *given):
        found.append((name, alive()))
        return read(folder, name, *given)

    monkeypatch.setattr(saved_rows, "read", note)
    return found


@pytest.fixture
def scored(monkeypatch):
    """[how many there were when a split was scored]"""
    found, score = [], results.score_split

    def note(*given):
        found.append(alive())
        return score(*given)

    for module in (results, selection):
        monkeypatch.setattr(module, "score_split", note)
    return found


@pytest.fixture
def config(prepared_dir, monkeypatch):
    """A run that finds income's best at its second validation, and the others' at its first."""
    told = []

    def better(self, value, best):
        told.append(list(self.metrics))
        return list(self.metrics) == ["income"] and told.count(["income"]) == 1

    monkeypatch.setattr(Selection, "better", better)
    return small(prepared_dir, model__embedding_dim=WIDTH)


def test_a_run_that_resumes_makes_no_new_tables(config, tmp_path, monkeypatch, reads):
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 2)
        train(config, tmp_path / "run")
    new_state, made = training.Run.new_state, []
    monkeypatch.setattr(training.Run, "new_state", lambda run: made.append(1) or new_state(run))
    train(config, tmp_path / "run", test=False)
    assert not made
    assert reads == [
        ("tables.embedding", 0),
        ("slots.embedding.count", 1),
        ("slots.embedding.m", 1),
        ("slots.embedding.v", 2),
    ]


def test_best_states_take_the_place_of_the_last_one(config, tmp_path, reads, scored):
    found = train(config, tmp_path / "run")
    assert set(found["best_steps"].values()) == {15, 30}
    assert reads == [("tables.embedding", 0)] * 2
    assert scored == [3, 3, 3, 1, 1]  # three validations, with m and v; two tests, without


def test_a_last_state_that_is_the_best_is_not_read_again(
    config, tmp_path, monkeypatch, reads, scored
):
    monkeypatch.setattr(Selection, "better", lambda self, value, best: True)
    found = train(config, tmp_path / "run")
    assert set(found["best_steps"].values()) == {STEPS}
    assert reads == []
    assert scored[-1] == 1


def test_a_best_state_to_look_at_brings_its_tables_alone(config, tmp_path, reads):
    train(config, tmp_path / "run")
    reads.clear()
    state, step = best_state(build_run(config), tmp_path / "run")
    assert step == 15
    assert reads == [("tables.embedding", 0)]
    assert alive() == 1
    assert state.tables["embedding"].shape[1] == WIDTH
