"""Whole runs: what they leave behind, what they select, and that they learn."""

import json

import chex
import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from small_runs import STEPS, logged, small

from dtn_jax.data.prepared import Prepared
from dtn_jax.losses.rows import labels_of
from dtn_jax.metrics import Rows
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.within_groups import gauc
from dtn_jax.run import selection
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.evaluate import evaluate
from dtn_jax.run.run import build_run, measure, score_split
from dtn_jax.run.selection import tell_of_end
from dtn_jax.run.state import create_state
from dtn_jax.run.train import train, training_data
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.tables import exchange, lookup


def test_table_parameters_are_the_numbers_of_all_views_tables(prepared_dir):
    own = {"model__dtn__own_embeddings": True}
    cases = (("dtn", 1, {}), ("single_task", 2, {}), ("stem", 3, {}), ("dtn", 3, own))
    for architecture, views, changes in cases:
        run = build_run(small(prepared_dir, model__architecture=architecture, **changes))
        rows = sum(field.rows for field in run.schema.fields)
        assert run.table_parameters == 4 * views * rows
        assert run.plan.rows * run.plan.dim - run.table_parameters < 4 * 1024  # padding


def test_a_model_knows_what_positives_weigh(prepared_dir):
    """DTN's released fusion alone reads it: the others multiply by calibrated probabilities."""
    config = small(
        prepared_dir,
        model__architecture="dtn",
        model__fusion="released",
        model__upstream="income:never_married",
        loss__positive_weights="income=3",
    )
    assert dict(build_run(config).model.inflation) == {"income": np.log(3), "never_married": 0}


def test_a_trial(prepared_dir, tmp_path, monkeypatch):
    """It tells each validation but the last by its number, never opens test, and keeps few best
    states."""
    told, opened, best_states = [], [], []
    source, save = Prepared.source, Checkpoints.save

    def record(self, split):
        opened.append(split)
        return source(self, split)

    def count(self, *args):
        save(self, *args)
        best_states.append(len(self.best.all_steps()))

    monkeypatch.setattr(Prepared, "source", record)
    monkeypatch.setattr(Checkpoints, "save", count)
    config = small(prepared_dir, train__max_steps=20, train__eval_every=3)
    config.train.checkpoint_every = 1000
    results = train(
        config, tmp_path, test=False, after_validation=lambda n, found: told.append((n, found))
    )
    assert [number for number, _ in told] == [1, 2, 3, 4, 5, 6]  # nothing is saved at step 20
    assert all(set(found) == {"mean", "income", "never_married"} for _, found in told)
    assert set(opened) == {"train", "validation"}
    assert "test" not in results
    assert results["validation"]["income@all"]["examples"] == 3_256
    assert len(best_states) >= 6
    assert max(best_states) <= 3  # the mean's and the two tasks'


def test_what_a_run_leaves_behind(uncut):
    workdir, results = uncut
    names = {p.name for p in workdir.iterdir()}
    assert names >= {
        "config.json",
        "schema.json",
        "metrics.jsonl",
        "results.json",
        "predictions.parquet",
        "validation.parquet",
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


@pytest.mark.parametrize(
    ("file", "split", "rows"),
    [("predictions", "test", 16_281), ("validation", "validation", 3_256)],
)
def test_predictions_give_the_reported_auc(uncut, file, split, rows):
    from sklearn.metrics import roc_auc_score

    workdir, results = uncut
    table = pq.read_table(workdir / f"{file}.parquet").to_pydict()
    assert table["row"] == list(range(rows))
    for task in ("income", "never_married"):
        auc = roc_auc_score(table[f"label/{task}"], table[f"score/{task}"])
        np.testing.assert_allclose(results[split][f"{task}@all"]["auc"], auc, rtol=1e-9)


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
    other = "never_married@all"  # whose best state is another
    assert results["test"][other] != results["test_per_task_best"][other]
    kept = {int(p.name) for p in (tmp_path / "run/checkpoints/best").iterdir()}
    assert kept == set(results["best_steps"].values())


def test_it_is_told_why_a_run_ended_and_what_may_help(prepared_dir, capsys):
    def told(*ends, auc=0.9, **changes):
        """`ends` are the best and the last step of each run; 0 is the last one of all."""
        run = build_run(
            small(prepared_dir, **{"train__max_steps": 0, "train__epochs": 3} | changes)
        )
        validation = {f"{task}@all": {"auc": auc} for task in ("income", "never_married")}
        results = [
            {"steps": last or run.total_steps, "best_steps": {"mean": best or run.total_steps}}
            for best, last in ends
        ]
        more = {"validation": validation, "selected_by": "mean"}
        tell_of_end([found | more for found in results], run)
        return capsys.readouterr().out

    assert "longer training may help." in told((0, 0))
    assert told((15, 0)) == ""
    assert told((0, 0), train__eval_every=10**6) == ""  # the only validation
    undefined = told((0, 0), auc=None)
    assert undefined.startswith("warning: train.select=mean is not defined on validation")
    limited = {"train__patience": 2, "train__epochs": 20, "train__max_examples": 60_000}
    assert told((15, 45), **limited).startswith("Stopped early, before step 234: no gain since")
    several = told((15, 45), (30, 60), (0, 0), **limited)
    assert several.startswith("2 of 3 replicas stopped early, before step 234: no gain since the")


def test_the_best_state_of_each_task_is_the_one_that_is_scored(uncut, prepared_dir):
    """Per task, the state of its best validation gives exactly `test_per_task_best`."""
    workdir, results = uncut
    run = build_run(small(prepared_dir))
    state = create_state(run.config, run.model, run.plan)
    checkpoints = Checkpoints(workdir, run.plan)
    for task in ("income", "never_married"):
        best = checkpoints.restore_best(results["best_steps"][task], state)
        measured = measure(run, score_split(run, best, "test"))
        assert results["test_per_task_best"][f"{task}@all"] == measured[f"{task}@all"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "experts"),
    [("shared_bottom", "mlp"), pytest.param("dtn", "gdcn+mlp", marks=pytest.mark.nightly)],
)
def test_a_model_learns_adult(architecture, experts, prepared_dir, tmp_path):
    """One epoch at a small width: far from chance, near what the full demo reaches."""
    config = small(
        prepared_dir,
        model__architecture=architecture,
        model__experts=experts,
        model__dropout=0.0,
        optim__learning_rate=5e-3,
        seed=1,  # of four, two have an ECE above 0.05
        train__max_steps=0,
        train__eval_every=0,
    )
    results = train(config, tmp_path / "run")
    assert results["test"]["income@all"]["auc"] > 0.90
    assert results["test"]["never_married@all"]["auc"] > 0.95
    for key in ("income@all", "never_married@all"):  # batch normalisation scores as it trained
        assert results["test"][key]["ece"] < 0.05
        assert results["test"][key]["logloss"] < 0.36


OTHER = {
    "seed": 7,
    "optim__table_init": 0.3,
    "optim__learning_rate": 0.02,
    "optim__table_learning_rate": 0.5,
    "optim__table_l2": 1e-3,
    "model__dropout": 0.4,
    "model__embedding_dropout": 0.1,
}


def program(run) -> str:
    return jax.jit(run.create_state).lower(run.numbers).as_text()


def test_runs_that_differ_in_numbers_share_the_program(prepared_dir):
    runs = [build_run(small(prepared_dir, **given)) for given in ({}, OTHER)]
    assert program(runs[0]) == program(runs[1])


def test_its_numbers_are_the_configs(prepared_dir):
    """As arguments they give the state that they give as constants."""
    run = build_run(small(prepared_dir, **OTHER))
    drawn, found = jax.jit(lambda: create_state(run.config, run.model, run.plan))(), run.new_state()
    assert (jax.random.key_data(drawn.key) == jax.random.key_data(found.key)).all()
    chex.assert_trees_all_equal(drawn.replace(key=None), found.replace(key=None))
    other = build_run(small(prepared_dir, **OTHER | {"seed": 8})).new_state()
    assert not (other.tables["embedding"] == found.tables["embedding"]).all()


# From a split's scores to its metrics and predictions.


SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",)),
        Task("seconds", kind="regression"),
    ),
    group="user",
)


def scores(rows=200):
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, 3)) < 0.5).astype(np.float32)
    return Scores(
        logits=rng.normal(size=(rows, 3)).astype(np.float32),
        labels=labels,
        label_mask=rng.random((rows, 3)) < [1, 0.9, 0.9],
        sample_weight=rng.random(rows).astype(np.float32),
        group=rng.integers(0, 20, rows),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_within_groups_are_taken_on_the_rows_of_the_space(weighted):
    given = scores()
    got = evaluate(given, SCHEMA, 5, weighted)
    click, known = given.labels[:, 0] == 1, given.label_mask
    masks = {"click@all": known[:, 0], "order@click": known[:, 1] & click, "order@all": known[:, 1]}
    for key, mask in masks.items():
        column = SCHEMA.task_names.index(key.partition("@")[0])
        weights = given.sample_weight[mask] if weighted else None
        logits = given.logits[mask, column]
        if key == "order@all":  # the loss of order is in the space of clicks
            p = sigmoid(given.logits[mask, 0]) * sigmoid(logits)
            logits = np.float32(np.log(p / (1 - p)))
        arrays = logits, given.labels[mask, column], weights
        value, groups, skipped = gauc(Rows("binary", *arrays, given.group[mask]))
        assert got[key]["gauc"] == pytest.approx(value, rel=1e-14)
        assert (got[key]["gauc_groups"], got[key]["gauc_skipped"]) == (groups, skipped)
        assert got[key]["auc"] == pytest.approx(auc(*arrays), rel=1e-14)
    assert "gauc" not in got["seconds@all"]


# Auxiliary losses by name: in metrics.jsonl, means over a batch, as added to the loss.


def of_fdn(prepared_dir, **changes):
    few = {"model__architecture": "fdn", "model__dropout": 0.0, "model__normalisation": "none"}
    few |= {"train__max_steps": 2, "train__log_every": 1}
    return small(prepared_dir, **few, **changes)


def records(config, workdir):
    train(config, str(workdir), test=False)
    return [r for r in logged(workdir) if r["kind"] == "train"]


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_auxiliary_losses_are_logged(parts, prepared_dir, tmp_path):
    config = of_fdn(prepared_dir, train__accumulate=parts)
    found = records(config, tmp_path / "run")
    names = ("aux/auxiliary", "aux/orthogonality")
    assert all({key for key in one if key.startswith("aux/")} == set(names) for one in found)
    run = build_run(config)
    state, rows = run.new_state(), training_data(run)
    chunk = rows.chunk(config.seed, 0, 0, 1, config.data.batch_size)
    batch = type(chunk)(**{k: None if v is None else v[0] for k, v in vars(chunk).items()})
    inputs = lookup.to_inputs(
        run.plan,
        lookup.gather(state.tables, lookup.row_ids(run.plan, batch), exchange.look_ups(run.plan)),
        batch,
    ).replace(labels=labels_of(batch, run.schema))
    aux = run.model.apply({"params": state.params}, inputs, train=True).aux
    for name, losses in aux.items():
        np.testing.assert_allclose(found[0][f"aux/{name}"], np.mean(losses), rtol=1e-5)
