"""A prepared log holds its raw rows: every id, number, label and group, in the files' order; and
what a value becomes: 0, midnight and the empty text are values; columns that are odd, of another
type, missing or optional; times of every unit."""

import datetime
import itertools

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.cli import description
from dtn_jax.data import keys
from dtn_jax.data.epochs.day_order import read_days
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError


@pytest.fixture(scope="module")
def shop(prepared_dir):
    return log.shared(prepared_dir)[1]


@pytest.fixture(scope="module")
def frames(prepared_dir):
    return log.split_frames(log.shared(prepared_dir)[0])


@pytest.fixture(scope="module")
def batches(shop):
    return {split: SplitReader(shop, split).everything() for split in log.SPLITS}


def often(column, least=2):
    """{text: count} of the values that are there often enough."""
    counts = column.drop_nulls().value_counts().filter(pl.col("count") >= least)
    return {str(value): count for value, count in counts.iter_rows()}


def test_the_rows_are_those_of_the_log_in_its_order(shop, frames, batches):
    assert shop.rows == {split: len(frame) for split, frame in frames.items()}
    assert shop.notes["read"] == 1500
    assert shop.notes["rejected"] == {}
    for split, frame in frames.items():
        found = batches[split]
        np.testing.assert_array_equal(shop.groups(split), frame["user"])
        assert shop.kept_values[split]["user"] == len(frame)  # each counted once
        np.testing.assert_array_equal(found.labels[:, :2], frame["click", "order"])
        np.testing.assert_array_equal(found.sample_weight, frame["w"])
        known = frame["click"].to_numpy() == 1
        np.testing.assert_array_equal(found.label_mask[:, 2], known)
        expected = np.where(known, np.log1p(frame["seconds"].to_numpy()), 0)
        np.testing.assert_allclose(found.labels[:, 2], expected, rtol=1e-6)
        days = frame["t"].dt.date().to_physical()
        np.testing.assert_array_equal(shop.days(split), days)
    assert read_days(shop, "train").known == list(range(20_513, 20_521))  # 2026-03-01 on


def test_a_vocabulary_has_the_values_that_train_shows_often_enough(shop, frames, batches):
    known = often(frames["train"]["user"])
    assert {f.name: f.rows for f in shop.schema.fields}["user"] == 1 + len(known)
    for split, frame in frames.items():
        expected = [str(u) if str(u) in known else None for u in frame["user"]]
        assert log.values(shop, split, "user") == expected
    rows = ids(shop, "user").tolist()
    by_row = dict(zip(rows, log.values(shop, "train", "user")))
    counts = [known[by_row[row]] for row in sorted(by_row) if row]
    assert counts == sorted(counts, reverse=True)  # the most frequent first


def test_lists_share_the_items_table_and_keep_the_first_or_the_newest(shop, frames, batches):
    """A sequence's values count for the vocabulary no more than once, those of bags do."""
    train = frames["train"]
    every = pl.concat([train["item"], train["seen"].list.head(3).explode()])
    assert set(often(every)) <= set(filter(None, log.values(shop, "train", "item")))
    known = set(log.names(shop, "item", range(1, 31)).values())
    for split, frame in frames.items():
        for field, kept in (
            ("seen", frame["seen"].list.head(3)),
            ("viewed", frame["viewed"].list.tail(4)),
        ):
            expected = [[str(v) if str(v) in known else None for v in row] for row in kept]
            assert log.values(shop, split, field) == expected
        actions = log.values(shop, split, "action")
        assert actions == frame["viewed_action"].list.tail(4).to_list()
        weights = [row[:3] + [0] * (3 - len(row[:3])) for row in frame["seen_weights"].to_list()]
        np.testing.assert_allclose(batches[split].weights, weights)


def test_numbers_are_bucketed_or_standardised_by_train(shop, frames, batches):
    train = frames["train"]
    mean, deviation = train["speed"].mean(), train["speed"].std(ddof=0)
    vectors = np.array(train["embedding"].drop_nulls().to_list())
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    for split, frame in frames.items():
        found = batches[split]
        speed = (frame["speed"].to_numpy() - mean) / deviation
        np.testing.assert_allclose(found.numeric[:, 0], speed, rtol=1e-4, atol=1e-6)
        there = frame["embedding"].is_not_null().to_numpy()
        np.testing.assert_array_equal(ids(shop, "embedding", split), there)
        expected = np.zeros((len(frame), 3))
        expected[there] = (np.array(frame["embedding"].drop_nulls().to_list()) - centre) / spread
        np.testing.assert_allclose(found.numeric[:, 1:], expected, rtol=1e-4, atol=1e-5)
    price = ids(shop, "price")
    ranks = [train["price"].to_numpy()[price == row] for row in range(1, 9)]
    assert all(a.max() < b.min() for a, b in itertools.pairwise(ranks))
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 6  # equal prices stay together


def test_a_cross_tells_pairs_apart(shop, frames, batches):
    frame = frames["train"]
    found = ids(shop, "user_x_hour")
    pairs = {}
    for pair, row in zip(zip(frame["user"], frame["t"].dt.hour(), strict=True), found, strict=True):
        assert pairs.setdefault(pair, row) == row
    assert len(set(pairs.values())) == 40  # every row is used


def test_the_days_of_the_log_are_kept(shop, frames):
    frame = pl.concat(frames.values())
    days = dict(shop.notes["days"]["rows"])
    expected = frame["t"].dt.date().value_counts().sort("t")
    assert list(days.values()) == expected["count"].to_list()
    sums = shop.notes["days"]["sums"]
    clicks = (frame["click"] * frame["w"]).sum()  # rows count by their weights
    assert sum(total for _, _, total in sums["click@all"]) == clicks
    assert sum(count for _, count, _ in sums["order@click"]) == clicks


def test_what_max_values_cuts_is_told(shop, frames, tmp_path):
    """In the table of fields, which a description has."""
    lengths = frames["train"]["seen"].list.len()
    share = (lengths.cast(pl.Int64) - 3).clip(0).sum() / lengths.sum()
    assert shop.cut_shares()["seen"] == pytest.approx(share)
    rows = {name: cells for name, *cells in description.kept_fields(shop).rows}
    assert f"{100 * share:.1f} %" in rows["seen"]
    bag = "max_values: {}, weights: seen_weights"
    text = log.SCHEMA.replace(bag.format(3), bag.format("1, keep: last"))
    last = log.prepared(tmp_path, pl.concat(frames.values()), text)
    kept = SplitReader(last, "test").everything().weights
    for row, weights in zip(frames["test"]["seen_weights"].to_list(), kept, strict=True):
        assert weights.tolist() == (row[-1:] or [0])


def test_hashed_fields_know_what_is_missing_but_not_what_is_new(tmp_path):
    frame = log.rows(600).with_columns(query=pl.when(pl.int_range(600) % 3 > 0).then("query"))
    text = "name: shop\nfields: {query: {encoder: hash, size: 50}, user: {}}\ntasks: [click]\n"
    made = log.prepared(tmp_path, frame, text)
    query, found = made.schema.fields[0], description.unknown_share
    share = np.mean(ids(made, "query") == 0)
    assert found(made, "train", query) == pytest.approx(share)
    assert found(made, "validation", query) is found(made, "test", query) is None
    grid = description.kept_fields(made)
    assert list(grid.rows[0][-3:]) == [f"{100 * share:.1f} %", "–", "–"]
    assert not any("cut" in name for name in grid.header)  # no bags


# --- what a value becomes ------------------------------------------------------------------------


ROWS = 600
TEXTS = ["0", "nan", "null", "None", "", "NaN", "inf", "false", "-", " "]
FIELDS = """
name: zeros
fields:
  word: {}
  number: {}
  truth: {}
  price: {kind: numeric}
  age: {kind: numeric, encoder: standardise}
  hour: {value: hour(t)}
  dear: {value: price > 5}
tasks: [click]
time: t
group: user
split: {by: random}
"""


def zeros():
    start, every = datetime.datetime(1970, 1, 1), range(ROWS)
    return pl.DataFrame(
        {
            "word": [TEXTS[n % len(TEXTS)] for n in every],
            "number": [n % 3 - 1 for n in every],
            "truth": [n % 2 == 1 for n in every],
            "price": [float(n % 2 * 10) for n in every],
            "age": [float(n % 5 - 2) for n in every],
            "t": [start + datetime.timedelta(minutes=30 * n) for n in every],
            "click": [n % 4 // 3 for n in every],
            "user": [n % 7 for n in every],
            "tags": [[0] * (n % 2 + 1) for n in every],
            "vec": [[0.0, 0.0]] * ROWS,
        }
    )


WHOLE = FIELDS.replace("tasks:", "  tags: {kind: bag}\n  vec: {kind: vector, length: 2}\ntasks:")


def prepared(folder, data, kind="parquet", text=WHOLE):
    """The set of a log in one file, of which no row is bad."""
    folder.mkdir(exist_ok=True)
    raw = folder / f"log.{kind}"
    if kind == "parquet":
        data.write_parquet(raw)
    elif kind == "csv":
        data.drop("tags", "vec", strict=False).write_csv(raw)
    else:
        data.with_columns(data["t"].cast(pl.String)).write_ndjson(raw)
    schema = log.schema_file(folder, text, "log.yaml")
    return prepare(schema, str(raw), folder / "data", processes=1, max_reject_rate=0.0)


def ids(made, name, split="train"):
    """All ids of a field, without padding."""
    found = np.asarray(SplitReader(made, split).everything().ids)[:, log.slots(made, name)]
    return found[found >= 0]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_natural_zeros_are_values(kind, tmp_path):
    made = prepared(tmp_path, zeros(), kind, FIELDS if kind == "csv" else WHOLE)
    empty = kind == "csv"  # where nothing is a missing value
    words = len(TEXTS) - empty - 1  # 'false' is '0'
    distinct = {"number": 3, "truth": 2, "hour": 24, "dear": 2, "word": words}
    for name, count in distinct.items():
        assert len(set(ids(made, name).tolist()) - {0}) == count, name
    for split, unknown in made.unknown_values.items():
        assert (unknown.pop("word") > 0) == empty
        assert not any(unknown.values()), split
    assert set(ids(made, "age").tolist()) == {1}
    assert made.groups("train").min() == 0
    for name in () if empty else ("tags", "vec"):
        assert set(ids(made, name).tolist()) == {1}


def test_what_is_missing_or_called_unknown_is_the_unknown_id(tmp_path):
    nothing = {
        name: pl.when(pl.int_range(ROWS) % 4 > 0).then(name) for name in ("word", "number", "price")
    }
    text = FIELDS.replace("word: {}", "word: {unknown: [nan, '']}")
    text = text.replace("number: {}", "number: {unknown: ['0']}")
    data = zeros().with_columns(**nothing)
    made = prepared(tmp_path, data, text=text)
    assert set(log.values(made, "train", "word")) == {None, *TEXTS} - {"nan", "", "false"}
    assert set(log.values(made, "train", "number")) == {None, "1", "-1"}
    found = ids(made, "price")
    assert 0 < (found == 0).sum() == made.unknown_values["train"]["price"] < len(found)


@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.String])
def test_values_that_are_rows_of_their_table(dtype, tmp_path):
    """As numbers or as texts, in a bag too; what is no row, or missing, is the unknown id."""
    options = "column: number, encoder: identity, size: 4"
    text = FIELDS.replace("number: {}", f"number: {{{options}}}")
    text = text.replace("word: {}", f"word: {{column: both, kind: bag, {options[16:]}}}")
    numbers = [[-1, 0, 1, 4, 5, None, 2**40][n % 7] for n in range(ROWS)]
    both = pl.Series("both", [[n, 3] for n in numbers])
    data = zeros().with_columns(pl.Series("number", numbers).cast(dtype), both)
    made = prepared(tmp_path, data, text=text)
    expected = [n if n in (1, 4) else 0 for n in numbers]
    for name, wanted in (("number", expected), ("word", [*expected, *[3] * ROWS])):
        assert {f.name: f.rows for f in made.schema.fields}[name] == 5
        found = np.concatenate([ids(made, name, split) for split in made.rows])
        assert sorted(found.tolist()) == sorted(wanted)


# --- odd columns ---------------------------------------------------------------------------------

TEXT = log.without("viewed", "action", "clicked", "ago")
GOOD = log.rows(ROWS)


def test_constant_fields_and_a_vocabulary_of_no_value(tmp_path):
    empty = pl.Series([[]] * ROWS, dtype=pl.List(pl.Float64))
    data = GOOD.with_columns(item=pl.lit("a"), price=pl.lit(3.0), speed=pl.lit(40.0))
    data = data.with_columns(seen=empty, seen_weights=empty)
    text = TEXT.replace("user: {min_count: 2}", "user: {min_count: 5000}")
    made = prepared(tmp_path, data, text=text)
    assert set(ids(made, "item").tolist()) == {1}
    assert len(set(ids(made, "price").tolist())) == 1
    assert not np.asarray(SplitReader(made, "train").everything().numeric)[:, 0].any()
    assert set(ids(made, "user").tolist()) == {0}
    assert {f.name: f.rows for f in made.schema.fields}["user"] == 1  # the unknown id alone
    assert not len(ids(made, "seen"))


def test_fields_that_are_missing_everywhere(tmp_path):
    names = ("item", "price", "speed", "embedding", "query")
    nothing = [pl.lit(None).alias(name) for name in (*names, "seen", "seen_weights")]
    made = prepared(tmp_path, GOOD.with_columns(nothing), text=TEXT)
    for name in names:
        assert set(ids(made, name).tolist()) == {0}, name
    assert made.unknown_values["train"]["item"] == made.rows["train"]
    assert not len(ids(made, "seen"))


NAMES = ["a / b", "ünï ☃", "../up", "a.b", "%2F", "with 'quotes'", "[x]", " begins with a space"]


def test_names_of_fields_and_files_may_be_any_text(tmp_path):
    fields = "".join(f'  "{name}": {{table: "{name}"}}\n' for name in NAMES)
    data = GOOD.with_columns(**dict.fromkeys(NAMES, GOOD["user"]))
    folder = tmp_path / "ü ö [1] ☃ 'x'"
    made = prepared(folder, data, text=TEXT.replace("  user:", fields + "  user:"))
    assert [field.name for field in made.schema.fields][: len(NAMES)] == NAMES
    for name in NAMES:
        assert log.values(made, "test", name) == log.values(made, "test", NAMES[0])
    inside = {path.parent.name for path in made.folder.rglob("*.arrow")}
    assert inside == {"vocabulary"}  # none is written elsewhere


OPTIONAL = """
name: shop
fields:
  item:
  position: {scored_as: 1}
  page: {scored_as: null, optional: true}
  price: {kind: numeric, encoder: standardise, optional: true}
  dearer: {kind: numeric, value: price * 2, optional: true}
  tags: {kind: bag, weights: tag_weights, optional: true}
  place: {cross: [item, position]}
tasks: {click: }
split: {by: random, validation: 0.2, test: 0.2}
"""


def test_files_may_lack_the_columns_of_optional_fields(tmp_path):
    """All of them, in every format, or one as of a log that gained columns on its second day."""
    data = GOOD.select("t", "item", "click").with_columns(position=pl.int_range(ROWS) % 5)
    for kind in ("csv", "jsonl", "parquet"):
        made = prepared(tmp_path / kind, data, kind, OPTIONAL)
        for name in ("page", "price", "dearer"):
            assert set(ids(made, name).tolist()) == {0}
        assert not len(ids(made, "tags"))
        assert set(log.values(made, "train", "position")) == set("01234")
    more = {"tags": pl.Series([["a"]] * ROWS), "tag_weights": pl.Series([[1.0]] * ROWS)}
    more |= {"price": pl.int_range(ROWS) * 0.5, "page": pl.lit(2)}
    data.with_columns(**more).write_parquet(tmp_path / "parquet/log-2.parquet")
    given = str(tmp_path / "parquet/*.parquet")
    schema = tmp_path / "parquet/log.yaml"
    made = prepare(schema, given, tmp_path / "both", processes=1)
    for name in ("page", "price"):
        assert 0.4 < (ids(made, name) > 0).mean() < 0.6, name
    needed = OPTIONAL.replace("split: {by", "weight: price\nsplit: {by")
    with pytest.raises(UserError, match="weight: unknown column 'price'"):
        prepared(tmp_path / "needed", data, text=needed)


# --- times ---------------------------------------------------------------------------------------


def test_times_since_1970_without_a_unit_are_those_of_dates(tmp_path):
    """First rows without a time do not decide the unit."""
    dates = prepared(tmp_path / "dates", GOOD, text=TEXT)
    for unit in ("s", "ms"):
        numbers = GOOD.with_columns(pl.col("t").dt.epoch(unit))
        found = prepared(tmp_path / unit, numbers, text=TEXT)
        assert found.rows == dates.rows
        for split in log.SPLITS:
            np.testing.assert_array_equal(ids(found, "hour", split), ids(dates, "hour", split))
            np.testing.assert_array_equal(found.days(split), dates.days(split))
    (tmp_path / "log").mkdir()
    numbers.head(2).with_columns(t=pl.lit(None, pl.Int64)).write_parquet(tmp_path / "log/a.parquet")
    numbers.write_parquet(tmp_path / "log/b.parquet")
    schema, given = log.schema_file(tmp_path, TEXT), str(tmp_path / "log")
    made = prepare(schema, given, tmp_path / "data", processes=1, max_reject_rate=0.01)
    assert sum(made.rows.values()) == ROWS


# --- keys ----------------------------------------------------------------------------------------


def test_keys_are_these():
    """Vocabularies depend on them. The first is SplitMix64's first number from seed 0."""

    def of(*values):
        return keys.keys(pl.Series(values))[0].tolist()

    assert of(0, 1) == [0xE220A8397B1DCDAF, 10451216379200822465]
    texts = [13335431637489503539, 9370218965779684112, 3618716536167495180]
    assert of("a", "", "user_000000001") == texts
    assert of(7) == of("7") == of(7.0) == of("7.0")
    assert of(1) == of(True) == of("true") == of("True")
    assert of(2**63 - 1) == of(str(2**63 - 1))
    assert of(2**63) == of(str(2**63))  # beyond 64 bits with a sign: a text
    odd = of("007", "-0", "+7", " 7", "7 ", "0x7", "7_0", *("a" * n for n in range(70)))
    assert len({*odd, *of(0, 7, 70, -7)}) == len(odd) + 4
