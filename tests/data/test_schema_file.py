"""What a good schema file says, however it is written."""

import dataclasses
import json

import polars as pl
import pytest
import yaml
from schema_files import SMALL, WHOLE, spoiled

from dtn_jax.datasets.logs.formula.expression import of_column, parse
from dtn_jax.datasets.logs.schema import keys
from dtn_jax.datasets.logs.schema.schema_file import fingerprint, help_text, load, loads, timed
from dtn_jax.datasets.logs.schema.spec import FieldSpec, InputSpec, Spec, SplitSpec, TaskSpec


def test_every_key(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(WHOLE)
    words = {"encoder": "vocabulary", "min_count": 2}

    def value(text):
        return parse(text, "", "t", "ms")

    def field(line, name, column="", table="", **options):
        options.setdefault("value", of_column(column or name))
        return FieldSpec(name=name, line=line, table=table or name, **options)

    assert load(path) == Spec(
        name="shop",
        fields=(
            field(3, "user_id", **words),
            field(4, "item", "item_id", unknown=("0", "no", "12:30"), **words),
            field(5, "hour", value=value("hour(t)"), encoder="vocabulary"),
            FieldSpec(
                name="seen",
                kind="bag",
                value=of_column("seen"),
                table="item",
                max_values=20,
                pooling="mean",
                weights="seen_weights",
                line=6,
                **words,
            ),
            field(7, "price", kind="numeric", encoder="buckets", log=True, buckets=64),
            field(8, "embedding", kind="vector", encoder="standardise", length=64),
            FieldSpec(
                name="user_x_item",
                cross=("user_id", "item"),
                encoder="hash",
                table="user_x_item",
                size=1_000_000,
                functions=2,
                line=9,
            ),
            field(10, "old-tags", kind="bag", encoder="hash", size=1000, longest=500),
        ),
        tasks=(
            TaskSpec(name="click", label=of_column("click"), positives_outside=0.05, line=12),
            TaskSpec(
                name="long_view",
                label=value("watch_seconds > 30"),
                upstream=("click",),
                also_report=("click",),
                line=13,
            ),
            TaskSpec(name="order", label=of_column("order"), space="click", line=14),
            TaskSpec(
                name="watch",
                kind="regression",
                label=value("log1p(watch_seconds)"),
                known=value("click == 1"),
                least=0,
                most=12,
                line=15,
            ),
        ),
        split=SplitSpec(by="time", validation="2026-03-05", test="2026-03-08 12:00", line=19),
        time="t",
        time_unit="ms",
        group="user_id",
        weight="w",
        sample_negatives={"click": 0.1},
        input=InputSpec(format="csv", separator="\t", columns=("a", "b"), missing=("NULL", "null")),
        about={"citation": "Someone 2026", "licence": "CC BY 4.0", "home": "https://example.org"},
        path=str(path),
    )


def test_every_attribute_has_a_key():
    """What a spec can hold, a file can say."""
    for owner, known, others in (
        (FieldSpec, keys.FIELD, {"line"}),
        (TaskSpec, keys.TASK, {"line", "least", "most"}),
        (SplitSpec, keys.SPLIT, {"line"}),
        (InputSpec, keys.INPUT, set()),
        (Spec, keys.FILE, {"path", "time_unit"}),
    ):
        attributes = {attribute.name for attribute in dataclasses.fields(owner)}
        assert attributes - set(known) == others, owner


def test_defaults():
    spec = loads(SMALL, "folder/my-shop.yaml")
    assert spec.name == "my-shop"
    assert spec.split == SplitSpec(by="random")
    assert (spec.time, spec.group, spec.weight, spec.time_unit) == ("", "", "", "")
    assert spec.input == InputSpec()
    assert loads(SMALL + "time: t\n").split == SplitSpec(by="time")


def test_json_says_the_same():
    values = yaml.safe_load(SMALL)
    for indent in (None, 1, "\t"):
        spec = loads(json.dumps(values, indent=indent), "shop.json")
        assert spec.fields[1].name == "item"
        assert fingerprint(spec) == fingerprint(loads(SMALL, "shop.yaml"))


def test_json_with_signs_beyond_16_bits_and_tabs():
    text = '{\t"fields":\n\t{"\\ud83d\\ude00": {}},\n\t"tasks": {"click": null}}'
    spec = loads(text, "shop.json")
    assert spec.fields[0].value.columns == ("😀",)
    assert spec.fields[0].line == 2


def test_lists_of_names_and_of_mappings():
    spec = loads("fields: [user, {name: item, min_count: 3}]\ntasks:\n- click\n- {name: order}\n")
    assert [(f.name, f.min_count) for f in spec.fields] == [("user", 1), ("item", 3)]
    assert [(t.name, t.line) for t in spec.tasks] == [("click", 3), ("order", 4)]


def test_words_that_yaml_makes_values_of_are_words():
    text = """\
fields:
  on: {column: off}
  1_000: {unknown: [1_000, 010, 0x1F, 1e3, 2026-03-05, 12:30, null, ~, true, .inf, "" ]}
  null: {}
tasks:
  no:
  y: {label: "`yes` > 3"}
group: "007"
"""
    spec = loads(text)
    assert [f.name for f in spec.fields] == ["on", "1_000", "null"]
    assert spec.fields[0].value.columns == ("off",)
    assert spec.fields[1].unknown == (
        *("1_000", "010", "0x1F", "1e3", "2026-03-05", "12:30"),
        *("null", "~", "true", ".inf", ""),
    )
    assert [t.name for t in spec.tasks] == ["no", "y"]
    assert spec.group == "007"


@pytest.mark.parametrize(
    ("text", "value"),
    [("1000", 1000), ("1e3", 1000), ("1_000", 1000), ("1000.0", 1000), ('"1000"', 1000), ("+7", 7)],
)
def test_numbers(text, value):
    spec = loads(spoiled(field=f"x: {{encoder: hash, size: {text}}}"))
    assert spec.fields[2].size == value


@pytest.mark.parametrize(("word", "value"), [("true", True), ("False", False), ("yes", True)])
def test_true_and_false(word, value):
    assert loads(spoiled(field=f"x: {{kind: numeric, log: {word}}}")).fields[2].log is value


def test_null_is_as_good_as_nothing():
    spec = loads(spoiled(field="x: {table: null, encoder: ~}", more="weight: null"))
    assert (spec.fields[2].table, spec.fields[2].encoder, spec.weight) == ("x", "vocabulary", "")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("split: random", SplitSpec(by="random", line=7)),
        ("split: {validation: 0.2}", SplitSpec(by="random", validation=0.2, line=7)),
        ("split: {by: group, seed: 3}\ngroup: u", SplitSpec(by="group", seed=3, line=7)),
        (
            "split: {by: user_order, validation: 1, test: 2}\ngroup: u\ntime: t",
            SplitSpec(by="user_order", validation=1.0, test=2.0, line=7),
        ),
        (
            "split: {validation: 100, test: 200}\ntime: t",
            SplitSpec(by="time", validation="100", test="200", line=7),
        ),
        (
            "split: {validation: 20260305, test: 20260308}\ntime: {column: t, unit: yyyymmdd}",
            SplitSpec(by="time", validation="20260305", test="20260308", line=7),
        ),
        (
            "split: {by: column, column: part, values: {train: [1, 2], validation: 3, test: 4}}",
            SplitSpec(
                by="column",
                column="part",
                values={"train": ("1", "2"), "validation": ("3",), "test": ("4",)},
                line=7,
            ),
        ),
        ("split: {by: column, column: part}", SplitSpec(by="column", column="part", line=7)),
        (
            "split: {by: column, column: part, validation: 0.2, seed: 3}",
            SplitSpec(
                by="column",
                column="part",
                validation=0.2,
                seed=3,
                values={"train": ("train",), "test": ("test",)},
                line=7,
            ),
        ),
    ],
)
def test_splits(more, expected):
    assert loads(spoiled(more=more)).split == expected


def test_the_group_and_the_time_may_be_fields():
    spec = loads(spoiled(field="hour: {value: hour(t)}", more="group: user\ntime: t"))
    assert (spec.group, spec.fields[2].value.time) == ("user", "t")


def test_a_label_may_be_a_time_after_the_rows():
    """`t` alone does not say when the order came."""
    task = "soon: {label: order_time - t < 3600}"
    loads(spoiled(field="hour: {value: hour(t)}", task=task, more="time: t"))


def test_the_time_unit_reaches_every_expression():
    text = spoiled(
        field="hour: {value: hour(t)}", task="late: {label: hour(t) > b}", more="time: t"
    )
    spec = timed(loads(text), "s")
    frame = pl.DataFrame({"t": [3 * 3600], "b": [2]})
    assert spec.time_unit == "s"
    assert spec.fields[2].value.over(frame).to_list() == [3]
    assert spec.tasks[2].label.over(frame).to_list() == [True]


def test_help_names_every_key_and_function():
    text = help_text()
    for section in keys.SECTIONS.values():
        for key in section:
            assert f"\n  {key:17s}" in text
    assert "\n  buckets          whole number" in text
    assert "default: 32" in text
    assert "\n  log1p " in text
