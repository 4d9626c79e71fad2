"""Histories that are made from the log go on in a set that extends another: as in one log."""

import numpy as np
import polars as pl
import pytest
from event_log import SCHEMA, expected, found, log, rows_of_items
from shop_log import schema_file, small_pieces

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.rows import by_user, kept_events
from dtn_jax.errors import UserError

NAMES = ("first", "second", "third")
SEEN = (("seen", 4, True), ("shown", 50, False))


def parts():
    """Three logs, one after the other; rows of one time may be in two of them."""
    frame = log()
    day = np.searchsorted([1_772_000_030, 1_772_000_060], frame["t"].to_numpy(), side="right")
    late = frame["t"].to_numpy() == 1_772_000_030
    day = np.where(late & (frame["place"].to_numpy() % 2 == 0), 0, day)
    return [frame.filter(pl.Series(day == n)) for n in range(3)]


def extending(folder, **options):
    """The sets of the three logs, each of which extends the one before."""
    made = {}
    for n, (name, rows) in enumerate(zip(NAMES, parts())):
        schema = schema_file(folder, SCHEMA.replace("name: shop", f"name: {name}"), f"{name}.yaml")
        rows.write_parquet(folder / f"{name}.parquet")
        given = options | ({"extend": NAMES[n - 1]} if n else {})
        source = str(folder / f"{name}.parquet")
        made[name] = logs.prepare(schema, source, folder / "data", processes=1, **given)
    return made


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return extending(tmp_path_factory.mktemp("extended"))


@pytest.mark.parametrize(("field", "last", "clicked"), SEEN)
def test_histories_are_those_of_one_log(sets, field, last, clicked):
    rows = parts()
    frame = pl.concat(rows)  # at equal times, those of an earlier log come first
    at = {place: n for n, place in enumerate(frame["place"].to_list())}
    for name, own in zip(NAMES, rows):
        row, lists = rows_of_items(sets[name]), found(sets[name], field)
        assert {*lists} <= {*own["place"].to_list()}
        assert len(lists) > 0.7 * len(own)
        for n, ids in lists.items():
            assert ids == [row[item] for item in expected(frame, at[n], last, clicked)]


def test_what_is_kept_depends_on_no_range_of_users(sets, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    monkeypatch.setattr(by_user, "RUN_ROWS", 70)
    monkeypatch.setattr(by_user, "PART_ROWS", 90)
    again = extending(tmp_path)
    for name in NAMES:
        kept = [made[name].folder / kept_events.FILE for made in (sets, again)]
        assert kept[0].read_bytes() == kept[1].read_bytes()
        assert again[name].fingerprint == sets[name].fingerprint


def test_no_more_is_kept_than_histories_list(sets):
    """Of `shown` 50 events a user, and among them the 4 of `seen` that are its newest."""
    so_far = pl.concat(parts()).filter(pl.col("item") != "none")
    counts = so_far.group_by("user").len()["len"].to_list()
    size = (sets["third"].folder / kept_events.FILE).stat().st_size
    per_event = size / sum(min(count, 50) for count in counts)
    assert 8 * 3 < per_event <= 8 * 5 + 2 + 8  # a few clicks are older than the 50 shown


def test_a_set_that_kept_no_events_is_told(tmp_path, monkeypatch, capsys):
    """As one that an earlier version prepared."""
    told = "seen, shown: histories begin with these rows, because"
    extending(tmp_path / "kept")
    assert told not in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(kept_events, "FILE", "events_of_old")
        extending(tmp_path / "old")
    text = SCHEMA.replace("name: shop", "name: later")
    schema = schema_file(tmp_path, text, "later.yaml")
    source = str(tmp_path / "old" / "third.parquet")
    data = tmp_path / "old" / "data"
    made = logs.prepare(schema, source, data, extend="second", processes=1)
    assert told in capsys.readouterr().out
    lists = found(made, "shown")
    assert sum(map(len, lists.values())) < 0.5 * 50 * len(lists)


def test_events_that_would_be_listed_twice_are_refused(sets):
    folder = sets["first"].folder.parents[2]
    both = [str(folder.parent / f"{name}.parquet") for name in NAMES[:2]]
    schema = schema_file(folder.parent, SCHEMA.replace("name: shop", "name: twice"), "twice.yaml")
    with pytest.raises(UserError, match=r"1 of 2 raw files are part of first too, .* Give the new"):
        logs.prepare(schema, both, folder, processes=1, extend="first")
