"""Whole runs: what they leave behind, that they resume bit by bit, and that they learn."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
import threading

import chex
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from configs import adult as adult_config
from dtn_jax import evaluate, selection
from dtn_jax import train as training
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.input import pipeline as input_pipeline
from dtn_jax.parallel.mesh import Placement
from dtn_jax.run import build_run, measure, score_split
from dtn_jax.schema import UserError
from dtn_jax.state import create_state
from dtn_jax.train import train

STEPS = 45


def small(prepared_dir, **changes):
    """A run of 45 steps with validations, checkpoints and log lines at different steps."""
    config = adult_config.get_config("dtn")
    config.data.data_dir = prepared_dir
    config.data.batch_size = 256
    config.model.embedding_dim = 4
    config.model.expert_dim = 8
    config.model.experts = "gdcn+mlp"
    config.model.mlp.hidden = (8,)
    config.model.tower_hidden = (8,)
    config.model.dropout = 0.2
    config.model.normalisation = "batch"
    config.optim.learning_rate = config.optim.table_learning_rate = 0.01
    config.train.max_steps = STEPS
    config.train.eval_every = 15
    config.train.log_every = 20
    config.train.checkpoint_every = 12
    config.parallel.devices = 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config


def logged(workdir):
    """metrics.jsonl without the speeds."""
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if k != "examples_per_second"} for r in records]


def last_state(config, workdir):
    run = build_run(config)
    like = create_state(run.config, run.model, run.plan)
    state, progress = Checkpoints(pathlib.Path(workdir)).restore(like)
    return jax.tree.map(np.asarray, state.replace(key=None)), progress


def assert_same_run(config, one, other):
    assert logged(one) == logged(other)
    (state, progress), (state2, progress2) = last_state(config, one), last_state(config, other)
    assert progress == progress2
    chex.assert_trees_all_equal(state, state2)


class CutError(Exception):
    """Stands for whatever ends a process."""


def cut_after(monkeypatch, saves):
    """Makes the run end right after its `saves`-th checkpoint."""
    save, done = Checkpoints.save, []

    def save_and_end(self, *args):
        save(self, *args)
        done.append(1)
        if len(done) == saves:
            raise CutError

    monkeypatch.setattr(Checkpoints, "save", save_and_end)


@pytest.fixture(scope="module")
def uncut(prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uncut") / "run"
    return workdir, train(small(prepared_dir), workdir)


def test_table_parameters_are_the_numbers_of_all_views_tables(prepared_dir):
    for architecture, views in (("dtn", 1), ("single_task", 2), ("stem", 3)):
        run = build_run(small(prepared_dir, model__architecture=architecture))
        rows = sum(field.rows for field in run.schema.fields)
        assert run.table_parameters == 4 * views * rows
        assert run.plan.rows * run.plan.dim - run.table_parameters < 4 * 1024  # padding


def test_a_model_knows_what_positives_weigh(prepared_dir):
    config = small(
        prepared_dir,
        model__architecture="aitm",
        model__upstream="income:never_married",
        loss__positive_weights="income=3",
    )
    assert dict(build_run(config).model.inflation) == {"income": np.log(3), "never_married": 0}


def test_validations_but_the_last_are_told_by_their_number(prepared_dir, tmp_path):
    told = []
    config = small(prepared_dir, train__max_steps=20, train__eval_every=8)
    train(config, tmp_path, test=False, after_validation=lambda n, found: told.append((n, found)))
    assert [number for number, _ in told] == [1, 2]  # at steps 8 and 16; nothing is saved at 20
    assert all(set(found) == {"mean", "income", "never_married"} for _, found in told)


@pytest.mark.parametrize("placement", ["device", "stream"])
def test_cut_and_resumed_equals_uncut_bit_by_bit(
    uncut, prepared_dir, tmp_path, monkeypatch, placement
):
    config = small(prepared_dir, data__placement=placement)
    for saves in (1, 2):  # cut at step 12, then at 24, then to the end
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            train(config, tmp_path / "run")
    results = train(config, tmp_path / "run")
    assert_same_run(config, uncut[0], tmp_path / "run")
    for key in ("validation", "test", "test_per_task_best", "best_steps", "steps"):
        assert results[key] == uncut[1][key]


def test_each_validation_leaves_a_checkpoint(uncut, prepared_dir, tmp_path, monkeypatch, capsys):
    config = small(prepared_dir, train__checkpoint_every=1000)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 2)
        train(config, tmp_path / "run")
    train(config, tmp_path / "run")
    assert "Going on at step 30 of 45" in capsys.readouterr().out
    assert_same_run(config, uncut[0], tmp_path / "run")


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


@pytest.mark.parametrize(
    ("steps", "given", "expected"), [(45, 0, 1), (1_000, 0, 40), (10**6, 0, 100), (45, 7, 7)]
)
def test_short_runs_log_more_often(prepared_dir, steps, given, expected):
    run = build_run(small(prepared_dir, train__log_every=given))
    assert dataclasses.replace(run, total_steps=steps).log_every == expected


def test_streamed_training_equals_resident_training(uncut, prepared_dir, tmp_path):
    config = small(prepared_dir, data__placement="stream")
    train(config, tmp_path / "run")
    assert_same_run(config, uncut[0], tmp_path / "run")


@pytest.mark.parametrize("fails", [False, True])
def test_the_thread_that_reads_ahead_ends_with_the_run(prepared_dir, tmp_path, monkeypatch, fails):
    at_work = []
    fetch = training.LossLog.fetch

    def fetch_and_end(self, leave):
        at_work.append(readers())
        if fails and len(at_work) == 3:
            raise CutError
        fetch(self, leave)

    monkeypatch.setattr(training.LossLog, "fetch", fetch_and_end)
    config = small(prepared_dir, data__placement="stream")
    with contextlib.nullcontext() if not fails else pytest.raises(CutError):
        train(config, tmp_path / "run")
    assert any(at_work)
    for thread in readers():
        thread.join(10)
    assert not readers()


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_what_the_reading_thread_meets_ends_the_run(prepared_dir, tmp_path, monkeypatch):
    def damaged(ids, schema):
        if threading.current_thread() is not threading.main_thread():
            raise UserError("field 'age': id 7777")

    monkeypatch.setattr(input_pipeline, "check_ids", damaged)
    with pytest.raises(UserError, match="id 7777"):
        train(small(prepared_dir, data__placement="stream"), tmp_path / "run")


def test_scoring_keeps_few_batches_on_the_device(prepared_dir, monkeypatch):
    """The logits come in row order, and at most IN_FLIGHT batches of them are not yet fetched."""
    run = build_run(small(prepared_dir, data__eval_batch_size=256))
    state = create_state(run.config, run.model, run.plan)
    whole = score_split(build_run(small(prepared_dir)), state, "validation")
    made, waiting = [], []

    class Late:
        """Logits that note when they are fetched."""

        def __init__(self, logits):
            self.logits, self.fetched = logits, False
            made.append(self)
            waiting.append(sum(not m.fetched for m in made))

        def __array__(self, *args, **kwargs):
            self.fetched = True
            return np.asarray(self.logits)

    step = run.score_step
    run.__dict__["score_step"] = lambda *args: Late(step(*args))
    found = score_split(run, state, "validation")
    assert len(made) == 13
    assert max(waiting) == evaluate.IN_FLIGHT
    np.testing.assert_allclose(found.logits, whole.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.labels, whole.labels)


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


def test_what_a_run_leaves_behind(uncut):
    workdir, results = uncut
    names = {p.name for p in workdir.iterdir()}
    assert names >= {
        "config.json",
        "schema.json",
        "metrics.jsonl",
        "results.json",
        "predictions.parquet",
        "learning_curves.png",
        "reliability.png",
        "tensorboard",
        "checkpoints",
    }
    assert list((workdir / "tensorboard").glob("events*"))
    assert json.loads((workdir / "results.json").read_text()) == results
    assert results["steps"] == STEPS
    assert set(results["test"]) == {"income@all", "never_married@all"}
    assert results["test"]["income@all"]["examples"] == 16_281
    assert results["test"]["income@all"]["positives"] == 3_846
    assert [r["step"] for r in logged(workdir) if r["kind"] == "validation"] == [15, 30, 45]
    assert [r["step"] for r in logged(workdir) if r["kind"] == "train"] == [20, 40, 45]


def test_predictions_give_the_reported_auc(uncut):
    from sklearn.metrics import roc_auc_score

    workdir, results = uncut
    table = pq.read_table(workdir / "predictions.parquet").to_pydict()
    assert table["row"] == list(range(16_281))
    for task in ("income", "never_married"):
        auc = roc_auc_score(table[f"label/{task}"], table[f"score/{task}"])
        np.testing.assert_allclose(results["test"][f"{task}@all"]["auc"], auc, rtol=1e-9)


def test_a_finished_run_is_not_run_again(uncut, prepared_dir, monkeypatch, capsys):
    monkeypatch.setattr(training, "fit", None)
    assert train(small(prepared_dir), uncut[0]) == uncut[1]
    shown = capsys.readouterr().out
    assert "This run is finished" in shown
    assert f"are in {uncut[0]}" in shown


def test_a_trial_never_opens_test(prepared_dir, tmp_path, monkeypatch):
    opened = []
    source = Prepared.source

    def record(self, split):
        opened.append(split)
        return source(self, split)

    monkeypatch.setattr(Prepared, "source", record)
    results = train(small(prepared_dir, train__max_steps=2), tmp_path / "run", test=False)
    assert set(opened) == {"train", "validation"}
    assert "test" not in results
    assert results["validation"]["income@all"]["examples"] == 3_256


def test_early_stopping_watches_what_is_selected(prepared_dir, tmp_path, monkeypatch):
    """Validation values are dictated: the watched one falls after the second validation."""
    income = iter([0.7, 0.8, 0.75, 0.74])
    never_married = iter([0.5, 0.6, 0.7, 0.8])

    def dictated(run, scores):
        results = measure(run, scores)
        results["income@all"]["auc"] = next(income, 0.0)
        results["never_married@all"]["auc"] = next(never_married, 0.0)
        return results

    monkeypatch.setattr(selection, "measure", dictated)
    config = small(
        prepared_dir,
        train__eval_every=5,
        train__max_steps=40,
        train__patience=2,
        train__select="income",
    )
    results = train(config, tmp_path / "run")
    assert results["steps"] == 20  # two validations without a gain after that of step 10
    assert results["best_steps"]["income"] == 10
    assert results["best_steps"]["never_married"] == 20
    # Validation and test are those of the state that income picked.
    assert results["validation"]["income@all"]["auc"] == 0.8
    assert results["test"]["income@all"] == results["test_per_task_best"]["income@all"]
    kept = {int(p.name) for p in (tmp_path / "run/checkpoints/best").iterdir()}
    assert kept == set(results["best_steps"].values())


def test_the_best_state_of_each_task_is_the_one_that_is_scored(uncut, prepared_dir):
    """Per task, the state of its best validation gives exactly `test_per_task_best`."""
    workdir, results = uncut
    run = build_run(small(prepared_dir))
    state = create_state(run.config, run.model, run.plan)
    checkpoints = Checkpoints(workdir)
    for task in ("income", "never_married"):
        best = checkpoints.restore_best(results["best_steps"][task], state)
        measured = measure(run, score_split(run, best, "test"))
        assert results["test_per_task_best"][f"{task}@all"] == measured[f"{task}@all"]


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(prepared_dir, tmp_path):
    config = small(
        prepared_dir,
        optim__tables="sgd",
        optim__table_learning_rate=1e30,
        model__normalisation="none",
        train__checkpoint_every=1,
    )
    with pytest.raises(UserError, match=r"loss of .* is not finite between steps \d+ and \d+"):
        train(config, tmp_path / "run")
    assert Checkpoints(tmp_path / "run").last.latest_step() is not None


def test_what_a_diverged_step_left_is_named_at_the_validation(prepared_dir, tmp_path):
    config = small(
        prepared_dir,
        model__normalisation="none",
        optim__tables="sgd",
        optim__table_learning_rate=1e38,
        optim__learning_rate=1e30,
        train__eval_every=1,
    )
    with pytest.raises(UserError, match="not finite"):
        train(config, tmp_path / "run")


def test_best_states_do_not_pile_up(prepared_dir, tmp_path, monkeypatch):
    on_disk, save = [], Checkpoints.save

    def count(self, *args):
        save(self, *args)
        on_disk.append(len(self.best.all_steps()))

    monkeypatch.setattr(Checkpoints, "save", count)
    config = small(prepared_dir, train__eval_every=3, train__checkpoint_every=1000)
    train(config, tmp_path / "run")
    assert len(on_disk) == 15
    assert max(on_disk) <= 3  # the mean's and the two tasks'


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("metrics.jsonl", "metrics.jsonl lacks the validation of step"),
        ("checkpoints/best", "the best state, is not there"),
    ],
)
def test_a_run_that_lost_files_says_so(uncut, prepared_dir, tmp_path, lost, message):
    shutil.copytree(uncut[0], tmp_path / "run")
    (tmp_path / "run/results.json").unlink()
    path = tmp_path / "run" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(UserError, match=message):
        train(small(prepared_dir), tmp_path / "run")


def test_damaged_results_are_named(uncut, prepared_dir, tmp_path):
    shutil.copytree(uncut[0], tmp_path / "run")
    (tmp_path / "run/results.json").write_text("{")
    with pytest.raises(UserError, match=r"results.json is damaged"):
        train(small(prepared_dir), tmp_path / "run")


def test_a_run_of_two_devices_goes_on_on_one(uncut, prepared_dir, tmp_path, monkeypatch):
    config = small(prepared_dir, parallel__devices=2)
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 2)
        train(config, tmp_path / "run")
    results = train(small(prepared_dir), tmp_path / "run")
    for key, found in uncut[1]["test"].items():
        np.testing.assert_allclose(results["test"][key]["logloss"], found["logloss"], rtol=1e-3)


def test_dtn_learns_adult(prepared_dir, tmp_path):
    """One epoch at a small width: far from chance, near what the full demo reaches."""
    config = small(prepared_dir, train__max_steps=0, train__eval_every=0, model__dropout=0.0)
    results = train(config, tmp_path / "run")
    assert results["test"]["income@all"]["auc"] > 0.90
    assert results["test"]["never_married@all"]["auc"] > 0.95
    for key in ("income@all", "never_married@all"):  # batch normalisation scores as it trained
        assert results["test"][key]["ece"] < 0.05
        assert results["test"][key]["logloss"] < 0.36


def test_the_host_waits_for_nothing_inside_the_loop(prepared_dir, tmp_path, monkeypatch):
    """Metrics come through one function, each chunk once, when the next one is on its way."""
    events = []
    compile_, fetch = Placement.compile, jax.device_get

    def noting_compile(self, *args):
        run = compile_(self, *args)

        def noting_run(*given):
            events.append("step")
            return run(*given)

        return noting_run

    def noting_fetch(what):
        events.append("fetch")
        return fetch(what)

    monkeypatch.setattr(Placement, "compile", noting_compile)
    monkeypatch.setattr("dtn_jax.loss_log.jax.device_get", noting_fetch)
    config = small(prepared_dir, train__eval_every=1000, train__checkpoint_every=1000)
    config.train.max_steps = 64
    config.train.log_every = 1000
    train(config, tmp_path / "run")
    assert events == ["step", "step", "fetch", "step", "fetch", "step", "fetch", "fetch"]
