"""A set that extends another: known ids keep their rows, new ones follow, numbers stay."""

import json

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.data import prepare as logs
from dtn_jax.data import vocabulary as vocabularies
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError

TEXT = log.without("clicked", "ago")  # of which rows could not be in both logs
LATER = TEXT.replace("name: shop", "name: later")
RANDOM = LATER + "split: {by: random, validation: 0.2}\n"
BY_COLUMN = LATER + "split: {by: column, column: part}\n"


def later(count=900, seed=1):
    """Users 25 to 64 and items from 5 on: some of the first days' are gone, and others are new."""
    frame, place = log.rows(count, seed), pl.int_range(count)
    part = pl.when(place % 10 == 0).then(pl.lit("validation"))
    part = part.when(place % 11 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    return frame.with_columns(
        pl.col("user") + 25, pl.col("item") + 5, pl.col("price") * 3, part=part
    )


def extended(folder, frame, extend, text=BY_COLUMN, name="later", **options):
    """The set of a later log that extends another one, in its `data_dir`."""
    source = log.write(folder / f"raw_{name}", frame)
    schema = log.schema_file(folder, text.replace("name: later", f"name: {name}"), f"{name}.yaml")
    given = {"processes": 1} | options
    return logs.prepare(schema, source, folder / "data", extend=extend, **given)


def vocabulary(data, table):
    """{text: row} of a vocabulary."""
    rows = range(1, data.schema.tables()[table])
    names = vocabularies.names(data.folder / vocabularies.FOLDER, table, rows)
    return {text: row for row, text in names.items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The first set and the one that extends it, in one `data_dir`."""
    folder = tmp_path_factory.mktemp("shop")
    old = log.prepared(folder, log.rows(), TEXT)
    return folder, old, extended(folder, later(), "shop")


def test_known_ids_keep_their_rows_and_new_ones_come_after_them(both):
    _, old, new = both
    was, now = vocabulary(old, "user"), vocabulary(new, "user")
    assert {user: now[user] for user in was} == was  # fallen out ones too
    train = later().filter(part="train")["user"]
    shown = {str(user): n for user, n in train.value_counts().iter_rows()}
    added = {user for user, n in shown.items() if n >= 2} - set(was)
    assert added
    assert set(was) - set(shown)
    assert set(now) == set(was) | added
    by_row = sorted(added, key=now.get)
    assert min(now[user] for user in added) > max(was.values())
    assert [shown[user] for user in by_row] == sorted((shown[u] for u in added), reverse=True)
    expected = [str(user) if str(user) in now else None for user in train]
    assert log.values(new, "train", "user") == expected


def test_buckets_scales_and_hashes_are_the_old_ones(both):
    _, old, new = both
    was, now = (json.loads((s.folder / "encoders.json").read_text()) for s in (old, new))
    for name in ("price", "speed", "embedding", "query", "user_x_hour"):
        assert now[name] == was[name]
    price = np.asarray(SplitReader(new, "train").everything().ids)[:, log.slots(new, "price")]
    assert (price == 8).mean() > 0.3  # three times as dear, so that the buckets are not even


def test_a_log_that_brings_nothing_new_has_the_old_encoders(both):
    folder, old, _ = both
    again = extended(folder, log.rows(), "shop", LATER, "again")
    files, before = log.everything(again.folder), log.everything(old.folder)
    same = [name for name in files if name.startswith(("vocabulary", "encoders", "logs-"))]
    assert len(same) > 8
    assert {name: files[name] for name in same} == {name: before[name] for name in same}
    assert again.notes["extends"]["ids"]["user"]["new_ids"] == 0


def test_longer_lists_have_more_slots_and_shorter_ones_no_fewer(tmp_path):
    text = LATER.replace("max_values: 3", "max_values: 9")
    frame = log.rows().with_columns(pl.col("seen", "seen_weights").list.head(2))
    old = log.prepared(tmp_path, frame, text.replace("later", "shop"))
    long = extended(tmp_path, later(), "shop", text)
    short = extended(tmp_path, frame, "later", text, "short")
    assert [s.schema.fields[2].slots for s in (old, long, short)] == [2, 4, 4]
    lacking = text.replace("column: viewed_action", "column: viewed_action, optional: true")
    log.prepared(tmp_path / "x", frame, lacking.replace("later", "shop"))
    grown = extended(tmp_path / "x", later().drop("viewed_action"), "shop", lacking)
    assert [f.slots for f in grown.schema.fields][-2:] == [4, 4]


def test_the_notes_have_the_chain(both):
    folder, old, new = both
    third = extended(folder, later(400, 2), "later", RANDOM, "third")
    chain = [(s.schema.name, s.fingerprint) for s in (new, old)]
    assert [(s["name"], s["fingerprint"]) for s in third.extends] == chain
    was, now = vocabulary(new, "item"), vocabulary(third, "item")
    assert {item: now[item] for item in was} == was


def test_another_set_to_extend_is_not_reused_in_silence(both, tmp_path):
    folder, old, new = both
    call = folder / "later.yaml", str(folder / "raw_later/*.parquet"), folder / "data"
    again = logs.prepare(*call, extend=str(old.folder.parent))
    assert again.fingerprint == new.fingerprint
    with pytest.raises(UserError, match=r"another set to extend: it was shop \(\w{12}\), is none"):
        logs.prepare(*call)
    other = log.prepared(tmp_path, later(), LATER.replace("later", "other"))
    with pytest.raises(UserError, match=r"was shop \(\w{12}\), is other \(\w{12}\)\. Give --repl"):
        logs.prepare(*call, extend=other.folder)


@pytest.mark.parametrize(
    ("text", "extend", "told"),
    [
        (RANDOM, "shopp", r"--extend=shopp: no prepared set is there; expected .*: .*shop"),
        (TEXT, "shop", "is where the new set would be; give the new one"),
        (LATER.replace("buckets: 8", "buckets: 9"), "shop", "fields.price.buckets was 8, is 9"),
        (LATER.replace("click:\n", "click: {label: order}\n"), "shop", "tasks.click.label was"),
        (LATER.replace("speed: {", "pace: {column: speed, "), "shop", 'speed.name was "speed"'),
    ],
)
def test_what_cannot_be_extended_is_told(both, text, extend, told):
    folder, _, _ = both
    schema = log.schema_file(folder, text, "wrong.yaml")
    with pytest.raises(UserError, match=told):
        logs.prepare(schema, str(folder / "raw/*.parquet"), folder / "data", extend=extend)


def test_rows_that_the_old_set_trains_on_are_told_where_they_are_in_test(both, capsys):
    """A run that starts from a run on it would be judged on what it has seen."""
    folder, _, _ = both

    def told(name, text, raw="raw"):
        schema = log.schema_file(folder, text.replace("later", name), f"{name}.yaml")
        source = str(folder / raw / "*.parquet")
        logs.prepare(schema, source, folder / "data", processes=1, extend="shop")
        shown = " ".join("".join(capsys.readouterr()).split())
        return "3 of 3 raw files are part of shop too, and rows that it trains on" in shown

    early = LATER + "split: {by: time, validation: 2026-03-03, test: 2026-03-05}\n"
    assert told("drawn", RANDOM)
    assert told("early", early)
    assert not told("same", LATER)
    assert not told("others", RANDOM, "raw_later")
