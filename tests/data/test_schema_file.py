"""What a good schema file says, however it is written, and when two say the same."""

import json
import pathlib
import re

import pytest
import yaml
from schema_files import SMALL, WHOLE, spoiled

from dtn_jax.data.schemas import key_models as keys
from dtn_jax.data.schemas.schema_file import fingerprint, loads
from dtn_jax.data.schemas.spec import InputSpec, SplitSpec
from dtn_jax.export.encoding import spec_json


def test_every_key():
    golden = pathlib.Path(__file__).parent / "golden" / "whole_schema.json"
    assert json.loads(spec_json(loads(WHOLE, "other.yaml"))) == json.loads(golden.read_text())


def test_the_help_lists_every_key():
    for section, block in zip(keys.SECTIONS, keys.help_text().split("\n\n")):
        listed = re.findall(r"^  (\w+) +\S.*: \S", block, re.MULTILINE)
        assert sorted(listed) == sorted(section.model_fields), section


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


def test_lists_of_names_and_anchors():
    """A tag means nothing: what it names is not built."""
    spec = loads("fields: [user, item]\ntasks: !!python/object:os.system\n- &a click\n- order\n")
    assert [(f.name, f.line) for f in spec.fields] == [("user", 1), ("item", 1)]
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


def test_numbers_and_truths():
    for text in ("1000", "1e3", "1_000", "1000.0", '"1000"'):
        spec = loads(spoiled(field=f"x: {{encoder: hash, size: {text}}}"))
        assert spec.fields[2].size == 1000
    for word, value in (("true", True), ("False", False), ("yes", True)):
        assert loads(spoiled(field=f"x: {{kind: numeric, log: {word}}}")).fields[2].log is value


COLUMN = "split: {by: column, column: c, "
FOLDS = {"train": ("1", "2"), "validation": ("3",), "test": ("4",)}
SPLITS = [
    ("split: random", {"by": "random"}),
    ("split: {by: group, seed: 3}\ngroup: u", {"by": "group", "seed": 3}),
    ("split: {by: user_order, test: 2}\ngroup: u\ntime: t", {"by": "user_order", "test": 2.0}),
    ("split: {validation: 1, test: 2}\ntime: t", {"by": "time", "validation": "1", "test": "2"}),
    (COLUMN + "values: {train: [1, 2], validation: 3, test: 4}}", {"values": FOLDS}),
    (COLUMN + "validation: 0.2}", {"values": {"train": ("train",), "test": ("test",)}}),
    (COLUMN + "validation: 0.2}", {"by": "column", "validation": 0.2}),
]


@pytest.mark.parametrize(("more", "expected"), SPLITS)
def test_splits(more, expected):
    found = loads(spoiled(more=more)).split
    assert {key: getattr(found, key) for key in expected} == expected


def test_null_is_as_good_as_nothing():
    spec = loads(spoiled(field="x: {table: null, encoder: ~}", more="weight: null"))
    assert (spec.fields[2].table, spec.fields[2].encoder, spec.weight) == ("x", "vocabulary", "")


def test_the_group_and_the_time_may_be_fields():
    spec = loads(spoiled(field="hour: {value: hour(t)}", more="group: user\ntime: t"))
    assert (spec.group, spec.fields[2].value.time) == ("user", "t")


def print_of(text, path="shop.yaml"):
    return fingerprint(loads(text, path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fields:\n", "# a comment\n\nfields:\n"),
        ("buckets: 64}", "buckets: 64, min_count: null}"),
        ("column: item_id, table: item", "table: item, column: item_id"),
        ("watch_seconds > 30", "'(watch_seconds)>30'"),
        ("table: item, min_count: 2, unknown", "kind: categorical, min_count: 2, unknown"),
        ("Someone 2026", "Someone else 2026"),
        ("log: true", "log: yes"),
        ("max_values: 20", "max_values: 20, keep: first"),
        ("positives_outside: 0.05", "positives_outside: 0.5"),
        ("role: scenario", "role: prior"),
    ],
)
def test_the_same_meaning(old, new):
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) == print_of(WHOLE, "elsewhere/shop.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("watch_seconds > 30", "watch_seconds >= 30"),
        ("2026-03-08 12:00", "2026-03-09"),
        ("click: 0.1", "click: 0.2"),
        ("unit: ms", "unit: us"),
        ("max_values: 20", "max_values: 20, keep: last"),
        ("[0, no, 12:30]", "[0, no]"),
        ('missing: ["NULL", null]', 'missing: ["NULL"]'),
        ("name: shop ", "name: store "),
    ],
)
def test_another_meaning(old, new):
    """More are in test_prepare_again.py."""
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) != print_of(WHOLE)


def test_the_order_of_fields_and_of_tasks_counts():
    text = "fields: [a, b]\ntasks: [c, d]\n"
    for names in (("[a, b]", "[b, a]"), ("[c, d]", "[d, c]")):
        assert print_of(text.replace(*names)) != print_of(text)


def test_it_does_not_change_between_versions():
    """A prepared set is made anew when it does: change this only for a reason."""
    small = "ab3db938205b220e97acb1b1189e2042fd239c3f27bdff97625a6ac06d49c4f7"
    assert (
        print_of(SMALL) == print_of(SMALL.replace("user: {}", "user: {optional: false}")) == small
    )
    assert print_of(SMALL.replace("user: {}", "user: {scored_as: 7}")) != small
    number = spoiled("x: {kind: numeric, encoder: standardise}")
    for more, stays in (("embedding: scaled", True), ("bins: 4", False)):
        other = number.replace("standardise}", f"standardise, {more}}}")
        assert (print_of(other) == print_of(number)) == stays
