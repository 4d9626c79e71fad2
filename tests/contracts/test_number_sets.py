"""Data sets that keep their numbers, or have vectors: prepared and trained."""

import numpy as np
import polars as pl
import pytest
from refused_configs import refused
from small_runs import small

from dtn_jax.data.blocks import Layout
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import adult, catalog
from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.run.run import build_run
from dtn_jax.run.train import train

K = 6
SOUND = "sound/left 1.0"  # a name that no path of a file holds as it is
ROWS = {"train": 5000, "validation": 1000, "test": 1000}
NUMBERS = ("price", "hours", "rate")
EMBEDDINGS = "price=piecewise_linear,hours=periodic,rate=autodis"


def frame(seed: int, count: int) -> pl.DataFrame:
    """What a film shows decides whether one looks at it; some do not say."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(count, K))
    known = rng.random(count) < 0.9
    z = np.where(known, 2 * (content @ np.array([1, -1, 0.5, 1, 0, 0])), -1)
    click = rng.random(count) < 1 / (1 + np.exp(-z))
    lists = (content * np.arange(1, K + 1) + np.array([3.0, -1, 0, 100, 2, 0.5])).tolist()
    columns = {
        "content": pl.Series([v if k else None for v, k in zip(lists, known)]),
        "user": rng.integers(0, 20, count),
        SOUND: rng.normal(size=(count, 2)).astype(np.float32),
        "click": click.astype(np.int8),
        "buy": (click & (rng.random(count) < 0.5)).astype(np.int8),
        "weight": np.ones(count, np.float32),
    }
    return pl.DataFrame(columns | {name: rng.normal(5, 3, count) for name in NUMBERS})


class Films(DataSet):
    name = "films"
    layout = Layout(lanes=4, block_rows=64)
    schema = f"""
        fields:
          user:
          content: {{kind: vector, length: {K}}}
          {SOUND}: {{kind: vector, length: 2, encoder: none}}
          price: {{kind: numeric, encoder: standardise, bins: 48}}
          hours: {{kind: numeric, encoder: standardise, bins: 48}}
          rate: {{kind: numeric, encoder: standardise, bins: 48}}
        tasks:
          click:
          buy: {{upstream: [click], also_report: [click]}}
        weight: weight
        split: {{by: column, column: _split}}
    """

    def raw(self, files):
        frames = {split: frame(seed, n) for seed, (split, n) in enumerate(ROWS.items())}
        return {split: [found[:300], found[300:]] for split, found in frames.items()}


def films(prepared_dir, **changes):
    changes = {
        "data__dataset": "films",
        "model__numbers": EMBEDDINGS,
        "train__max_steps": 20,
        "train__eval_every": 10,
        "train__checkpoint_every": 6,
        "optim__learning_rate": 0.03,
        "loss__task_weights": "",
        "loss__sample_weights": True,
    } | changes
    return small(prepared_dir, **changes)


@pytest.fixture(scope="module", autouse=True)
def known():
    """The data set has a name, as a plug-in's has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catalog.DATASETS, "films", Films)
        yield


@pytest.fixture(scope="module")
def trained(known, prepared_dir, tmp_path_factory):
    """The results of a run."""
    return train(films(prepared_dir), tmp_path_factory.mktemp("films") / "run")


def test_a_run_learns_from_them_and_counts_what_reads_them(trained):
    results = trained
    assert results["test"]["click@all"]["auc"] > 0.8
    dense = 6 * 4 * 8 + 8 * 8 + 2 * (8 * 8 + 8) + (K + 2) * 4  # the expert, two towers, vectors
    dense += 48 * 4 + 96 * 4 + (400 + 80)  # 48 bins; 48 sines and cosines; 20 of AutoDis
    biases, batch_norm = 8 + 8 + 2 * (8 + 1), 2 * 6 * 4
    assert results["parameters"] == dense + biases + batch_norm + (48 + 4) + 20
    assert results["flops_per_example"] == 2 * dense


# ---------------------------------------------------------------- numbers of a shipped set


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


@pytest.mark.parametrize(
    ("numbers", "changes", "named"),
    [
        ("periodic", {"options": ""}, "model.numbers='periodic': data set 'adult' has no standard"),
        ("age=periodic", {"options": ""}, "'age' is numeric, in buckets"),
    ],
)
def test_a_choice_that_makes_no_sense(numbers, changes, named, prepared_dir):
    assert named in refused(build_run, of_adult(prepared_dir, numbers, **changes))
