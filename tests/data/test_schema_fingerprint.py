"""A schema file's fingerprint: the same for the same meaning, another for another."""

import pytest
from schema_files import WHOLE

from dtn_jax.datasets.logs.schema.schema_file import fingerprint, loads


def print_of(text, path="shop.yaml"):
    return fingerprint(loads(text, path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("fields:\n", "# a comment\n\nfields:\n"),
        ("{min_count: 2}", "\n    min_count:    2   # twice"),
        ("size: 1e6", "size: 1000000"),
        ("buckets: 64}", "buckets: 64, min_count: null}"),
        ("column: item_id, table: item", "table: item, column: item_id"),
        ("watch_seconds > 30", "'(watch_seconds)>30'"),
        ("table: item, min_count: 2, unknown", "kind: categorical, min_count: 2, unknown"),
        ("Someone 2026", "Someone else 2026"),
        (
            "group: user_id\ntime: {column: t, unit: ms}",
            "time: {unit: ms, column: t}\ngroup: user_id",
        ),
        ("log: true", "log: yes"),
        ("max_values: 20", "max_values: 20, keep: first"),
        ("positives_outside: 0.05", "positives_outside: 0.5"),
    ],
)
def test_the_same_meaning(old, new):
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) == print_of(WHOLE, "elsewhere/shop.yaml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("user_id: {min_count: 2}", "user_id: {min_count: 3}"),
        ("log: true", "log: false"),
        ("watch_seconds > 30", "watch_seconds >= 30"),
        ("hour(t)", "weekday(t)"),
        ("range: [0, 12]", "range: [0, 13]"),
        ("known: click == 1", "known: click == 2"),
        ("2026-03-08 12:00", "2026-03-09"),
        ("click: 0.1", "click: 0.2"),
        ("unit: ms", "unit: us"),
        ("max_values: 20", "max_values: 20, keep: last"),
        ("[0, no, 12:30]", "[0, no]"),
        ('missing: ["NULL", null]', 'missing: ["NULL"]'),
        ("upstream: [click]", "upstream: [order]"),
        ("weight: w", "weight: v"),
        ("name: shop ", "name: store "),
    ],
)
def test_another_meaning(old, new):
    assert old in WHOLE
    assert print_of(WHOLE.replace(old, new)) != print_of(WHOLE)


@pytest.mark.parametrize("part", ["fields", "tasks"])
def test_the_order_of_fields_and_of_tasks_counts(part):
    text = "fields: [a, b]\ntasks: [c, d]\n"
    names = {"fields": ("[a, b]", "[b, a]"), "tasks": ("[c, d]", "[d, c]")}[part]
    assert print_of(text.replace(*names)) != print_of(text)


def test_it_does_not_change_between_versions():
    """A prepared set is made anew when it does: change this only for a reason."""
    assert print_of("fields: [user]\ntasks: [click]\n", "a.yaml") == EXPECTED


EXPECTED = "66bde56b2170c4ff0f7e0414f103620762a175b81f30fc8481bc101f045dc9ea"
