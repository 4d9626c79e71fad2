"""A prepared set is never used in silence where what it was made from has changed."""

import json
import os
import re

import pytest
from damaged_logs import FLAT, SCHEMA, everything, frame, schema_file, small_pieces, write

from dtn_jax.datasets.logs import builder as logs_builder
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.errors import UserError

CHANGES = [  # of the schema file, and how it is told
    ("{min_count: 2}", "{min_count: 3}", "fields.item.min_count was 2, is 3"),
    ("{min_count: 2}", "{unknown: [a]}", 'fields.item.unknown was [], is ["a"]'),
    ("{min_count: 2}", "{encoder: hash, size: 9}", 'fields.item.encoder was "vocabulary"'),
    ("{min_count: 2}", "{min_count: 2, table: things}", 'fields.item.table was "item"'),
    ("price: {kind: numeric}", "price: {kind: numeric, log: true}", "fields.price.log was false"),
    ("price: {kind: numeric}", "price: {kind: numeric, buckets: 9}", "fields.price.buckets was 32"),
    ("longest: 4", "longest: 5", "fields.tags.longest was 4, is 5"),
    ("longest: 4", "max_values: 2, longest: 4", "fields.tags.max_values was 50, is 2"),
    ("longest: 4", "longest: 4, pooling: mean", 'fields.tags.pooling was "sum", is "mean"'),
    ("hour(t)", "weekday(t)", 'fields.hour.value was "hour(t)", is "weekday(t)"'),
    ("  hour: {value: hour(t)}\n", "", "fields.hour was removed"),
    ("  user:\n", "  user:\n  part:\n", "fields.part was added"),
    (
        "  user:\n  item: {min_count: 2}\n",
        "  item: {min_count: 2}\n  user:\n",
        "the order of fields",
    ),
    ("known: click == 1", "known: click", "tasks.order.known was"),
    (", known: click == 1", "", "tasks.order.known was"),
    ("space: click, ", "", 'tasks.order.space was "click", is "all"'),
    ("upstream: [click], ", "", 'tasks.order.upstream was ["click"], is []'),
    ("range: [0, 100]", "range: [0, 60]", "tasks.watch.most was 100.0, is 60.0"),
    ("  click:\n", "  click: {label: watch > 9}\n", 'tasks.click.label was "click"'),
    ("time: t\n", "time: t\nsplit: {by: random}\n", 'split.by was "time", is "random"'),
    ("time: t\n", "time: t\nsplit: {by: time, test: 0.2}\n", "split.test was 0.1, is 0.2"),
    ("group: user\n", "", 'group was "user", is ""'),
    ("weight: w\n", "", 'weight was "w", is ""'),
    (
        "weight: w\n",
        "sample_negatives: {click: 0.5}\nweight: w\n",
        "sample_negatives.click was added",
    ),
    ("weight: w\n", "weight: w\ninput: {format: parquet}\n", 'input.format was ""'),
]
SAME = [
    ("time: t", "# a comment\ntime:   t  # and one more"),
    ("hour(t)", "hour( t )"),
    ("group: user\nweight: w\n", "weight: w\ngroup: user\n"),
    ("weight: w\n", "weight: w\nabout: {citation: someone}\n"),
    ("{min_count: 2}", "{min_count: 2, encoder: vocabulary}"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch)
        return make(folder)


def make(folder, source=""):
    """(folder, raw file, set) of a prepared log."""
    raw = write(folder / "raw.parquet")
    made = prepare(schema_file(folder), str(raw), folder, processes=1, source=source)
    return folder, raw, made


def by_training(schema, folder):
    return catalog.load("logs", f"schema={schema}", str(folder))


@pytest.mark.parametrize(("old", "new", "told"), CHANGES, ids=[c[2] for c in CHANGES])
def test_another_schema_file_is_told_with_what_changed(old, new, told, shop, tmp_path):
    folder, raw, made = shop
    assert old in SCHEMA
    schema = schema_file(tmp_path, SCHEMA.replace(old, new, 1))
    before = everything(made.folder)
    with pytest.raises(UserError) as error:
        prepare(schema, str(raw), folder, processes=1)
    assert f"{made.folder} was prepared from another schema file than {schema} is" in str(
        error.value
    )
    assert told in str(error.value)
    assert "--replace" in str(error.value)
    with pytest.raises(UserError) as error:
        by_training(schema, folder)
    assert told in str(error.value)
    assert "experiments.prepare --schema=" in str(error.value)
    assert everything(made.folder) == before


@pytest.mark.parametrize(("old", "new"), SAME)
def test_what_means_the_same_is_used(old, new, shop, tmp_path):
    folder, raw, made = shop
    assert old in SCHEMA
    schema = schema_file(tmp_path, SCHEMA.replace(old, new, 1))
    before = everything(made.folder)
    assert prepare(schema, str(raw), folder, processes=1).fingerprint == made.fingerprint
    assert by_training(schema, folder).fingerprint == made.fingerprint
    assert everything(made.folder) == before


def test_many_changes_are_counted(shop, tmp_path):
    folder, raw, _ = shop
    with pytest.raises(UserError, match=r"; and [0-9]+ more"):
        prepare(schema_file(tmp_path, FLAT), str(raw), folder, processes=1)


def grown(raw):
    raw.write_bytes(raw.read_bytes() + b" ")


def edited(raw):
    data = bytearray(raw.read_bytes())
    data[40] ^= 1
    raw.write_bytes(data)


def beside(raw):
    write(raw.with_name("raw2.parquet"), frame(rows=50))


RAW = {
    "grown": (grown, r"raw.parquet was [\d,]+ bytes, is [\d,]+ bytes"),
    "edited": (edited, "raw.parquet has the same size, but its first or last bytes differ"),
    "one more": (beside, r"raw2.parquet was absent, is [\d,]+ bytes"),
    "renamed": (
        lambda raw: raw.rename(raw.with_name("b.parquet")),
        "b.parquet was absent|is absent",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_other_raw_files_are_told(name, tmp_path):
    folder, raw, made = make(tmp_path)
    way, told = RAW[name]
    way(raw)
    before = everything(made.folder)
    with pytest.raises(UserError, match=rf"other raw files: .*({told}).*--replace"):
        prepare(schema_file(folder), str(folder / "*.parquet"), folder, processes=1)
    if name in ("grown", "edited"):
        change = "was" if name == "grown" else "has the same size"
        with pytest.raises(UserError, match=rf"{raw}: it {change}.*--replace"):
            by_training(folder / "shop.yaml", folder)
    else:  # training knows the files that the set was made from, and these may be gone
        assert by_training(folder / "shop.yaml", folder).fingerprint == made.fingerprint
    assert everything(made.folder) == before


def test_another_plugin_is_told(tmp_path, monkeypatch):
    folder, raw, made = make(tmp_path, source="a" * 64)
    given = (folder / "shop.yaml", str(raw), folder)
    assert prepare(*given, processes=1, source="a" * 64).fingerprint == made.fingerprint
    with pytest.raises(UserError, match=r"same schema file with another plug-in.*--replace"):
        prepare(*given, processes=1, source="b" * 64)
    monkeypatch.setattr(logs_builder.Logs, "SOURCE", "b" * 64)
    with pytest.raises(UserError, match=r"same schema file with another plug-in.*--replace"):
        by_training(folder / "shop.yaml", folder)


def test_other_rules_are_told(tmp_path, monkeypatch):
    folder, raw, _ = make(tmp_path)
    monkeypatch.setattr("dtn_jax.datasets.logs.work.provenance.RULES", 0)
    with pytest.raises(UserError, match=r"by the rules of another version of dtn_jax.*--replace"):
        prepare(folder / "shop.yaml", str(raw), folder, processes=1)


def test_replace_prepares_anew_and_keeps_the_old_set(tmp_path):
    folder, raw, made = make(tmp_path)
    before = everything(made.folder)
    schema = schema_file(folder, SCHEMA.replace("min_count: 2", "min_count: 40"))
    again = prepare(schema, str(raw), folder, processes=1, replace=True)
    assert again.fingerprint != made.fingerprint
    assert everything(made.folder.parent / "replaced/1.0.0") == before


DAMAGED = [
    ("prepared.json", lambda text: text[:50]),
    ("prepared.json", lambda text: "[]"),
    ("prepared.json", lambda text: json.dumps(json.loads(text) | {"files": []})),
    ("prepared.json", lambda text: json.dumps(json.loads(text) | {"rows": 7})),
    ("prepared.json", lambda text: json.dumps(json.loads(text) | {"layout": {}})),
    ("schema.json", lambda text: text[: len(text) // 2]),
    ("notes.json", lambda text: ""),
    ("dataset_info.json", lambda text: "{"),
    ("features.json", None),
    ("encoders.json", None),
    ("schema_file.yaml", None),
    ("schema_file.yaml", lambda text: text[:20]),
    ("prepared.json", lambda text: text.replace('"train": ', '"train": 1', 1)),
    ("schema.json", lambda text: text.replace("click", "clock")),
    ("encoders.json", lambda text: text.replace("1", "2", 1)),
    ("schema_file.yaml", lambda text: text.replace("min_count: 2", "min_count: 3")),
    ("vocabulary/user.arrow", None),
    ("vocabulary/item.values.arrow", b""),
    ("logs-train.array_record-00000-of-00001", b"short"),
    ("logs-test.array_record-00000-of-00001", None),
]


@pytest.mark.parametrize(("name", "way"), DAMAGED)
def test_a_damaged_set_is_told(name, way, tmp_path):
    folder, raw, made = make(tmp_path)
    path = made.folder / name
    before = path.read_bytes()
    if way is None:
        os.unlink(path)
    elif isinstance(way, bytes):
        path.write_bytes(way)
    else:
        path.write_text(way(path.read_text()))
    assert not path.exists() or path.read_bytes() != before
    told = rf"{re.escape(str(path))} (is missing|has [\d,]+ bytes|has changed)"
    told += f".*delete {made.folder} to prepare"
    for call in (
        lambda: prepare(folder / "shop.yaml", str(raw), folder, processes=1),
        lambda: by_training(folder / "shop.yaml", folder),
        lambda: read(made.folder),
    ):
        with pytest.raises(UserError, match=told):
            call()
