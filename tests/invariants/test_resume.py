"""A run that is cut resumes bit by bit; one that is damaged says so."""

import shutil

import pytest
from small_runs import STEPS, CutError, assert_same_run, cut_after, logged, small

from dtn_jax.errors import UserError
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.metrics.selected import Selection
from dtn_jax.run import train as training
from dtn_jax.run.train import train
from dtn_jax.schema import Schema


def assert_resumed_equals_uncut(config, uncut, workdir, monkeypatch):
    """Bit by bit: cut at step 12, then at 24, then to the end."""
    for saves in (1, 2):
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            train(config, workdir)
    results = train(config, workdir)
    assert_same_run(config, uncut[0], workdir)
    for key in ("validation", "test", "test_per_task_best", "best_steps", "steps"):
        assert results[key] == uncut[1][key]


@pytest.mark.slow
def test_a_streamed_run_resumed_equals_uncut(uncut, prepared_dir, tmp_path, monkeypatch):
    config = small(prepared_dir, data__placement="stream")
    assert_resumed_equals_uncut(config, uncut, tmp_path / "run", monkeypatch)


def test_each_validation_leaves_a_checkpoint(uncut, prepared_dir, tmp_path, monkeypatch, capsys):
    config = small(prepared_dir, train__checkpoint_every=1000)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 2)
        train(config, tmp_path / "run")
    train(config, tmp_path / "run")
    assert "Resuming at step 30 of 45" in capsys.readouterr().out
    assert_same_run(config, uncut[0], tmp_path / "run")


@pytest.mark.slow
def test_a_validation_that_was_not_told_of_is_gone_back_to(prepared_dir, tmp_path):
    """No checkpoint leaves it behind: a pruner hears of each."""
    told = []

    def tell(number, found):
        if number == 2 and told == [1]:
            told.append("cut")
            raise CutError
        told.append(number)

    config = small(prepared_dir, train__eval_every=10)
    with pytest.raises(CutError):
        train(config, tmp_path / "run", after_validation=tell)
    train(config, tmp_path / "run", after_validation=tell)
    assert told == [1, "cut", 2, 3, 4]


def test_a_run_cut_between_checkpoints_goes_on_from_the_last(uncut, prepared_dir, tmp_path):
    """Killed after a validation that no checkpoint covers: it is logged once all the same."""
    config = small(prepared_dir)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(CutError):
        validate, calls = training.validate, []

        def validate_and_end(*args):
            validate(*args)
            calls.append(1)
            if len(calls) == 2:  # step 30; the last checkpoint is that of step 24
                raise CutError

        patch.setattr(training, "validate", validate_and_end)
        train(config, tmp_path / "run")
    assert max(r["step"] for r in logged(tmp_path / "run")) == 30
    train(config, tmp_path / "run")
    assert_same_run(config, uncut[0], tmp_path / "run")


def test_a_run_that_lost_its_log_finds_the_same(uncut, prepared_dir, tmp_path):
    shutil.copytree(uncut[0], tmp_path / "run")
    for lost in ("results.json", "metrics.jsonl"):
        (tmp_path / "run" / lost).unlink()
    found = train(small(prepared_dir), tmp_path / "run")
    assert found | {"examples_per_second": 0} == uncut[1] | {"examples_per_second": 0}


@pytest.mark.slow
def test_a_run_whose_best_state_is_lost_says_so(prepared_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(Selection, "better", lambda self, one, other: False)  # the first is it
    config = small(prepared_dir, train__max_steps=30)
    train(config, tmp_path / "run")
    (tmp_path / "run/results.json").unlink()
    shutil.rmtree(tmp_path / "run/checkpoints/best")
    with pytest.raises(UserError, match=r"best/15 is damaged: checksums.json is missing"):
        train(config, tmp_path / "run")


def test_a_lost_best_state_that_is_the_last_one_is_saved_anew(prepared_dir, tmp_path):
    config = small(prepared_dir, train__max_steps=15)
    train(config, tmp_path / "run")
    (tmp_path / "run/results.json").unlink()
    best = tmp_path / "run/checkpoints/best"
    shutil.rmtree(best)
    train(config, tmp_path / "run")
    assert [path.name for path in best.iterdir()] == ["15"]


@pytest.mark.parametrize(
    "name", ["predictions", pytest.param("validation", marks=pytest.mark.slow)]
)
def test_lost_predictions_are_named_and_written_anew(uncut, prepared_dir, tmp_path, name):
    workdir = shutil.copytree(uncut[0], tmp_path / "run")
    path = workdir / f"{name}.parquet"
    before = path.read_bytes()
    for damaged in (b"", before[:200] + bytes([before[200] ^ 1]) + before[201:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"missing or damaged .*delete results\.json"):
            read_predictions(path, Schema.load(workdir / "schema.json"))
    (workdir / "results.json").unlink()
    train(small(prepared_dir), workdir)
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_run_that_is_cut_and_resumed_while_it_is_profiled_is_the_same(
    uncut, prepared_dir, tmp_path, monkeypatch, capsys
):
    config = small(prepared_dir)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 1)  # at step 12
        train(config, tmp_path / "run", profile=7)
    assert "A trace of 7 steps is in" in " ".join(capsys.readouterr().out.split())
    train(config, tmp_path / "run", profile=1000)
    said = capsys.readouterr().out
    assert f"A trace of {STEPS - 12 - 1} steps is in" in " ".join(said.split())  # one compiles
    assert len(list((tmp_path / "run/profile").rglob("*.xplane.pb"))) == 2
    assert_same_run(config, uncut[0], tmp_path / "run")
