"""`prepare` called again: a finished set is kept, one of something else is told, one that was
interrupted is made as if nothing had happened; a set that extends another keeps its rows."""

import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.cli import prepare as command
from dtn_jax.data import prepare as logs
from dtn_jax.data import progress
from dtn_jax.data import vocabulary as vocabularies
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepare import prepare
from dtn_jax.data.raw import read as raw_read
from dtn_jax.data.sets import catalog
from dtn_jax.data.sets import logs as logs_builder
from dtn_jax.data.stages import histories, records
from dtn_jax.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(prepared_dir):
    """(set, its folder, the call that made it)."""
    _, made, folder = log.shared(prepared_dir)
    return made, folder, (folder / "shop.yaml", str(folder / "raw/*.parquet"), folder / "data")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """(set, a copy of its folder) of the same log in another place."""
    folder, kept = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("kept") / "kept"
    made = log.prepared(folder, log.rows())
    return made, shutil.copytree(folder, kept)


@pytest.fixture
def copied(other):
    """(folder of the set, the call that made it), which a test may spoil."""
    made, kept = other
    folder = made.folder.parents[3]
    yield made.folder, (folder / "shop.yaml", str(folder / "raw/*.parquet"), folder / "data")
    shutil.rmtree(folder)
    shutil.copytree(kept, folder)


def by_training(schema, data_dir):
    return catalog.load("logs", f"schema={schema}", str(data_dir))


CHANGES = [  # of the schema file, and how it is told
    ("user: {min_count: 2}", "user: {min_count: 3}", "fields.user.min_count was 2, is 3"),
    ("user: {min_count: 2}", "user: {encoder: hash, size: 9}", 'user.encoder was "vocabulary"'),
    ("buckets: 8", "buckets: 9", "fields.price.buckets was 8, is 9"),
    ("max_values: 3", "max_values: 3, pooling: mean", 'fields.seen.pooling was "sum", is "mean"'),
    ("value: hour(t)", "value: weekday(t)", 'hour.value was "hour(t)", is "weekday(t)"'),
    ("  user: {", "  part: {column: query}\n  user: {", 'fields.part.name was absent, is "part"'),
    ("known: click == 1", "known: click", "tasks.watch.known was"),
    ("{upstream: [click], ", "{", 'tasks.order.upstream was ["click"], is []'),
    ("kind: regression,", "kind: regression, range: [0, 9],", "tasks.watch.least was"),
    ("time: t\n", "time: t\nsplit: {by: random}\n", 'split.by was "time", is "random"'),
    ("weight: w\n", "", 'weight was "w", is ""'),
    (
        "weight: w\n",
        "weight: w\nsample_negatives: {click: 0.5}\n",
        "click was absent, is 0.5",
    ),
    ("weight: w\n", "weight: w\ninput: {format: parquet}\n", 'input.format was ""'),
]


def test_another_schema_file_is_told_with_what_changed(shop, tmp_path):
    made, _, (_, raw, data) = shop
    before = log.everything(made.folder)
    for old, new, told in CHANGES:
        assert log.SCHEMA.count(old) == 1, old
        schema = log.schema_file(tmp_path, log.SCHEMA.replace(old, new))
        start = f"{made.folder} was prepared from another schema file than {schema} is now: "
        for call in (
            lambda schema=schema: prepare(schema, raw, data, processes=1),
            lambda schema=schema: by_training(schema, data),
        ):
            with pytest.raises(UserError, match=f"{re.escape(start)}.*--replace") as error:
                call()
            assert told in str(error.value)
    schema = log.schema_file(tmp_path, log.without("seen", "hour", "price", "speed", "user_x_hour"))
    with pytest.raises(UserError, match=r"; and [0-9]+ more"):
        prepare(schema, raw, data, processes=1)
    assert log.everything(made.folder) == before


def test_what_means_the_same_is_used(shop, tmp_path):
    """What does is in test_schema_file.py."""
    made, _, (_, raw, data) = shop
    text = log.SCHEMA.replace("time: t", "# a comment\ntime:   t") + "about: {citation: someone}\n"
    schema = log.schema_file(tmp_path, text)
    assert prepare(schema, raw, data, processes=1).fingerprint == made.fingerprint
    assert by_training(schema, data).fingerprint == made.fingerprint


def edited(raw):
    data = bytearray(raw.read_bytes())
    data[40] ^= 1
    raw.write_bytes(data)


RAW = {  # what becomes of a raw file; how it is told, and how by training, which knows that file
    "part-000.parquet": (lambda raw: raw.write_bytes(raw.read_bytes() + b" "), "was [0-9,]+ bytes"),
    "part-001.parquet": (edited, "has the same size, but its content differs"),
    "part-003.parquet": (
        lambda raw: shutil.copy(raw.with_name("part-000.parquet"), raw),
        "was absent, is [0-9,]+ bytes",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_other_raw_files_are_told(name, copied):
    target, call = copied
    way, told = RAW[name]
    way(pathlib.Path(call[1]).with_name(name))
    before = log.everything(target)
    with pytest.raises(UserError, match=rf"other raw files: .*{name} {told}.*--replace"):
        prepare(*call, processes=1)
    if name == "part-003.parquet":
        assert by_training(call[0], call[2]).folder == target
    else:
        with pytest.raises(UserError, match=rf"other raw files: .*{name} {told}.*--replace"):
            by_training(call[0], call[2])
    assert log.everything(target) == before


def test_another_plugin_and_other_rules_are_told(copied, monkeypatch):
    _, call = copied
    with pytest.raises(UserError, match=r"same schema file with another plug-in.*--replace"):
        prepare(*call, processes=1, source="b" * 64)
    with monkeypatch.context() as patch:
        patch.setattr(logs_builder.Logs, "SOURCE", "b" * 64)
        with pytest.raises(UserError, match=r"same schema file with another plug-in.*--replace"):
            by_training(call[0], call[2])
    monkeypatch.setattr("dtn_jax.data.stages.provenance.RULES", 0)
    with pytest.raises(UserError, match=r"by the rules of another version of dtn_jax.*--replace"):
        prepare(*call, processes=1)


def test_a_damaged_set_is_told(copied):
    """How is in test_data_sets.py."""
    target, call = copied
    path = target / "vocabulary/item.values.arrow"
    path.write_bytes(path.read_bytes()[:-1])
    for do in (lambda: prepare(*call, processes=1), lambda: by_training(call[0], call[2])):
        with pytest.raises(UserError, match=rf"{re.escape(str(path))} .*[\d,]+ bytes.*delete"):
            do()


# --- the same bytes ------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch):
    """A small log is cut into as many pieces as a large one is."""
    monkeypatch.setattr(raw_read, "UNIT_ROWS", 200)
    monkeypatch.setattr(records, "LEAST_ROWS", 300)


def test_any_number_of_cores_makes_the_same_bytes(shop, tmp_path, monkeypatch, small_pieces):
    _, _, (schema, raw, _) = shop
    one = prepare(schema, raw, tmp_path / "1", processes=1)
    monkeypatch.setattr(histories, "READ", 90)
    for cores in (2, 8):
        prepare(schema, raw, tmp_path / f"{cores}", processes=cores)
        home = tmp_path / f"{cores}/logs/shop"
        assert [path.name for path in home.iterdir()] == ["1.0.0"]
        assert log.everything(home) == log.everything(one.folder.parent)


class Killed(BaseException):
    """Ends a call as a signal does."""


def test_a_call_that_ended_is_simply_made_again(copied, monkeypatch):
    """No finished set is harmed by it, and nothing is left of it."""
    target, call = copied
    before = log.everything(target)
    log.schema_file(call[0].parent, log.SCHEMA.replace("buckets: 8", "buckets: 9"))
    for error, told in (
        (Killed(), None),
        (RuntimeError("write() failed: No space left on device"), "No space left on device"),
    ):
        writer = Mock()
        writer().write.side_effect = [None] * 3 + [error] * 99
        with monkeypatch.context() as patch:
            patch.setattr("dtn_jax.data.stages.records.ArrayRecordWriter", writer)
            with pytest.raises(UserError if told else Killed, match=told):
                prepare(*call, processes=1, replace=True)
        assert log.everything(target) == before
    again = prepare(*call, processes=1, replace=True)
    fresh = prepare(call[0], call[1], call[2].with_name("fresh"), processes=1)
    assert log.everything(again.folder) == log.everything(fresh.folder)
    assert {path.name for path in target.parent.iterdir()} == {"1.0.0", "replaced"}
    assert log.everything(target.parent / "replaced/1.0.0") == before


def while_preparing(monkeypatch, do):
    """Calls `do` once the log is being read: when the first line is shown that says so."""
    say = progress.say

    def said(line):
        say(line)
        if line.startswith("split by time"):
            monkeypatch.setattr(progress, "say", say)
            do()

    monkeypatch.setattr(progress, "say", said)


@pytest.mark.parametrize("way", [pathlib.Path.unlink, edited, "another call"])
def test_what_changes_while_a_log_is_prepared_is_told(way, shop, tmp_path, monkeypatch):
    _, folder, (schema, _, _) = shop
    shutil.copytree(folder / "raw", tmp_path / "raw")
    raw = tmp_path / "raw/part-001.parquet"
    call = (schema, str(tmp_path / "raw/*.parquet"), tmp_path)
    if way == "another call":
        while_preparing(monkeypatch, lambda: prepare(*call, processes=1))
        told = r"another process is preparing shop in"
    else:
        while_preparing(monkeypatch, lambda: way(raw))
        told = f"{raw}.*(No such file|cannot be read|has changed while)"
    with pytest.raises(UserError, match=told):
        prepare(*call, processes=1)
    assert not (tmp_path / "logs/shop/1.0.0").exists()


# --- the command ---------------------------------------------------------------------------------


def arguments(call, *more):
    return [f"--schema={call[0]}", f"--input={call[1]}", f"--data_dir={call[2]}", *more]


def test_the_command_prepares_and_shows(shop, tmp_path, capsys):
    made, folder, (schema, raw, _) = shop
    command.main(arguments((schema, raw, tmp_path), "--processes=1"))
    shown = capsys.readouterr().out
    assert f"In {tmp_path}/logs/shop/1.0.0" in shown
    assert "Fields of shop" in shown
    assert "split by time: validation from 2026-03-09, test from 2026-03-10" in shown
    assert log.everything(tmp_path / "logs/shop") == log.everything(made.folder.parent)
    for given in (
        [f"--schema={schema}"],
        ["--dataset=logs", f"--options=schema={schema}"],
    ):  # without its files
        command.main([*given, f"--data_dir={folder}/data"])
        shown = capsys.readouterr().out
        assert "Fields of shop" in shown
        assert made.fingerprint[:16] in shown


def written(folder) -> int:
    """How many files and folders are in it, while a command writes and removes some."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))


@pytest.mark.slow
def test_a_command_that_is_killed_at_random_makes_the_same_bytes(shop, tmp_path):
    made, _, (schema, raw, _) = shop
    call = [sys.executable, "-m", "experiments.prepare", *arguments((schema, raw, tmp_path))]
    settings = dict(os.environ, PYTHONPATH=str(ROOT))
    draw, kills = random.Random(0), 0
    for _ in range(20):
        enough = written(tmp_path) + draw.randint(1, 8)  # between any two steps
        running = subprocess.Popen(call, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL)
        while running.poll() is None:
            if kills < 3 and written(tmp_path) >= enough:
                running.send_signal(signal.SIGKILL)
                kills += 1
            time.sleep(0.005)
        if running.returncode != -signal.SIGKILL:
            assert running.returncode == 0
            if kills >= 3:
                break
            shutil.rmtree(tmp_path / "logs")  # it ended before it could be killed: once more
    assert kills >= 3
    assert log.everything(tmp_path / "logs/shop") == log.everything(made.folder.parent)


# A set that extends another: known ids keep their rows, new ones follow, numbers stay.


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
    """Also where a log lacks the column of what stands beside a list."""
    text = LATER.replace("max_values: 3", "max_values: 9")
    text = text.replace("column: viewed_action", "column: viewed_action, optional: true")
    frame = log.rows().with_columns(pl.col("seen", "seen_weights").list.head(2))
    old = log.prepared(tmp_path, frame, text.replace("later", "shop"))
    long = extended(tmp_path, later().drop("viewed_action"), "shop", text)
    short = extended(tmp_path, frame, "later", text, "short")
    assert [s.schema.fields[2].slots for s in (old, long, short)] == [2, 4, 4]
    assert [f.slots for f in long.schema.fields][-2:] == [4, 4]


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
