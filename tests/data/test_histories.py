"""Histories: a user's earlier events, from the log's own rows, the newest last; what stands beside
them; and in a set that extends another, as if both were one log."""

import collections

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.data import prepare as logs
from dtn_jax.errors import UserError

ROWS, USERS = 1200, 15
SCHEMA = """
name: shop
fields:
  item: {unknown: [none]}
  seen: {history: {of: item, where: "click == 1", last: 4}}
  action: {beside: seen, value: act, unknown: [odd]}
  ordered: {kind: sequence, beside: seen, value: order}
  ago: {kind: sequence, beside: seen, gap: true}
  shown: {kind: sequence, history: {of: item, by: user}}
tasks: [click, order]
group: user
time: t
split: {by: column, column: part}
"""


def events(rows=ROWS, seed=0):
    """Rows of few users, many of them at equal times, in no order; `place` tells each row."""
    draw = np.random.default_rng(seed)
    click = draw.integers(0, 2, rows)
    acts = draw.choice(["view", "buy", "odd", None], rows).tolist()
    return pl.DataFrame(
        {
            "t": draw.integers(1_772_000_000, 1_772_000_090, rows),
            "user": [f"u{u}" for u in draw.integers(0, USERS, rows)],
            "item": [f"i{n}" if n else "none" for n in draw.integers(0, 30, rows)],
            "place": np.arange(rows),
            "click": click,
            "order": draw.integers(0, 2, rows),
            "act": [act if clicked else "none" for act, clicked in zip(acts, click)],
            "part": draw.choice(["train", "train", "validation", "test"], rows),
        }
    )


def by_user(frame):
    """{user: what happened, in order; equal times in the log's order}"""
    found = collections.defaultdict(list)
    known = frame.filter(pl.col("item") != "none").sort("t", maintain_order=True)
    for event in known.iter_rows(named=True):
        found[event["user"]].append(event)
    return found


def past(happened, row, last, clicked):
    """The events that a row's history lists, straight from what it means."""
    own = [event for event in happened[row["user"]] if event["t"] < row["t"]]
    return [event for event in own if event["click"] or not clicked][-last:]


def items_of(events):
    return [event["item"] for event in events]


def lists(made, frame, field):
    """{place of a row: what the field lists}; the frame has all rows of the set."""
    found = {}
    for split in log.SPLITS:
        places = frame.filter(part=split)["place"]
        found |= dict(zip(places, log.values(made, split, field), strict=True))
    return found


def check(made, frame, whole=None, fields=(("seen", 4, True), ("shown", 50, False)), of=None):
    """The histories of a frame's rows are those of the whole log, equal times in its order; `of`
    are all rows of the set, if there are more."""
    happened = by_user(frame if whole is None else whole)
    for field, last, clicked in fields:
        found, own = lists(made, frame if of is None else of, field), log.slots(made, field)
        last = min(last, own.stop - own.start)  # as many as the longest of train needs
        assert sum(map(bool, found.values())) > 0.5 * len(found)
        for row in frame.iter_rows(named=True):
            assert found[row["place"]] == items_of(past(happened, row, last, clicked))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return log.prepared(tmp_path_factory.mktemp("own"), events(), SCHEMA)


def test_a_row_lists_its_users_events_strictly_before_it(made):
    check(made, events())
    fields = {field.name: field for field in made.schema.fields}
    item, seen = fields["item"], fields["seen"]
    assert (seen.kind, seen.target, seen.table, seen.rows) == ("sequence", *["item"] * 2, item.rows)
    assert (seen.slots, seen.pooling) == (4, "mean")
    beside = [(fields[name].beside, fields[name].slots) for name in ("action", "ordered", "ago")]
    assert beside == [("seen", 4)] * 3


def test_each_value_stands_beside_its_event(made):
    frame = events()
    found = {name: lists(made, frame, name) for name in ("action", "ordered", "ago")}
    known = set(filter(None, log.values(made, "train", "item")))
    assert len(known) == 29
    happened = by_user(frame)
    for row in frame.iter_rows(named=True):
        own = past(happened, row, 4, True)
        acts = [e["act"] if e["act"] in ("view", "buy") else None for e in own]
        assert found["action"][row["place"]] == acts
        assert found["ordered"][row["place"]] == [str(e["order"]) for e in own]
        gaps = [str(int(np.log2(1 + row["t"] - e["t"]))) for e in own]
        assert found["ago"][row["place"]] == gaps


def test_values_count_once_for_the_vocabulary(tmp_path):
    """Items that train shows once stay below min_count: their rows count, histories do not."""
    frame = events().with_columns(item=pl.col("place").cast(pl.String), part=pl.lit("train"))
    tail = frame.tail(40).with_columns(part=pl.Series(["validation", "test"] * 20))
    text = SCHEMA.replace("unknown: [none]", "min_count: 2")
    made = log.prepared(tmp_path, pl.concat([frame.head(ROWS - 40), tail]), text)
    assert made.schema.fields[0].rows == 1


def test_rows_without_a_user_or_that_are_bad_are_in_no_history(tmp_path):
    frame = events().with_columns(
        who=pl.when(pl.col("place") % 3 > 0).then("user"),
        order=pl.when(pl.col("place") != 700).then("order"),
    )
    text = SCHEMA.replace("by: user", "by: who").replace('where: "cl', 'by: who, where: "cl')
    made = log.prepared(tmp_path, frame, text)
    good = frame.filter(pl.col("order").is_not_null())
    found, named = lists(made, good, "shown"), good.filter(pl.col("who").is_not_null())
    assert not any(items for place, items in found.items() if place % 3 == 0)
    check(made, named, named, [("shown", 50, False)], of=good)


def test_sampled_negatives_stay_in_histories(tmp_path):
    made = log.prepared(tmp_path, events(), SCHEMA + "sample_negatives: {click: 0.2}\n")
    assert made.rows["train"] < 0.8 * ROWS / 2
    found, happened = log.values(made, "test", "shown"), by_user(events())
    for row, items in zip(events().filter(part="test").iter_rows(named=True), found, strict=True):
        assert items == items_of(past(happened, row, 50, False))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("click == 1", "clik == 1", "field 'seen': history: where.*'clik'.*mean 'click'"),
        ("value: act", "value: ac", "unknown column 'ac'. Did you mean 'act'"),
    ],
)
def test_unknown_columns_are_told(tmp_path, old, new, message):
    """What else makes no sense is in refused_schemas.txt."""
    with pytest.raises(UserError, match=message):
        log.prepared(tmp_path, events(100), SCHEMA.replace(old, new, 1))


# --- in a set that extends another ---------------------------------------------------------------

NAMES = ("first", "second", "third")


def parts():
    """Three logs, one after the other; rows of one time may be in two of them."""
    frame = events()
    time, place = frame["t"].to_numpy(), frame["place"].to_numpy()
    day = np.searchsorted([1_772_000_030, 1_772_000_060], time, side="right")
    day = np.where((time == 1_772_000_030) & (place % 2 == 0), 0, day)
    return [frame.filter(pl.Series(day == n)) for n in range(3)]


def extending(folder):
    """The sets of the logs, each of which extends the one before."""
    made = {}
    for n, (name, rows) in enumerate(zip(NAMES, parts())):
        schema = log.schema_file(folder, SCHEMA.replace("shop", name), f"{name}.yaml")
        rows.write_parquet(folder / f"{name}.parquet")
        given = {"processes": 1} | ({"extend": NAMES[n - 1]} if n else {})
        source = str(folder / f"{name}.parquet")
        made[name] = logs.prepare(schema, source, folder / "data", **given)
    return made


def test_histories_go_on_as_in_one_log(tmp_path):
    sets = extending(tmp_path)
    whole = pl.concat(parts())  # at equal times, those of an earlier log come first
    for name, own in zip(NAMES, parts()):
        check(sets[name], own, whole)
    both = [str(tmp_path / f"{name}.parquet") for name in NAMES[:2]]
    schema = log.schema_file(tmp_path, SCHEMA.replace("shop", "twice"), "twice.yaml")
    with pytest.raises(UserError, match=r"1 of 2 raw files are part of first too"):
        logs.prepare(schema, both, tmp_path / "data", processes=1, extend="first")
