"""A set that extends another: known ids keep their rows, new ones follow, numbers stay."""

import concurrent.futures
import json

import numpy as np
import polars as pl
import pytest
from extended_logs import LATER, extended, first, later, vocabulary
from shop_log import everything, prepared, schema_file, small_pieces

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.preparation import catalog
from dtn_jax.errors import UserError
from dtn_jax.input.reader import SplitReader

FRAME = later()
BY_COLUMN = LATER.replace("by: random, validation: 0.2", "by: column, column: part")


def parted(frame):
    """Every tenth row is validation, every eleventh test."""
    place = pl.int_range(pl.len())
    part = pl.when(place % 10 == 0).then(pl.lit("validation"))
    return frame.with_columns(
        part=part.when(place % 11 == 0).then(pl.lit("test")).otherwise(pl.lit("train"))
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The first set and the one that extends it, in one `data_dir`."""
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        old = prepared(folder, first())
        return folder, old, extended(folder, parted(FRAME), "shop", BY_COLUMN)


def train():
    return parted(FRAME).filter(pl.col("part") == "train")


def test_known_ids_keep_their_rows_and_new_ones_come_after_them(both):
    _, old, new = both
    (was, _), (now, counts) = vocabulary(old, "user"), vocabulary(new, "user")
    assert {user: now[user] for user in was} == was  # fallen out ones too
    shown = {str(user): n for user, n in train()["user"].value_counts().iter_rows()}
    added = {user for user, n in shown.items() if n >= 2} - set(was)
    assert added
    assert set(was) - set(shown)
    assert set(now) == set(was) | added
    assert sorted(now.values()) == list(range(1, 1 + len(now)))
    by_row = sorted(added, key=now.get)
    assert [shown[user] for user in by_row] == sorted((shown[u] for u in added), reverse=True)
    assert counts == {user: shown.get(user, 0) for user in now}


def test_rows_are_encoded_by_these_ids(both):
    _, _, new = both
    known, _ = vocabulary(new, "user")
    expected = [known.get(str(user), 0) for user in train()["user"]]
    np.testing.assert_array_equal(SplitReader(new, "train").everything().ids[:, 0], expected)


def test_buckets_scales_and_hashes_are_the_old_ones(both):
    _, old, new = both
    was, now = (json.loads((s.folder / "encoders.json").read_text()) for s in (old, new))
    for name in ("price", "speed", "embedding", "query", "user_x_hour"):
        assert now[name] == was[name]
    price = SplitReader(new, "train").everything().ids[:, 1 + 1 + 3 + 1]
    assert (price == 8).mean() > 0.3  # three times as dear, so that the buckets are not even


def test_a_log_that_brings_nothing_new_has_the_old_encoders(both, monkeypatch):
    small_pieces(monkeypatch)
    folder, old, _ = both
    text = LATER[: LATER.index("split:")].replace("later", "again")
    again = extended(folder, first(), "shop", text, "again")
    files = everything(again.folder)
    same = [name for name in files if name.startswith(("vocabulary", "encoders", "logs-"))]
    assert len(same) > 8
    assert {name: files[name] for name in same} == {
        name: content for name, content in everything(old.folder).items() if name in same
    }
    assert again.notes["extends"]["ids"]["user"]["new_ids"] == 0


def test_longer_lists_have_more_slots_and_shorter_ones_no_fewer(both, tmp_path):
    text = LATER.replace("max_values: 3", "max_values: 9")
    frame = first().with_columns(pl.col("seen", "seen_weights").list.head(2))
    old = prepared(tmp_path, frame, text.replace("later", "shop"))
    long = extended(tmp_path, FRAME, "shop", text, "later")
    short = extended(tmp_path, frame, "later", text.replace("later", "short"), "short")
    slots = [s.schema.fields[2].slots for s in (old, long, short)]
    assert slots == [2, 4, 4]


@pytest.mark.parametrize("way", ["processes", "machines", "little memory"])
def test_it_has_the_same_bytes_however_it_is_made(both, tmp_path, monkeypatch, way):
    folder, old, new = both
    small_pieces(monkeypatch)
    monkeypatch.setattr("dtn_jax.datasets.logs.work.machines.WAIT_SECONDS", 0.02)
    monkeypatch.setattr("dtn_jax.datasets.logs.work.team.SMALL_ROWS", 0)
    if way == "little memory":
        monkeypatch.setattr("dtn_jax.datasets.logs.fit.fit_unit.ENTRY", 10_000_000)
        monkeypatch.setattr("dtn_jax.datasets.logs.fit.merge.ENTRY", 100_000_000)
    call = (
        schema_file(tmp_path, BY_COLUMN, "later.yaml"),
        str(folder / "raw_later" / "*.parquet"),
        tmp_path,
    )
    machines, processes = (3, 1) if way == "machines" else (1, 3)
    given = {"processes": processes, "extend": old.folder}
    with concurrent.futures.ThreadPoolExecutor(machines) as threads:
        done = [
            threads.submit(logs.prepare, *call, machine=(place, machines), **given)
            for place in range(machines)
        ]
        assert len({future.result().fingerprint for future in done}) == 1
    assert everything(tmp_path / "logs" / "later") == everything(new.folder.parent)


def test_the_notes_have_the_chain(both):
    folder, old, new = both
    third = extended(folder, later(400, 2), "later", LATER.replace("later", "third"), "third")
    chain = [(s.schema.name, s.fingerprint) for s in (new, old)]
    assert [(s["name"], s["fingerprint"]) for s in third.extends] == chain
    was, now = vocabulary(new, "item")[0], vocabulary(third, "item")[0]
    assert {item: now[item] for item in was} == was


def test_another_set_to_extend_is_not_reused_in_silence(both, tmp_path):
    folder, old, new = both
    source = str(folder / "raw_later" / "*.parquet")
    call = folder / "later.yaml", source, folder / "data"
    again = logs.prepare(*call, extend=str(old.folder.parent))
    assert again.fingerprint == new.fingerprint
    with pytest.raises(UserError, match=r"another set to extend: it was shop \(\w{12}\), is none"):
        logs.prepare(*call)
    other = prepared(tmp_path, FRAME, BY_COLUMN.split("split")[0].replace("later", "other"))
    with pytest.raises(UserError, match=r"was shop \(\w{12}\), is other \(\w{12}\)\. Give --repl"):
        logs.prepare(*call, extend=other.folder)


@pytest.mark.parametrize(
    ("text", "extend", "told"),
    [
        (LATER, "shopp", r"--extend=shopp: no prepared set is there; expected .*: .*shop"),
        (LATER.replace("later", "shop"), "shop", "is where the new set would be. Give the new one"),
        (LATER.replace("buckets: 8", "buckets: 9"), "shop", "fields.price.buckets was 8, is 9"),
        (LATER.replace("click:\n", "click: {label: order}\n"), "shop", "tasks.click.label was"),
        (LATER.replace("speed: {", "pace: {column: speed, "), "shop", "fields.speed was removed"),
    ],
)
def test_what_cannot_be_extended_is_told(both, text, extend, told):
    folder, _, _ = both
    schema = schema_file(folder, text, "wrong.yaml")
    told = f"cannot extend .*: {told}" if " was" in told else told
    with pytest.raises(UserError, match=told):
        logs.prepare(schema, str(folder / "raw" / "*.parquet"), folder / "data", extend=extend)


def test_a_set_without_a_schema_file_cannot_be_extended(both, tmp_path):
    folder, _, _ = both
    own = catalog.load("synthetic", "rows=1000", str(tmp_path)).folder
    with pytest.raises(UserError, match="was not prepared from a schema file"):
        logs.prepare(folder / "later.yaml", FRAME, tmp_path, extend=own)


def test_a_companion_whose_column_the_later_log_lacks_grows_with_its_history(tmp_path):
    beside = "  act: {beside: viewed, optional: true}\n"
    fields = "  item:\n  viewed: {kind: sequence, target: item}\n" + beside
    text = f"name: old\nfields:\n{fields}tasks: [click]\nsplit: {{by: random}}\n"

    def log(longest):
        lists = [["i1"] * (n % (longest + 1)) for n in range(300)]
        return pl.DataFrame({"item": "i1", "viewed": lists, "click": [0, 1] * 150})

    prepared(tmp_path, log(3).with_columns(act="viewed"), text)
    new = extended(tmp_path, log(6), "old", text.replace("old", "later"))
    assert {f.name: f.slots for f in new.schema.fields} == {"item": 1, "viewed": 6, "act": 6}


def test_rows_that_the_old_set_trains_on_are_told_where_they_are_in_test(both, capsys):
    """A run that starts from a run on it would be judged on what it has seen."""
    folder, _, _ = both

    def told(name, text, raw="raw"):
        schema = schema_file(folder, text.replace("name: later", f"name: {name}"), f"{name}.yaml")
        source = str(folder / raw / "*.parquet")
        logs.prepare(schema, source, folder / "data", processes=1, extend="shop")
        shown = " ".join("".join(capsys.readouterr()).split())
        return "3 of 3 raw files are part of shop too, and rows that it trains on" in shown

    by_time = LATER[: LATER.index("split:")]
    early = by_time + "split: {by: time, validation: 2026-03-03, test: 2026-03-05}\n"
    assert told("drawn", LATER)
    assert told("early", early)
    assert not told("same", by_time)
    assert not told("others", LATER, "raw_later")
