"""A data set that keeps its numbers: prepared, trained with embeddings of them, explained."""

import json

import numpy as np
import pytest
from small_runs import small

from dtn_jax.config.unused import unused
from dtn_jax.datasets.adult import NUMERIC, read
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader
from dtn_jax.run import build_run
from dtn_jax.train import train
from experiments import feature_importance

CHOSEN = "age=piecewise_linear,hours-per-week=periodic,capital-gain=autodis"


def adult(prepared_dir, numbers=CHOSEN, **changes):
    changes = {"data__options": "numbers=standardise", "model__numbers": numbers} | changes
    return small(prepared_dir, **changes)


@pytest.fixture(scope="module")
def trained(prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("adult") / "run"
    return workdir, train(adult(prepared_dir), workdir)


def test_the_set_keeps_its_numbers_beside_the_one_in_buckets(prepared_dir):
    usual, kept, logged = (
        catalog.load("adult", options, data_dir=prepared_dir)
        for options in ("", "numbers=standardise", "numbers=log")
    )
    assert len({usual.folder, kept.folder, logged.folder}) == 3
    assert usual.folder == usual.folder.parents[1] / "adult" / usual.folder.name  # as before
    assert [f.name for f in kept.schema.fields if f.standardised] == list(NUMERIC)
    assert not usual.schema.numbers
    raw = read()[:16_281]  # the test split
    found, logarithms = (SplitReader(made, "test").everything() for made in (kept, logged))
    order = [f.name for f in kept.schema.number_fields()]
    for name in NUMERIC:
        x = found.numeric[:, order.index(name)]
        assert np.corrcoef(x, raw[name].to_numpy())[0, 1] == pytest.approx(1)
        found_log = logarithms.numeric[:, order.index(name)]
        assert np.corrcoef(found_log, np.log1p(raw[name].to_numpy()))[0, 1] == pytest.approx(1)
        field = kept.schema.fields[kept.schema.field_names.index(name)]
        assert field.edges[0] <= x.min() + 1
        assert len(field.edges) <= 49


def test_a_run_learns_from_them(trained, prepared_dir, tmp_path):
    results = trained[1]
    plain = build_run(adult(prepared_dir, "age=scaled"))
    age = next(f for f in plain.schema.fields if f.name == "age")
    own = 4 * (len(age.edges) - 1) + (48 + 97 * 4) + (20 + 400 + 80)
    assert results["parameters"] - plain.size.parameters == own
    assert results["test"]["income@all"]["auc"] > 0.7


def test_one_embedding_for_all_numbers(prepared_dir):
    fields = build_run(adult(prepared_dir, "periodic")).schema.fields
    chosen = {f.name: f.embedding for f in fields}
    assert chosen == {f.name: "periodic" if f.name in NUMERIC else "scaled" for f in fields}


@pytest.mark.slow
def test_importance_of_a_finished_run(trained):
    feature_importance.main([f"--workdir={trained[0]}", "--repeats=2", "--rows=1000"])
    facts = json.loads((trained[0] / "importance" / "importance.json").read_text())
    for method in facts["methods"].values():
        by_field = method["importance"]["income@all"]
        assert all(abs(by_field[name]["mean"]) > 0 for name in ("age", "hours-per-week"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data__options": "", "numbers": "periodic"},
            "model.numbers='periodic': data set 'adult' has no standardised number",
        ),
        ({"data__options": ""}, "'age' is numeric, in buckets; only a standardised number has"),
        ({"numbers": "aeg=periodic"}, "unknown field 'aeg'. Did you mean 'age'"),
        ({"numbers": "race=periodic"}, "field 'race' is categorical; only a standardised number"),
        ({"numbers": "age=ple"}, "model.numbers: embedding of age 'ple'. The choices are: scaled"),
        ({"model__autodis__temperature": 0.0}, "model.autodis.temperature=0.0: expected a number"),
    ],
)
def test_a_choice_that_makes_no_sense(prepared_dir, changes, message):
    with pytest.raises(UserError, match=message):
        build_run(adult(prepared_dir, **changes))


def test_options_of_embeddings_that_no_number_has_are_told(prepared_dir):
    key = "model.periodic.sigma"
    (line,) = unused([adult(prepared_dir, "age=autodis")], [key])
    assert line == f"{key} changes nothing: it is an option of periodic, and the run has autodis"
    assert unused([adult(prepared_dir, "")], [key])
    assert not unused([adult(prepared_dir)], [key])
    logs = {"data__dataset": "logs", "data__options": "schema=x.yaml"}
    assert not unused([adult(prepared_dir, "", **logs)], [key])  # the schema file may choose it
