"""What a description tells of labels, fields and drift, against a direct computation."""

import dataclasses
import pathlib
import re

import numpy as np
import polars as pl
import pytest
from own_log import SCHEMA, log, one_field, shop
from sklearn.metrics import roc_auc_score
from world.log import prepared, split_frames

from dtn_jax.cli import description
from dtn_jax.data import equal_rows
from dtn_jax.data.describe import describe, fields, labels, leaks
from dtn_jax.data.epochs.reader import SplitReader


@pytest.fixture(scope="module")
def told(prepared_dir):
    frame, data = shop(pathlib.Path(prepared_dir) / "own")
    return frame, data, describe.describe(data)


def test_rates_of_a_log_in_every_space(told):
    frame, _, found = told
    for split, rows in split_frames(frame).items():
        clicked = rows.filter(pl.col("click") == 1)
        own = found.rates.filter(split=split)
        assert {key: (n, ones) for key, _, n, ones, *_ in own.rows()} == {
            "click@all": (len(rows), rows["click"].sum()),
            "order@all": (len(rows), rows["order"].sum()),
            "order@click": (len(clicked), clicked["order"].sum()),
        }
        (watch,) = found.spreads.filter(split=split).to_dicts()
        assert watch["rows"] == len(clicked)
        middle = clicked["watch"].sort()[(len(clicked) - 1) // 2]
        facts = clicked["watch"].mean(), clicked["watch"].std(ddof=0), middle
        assert [watch["mean"], watch["sd"], watch["median"]] == pytest.approx(facts, rel=1e-5)
        lost = pytest.approx(1 - len(clicked) / len(rows))
        assert found.missing.filter(split=split).rows() == [("watch", split, lost)]


def test_sampled_negatives_count_by_weight(tmp_path):
    """Half of the negatives stay, and weigh 2: each figure is that of a log that has them twice."""
    schema = SCHEMA.replace("known: click == 1", "known: click == 1 or user > 1")
    frame = log(2000).with_columns(watch=12 - 10 * pl.col("click") + pl.col("item") % 3)
    data = prepared(tmp_path, frame, f"{schema}sample_negatives: {{click: 0.5}}\n")
    found = describe.describe(data)
    for split in ("train", "validation", "test"):
        rows = SplitReader(data, split).everything()
        times = np.full(len(rows.labels), 1)
        if split == "train":
            times = np.where(rows.labels[:, 0] == 1, 1, 2)
        twice, known = np.repeat(rows.labels[:, 2], times), np.repeat(rows.label_mask[:, 2], times)
        (watch,) = found.spreads.filter(split=split).to_dicts()
        assert watch["rows"] == rows.label_mask[:, 2].sum()
        shares = list(labels.QUANTILES.values())
        expected = np.quantile(twice[known], shares, method="inverted_cdf")
        assert [watch[name] for name in labels.QUANTILES] == pytest.approx(expected)
        assert watch["mean"] == pytest.approx(twice[known].mean(dtype=float))
        assert watch["sd"] == pytest.approx(twice[known].std(dtype=float))
        lost = found.missing.filter(split=split, label="watch")["share"].item()
        assert lost == pytest.approx(1 - known.mean())
    day = found.days.filter(key="watch@all").row(0, named=True)  # before any row was left out
    first = frame.filter(pl.col("t").dt.date() == day["day"])
    first = first.filter((pl.col("click") == 1) | (pl.col("user") > 1))
    assert day["value"] == pytest.approx(first["watch"].mean(), rel=1e-6)


def test_pairs_of_labels(told):
    found, train = told[2].pairs, split_frames(told[0])["train"]
    assert found["label", "other"].rows() == [("click", "order"), ("order", "click")]
    phi = np.corrcoef(train["click"], train["order"])[0, 1]
    assert found["phi"].to_list() == pytest.approx([phi, phi])
    rate = train.filter(pl.col("click") == 1)["order"].mean()
    assert found["given"].to_list() == pytest.approx([rate, 1])


def smoothed(train, scored, field, label):
    """The smoothed mean of a label by value, of polars alone; rank is that of its log-odds."""
    mean = train[label].mean()
    by = train.group_by(field).agg(p=(pl.col(label).sum() + leaks.M * mean) / (pl.len() + leaks.M))
    joined = scored.join(by, on=field, how="left", nulls_equal=True)
    return joined["p"].fill_null(mean)


def test_a_field_alone_is_as_by_polars_and_sklearn(told):
    frames = split_frames(told[0])
    counts = frames["train"]["item"].value_counts()
    kept = counts.filter(pl.col("count") >= 2)["item"].implode()
    frames = {
        split: rows.with_columns(item=pl.when(pl.col("item").is_in(kept)).then("item").otherwise(0))
        for split, rows in frames.items()
    }
    found = {(f.field, f.label): f.auc for f in told[2].alone if f.by == leaks.VALUE}
    for label in ("click", "order"):
        p = smoothed(frames["train"], frames["validation"], "item", label)
        expected = roc_auc_score(frames["validation"][label], p)
        assert found["item", f"{label}@all"] == pytest.approx(expected, abs=1e-9)
        assert expected > 0.55


def in_a_bag(frame):
    """Some tags, and between them one of an order."""
    orders = zip(frame["tags"], frame["order"], strict=True)
    return pl.Series([[*tags[:1], f"order {order}", *tags[1:]] for tags, order in orders])


NUMBER = pl.col("order") * 3.5 + pl.col("speed") * 0.01
PLANTED = {  # {field: its options, its column}
    "label": ("", pl.col("order")),
    "number": ("kind: numeric", NUMBER),
    "scaled": ("kind: numeric, encoder: standardise", NUMBER),
    "bag": ("kind: bag", pl.col("bag")),
    "vector": ("kind: vector, length: 3", pl.concat_list("speed", "order", "speed")),
    "there": ("encoder: hash, size: 100", pl.when(pl.col("order") == 1).then(pl.int_range(6000))),
}


def test_planted_leaks_are_named_and_no_other_field(tmp_path):
    """A label, numbers, a value in a bag, an entry of a vector, a value that is there."""
    frame = log(6000)
    frame = frame.with_columns(bag=in_a_bag(frame))
    frame = frame.with_columns(**{name: column for name, (_, column) in PLANTED.items()})
    lines = "".join(f"  {name}: {{{options}}}\n" for name, (options, _) in PLANTED.items())
    schema = SCHEMA.replace("tasks:", f"{lines}tasks:")
    found = describe.describe(prepared(tmp_path, frame, schema))
    suspects = [f for f in found.alone if f.suspect]
    assert {(f.field, f.label) for f in suspects} == {(name, "order@all") for name in PLANTED}
    assert all(f.auc > 0.97 for f in suspects)
    assert [f.entry for f in suspects if f.field == "vector"] == [1]


def test_an_event_that_only_comes_with_a_label_is_named(tmp_path):
    """Most clicks have none, so that its AUC is low."""
    frame = log(6000)
    paid = pl.when(pl.col("order") == 1).then(pl.int_range(6000))
    schema = re.sub(r"  order: .*", "", SCHEMA)
    schema = schema.replace("tasks:", "  order:\n  paid: {encoder: hash, size: 100}\ntasks:")
    found = describe.describe(prepared(tmp_path, frame.with_columns(paid=paid), schema))
    suspects = {(f.field, f.by, f.label): f for f in found.alone if f.suspect}
    ways = [("order", leaks.VALUE), ("paid", leaks.KNOWN)]
    assert suspects.keys() == {(*way, "click@all") for way in ways}
    assert all(f.only and f.auc < 0.9 for f in suspects.values())
    told = "order tells click@all: its value differs from the usual only where the label is 1"
    assert any(told in text for text in description.texts(found)[description.FIRST])


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
    suspects = {(f.field, f.by, f.label) for f in found.alone if f.suspect}
    assert suspects == {("bought", leaks.TARGET, "order@all")}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.nightly) for n in range(1, 4))]
)
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
    assert not any(figure.suspect for figure in found.alone)
    for figure in found.alone:
        assert abs(figure.auc - 0.5) < 0.12, figure  # 120 positives: sd 0.03


def test_the_log_odds_of_a_bag():
    """Padding adds nothing, except to a row without any value."""
    ids = np.array([[1, 2], [1, -1], [2, -1], [-1, -1], [-1, -1], [2, 2]], np.int32)
    labels = np.array([True, True, False, False, False, False])
    fitted = leaks.fitted(ids, labels, rows=4)

    def odds(positives, rows):
        p = (positives + leaks.M / 3) / (rows + leaks.M)
        return np.log(p / (1 - p)) - np.log(0.5)

    one, two, none = odds(2, 2), odds(1, 4), odds(0, 2)
    got = leaks.score(fitted, np.array([[1, 2], [2, -1], [-1, -1], [3, -1]], np.int32))
    np.testing.assert_allclose(got, [one + two, two, none, 0.0])


# What fields hold and how they drift, the sample that it is told from, groups, repeated row.


def test_unknown_values_are_what_train_lacks(told):
    frame, data, _ = told
    frames = split_frames(frame)
    counts = frames["train"]["user"].value_counts()
    kept = counts.filter(pl.col("count") >= 2)["user"].to_list()
    by_name = {field.name: field for field in data.schema.fields}
    for split, rows in frames.items():
        unknown = {n: description.unknown_share(data, split, by_name[n]) for n in ("user", "price")}
        assert unknown["user"] == pytest.approx(1 - rows["user"].is_in(kept).mean())
        assert unknown["price"] == pytest.approx(rows["price"].is_null().mean())


def test_a_large_split_is_read_in_part(told):
    _, data, whole = told
    found = describe.describe(data, most_rows=4000)
    assert whole.looked_at == data.rows
    assert 1500 < found.looked_at["train"] <= 4000
    assert found.looked_at["test"] == 1200
    records = describe.records_of(data, "train", 4000)
    assert records[0] == 0
    assert records[-1] == len(data.layout.blocks(data.rows["train"])) - 1
    assert found.rates["rate"].to_list() == pytest.approx(whole.rates["rate"].to_list(), abs=0.06)


def test_repeated_rows():
    train, _ = one_field([[1, 2], [1, 2], [2, 1], [1, 2]], [0, 0, 0, 1])
    test, _ = one_field([[1, 2], [2, 1], [3, -1], [3, -1]], [1, 1, 0, 0])
    found = describe.repeats({"train": train, "test": test})
    assert found.rows() == [("train", 0.25, None, None), ("test", None, 0.5, 0.25)]
    other = dataclasses.replace(train, label_mask=np.array([[True], [False], [True], [True]]))
    assert describe.repeats({"train": other})["repeated"].item() == 0.0


def test_rows_that_train_has_too_are_told(tmp_path, monkeypatch):
    """Every row stands twice, and is drawn into its split by itself; of a large set some count."""
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"a": draw.random(2000), "b": draw.integers(0, 2, 2000)})
    schema = "name: twice\nfields: {a: {kind: numeric, encoder: standardise}}\ntasks: {b:}\n"
    split = "split: {by: random, validation: 0.1, test: 0.1}\n"
    data = prepared(tmp_path / "twice", pl.concat([frame, frame]), schema + split)
    found = describe.describe(data)
    equal = dict(found.repeats[1:]["split", "equal"].rows())
    assert equal == {s: pytest.approx(0.8, abs=0.06) for s in ("validation", "test")}
    counts = {s: round(share * data.rows[s]) for s, share in equal.items()}
    (line,) = (line for line in data.notes["account"] if "train has too" in line)
    assert f"{counts['validation']} of validation" in line
    assert f"{counts['test']} of test" in line
    assert any("copies in the log" in text for text in description.texts(found)[description.FIRST])
    monkeypatch.setattr(equal_rows, "MOST", 1000)
    some = prepared(tmp_path / "some", pl.concat([frame, frame]), schema + split)
    (line,) = (line for line in some.notes["account"] if "train has too" in line)
    about = int(line.split("about ")[1].split()[0])
    assert about == pytest.approx(counts["validation"], rel=0.15)
    once = prepared(tmp_path / "once", frame, schema + split)
    assert "account" not in once.notes


def numpy_psi(a, b):
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    return sum((q[i] - p[i]) * np.log(q[i] / p[i]) for i in range(len(a)))


def test_each_field_and_label_has_a_drift_to_each_split(told):
    keys = [*told[1].schema.field_names, "click@all", "order@all", "order@click", "watch@all"]
    pairs = [(name, split) for name in keys for split in ("validation", "test")]
    assert told[2].drift["name", "split"].rows() == pairs


def between(train, other, weights=(None, None), **changes):
    """How far a field moved."""
    a, schema = one_field(train, np.zeros(len(train)), weights[0], **changes)
    b, _ = one_field(other, np.zeros(len(other)), weights[1], **changes)
    return next(value for name, _, value in fields.drifts(schema, [a, b]) if name == "f")


def test_few_ids_have_a_bin_each():
    draw = np.random.default_rng(1)
    train, other = draw.integers(0, 6, 900), draw.integers(2, 9, 300)
    counts = [np.bincount(v, minlength=9).astype(float) for v in (train, other)]
    found = between(train, other)
    assert found == pytest.approx(numpy_psi(*counts), rel=1e-12)
    assert fields.reading(found) == "strong"


def test_rare_ids_that_did_not_move_are_stable():
    """Two rows a user, and those that train lacks are unknown in test: no drift."""
    draw = np.random.default_rng(0)
    users = draw.integers(0, 20_000, 50_000)
    train, other = users[:40_000], users[40_000:]
    encoded = [1 + train, np.where(np.isin(other, train), 1 + other, 0)]
    assert between(*encoded, rows=20_001) < 0.1


def test_ids_that_moved_have_drift():
    draw = np.random.default_rng(0)
    train, other = np.minimum(draw.zipf(1.5, (2, 20_000)), 900)
    assert between(train, other) < 0.05
    half = draw.random(20_000) < 0.5
    for moved in (np.where(half, 0, other), np.where(half, 900 - other, other)):
        assert fields.reading(between(train, moved)) == "strong"


def test_rows_count_by_their_weights():
    """Train's negatives were sampled at 0.1 and weigh 10: then nothing moved."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 3, 40_000)
    label = draw.random(40_000) < np.where(ids == 1, 0.02, 0.3)
    kept = label | (draw.random(40_000) < 0.1)
    weights = np.where(label, 1.0, 10.0).astype(np.float32)
    given = weights[kept], np.ones(40_000, np.float32)
    assert between(ids[kept], ids, given) < 0.01 < between(ids[kept], ids)
