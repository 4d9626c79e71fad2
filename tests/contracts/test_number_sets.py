"""A shipped set that keeps its numbers."""

import numpy as np
import pytest
from refused_configs import refused
from small_runs import small

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import adult, catalog
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

NUMERIC = ["age", "educational-num", "capital-gain", "capital-loss", "hours-per-week"]


def of_adult(prepared_dir, numbers, options="numbers=standardise", **changes):
    return small(prepared_dir, data__options=options, model__numbers=numbers, **changes)


def test_the_set_keeps_its_numbers_beside_the_one_in_buckets(prepared_dir):
    usual, kept, logged = (
        catalog.load("adult", options, data_dir=prepared_dir)
        for options in ("", "numbers=standardise", "numbers=log")
    )
    assert len({usual.folder, kept.folder, logged.folder}) == 3
    assert usual.folder == usual.folder.parents[1] / "adult" / usual.folder.name  # as before
    assert [f.name for f in kept.schema.fields if f.standardised] == NUMERIC
    assert not usual.schema.numbers
    raw = adult.read()[:16_281]  # the test split
    found, logarithms = (SplitReader(made, "test").everything() for made in (kept, logged))
    for place, field in enumerate(kept.schema.number_fields()):
        x, own = found.numeric[:, place], raw[field.name].to_numpy()
        assert np.corrcoef(x, own)[0, 1] == pytest.approx(1)
        assert np.corrcoef(logarithms.numeric[:, place], np.log1p(own))[0, 1] == pytest.approx(1)
        assert field.edges[0] <= x.min() + 1
        assert len(field.edges) <= 49


def test_a_run_embeds_them(prepared_dir, tmp_path):
    numbers = "age=piecewise_linear,capital-gain=periodic,hours-per-week=autodis"
    config = of_adult(prepared_dir, numbers, train__max_steps=20)
    found = train(config, tmp_path / "run")
    assert found["test"]["income@all"]["auc"] > 0.6


@pytest.mark.parametrize(
    ("numbers", "changes", "named"),
    [
        ("periodic", {"options": ""}, "model.numbers='periodic': data set 'adult' has no standard"),
        ("age=periodic", {"options": ""}, "'age' is numeric, in buckets"),
    ],
)
def test_a_choice_that_makes_no_sense(numbers, changes, named, prepared_dir):
    assert named in refused(build_run, of_adult(prepared_dir, numbers, **changes))
