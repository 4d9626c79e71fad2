"""Fields that tell a label: named where one was planted, and only there."""

import itertools

import numpy as np
import polars as pl
import pytest
from own_log import SCHEMA, log, one_field, prepared, shop, split_frames
from sklearn.metrics import roc_auc_score

from dtn_jax.datasets.description import describe, leaks
from dtn_jax.datasets.preparation import catalog


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop")


def smoothed(train, scored, field, label):
    """The smoothed mean of a label by value, of polars alone; rank is that of its log-odds."""
    mean = train[label].mean()
    by = train.group_by(field).agg(p=(pl.col(label).sum() + leaks.M * mean) / (pl.len() + leaks.M))
    joined = scored.join(by, on=field, how="left", nulls_equal=True)
    return joined["p"].fill_null(mean)


def test_a_field_alone_is_as_by_polars_and_sklearn(folder):
    frame, data = shop(folder)
    frames = split_frames(frame)
    counts = frames["train"]["item"].value_counts()
    kept = counts.filter(pl.col("count") >= 2)["item"].implode()
    frames = {
        split: rows.with_columns(item=pl.when(pl.col("item").is_in(kept)).then("item").otherwise(0))
        for split, rows in frames.items()
    }
    found = {(f.field, f.key): f.auc for f in describe.describe(data).alone if f.by == leaks.VALUE}
    for label in ("click", "order"):
        p = smoothed(frames["train"], frames["validation"], "item", label)
        expected = roc_auc_score(frames["validation"][label], p)
        assert found["item", f"{label}@all"] == pytest.approx(expected, abs=1e-9)
        assert expected > 0.55


def test_adult(prepared_dir):
    data = catalog.load("adult", data_dir=prepared_dir)
    figures = describe.describe(data).alone
    found = {(f.field, f.key): f.auc for f in figures if f.by == leaks.VALUE}
    frames = {}
    for split in ("train", "validation"):
        records = list(data.source(split))
        sizes = data.layout.blocks(data.rows[split])
        ids, labels = (
            np.concatenate([r[k][:n] for r, n in zip(records, sizes, strict=True)])
            for k in ("ids", "labels")
        )
        at = data.schema.field_names.index("relationship")
        frames[split] = pl.DataFrame({"f": ids[:, at], "y": labels[:, 0].astype(int)})
    p = smoothed(frames["train"], frames["validation"], "f", "y")
    expected = roc_auc_score(frames["validation"]["y"], p)
    assert found["relationship", "income@all"] == pytest.approx(expected, abs=1e-9)
    assert not [f for f in figures if f.suspect]


def in_a_bag(frame):
    """Some tags, and between them one of an order."""
    orders = zip(frame["tags"], frame["order"], strict=True)
    return pl.Series([[*tags[:1], f"order {order}", *tags[1:]] for tags, order in orders])


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("leak:", lambda f: f["order"]),
        ("leak: {kind: numeric}", lambda f: f["order"] * 3.5 + f["speed"] * 0.01),
        (
            "leak: {kind: numeric, encoder: standardise}",
            lambda f: f["order"] * 3.5 + f["speed"] * 0.01,
        ),
        ("leak: {kind: bag}", in_a_bag),
        (
            "leak: {kind: vector, length: 3}",
            lambda f: pl.Series(np.stack([f["speed"], f["order"], f["speed"]], axis=1).tolist()),
        ),
        (
            "leak: {encoder: hash, size: 100}",
            lambda f: pl.Series(np.arange(len(f))).set(f["order"] == 0, None),
        ),
    ],
    ids=["label", "number", "standardised", "in a bag", "entry of a vector", "where it is there"],
)
def test_a_planted_leak_is_named(tmp_path, line, column):
    frame = log()
    frame = frame.with_columns(leak=column(frame).alias("leak"))
    schema = SCHEMA.replace("tasks:", f"  {line}\ntasks:")
    found = describe.describe(prepared(tmp_path, frame, schema))
    suspects = [f for f in found.alone if f.suspect]
    assert {(f.field, f.key) for f in suspects} == {("leak", "order@all")}
    assert all(f.auc > 0.97 for f in suspects)
    if "vector" in line:
        assert [f.entry for f in suspects] == [1]


def test_a_row_in_its_own_history_is_named(tmp_path):
    """As an off-by-one makes it: the newest value of an ordered row is the row's own item."""
    frame, draw = log(), np.random.default_rng(1)
    past = draw.integers(1, 500, (len(frame), 3)).tolist()
    own = frame.select("item", "order").rows()
    bought = [[*old, item] if order else old for old, (item, order) in zip(past, own)]
    frame = frame.with_columns(bought=pl.Series(bought), earlier=pl.Series(past))
    lines = "\n".join(
        f"  {n}: {{kind: sequence, target: item, max_values: 3}}" for n in ("bought", "earlier")
    )
    found = describe.describe(
        prepared(tmp_path, frame, SCHEMA.replace("tasks:", f"{lines}\ntasks:"))
    )
    suspects = {(f.field, f.by, f.key) for f in found.alone if f.suspect}
    assert suspects == {("bought", leaks.TARGET, "order@all")}


@pytest.mark.parametrize("seed", range(4))
def test_random_labels_have_no_suspect(tmp_path, seed):
    """Fitted on train and scored on validation, not even rare values tell them."""
    draw = np.random.default_rng(seed)
    frame = log(seed=seed)
    clicks = draw.random(len(frame)) < 0.3
    frame = frame.with_columns(
        click=pl.Series(clicks.astype(int)),
        order=pl.Series((draw.random(len(frame)) < 0.1).astype(int)),
    )
    schema = SCHEMA.replace("also_report: [click]", "also_report: [click], positives_outside: 1")
    found = describe.describe(prepared(tmp_path, frame, schema))
    assert len(found.alone) > 10
    assert not found.suspects
    for figure in found.alone:
        assert abs(figure.auc - 0.5) < 0.12, figure  # 120 positives: sd 0.03


def test_few_positives_give_no_figure():
    labels = np.zeros(1000)
    labels[: leaks.FEWEST - 1] = 1
    train, schema = one_field(labels, labels, rows=2)
    assert list(leaks.alone(train, train, schema)) == [[]]
    labels[: leaks.FEWEST] = 1
    train, schema = one_field(labels, labels, rows=2)
    ((figure, known),) = leaks.alone(train, train, schema)
    assert (figure.by, figure.auc, figure.suspect) == (leaks.VALUE, 1.0, True)
    assert known.by == leaks.KNOWN  # the id 0 is the unknown one


def test_the_log_odds_of_a_bag():
    """Padding adds nothing, except to a row without any value."""
    ids = np.array([[1, 2], [1, -1], [2, -1], [-1, -1], [-1, -1], [2, 2]], np.int32)
    labels = np.array([True, True, False, False, False, False])
    fit = leaks.fitted(ids, labels, rows=4)

    def odds(positives, rows):
        p = (positives + leaks.M / 3) / (rows + leaks.M)
        return np.log(p / (1 - p)) - np.log(0.5)

    one, two, none = odds(2, 2), odds(1, 4), odds(0, 2)
    got = fit.score(np.array([[1, 2], [2, -1], [-1, -1], [3, -1]], np.int32))
    np.testing.assert_allclose(got, [one + two, two, none, 0.0])
    positives, negatives = [2, 1, 0], [0, 3, 2]  # how often 1, 2 and none stand in rows of a class
    pairs = itertools.product(
        zip([one, two, none], positives, strict=True), zip([one, two, none], negatives, strict=True)
    )
    won = sum(n * m * ((a > b) + (a == b) / 2) for (a, n), (b, m) in pairs)
    assert fit.auc() == pytest.approx(won / (sum(positives) * sum(negatives)))


def test_rows_of_sampled_negatives_count_by_weight():
    """A row that weighs 3 is three rows."""
    draw = np.random.default_rng(0)
    ids, labels = draw.integers(-1, 9, (400, 2)), draw.random(400) < 0.4
    weights = np.where(draw.random(400) < 0.5, 1, 3)
    several = one_field(np.repeat(ids, weights, axis=0), np.repeat(labels, weights))
    train, schema = one_field(ids, labels, weights=weights.astype(np.float32))
    ((expected, *_),) = leaks.alone(several[0], train, schema)
    ((figure, *_),) = leaks.alone(train, train, schema, by_weight=True)
    ((by_row, *_),) = leaks.alone(train, train, schema)
    assert figure.auc == pytest.approx(expected.auc, abs=1e-12)
    assert figure.auc != by_row.auc
